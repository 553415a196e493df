//! What a connection tells its caller, and the decisions it asks for.

use crate::{
    directory::{Find, PeerInfo},
    error::{CloseReason, Failure, Refusal},
    id::{ChannelId, ChannelName, Name, PeerId, StreamId},
    key::PublicKey,
    limits::Limits,
    message::{Envelope, Unit},
};

/// Something happened. Borrows only the receive buffer, so the connection is free for an answer while it is held.
///
/// New kinds come with new versions: ignore what you do not know, except decisions, which fail closed by
/// themselves.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'b> {
    /// Server: a client names a pre-shared key. Answer with [`Connection::provide_psk`](crate::Connection::provide_psk).
    PskWanted(PskRequest),
    /// Client, first contact: is this the right server? Answer with [`Connection::accept`](crate::Connection::accept).
    Verify(Verify),
    /// Client with a pin, diagnosis: this is the key that the server has now. The connection is over.
    Offered(PublicKey),
    /// Server: may this client come in? Answer with [`Connection::admit`](crate::Connection::admit) or
    /// [`Connection::refuse`](crate::Connection::refuse).
    Admission(Admission),
    /// Client: admitted. The connection is open.
    Welcome {
        /// This client's own number at the server.
        id: PeerId,
        /// The suites that the server supports, as prelude bytes.
        suites: &'b [u8],
    },
    /// Client: not admitted, and the server itself says why. The connection is over.
    Refused(Refusal),
    /// Server: the client wants a channel. Answer with [`Connection::answer_open`](crate::Connection::answer_open).
    Open {
        /// The number by which both sides will call it.
        id: ChannelId,
        /// Its name.
        name: ChannelName,
    },
    /// Client: the answer to [`Connection::open_channel`](crate::Connection::open_channel).
    Opened {
        /// The channel's number.
        id: ChannelId,
        /// Whether the client is on it now.
        result: Result<(), Failure>,
    },
    /// Server: the client wants nothing more from this channel.
    Left(ChannelId),
    /// Server: the client looks for another. Answer with [`Connection::answer_find`](crate::Connection::answer_find).
    Find {
        /// Repeat it in the answer.
        query: u16,
        /// Whom it looks for.
        find: Find,
    },
    /// Client: the answer to [`Connection::find`](crate::Connection::find).
    Found {
        /// As given with the question.
        query: u16,
        /// Who it is, if such a client is connected.
        peer: Option<PeerInfo>,
    },
    /// Client: whom the number of a sender stands for. Comes before the first message with that number.
    Peer(PeerInfo),
    /// A whole message.
    Message {
        /// Where it comes from (on a server: where it goes) and what it is.
        envelope: Envelope,
        /// What it says.
        bytes: &'b [u8],
    },
    /// A message, request or stream did not get through.
    Failed {
        /// The envelope of what failed; its party is whom it was meant for.
        envelope: Envelope,
        /// Why.
        failure: Failure,
    },
    /// A message larger than a record begins. Its parts follow; nothing is complete before `End`.
    Begin {
        /// Its number until its end.
        stream: StreamId,
        /// Where it comes from (on a server: where it goes) and what it is.
        envelope: Envelope,
        /// Its length in bytes, if the sender knows it; then the protocol guarantees it.
        length: Option<u64>,
    },
    /// The next part of a large message. Call [`Connection::consumed`](crate::Connection::consumed) once it is
    /// dealt with, or the sender runs out of credit.
    Chunk {
        /// The stream.
        stream: StreamId,
        /// The part.
        bytes: &'b [u8],
    },
    /// A large message is complete, in its declared length.
    End(StreamId),
    /// A large message will never be complete; throw away what came of it.
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
    /// A sealed unit of two clients. A server passes it on, unread, with the source it knows; a client lends it to
    /// the session with that peer.
    Relay {
        /// Where it comes from (on a server: where it goes).
        peer: PeerId,
        /// What kind it is.
        unit: Unit,
        /// The unit, to be decrypted in place.
        bytes: &'b mut [u8],
    },
    /// Client: the server did not pass on what was for this peer. A hint: the server says so, nothing proves it.
    RelayFailed {
        /// Whom it was for.
        peer: PeerId,
        /// Why.
        failure: Failure,
    },
    /// A record held nothing for the application. Keeps the work of one call at one record.
    Handled,
    /// The other side closes, and everything that it sent before has been delivered. It waits some seconds for
    /// what this side still has to say; [`Connection::close`](crate::Connection::close) then answers.
    Closed(CloseReason),
}

/// A decision for a server: which key belongs to this hint? Dropping it ends the handshake.
#[must_use = "the handshake ends unless the request is answered"]
#[derive(Debug)]
pub struct PskRequest {
    pub(crate) hint: [u8; 8],
    pub(crate) bind: [u8; 8],
}

impl PskRequest {
    /// The hint that the client sent, in clear text.
    pub fn hint(&self) -> [u8; 8] {
        self.hint
    }
}

/// A decision for a client on first contact: is this key the server's? Dropping it rejects.
///
/// Owns nothing of the connection, so it may travel to another thread or wait for a person. It is bound to
/// the handshake it came from: no other connection takes it.
#[must_use = "dropping it rejects the server"]
#[derive(Debug)]
pub struct Verify {
    pub(crate) key: PublicKey,
    pub(crate) bind: [u8; 8],
}

impl Verify {
    /// The key that the other side has proven to hold.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }
}

/// A decision for a server: may this client come in? Dropping it ends the connection.
///
/// Bound to the handshake it came from, like [`Verify`].
#[must_use = "dropping it rejects the client"]
#[derive(Debug)]
pub struct Admission {
    pub(crate) key: PublicKey,
    pub(crate) name: Name,
    pub(crate) limits: Limits,
    pub(crate) psk_hint: Option<[u8; 8]>,
    pub(crate) bind: [u8; 8],
}

impl Admission {
    /// The key that the client has proven to hold: its identity.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// What the client would like to be called.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// What the client can take.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The hint of the pre-shared key that the client has proven to hold, if it came with one.
    pub fn psk_hint(&self) -> Option<[u8; 8]> {
        self.psk_hint
    }
}
