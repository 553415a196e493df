//! What is stored, as bytes. Nothing here touches flash.
//!
//! ```text
//! kind u8 │ length of the payload u8 │ 0 0 │ CRC-32 of the rest, u32 │ payload        numbers are little-endian
//! ```

use core::slice;

use zeroize::Zeroize;

use super::KeyStoreError;
use crate::proto::{Name, PublicKey, SecretKey};

/// How many suites of a server are remembered, which is more than a server can announce.
const MAX_SUITES: usize = 16;
const HEAD: usize = 8;
/// A seal of 32 bytes and the longest entry, a peer, in units of 32 bytes.
pub(super) const MAX_SLOT: usize = 128;

/// A server as this client remembers it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KnownServer {
    /// Its identity.
    pub key: PublicKey,
    suites: [u8; MAX_SUITES],
    count: u8,
}

impl KnownServer {
    /// Suites beyond those that are remembered are left out: a server cannot announce so many.
    pub(super) fn new(key: PublicKey, suites: &[u8]) -> Self {
        let mut known = KnownServer { key, suites: [0; MAX_SUITES], count: 0 };
        for (to, from) in known.suites.iter_mut().zip(suites) {
            *to = *from;
            known.count = known.count.saturating_add(1);
        }
        known
    }

    /// The cipher suites it announced, as prelude bytes.
    pub fn suites(&self) -> &[u8] {
        self.suites.get(..usize::from(self.count)).unwrap_or_default()
    }
}

/// One line of the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Entry {
    Identity(SecretKey),
    OwnName(Name),
    Server(u8, KnownServer),
    Peer(Name, PublicKey),
    NoServer(u8),
    NoPeer(Name),
}

/// What an entry is about: a later entry about the same replaces it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Subject {
    Identity,
    OwnName,
    Server(u8),
    Peer(Name),
}

impl Entry {
    pub(super) fn subject(&self) -> Subject {
        match self {
            Entry::Identity(_) => Subject::Identity,
            Entry::OwnName(_) => Subject::OwnName,
            Entry::Server(slot, _) | Entry::NoServer(slot) => Subject::Server(*slot),
            Entry::Peer(label, _) | Entry::NoPeer(label) => Subject::Peer(*label),
        }
    }

    /// Whether it says that there is nothing any more.
    pub(super) fn removes(&self) -> bool {
        matches!(self, Entry::NoServer(_) | Entry::NoPeer(_))
    }

    /// Whether storing it changes anything, when `old` is what there is.
    ///
    /// # Errors
    /// A pin is never replaced by another key.
    pub(super) fn changes(&self, old: Option<&Entry>) -> Result<bool, KeyStoreError> {
        match (old, self) {
            (Some(Entry::Server(_, old)), Entry::Server(_, new)) if old.key != new.key => {
                Err(KeyStoreError::OtherKey(old.key))
            }
            (Some(Entry::Peer(_, old)), Entry::Peer(_, new)) if old != new => {
                Err(KeyStoreError::OtherKey(*old))
            }
            (Some(old), new) => Ok(old != new),
            (None, new) => Ok(!new.removes()),
        }
    }

    pub(super) fn secret(self) -> Option<SecretKey> {
        if let Entry::Identity(secret) = self { Some(secret) } else { None }
    }

    pub(super) fn own_name(self) -> Option<Name> {
        if let Entry::OwnName(name) = self { Some(name) } else { None }
    }

    pub(super) fn server(self) -> Option<KnownServer> {
        if let Entry::Server(_, server) = self { Some(server) } else { None }
    }

    /// The key that is pinned.
    pub(super) fn key(self) -> Option<PublicKey> {
        match self {
            Entry::Server(_, server) => Some(server.key),
            Entry::Peer(_, key) => Some(key),
            _ => None,
        }
    }

    #[inline(never)]
    pub(super) fn encode(&self) -> Bytes {
        let (kind, payload): (u8, [&[u8]; 3]) = match self {
            Entry::Identity(secret) => (1, [secret.expose(), &[], &[]]),
            Entry::OwnName(name) => (2, [name.as_str().as_bytes(), &[], &[]]),
            Entry::Server(slot, server) => {
                (3, [slice::from_ref(slot), server.key.as_bytes(), server.suites()])
            }
            Entry::Peer(label, key) => (4, [key.as_bytes(), label.as_str().as_bytes(), &[]]),
            Entry::NoServer(slot) => (5, [slice::from_ref(slot), &[], &[]]),
            Entry::NoPeer(label) => (6, [label.as_str().as_bytes(), &[], &[]]),
        };
        Bytes::framed(kind, &payload)
    }

