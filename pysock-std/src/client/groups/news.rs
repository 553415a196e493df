//! What a program hears of a group.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use pysock_proto::{Name, PublicKey};
use serde::de::DeserializeOwned;

use crate::{Error, Message, Sender, Target};

/// A member of a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GroupMember {
    /// What the owner calls it.
    pub name: Name,
    /// Who it is.
    pub key: PublicKey,
}

/// Why a group is over for this client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// The owner has removed it.
    Removed,
    /// It has left.
    Left,
    /// The owner has dissolved the group.
    Dissolved,
}

/// Something that was said in a group, or that became of it.
#[derive(Debug)]
#[non_exhaustive]
pub enum GroupNews {
    /// A message, whole.
    Message(GroupMessage),
    /// There is one more member.
    Joined(GroupMember),
    /// This member is gone, by its own will or the owner's.
    Left(GroupMember),
    /// The group is over for this client. Nothing follows.
    Over(Ending),
}

/// A message to a group.
pub struct GroupMessage {
    pub(crate) message: Message,
    pub(crate) missed: u32,
}

impl GroupMessage {
    /// The member that has sent it: its key is proven, its name is what the owner calls it.
    pub fn sender(&self) -> &Sender {
        self.message.sender()
    }

    /// What it says.
    pub fn data(&self) -> &Bytes {
        self.message.data()
    }

    /// What it says, as text.
    ///
    /// # Errors
    /// [`Error::Value`] if it is not UTF-8.
    pub fn text(&self) -> Result<&str, Error> {
        self.message.text()
    }

    /// What it says, decoded with postcard (see [`Data::value`](crate::Data::value)).
    ///
    /// # Errors
    /// [`Error::Value`] if it is no such value, or has bytes left over.
    pub fn value<T: DeserializeOwned>(&self) -> Result<T, Error> {
        self.message.value()
    }

    /// How many messages of this sender to the group were missed right before this one.
    pub fn missed(&self) -> u32 {
        self.missed
    }
}

impl fmt::Debug for GroupMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupMessage")
            .field("sender", self.sender())
            .field("bytes", &self.data().len())
            .field("missed", &self.missed)
            .finish_non_exhaustive()
    }
}

impl GroupNews {
    /// What it takes in the queue, in bytes.
    pub(crate) fn size(&self) -> usize {
        match self {
            GroupNews::Message(message) => message.data().len(),
            _ => 0,
        }
    }
}

/// What came of something for each member by itself.
#[derive(Clone, Debug, Default)]
#[must_use = "some members may have failed"]
pub struct Outcomes(pub(super) Vec<(Target, Result<(), Arc<Error>>)>);

impl Outcomes {
    /// Whether it worked for all.
    pub fn is_complete(&self) -> bool {
        self.failed().next().is_none()
    }

    /// For whom it worked.
    pub fn reached(&self) -> impl Iterator<Item = &Target> {
        self.0.iter().filter(|(_, outcome)| outcome.is_ok()).map(|(who, _)| who)
    }

    /// For whom it did not, and why.
    pub fn failed(&self) -> impl Iterator<Item = (&Target, &Error)> {
        self.0.iter().filter_map(|(who, outcome)| Some((who, outcome.as_ref().err()?.as_ref())))
    }
}

impl fmt::Display for Outcomes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.reached().count(), self.0.len())?;
        self.failed().try_for_each(|(who, why)| write!(f, "; {who}: {why}"))
    }
}
