//! Who may be called what, and who is connected where.
//!
//! An identity is a public key; a name is a label that the server puts on it. One key has at most one
//! name and one name at most one key, and only the operator ([`Registry::remove`]) takes a name from the
//! key that has it: nothing that arrives from the network does.
//!
//! Admission has two steps, because a new binding must be on disk before its client is in, and a disk
//! takes time in which others come:
//!
//! ```text
//!              claim(key, name)                confirm(claim, slot)
//!   stranger ───────────────────▶ name is held ────────────────────▶ online ── offline(peer, slot) ─▶ …
//!              │                       │ withdraw(claim)
//!              ▼ Refusal               ▼
//!              no trace                name is free again, unless something else needs it
//! ```
//!
//! An entry stays while it is bound, online or claimed. A [`PeerId`] is given once and never again while
//! the server runs, so an answer that comes late, or a claim that was overtaken by the operator, finds
//! nobody instead of somebody else.

mod entry;
#[cfg(test)]
mod tests;

use core::cmp::Ordering;

pub use entry::{Admitted, BindError, Claim, Entry, Policy, Slot};

use crate::{
    error::Refusal,
    id::{Name, PeerId},
    key::PublicKey,
    store::{Fixed, Full, Store},
};

/// The names, keys and connections of one server, in storage `E` for entries and `I` for each of two
/// indices. Every look-up halves a sorted table.
#[derive(Debug)]
pub struct Registry<E, I> {
    policy: Policy,
    /// The next number to give; `u32::MAX` when they are used up.
    next: u32,
    /// By number, which is the order of arrival.
    entries: E,
    by_key: I,
    by_name: I,
}

/// A registry for at most `N` identities inside itself: about 90 bytes for each.
pub type FixedRegistry<const N: usize> = Registry<Fixed<Entry, N>, Fixed<PeerId, N>>;

impl<E, I> Registry<E, I> {
    /// An empty registry. The three stores have to be empty.
    pub const fn new(policy: Policy, entries: E, by_key: I, by_name: I) -> Self {
        Registry { policy, next: 1, entries, by_key, by_name }
    }
}

/// Rules: claiming, confirming, leaving, and the operator's part.
impl<E: Store<Entry>, I: Store<PeerId>> Registry<E, I> {
    /// Asks whether `key`, proved by a handshake, may be called `name`, and holds the name for it.
    ///
    /// The name is held at once: of two strangers who ask at the same moment the first one has it. A key
    /// that is connected, bound or being admitted keeps its one name under every policy.
    ///
    /// # Errors
    /// - [`Refusal::KeyHasName`]: this key has another name.
    /// - [`Refusal::NotAllowed`]: the allow list does not have this key. Asked first, so that a stranger
    ///   cannot find out which names exist.
    /// - [`Refusal::NameTaken`]: the name is bound to another key.
    /// - [`Refusal::NameInUse`]: another key uses the name now, or is being admitted under it.
    /// - [`Refusal::Full`]: the quota, the storage or the numbers are used up.
    ///
    /// After a refusal nothing has changed.
    pub fn claim(&mut self, key: &PublicKey, name: &Name) -> Result<Claim, Refusal> {
        let known = self.by_key(key).map(|e| (e.peer, e.bound, e.name == *name));
        match known {
            Some((_, _, false)) => return Err(Refusal::KeyHasName),
            Some((peer, true, _)) => return self.hold(peer, false),
            _ if self.policy == Policy::AllowList => return Err(Refusal::NotAllowed),
            _ => {}
        }
        if let Some(other) = self.by_name(name).filter(|e| e.key != *key) {
            return Err(if other.bound { Refusal::NameTaken } else { Refusal::NameInUse });
        }
        let fresh = match self.policy {
            Policy::ClaimOnce { quota } => {
                let others = self.len().saturating_sub(usize::from(known.is_some()));
                if u32::try_from(others).is_ok_and(|others| others < quota) {
                    true
                } else {
                    return Err(Refusal::Full);
                }
            }
            Policy::Open | Policy::AllowList => false,
        };
        let peer = match known {
            Some((peer, ..)) => peer,
            None => self.add(key, name)?,
        };
        self.hold(peer, fresh)
    }

