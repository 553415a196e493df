//! Large messages that arrive: collected whole, or handed on part by part.

use std::sync::{
    Arc, Weak,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use pysock_proto::{Envelope, Failure, Kind, Party, StreamId};

use super::ways::In;
use crate::{
    line::Line,
    message::Path,
    outbox::{Outbox, Outgoing},
    transfer::{Chunk, Origin, Part, PartsSender},
};

/// Memory that all incomplete messages of a server or client may take together, in bytes: what is left of it.
#[derive(Clone)]
pub(crate) struct Budget(Arc<AtomicUsize>);

/// One connection takes at most one part in so many of what is left of the budget.
const FRACTION: usize = 3;

/// A share of the budget, given back when dropped.
struct Share {
    budget: Budget,
    bytes: usize,
}

impl Budget {
    /// Enough for one message of so many bytes.
    pub(crate) fn new(bytes: usize, longest: usize) -> Self {
        Budget(Arc::new(AtomicUsize::new(bytes.max(longest.saturating_mul(FRACTION + 1)))))
    }
}

impl Share {
    /// Takes more for somebody who holds `held`, this share included; `false` if there is not enough left. Nobody holds more
    /// than one part in [`FRACTION`] of what is left then: something is left for whoever comes, however long the others
    /// keep theirs (Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory packet switches", 1998).
    fn grow(&mut self, more: usize, held: usize) -> bool {
        let held = held.saturating_add(more);
        let take = |left: usize| left.checked_sub(more).filter(|left| held <= *left / FRACTION);
        let taken = self.budget.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, take).is_ok();
        if taken {
            self.bytes = self.bytes.saturating_add(more);
        }
        taken
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.0.fetch_add(self.bytes, Ordering::AcqRel);
    }
}

/// What is to become of a large message.
pub(crate) enum Destination {
    /// Deliver it as one, if it has at most `limit` bytes.
    Collect { limit: usize, path: Option<Arc<Path>> },
    /// Hand its parts on.
    Forward(Vec<PartsSender>),
    /// It is received and forgotten.
    Discard,
    /// Nobody takes it.
    Refuse(Failure),
}

enum State {
    Discard,
    Collect { data: Vec<u8>, limit: usize, share: Share, path: Option<Arc<Path>> },
    Forward(Forward),
    Refused,
}

/// Parts of one stream that may be with their consumers at once. A sender of tiny parts would otherwise turn every byte
/// of its credit into an allocation.
const PARTS: usize = 256;

/// A stream that is handed on.
struct Forward {
    to: Vec<PartsSender>,
    origin: Origin,
    /// Held by each part that is with a consumer.
    with_consumers: Arc<()>,
    /// What arrived while too many parts were.
    rest: Vec<u8>,
}

impl Forward {
    fn chunk(&mut self, bytes: &[u8]) {
        if self.rest.is_empty() && Arc::strong_count(&self.with_consumers) <= PARTS {
            self.send(Bytes::copy_from_slice(bytes));
        } else {
            self.rest.extend_from_slice(bytes);
            self.catch_up();
        }
    }

    /// Sends what has collected, if consumers have come far enough.
    fn catch_up(&mut self) {
        if Arc::strong_count(&self.with_consumers) <= PARTS {
            self.send_rest();
        }
    }

    fn send_rest(&mut self) {
        if !self.rest.is_empty() {
            let rest = std::mem::take(&mut self.rest);
            self.send(rest.into());
        }
    }

    fn send(&mut self, bytes: Bytes) {
        let chunk = Chunk::received(bytes, self.origin.clone(), self.with_consumers.clone());
        self.to.retain(|consumer| consumer.send(Part::Chunk(chunk.clone())));
    }

    /// The last part, whatever it is.
    fn finish(mut self, last: impl Fn() -> Part) {
        self.send_rest();
        for consumer in self.to {
            consumer.send(last());
        }
    }
}

struct Incoming {
    turn: u64,
    envelope: Envelope,
    state: State,
}

/// A large message that is complete, and by which way it came, if that was known as it began.
pub(crate) type Arrived = (Envelope, Option<Arc<Path>>, Bytes);

/// The streams that one connection receives.
pub(crate) struct Receiving {
    /// By number; none until there is one, since most connections never have any.
    streams: Vec<Option<Incoming>>,
    turns: u64,
    budget: Budget,
    outbox: Weak<Outbox>,
    line: Weak<Line>,
}

impl Receiving {
    pub(crate) fn new(budget: Budget, outbox: &Arc<Outbox>) -> Self {
        // Turns of different connections differ, so that what is left of an old one means nothing to the next.
        let turns = u64::from(outbox.epoch()) << 32;
        Receiving {
            streams: Vec::new(),
            turns,
            budget,
            outbox: Arc::downgrade(outbox),
            line: Arc::downgrade(&outbox.line),
        }
    }

