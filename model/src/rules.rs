//! How the clients of a world behave, and which rule is undone in the worlds that have to fail.

use pysock_proto::{
    PublicKey, Unit,
    crypto::Crypto,
    peer::{FixedPeers, Peers},
};

/// What becomes of a first message that arrives during an own attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Crossing {
    /// As the protocol has it: the smaller ephemeral key comes first.
    Smaller,
    /// Undone: everybody insists on its own attempt.
    NeitherYields,
    /// Undone: everybody gives its own attempt up.
    BothYield,
}

/// Of both clients.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// Whether each knows the other's key: KK, else XX.
    pub(crate) pinned: [bool; 2],
    /// Whose ephemeral keys are the smaller ones: the first client's.
    pub(crate) first_is_smaller: bool,
    pub(crate) crossing: Crossing,
}

/// First messages of a handshake, by their first byte.
const FIRST: [u8; 2] = [0x01, 0x11];

impl Rules {
    pub(crate) fn new(pinned: [bool; 2], first_is_smaller: bool) -> Self {
        Rules { pinned, first_is_smaller, crossing: Crossing::Smaller }
    }

    /// Whether a rule that is undone would decide about this unit: a first message in an own attempt, before a session.
    pub(crate) fn broken_by<C: Crypto, const N: usize, const M: usize>(
        &self,
        unit: Unit,
        bytes: &[u8],
        peers: &FixedPeers<C, N, M>,
        from: &PublicKey,
    ) -> bool {
        let first = bytes.first().is_some_and(|step| FIRST.contains(step));
        // Without a session, only an attempt has a deadline.
        let attempt = Peers::get(peers, from).is_none() && peers.deadline().is_some();
        self.crossing != Crossing::Smaller && unit == Unit::Handshake && first && attempt
    }
}
