//! What a client tells the program.

use core::fmt;

use serde::de::DeserializeOwned;

use super::Channel;
use crate::{
    proto::{
        CloseReason, Error, Failure, Kind, PeerId, PeerInfo, PublicKey, Refusal, StreamId, Verify,
        peer::PeerEvent,
    },
    value,
};

/// Something happened. Borrows only the receive buffer: the client is free for an answer while it is held.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'b> {
    /// First contact: is this the right server? Answer with [`Client::accept`](super::Client::accept) at once; without it,
    /// the connection ends. To ask a person, let it end, and call [`Client::trust`](super::Client::trust) when they agree.
    Verify(Verify),
    /// The server has admitted this client; channels are opened, and sessions go on, by themselves.
    Connected {
        /// Its key: pin it, if that is new.
        server: PublicKey,
        /// The cipher suites it supports, to be kept with the pin.
        suites: &'b [u8],
    },
    /// There is no connection any more, or none came about.
    Disconnected {
        /// Why.
        why: Ended,
        /// Whether this client will try again by itself.
        again: bool,
    },
    /// The answer to [`Client::create_channel`](super::Client::create_channel), on each connection anew.
    Channel {
        /// Which one.
        channel: Channel,
        /// Whether messages can be sent there now.
        result: Result<(), Failure>,
    },
    /// A message, whole.
    Message(Message<'b>),
    /// A message, request or stream of this client did not get through, or a request was not answered.
    Failed {
        /// Where it went.
        to: Address,
        /// What it was.
        kind: Kind,
        /// Why.
        why: Why,
    },
    /// A message larger than a record begins. Its parts follow; nothing is complete before `End`.
    Begin {
        /// What it is called until its end.
        stream: Stream,
        /// Where it comes from.
        from: Address,
        /// One-way, request or reply.
        kind: Kind,
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
        failure: Failure,
    },
    /// The receiver wants no more of a stream of this client. It is over.
    Stopped {
        /// The stream.
        stream: Stream,
        /// Why.
        failure: Failure,
    },
    /// A stream of this client may go on.
    Credit(Stream),
    /// What was turned away with [`SendError::Full`](crate::proto::SendError::Full) may be sent now.
    Room,
    /// About the session with another client. Whom to trust is the program's: compare the key with what is pinned. A
    /// [greeting](PeerEvent::Greeting) may be a replay, even one that is proven; a new key is pinned at
    /// [`PeerEvent::Verify`] or [`PeerEvent::Open`], which prove that its owner is there. Decisions in it are answered with
    /// [`Client::answer`](super::Client::answer), [`Client::accept_peer`](super::Client::accept_peer) and their opposites.
    Peer {
        /// Which client; its name is what the server calls it.
        peer: PeerInfo,
        /// What happened. Messages, streams and what a session needs to go on are not among it: they are events
        /// of their own, or dealt with.
        event: PeerEvent<'b>,
    },
    /// A handshake could not begin: the server knows no such client at the moment.
    NoPeer(Target),
}

/// Whom to have a session with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// Whoever the server calls so. The handshake shows its key, and asks whether that is the right one.
    Name(crate::proto::Name),
    /// The owner of a key that is pinned, whatever it is called.
    Key(PublicKey),
}

/// Where a message goes, or comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Address {
    /// The program that runs the server. The server reads it.
    Server(Channel),
    /// Every other client on a channel. Only a destination. The server reads it.
    Everyone(Channel),
    /// One client, through a channel. The server reads it, and says who sent it.
    Client(Channel, PeerId),
    /// The owner of a key, end to end. The server cannot read it.
    Peer(PublicKey),
}

impl From<Channel> for Address {
    fn from(channel: Channel) -> Self {
        Address::Server(channel)
    }
}

impl From<PublicKey> for Address {
    fn from(key: PublicKey) -> Self {
        Address::Peer(key)
    }
}

/// A message that has arrived.
#[derive(Clone, Copy, Debug)]
pub struct Message<'b> {
    /// Where it comes from, and where a reply goes.
    pub from: Address,
    /// Who has sent it, unless it was the server's program. End to end the key is proven; on a channel the server says so.
    pub sender: Option<PeerInfo>,
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

    /// What it says, as a value that was sent with `send_value` here or in `pysock-std`.
    ///
    /// # Errors
    /// It is something else.
    pub fn value<T: DeserializeOwned>(&self) -> Result<T, postcard::Error> {
        value::decode(self.bytes)
    }
}

/// A large message under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stream {
    pub(super) peer: Option<PublicKey>,
    pub(super) id: StreamId,
    /// Streams of another connection are over.
    pub(super) connection: u16,
}

/// Why something of this client did not get through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// The other side, or the server, says why.
    Failure(Failure),
    /// No reply came in time.
    TimedOut,
}

/// Why a connection is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Ended {
    /// An authenticated close, of either side.
    Closed(CloseReason),
    /// The server itself says that it does not admit this client.
    Refused(Refusal),
    /// Another key than the pinned one answers, and owns it. Nothing of this client was revealed to it. No pin has changed.
    OtherKey(PublicKey),
    /// It broke, or could not be made. Nothing proves anything by it.
    Failed(Error),
    /// The server could not be reached.
    Unreachable,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Failure(why) => why.fmt(f),
            Why::TimedOut => f.write_str("there was no reply in time"),
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ended::Closed(why) => write!(f, "closed: {why}"),
            Ended::Refused(why) => write!(f, "the server refuses this client: {why}"),
            Ended::OtherKey(key) => {
                write!(f, "the server has another key now, {key}: find out why before you trust it")
            }
            Ended::Failed(why) => why.fmt(f),
            Ended::Unreachable => f.write_str("the server cannot be reached"),
        }
    }
}
