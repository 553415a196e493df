//! NOR flash as strict as any chip, whose power can be cut at every unit written and every page erased.

#![allow(dead_code, reason = "each test program uses its part")]

use std::collections::BTreeMap;

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash, check_erase, check_read, check_write,
};
use pysock_embedded::{
    keys::{KeyStore, KeyStoreError},
    proto::{Name, PublicKey, SecretKey},
};

/// What the unit or page reads as that was being written or erased when the power went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tear {
    /// As before.
    Nothing,
    /// As it was to be.
    Everything,
    /// Some bits have changed, others not yet.
    Some,
    /// Zeros: some chips program a page before they erase it.
    Zeros,
    /// Anything.
    Anything,
}

pub(crate) const TEARS: [Tear; 5] =
    [Tear::Nothing, Tear::Everything, Tear::Some, Tear::Zeros, Tear::Anything];

/// Flash that is written in units of `W` and erased in pages of `E` bytes.
#[derive(Clone)]
pub(crate) struct Nor<const W: usize, const E: usize> {
    pub(crate) bytes: Vec<u8>,
    /// How often each page was erased.
    pub(crate) erased: Vec<u32>,
    /// Units written.
    pub(crate) writes: usize,
    /// The power goes in this many units and pages.
    pub(crate) cut: Option<(usize, Tear)>,
    /// There is no power.
    pub(crate) off: bool,
    /// Nothing can be changed any more, and the driver says so, or does not notice.
    pub(crate) worn: Option<Worn>,
    random: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Worn {
    Noticed,
    Unnoticed,
}

impl<const W: usize, const E: usize> Nor<W, E> {
    pub(crate) fn new(pages: usize) -> Self {
        Nor {
            bytes: vec![0xff; pages * E],
            erased: vec![0; pages],
            writes: 0,
            cut: None,
            off: false,
            worn: None,
            random: 0x9e37_79b9_7f4a_7c15,
        }
    }

    pub(crate) fn restart(&mut self) {
        (self.cut, self.off) = (None, false);
    }

    pub(crate) fn random(&mut self) -> u8 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 32) as u8
    }

    /// Changes the bytes from `at` to `new`, or what the cut leaves of that.
    fn change(&mut self, at: usize, new: &[u8]) -> Result<(), NorFlashErrorKind> {
        if self.off {
            return Err(NorFlashErrorKind::Other);
        }
        let tear = match &mut self.cut {
            Some((0, tear)) => *tear,
            Some((left, _)) => {
                *left -= 1;
                Tear::Everything
            }
            None => Tear::Everything,
        };
        self.off = matches!(self.cut, Some((0, _))) && self.cut.take().is_some();
        for (i, new) in new.iter().enumerate() {
            let (old, random) = (self.bytes[at + i], self.random());
            self.bytes[at + i] = match tear {
                Tear::Nothing => old,
                Tear::Everything => *new,
                Tear::Some => (old & random) | (new & !random),
                Tear::Zeros => 0,
                Tear::Anything => random,
            };
        }
        if self.off { Err(NorFlashErrorKind::Other) } else { Ok(()) }
    }
}

impl<const W: usize, const E: usize> ErrorType for Nor<W, E> {
    type Error = NorFlashErrorKind;
}

impl<const W: usize, const E: usize> ReadNorFlash for Nor<W, E> {
    const READ_SIZE: usize = if W > 4 { 4 } else { W };

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        check_read(self, offset, bytes.len())?;
        if self.off {
            return Err(NorFlashErrorKind::Other);
        }
        bytes.copy_from_slice(&self.bytes[offset as usize..][..bytes.len()]);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

impl<const W: usize, const E: usize> NorFlash for Nor<W, E> {
    const WRITE_SIZE: usize = W;
    const ERASE_SIZE: usize = E;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
        check_erase(self, from, to)?;
        for page in from as usize / E..to as usize / E {
            match self.worn {
                Some(Worn::Noticed) => return Err(NorFlashErrorKind::Other),
                Some(Worn::Unnoticed) => continue,
                None => self.change(page * E, &[0xff; E])?,
            }
            self.erased[page] += 1;
        }
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        check_write(self, offset, bytes.len())?;
        for (i, unit) in bytes.chunks(W).enumerate() {
            let at = offset as usize + i * W;
            match self.worn {
                Some(Worn::Noticed) => return Err(NorFlashErrorKind::Other),
                Some(Worn::Unnoticed) => continue,
                None => {}
            }
            let erased = self.bytes[at..at + W].iter().all(|byte| *byte == 0xff);
            assert!(erased || self.off, "unit {at:#x} is written a second time");
            self.change(at, unit)?;
            self.writes += 1;
        }
        Ok(())
    }
}

