//! Messages on their way out, whichever way they go: the queue in order, and large ones part by part.
//!
//! Messages on one channel leave in the order in which they were queued: what comes behind a large message
//! waits for its end, while other channels go on.

use std::collections::VecDeque;

use pysock_proto::{Failure, Kind, Party, SendError, StreamId};
use tokio::time::Instant;

use super::{
    large::{Active, Step},
    sending::{Filled, TURN, Turn},
    ways::Out,
};
use crate::outbox::{Body, Outbox, Outgoing};

/// What one way out is sending.
#[derive(Default)]
pub(crate) struct Messages {
    active: Vec<Active>,
    /// Taken from the queue and not yet sent: it found no room, or has waited behind a large message.
    ready: VecDeque<Outgoing>,
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
    /// A message in it has to be streamed.
    Apart(Outgoing),
}

impl Messages {
    /// Nothing is on its way.
    pub(crate) fn is_idle(&self) -> bool {
        self.active.is_empty() && self.ready.is_empty()
    }

    /// Since when this receiver holds up others, to whom the same message is going.
    pub(super) fn holds_up_since(&self) -> Option<Instant> {
        self.active.iter().filter_map(Active::holds_up_since).min()
    }

    /// Takes some messages out of the queue, until one has to wait.
    pub(crate) fn queued(&mut self, out: &mut impl Out, outbox: &Outbox) -> Turn {
        if self.ready.is_empty() {
            self.ready.extend(outbox.lock().pop(TURN));
        }
        let (mut moved, mut settled, mut filled) = (false, 0, Filled::All);
        for _ in 0..TURN {
            let Some(mut item) = self.ready.pop_front() else { break };
            let cost = item.cost();
            item.complete();
            match self.attempt(item, out, outbox.epoch()) {
                Attempt::Done => settled += cost,
                Attempt::Begun => {}
                Attempt::Full(item) => {
                    // A part of it may have gone.
                    settled += cost - item.cost();
                    self.ready.push_front(item);
                    filled = Filled::Full;
                    break;
                }
                Attempt::Later(item) => {
                    self.ready.push_front(item);
                    break;
                }
                Attempt::Apart(item) => {
                    let parts: Vec<_> = item.apart().collect();
                    // Each has a cost of its own; what has gone already has none any more.
                    let costs: usize = parts.iter().map(Outgoing::cost).sum();
                    outbox.charge(costs.saturating_sub(cost));
                    settled += cost.saturating_sub(costs);
                    self.first(parts);
                }
            }
            moved = true;
        }
        // Once for all of them: it takes a lock, and may wake who waits for room.
        if settled > 0 {
            outbox.settle(settled);
        }
        Turn { moved, filled }
    }

    /// Sends one item, or says why not yet.
    fn attempt(&mut self, mut item: Outgoing, out: &mut impl Out, epoch: u32) -> Attempt {
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
        if let Some(peer) = &item.from
            && let Err(error) = out.announce(peer)
        {
            return not_now(item, error);
        }
        let sent = match &mut item.body {
            Body::Packed(packed) => {
                let (sent, result) = out.send_block(&item.envelope, packed);
                if result.is_err() {
                    packed.skip(sent);
                }
                if matches!(result, Err(SendError::TooLong(_))) {
                    return Attempt::Apart(item);
                }
                result
            }
            Body::Whole(bytes) if bytes.len() <= out.longest_message() => {
                out.send(&item.envelope, bytes)
            }
            Body::Failed(why) => out.send_failed(&item.envelope, *why),
            Body::Whole(_) | Body::Parts(_) | Body::Joined(_) => return self.begin(item, out),
        };
        match sent {
            Ok(()) => Attempt::Done,
            Err(error) => not_now(item, error),
        }
    }

    /// Begins a large message.
    fn begin(&mut self, item: Outgoing, out: &mut impl Out) -> Attempt {
        if !out.takes_streams() {
            item.fail(Failure::TooLarge);
            return Attempt::Done;
        }
        let length = match &item.body {
            Body::Whole(bytes) => Some(bytes.len() as u64),
            Body::Parts(parts) => parts.length,
            // They are never begun.
            Body::Joined(_) | Body::Packed(_) | Body::Failed(_) => None,
        };
        let stream = match out.begin(&item.envelope, length) {
            Ok(stream) => stream,
            Err(error) => return not_now(item, error),
        };
        self.active.push(Active::new(stream, item));
        Attempt::Begun
    }

    /// Goes on with the large messages, by one part of each.
    pub(crate) fn large(&mut self, out: &mut impl Out, outbox: &Outbox) -> Turn {
        let (mut moved, mut at) = (false, 0);
        while let Some(active) = self.active.get_mut(at) {
            match active.advance(out, outbox.least()) {
                Step::Sent => {
                    outbox.progressed();
                    moved = true;
                }
                Step::Nothing => {}
                Step::Full => return Turn { moved, filled: Filled::Full },
                Step::Over => {
                    let active = self.active.remove(at);
                    outbox.settle(active.cost);
                    self.first(active.behind);
                    moved = true;
                    continue;
                }
            }
            at += 1;
        }
        Turn { moved, filled: Filled::All }
    }

    /// What has waited behind a large message comes before all that was taken from the queue later.
    fn first(&mut self, behind: impl IntoIterator<IntoIter: DoubleEndedIterator<Item = Outgoing>>) {
        for item in behind.into_iter().rev() {
            self.ready.push_front(item);
        }
    }

    /// The receiver wants no more of a stream.
    pub(crate) fn stopped(&mut self, stream: StreamId, why: Failure, outbox: &Outbox) {
        let Some(at) = self.active.iter().position(|active| active.stream == stream) else {
            return;
        };
        let active = self.active.remove(at);
        outbox.settle(active.cost);
        self.first(active.stopped(why));
    }

    /// Forgets what was not begun and is `stale`. Nobody is told.
    pub(crate) fn drop_stale(&mut self, stale: impl Fn(&Outgoing) -> bool, outbox: &Outbox) {
        let behind = self.active.iter_mut().map(|active| &mut active.behind);
        for items in behind.chain([&mut self.ready]) {
            items.retain(|item| {
                let gone = stale(item);
                if gone {
                    outbox.settle(item.cost());
                }
                !gone
            });
        }
    }

    /// The connection is over: what was begun has failed, what was not goes back to the queue, in order.
    pub(crate) fn give_back(&mut self, outbox: &Outbox) {
        for active in std::mem::take(&mut self.active) {
            outbox.settle(active.cost);
            self.first(active.lost());
        }
        let mut inner = outbox.lock();
        for item in std::mem::take(&mut self.ready).into_iter().rev() {
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