    /// Where the parts of the stream that begins now come from.
    pub(crate) fn origin(&mut self, stream: StreamId) -> Origin {
        self.turns = self.turns.wrapping_add(1);
        Origin { line: self.line.clone(), stream, turn: self.turns }
    }

    /// Begins a stream; [`origin`](Self::origin) was called for it just before.
    pub(crate) fn begin(
        &mut self,
        stream: StreamId,
        envelope: Envelope,
        length: Option<u64>,
        destination: Destination,
        from: &mut impl In,
    ) {
        if matches!(destination, Destination::Collect { limit, .. } if length.is_some_and(|n| n > limit as u64))
        {
            fail_request(&self.outbox, envelope, Failure::TooLarge);
        }
        let state = match destination {
            Destination::Collect { limit, path } if length.is_none_or(|n| n <= limit as u64) => {
                let share = Share { budget: self.budget.clone(), bytes: 0 };
                State::Collect { data: Vec::new(), limit, share, path }
            }
            Destination::Collect { .. } => refuse(from, stream, Failure::TooLarge),
            Destination::Forward(to) => {
                let origin = Origin { line: self.line.clone(), stream, turn: self.turns };
                let (with_consumers, rest) = (Arc::default(), Vec::new());
                State::Forward(Forward { to, origin, with_consumers, rest })
            }
            Destination::Discard => State::Discard,
            Destination::Refuse(why) => refuse(from, stream, why),
        };
        if self.streams.is_empty() {
            self.streams.resize_with(pysock_proto::MAX_STREAMS.into(), || None);
        }
        if let Some(slot) = self.streams.get_mut(usize::from(stream.0)) {
            *slot = Some(Incoming { turn: self.turns, envelope, state });
        }
    }

    pub(crate) fn chunk(&mut self, stream: StreamId, bytes: &[u8], from: &mut impl In) {
        let outbox = self.outbox.clone();
        let held = self.held();
        let Some(incoming) = self.get(stream) else { return };
        match &mut incoming.state {
            State::Collect { data, limit, share, .. } => {
                if data.len().saturating_add(bytes.len()) > *limit {
                    fail_request(&outbox, incoming.envelope, Failure::TooLarge);
                    incoming.state = refuse(from, stream, Failure::TooLarge);
                } else if !share.grow(bytes.len(), held) {
                    fail_request(&outbox, incoming.envelope, Failure::Busy);
                    incoming.state = refuse(from, stream, Failure::Busy);
                } else {
                    data.extend_from_slice(bytes);
                    from.consumed(stream, bytes.len());
                }
            }
            State::Forward(forward) => forward.chunk(bytes),
            State::Discard => from.consumed(stream, bytes.len()),
            State::Refused => {}
        }
    }

    /// The stream is complete. A whole message is given out, what was handed on is ended there.
    pub(crate) fn end(&mut self, stream: StreamId) -> Option<Arrived> {
        let incoming = self.take(stream)?;
        match incoming.state {
            State::Collect { data, path, .. } => Some((incoming.envelope, path, data.into())),
            State::Forward(forward) => {
                forward.finish(|| Part::End);
                None
            }
            State::Discard | State::Refused => None,
        }
    }

    /// Every stream is over, and none is complete.
    pub(crate) fn reset(&mut self) {
        for stream in 0..pysock_proto::MAX_STREAMS {
            self.aborted(StreamId(stream), Failure::Incomplete);
        }
    }

    pub(crate) fn aborted(&mut self, stream: StreamId, why: Failure) {
        if let Some(Incoming { state: State::Forward(forward), .. }) = self.take(stream) {
            forward.finish(|| Part::Aborted(why));
        }
    }

    /// A consumer is done with so many bytes.
    pub(crate) fn consumed(
        &mut self,
        (stream, turn): (StreamId, u64),
        bytes: usize,
        from: &mut impl In,
    ) {
        if let Some(incoming) = self.get(stream)
            && incoming.turn == turn
        {
            from.consumed(stream, bytes);
            if let State::Forward(forward) = &mut incoming.state {
                forward.catch_up();
            }
        }
    }

    /// The last consumer is gone.
    pub(crate) fn stop(
        &mut self,
        (stream, turn): (StreamId, u64),
        why: Failure,
        from: &mut impl In,
    ) {
        if let Some(incoming) = self.get(stream)
            && incoming.turn == turn
        {
            incoming.state = refuse(from, stream, why);
        }
    }

