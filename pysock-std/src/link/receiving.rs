//! Large messages that arrive: collected whole, or handed on part by part.

use std::sync::{
    Arc, Weak,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use pysock_proto::{Connection, Envelope, Failure, Kind, StreamId};

use super::C;
use crate::{
    outbox::{Outbox, Outgoing},
    transfer::{Chunk, Origin, Part, PartsSender},
};

/// Memory that all incomplete messages of a server or client may take together, in bytes.
#[derive(Clone)]
pub(crate) struct Budget(Arc<AtomicUsize>);

/// A share of the budget, given back when dropped.
struct Share {
    budget: Budget,
    bytes: usize,
}

impl Budget {
    pub(crate) fn new(bytes: usize) -> Self {
        Budget(Arc::new(AtomicUsize::new(bytes)))
    }
}

impl Share {
    /// Takes more; `false` if there is not enough left.
    fn grow(&mut self, more: usize) -> bool {
        let take = |left: usize| left.checked_sub(more);
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
    Collect { limit: usize },
    /// Hand its parts on.
    Forward(Vec<PartsSender>),
    /// It is received and forgotten.
    Discard,
    /// Nobody takes it.
    Refuse(Failure),
}

enum State {
    Discard,
    Collect { data: Vec<u8>, limit: usize, share: Share },
    Forward(Vec<PartsSender>),
    Refused,
}

struct Incoming {
    turn: u64,
    envelope: Envelope,
    state: State,
}

/// A large message that is complete.
pub(crate) type Arrived = (Envelope, Bytes);

/// The streams that one connection receives.
pub(crate) struct Receiving {
    streams: Vec<Option<Incoming>>,
    turns: u64,
    budget: Budget,
    outbox: Weak<Outbox>,
}

impl Receiving {
    pub(crate) fn new(budget: Budget, outbox: &Arc<Outbox>) -> Self {
        let mut streams = Vec::new();
        streams.resize_with(pysock_proto::MAX_STREAMS.into(), || None);
        // Turns of different connections differ, so that what is left of an old one means nothing to the next.
        let turns = outbox.epoch() << 32;
        Receiving { streams, turns, budget, outbox: Arc::downgrade(outbox) }
    }

    /// Where the parts of the stream that begins now come from.
    pub(crate) fn origin(&mut self, stream: StreamId) -> Origin {
        self.turns = self.turns.wrapping_add(1);
        Origin { outbox: self.outbox.clone(), stream, turn: self.turns }
    }

    /// Begins a stream; [`origin`](Self::origin) was called for it just before.
    pub(crate) fn begin(
        &mut self,
        stream: StreamId,
        envelope: Envelope,
        length: Option<u64>,
        destination: Destination,
        conn: &mut Connection<C>,
    ) {
        if matches!(destination, Destination::Collect { limit } if length.is_some_and(|n| n > limit as u64))
        {
            fail_request(&self.outbox, envelope, Failure::TooLarge);
        }
        let state = match destination {
            Destination::Collect { limit } if length.is_none_or(|n| n <= limit as u64) => {
                let share = Share { budget: self.budget.clone(), bytes: 0 };
                State::Collect { data: Vec::new(), limit, share }
            }
            Destination::Collect { .. } => refuse(conn, stream, Failure::TooLarge),
            Destination::Forward(to) => State::Forward(to),
            Destination::Discard => State::Discard,
            Destination::Refuse(why) => refuse(conn, stream, why),
        };
        if let Some(slot) = self.streams.get_mut(usize::from(stream.0)) {
            *slot = Some(Incoming { turn: self.turns, envelope, state });
        }
    }

    pub(crate) fn chunk(&mut self, stream: StreamId, bytes: &[u8], conn: &mut Connection<C>) {
        let origin = self.outbox.clone();
        let Some(incoming) = self.get(stream) else { return };
        let turn = incoming.turn;
        match &mut incoming.state {
            State::Collect { data, limit, share } => {
                if data.len().saturating_add(bytes.len()) > *limit {
                    fail_request(&origin, incoming.envelope, Failure::TooLarge);
                    incoming.state = refuse(conn, stream, Failure::TooLarge);
                } else if !share.grow(bytes.len()) {
                    fail_request(&origin, incoming.envelope, Failure::Busy);
                    incoming.state = refuse(conn, stream, Failure::Busy);
                } else {
                    data.extend_from_slice(bytes);
                    conn.consumed(stream, bytes.len());
                }
            }
            State::Forward(to) => {
                let origin = Origin { outbox: origin, stream, turn };
                let chunk = Chunk::received(Bytes::copy_from_slice(bytes), origin);
                to.retain(|consumer| consumer.send(Part::Chunk(chunk.clone())));
            }
            State::Discard => conn.consumed(stream, bytes.len()),
            State::Refused => {}
        }
    }

    /// The stream is complete. A whole message is given out, what was handed on is ended there.
    pub(crate) fn end(&mut self, stream: StreamId) -> Option<Arrived> {
        let incoming = self.take(stream)?;
        match incoming.state {
            State::Collect { data, .. } => Some((incoming.envelope, data.into())),
            State::Forward(to) => {
                for consumer in to {
                    consumer.send(Part::End);
                }
                None
            }
            State::Discard | State::Refused => None,
        }
    }

    pub(crate) fn aborted(&mut self, stream: StreamId, why: Failure) {
        if let Some(Incoming { state: State::Forward(to), .. }) = self.take(stream) {
            for consumer in to {
                consumer.send(Part::Aborted(why));
            }
        }
    }

    /// A consumer is done with so many bytes.
    pub(crate) fn consumed(
        &mut self,
        (stream, turn): (StreamId, u64),
        bytes: usize,
        conn: &mut Connection<C>,
    ) {
        if self.get(stream).is_some_and(|incoming| incoming.turn == turn) {
            conn.consumed(stream, bytes);
        }
    }

    /// The last consumer is gone.
    pub(crate) fn stop(
        &mut self,
        (stream, turn): (StreamId, u64),
        why: Failure,
        conn: &mut Connection<C>,
    ) {
        if let Some(incoming) = self.get(stream)
            && incoming.turn == turn
        {
            incoming.state = refuse(conn, stream, why);
        }
    }

    fn get(&mut self, stream: StreamId) -> Option<&mut Incoming> {
        self.streams.get_mut(usize::from(stream.0))?.as_mut()
    }

    fn take(&mut self, stream: StreamId) -> Option<Incoming> {
        self.streams.get_mut(usize::from(stream.0))?.take()
    }
}

/// Answers a request that is not taken. Its stream may have ended before the stop arrives, and then that says nothing.
fn fail_request(outbox: &Weak<Outbox>, envelope: Envelope, why: Failure) {
    if let (Kind::Request(_), Some(outbox)) = (envelope.kind, outbox.upgrade()) {
        let failed = Outgoing::failed(envelope, why);
        let _ = outbox.try_push(Outgoing { epoch: outbox.epoch(), ..failed });
    }
}

fn refuse(conn: &mut Connection<C>, stream: StreamId, why: Failure) -> State {
    conn.stop(stream, why);
    State::Refused
}
