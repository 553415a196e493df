//! From the outbox into records: control first, then large messages in turn, then the queue in order.
//!
//! Messages on one channel leave in the order in which they were queued: what comes behind a large message
//! waits for its end, while other channels go on.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};
use pysock_proto::{
    ChannelId, Connection, Failure, Kind, Party, PeerId, PeerInfo, SendError, StreamId, TxBuf,
};

use tokio::time::Instant;

use super::C;
use crate::{
    line::Control,
    outbox::{Body, Outbox, Outgoing, Report},
    transfer::{Chunk, Part, Parts},
};

/// Where the rest of a large message comes from.
enum Source {
    Whole(Bytes),
    Parts { parts: Parts, current: Option<Chunk>, complete: bool },
}

/// A large message that is being sent.
struct Active {
    stream: StreamId,
    channel: ChannelId,
    source: Source,
    cost: usize,
    report: Report,
    /// Since when the receiver has granted too little credit, and what it has taken since, in bytes.
    slow: Option<(Instant, usize)>,
    /// What was queued for the same channel since.
    behind: VecDeque<Outgoing>,
}

/// How far a filling came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Filled {
    /// Everything that can go is in the buffer.
    All,
    /// The buffer is full and more could go.
    Full,
}

/// What one connection is sending.
#[derive(Default)]
pub(crate) struct Sending {
    active: Vec<Active>,
    /// Taken from the queue and not yet sent: it found no room, or has waited behind a large message.
    ready: VecDeque<Outgoing>,
    /// The peers announced to the receiver, as it remembers them: the latest last.
    announced: VecDeque<PeerId>,
    control: Option<Control>,
}

/// What became of an attempt.
enum Attempt {
    /// Sent or failed: its room in the queue is free.
    Done,
    /// Begun, or waiting behind what was: it keeps its room.
    Begun,
    Full(Outgoing),
    /// It has to wait for the other side.
    Later(Outgoing),
}

impl Sending {
    /// Nothing is on its way.
    pub(super) fn is_idle(&self) -> bool {
        self.active.is_empty() && self.ready.is_empty()
    }

    /// Since when this receiver holds up others, to whom the same message is going.
    pub(super) fn holds_up_since(&self) -> Option<Instant> {
        let published = |active: &&Active| matches!(&active.source, Source::Parts { parts, .. } if parts.published);
        self.active.iter().filter(published).filter_map(|active| Some(active.slow?.0)).min()
    }

    /// Moves as much as there is room for into `tx`.
    pub(super) fn fill(
        &mut self,
        conn: &mut Connection<C>,
        tx: &mut TxBuf<Vec<u8>>,
        outbox: &Outbox,
    ) -> Filled {
        loop {
            if self.streams(conn, tx, outbox) == Filled::Full {
                return Filled::Full;
            }
            let active = self.active.len();
            if self.queued(conn, tx, outbox) == Filled::Full {
                return Filled::Full;
            }
            // What has begun goes on at once.
            if self.active.len() == active {
                return Filled::All;
            }
        }
    }

    /// Takes items out of the queue until one has to wait.
    fn queued(
        &mut self,
        conn: &mut Connection<C>,
        tx: &mut TxBuf<Vec<u8>>,
        outbox: &Outbox,
    ) -> Filled {
        loop {
            let Some(item) = self.ready.pop_front().or_else(|| outbox.lock().pop()) else {
                return Filled::All;
            };
            let cost = item.cost();
            match self.attempt(item, conn, tx, outbox.epoch()) {
                Attempt::Done => outbox.settle(cost),
                Attempt::Begun => {}
                Attempt::Full(item) => {
                    self.ready.push_front(item);
                    return Filled::Full;
                }
                Attempt::Later(item) => {
                    self.ready.push_front(item);
                    return Filled::All;
                }
            }
        }
    }

    /// Moves questions and answers. They are few, by the protocol's own limits.
    pub(super) fn control(
        &mut self,
        conn: &mut Connection<C>,
        tx: &mut TxBuf<Vec<u8>>,
        outbox: &Outbox,
        mut inward: impl FnMut(Control, &mut Connection<C>),
    ) -> Filled {
        loop {
            let next = self.control.take().or_else(|| outbox.line.next());
            let Some(control) = next else { return Filled::All };
            let mut tx = tx.lend();
            let sent = match &control {
                Control::AnswerOpen(id, result) => conn.answer_open(&mut tx, *id, *result),
                Control::AnswerFind(query, peer) => {
                    conn.answer_find(&mut tx, *query, peer.as_ref())
                }
                Control::OpenChannel(name) => conn.open_channel(&mut tx, name).map(drop),
                Control::Find(query, find) => conn.find(&mut tx, *query, find),
                Control::Consumed { .. } | Control::Stop { .. } => {
                    inward(control, conn);
                    continue;
                }
            };
            match sent {
                Err(SendError::Full(_)) => {
                    self.control = Some(control);
                    return Filled::Full;
                }
                // Goes on once an answer has arrived.
                Err(SendError::Questions) => {
                    self.control = Some(control);
                    return Filled::All;
                }
                Ok(()) => {}
                Err(error) => tracing::debug!(%error, "a control frame was not sent"),
            }
        }
    }

