//! What is stored, as bytes.

use core::slice;

use crate::{
    id::Name,
    key::{PublicKey, SecretKey},
};

use super::{Bytes, KeyStoreError, crc32};

/// How many suites of a server are remembered, which is more than a server can announce.
const MAX_SUITES: usize = 16;
const HEAD: usize = 8;

/// A server as this client remembers it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KnownServer {
    /// Its identity.
    pub key: PublicKey,
    suites: [u8; MAX_SUITES],
    count: u8,
}

impl KnownServer {
    /// A server with this key, which announced these suites. Beyond 16 they are left out: a server cannot announce so many.
    pub fn new(key: PublicKey, suites: &[u8]) -> Self {
        let count = suites.len().min(MAX_SUITES) as u8;
        let mut known = KnownServer { key, suites: [0; MAX_SUITES], count };
        for (to, from) in known.suites.iter_mut().zip(suites) {
            *to = *from;
        }
        known
    }

    /// The cipher suites it announced, as prelude bytes.
    pub fn suites(&self) -> &[u8] {
        self.suites.get(..usize::from(self.count)).unwrap_or_default()
    }
}

/// One entry of the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Entry {
    /// The secret key of the device. Written once, when it is provisioned.
    Identity(SecretKey),
    /// What the device is called.
    OwnName(Name),
    /// The server that is remembered in this slot.
    Server(u8, KnownServer),
    /// The key that is pinned under this label.
    Peer(Name, PublicKey),
    /// There is no server any more in this slot.
    NoServer(u8),
    /// There is no key any more under this label.
    NoPeer(Name),
}

/// What an entry is about: a later entry about the same replaces it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Subject {
    /// The identity of the device.
    Identity,
    /// What the device is called.
    OwnName,
    /// The server in this slot.
    Server(u8),
    /// The peer with this label.
    Peer(Name),
}

impl Entry {
    /// What it is about.
    pub fn subject(&self) -> Subject {
        match self {
            Entry::Identity(_) => Subject::Identity,
            Entry::OwnName(_) => Subject::OwnName,
            Entry::Server(slot, _) | Entry::NoServer(slot) => Subject::Server(*slot),
            Entry::Peer(label, _) | Entry::NoPeer(label) => Subject::Peer(*label),
        }
    }

    /// Whether it says that there is nothing any more.
    pub fn removes(&self) -> bool {
        matches!(self, Entry::NoServer(_) | Entry::NoPeer(_))
    }

    /// Whether storing it changes anything, when `old` is what there is.
    ///
    /// # Errors
    /// A pin is never replaced by another key.
    pub(super) fn changes(&self, old: Option<&Entry>) -> Result<bool, KeyStoreError> {
        match (old, self) {
            (Some(Entry::Identity(_)), _) => Err(KeyStoreError::AlreadyProvisioned),
            (Some(Entry::Server(_, old)), Entry::Server(_, new)) if old.key == new.key => {
                Ok(old.suites() != new.suites())
            }
            (Some(Entry::Peer(_, old)), Entry::Peer(_, new)) if old == new => Ok(false),
            (Some(Entry::Server(_, KnownServer { key, .. })), Entry::Server(..))
            | (Some(Entry::Peer(_, key)), Entry::Peer(..)) => Err(KeyStoreError::OtherKey(*key)),
            (Some(Entry::OwnName(old)), Entry::OwnName(new)) => Ok(old != new),
            (Some(_), _) => Ok(true),
            (None, new) => Ok(!new.removes()),
        }
    }

    /// The identity, if it is that.
    pub fn secret(&self) -> Option<&SecretKey> {
        if let Entry::Identity(secret) = self { Some(secret) } else { None }
    }

    /// The own name, or the label of a pinned peer, if it is one of these.
    pub fn name(&self) -> Option<&Name> {
        match self {
            Entry::OwnName(name) | Entry::Peer(name, _) => Some(name),
            _ => None,
        }
    }

    /// The server, if it is one.
    pub fn server(&self) -> Option<&KnownServer> {
        if let Entry::Server(_, server) = self { Some(server) } else { None }
    }

    /// The key that is pinned, of a server or a peer.
    pub fn key(&self) -> Option<&PublicKey> {
        match self {
            Entry::Server(_, server) => Some(&server.key),
            Entry::Peer(_, key) => Some(key),
            _ => None,
        }
    }

    #[inline(never)]
    pub(super) fn encode(&self, to: &mut Bytes) {
        to.clear();
        to.len = HEAD;
        let kind = match self {
            Entry::Identity(secret) => {
                to.put(secret.expose());
                1
            }
            Entry::OwnName(name) => {
                to.put(name.as_bytes());
                2
            }
            Entry::Server(slot, server) => {
                to.put(slice::from_ref(slot));
                to.put(server.key.as_bytes());
                to.put(server.suites());
                3
            }
            Entry::Peer(label, key) => {
                to.put(key.as_bytes());
                to.put(label.as_bytes());
                4
            }
            Entry::NoServer(slot) => {
                to.put(slice::from_ref(slot));
                5
            }
            Entry::NoPeer(label) => {
                to.put(label.as_bytes());
                6
            }
        };
        let len = to.len.saturating_sub(HEAD) as u8;
        let payload = to.all.get(HEAD..to.len).unwrap_or_default();
        let [a, b, c, d] = crc32(&[kind, len, 0, 0], payload).to_le_bytes();
        if let Some(head) = to.all.first_chunk_mut() {
            *head = [kind, len, 0, 0, a, b, c, d];
        }
    }

