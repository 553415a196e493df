//! What a server has to know.

use core::fmt;

use crate::{
    entropy::Entropy,
    proto::{Identity, Name, Psk, PublicKey, registry::BindError},
};

/// What a server has to know.
pub struct Setup<'m> {
    /// Its key: a [`Keypair`](crate::proto::Keypair) with a secret from [`keys`](crate::keys), or a secure element. Clients pin it.
    pub identity: &'m dyn Identity,
    /// The chip's random generator.
    pub entropy: &'m mut dyn Entropy,
    /// A pre-shared key that every client has to have; who has none is turned away before any cryptography.
    pub psk: Option<&'m Psk>,
    /// Who may come in.
    pub admit: Admit<'m>,
    /// Whether clients may look for each other. Without it they have no sessions with each other, unless told of each other
    /// by a message.
    pub directory: bool,
}

/// Who may come in, and under which name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admit<'m> {
    /// Anybody; a name is free while nobody uses it.
    Open,
    /// Anybody, until the memory for names is used up. The first key that claims a name has it from then on: until the reset,
    /// unless the program writes down what [`Event::Joined`](super::Event::Joined) says and
    /// [`bind`](super::Server::bind)s it again.
    ClaimOnce,
    /// Only these.
    List(&'m [(Name, PublicKey)]),
}

/// The list of clients does not fit, or names somebody twice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SetupError(pub BindError);

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the list of clients cannot be used: {}", self.0)
    }
}

impl core::error::Error for SetupError {}