    /// Lets the claimant in: `slot` is its active connection from now on, and a new binding counts.
    ///
    /// # Errors
    /// The claim is withdrawn, and the client stays out:
    /// - [`Refusal::Replaced`]: it has a newer connection. This one was given up, and its last message is late.
    /// - [`Refusal::NotAllowed`]: the operator was faster. The entry or the list has changed since the claim.
    /// - [`Refusal::Trouble`]: the policy now wants a binding that was not persisted.
    pub fn confirm(&mut self, claim: Claim, slot: Slot) -> Result<Admitted, Refusal> {
        let policy = self.policy;
        let Claim { peer, fresh } = claim;
        let entry = self.get_mut(peer).ok_or(Refusal::NotAllowed)?;
        entry.bound |= fresh;
        let refusal = match policy {
            _ if entry.slot > Some(slot) => Some(Refusal::Replaced),
            _ if entry.bound => None,
            Policy::AllowList => Some(Refusal::NotAllowed),
            Policy::ClaimOnce { .. } => Some(Refusal::Trouble),
            Policy::Open => None,
        };
        if let Some(refusal) = refusal {
            self.withdraw(claim);
            return Err(refusal);
        }
        entry.claims = entry.claims.saturating_sub(1);
        let replaced = entry.slot.replace(slot).filter(|older| *older != slot);
        Ok(Admitted { peer, replaced })
    }

    /// Gives a claim up: persisting failed, or the client went away before it was in.
    ///
    /// The name is free again unless its key is bound, online, or being admitted on another connection.
    pub fn withdraw(&mut self, claim: Claim) {
        let Some(entry) = self.get_mut(claim.peer) else { return };
        entry.claims = entry.claims.saturating_sub(1);
        if !entry.is_needed() {
            self.remove(claim.peer);
        }
    }

    /// Notes that the connection `slot` of `peer` is over. Says whether `peer` is offline by that: not if
    /// a newer connection has replaced this one, or the peer is gone altogether.
    ///
    /// An entry that is not bound vanishes. The memberships are the router's:
    /// [`drop_slot`](crate::router::Router::drop_slot) belongs beside every call, whatever it says.
    pub fn offline(&mut self, peer: PeerId, slot: Slot) -> bool {
        let Some(entry) = self.get_mut(peer).filter(|e| e.slot == Some(slot)) else {
            return false;
        };
        entry.slot = None;
        if !entry.is_needed() {
            self.remove(peer);
        }
        true
    }

    /// Binds `name` to `key` on the operator's word: from the state file, the allow list, a command.
    /// Binding the same pair again changes nothing. Quotas do not apply.
    ///
    /// # Errors
    /// [`BindError`] names the peer in the way; the operator may [`remove`](Registry::remove) it.
    pub fn bind(&mut self, key: &PublicKey, name: &Name) -> Result<PeerId, BindError> {
        if let Some(other) = self.by_name(name).filter(|e| e.key != *key) {
            return Err(BindError::NameTaken(other.peer));
        }
        let peer = match self.by_key(key) {
            Some(entry) if entry.name != *name => return Err(BindError::KeyHasName(entry.peer)),
            Some(entry) => entry.peer,
            None => self.add(key, name)?,
        };
        if let Some(entry) = self.get_mut(peer) {
            entry.bound = true;
        }
        Ok(peer)
    }

    /// Forgets an identity on the operator's word, binding, connection and claims together. Its name is
    /// free at once, and the key is a stranger if it comes again.
    ///
    /// Nothing that it still sends is routed, since its number stands for nobody. For what others send,
    /// [`drop`](crate::router::Router::drop_slot) the memberships of the returned
    /// [`slot`](Entry::slot), then close it with [`CloseReason::Kicked`](crate::CloseReason::Kicked).
    pub fn remove(&mut self, peer: PeerId) -> Option<Entry> {
        let at = self.position(peer).ok()?;
        // Both searches go through the entry, which therefore leaves last.
        let (key, name) = self.entries.as_slice().get(at).map(|e| (e.key, e.name))?;
        if let Ok(at) = self.key_position(&key) {
            self.by_key.remove(at);
        }
        if let Ok(at) = self.name_position(&name) {
            self.by_name.remove(at);
        }
        self.entries.remove(at)
    }

    /// Forgets every identity for which `keep` says no, as [`remove`](Registry::remove) does for one.
    ///
    /// This is how a changed list is loaded while clients are connected: keep what the new list has, note
    /// the [`slot`](Entry::slot)s of the rest to close them, then [`bind`](Registry::bind) the new list.
    pub fn retain(&mut self, keep: impl FnMut(&Entry) -> bool) {
        self.entries.retain(keep);
        let left = self.entries.as_slice();
        let is_left = |peer: &PeerId| left.binary_search_by_key(peer, |e| e.peer).is_ok();
        self.by_key.retain(is_left);
        self.by_name.retain(is_left);
    }

