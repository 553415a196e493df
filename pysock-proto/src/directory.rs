//! What a server tells its clients of each other.

use crate::{
    id::{Name, PeerId},
    key::PublicKey,
};

/// Which client a [`Event::Find`](crate::Event::Find) asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Find {
    /// The one that is called so.
    Name(Name),
    /// The one with this key.
    Key(PublicKey),
    /// The connected one with the next higher number: pages through all, starting with `PeerId(0)`.
    After(PeerId),
}

/// A client as the server describes it. Untrusted: the server says so, nothing proves it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PeerInfo {
    /// Its number at this server.
    pub id: PeerId,
    /// Its identity.
    pub key: PublicKey,
    /// What it is called at this server.
    pub name: Name,
}