    /// Sends one item, or says why not yet.
    fn attempt(
        &mut self,
        item: Outgoing,
        conn: &mut Connection<C>,
        tx: &mut TxBuf<Vec<u8>>,
        epoch: u64,
    ) -> Attempt {
        // Peers have other numbers now, and an answer belongs to the connection of its question.
        let of_its_connection = matches!(item.envelope.party, Party::Peer(_))
            || matches!(item.envelope.kind, Kind::Reply(_))
            || matches!(item.body, Body::Failed(_));
        if of_its_connection && item.epoch != epoch {
            item.fail(Failure::NoPeer);
            return Attempt::Done;
        }
        let channel = item.envelope.channel;
        if let Some(active) = self.active.iter_mut().find(|active| active.channel == channel) {
            active.behind.push_back(item);
            return Attempt::Begun;
        }
        let mut tx = tx.lend();
        if let Some(peer) = &item.from
            && let Err(error) = self.announce(peer, conn, &mut tx)
        {
            return not_now(item, error);
        }
        let sent = match &item.body {
            Body::Whole(bytes) if bytes.len() <= conn.longest_message(&tx) => {
                conn.send(&mut tx, &item.envelope, bytes)
            }
            Body::Failed(why) => conn.send_failed(&mut tx, &item.envelope, *why),
            Body::Whole(_) | Body::Parts(_) => return self.begin(item, conn, &mut tx),
        };
        match sent {
            Ok(()) => Attempt::Done,
            Err(error) => not_now(item, error),
        }
    }

    /// Begins a large message.
    fn begin(
        &mut self,
        item: Outgoing,
        conn: &mut Connection<C>,
        tx: &mut pysock_proto::Tx<'_>,
    ) -> Attempt {
        if conn.remote_limits().is_some_and(|limits| limits.streams == 0) {
            item.fail(Failure::TooLarge);
            return Attempt::Done;
        }
        let length = match &item.body {
            Body::Whole(bytes) => Some(bytes.len() as u64),
            Body::Parts(parts) => parts.length,
            Body::Failed(_) => None,
        };
        let stream = match conn.begin(tx, &item.envelope, length) {
            Ok(stream) => stream,
            Err(error) => return not_now(item, error),
        };
        let (channel, cost) = (item.envelope.channel, item.cost());
        let source = match item.body {
            Body::Whole(bytes) => Source::Whole(bytes),
            Body::Parts(parts) => Source::Parts { parts, current: None, complete: false },
            Body::Failed(_) => Source::Whole(Bytes::new()),
        };
        let (report, behind) = (item.report, VecDeque::new());
        self.active.push(Active { stream, channel, source, cost, report, slow: None, behind });
        Attempt::Begun
    }

    /// Tells the receiver who a peer is, unless it remembers.
    fn announce(
        &mut self,
        peer: &PeerInfo,
        conn: &mut Connection<C>,
        tx: &mut pysock_proto::Tx<'_>,
    ) -> Result<(), SendError> {
        if self.announced.contains(&peer.id) {
            return Ok(());
        }
        conn.announce(tx, peer)?;
        self.announced.push_back(peer.id);
        let remembered = conn.remote_limits().map_or(1, |limits| limits.peers);
        if self.announced.len() > usize::from(remembered) {
            self.announced.pop_front();
        }
        Ok(())
    }

    /// Goes on with the large messages, one part of each in turn.
    fn streams(
        &mut self,
        conn: &mut Connection<C>,
        tx: &mut TxBuf<Vec<u8>>,
        outbox: &Outbox,
    ) -> Filled {
        let mut progress = true;
        while progress {
            progress = false;
            let mut at = 0;
            while let Some(active) = self.active.get_mut(at) {
                match active.advance(conn, &mut tx.lend(), outbox.least()) {
                    Step::Sent => progress = true,
                    Step::Nothing => {}
                    Step::Full => return Filled::Full,
                    Step::Over => {
                        let active = self.active.remove(at);
                        outbox.settle(active.cost);
                        // They come before what is still queued, so order holds.
                        self.ready.extend(active.behind);
                        progress = true;
                        continue;
                    }
                }
                at += 1;
            }
        }
        Filled::All
    }

