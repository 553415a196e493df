//! Primitives for fuzzing: cheap, and such that what lies behind them is reached.

use pysock_proto::{
    Suite,
    crypto::{Crypto, Forged, LowOrder, TAG},
};

const SUITES: &[u8] = &[Suite::ChaChaPoly as u8, Suite::AesGcm as u8];

/// No cryptography at all: every tag is right, so bytes that a fuzzer makes up are taken for what the other side said.
pub enum Null {}

impl Crypto for Null {
    fn suites() -> &'static [u8] {
        SUITES
    }

    fn seal(_: Suite, _: &[u8; 32], _: u64, _: &[u8], _: &mut [u8]) -> [u8; TAG] {
        [0; TAG]
    }

    fn open(
        _: Suite,
        _: &[u8; 32],
        _: u64,
        _: &[u8],
        _: &mut [u8],
        _: &[u8; TAG],
    ) -> Result<(), Forged> {
        Ok(())
    }

    fn hash(_: &[&[u8]]) -> [u8; 32] {
        [0; 32]
    }

    fn public(secret: &[u8; 32]) -> [u8; 32] {
        *secret
    }

    fn dh(_: &[u8; 32], _: &[u8; 32]) -> Result<[u8; 32], LowOrder> {
        Ok([0; 32])
    }
}

/// Has all the laws of the real primitives that the protocol builds on, and none of their strength: a tag fits only its
/// key, number, associated data and text; both sides of an exchange get the same; other input gives another hash. A fuzzer
/// that does not look for collisions on purpose finds none in 64 bits.
pub enum Toy {}

/// Mixes bytes into a state, eight at a time; the length counts too.
fn mix(mut state: u64, bytes: &[u8]) -> u64 {
    let mut take = |word: u64| {
        state = (state ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        state ^= state >> 29;
    };
    for part in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..part.len()].copy_from_slice(part);
        take(u64::from_le_bytes(word));
    }
    take(bytes.len() as u64 ^ 0x6c65_6e67_7468);
    state
}

/// As many bytes as wanted from one number.
fn spread<const N: usize>(mut state: u64) -> [u8; N] {
    let mut out = [0; N];
    for part in out.chunks_mut(8) {
        state = mix(state, b"more");
        part.copy_from_slice(&state.to_le_bytes()[..part.len()]);
    }
    out
}

fn start(suite: Suite, key: &[u8; 32], n: u64) -> u64 {
    mix(mix(suite as u64, key), &n.to_le_bytes())
}

/// Also decrypts.
fn encrypt(mut state: u64, text: &mut [u8]) {
    for part in text.chunks_mut(8) {
        state = mix(state, b"stream");
        for (byte, key) in part.iter_mut().zip(state.to_le_bytes()) {
            *byte ^= key;
        }
    }
}

impl Crypto for Toy {
    fn suites() -> &'static [u8] {
        SUITES
    }

    fn seal(suite: Suite, key: &[u8; 32], n: u64, ad: &[u8], text: &mut [u8]) -> [u8; TAG] {
        let state = start(suite, key, n);
        encrypt(state, text);
        spread(mix(mix(state, ad), text))
    }

    fn open(
        suite: Suite,
        key: &[u8; 32],
        n: u64,
        ad: &[u8],
        text: &mut [u8],
        tag: &[u8; TAG],
    ) -> Result<(), Forged> {
        let state = start(suite, key, n);
        if spread(mix(mix(state, ad), text)) != *tag {
            return Err(Forged);
        }
        encrypt(state, text);
        Ok(())
    }

    /// Of the concatenation, as the trait says: where the parts are cut must not matter.
    fn hash(parts: &[&[u8]]) -> [u8; 32] {
        spread(mix(1, &parts.concat()))
    }

    fn public(secret: &[u8; 32]) -> [u8; 32] {
        let mut public = *secret;
        // Keys with the highest bit are not canonical.
        public[31] &= 0x7f;
        public
    }

    fn dh(secret: &[u8; 32], public: &[u8; 32]) -> Result<[u8; 32], LowOrder> {
        let mut sum = Self::public(secret);
        for (a, b) in sum.iter_mut().zip(public) {
            *a = a.wrapping_add(*b);
        }
        Ok(spread(mix(2, &sum)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_toy_keeps_the_laws() {
        let (a, b) = ([3; 32], [4; 32]);
        assert_eq!(Toy::dh(&a, &Toy::public(&b)), Toy::dh(&b, &Toy::public(&a)));
        let mut text = *b"some plain text of some length";
        let tag = Toy::seal(Suite::ChaChaPoly, &a, 7, b"ad", &mut text);
        let open = |suite, key, n, ad: &[u8], mut text: [u8; 30]| {
            Toy::open(suite, key, n, ad, &mut text, &tag).map(|()| text)
        };
        let suite = Suite::ChaChaPoly;
        assert_eq!(open(suite, &a, 7, b"ad", text), Ok(*b"some plain text of some length"));
        assert_eq!(open(Suite::AesGcm, &a, 7, b"ad", text), Err(Forged));
        assert_eq!(open(suite, &b, 7, b"ad", text), Err(Forged));
        assert_eq!(open(suite, &a, 8, b"ad", text), Err(Forged));
        assert_eq!(open(suite, &a, 7, b"da", text), Err(Forged));
        text[20] ^= 1;
        assert_eq!(open(suite, &a, 7, b"ad", text), Err(Forged));
    }
}
