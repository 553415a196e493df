//! What sessions with other clients tell the caller, and the decisions they ask for.

use crate::{
    error::{CloseReason, Failure, PeerError},
    id::{Name, StreamId},
    key::PublicKey,
    message::Kind,
};

/// Something happened between this client and one other.
#[derive(Debug)]
#[non_exhaustive]
pub enum PeerEvent<'b> {
    /// The other side wants a session. Answer with [`Peers::answer`](super::Peers::answer) or
    /// [`Peers::refuse`](super::Peers::refuse).
    Greeting(Greeting),
    /// The other side has proven its key: is it the right one? Answer with [`Peers::accept`](super::Peers::accept).
    Verify(PeerVerify),
    /// [`Acquaintance::Diagnose`](super::Acquaintance::Diagnose): the key that answers now. There is no session.
    Offered(PublicKey),
    /// There is a session, and messages can be sent. `fresh`: nothing is left of an earlier one.
    Open {
        /// The other side has not known the session before this one, or there was none.
        fresh: bool,
    },
    /// The session wants a new handshake: [`Peers::handshake`](super::Peers::handshake). Until then, and unless it
    /// is only old, nothing can be sent.
    Wanted,
    /// Somebody on the other side has to be asked, which may take a while. Nothing proves it.
    Patience,
    /// An attempt has failed, or the session is over because the other side broke a rule.
    Failed(PeerError),
    /// The server has told of one key, and another was proven. There is no session.
    OtherKey(PublicKey),
    /// A message, whole.
    Message {
        /// What it is about: see [`channel`](super::channel).
        channel: u16,
        /// One-way, request or reply.
        kind: Kind,
        /// What it says.
        bytes: &'b [u8],
    },
    /// The other side says that a message did not get through.
    Refused {
        /// Of the message that failed.
        channel: u16,
        /// Of the message that failed.
        kind: Kind,
        /// Why.
        failure: Failure,
    },
    /// A message larger than a record begins.
    Begin {
        /// Its number until its end.
        stream: StreamId,
        /// What it is about.
        channel: u16,
        /// One-way, request or reply.
        kind: Kind,
        /// Its length in bytes, if the sender knows it.
        length: Option<u64>,
    },
    /// The next part of a large message. Call [`Peers::consumed`](super::Peers::consumed) once it is dealt with.
    Chunk {
        /// The stream.
        stream: StreamId,
        /// The part.
        bytes: &'b [u8],
    },
    /// A large message is complete.
    End(StreamId),
    /// A large message will never be complete.
    Aborted {
        /// The stream.
        stream: StreamId,
        /// Why.
        failure: Failure,
    },
    /// The receiver wants no more of a stream that this side sends. It is over.
    Stopped {
        /// The stream.
        stream: StreamId,
        /// Why.
        failure: Failure,
    },
    /// A stream that this side sends may go on.
    Credit(StreamId),
    /// Every stream of the session, in both directions, is over: something of them may be lost.
    Reset,
    /// So many messages of the other side were lost before this one.
    Lost(u32),
    /// So many of the latest messages of this side were lost; the other side says so.
    Undelivered(u32),
    /// The other side does not remember the session before: of so many of the latest messages of this side nobody
    /// knows whether they arrived.
    Unknown(u32),
    /// The other side has closed the session, or answered this side's close.
    Closed(CloseReason),
    /// This side has closed the session, and the other side has not answered. What it has received is unknown.
    Unanswered,
}

/// A decision: answer somebody who wants a session? Dropping it leaves the other side without an answer.
#[must_use = "the other side gets no answer"]
#[derive(Debug)]
pub struct Greeting {
    pub(super) key: PublicKey,
    pub(super) name: Name,
    pub(super) proven: bool,
    pub(super) bind: [u8; 8],
}

impl Greeting {
    /// The key that the server has named, and which the other side has proven if it [is](Self::is_proven).
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// The name that the server has named.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Whether the other side has proven its key already, so that an answer accepts it. Otherwise
    /// [`PeerEvent::Verify`] follows the answer. A proof may be a replay; only the session tells.
    pub fn is_proven(&self) -> bool {
        self.proven
    }
}

/// A decision: is this key the right one? Dropping it rejects.
#[must_use = "dropping it rejects the other side"]
#[derive(Debug)]
pub struct PeerVerify {
    pub(super) key: PublicKey,
    pub(super) name: Name,
    pub(super) bind: [u8; 8],
}

impl PeerVerify {
    /// The key that the other side has proven to hold.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// What it is called, as both it and the server say.
    pub fn name(&self) -> &Name {
        &self.name
    }
}