    /// The receiver wants no more of a stream.
    pub(crate) fn stopped(&mut self, stream: StreamId, why: Failure, outbox: &Outbox) {
        let Some(at) = self.active.iter().position(|active| active.stream == stream) else {
            return;
        };
        let active = self.active.remove(at);
        outbox.settle(active.cost);
        active.report.tell(why);
        if let Source::Parts { parts, .. } = active.source {
            parts.refuse(why);
        }
        self.ready.extend(active.behind);
    }

    /// The connection is over: what was begun has failed, what was not goes back to the queue, in order.
    pub(crate) fn give_back(mut self, outbox: &Outbox) {
        for active in std::mem::take(&mut self.active) {
            outbox.settle(active.cost);
            active.report.tell(Failure::Cancelled);
            self.ready.extend(active.behind);
        }
        let mut inner = outbox.lock();
        for item in self.ready.into_iter().rev() {
            inner.queue.push_front(item);
        }
    }
}

fn not_now(item: Outgoing, error: SendError) -> Attempt {
    match error {
        SendError::Full(_) => Attempt::Full(item),
        SendError::Streams | SendError::NotOpen => Attempt::Later(item),
        SendError::TooLong(_) => {
            item.fail(Failure::TooLarge);
            Attempt::Done
        }
        error => {
            tracing::debug!(%error, "a message was not sent");
            item.fail(Failure::Cancelled);
            Attempt::Done
        }
    }
}

/// What one turn of a large message did.
enum Step {
    Sent,
    /// No credit, or no part there yet.
    Nothing,
    Full,
    Over,
}

impl Active {
    fn advance(
        &mut self,
        conn: &mut Connection<C>,
        tx: &mut pysock_proto::Tx<'_>,
        least: usize,
    ) -> Step {
        let rest = match &mut self.source {
            Source::Whole(bytes) if bytes.is_empty() => return self.end(conn, tx),
            Source::Whole(bytes) => bytes,
            Source::Parts { complete: true, .. } => return self.end(conn, tx),
            Source::Parts { parts, current, complete } => {
                if current.is_none() {
                    match parts.try_next() {
                        None => {
                            // The receiver has all there is.
                            self.slow = None;
                            return Step::Nothing;
                        }
                        Some(Part::Chunk(chunk)) if chunk.bytes.is_empty() => return Step::Sent,
                        Some(Part::Chunk(chunk)) => *current = Some(chunk),
                        Some(Part::End) => {
                            *complete = true;
                            return Step::Sent;
                        }
                        Some(Part::Aborted(why)) => return self.abort(why, conn, tx),
                    }
                }
                match current {
                    Some(chunk) => &mut chunk.bytes,
                    None => return Step::Nothing,
                }
            }
        };
        match conn.chunk(tx, self.stream, rest) {
            Ok(n) => {
                rest.advance(n);
                if let Some((_, taken)) = &mut self.slow {
                    *taken += n;
                    if *taken >= least {
                        self.slow = None;
                    }
                }
                if let Source::Parts { current, .. } = &mut self.source
                    && current.as_ref().is_some_and(|chunk| chunk.bytes.is_empty())
                {
                    *current = None;
                }
                Step::Sent
            }
            Err(SendError::Full(_)) => Step::Full,
            Err(SendError::NoCredit) => {
                self.slow.get_or_insert_with(|| (Instant::now(), 0));
                Step::Nothing
            }
            Err(SendError::NotOpen) => Step::Nothing,
            // The program wrote more than it declared.
            Err(_) => self.abort(Failure::Cancelled, conn, tx),
        }
    }

    fn end(&mut self, conn: &mut Connection<C>, tx: &mut pysock_proto::Tx<'_>) -> Step {
        match conn.end(tx, self.stream) {
            Ok(()) => {
                if let Source::Parts { parts, .. } = &self.source {
                    parts.sent();
                }
                Step::Over
            }
            Err(SendError::NoStream) => Step::Over,
            Err(SendError::Full(_)) => Step::Full,
            Err(SendError::NotOpen) => Step::Nothing,
            // The program wrote less than it declared.
            Err(_) => self.abort(Failure::Cancelled, conn, tx),
        }
    }

    fn abort(
        &mut self,
        why: Failure,
        conn: &mut Connection<C>,
        tx: &mut pysock_proto::Tx<'_>,
    ) -> Step {
        match conn.abort(tx, self.stream, why) {
            Err(SendError::Full(_)) => {
                // Again with the next room.
                if let Source::Parts { current, .. } = &mut self.source {
                    *current = None;
                }
                Step::Full
            }
            _ => {
                std::mem::replace(&mut self.report, Report::Nobody).tell(why);
                Step::Over
            }
        }
    }
}
