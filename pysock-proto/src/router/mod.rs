//! Channels, who is on them, and where a message goes.
//!
//! A connection opens channels by name and calls each by a small number of its own choice. For every
//! message the server asks here: which channel is that ([`Router::resolve`]), who else is on it
//! ([`Router::members`]), what do they call it ([`Router::local`])? Each answer is one binary search, and
//! the members of a channel lie side by side.
//!
//! Who sent a message is not a question: [`Router::route`] takes the connection's own [`Sender`], which
//! the server wrote down when it admitted the connection, and nothing out of the message.

mod table;
#[cfg(test)]
mod tests;

pub use table::{
    Channel, ChannelEntry, CreateError, JoinError, Member, Members, Membership, Route,
};

use crate::{
    error::Failure,
    id::{ChannelId, ChannelName, PeerId},
    message::{Kind, Party},
    registry::{Entry, Registry, Slot},
    store::{Fixed, Full, Store},
};

/// The channels of one server, in storage `C` for channels and `M` for each of two tables of
/// memberships.
#[derive(Debug)]
pub struct Router<C, M> {
    /// Most channels that one connection may have open.
    per_slot: u16,
    next: u32,
    by_name: C,
    /// By (connection, its number for the channel): what a message arrives with.
    by_slot: M,
    /// By (channel, connection): whom a message leaves to.
    by_channel: M,
}

/// A router for at most `C` channels and `M` memberships inside itself: about 72 and 24 bytes for each.
pub type FixedRouter<const C: usize, const M: usize> =
    Router<Fixed<ChannelEntry, C>, Fixed<Membership, M>>;

/// An admitted connection that something was received on, as the server's own session knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sender {
    /// The connection.
    pub slot: Slot,
    /// The number it was admitted under: [`Admitted::peer`](crate::registry::Admitted::peer).
    pub peer: PeerId,
}

impl<C, M> Router<C, M> {
    /// No channels yet; a connection may open at most `per_slot` at once. The three stores have to be
    /// empty.
    pub const fn new(per_slot: u16, by_name: C, by_slot: M, by_channel: M) -> Self {
        Router { per_slot, next: 0, by_name, by_slot, by_channel }
    }
}

/// Channels.
impl<C: Store<ChannelEntry>, M: Store<Membership>> Router<C, M> {
    /// Makes a channel that clients can open.
    ///
    /// # Errors
    /// There is one of this name, or no room.
    pub fn create(&mut self, name: &ChannelName) -> Result<Channel, CreateError> {
        let at = match self.position(name) {
            Ok(_) => return Err(self.find(name).map_or(CreateError::Full, CreateError::Exists)),
            Err(at) => at,
        };
        let channel = Channel(self.next);
        let next = self.next.checked_add(1).ok_or(Full)?;
        self.by_name.insert(at, ChannelEntry { name: *name, channel })?;
        self.next = next;
        Ok(channel)
    }

    /// The channel of this name.
    pub fn find(&self, name: &ChannelName) -> Option<Channel> {
        self.by_name.as_slice().get(self.position(name).ok()?).map(ChannelEntry::channel)
    }

    /// All channels, by name.
    pub fn channels(&self) -> &[ChannelEntry] {
        self.by_name.as_slice()
    }

    /// Takes a channel away, with everybody on it. To tell the [`members`](Router::members), ask for them
    /// before. Takes time in proportion to all memberships.
    pub fn remove(&mut self, name: &ChannelName) -> Option<Channel> {
        let ChannelEntry { channel, .. } = self.by_name.remove(self.position(name).ok()?)?;
        self.forget(|m| m.channel == channel);
        Some(channel)
    }

    fn position(&self, name: &ChannelName) -> Result<usize, usize> {
        self.by_name.as_slice().binary_search_by(|e| e.name.cmp(name))
    }
}

/// Memberships.
impl<C: Store<ChannelEntry>, M: Store<Membership>> Router<C, M> {
    /// Puts an admitted connection on a channel, which it calls `local` from now on. It receives what is
    /// for everyone there until it [`leave`](Router::leave)s or is [dropped](Router::drop_slot).
    ///
    /// # Errors
    /// There is no such channel, the connection has it open or uses the number otherwise, or it would be
    /// one too many: see [`JoinError`].
    pub fn join(
        &mut self,
        slot: Slot,
        local: ChannelId,
        name: &ChannelName,
    ) -> Result<Channel, JoinError> {
        let channel = self.find(name).ok_or(JoinError::NoChannel)?;
        let channel_at = match self.channel_position(channel, slot) {
            Ok(_) => {
                let local = self.local(slot, channel).unwrap_or(local);
                return Err(JoinError::AlreadyOpen(local));
            }
            Err(at) => at,
        };
        let slot_at = match self.slot_position(slot, local) {
            Ok(_) => return Err(JoinError::NumberInUse),
            Err(at) => at,
        };
        if self.opened(slot).len() >= usize::from(self.per_slot) {
            return Err(JoinError::TooMany);
        }
        self.by_slot.reserve()?;
        self.by_channel.reserve()?;
        let membership = Membership { slot, channel, local };
        self.by_slot.insert(slot_at, membership)?;
        self.by_channel.insert(channel_at, membership)?;
        Ok(channel)
    }

