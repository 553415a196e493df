//! What waits in an outbox: messages and sealed records, what each costs, and who hears that it did not get through.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use pysock_proto::{Envelope, Failure, PeerId, PeerInfo};

use super::Outbox;
use crate::{relay::Sealed, transfer::Parts};

/// What every queued item costs beyond its data, in bytes: its own size, roughly.
pub(super) const OVERHEAD: usize = 128;

/// A message on its way out.
pub(crate) struct Outgoing {
    pub(crate) envelope: Envelope,
    /// Who it is from, if it is not this side itself: announced to the receiver if need be.
    pub(crate) from: Option<Arc<PeerInfo>>,
    pub(crate) body: Body,
    /// Which connection its peer numbers belong to; see [`Outbox::restart`].
    pub(crate) epoch: u64,
    pub(crate) report: Report,
}

/// Who is told when a message does not get through.
pub(crate) enum Report {
    Nobody,
    /// The client that sent it through this server, which knows it by this envelope.
    Relay(Weak<Outbox>, Envelope),
    /// The client that sent a sealed unit through this server, for this peer.
    Sealer(Weak<Outbox>, PeerId),
    /// The program on this side.
    Program(Arc<dyn Fn(Envelope, Failure) + Send + Sync>, Envelope),
}

impl Report {
    pub(crate) fn tell(self, why: Failure) {
        match self {
            Report::Nobody => {}
            Report::Relay(outbox, envelope) => {
                if let Some(outbox) = outbox.upgrade() {
                    // A sender that does not even read failures misses them.
                    let _ = outbox.try_push(Outgoing::failed(envelope, why));
                }
            }
            Report::Sealer(outbox, peer) => {
                if let Some(outbox) = outbox.upgrade() {
                    outbox.relay_failed(peer, why);
                }
            }
            Report::Program(tell, envelope) => tell(envelope, why),
        }
    }
}

pub(crate) enum Body {
    Whole(Bytes),
    Failed(Failure),
    Parts(Parts),
}

impl Outgoing {
    pub(crate) fn cost(&self) -> usize {
        match &self.body {
            Body::Whole(bytes) => bytes.len().saturating_add(OVERHEAD),
            Body::Failed(_) | Body::Parts(_) => OVERHEAD,
        }
    }

    /// Says that what `envelope` is about has failed.
    pub(crate) fn failed(envelope: Envelope, why: Failure) -> Self {
        let (body, report) = (Body::Failed(why), Report::Nobody);
        Outgoing { envelope, from: None, body, epoch: 0, report }
    }

    /// Tells whoever cares that it did not get through.
    pub(crate) fn fail(self, why: Failure) {
        self.report.tell(why);
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
