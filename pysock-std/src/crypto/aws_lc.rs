//! AWS-LC, with assembly chosen for the processor at run time.
//!
//! What is made of a secret here lives on AWS-LC's heap, for one operation: expanded keys (one per record: 605 bytes would be too
//! many for each idle connection), X25519 keys, shared secrets. Its `OPENSSL_free` overwrites everything that it releases.

use aws_lc_rs::{
    aead::{self, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey},
    agreement::{self, PrivateKey, UnparsedPublicKey, X25519},
    error::Unspecified,
};
use pysock_proto::{
    Crypto, RustCrypto, Suite,
    crypto::{Forged, LowOrder, TAG},
};

/// The primitives of AWS-LC; BLAKE2s, which it does not have, is RustCrypto's.
#[derive(Clone, Copy, Debug)]
pub enum AwsLc {}

fn algorithm(suite: Suite) -> Result<&'static aead::Algorithm, Unspecified> {
    match suite {
        Suite::ChaChaPoly => Ok(&CHACHA20_POLY1305),
        Suite::AesGcm => Ok(&AES_256_GCM),
        _ => Err(Unspecified),
    }
}

/// Whether the processor has AES and the multiplication of GCM. Without them AES-GCM is slower than ChaCha20-Poly1305.
pub(crate) fn has_aes() -> bool {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    return is_x86_feature_detected!("aes") && is_x86_feature_detected!("pclmulqdq");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}

/// The key of one record.
fn expanded(suite: Suite, key: &[u8; 32]) -> Result<LessSafeKey, Unspecified> {
    UnboundKey::new(algorithm(suite)?, key).map(LessSafeKey::new)
}

fn nonce(suite: Suite, n: u64) -> Nonce {
    Nonce::assume_unique_for_key(suite.nonce(n))
}

impl Crypto for AwsLc {
    fn suites() -> &'static [u8] {
        const ALL: &[u8] = &[Suite::AesGcm as u8, Suite::ChaChaPoly as u8];
        if has_aes() { ALL } else { &[Suite::ChaChaPoly as u8] }
    }

    fn seal(suite: Suite, key: &[u8; 32], n: u64, ad: &[u8], text: &mut [u8]) -> [u8; TAG] {
        let sealed = expanded(suite, key)
            .and_then(|key| key.seal_in_place_separate_tag(nonce(suite, n), Aad::from(ad), text));
        match sealed.map(|tag| tag.as_ref().try_into()) {
            Ok(Ok(tag)) => tag,
            _ => {
                // Without memory, or with a suite that is not offered: nothing may leave in clear text. The other side
                // refuses the tag.
                text.fill(0);
                [0; TAG]
            }
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
        let opened = expanded(suite, key).and_then(|key| {
            key.open_in_place_separate_tag(nonce(suite, n), Aad::from(ad), tag, text).map(drop)
        });
        opened.map_err(|Unspecified| Forged)
    }

    fn hash(parts: &[&[u8]]) -> [u8; 32] {
        RustCrypto::hash(parts)
    }

    fn public(secret: &[u8; 32]) -> [u8; 32] {
        let public = PrivateKey::from_private_key(&X25519, secret)
            .ok()
            .and_then(|key| key.compute_public_key().ok())
            .and_then(|public| public.as_ref().try_into().ok());
        // It can only lack memory, and RustCrypto needs none.
        public.unwrap_or_else(|| RustCrypto::public(secret))
    }

    fn dh(secret: &[u8; 32], public: &[u8; 32]) -> Result<[u8; 32], LowOrder> {
        // Any other error, such as a lack of memory, ends the handshake just the same.
        let key = PrivateKey::from_private_key(&X25519, secret).map_err(|_| LowOrder)?;
        let public = UnparsedPublicKey::new(&X25519, public);
        agreement::agree(&key, public, LowOrder, |shared| shared.try_into().map_err(|_| LowOrder))
    }
}
