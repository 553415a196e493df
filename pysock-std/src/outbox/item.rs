//! What waits in an outbox: messages and sealed records, what each costs, and who hears that it did not get through.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use pysock_proto::{ChannelId, Envelope, Failure, Kind, PeerId, PeerInfo};

use super::Outbox;
use crate::{
    payload::{Packed, Packer, Payload},
    relay::Sealed,
    transfer::Parts,
};

/// What every queued item costs beyond its data, in bytes: its own size, roughly.
pub(super) const OVERHEAD: usize = 128;

/// The longest message that shares an item of the queue with others, in bytes: copying it costs less than an item of its
/// own.
const SMALL: usize = 1024;
/// An item takes in no more once it has so many bytes.
const BATCH: usize = 16 * 1024;

/// A message on its way out, or several small ones to the same place.
pub(crate) struct Outgoing {
    pub(crate) envelope: Envelope,
    /// Who it is from, if it is not this side itself: announced to the receiver if need be.
    pub(crate) from: Option<Arc<PeerInfo>>,
    pub(crate) body: Body,
    /// Which connection its peer numbers belong to; see [`Outbox::restart`].
    pub(crate) epoch: u32,
    pub(crate) report: Report,
}

/// Who has written messages, and hears of those that did not get through.
pub(crate) trait Author: Send + Sync {
    fn failed(&self, envelope: Envelope, why: Failure);
}

/// Who is told when a message does not get through.
#[derive(Clone)]
pub(crate) enum Report {
    Nobody,
    /// Whoever reads the log.
    Log(Envelope),
    /// The client that sent it through this server, which knows it by this envelope.
    Relay(Weak<Outbox>, Envelope),
    /// The client that sent a sealed unit through this server, for this peer.
    Sealer(Weak<Outbox>, PeerId),
    /// The program on this side.
    Program(Weak<dyn Author>, Envelope),
    /// Whoever has sent it to another client, end to end.
    Session(Arc<dyn Fn(Envelope, Failure) + Send + Sync>, Envelope),
}

impl Report {
    pub(crate) fn tell(&self, why: Failure) {
        match self {
            Report::Nobody => {}
            Report::Log(envelope) => {
                tracing::info!(?envelope, %why, "a message did not get through");
            }
            Report::Relay(outbox, envelope) => {
                if let Some(outbox) = outbox.upgrade() {
                    // A sender that does not even read failures misses them.
                    let _ = outbox.push_small(Outgoing::failed(*envelope, why));
                }
            }
            Report::Sealer(outbox, peer) => {
                if let Some(outbox) = outbox.upgrade() {
                    outbox.relay_failed(*peer, why);
                }
            }
            Report::Program(author, envelope) => {
                if let Some(author) = author.upgrade() {
                    author.failed(*envelope, why);
                }
            }
            Report::Session(tell, envelope) => tell(*envelope, why),
        }
    }

    /// Whether both say the same to the same.
    fn is_same(&self, other: &Report) -> bool {
        match (self, other) {
            (Report::Nobody, Report::Nobody) => true,
            (Report::Log(a), Report::Log(b)) => a == b,
            (Report::Relay(to, a), Report::Relay(other, b)) => a == b && Weak::ptr_eq(to, other),
            (Report::Program(to, a), Report::Program(other, b)) => {
                a == b && Weak::ptr_eq(to, other)
            }
            _ => false,
        }
    }
}

impl From<Payload> for Body {
    fn from(payload: Payload) -> Self {
        match payload {
            Payload::One(bytes) => Body::Whole(bytes),
            Payload::Many(packed) => Body::Packed(packed),
        }
    }
}

pub(crate) enum Body {
    Whole(Bytes),
    /// Several small ones, and more may join them.
    Joined(Packer),
    /// Several small ones, one after the other.
    Packed(Packed),
    Failed(Failure),
    Parts(Parts),
}

/// What keeps its order: what one source says on one channel (PROTOCOL 13.1). `None`: this side itself.
pub(crate) type Sequence = (ChannelId, Option<PeerId>);

impl Outgoing {
    pub(crate) fn sequence(&self) -> Sequence {
        (self.envelope.channel, self.from.as_ref().map(|from| from.id))
    }

