//! Keys and their checksummed text form.
//!
//! Text is Bech32m (BIP-350): a typed prefix says what it is, a checksum catches every mistyped
//! character. `pysock1…` is a public key and safe to publish, `PYSOCK-SECRET-KEY-1…` is a secret key,
//! `PYSOCK-PSK-1…` a pre-shared key with its hint. Secrets are upper case so that they stand out in a diff.

use core::{fmt, str::FromStr};

use bech32::{Bech32m, ByteIterExt, Fe32IterExt, Hrp, primitives::decode::CheckedHrpstring};
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use crate::error::KeyError;

const PUBLIC: &str = "pysock";
const SECRET: &str = "PYSOCK-SECRET-KEY-";
const PSK: &str = "PYSOCK-PSK-";
/// Longest text of any key: prefix, separator, 64 characters of data, 6 of checksum.
const MAX_TEXT: usize = 90;

/// Overwrites what was secret, in a way that is not optimized away. One copy of that, for all secrets:
/// 0.2 KiB of flash.
#[inline(never)]
pub(crate) fn wipe(secret: &mut [u8]) {
    #[cfg(test)]
    witness::saw(secret);
    secret.zeroize();
}

/// What has been wiped, for tests that know what had to be.
#[cfg(test)]
pub(crate) mod witness {
    extern crate std;
    use std::{cell::RefCell, thread_local, vec::Vec};

    thread_local! {
        static SEEN: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
    }

    pub(super) fn saw(secret: &[u8]) {
        SEEN.with_borrow_mut(|seen| seen.push(secret.to_vec()));
    }

    /// How often this thread has wiped `secret`, alone or as part of something larger.
    pub(crate) fn times(secret: &[u8]) -> usize {
        let holds = |wiped: &&Vec<u8>| wiped.windows(secret.len()).any(|part| part == secret);
        SEEN.with_borrow(|seen| seen.iter().filter(holds).count())
    }
}

/// An X25519 public key: the identity of a client or a server. 32 bytes, compared as bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; 32]);

/// An X25519 secret key. Wiped when dropped, never shown by `Debug`, compared in constant time.
#[derive(Clone)]
pub struct SecretKey([u8; 32]);

/// A pre-shared key: 32 secret bytes, and 8 independent public bytes by which the server finds it.
/// The secret is wiped when dropped, never shown by `Debug`, compared in constant time.
#[derive(Clone)]
pub struct Psk {
    hint: [u8; 8],
    secret: [u8; 32],
}

/// The text of a secret. Wiped when dropped; the only way to it is [`SecretText::expose`].
pub struct SecretText {
    bytes: [u8; MAX_TEXT],
    len: usize,
}

impl PublicKey {
    /// The 32 bytes as RFC 7748 §5 encodes them.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether the bytes are the one encoding that RFC 7748 §5 gives the point: less than 2^255 - 19. Others
    /// would let one secret pass as several identities.
    pub fn is_canonical(&self) -> bool {
        let [first, middle @ .., last] = &self.0;
        let above = *last == 0x7f && *first >= 0xed && middle.iter().all(|byte| *byte == 0xff);
        *last <= 0x7f && !above
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = TextBuffer::default();
        encode(&mut text, PUBLIC, self.0.iter().copied())?;
        f.pad(text.as_str())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    /// Reads `pysock1…`.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        decode(text, PUBLIC).map(PublicKey)
    }
}

impl SecretKey {
    /// A secret key from 32 random bytes. The caller vouches for their randomness.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        SecretKey(bytes)
    }

    /// The secret bytes, for storing them.
    pub const fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// The text form `PYSOCK-SECRET-KEY-1…`, for storing it.
    pub fn to_text(&self) -> SecretText {
        SecretText::new(SECRET, self.0.iter().copied())
    }
}

impl FromStr for SecretKey {
    type Err = KeyError;

    /// Reads `PYSOCK-SECRET-KEY-1…`.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        decode(text, SECRET).map(SecretKey)
    }
}

impl PartialEq for SecretKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for SecretKey {}

impl Drop for SecretKey {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(…)")
    }
}

