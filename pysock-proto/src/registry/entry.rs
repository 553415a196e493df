//! What the registry keeps, takes and gives.

use core::fmt;

use crate::{
    error::Refusal,
    id::{Name, PeerId},
    key::PublicKey,
};

/// The adapter's handle of a live connection. Numbers rise with the connections: one that begins later has a higher one.
///
/// Of two connections of one client the newer is the active one, whichever proves its key first. So a connection has to have its
/// number before the server says anything on it: a client that has given it up, and come again, cannot have answered before that.
///
/// The adapter must not give the number of a connection to another one before it has called
/// [`Registry::offline`](super::Registry::offline) and
/// [`Router::drop_slot`](crate::router::Router::drop_slot) for it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Slot(pub u32);

/// Who may come in under which name. Existing bindings hold under every policy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Policy {
    /// Only keys whose bindings were loaded beforehand, each under its own name.
    AllowList,
    /// The first key that claims a free name has it from then on; every new binding is persisted.
    ClaimOnce {
        /// The highest number of identities known at once, bindings and unfinished claims together.
        /// Bindings that are loaded do not stop at it, but no claim goes beyond.
        quota: u32,
    },
    /// A name is free while nobody uses it. Nothing is persisted.
    Open,
}

/// One identity known to the server.
#[derive(Clone, Debug)]
pub struct Entry {
    pub(super) key: PublicKey,
    pub(super) name: Name,
    pub(super) peer: PeerId,
    pub(super) slot: Option<Slot>,
    /// Claims neither confirmed nor withdrawn.
    pub(super) claims: u16,
    pub(super) bound: bool,
}

impl Entry {
    /// The identity itself.
    pub const fn key(&self) -> &PublicKey {
        &self.key
    }

    /// The label that goes with it here.
    pub const fn name(&self) -> &Name {
        &self.name
    }

    /// Its number while this server runs.
    pub const fn peer(&self) -> PeerId {
        self.peer
    }

    /// Its active connection; `None` while it is offline or still being admitted.
    pub const fn slot(&self) -> Option<Slot> {
        self.slot
    }

    /// Whether name and key belong together for good, beyond this connection and this run.
    pub const fn is_bound(&self) -> bool {
        self.bound
    }

    /// Whether anything still needs this entry.
    pub(super) const fn is_needed(&self) -> bool {
        self.bound || self.slot.is_some() || self.claims > 0
    }
}

/// A name held for a key that is being admitted. Hand it to
/// [`Registry::confirm`](super::Registry::confirm) or [`Registry::withdraw`](super::Registry::withdraw).
///
/// A claim that is dropped instead holds its name until the server restarts or
/// [`Registry::remove`](super::Registry::remove) is called: an async adapter that can be cancelled while
/// it persists keeps the claim in a guard that withdraws it.
#[derive(Debug)]
#[must_use = "confirm or withdraw it: it holds the name"]
pub struct Claim {
    pub(super) peer: PeerId,
    pub(super) fresh: bool,
}

impl Claim {
    /// The number that the identity has, or will have once it is admitted.
    pub const fn peer(&self) -> PeerId {
        self.peer
    }

    /// Whether this makes a new binding, which has to be on disk *before* the claim is confirmed.
    ///
    /// Two connections of one key at the same moment may both get `true`: storing a binding twice must
    /// do no harm.
    pub const fn must_persist(&self) -> bool {
        self.fresh
    }
}

/// A client that is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Admitted {
    /// Its number: what the server stamps on everything this connection sends.
    pub peer: PeerId,
    /// The older connection of the same key, no longer active. Drop its memberships in the router and
    /// close it with [`CloseReason::Replaced`](crate::CloseReason::Replaced).
    pub replaced: Option<Slot>,
}

/// Why a binding was not loaded. Nothing has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum BindError {
    /// Another key has the name, or uses it now: this one.
    NameTaken(PeerId),
    /// The key has another name: as this peer.
    KeyHasName(PeerId),
    /// There is no storage left, or no number.
    Full,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BindError::NameTaken(peer) => {
                write!(f, "the name belongs to another key (peer {peer})")
            }
            BindError::KeyHasName(peer) => write!(f, "the key has another name (peer {peer})"),
            BindError::Full => f.write_str("there is no room for another binding"),
        }
    }
}

impl core::error::Error for BindError {}

impl From<crate::store::Full> for BindError {
    fn from(_: crate::store::Full) -> Self {
        BindError::Full
    }
}

impl From<crate::store::Full> for Refusal {
    fn from(_: crate::store::Full) -> Self {
        Refusal::Full
    }
}

// A server holds one for each identity it knows; its two index elements are four bytes each.
const _: () = assert!(size_of::<Entry>() <= 80);
