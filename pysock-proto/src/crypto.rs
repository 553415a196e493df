//! The seam between the protocol and its primitives.
//!
//! The protocol needs four things: X25519, an AEAD that works in place, BLAKE2s, and one operation with
//! the long-term key. [`Crypto`] is the first three, resolved at compile time; [`Identity`] is the
//! last, so that the key may live in a secure element. [`RustCrypto`] is portable and the default.

use core::{fmt, marker::PhantomData};

use subtle::ConstantTimeEq;

use crate::{
    key::{PublicKey, SecretKey, wipe},
    time::Instant,
};

/// Length of an authentication tag, in bytes.
pub const TAG: usize = 16;

/// A ciphertext did not authenticate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Forged;

/// A Diffie-Hellman result was all zeros: the public key is of low order (RFC 7748 §6.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LowOrder;

/// A cipher suite, as the prelude names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
#[repr(u8)]
pub enum Suite {
    /// `25519_ChaChaPoly_BLAKE2s` (Noise §12): the universal one.
    ChaChaPoly = 1,
    /// `25519_AESGCM_BLAKE2s`: of equal strength, and several times as fast where the processor has AES.
    AesGcm = 2,
}

impl Suite {
    /// The suite that `byte` names in a prelude.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Suite::ChaChaPoly),
            2 => Some(Suite::AesGcm),
            _ => None,
        }
    }

    /// The nonce of the AEAD for number `n`: 32 zero bits, then `n`, in little-endian order for ChaChaPoly (Noise §12.3)
    /// and in big-endian order for AESGCM (§12.4).
    pub const fn nonce(self, n: u64) -> [u8; 12] {
        let [a, b, c, d, e, f, g, h] = match self {
            Suite::ChaChaPoly => n.to_le_bytes(),
            Suite::AesGcm => n.to_be_bytes(),
        };
        [0, 0, 0, 0, a, b, c, d, e, f, g, h]
    }
}

/// The primitives, as stateless functions over raw 32-byte keys.
///
/// Keys stay raw so that a connection stays small; an implementation with expanded keys expands one per record.
pub trait Crypto: 'static {
    /// The suites that this implementation can run here, best first, as prelude bytes. It may ask the processor.
    fn suites() -> &'static [u8];

    /// Encrypts `text` in place (Noise §4.2 `ENCRYPT`, nonce as [`Suite::nonce`] says) and returns the tag. With a suite that
    /// it cannot run, it wipes `text` instead: nothing leaves in clear text.
    fn seal(suite: Suite, key: &[u8; 32], n: u64, ad: &[u8], text: &mut [u8]) -> [u8; TAG];

    /// Verifies the tag in constant time, then decrypts `text` in place.
    ///
    /// # Errors
    /// [`Forged`] if the tag is wrong, or the suite is one that it cannot run; then `text` is not to be used.
    fn open(
        suite: Suite,
        key: &[u8; 32],
        n: u64,
        ad: &[u8],
        text: &mut [u8],
        tag: &[u8; TAG],
    ) -> Result<(), Forged>;

    /// BLAKE2s-256 (RFC 7693) of the concatenated parts.
    fn hash(parts: &[&[u8]]) -> [u8; 32];

    /// The X25519 public key of a secret (RFC 7748 §6.1).
    fn public(secret: &[u8; 32]) -> [u8; 32];

    /// The X25519 shared secret.
    ///
    /// # Errors
    /// [`LowOrder`] if the result is all zeros, whatever the secret.
    fn dh(secret: &[u8; 32], public: &[u8; 32]) -> Result<[u8; 32], LowOrder>;
}

/// The long-term key of this side. In memory it is a [`Keypair`]; a secure element implements it itself.
///
/// `Sync`, so that an adapter may hold a reference across an await.
pub trait Identity: Sync {
    /// The public half.
    fn public(&self) -> PublicKey;

    /// The X25519 shared secret with `peer`.
    ///
    /// # Errors
    /// [`LowOrder`] if the result is all zeros.
    fn dh(&self, peer: &PublicKey) -> Result<[u8; 32], LowOrder>;
}

/// What an operation may look at: the time, and the key of this side.
#[derive(Clone, Copy)]
pub struct Env<'e> {
    /// Now.
    pub now: Instant,
    /// The long-term key of this side.
    pub identity: &'e dyn Identity,
}

