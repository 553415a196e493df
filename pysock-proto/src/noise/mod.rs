//! The Noise Protocol Framework, revision 34, as far as pysock uses it, in the specification's own words:
//! [`CipherState`] (§5.1), [`SymmetricState`] (§5.2), [`HandshakeState`] (§5.3), patterns XX, XK and KK (§7.5)
//! with an optional `psk0` (§9).

mod cipher;
mod handshake;
mod pattern;
mod symmetric;
#[cfg(test)]
mod vectors;
#[cfg(test)]
mod wiping;

pub(crate) use cipher::CipherState;
pub(crate) use handshake::{HandshakeState, Setup};
pub(crate) use pattern::{Pattern, Role};
use symmetric::SymmetricState;
