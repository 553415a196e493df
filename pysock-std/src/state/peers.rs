//! Pinned peers: other clients, by the labels they have here.

use pysock_proto::{Name, PublicKey};

use super::{AlreadyBound, State, bind};

/// How many peers may be pinned. Accepting everybody whom a server makes up must not fill the disk.
pub const MAX_PEERS: usize = 65_536;

/// Why a peer was not pinned. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotPinned {
    /// Another key is pinned under this label.
    #[error(transparent)]
    OtherKey(#[from] AlreadyBound),
    /// There is no room for one more.
    #[error("{MAX_PEERS} peers are pinned already, and there may be no more: remove some first")]
    Full,
}

impl State {
    /// The key pinned under this label.
    pub fn peer(&self, label: &Name) -> Option<PublicKey> {
        self.peers.get(label).copied()
    }

    /// The label of a key: if it has several, the alphabetically first. Looks at every pin.
    pub fn peer_label(&self, key: &PublicKey) -> Option<Name> {
        self.peers.iter().find(|(_, pinned)| *pinned == key).map(|(label, _)| *label)
    }

    /// Remembers a peer. A key may have several labels, a label has one key.
    ///
    /// # Errors
    /// [`NotPinned`]: another key has the label, or there are [`MAX_PEERS`] already.
    pub fn pin_peer(&mut self, label: Name, key: PublicKey) -> Result<(), NotPinned> {
        if self.peers.len() >= MAX_PEERS && !self.peers.contains_key(&label) {
            return Err(NotPinned::Full);
        }
        bind(&mut self.peers, label, key, |pinned| *pinned, key)?;
        Ok(())
    }

    /// Forgets a peer, and returns the key it had.
    pub fn forget_peer(&mut self, label: &Name) -> Option<PublicKey> {
        self.peers.remove(label)
    }

    /// Gives another key to a label that has one, and returns the old key. `None`: nothing is pinned under this
    /// label, and nothing was changed.
    ///
    /// Only for a person's explicit decision: nothing that comes from the network may lead here.
    pub fn replace_peer(&mut self, label: &Name, key: PublicKey) -> Option<PublicKey> {
        self.peers.get_mut(label).map(|pinned| std::mem::replace(pinned, key))
    }
}