    /// How long it is.
    pub(super) fn len(&self) -> usize {
        let payload = match self {
            Entry::Identity(_) => 32,
            Entry::OwnName(name) | Entry::NoPeer(name) => name.as_bytes().len(),
            Entry::Server(_, server) => server.suites().len().saturating_add(33),
            Entry::Peer(label, _) => label.as_bytes().len().saturating_add(32),
            Entry::NoServer(_) => 1,
        };
        payload.saturating_add(HEAD)
    }

    /// Reads the entry at the beginning of `bytes`. `None` if it is none.
    #[inline(never)]
    pub(super) fn decode(bytes: &[u8]) -> Option<Entry> {
        let (head, rest) = bytes.split_first_chunk::<HEAD>()?;
        let [kind, len, 0, 0, crc @ ..] = head else { return None };
        let payload = rest.get(..usize::from(*len))?;
        if crc32(&[*kind, *len, 0, 0], payload) != u32::from_le_bytes(*crc) {
            return None;
        }
        let key = |bytes: &[u8]| bytes.try_into().map(PublicKey).ok();
        let name = |bytes: &[u8]| Name::from_bytes(bytes).ok();
        Some(match (kind, payload) {
            (1, secret) => Entry::Identity(SecretKey::from_bytes(secret.try_into().ok()?)),
            (2, text) => Entry::OwnName(name(text)?),
            (3, [slot, rest @ ..]) => {
                let (server, suites) = rest.split_at_checked(32)?;
                if suites.len() > MAX_SUITES {
                    return None;
                }
                Entry::Server(*slot, KnownServer::new(key(server)?, suites))
            }
            (4, rest) => {
                let (peer, label) = rest.split_at_checked(32)?;
                Entry::Peer(name(label)?, key(peer)?)
            }
            (5, [slot]) => Entry::NoServer(*slot),
            (6, label) => Entry::NoPeer(name(label)?),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flash::MAX_SLOT;

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
            let mut bytes = Bytes::new();
            entry.encode(&mut bytes);
            let len = bytes.len;
            assert_eq!(len, entry.len());
            assert!(len + 24 + 32 <= MAX_SLOT, "rounded up to units of 32 it fits");
            assert_eq!(Entry::decode(&bytes.all), Some(entry.clone()));
            let parts =
                [entry.secret().is_some(), entry.name().is_some(), entry.server().is_some()];
            let (parts, key) = (parts.map(u8::from), entry.key());
            match &entry {
                Entry::Identity(_) => assert_eq!((parts, key), ([1, 0, 0], None)),
                Entry::OwnName(_) => assert_eq!((parts, key), ([0, 1, 0], None)),
                Entry::Server(_, server) => {
                    assert_eq!((parts, key), ([0, 0, 1], Some(&server.key)))
                }
                Entry::Peer(_, peer) => assert_eq!((parts, key), ([0, 1, 0], Some(peer))),
                Entry::NoServer(_) | Entry::NoPeer(_) => assert_eq!((parts, key), ([0; 3], None)),
            }
            for bit in 0..8 * len {
                bytes.all[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Entry::decode(&bytes.all), None, "{entry:?} with bit {bit} flipped");
                bytes.all[bit / 8] ^= 1 << (bit % 8);
            }
        }
        assert_eq!(Entry::decode(&[0; 64]), None);
        assert_eq!(Entry::decode(&[0xff; 64]), None);
    }

    #[test]
    fn what_no_version_writes_is_none_though_its_checksum_is_right() {
        let entry = |kind: u8, payload: &[u8]| {
            let mut bytes = [0xff; 128];
            let len = payload.len() as u8;
            bytes[..4].copy_from_slice(&[kind, len, 0, 0]);
            let crc = crc32(&[kind, len, 0, 0], payload);
            bytes[4..HEAD].copy_from_slice(&crc.to_le_bytes());
            bytes[HEAD..HEAD + payload.len()].copy_from_slice(payload);
            Entry::decode(&bytes)
        };
        assert!(entry(3, &[1; 33 + MAX_SUITES]).is_some() && entry(5, &[1]).is_some());
        let wrong: [(u8, &[u8]); 12] = [
            (0, &[1; 32]),
            (1, &[1; 31]),
            (1, &[1; 33]),
            (2, b""),
            (2, b"A b"),
            (3, &[1; 32]),
            (3, &[1; 34 + MAX_SUITES]),
            (4, &[b'n'; 32]),
            (5, b""),
            (5, &[1, 2]),
            (6, &[0xff; 4]),
            (7, &[1; 32]),
        ];
        for (kind, payload) in wrong {
            assert_eq!(entry(kind, payload), None, "{kind} {payload:?}");
        }
    }
}