/// A long-term key in memory, with its public half computed once.
pub struct Keypair<C> {
    secret: SecretKey,
    public: PublicKey,
    crypto: PhantomData<fn() -> C>,
}

impl<C: Crypto> Keypair<C> {
    /// Computes the public half. One X25519 base-point multiplication.
    pub fn new(secret: SecretKey) -> Self {
        let public = PublicKey(C::public(secret.expose()));
        Keypair { secret, public, crypto: PhantomData }
    }

    /// The secret half, for storing it.
    pub fn secret(&self) -> &SecretKey {
        &self.secret
    }
}

impl<C: Crypto> Identity for Keypair<C> {
    fn public(&self) -> PublicKey {
        self.public
    }

    fn dh(&self, peer: &PublicKey) -> Result<[u8; 32], LowOrder> {
        C::dh(self.secret.expose(), peer.as_bytes())
    }
}

impl<C> fmt::Debug for Keypair<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keypair").field("public", &self.public).finish_non_exhaustive()
    }
}

/// The entropy of one handshake: a fresh key pair, moved in, used once and wiped.
///
/// Never make two from the same bytes. A microcontroller can make one ahead of time.
pub struct Ephemeral {
    pub(crate) secret: [u8; 32],
    pub(crate) public: [u8; 32],
}

impl Ephemeral {
    /// A key pair from 32 fresh random bytes. One X25519 base-point multiplication.
    #[inline(never)] // One copy for every kind of handshake: 0.1 KiB of flash.
    pub fn new<C: Crypto>(random: [u8; 32]) -> Self {
        Ephemeral { public: C::public(&random), secret: random }
    }

    /// No key pair: the place of one that is still to come.
    pub(crate) const fn none() -> Self {
        Ephemeral { secret: [0; 32], public: [0; 32] }
    }

    /// Moves the pair out and wipes it here.
    pub(crate) fn take(&mut self) -> Self {
        let taken = Ephemeral { secret: self.secret, public: self.public };
        wipe(&mut self.secret);
        taken
    }
}

impl Drop for Ephemeral {
    fn drop(&mut self) {
        wipe(&mut self.secret);
    }
}

impl fmt::Debug for Ephemeral {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ephemeral(…)")
    }
}

/// 128 bits of a key's hash, short enough to compare aloud: eight groups of four hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 16]);