    pub(crate) fn cost(&self) -> usize {
        match &self.body {
            Body::Whole(bytes) => bytes.len().saturating_add(OVERHEAD),
            Body::Joined(packer) => packer.size().saturating_add(OVERHEAD),
            Body::Packed(packed) => packed.size().saturating_add(OVERHEAD),
            Body::Failed(_) | Body::Parts(_) => OVERHEAD,
        }
    }

    /// Ready to be sent: nothing more will join it.
    pub(crate) fn complete(&mut self) {
        if let Body::Joined(packer) = &mut self.body {
            let packer = std::mem::replace(packer, Packer::new(&self.envelope));
            self.body = Body::Packed(packer.pack());
        }
    }

    /// Each of its messages by itself, in order: one of them has to take another way.
    pub(crate) fn apart(self) -> impl DoubleEndedIterator<Item = Self> {
        let Outgoing { envelope, from, body, epoch, report } = self;
        let alone: Vec<Body> = match body {
            Body::Packed(packed) => {
                Payload::Many(packed).into_messages().map(Body::Whole).collect()
            }
            other => vec![other],
        };
        alone.into_iter().map(move |body| {
            let (from, report) = (from.clone(), report.clone());
            Outgoing { envelope, from, body, epoch, report }
        })
    }

    /// Says that what `envelope` is about has failed.
    pub(crate) fn failed(envelope: Envelope, why: Failure) -> Self {
        let (body, report) = (Body::Failed(why), Report::Nobody);
        Outgoing { envelope, from: None, body, epoch: 0, report }
    }

    /// How many messages it is.
    pub(super) fn count(&self) -> usize {
        match &self.body {
            Body::Joined(packer) => packer.count(),
            Body::Packed(packed) => packed.count(),
            _ => 1,
        }
    }

    /// Takes `next` in, if both are small messages of one sender to the same place; gives it back otherwise.
    pub(super) fn join(&mut self, next: Outgoing) -> Result<(), Outgoing> {
        let Body::Whole(bytes) = &next.body else { return Err(next) };
        let same_from = match (&self.from, &next.from) {
            (None, None) => true,
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            _ => false,
        };
        let joins = self.envelope == next.envelope
            && next.envelope.kind == Kind::Message
            && bytes.len() <= SMALL
            && same_from
            && self.epoch == next.epoch
            && self.report.is_same(&next.report);
        if !joins {
            return Err(next);
        }
        match &mut self.body {
            Body::Joined(packer) if packer.size() < BATCH => packer.push(bytes),
            Body::Whole(first) if first.len() <= SMALL => {
                let mut packer = Packer::new(&self.envelope);
                packer.push(first);
                packer.push(bytes);
                self.body = Body::Joined(packer);
            }
            _ => return Err(next),
        }
        Ok(())
    }

    /// Tells whoever cares that it did not get through.
    pub(crate) fn fail(self, why: Failure) {
        for _ in 0..self.count() {
            self.report.tell(why);
        }
        if let Body::Parts(parts) = self.body {
            parts.refuse(why);
        }
    }
}

/// What takes room in the queue.
pub(crate) enum Item {
    Message(Outgoing),
    Record(Sealed),
}

impl From<Outgoing> for Item {
    fn from(message: Outgoing) -> Self {
        Item::Message(message)
    }
}

impl From<Sealed> for Item {
    fn from(record: Sealed) -> Self {
        Item::Record(record)
    }
}

impl Item {
    pub(super) fn cost(&self) -> usize {
        match self {
            Item::Message(message) => message.cost(),
            Item::Record(record) => record_cost(record),
        }
    }

    /// How many messages, or records, it is.
    pub(super) fn count(&self) -> usize {
        match self {
            Item::Message(message) => message.count(),
            Item::Record(_) => 1,
        }
    }

    pub(super) fn fail(self, why: Failure) {
        match self {
            Item::Message(message) => message.fail(why),
            Item::Record(record) => record.fail(why),
        }
    }

    /// Its receiver is gone.
    pub(super) fn fail_gone(self) {
        match self {
            Item::Message(message) => message.fail(Failure::NoPeer),
            Item::Record(record) => record.fail(Failure::Gone),
        }
    }
}

/// What a record costs in the queue.
pub(crate) fn record_cost(record: &Sealed) -> usize {
    record.bytes.len().saturating_add(OVERHEAD)
}