    /// Sets the policy for all who are not in yet. Those who are stay until the adapter acts on
    /// [`no_longer_allowed`](Registry::no_longer_allowed).
    pub fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
    }

    /// The policy in force.
    pub const fn policy(&self) -> Policy {
        self.policy
    }

    /// Whether the policy in force lets `peer` stay: known here, and bound if there is an allow list.
    pub fn still_allowed(&self, peer: PeerId) -> bool {
        self.get(peer).is_some_and(|e| e.bound || self.policy != Policy::AllowList)
    }

    /// Who is online although the policy in force would not let it in: the ones to
    /// [`remove`](Registry::remove) after a change of policy.
    pub fn no_longer_allowed(&self) -> impl Iterator<Item = &Entry> {
        self.online_after(PeerId(0)).filter(|e| !self.still_allowed(e.peer))
    }

    /// Puts an entry that nothing needs yet into all three tables, or into none.
    fn add(&mut self, key: &PublicKey, name: &Name) -> Result<PeerId, Full> {
        let peer = PeerId(self.next);
        // The highest number stands for everyone: it is where the numbers end.
        let next = self.next.checked_add(1).ok_or(Full)?;
        self.entries.reserve()?;
        self.by_key.reserve()?;
        self.by_name.reserve()?;
        let (Err(key_at), Err(name_at)) = (self.key_position(key), self.name_position(name)) else {
            return Err(Full); // The callers have looked: both are free.
        };
        let entry = Entry { key: *key, name: *name, peer, slot: None, claims: 0, bound: false };
        self.entries.insert(self.len(), entry)?;
        self.by_key.insert(key_at, peer)?;
        self.by_name.insert(name_at, peer)?;
        self.next = next;
        Ok(peer)
    }

    fn hold(&mut self, peer: PeerId, fresh: bool) -> Result<Claim, Refusal> {
        let entry = self.get_mut(peer).ok_or(Refusal::Trouble)?;
        entry.claims = entry.claims.checked_add(1).ok_or(Refusal::Full)?;
        Ok(Claim { peer, fresh })
    }
}

/// Look-ups.
impl<E: Store<Entry>, I: Store<PeerId>> Registry<E, I> {
    /// The identity with this number.
    pub fn get(&self, peer: PeerId) -> Option<&Entry> {
        self.entries.as_slice().get(self.position(peer).ok()?)
    }

    /// Whether this number was given to any identity, be it known still or not.
    pub fn has_given(&self, peer: PeerId) -> bool {
        (1..self.next).contains(&peer.0)
    }

    /// The identity with this key.
    pub fn by_key(&self, key: &PublicKey) -> Option<&Entry> {
        self.get(*self.by_key.as_slice().get(self.key_position(key).ok()?)?)
    }

    /// The identity with this name.
    pub fn by_name(&self, name: &Name) -> Option<&Entry> {
        self.get(*self.by_name.as_slice().get(self.name_position(name).ok()?)?)
    }

    /// All identities known: bound, online or being admitted, by rising number.
    pub fn entries(&self) -> &[Entry] {
        self.entries.as_slice()
    }

    /// Those online with a number above `peer`, by rising number: one page of a directory. A page begins
    /// with the last number of the page before, the first one with `PeerId(0)`; since numbers only
    /// rise, who comes or goes in between neither repeats nor hides anybody else.
    pub fn online_after(&self, peer: PeerId) -> impl Iterator<Item = &Entry> {
        let entries = self.entries.as_slice();
        let from = entries.partition_point(|e| e.peer <= peer);
        entries.iter().skip(from).filter(|e| e.slot.is_some())
    }

    /// The first of [`online_after`](Registry::online_after).
    pub fn next_online_after(&self, peer: PeerId) -> Option<&Entry> {
        self.online_after(peer).next()
    }

    /// How many are online. Counted anew at each call.
    pub fn count_online(&self) -> usize {
        self.online_after(PeerId(0)).count()
    }

    /// How many are bound. Counted anew at each call.
    pub fn count_bound(&self) -> usize {
        self.entries.as_slice().iter().filter(|e| e.bound).count()
    }

    fn len(&self) -> usize {
        self.entries.as_slice().len()
    }

    fn get_mut(&mut self, peer: PeerId) -> Option<&mut Entry> {
        let at = self.position(peer).ok()?;
        self.entries.as_mut_slice().get_mut(at)
    }

    fn position(&self, peer: PeerId) -> Result<usize, usize> {
        self.entries.as_slice().binary_search_by_key(&peer, |e| e.peer)
    }

    /// Where `key` is in its index, or where it belongs.
    fn key_position(&self, key: &PublicKey) -> Result<usize, usize> {
        let order = |peer: &PeerId| self.get(*peer).map_or(Ordering::Less, |e| e.key.cmp(key));
        self.by_key.as_slice().binary_search_by(order)
    }

    /// Where `name` is in its index, or where it belongs.
    fn name_position(&self, name: &Name) -> Result<usize, usize> {
        let order = |peer: &PeerId| self.get(*peer).map_or(Ordering::Less, |e| e.name.cmp(name));
        self.by_name.as_slice().binary_search_by(order)
    }
}