impl Fingerprint {
    /// The first 16 bytes of BLAKE2s-256(`"pysock/1 fingerprint"` ‖ key).
    pub fn of<C: Crypto>(key: &PublicKey) -> Self {
        let [hash @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] =
            C::hash(&[b"pysock/1 fingerprint", key.as_bytes()]);
        Fingerprint(hash)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, pair) in self.0.chunks(2).enumerate() {
            let dash = if i == 0 { "" } else { "-" };
            f.write_str(dash)?;
            for byte in pair {
                write!(f, "{byte:02x}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// RustCrypto and dalek: portable, constant-time, small.
pub enum RustCrypto {}

/// RFC 7748 §5, by the Montgomery ladder: in constant time. One copy of it, for both uses: 0.2 KiB of a client's flash.
#[inline(never)]
fn x25519(secret: &[u8; 32], point: &[u8; 32]) -> x25519_dalek::SharedSecret {
    x25519_dalek::StaticSecret::from(*secret).diffie_hellman(&(*point).into())
}

impl Crypto for RustCrypto {
    fn suites() -> &'static [u8] {
        &[Suite::ChaChaPoly as u8]
    }

    fn seal(suite: Suite, key: &[u8; 32], n: u64, ad: &[u8], text: &mut [u8]) -> [u8; TAG] {
        use chacha20poly1305::{ChaCha20Poly1305, KeyInit, aead::AeadInOut};
        if let Suite::ChaChaPoly = suite {
            let (cipher, nonce) = (ChaCha20Poly1305::new(&(*key).into()), suite.nonce(n).into());
            if let Ok(tag) = cipher.encrypt_inout_detached(&nonce, ad, (&mut *text).into()) {
                return tag.into();
            }
        }
        // Another suite, or more than 256 GiB, which no record reaches.
        wipe(text);
        [0; TAG]
    }

    fn open(
        suite: Suite,
        key: &[u8; 32],
        n: u64,
        ad: &[u8],
        text: &mut [u8],
        tag: &[u8; TAG],
    ) -> Result<(), Forged> {
        use chacha20poly1305::{ChaCha20Poly1305, KeyInit, aead::AeadInOut};
        let Suite::ChaChaPoly = suite else { return Err(Forged) };
        ChaCha20Poly1305::new(&(*key).into())
            .decrypt_inout_detached(&suite.nonce(n).into(), ad, text.into(), &(*tag).into())
            .map_err(|_| Forged)
    }

    fn hash(parts: &[&[u8]]) -> [u8; 32] {
        use blake2::{Blake2s256, Digest};
        let mut hash = Blake2s256::new();
        for part in parts {
            hash.update(part);
        }
        hash.finalize().into()
    }

    fn public(secret: &[u8; 32]) -> [u8; 32] {
        if cfg!(target_pointer_width = "64") {
            // With vector instructions this takes 26 µs and the ladder 41.
            let secret = x25519_dalek::StaticSecret::from(*secret);
            return x25519_dalek::PublicKey::from(&secret).to_bytes();
        }
        // Without them the gain would be 6 %, and the price 2 KiB of flash.
        x25519(secret, &x25519_dalek::X25519_BASEPOINT_BYTES).to_bytes()
    }

    fn dh(secret: &[u8; 32], public: &[u8; 32]) -> Result<[u8; 32], LowOrder> {
        let shared = x25519(secret, public);
        if shared.as_bytes().ct_eq(&[0; 32]).into() { Err(LowOrder) } else { Ok(shared.to_bytes()) }
    }
}

#[cfg(test)]
#[path = "../tests/both/mod.rs"]
pub(crate) mod both;

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::{format, vec::Vec};

    fn hex<const N: usize>(text: &str) -> [u8; N] {
        let bytes: Vec<u8> = (0..text.len() / 2)
            .map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
            .collect();
        bytes.try_into().unwrap()
    }

    #[test]
    fn x25519_of_rfc_7748() {
        // RFC 7748 §6.1
        let a = hex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
        let b = hex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
        let a_public = hex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
        let shared = hex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
        assert_eq!(RustCrypto::public(&a), a_public);
        assert_eq!(x25519(&a, &x25519_dalek::X25519_BASEPOINT_BYTES).to_bytes(), a_public);
        assert_eq!(RustCrypto::dh(&a, &RustCrypto::public(&b)), Ok(shared));
        assert_eq!(RustCrypto::dh(&b, &a_public), Ok(shared));
    }

    #[test]
    fn a_suite_that_it_cannot_run_lets_nothing_out() {
        let mut text = *b"plain text";
        assert_eq!(RustCrypto::seal(Suite::AesGcm, &[1; 32], 0, &[], &mut text), [0; TAG]);
        assert_eq!(text, [0; 10]);
        let opened = RustCrypto::open(Suite::AesGcm, &[1; 32], 0, &[], &mut text, &[0; TAG]);
        assert_eq!(opened, Err(Forged));
    }

    #[test]
    fn blake2s_of_rfc_7693() {
        // RFC 7693 appendix B
        let abc = hex("508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982");
        assert_eq!(RustCrypto::hash(&[b"a", b"bc"]), abc);
    }

    #[test]
    fn low_order_points_are_refused() {
        // 0, 1 and p - 1: RFC 7748 §6.1 asks for the check.
        let mut one = [0; 32];
        one[0] = 1;
        let mut p_minus_1 = [0xff; 32];
        (p_minus_1[0], p_minus_1[31]) = (0xec, 0x7f);
        for point in [[0; 32], one, p_minus_1] {
            assert_eq!(RustCrypto::dh(&[7; 32], &point), Err(LowOrder));
        }
        assert!(RustCrypto::dh(&[7; 32], &RustCrypto::public(&[8; 32])).is_ok());
    }

    #[test]
    fn key_pairs_are_redacted() {
        let pair = Keypair::<RustCrypto>::new(SecretKey::from_bytes([7; 32]));
        let shown = format!("{:?}", pair.public());
        assert_eq!(format!("{pair:?}"), format!("Keypair {{ public: {shown}, .. }}"));
        assert_eq!(format!("{:?}", Ephemeral::new::<RustCrypto>([7; 32])), "Ephemeral(…)");
    }

    #[test]
    fn fingerprints_are_eight_groups() {
        let print = Fingerprint::of::<RustCrypto>(&PublicKey([1; 32]));
        let text = format!("{print}");
        assert_eq!(format!("{print:?}"), text);
        assert_eq!(text.split('-').map(str::len).collect::<Vec<_>>(), [4; 8]);
    }
}
