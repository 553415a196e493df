//! Messages on their way out, whichever way they go: the queue in order, and large ones part by part.
//!
//! What one source says on one channel leaves in the order in which it was queued: what comes behind a large message waits
//! for its end, while other channels, and on the same channel others, go on.

use std::{collections::VecDeque, time::Duration};

use pysock_proto::{Failure, Kind, Party, SendError, StreamId};
use tokio::time::Instant;

use super::{
    large::{Active, Step},
    sending::{Filled, TURN, Turn},
    ways::Out,
};
use crate::outbox::{Body, Outbox, Outgoing, Sequence};

/// What one way out is sending.
#[derive(Default)]
pub(crate) struct Messages {
    active: Vec<Active>,
    /// Large messages that wait until a number for a stream is free, each with what was queued of its sequence since. None is
    /// empty.
    crowd: VecDeque<VecDeque<Outgoing>>,
    /// Since when there is a crowd.
    crowded: Option<Instant>,
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
    /// No number is free for its stream.
    Crowded(Outgoing),
    /// A message in it has to be streamed.
    Apart(Outgoing),
}

impl Messages {
    /// Nothing is on its way.
    pub(crate) fn is_idle(&self) -> bool {
        self.active.is_empty() && self.crowd.is_empty() && self.ready.is_empty()
    }

    /// Since when this receiver holds up others, to whom the same message is going.
    pub(super) fn holds_up_since(&self) -> Option<Instant> {
        self.active.iter().filter_map(Active::holds_up_since).min()
    }

    /// Takes some messages out of the queue, until one has to wait.
    pub(crate) fn queued(&mut self, out: &mut impl Out, outbox: &Outbox) -> Turn {
        if self.disperse(out, outbox) == Filled::Full {
            return Turn { moved: false, filled: Filled::Full };
        }
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
                Attempt::Crowded(item) => {
                    self.crowded.get_or_insert_with(Instant::now);
                    self.crowd.push_back([item].into());
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

    /// Begins what waits for a stream's number, as far as there are numbers again.
    fn disperse(&mut self, out: &mut impl Out, outbox: &Outbox) -> Filled {
        while let Some(mut line) = self.crowd.pop_front() {
            let Some(first) = line.pop_front() else { continue };
            let cost = first.cost();
            let (item, filled) = match self.attempt(first, out, outbox.epoch()) {
                Attempt::Done => {
                    outbox.settle(cost);
                    self.first(line);
                    continue;
                }
                // What waited with it waits behind it now.
                Attempt::Begun => {
                    self.first(line);
                    continue;
                }
                Attempt::Full(item) => (item, Filled::Full),
                Attempt::Later(item) | Attempt::Crowded(item) | Attempt::Apart(item) => {
                    (item, Filled::All)
                }
            };
            line.push_front(item);
            self.crowd.push_front(line);
            return filled;
        }
        self.crowded = None;
        Filled::All
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
        if let Some(before) = self.before(item.sequence()) {
            before.push_back(item);
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

    /// What has to wait with the next of `sequence` for the end of a large message.
    fn before(&mut self, sequence: Sequence) -> Option<&mut VecDeque<Outgoing>> {
        let active = self.active.iter_mut().find(|active| active.sequence == sequence);
        active.map(|active| &mut active.behind).or_else(|| {
            let is_it = |item: &Outgoing| item.sequence() == sequence;
            self.crowd.iter_mut().find(|line| line.front().is_some_and(is_it))
        })
    }

    /// When the sources of streams are judged, because others wait for their numbers.
    pub(super) fn judgement(&self, patience: Duration) -> Option<Instant> {
        let crowded = self.crowded?;
        let watched = self.active.iter().filter_map(Active::watched_since).min()?;
        Some(watched.max(crowded) + patience)
    }

    /// Gives up streams whose sources have given too little, as many as numbers are wanted.
    pub(super) fn judge_sources(&mut self, outbox: &Outbox, now: Instant) {
        let patience = outbox.patience_with_sources();
        if self.judgement(patience).is_none_or(|at| now < at) {
            return;
        }
        let mut wanted = self.crowd.len();
        for active in &mut self.active {
            let is_due = active.watched_since().is_some_and(|since| now >= since + patience);
            if is_due && active.watch(now) < outbox.least() && active.is_starved() && wanted > 0 {
                active.give_up();
                wanted -= 1;
            }
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

    /// Nobody waits for a number any more.
    fn scatter(&mut self) {
        for line in std::mem::take(&mut self.crowd) {
            self.first(line);
        }
        self.crowded = None;
    }

    /// Forgets what was not begun and is `stale`. Nobody is told.
    pub(crate) fn drop_stale(&mut self, stale: impl Fn(&Outgoing) -> bool, outbox: &Outbox) {
        // A line without its large message is none: they stand in line again.
        self.scatter();
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
        self.scatter();
        let mut inner = outbox.lock();
        for item in std::mem::take(&mut self.ready).into_iter().rev() {
            inner.queue.push_front(item);
        }
    }
}

fn not_now(item: Outgoing, error: SendError) -> Attempt {
    match error {
        SendError::Full(_) => Attempt::Full(item),
        SendError::NotOpen => Attempt::Later(item),
        SendError::Streams => Attempt::Crowded(item),
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
