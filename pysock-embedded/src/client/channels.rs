//! Named channels: opened again on each connection.

use super::{Channel, Client};
use crate::proto::{ChannelId, ChannelName, Failure, NameError, SendError};

/// A channel of this client.
pub(super) struct Slot {
    name: ChannelName,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// To be asked for.
    Closed,
    Asked(ChannelId),
    Open(ChannelId),
    /// The server does not let this client in. It is asked again on the next connection.
    Refused,
}

/// Why there is no such channel here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ChannelError {
    /// The name breaks the rules.
    Name(NameError),
    /// The memory of this client has no room for another channel.
    Full,
}

impl core::fmt::Display for ChannelError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            ChannelError::Name(why) => why.fmt(f),
            ChannelError::Full => {
                f.write_str("there is no room for another channel: raise CHANNELS of the memory")
            }
        }
    }
}

impl core::error::Error for ChannelError {}

impl Client<'_> {
    /// Is on this channel from now on, on each connection. [`Event::Channel`](super::Event::Channel) says when. The same
    /// name gives the same channel.
    ///
    /// # Errors
    /// The name breaks the rules, or there is no room.
    pub fn create_channel(&mut self, name: &str) -> Result<Channel, ChannelError> {
        let name = ChannelName::new(name).map_err(ChannelError::Name)?;
        let known = self.channels.iter().position(|slot| slot.name == name);
        let at = known.unwrap_or(self.channels.len());
        if known.is_none() {
            let slot = Slot { name, state: State::Closed };
            self.channels.push(slot).map_err(|_| ChannelError::Full)?;
        }
        // Its room is bounded by 64.
        Ok(Channel(u8::try_from(at).unwrap_or(u8::MAX)))
    }

    /// The name of a channel.
    pub fn channel_name(&self, channel: Channel) -> Option<&ChannelName> {
        self.channels.get(usize::from(channel.0)).map(|slot| &slot.name)
    }

    /// Asks for every channel that was not asked for on this connection.
    pub(super) fn open_channels(&mut self) {
        let Some(conn) = self.state.conn.as_mut().filter(|conn| conn.is_open()) else { return };
        for slot in self.channels.iter_mut().filter(|slot| slot.state == State::Closed) {
            match conn.open_channel(&mut self.tx.lend(), &slot.name) {
                Ok(id) => slot.state = State::Asked(id),
                // There will be room, or an answer, and then another call.
                Err(_) => return,
            }
        }
    }

    pub(super) fn close_channels(&mut self) {
        self.channels.iter_mut().for_each(|slot| slot.state = State::Closed);
    }

    /// The server's answer: about which channel it is.
    pub(super) fn opened_channel(
        &mut self,
        id: ChannelId,
        result: Result<(), Failure>,
    ) -> Option<Channel> {
        let at = self.channels.iter().position(|slot| slot.state == State::Asked(id))?;
        let slot = self.channels.get_mut(at)?;
        slot.state = if result.is_ok() { State::Open(id) } else { State::Refused };
        u8::try_from(at).ok().map(Channel)
    }

    /// The number of a channel on this connection.
    pub(super) fn channel_id(&self, channel: Channel) -> Result<ChannelId, SendError> {
        match self.channels.get(usize::from(channel.0)).map(|slot| slot.state) {
            Some(State::Open(id)) => Ok(id),
            _ => Err(SendError::NotOpen),
        }
    }

    /// The channel of a number on this connection.
    pub(super) fn channel_of(&self, id: ChannelId) -> Option<Channel> {
        let at = self.channels.iter().position(|slot| slot.state == State::Open(id))?;
        u8::try_from(at).ok().map(Channel)
    }
}
