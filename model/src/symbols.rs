//! Cryptography that hides nothing and confuses nothing: what belongs together verifies, what does not does not. The
//! adversary of this model never computes, it only passes on; so that is all that is asked of primitives here, and a
//! handshake takes microseconds.

use std::marker::PhantomData;

use pysock_proto::{
    Suite,
    crypto::{Crypto, Forged, LowOrder, TAG},
};

/// Whether records and messages are checked. Switched off in one of the models that have to fail.
pub(crate) trait Check: 'static {
    /// Whether a tag that differs is a forgery.
    const TAGS: bool;
}

/// As it is.
pub(crate) enum Checked {}
/// Everything verifies.
pub(crate) enum Unchecked {}

impl Check for Checked {
    const TAGS: bool = true;
}

impl Check for Unchecked {
    const TAGS: bool = false;
}

/// The primitives.
pub(crate) struct Symbols<K>(PhantomData<fn() -> K>);

/// Of four sequences, each its own.
const ODD: [u64; 4] =
    [0x9e37_79b9_7f4a_7c15, 0xc2b2_ae3d_27d4_eb4f, 0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb];

/// Four words that take part of every byte of every part.
fn mix(parts: &[&[u8]]) -> [u8; 32] {
    let mut words: [u64; 4] = [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344, 0xa409_3822, 0x299f];
    let mut absorb = |word: u64| {
        for (lane, odd) in words.iter_mut().zip(ODD) {
            let mixed = (*lane ^ word).wrapping_mul(odd);
            *lane = mixed ^ (mixed >> 29);
        }
    };
    // Where a part ends must not matter: only what all of them say.
    let (mut word, mut bytes, mut len) = ([0; 8], 0, 0_u64);
    for part in parts {
        let mut rest = *part;
        while !rest.is_empty() {
            let n = rest.len().min(8 - bytes);
            word[bytes..bytes + n].copy_from_slice(&rest[..n]);
            rest = &rest[n..];
            bytes += n;
            if bytes == 8 {
                absorb(u64::from_be_bytes(word));
                (word, bytes) = ([0; 8], 0);
            }
        }
        len += part.len() as u64;
    }
    absorb(u64::from_be_bytes(word));
    absorb(len);
    absorb(!len);
    let mut out = [0; 32];
    for (to, word) in out.chunks_exact_mut(8).zip(words) {
        to.copy_from_slice(&word.to_be_bytes());
    }
    out
}

impl<K: Check> Crypto for Symbols<K> {
    fn suites() -> &'static [u8] {
        &[Suite::ChaChaPoly as u8]
    }

    fn seal(_: Suite, key: &[u8; 32], n: u64, ad: &[u8], text: &mut [u8]) -> [u8; TAG] {
        let mut tag = [0; TAG];
        tag.copy_from_slice(&mix(&[key, &n.to_be_bytes(), ad, text])[..TAG]);
        tag
    }

    fn open(
        suite: Suite,
        key: &[u8; 32],
        n: u64,
        ad: &[u8],
        text: &mut [u8],
        tag: &[u8; TAG],
    ) -> Result<(), Forged> {
        if K::TAGS && Self::seal(suite, key, n, ad, text) != *tag { Err(Forged) } else { Ok(()) }
    }

    fn hash(parts: &[&[u8]]) -> [u8; 32] {
        mix(parts)
    }

    /// A public key is its secret: so the order of two ephemeral keys is the one that was chosen for them.
    fn public(secret: &[u8; 32]) -> [u8; 32] {
        *secret
    }

    fn dh(secret: &[u8; 32], public: &[u8; 32]) -> Result<[u8; 32], LowOrder> {
        Ok(mix(&[secret.min(public), secret.max(public)]))
    }
}
