//! Noise §5.2 `SymmetricState`, with the HKDF of §4.3.

use crate::{
    crypto::{Crypto, Forged, Suite, TAG},
    key::wipe,
};

/// BLAKE2s' block length in bytes, for HMAC (RFC 2104).
const BLOCK: usize = 64;
/// What HMAC adds to the key, bit by bit, for its two hashes.
const INNER: u8 = 0x36;
const OUTER: u8 = 0x5c;

/// Chaining key, handshake hash and the handshake's own cipher.
pub(crate) struct SymmetricState {
    ck: [u8; 32],
    h: [u8; 32],
    k: [u8; 32],
    n: u64,
    has_key: bool,
    suite: Suite,
}

/// HMAC-BLAKE2s of `data` under `key` (RFC 2104; Noise §4.3 `HMAC-HASH`).
fn hmac<C: Crypto>(key: &[u8; 32], data: [&[u8]; 2]) -> [u8; 32] {
    let mut block = [0; BLOCK];
    for (to, k) in block.iter_mut().zip(key) {
        *to = *k;
    }
    let [first, second] = data;
    block.iter_mut().for_each(|byte| *byte ^= INNER);
    let mut hash = C::hash(&[&block, first, second]);
    block.iter_mut().for_each(|byte| *byte ^= INNER ^ OUTER);
    let mac = C::hash(&[&block, &hash]);
    wipe(&mut block);
    wipe(&mut hash);
    mac
}

/// Noise §4.3 `HKDF` with `N` outputs.
fn hkdf<C: Crypto, const N: usize>(ck: &[u8; 32], material: &[u8]) -> [[u8; 32]; N] {
    let mut out = [[0; 32]; N];
    expand::<C>(ck, material, &mut out);
    out
}

#[inline(never)] // One copy for every number of outputs: 0.2 KiB of flash.
fn expand<C: Crypto>(ck: &[u8; 32], material: &[u8], out: &mut [[u8; 32]]) {
    let mut temp = hmac::<C>(ck, [material, &[]]);
    let (mut last, mut number) = ([0; 32], 0u8);
    for slot in out {
        let previous: &[u8] = if number == 0 { &[] } else { &last };
        number = number.saturating_add(1);
        last = hmac::<C>(&temp, [previous, &[number]]);
        *slot = last;
    }
    wipe(&mut temp);
    wipe(&mut last);
}

/// The name with AESGCM. Without psk0 it has 29 bytes: a name no longer than a hash is padded, and only a longer one hashed.
fn aesgcm<C: Crypto>(pattern: &[u8]) -> [u8; 32] {
    let name = [b"Noise_", pattern, b"_25519_AESGCM_BLAKE2s"];
    let mut padded = [0; 32];
    if name.iter().map(|part| part.len()).sum::<usize>() > padded.len() {
        return C::hash(&name);
    }
    padded.iter_mut().zip(name.iter().copied().flatten()).for_each(|(to, from)| *to = *from);
    padded
}

impl SymmetricState {
    /// `InitializeSymmetric` for the pattern of that name.
    pub(super) fn new<C: Crypto>(suite: Suite, pattern: &[u8]) -> Self {
        // Known at compile time: who cannot run the other suite does not carry its names. There, nothing seals or opens with it.
        let can_aes = C::suites().contains(&(Suite::AesGcm as u8));
        let h = match suite {
            Suite::AesGcm if can_aes => aesgcm::<C>(pattern),
            // Even the shortest name has 33 bytes: more than a hash, so it is hashed and not padded.
            _ => C::hash(&[b"Noise_", pattern, b"_25519_ChaChaPoly_BLAKE2s"]),
        };
        SymmetricState { ck: h, h, k: [0; 32], n: 0, has_key: false, suite }
    }

    /// Whether what is sent now is encrypted.
    pub(super) fn has_key(&self) -> bool {
        self.has_key
    }

    /// The handshake hash so far: after the handshake, a value unique to this session (§11.2).
    pub(super) fn hash(&self) -> &[u8; 32] {
        &self.h
    }

    pub(super) fn mix_hash<C: Crypto>(&mut self, data: &[u8]) {
        self.h = C::hash(&[&self.h, data]);
    }

    /// `MixHash` of the concatenated parts of a prologue.
    pub(super) fn mix_prologue<C: Crypto>(&mut self, [first, second]: [&[u8]; 2]) {
        self.h = C::hash(&[&self.h, first, second]);
    }

    pub(super) fn mix_key<C: Crypto>(&mut self, material: &[u8]) {
        let mut keys = hkdf::<C, 2>(&self.ck, material);
        let [ck, k] = &keys;
        self.set_key(ck, k);
        wipe(keys.as_flattened_mut());
    }

    pub(super) fn mix_key_and_hash<C: Crypto>(&mut self, material: &[u8]) {
        let mut keys = hkdf::<C, 3>(&self.ck, material);
        let [ck, hash, k] = &keys;
        self.mix_hash::<C>(hash);
        self.set_key(ck, k);
        wipe(keys.as_flattened_mut());
    }

    fn set_key(&mut self, ck: &[u8; 32], k: &[u8; 32]) {
        (self.ck, self.k, self.n, self.has_key) = (*ck, *k, 0, true);
    }

    /// `EncryptAndHash` in place; once there is a key, the last 16 bytes are room for the tag.
    pub(super) fn encrypt_and_hash<C: Crypto>(&mut self, text_and_tag: &mut [u8]) {
        if self.has_key
            && let Some((text, tag)) = text_and_tag.split_last_chunk_mut::<TAG>()
        {
            *tag = C::seal(self.suite, &self.k, self.n, &self.h, text);
            self.n = self.n.saturating_add(1);
        }
        self.mix_hash::<C>(text_and_tag);
    }

    /// `DecryptAndHash` in place. Returns the plain text.
    pub(super) fn decrypt_and_hash<'m, C: Crypto>(
        &mut self,
        text_and_tag: &'m mut [u8],
    ) -> Result<&'m mut [u8], Forged> {
        let next = C::hash(&[&self.h, text_and_tag]);
        let text = if self.has_key {
            let (text, tag) = text_and_tag.split_last_chunk_mut::<TAG>().ok_or(Forged)?;
            C::open(self.suite, &self.k, self.n, &self.h, text, tag)?;
            self.n = self.n.saturating_add(1);
            text
        } else {
            text_and_tag
        };
        self.h = next;
        Ok(text)
    }

    /// `Split`: the keys of the two directions, initiator's first.
    pub(super) fn split<C: Crypto>(&self) -> [[u8; 32]; 2] {
        hkdf::<C, 2>(&self.ck, &[])
    }
}

impl Drop for SymmetricState {
    fn drop(&mut self) {
        wipe(&mut self.ck);
        wipe(&mut self.k);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{crypto::RustCrypto, key::witness::times};

    #[test]
    fn the_chaining_key_is_wiped_with_its_handshake() {
        let mut symmetric = SymmetricState::new::<RustCrypto>(Suite::ChaChaPoly, b"a name");
        symmetric.mix_key::<RustCrypto>(&[1; 32]);
        let keys = [symmetric.ck, symmetric.k];
        let before = keys.map(|key| times(&key));
        drop(symmetric);
        assert_eq!(keys.map(|key| times(&key)), before.map(|times| times + 1));
    }
}
