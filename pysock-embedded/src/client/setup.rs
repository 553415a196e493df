//! What a client has to know.

use crate::{
    entropy::Entropy,
    proto::{Identity, Limits, Name, Psk, PublicKey},
};

/// What a client has to know.
pub struct Setup<'m> {
    /// What it would like to be called.
    pub name: Name,
    /// Its key: a [`Keypair`](crate::proto::Keypair) with a secret from [`keys`](crate::keys), or a secure element.
    pub identity: &'m dyn Identity,
    /// The chip's random generator.
    pub entropy: &'m mut dyn Entropy,
    /// The server's key, if it is known. If not, [`Event::Verify`](super::Event::Verify) asks on first contact.
    pub server: Option<PublicKey>,
    /// A pre-shared key, if the server wants one.
    pub psk: Option<&'m Psk>,
}

impl Setup<'_> {
    /// What a client with so many bytes for receiving announces.
    pub(super) fn limits(&self, receive: usize) -> Limits {
        // The memory has checked the length.
        let record = u16::try_from(receive.saturating_sub(2)).unwrap_or(u16::MAX);
        // Parts of large messages are dealt with as they come: the window only keeps the sender going meanwhile.
        Limits { record, window: u32::from(record).saturating_mul(2), ..Limits::SMALL }
    }
}