    /// Reads the entry at the beginning of `bytes`, and says how long it is. `None` if it is none.
    pub(super) fn decode(bytes: &[u8]) -> Option<(Entry, usize)> {
        let (head, rest) = bytes.split_first_chunk::<HEAD>()?;
        let [kind, len, 0, 0, crc @ ..] = head else { return None };
        let payload = rest.get(..usize::from(*len))?;
        if crc32(&[&[*kind, *len, 0, 0], payload]) != u32::from_le_bytes(*crc) {
            return None;
        }
        let key = |bytes: &[u8]| bytes.try_into().map(PublicKey).ok();
        let name = |bytes: &[u8]| Name::from_bytes(bytes).ok();
        let entry = match (kind, payload) {
            (1, secret) => Entry::Identity(SecretKey::from_bytes(secret.try_into().ok()?)),
            (2, text) => Entry::OwnName(name(text)?),
            (3, [slot, rest @ ..]) => {
                let (server, suites) = rest.split_at_checked(32)?;
                Entry::Server(*slot, KnownServer::new(key(server)?, suites))
            }
            (4, rest) => {
                let (peer, label) = rest.split_at_checked(32)?;
                Entry::Peer(name(label)?, key(peer)?)
            }
            (5, [slot]) => Entry::NoServer(*slot),
            (6, label) => Entry::NoPeer(name(label)?),
            _ => return None,
        };
        Some((entry, HEAD.saturating_add(payload.len())))
    }
}

/// Bytes on their way to or from flash. They may be secret: wiped when dropped.
pub(super) struct Bytes {
    pub(super) all: [u8; MAX_SLOT],
    pub(super) len: usize,
}

impl Bytes {
    pub(super) fn new() -> Self {
        Bytes { all: [0; MAX_SLOT], len: 0 }
    }

    fn framed(kind: u8, payload: &[&[u8]; 3]) -> Self {
        let mut bytes = Bytes::new();
        let mut len = 0u8;
        for (to, from) in
            bytes.all.iter_mut().skip(HEAD).zip(payload.iter().flat_map(|part| part.iter()))
        {
            *to = *from;
            len = len.saturating_add(1);
        }
        let [a, b, c] = payload;
        let crc = crc32(&[&[kind, len, 0, 0], a, b, c]).to_le_bytes();
        for (to, from) in bytes.all.iter_mut().zip([kind, len, 0, 0].into_iter().chain(crc)) {
            *to = from;
        }
        bytes.len = HEAD.saturating_add(usize::from(len));
        bytes
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        self.all.zeroize();
    }
}

/// CRC-32 as in Ethernet and zip, bit by bit: a table would cost 1 KiB of flash to save microseconds.
pub(super) fn crc32(parts: &[&[u8]]) -> u32 {
    let bytes = parts.iter().flat_map(|part| part.iter());
    !bytes.fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_common_one() {
        assert_eq!(crc32(&[b"1234", b"56789"]), 0xcbf4_3926);
    }

    #[test]
    fn entries_round_trip_and_no_flipped_bit_passes() {
        let (name, key) = (Name::new(&"n".repeat(32)).unwrap(), PublicKey([7; 32]));
        let server = KnownServer::new(key, &[1, 2, 3]);
        assert_eq!(server.suites(), [1, 2, 3]);
        let entries = [
            Entry::Identity(SecretKey::from_bytes([9; 32])),
            Entry::OwnName(name),
            Entry::Server(3, server),
            Entry::Server(4, KnownServer::new(key, &[])),
            Entry::Peer(name, key),
            Entry::NoServer(3),
            Entry::NoPeer(name),
        ];
        for entry in entries {
            let mut bytes = entry.encode();
            let len = bytes.len;
            assert!(len + 24 + 32 <= MAX_SLOT, "rounded up to units of 32 it fits");
            assert_eq!(Entry::decode(&bytes.all), Some((entry.clone(), len)));
            for bit in 0..8 * len {
                bytes.all[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Entry::decode(&bytes.all), None, "{entry:?} with bit {bit} flipped");
                bytes.all[bit / 8] ^= 1 << (bit % 8);
            }
        }
        assert_eq!(Entry::decode(&[0; 64]), None);
        assert_eq!(Entry::decode(&[0xff; 64]), None);
    }
}