/// Everything a store holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Model {
    pub(crate) secret: [u8; 32],
    pub(crate) name: Option<String>,
    pub(crate) servers: BTreeMap<u8, ([u8; 32], Vec<u8>)>,
    pub(crate) peers: BTreeMap<String, [u8; 32]>,
}

/// One change. What is pinned again with another key is forgotten first.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Name(String),
    Pin(u8, u8, Vec<u8>),
    Forget(u8),
    PinPeer(String, u8),
    ForgetPeer(String),
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// A name of 32 bytes, so that its entry is as long as any.
pub(crate) fn long(n: usize) -> String {
    format!("{n:032}")
}

pub(crate) const SECRET: [u8; 32] = [0xa5; 32];

impl Model {
    pub(crate) fn provisioned() -> Self {
        let name = Some("sensor-7".to_owned());
        Model { secret: SECRET, name, servers: BTreeMap::new(), peers: BTreeMap::new() }
    }

    /// All that `store` says, asked for every server and the peers that may be there.
    pub(crate) fn of<F: NorFlash>(
        store: &mut KeyStore<F>,
        labels: &[String],
    ) -> Result<Self, KeyStoreError> {
        let mut model = Model::provisioned();
        model.secret = *store.identity()?.expose();
        model.name = store.name()?.map(|name| name.as_str().to_owned());
        for slot in 0..=12 {
            if let Some(known) = store.server(slot)? {
                model.servers.insert(slot, (known.key.0, known.suites().to_vec()));
            }
        }
        for label in labels {
            if let Some(key) = store.peer(&name(label))? {
                assert!(store.peer_label(&key)?.is_some());
                model.peers.insert(label.clone(), key.0);
            }
        }
        Ok(model)
    }

    /// What becomes of it, if there is room.
    pub(crate) fn change(&mut self, change: &Change) {
        match change.clone() {
            Change::Name(name) => self.name = Some(name),
            Change::Pin(slot, key, suites) => {
                let (pinned, known) =
                    self.servers.entry(slot).or_insert(([key; 32], suites.clone()));
                if *pinned == [key; 32] {
                    *known = suites;
                }
            }
            Change::Forget(slot) => drop(self.servers.remove(&slot)),
            Change::PinPeer(label, key) => drop(self.peers.entry(label).or_insert([key; 32])),
            Change::ForgetPeer(label) => drop(self.peers.remove(&label)),
        }
    }
}

/// Makes the change in the store. That another key is pinned is an answer, not a failure.
pub(crate) fn change<F: NorFlash>(
    store: &mut KeyStore<F>,
    change: &Change,
) -> Result<(), KeyStoreError> {
    let result = match change {
        Change::Name(text) => store.set_name(&name(text)),
        Change::Pin(slot, key, suites) => store.pin_server(*slot, PublicKey([*key; 32]), suites),
        Change::Forget(slot) => store.forget_server(*slot).map(|_| ()),
        Change::PinPeer(label, key) => store.pin_peer(&name(label), PublicKey([*key; 32])),
        Change::ForgetPeer(label) => store.forget_peer(&name(label)).map(|_| ()),
    };
    match result {
        Err(KeyStoreError::OtherKey(_)) => Ok(()),
        result => result,
    }
}

impl<const W: usize, const E: usize> Nor<W, E> {
    pub(crate) fn range(&self) -> std::ops::Range<u32> {
        0..self.bytes.len() as u32
    }

    pub(crate) fn provision(&mut self) -> Result<KeyStore<&mut Self>, KeyStoreError> {
        let range = self.range();
        KeyStore::provision(self, range, &SecretKey::from_bytes(SECRET), Some(&name("sensor-7")))
    }

    /// Whether a page is erased.
    pub(crate) fn is_blank(&self, page: usize) -> bool {
        self.bytes[page * E..][..E].iter().all(|byte| *byte == 0xff)
    }

    pub(crate) fn open(&mut self) -> Result<KeyStore<&mut Self>, KeyStoreError> {
        let range = self.range();
        KeyStore::open(self, range)
    }
}