impl Psk {
    /// A pre-shared key from 8 and 32 independent random bytes.
    pub const fn new(hint: [u8; 8], secret: [u8; 32]) -> Self {
        Psk { hint, secret }
    }

    /// The public bytes by which a server finds the key.
    pub const fn hint(&self) -> [u8; 8] {
        self.hint
    }

    /// The secret bytes, as mixed into the handshake (Noise §9).
    pub const fn expose(&self) -> &[u8; 32] {
        &self.secret
    }

    /// The text form `PYSOCK-PSK-1…`, for handing it to a client.
    pub fn to_text(&self) -> SecretText {
        SecretText::new(PSK, self.hint.iter().chain(&self.secret).copied())
    }
}

impl FromStr for Psk {
    type Err = KeyError;

    /// Reads `PYSOCK-PSK-1…`.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let mut both: [u8; 40] = decode(text, PSK)?;
        let mut psk = Psk { hint: [0; 8], secret: [0; 32] };
        for (to, from) in psk.hint.iter_mut().chain(&mut psk.secret).zip(both) {
            *to = from;
        }
        wipe(&mut both);
        Ok(psk)
    }
}

impl PartialEq for Psk {
    fn eq(&self, other: &Self) -> bool {
        (self.hint.ct_eq(&other.hint) & self.secret.ct_eq(&other.secret)).into()
    }
}

impl Eq for Psk {}

impl Drop for Psk {
    fn drop(&mut self) {
        wipe(&mut self.secret);
    }
}

impl fmt::Debug for Psk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Psk(…)")
    }
}

impl SecretText {
    fn new(hrp: &str, data: impl Iterator<Item = u8>) -> Self {
        let mut text = TextBuffer::default();
        // Cannot fail: the buffer holds the longest key.
        let _ = encode(&mut text, hrp, data);
        text.0
    }

    /// The text itself.
    pub fn expose(&self) -> &str {
        let bytes = self.bytes.get(..self.len).unwrap_or_default();
        core::str::from_utf8(bytes).unwrap_or_default()
    }
}

impl Drop for SecretText {
    fn drop(&mut self) {
        wipe(&mut self.bytes);
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(…)")
    }
}

/// Collects text without an allocator; wiped when dropped, for it may hold a secret.
struct TextBuffer(SecretText);

impl Default for TextBuffer {
    fn default() -> Self {
        TextBuffer(SecretText { bytes: [0; MAX_TEXT], len: 0 })
    }
}

impl TextBuffer {
    fn as_str(&self) -> &str {
        self.0.expose()
    }

    fn push(&mut self, c: char) -> fmt::Result {
        let byte = u8::try_from(c).map_err(|_| fmt::Error)?;
        *self.0.bytes.get_mut(self.0.len).ok_or(fmt::Error)? = byte;
        self.0.len = self.0.len.saturating_add(1);
        Ok(())
    }
}

fn encode(to: &mut TextBuffer, hrp: &str, data: impl Iterator<Item = u8>) -> fmt::Result {
    let upper = hrp.starts_with(|c: char| c.is_ascii_uppercase());
    let hrp = Hrp::parse(hrp).map_err(|_| fmt::Error)?;
    for c in data.bytes_to_fes().with_checksum::<Bech32m>(&hrp).chars() {
        to.push(if upper { c.to_ascii_uppercase() } else { c })?;
    }
    Ok(())
}

