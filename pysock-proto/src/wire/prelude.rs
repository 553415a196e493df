//! The prelude: the 16 bytes in clear text that a client sends first.
//!
//! ```text
//! 0        4       5       6         7       8            16
//! | "PYSK" | version | suite | pattern | flags | psk hint |
//! ```
//! Behind `pysock/1 outer` it is the Noise prologue, so no byte of it can be changed unnoticed.

use super::Reader;
use crate::{
    crypto::{Crypto, Suite},
    error::Error,
    noise::Pattern,
};

/// Length of the prelude.
pub(crate) const LEN: usize = 16;
/// What begins the prologue of every outer handshake.
pub(crate) const PROLOGUE: &[u8] = b"pysock/1 outer";

const MAGIC: [u8; 4] = *b"PYSK";
const VERSION: u8 = 1;
/// Length of the hint that names a pre-shared key.
const HINT: usize = 8;
/// Flag: the client holds the pre-shared key that the hint names.
const FLAG_PSK: u8 = 0x01;

/// A prelude that this version understands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Prelude {
    pub(crate) suite: Suite,
    pub(crate) pattern: Pattern,
    pub(crate) psk_hint: Option<[u8; 8]>,
}

impl Prelude {
    #[inline(never)] // One copy for prologue and wire: 0.1 KiB of flash.
    pub(crate) fn to_bytes(self) -> [u8; LEN] {
        let [m0, m1, m2, m3] = MAGIC;
        let flags = if self.psk_hint.is_some() { FLAG_PSK } else { 0 };
        let [h0, h1, h2, h3, h4, h5, h6, h7] = self.psk_hint.unwrap_or_default();
        let (suite, pattern) = (self.suite as u8, self.pattern as u8);
        [m0, m1, m2, m3, VERSION, suite, pattern, flags, h0, h1, h2, h3, h4, h5, h6, h7]
    }

    /// Judges the bytes received so far, each as soon as it is there. `None`: fine as far as it goes, more is needed.
    pub(crate) fn parse<C: Crypto>(received: &[u8]) -> Result<Option<Self>, Error> {
        if received.iter().zip(&MAGIC).any(|(got, want)| got != want) {
            return Err(Error::NotPysock);
        }
        let mut from = Reader(received.get(MAGIC.len()..).unwrap_or_default());
        let Some(version) = from.u8() else { return Ok(None) };
        if version != VERSION {
            return Err(Error::Version(version));
        }
        let Some(suite) = from.u8() else { return Ok(None) };
        let suite = match Suite::from_byte(suite) {
            Some(known) if C::suites().contains(&suite) => known,
            _ => return Err(Error::Suite(suite)),
        };
        let Some(pattern) = from.u8() else { return Ok(None) };
        let pattern = Pattern::from_byte(pattern).ok_or(Error::Pattern(pattern))?;
        let Some(flags) = from.u8() else { return Ok(None) };
        let has_hint = match flags {
            0 if from.0.iter().take(HINT).all(|byte| *byte == 0) => false,
            FLAG_PSK => true,
            _ => return Err(Error::Flags(flags)),
        };
        let Some(hint) = from.array::<HINT>() else { return Ok(None) };
        Ok(Some(Prelude { suite, pattern, psk_hint: has_hint.then_some(hint) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::RustCrypto;

    fn parse(bytes: &[u8]) -> Result<Option<Prelude>, Error> {
        Prelude::parse::<RustCrypto>(bytes)
    }

    #[test]
    fn it_is_judged_at_its_first_wrong_byte() {
        assert_eq!(parse(b""), Ok(None));
        assert_eq!(parse(b"G"), Err(Error::NotPysock));
        assert_eq!(parse(b"PYS"), Ok(None));
        assert_eq!(parse(b"PYSX"), Err(Error::NotPysock));
        assert_eq!(parse(b"PYSK"), Ok(None));
        assert_eq!(parse(b"PYSK\x02"), Err(Error::Version(2)));
        assert_eq!(parse(b"PYSK\x01\x01\x01\x00\x01"), Err(Error::Flags(0)));
    }

    #[test]
    fn it_round_trips_and_refuses_what_it_does_not_know() {
        for psk_hint in [None, Some([7; 8]), Some([0; 8])] {
            for pattern in [Pattern::XX, Pattern::XK] {
                let prelude = Prelude { suite: Suite::ChaChaPoly, pattern, psk_hint };
                assert_eq!(parse(&prelude.to_bytes()), Ok(Some(prelude)));
                assert_eq!(parse(&prelude.to_bytes()[..15]), Ok(None));
            }
        }
        let good = Prelude { suite: Suite::ChaChaPoly, pattern: Pattern::XX, psk_hint: None };
        let with = |at: usize, byte| {
            let mut bytes = good.to_bytes();
            bytes[at] = byte;
            parse(&bytes)
        };
        assert_eq!(with(4, 2), Err(Error::Version(2)));
        assert_eq!(with(5, 9), Err(Error::Suite(9)));
        assert_eq!(with(6, 3), Err(Error::Pattern(3)));
        assert_eq!(with(7, 2), Err(Error::Flags(2)));
        assert_eq!(with(7, 0x81), Err(Error::Flags(0x81)));
        assert_eq!(with(15, 1), Err(Error::Flags(0)), "a hint without its flag");
    }
}
