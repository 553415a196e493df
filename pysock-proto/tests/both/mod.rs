//! RustCrypto with both suites, for tests alone: in the crate itself AES-GCM would be weight that no microcontroller needs.
#![allow(dead_code, unreachable_pub, reason = "tests of the crate and beside it use it")]

use aes_gcm::{Aes256Gcm, KeyInit, aead::AeadInPlace};
use pysock_proto::{
    RustCrypto, Suite,
    crypto::{Crypto, Forged, LowOrder, TAG},
};

pub enum Both {}

impl Crypto for Both {
    fn suites() -> &'static [u8] {
        &[Suite::AesGcm as u8, Suite::ChaChaPoly as u8]
    }

    fn seal(suite: Suite, key: &[u8; 32], n: u64, ad: &[u8], text: &mut [u8]) -> [u8; TAG] {
        match suite {
            Suite::AesGcm => Aes256Gcm::new(key.into())
                .encrypt_in_place_detached(&suite.nonce(n).into(), ad, text)
                .unwrap()
                .into(),
            _ => RustCrypto::seal(suite, key, n, ad, text),
        }
    }

    fn open(
        suite: Suite,
        key: &[u8; 32],
        n: u64,
        ad: &[u8],
        text: &mut [u8],
        tag: &[u8; TAG],
    ) -> Result<(), Forged> {
        match suite {
            Suite::AesGcm => Aes256Gcm::new(key.into())
                .decrypt_in_place_detached(&suite.nonce(n).into(), ad, text, tag.into())
                .map_err(|_| Forged),
            _ => RustCrypto::open(suite, key, n, ad, text, tag),
        }
    }

    fn hash(parts: &[&[u8]]) -> [u8; 32] {
        RustCrypto::hash(parts)
    }

    fn public(secret: &[u8; 32]) -> [u8; 32] {
        RustCrypto::public(secret)
    }

    fn dh(secret: &[u8; 32], public: &[u8; 32]) -> Result<[u8; 32], LowOrder> {
        RustCrypto::dh(secret, public)
    }
}
