//! From the outbox into records: what is urgent first, then large messages, sealed records of clients and the queue of
//! messages, by turns.
//!
//! Messages on one channel leave in the order in which they were queued: what comes behind a large message
//! waits for its end, while other channels go on.

use std::collections::VecDeque;

use pysock_proto::{
    Connection, Failure, Kind, Party, PeerId, PeerInfo, SendError, StreamId, TxBuf,
};
use tokio::time::Instant;

use super::{
    C,
    large::{Active, Step},
};
use crate::{
    line::Control,
    outbox::{Body, Outbox, Outgoing},
};

/// Messages, or records, that go before others have their turn.
pub(super) const TURN: usize = 16;

/// How far a filling came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Filled {
    /// Everything that can go is in the buffer.
    All,
    /// The buffer is full and more could go.
    Full,
}

/// What takes turns, so that nothing is held up by a lot of something else.
#[derive(Clone, Copy, Default)]
enum Lane {
    #[default]
    Large,
    Records,
    Messages,
}

/// How many lanes there are.
const LANES: usize = 3;

impl Lane {
    fn next(self) -> Self {
        match self {
            Lane::Large => Lane::Records,
            Lane::Records => Lane::Messages,
            Lane::Messages => Lane::Large,
        }
    }
}

/// What became of a turn.
pub(super) struct Turn {
    /// Something went.
    pub(super) moved: bool,
    pub(super) filled: Filled,
}

/// What one connection is sending.
#[derive(Default)]
pub(crate) struct Sending {
    /// Whose turn it is.
    lane: Lane,
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
        self.active.iter().filter_map(Active::holds_up_since).min()
    }

    /// Moves as much as there is room for into `tx`.
    pub(super) fn fill(
        &mut self,
        conn: &mut Connection<C>,
        tx: &mut TxBuf<Vec<u8>>,
        outbox: &Outbox,
    ) -> Filled {
        if self.urgent(conn, tx, outbox) == Filled::Full {
            return Filled::Full;
        }
        let mut idle = 0;
        while idle < LANES {
            let Turn { moved, filled } = match self.lane {
                Lane::Large => self.large(conn, tx, outbox),
                Lane::Records => self.records(conn, tx, outbox),
                Lane::Messages => self.messages(conn, tx, outbox),
            };
            // Who has found no room at all has the next turn, too.
            if moved || filled == Filled::All {
                self.lane = self.lane.next();
            }
            if filled == Filled::Full {
                return Filled::Full;
            }
            idle = if moved { 0 } else { idle + 1 };
        }
        Filled::All
    }

    /// Takes some messages out of the queue, until one has to wait.
    fn messages(
        &mut self,
        conn: &mut Connection<C>,
        tx: &mut TxBuf<Vec<u8>>,
        outbox: &Outbox,
    ) -> Turn {
        let mut moved = false;
        for _ in 0..TURN {
            let Some(item) = self.ready.pop_front().or_else(|| outbox.lock().pop()) else { break };
            let cost = item.cost();
            match self.attempt(item, conn, tx, outbox.epoch()) {
                Attempt::Done => outbox.settle(cost),
                Attempt::Begun => {}
                Attempt::Full(item) => {
                    self.ready.push_front(item);
                    return Turn { moved, filled: Filled::Full };
                }
                Attempt::Later(item) => {
                    self.ready.push_front(item);
                    break;
                }
            }
            moved = true;
        }
        Turn { moved, filled: Filled::All }
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
        self.active.push(Active::new(stream, item));
        Attempt::Begun
    }

    /// Tells the receiver who a peer is, unless it remembers.
    pub(super) fn announce(
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

    /// Goes on with the large messages, by one part of each.
    fn large(
        &mut self,
        conn: &mut Connection<C>,
        tx: &mut TxBuf<Vec<u8>>,
        outbox: &Outbox,
    ) -> Turn {
        let (mut moved, mut at) = (false, 0);
        while let Some(active) = self.active.get_mut(at) {
            match active.advance(conn, &mut tx.lend(), outbox.least()) {
                Step::Sent => moved = true,
                Step::Nothing => {}
                Step::Full => return Turn { moved, filled: Filled::Full },
                Step::Over => {
                    let active = self.active.remove(at);
                    outbox.settle(active.cost);
                    // They come before what is still queued, so order holds.
                    self.ready.extend(active.behind);
                    moved = true;
                    continue;
                }
            }
            at += 1;
        }
        Turn { moved, filled: Filled::All }
    }

    /// The receiver wants no more of a stream.
    pub(crate) fn stopped(&mut self, stream: StreamId, why: Failure, outbox: &Outbox) {
        let Some(at) = self.active.iter().position(|active| active.stream == stream) else {
            return;
        };
        let active = self.active.remove(at);
        outbox.settle(active.cost);
        self.ready.extend(active.stopped(why));
    }

    /// The connection is over: what was begun has failed, what was not goes back to the queue, in order.
    pub(crate) fn give_back(mut self, outbox: &Outbox) {
        for active in std::mem::take(&mut self.active) {
            outbox.settle(active.cost);
            self.ready.extend(active.lost());
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
