//! Who a message is from or for, and what kind of message it is.

use crate::id::{PeerId, RequestId};

/// One end of a message, as a server knows it.
///
/// In a message that arrived it is the source, and the server put it there: a routing hint about a
/// peer, never the sender's own claim. In a message to send it is the destination.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Party {
    /// The program that runs the server.
    Server,
    /// Every client on the channel except the sender. A destination only.
    Everyone,
    /// One client.
    Peer(PeerId),
}

impl Party {
    /// The number that stands for this party on the wire: 0 is the server, `u32::MAX` is everyone.
    ///
    /// No registry gives these two to a peer, so nothing is ambiguous.
    pub const fn to_wire(self) -> u32 {
        match self {
            Party::Server => 0,
            Party::Everyone => u32::MAX,
            Party::Peer(PeerId(id)) => id,
        }
    }

    /// The party that `number` stands for on the wire. Every number stands for one.
    pub const fn from_wire(number: u32) -> Self {
        match number {
            0 => Party::Server,
            u32::MAX => Party::Everyone,
            id => Party::Peer(PeerId(id)),
        }
    }
}

/// What a message expects, or what it answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// One-way: nothing comes back.
    Message,
    /// A question; its requester chose the number and waits for one reply with it.
    Request(RequestId),
    /// The answer to the request with this number, from the one who was asked.
    Reply(RequestId),
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
