//! What the router keeps and gives.

use core::{fmt, slice};

use crate::{
    id::{ChannelId, ChannelName, PeerId},
    registry::Slot,
};

/// A channel, as the server numbers it. From 0 upwards and never reused while the server runs, so that
/// what was meant for a removed channel cannot come out on a later one. Never on the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Channel(pub u32);

/// One channel in the router's storage.
#[derive(Clone, Debug)]
pub struct ChannelEntry {
    pub(super) name: ChannelName,
    pub(super) channel: Channel,
}

impl ChannelEntry {
    /// What clients call it when they open it.
    pub const fn name(&self) -> &ChannelName {
        &self.name
    }

    /// Its number on this server.
    pub const fn channel(&self) -> Channel {
        self.channel
    }
}

/// That one connection is on one channel, in the router's storage.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Membership {
    pub(super) slot: Slot,
    pub(super) channel: Channel,
    pub(super) local: ChannelId,
}

// A server holds two for each channel that a connection has open, one for each channel.
const _: () = assert!(size_of::<Membership>() <= 12 && size_of::<ChannelEntry>() <= 72);

/// A connection on a channel, as one message sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Member {
    /// The connection to write to.
    pub slot: Slot,
    /// The number that this connection has given the channel.
    pub local: ChannelId,
}

/// The connections on a channel, by rising [`Slot`].
#[derive(Clone, Debug)]
pub struct Members<'a> {
    pub(super) rest: slice::Iter<'a, Membership>,
    pub(super) except: Option<Slot>,
}

impl Iterator for Members<'_> {
    type Item = Member;

    fn next(&mut self) -> Option<Member> {
        let except = self.except;
        let found = self.rest.find(|m| Some(m.slot) != except)?;
        Some(Member { slot: found.slot, local: found.local })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let (len, _) = self.rest.size_hint();
        (len.saturating_sub(usize::from(self.except.is_some())), Some(len))
    }
}

/// Where a message goes.
#[derive(Clone, Debug)]
pub enum Route<'a> {
    /// To the server's own listener on this channel.
    Server(Channel),
    /// To one client.
    Peer {
        /// Who it is.
        peer: PeerId,
        /// Its active connection, and the channel's number there.
        to: Member,
    },
    /// To every connection on the channel but the sender's; perhaps there is none.
    Members(Members<'a>),
}

/// Declares an enum of mistakes with their sentences.
macro_rules! mistakes {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident $(($ty:ty))? = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[non_exhaustive]
        pub enum $name { $($(#[$vdoc])* $variant $(($ty))?,)+ }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $($name::$variant { .. } => $text,)+ })
            }
        }

        impl core::error::Error for $name {}

        impl From<crate::store::Full> for $name {
            fn from(_: crate::store::Full) -> Self {
                $name::Full
            }
        }
    };
}

mistakes! {
    /// Why a channel was not created. Nothing has changed.
    CreateError {
        /// There is one of this name: this one.
        Exists(Channel) = "there is a channel of this name already",
        /// There is no storage left, or no number.
        Full = "there is no room for another channel",
    }
}

mistakes! {
    /// Why a connection is not on a channel. Nothing has changed.
    JoinError {
        /// There is no channel of this name.
        NoChannel = "there is no such channel",
        /// The connection has this channel open already, under this number.
        AlreadyOpen(ChannelId) = "the channel is open already on this connection",
        /// The connection uses the number for another channel.
        NumberInUse = "the number stands for another channel on this connection",
        /// The connection has as many channels open as one may have.
        TooMany = "this connection may not open more channels",
        /// There is no storage left.
        Full = "there is no room for another membership",
    }
}
