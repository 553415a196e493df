//! One direction of an open connection: Noise §5.1 `CipherState`, with the rekeying rule of pysock.

use crate::{
    crypto::{Crypto, Forged, Suite, TAG},
    key::wipe,
};

/// Records per key: before record n · 2^16, n ≥ 1, the key is replaced (Noise §11.3).
const REKEY_EVERY: u64 = 1 << 16;

/// A key and the number of the next record. The nonce is never reset, not even by rekeying.
pub(crate) struct CipherState {
    key: [u8; 32],
    n: u64,
}

impl CipherState {
    pub(crate) fn new(key: [u8; 32]) -> Self {
        CipherState { key, n: 0 }
    }

    /// Encrypts one record in place. Noise transport messages carry no associated data (§5.3 `Split`).
    pub(crate) fn seal<C: Crypto>(&mut self, suite: Suite, text: &mut [u8]) -> [u8; TAG] {
        self.rekey_if_due::<C>(suite);
        let tag = C::seal(suite, &self.key, self.n, &[], text);
        self.n = self.n.saturating_add(1);
        tag
    }

    /// Verifies and decrypts one record in place.
    pub(crate) fn open<C: Crypto>(
        &mut self,
        suite: Suite,
        text: &mut [u8],
        tag: &[u8; TAG],
    ) -> Result<(), Forged> {
        self.rekey_if_due::<C>(suite);
        C::open(suite, &self.key, self.n, &[], text, tag)?;
        self.n = self.n.saturating_add(1);
        Ok(())
    }

    /// Noise §4.2 `REKEY`: the first 32 bytes of `ENCRYPT(k, 2^64-1, "", zeros)`.
    fn rekey_if_due<C: Crypto>(&mut self, suite: Suite) {
        if self.n == 0 || !self.n.is_multiple_of(REKEY_EVERY) {
            return;
        }
        let mut next = [0; 32];
        C::seal(suite, &self.key, u64::MAX, &[], &mut next);
        wipe(&mut self.key);
        self.key = next;
        wipe(&mut next);
    }
}

impl Drop for CipherState {
    fn drop(&mut self) {
        wipe(&mut self.key);
    }
}
