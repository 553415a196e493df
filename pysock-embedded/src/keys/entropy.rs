//! Randomness for a key that is made on the device.

use zeroize::Zeroize;

use super::KeyStoreError;
use crate::proto::SecretKey;

/// A source of true randomness: the chip's generator, after its health checks.
///
/// A source that cannot vouch for every bit has to fail: a key from a guessable seed is worse than none.
pub trait Entropy {
    /// Why there is no randomness.
    type Error;

    /// Fills all of `bytes`.
    ///
    /// # Errors
    /// None of the bytes will be used.
    fn fill(&mut self, bytes: &mut [u8; 32]) -> Result<(), Self::Error>;
}

/// A new secret key.
pub(super) fn secret(from: &mut impl Entropy) -> Result<SecretKey, KeyStoreError> {
    let mut bytes = [0; 32];
    let filled = from.fill(&mut bytes);
    // A generator without a clock reads as one value for ever: the commonest fault, and the only one visible here.
    // Words, for that is how most generators are read.
    let [words @ .., _, _, _, _] = &bytes;
    let [_, _, _, _, next @ ..] = &bytes;
    let stuck = words == next;
    let secret = (filled.is_ok() && !stuck).then(|| SecretKey::from_bytes(bytes));
    bytes.zeroize();
    secret.ok_or(KeyStoreError::Entropy)
}