    /// Bytes of the budget that this side of one connection holds.
    fn held(&self) -> usize {
        let shares = self.streams.iter().flatten().map(|incoming| match &incoming.state {
            State::Collect { share, .. } => share.bytes,
            _ => 0,
        });
        shares.sum()
    }

    /// Something else with this envelope comes. In the middle of a stream to the same receivers on the same channel its
    /// source must not say anything (PROTOCOL 13.1): it would wait behind the stream's end, at the receivers' cost. Such a
    /// stream is given up.
    pub(crate) fn interrupted(&mut self, by: &Envelope, from: &mut impl In) {
        let same = |envelope: &Envelope| {
            let everyone = [envelope.party, by.party].contains(&Party::Everyone);
            envelope.channel == by.channel && (envelope.party == by.party || everyone)
        };
        for (stream, incoming) in (0..).zip(&mut self.streams) {
            let Some(Incoming { envelope, state: state @ State::Forward(_), .. }) = incoming else {
                continue;
            };
            if same(envelope) {
                let refused = refuse(from, StreamId(stream), Failure::Cancelled);
                if let State::Forward(forward) = std::mem::replace(state, refused) {
                    forward.finish(|| Part::Aborted(Failure::Cancelled));
                }
            }
        }
    }

    fn get(&mut self, stream: StreamId) -> Option<&mut Incoming> {
        self.streams.get_mut(usize::from(stream.0))?.as_mut()
    }

    fn take(&mut self, stream: StreamId) -> Option<Incoming> {
        let taken = self.streams.get_mut(usize::from(stream.0))?.take();
        if self.streams.iter().all(Option::is_none) {
            self.streams = Vec::new();
        }
        taken
    }
}

/// Answers a request that is not taken. Its stream may have ended before the stop arrives, and then that says nothing.
fn fail_request(outbox: &Weak<Outbox>, envelope: Envelope, why: Failure) {
    if let (Kind::Request(_), Some(outbox)) = (envelope.kind, outbox.upgrade()) {
        let failed = Outgoing::failed(envelope, why);
        let _ = outbox.try_push(Outgoing { epoch: outbox.epoch(), ..failed });
    }
}

fn refuse(from: &mut impl In, stream: StreamId, why: Failure) -> State {
    from.stop(stream, why);
    State::Refused
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer;

    #[test]
    fn a_flood_of_tiny_parts_becomes_few_and_loses_nothing() {
        let origin = Origin { line: Weak::new(), stream: StreamId(0), turn: 1 };
        let (to, mut parts) = transfer::parts(None, None, [None]).pop().unwrap();
        let (with_consumers, rest) = (Arc::default(), Vec::new());
        let mut forward = Forward { to: vec![to], origin, with_consumers, rest };
        let sent: Vec<u8> = (0..100_000u32).map(|n| n as u8).collect();
        for byte in &sent {
            forward.chunk(&[*byte]);
        }
        // While nobody takes any, only so many are made.
        let mut waiting = Vec::new();
        while let Some(Part::Chunk(chunk)) = parts.try_next() {
            waiting.push(chunk);
        }
        assert_eq!(waiting.len(), PARTS);
        let mut got: Vec<u8> = waiting.iter().flat_map(|chunk| chunk.bytes.to_vec()).collect();
        forward.catch_up();
        assert!(parts.try_next().is_none(), "none was given back");
        drop(waiting);
        forward.catch_up();
        forward.finish(|| Part::End);
        let mut more = 0;
        while let Some(Part::Chunk(chunk)) = parts.try_next() {
            got.extend_from_slice(&chunk.bytes);
            more += 1;
        }
        assert_eq!((more, got == sent), (1, true));
    }

    #[test]
    fn whoever_comes_finds_room_however_long_the_others_keep_theirs() {
        const MIB: usize = 1 << 20;
        let budget = Budget::new(256 * MIB, 16 * MIB);
        // Each takes as much as it gets, and ends nothing.
        let mut kept = Vec::new();
        for _ in 0..4 {
            let mut share = Share { budget: budget.clone(), bytes: 0 };
            while share.grow(MIB, share.bytes) {}
            kept.push(share);
        }
        let mut share = Share { budget: budget.clone(), bytes: 0 };
        assert!((0..16).all(|_| share.grow(MIB, share.bytes)), "a whole message");
        // What is given back is there again, and the longest message fits into what nobody else uses.
        (kept, _) = (Vec::new(), std::mem::replace(&mut share, Share { budget, bytes: 0 }));
        assert!(kept.is_empty() && (0..64).all(|_| share.grow(MIB, share.bytes)));
        let mut alone = Share { budget: Budget::new(0, MIB), bytes: 0 };
        assert!(alone.grow(MIB, 0) && !alone.grow(1, MIB));
    }
}
