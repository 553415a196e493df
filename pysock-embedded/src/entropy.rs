//! Randomness for keys that are made on the device, and for the handshake of each connection.

use zeroize::Zeroizing;

/// A source of true randomness: the chip's generator, after its health checks.
///
/// A source that cannot vouch for every bit has to fail: a key from a guessable seed is worse than none.
///
/// ```
/// use pysock_embedded::{Entropy, NoEntropy};
///
/// # struct Rng;
/// # impl Rng { fn word(&mut self) -> Option<u32> { Some(4) } }
/// struct Chip(Rng);
///
/// impl Entropy for Chip {
///     fn fill(&mut self, bytes: &mut [u8; 32]) -> Result<(), NoEntropy> {
///         for four in bytes.chunks_mut(4) {
///             four.copy_from_slice(&self.0.word().ok_or(NoEntropy)?.to_ne_bytes());
///         }
///         Ok(())
///     }
/// }
/// ```
pub trait Entropy {
    /// Fills all of `bytes`.
    ///
    /// # Errors
    /// There is no randomness, now or for ever. None of the bytes will be used.
    fn fill(&mut self, bytes: &mut [u8; 32]) -> Result<(), NoEntropy>;
}

impl<E: Entropy + ?Sized> Entropy for &mut E {
    fn fill(&mut self, bytes: &mut [u8; 32]) -> Result<(), NoEntropy> {
        E::fill(self, bytes)
    }
}

/// The source of randomness failed, or what it gave is not random.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoEntropy;

impl core::fmt::Display for NoEntropy {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        crate::keys::KeyStoreError::Entropy.fmt(f)
    }
}

impl core::error::Error for NoEntropy {}

/// 32 random bytes.
///
/// # Errors
/// The source failed, or is stuck.
#[inline(never)]
pub(crate) fn draw(from: &mut dyn Entropy) -> Result<Zeroizing<[u8; 32]>, NoEntropy> {
    let mut bytes = Zeroizing::new([0; 32]);
    from.fill(&mut bytes)?;
    // A generator without a clock reads as one value for ever: the commonest fault, and the only one visible here.
    // Words, for that is how most generators are read.
    let [words @ .., _, _, _, _] = &*bytes;
    let [_, _, _, _, next @ ..] = &*bytes;
    if words == next { Err(NoEntropy) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Source(Option<[u8; 32]>);

    impl Entropy for Source {
        fn fill(&mut self, bytes: &mut [u8; 32]) -> Result<(), NoEntropy> {
            self.0.map(|random| *bytes = random).ok_or(NoEntropy)
        }
    }

    #[test]
    fn a_source_that_fails_or_is_stuck_gives_nothing() {
        let counting = core::array::from_fn(|i| i as u8);
        let word = core::array::from_fn(|i| i as u8 % 4);
        let draw = |bytes| draw(&mut Source(bytes)).map(|bytes| *bytes);
        assert_eq!(draw(Some(counting)), Ok(counting));
        for bytes in [None, Some([0; 32]), Some([0xff; 32]), Some(word)] {
            assert_eq!(draw(bytes), Err(NoEntropy));
        }
    }
}