    /// Takes a connection off the channel that it calls `local`, and says which one that was.
    pub fn leave(&mut self, slot: Slot, local: ChannelId) -> Option<Channel> {
        let Membership { channel, .. } =
            self.by_slot.remove(self.slot_position(slot, local).ok()?)?;
        if let Ok(at) = self.channel_position(channel, slot) {
            self.by_channel.remove(at);
        }
        Some(channel)
    }

    /// Takes a connection off all its channels: it is over, or was replaced. Takes time in proportion to
    /// all memberships.
    pub fn drop_slot(&mut self, slot: Slot) {
        if !self.opened(slot).is_empty() {
            self.forget(|m| m.slot == slot);
        }
    }

    /// The channel that a connection calls `local`. Asked for every message.
    pub fn resolve(&self, slot: Slot, local: ChannelId) -> Option<Channel> {
        let at = self.slot_position(slot, local).ok()?;
        self.by_slot.as_slice().get(at).map(|m| m.channel)
    }

    /// What a connection calls `channel`, if it is on it. Asked for every message to one client.
    pub fn local(&self, slot: Slot, channel: Channel) -> Option<ChannelId> {
        let at = self.channel_position(channel, slot).ok()?;
        self.by_channel.as_slice().get(at).map(|m| m.local)
    }

    /// Everybody on `channel`, except one connection if so wished. One scan over neighbours.
    pub fn members(&self, channel: Channel, except: Option<Slot>) -> Members<'_> {
        let all = self.by_channel.as_slice();
        let from = all.partition_point(|m| m.channel < channel);
        let all = all.get(from..).unwrap_or_default();
        let len = all.partition_point(|m| m.channel == channel);
        Members { rest: all.get(..len).unwrap_or_default().iter(), except }
    }

    /// What `slot` has open, by its own numbers.
    fn opened(&self, slot: Slot) -> &[Membership] {
        let all = self.by_slot.as_slice();
        let from = all.partition_point(|m| m.slot < slot);
        let all = all.get(from..).unwrap_or_default();
        all.get(..all.partition_point(|m| m.slot == slot)).unwrap_or_default()
    }

    fn forget(&mut self, gone: impl Fn(&Membership) -> bool) {
        self.by_slot.retain(|m| !gone(m));
        self.by_channel.retain(|m| !gone(m));
    }

    fn slot_position(&self, slot: Slot, local: ChannelId) -> Result<usize, usize> {
        self.by_slot.as_slice().binary_search_by_key(&(slot, local), |m| (m.slot, m.local))
    }

    fn channel_position(&self, channel: Channel, slot: Slot) -> Result<usize, usize> {
        self.by_channel.as_slice().binary_search_by_key(&(channel, slot), |m| (m.channel, m.slot))
    }
}

/// Addressing: the one place that decides where a message goes.
impl<C: Store<ChannelEntry>, M: Store<Membership>> Router<C, M> {
    /// Where a client's message goes that it sent on the channel it calls `local`.
    ///
    /// `from` is what the server's own session says. It is checked against the registry, so that nothing
    /// is routed for a connection that was replaced or removed. What the receivers are told as source is
    /// `from.peer`, always.
    ///
    /// # Errors
    /// - [`Failure::NoPeer`]: the receiver, or the sender itself, is not connected (any more).
    /// - [`Failure::NoChannel`]: the sender has not opened such a channel.
    /// - [`Failure::BadDestination`]: to itself, or a request or a reply to everyone.
    /// - [`Failure::NotOnChannel`]: the receiver has not opened the channel.
    pub fn route<E: Store<Entry>, I: Store<PeerId>>(
        &self,
        registry: &Registry<E, I>,
        from: Sender,
        local: ChannelId,
        to: Party,
        kind: Kind,
    ) -> Result<Route<'_>, Failure> {
        let active = registry.get(from.peer).and_then(Entry::slot);
        if active != Some(from.slot) {
            return Err(Failure::NoPeer);
        }
        let channel = self.resolve(from.slot, local).ok_or(Failure::NoChannel)?;
        match to {
            Party::Server => Ok(Route::Server(channel)),
            Party::Peer(peer) if peer == from.peer => Err(Failure::BadDestination),
            _ => self.deliver(registry, Some(from.slot), channel, to, kind),
        }
    }

    /// Where a message of the server's own program goes.
    ///
    /// # Errors
    /// As for [`route`](Router::route); to the server itself is a [`Failure::BadDestination`]. On a
    /// removed channel there is nobody.
    pub fn route_from_server<E: Store<Entry>, I: Store<PeerId>>(
        &self,
        registry: &Registry<E, I>,
        channel: Channel,
        to: Party,
        kind: Kind,
    ) -> Result<Route<'_>, Failure> {
        self.deliver(registry, None, channel, to, kind)
    }

    fn deliver<E: Store<Entry>, I: Store<PeerId>>(
        &self,
        registry: &Registry<E, I>,
        except: Option<Slot>,
        channel: Channel,
        to: Party,
        kind: Kind,
    ) -> Result<Route<'_>, Failure> {
        match (to, kind) {
            (Party::Everyone, Kind::Message) => Ok(Route::Members(self.members(channel, except))),
            (Party::Everyone | Party::Server, _) => Err(Failure::BadDestination),
            (Party::Peer(peer), _) => {
                let slot = registry.get(peer).and_then(Entry::slot).ok_or(Failure::NoPeer)?;
                let local = self.local(slot, channel).ok_or(Failure::NotOnChannel)?;
                Ok(Route::Peer { peer, to: Member { slot, local } })
            }
        }
    }
}
