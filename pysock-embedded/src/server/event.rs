//! What a server tells its program.

use serde::de::DeserializeOwned;

use crate::{
    client::{Ended, Why},
    proto::{
        ChannelId, Kind, PeerId, PeerInfo, PublicKey, Refusal, RequestId, StreamId, registry::Slot,
        router::Channel,
    },
    value,
};

/// Something happened. Borrows only the receive buffer: the server is free for an answer while it is held.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'b> {
    /// A client is in.
    Joined {
        /// Which one. Its key is proven; it is called as it wished.
        peer: PeerInfo,
        /// Key and name belong together from now on. [`bind`](super::Server::bind) them after a reset, if that is to last.
        claimed: bool,
        /// It was in already, and comes back on another connection. The one before it is not used any more.
        again: bool,
    },
    /// A client was not let in.
    TurnedAway {
        /// The key that it has proven to hold.
        key: PublicKey,
        /// Why.
        why: Refusal,
    },
    /// A client is gone.
    Left {
        /// Which one.
        peer: PeerInfo,
        /// Why.
        why: Ended,
    },
    /// A client is on a channel now, so that it can be sent something there.
    OnChannel {
        /// Which one.
        peer: PeerInfo,
        /// The channel.
        channel: Channel,
    },
    /// A message to the server, whole.
    Message(Message<'b>),
    /// A request of the program was not answered.
    Failed {
        /// The request.
        id: RequestId,
        /// Whom it went to.
        peer: PeerId,
        /// Why.
        why: Why,
    },
    /// A message larger than a record begins. Its parts follow; nothing is complete before `End`.
    Begin {
        /// What it is called until its end.
        stream: Stream,
        /// Who sends it.
        sender: PeerInfo,
        /// Where.
        channel: Channel,
        /// Its length in bytes, if the sender knows it.
        length: Option<u64>,
    },
    /// The next part of a large message. It is dealt with when the handler returns.
    Chunk {
        /// The stream.
        stream: Stream,
        /// The part.
        bytes: &'b [u8],
    },
    /// A large message is complete.
    End(Stream),
    /// A large message will never be complete; throw away what came of it.
    Aborted {
        /// The stream.
        stream: Stream,
        /// Why.
        failure: crate::proto::Failure,
    },
}

/// A message to the server.
#[derive(Clone, Copy, Debug)]
pub struct Message<'b> {
    /// Who has sent it: its key is proven, and nobody reads it on the way.
    pub sender: PeerInfo,
    /// Where.
    pub channel: Channel,
    /// One-way, request or reply.
    pub kind: Kind,
    /// What it says.
    pub bytes: &'b [u8],
}

impl Message<'_> {
    /// What it says, as text.
    ///
    /// # Errors
    /// It is not UTF-8.
    pub fn text(&self) -> Result<&str, core::str::Utf8Error> {
        str::from_utf8(self.bytes)
    }

    /// What it says, as a value that was sent with `send_value` on a client here or in `pysock-std`.
    ///
    /// # Errors
    /// It is something else.
    pub fn value<T: DeserializeOwned>(&self) -> Result<T, postcard::Error> {
        value::decode(self.bytes)
    }
}

/// A request whose answer comes later: from [`Server::defer`](super::Server::defer).
///
/// Dropping it leaves the requester to its own deadline.
#[must_use = "the client waits for an answer"]
#[derive(Debug)]
pub struct Asked {
    pub(super) slot: Slot,
    pub(super) local: ChannelId,
    pub(super) id: RequestId,
}

/// A large message under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stream {
    pub(super) slot: Slot,
    pub(super) id: StreamId,
}
