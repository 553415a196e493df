//! Where a message goes and what it is: the part of it that a server acts on.

use crate::id::{ChannelId, PeerId, RequestId};

/// The other end of a message as a client sees it: its destination when sending, its source when receiving.
/// A source is always what the server stamped, never what a message says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Party {
    /// The program that runs the server.
    Server,
    /// Every other client on the channel. Only a destination.
    Everyone,
    /// One client.
    Peer(PeerId),
}

impl Party {
    /// The number that stands for it on the wire: 0 is the server, 2^32 - 1 is everyone.
    pub const fn to_wire(self) -> u32 {
        match self {
            Party::Server => 0,
            Party::Everyone => u32::MAX,
            Party::Peer(PeerId(id)) => id,
        }
    }

    /// What a number on the wire stands for.
    pub const fn from_wire(number: u32) -> Self {
        match number {
            0 => Party::Server,
            u32::MAX => Party::Everyone,
            id => Party::Peer(PeerId(id)),
        }
    }
}

/// What a message is to its receiver. A reply never looks like a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// One way; nothing comes back.
    Message,
    /// Asks for exactly one reply with the same number.
    Request(RequestId),
    /// Answers a request.
    Reply(RequestId),
}

/// What two clients say to each other in a sealed unit that a server passes on without seeing inside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// A handshake of their session, or a notice about one: few, and never held up by records.
    Handshake,
    /// A record of their session.
    Record,
}

/// What stands on the outside of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Envelope {
    /// The channel, as this connection numbers it.
    pub channel: ChannelId,
    /// Destination when sending, source when receiving.
    pub party: Party,
    /// One-way, request or reply.
    pub kind: Kind,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_one_party() {
        for number in [0, 1, 2, 0x8000_0000, u32::MAX - 1, u32::MAX] {
            assert_eq!(Party::from_wire(number).to_wire(), number);
        }
        assert_eq!(Party::from_wire(0), Party::Server);
        assert_eq!(Party::from_wire(u32::MAX), Party::Everyone);
        assert_eq!(Party::from_wire(7), Party::Peer(PeerId(7)));
    }
}