fn decode<const N: usize>(text: &str, hrp: &str) -> Result<[u8; N], KeyError> {
    let checked = CheckedHrpstring::new::<Bech32m>(text).map_err(|_| KeyError::Malformed)?;
    // Case matters in what people see, not in what they may type; Bech32m itself refuses mixed case.
    if !checked.hrp().as_str().eq_ignore_ascii_case(hrp) {
        return Err(KeyError::WrongKind);
    }
    let (mut bytes, mut data) = ([0; N], checked.byte_iter());
    for byte in &mut bytes {
        *byte = data.next().ok_or(KeyError::WrongLength)?;
    }
    if data.next().is_some() {
        return Err(KeyError::WrongLength);
    }
    // Each key has one text: bits that only pad have to be zero.
    let mut again = TextBuffer::default();
    let _ = encode(&mut again, hrp, bytes.iter().copied());
    if !again.as_str().eq_ignore_ascii_case(text) {
        return Err(KeyError::Malformed);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::{format, string::ToString};

    #[test]
    fn text_round_trips_and_is_typed() {
        let public = PublicKey([7; 32]);
        assert!(public.to_string().starts_with("pysock1"));
        assert_eq!(public.to_string().parse(), Ok(public));
        let secret = SecretKey::from_bytes([9; 32]);
        let text = secret.to_text();
        assert!(text.expose().starts_with("PYSOCK-SECRET-KEY-1"));
        assert_eq!(text.expose().parse(), Ok(secret));
        assert_eq!(text.expose().parse::<PublicKey>(), Err(KeyError::WrongKind));
        let psk = Psk::new([1; 8], [2; 32]);
        assert!(psk.to_text().expose().starts_with("PYSOCK-PSK-1"));
        assert_eq!(psk.to_text().expose().parse(), Ok(psk));
    }

    #[test]
    fn every_single_mistyped_character_is_caught() {
        let text = PublicKey([0xa5; 32]).to_string();
        for at in 0..text.len() {
            for c in "qz9l".chars() {
                let mut wrong: std::vec::Vec<char> = text.chars().collect();
                if wrong[at] == c {
                    continue;
                }
                wrong[at] = c;
                let wrong: std::string::String = wrong.into_iter().collect();
                assert!(wrong.parse::<PublicKey>().is_err(), "{wrong}");
            }
        }
        assert_eq!(text[..text.len() - 1].parse::<PublicKey>(), Err(KeyError::Malformed));
        assert_eq!("".parse::<PublicKey>(), Err(KeyError::Malformed));
    }

    #[test]
    fn agrees_with_the_published_checksum() {
        // BIP-350, "Test vectors for Bech32m": the five-bit values 31 down to 0.
        let valid = "abcdef1l7aum6echk45nj3s0wdvt2fg8x9yrzpqzd3ryx";
        let bits = (0..32u8).rev().flat_map(|v| (0..5).rev().map(move |b| v >> b & 1));
        let bits: std::vec::Vec<u8> = bits.collect();
        let expected =
            core::array::from_fn(|i| bits[8 * i..][..8].iter().fold(0, |a, b| a << 1 | b));
        assert_eq!(decode::<20>(valid, "abcdef"), Ok(expected));
        assert_eq!(decode::<19>(valid, "abcdef"), Err(KeyError::WrongLength));
        assert_eq!(decode::<20>(valid, "pysock"), Err(KeyError::WrongKind));
        assert_eq!(decode::<20>(&valid.replace("7a", "7q"), "abcdef"), Err(KeyError::Malformed));
    }

    #[test]
    fn each_key_has_one_encoding_and_one_text() {
        let mut p = [0xff; 32];
        (p[0], p[31]) = (0xed, 0x7f);
        assert!(!PublicKey(p).is_canonical(), "p itself");
        p[0] = 0xec;
        assert!(PublicKey(p).is_canonical(), "p - 1");
        assert!(!PublicKey([0x80; 32]).is_canonical(), "bit 255");
        // The last of 52 characters of data carries one bit of the key and four that pad.
        let text = PublicKey([0; 32]).to_string();
        let data = text.as_bytes()[7..59].iter().map(|c| if *c == b'q' { 0u8 } else { 1 });
        let padded =
            data.enumerate().map(|(i, v)| bech32::Fe32::try_from(if i == 51 { 1 } else { v }));
        let hrp = Hrp::parse(PUBLIC).unwrap();
        let padded = padded.map(Result::unwrap).with_checksum::<Bech32m>(&hrp);
        let padded: std::string::String = padded.chars().collect();
        assert_ne!(padded, text);
        assert_eq!(padded.parse::<PublicKey>(), Err(KeyError::Malformed));
    }

    #[test]
    fn secrets_are_redacted() {
        let secret = SecretKey::from_bytes([9; 32]);
        assert_eq!(format!("{secret:?}{:?}", secret.to_text()), "SecretKey(…)SecretText(…)");
        assert_eq!(format!("{:?}", Psk::new([1; 8], [2; 32])), "Psk(…)");
    }
}
