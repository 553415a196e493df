//! The store over a blocking flash driver.

use core::{fmt, ops::Range};

use embedded_storage::nor_flash::{NorFlash, NorFlashError};

use super::{KeyStoreError, KnownServer, answer, fault, log, unit};
use crate::{
    entropy::{self, Entropy},
    proto::{
        Name, PublicKey, SecretKey,
        flash::{Entry, Log, Step, Subject, Task, Want},
    },
};

/// The keys of this device, in a range of its flash.
///
/// The range is an even number of whole pages that nothing else writes to. For a driver that is async there is
/// [`AsyncKeyStore`](super::AsyncKeyStore).
pub struct KeyStore<F> {
    flash: F,
    log: Log,
}

impl<F> fmt::Debug for KeyStore<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyStore(…)")
    }
}

impl<F: NorFlash> KeyStore<F> {
    /// Opens the store in `range` of `flash`. Finishes what a loss of power interrupted.
    ///
    /// # Errors
    /// [`KeyStoreError::Empty`] if nothing has been provisioned. Anything else that is not a whole store is refused as
    /// well, and stays as it is: to go on with new keys would give up the identity and accept any server.
    pub fn open(flash: F, range: Range<u32>) -> Result<Self, KeyStoreError> {
        let mut store = Self::new(flash, range);
        store.begin(Want::Open)?;
        Ok(store)
    }

    /// Stores the identity of this device, and its name if it has one, in a range that is empty.
    ///
    /// # Errors
    /// As [`open`](Self::open), and [`KeyStoreError::AlreadyProvisioned`] if there is a store.
    pub fn provision(
        flash: F,
        range: Range<u32>,
        secret: &SecretKey,
        name: Option<&Name>,
    ) -> Result<Self, KeyStoreError> {
        let mut store = Self::new(flash, range);
        store.begin(Want::Provision(secret, name))?;
        Ok(store)
    }

    /// Opens the store. On the first boot it makes a key from `entropy` and stores it, with `name` if there is one.
    ///
    /// # Errors
    /// As [`open`](Self::open), and [`KeyStoreError::Entropy`] if a key is needed and `entropy` fails. Then nothing was
    /// written; do not go on without a key.
    pub fn open_or_provision(
        flash: F,
        range: Range<u32>,
        entropy: &mut dyn Entropy,
        name: Option<&Name>,
    ) -> Result<Self, KeyStoreError> {
        let mut store = Self::new(flash, range);
        match store.begin(Want::Open) {
            Err(KeyStoreError::Empty) => {
                let secret = SecretKey::from_bytes(*entropy::draw(entropy)?);
                store.begin(Want::Provision(&secret, name))?
            }
            opened => opened?,
        }
        Ok(store)
    }

    /// The secret key of this device.
    ///
    /// # Errors
    /// The flash could not be read, or was damaged meanwhile.
    pub fn identity(&mut self) -> Result<SecretKey, KeyStoreError> {
        answer::identity(self.run(Want::Get(Subject::Identity)))
    }

    /// What this device is called.
    ///
    /// # Errors
    /// As [`identity`](Self::identity).
    pub fn name(&mut self) -> Result<Option<Name>, KeyStoreError> {
        answer::name(self.run(Want::Get(Subject::OwnName)))
    }

    /// Gives this device a name.
    ///
    /// # Errors
    /// The flash could not be read or written.
    pub fn set_name(&mut self, name: &Name) -> Result<(), KeyStoreError> {
        answer::done(self.run(Want::Set(Entry::OwnName(*name))))
    }

    /// The server remembered in this slot. Slots are numbers of the caller's choice, one for each server it knows an
    /// address of.
    ///
    /// # Errors
    /// As [`identity`](Self::identity).
    pub fn server(&mut self, slot: u8) -> Result<Option<KnownServer>, KeyStoreError> {
        answer::server(self.run(Want::Get(Subject::Server(slot))))
    }

    /// Remembers a server. The suites of a server that is known are brought up to date; beyond 16 they are left out.
    ///
    /// # Errors
    /// [`KeyStoreError::OtherKey`] if another key is pinned in this slot; [`KeyStoreError::Full`] if there is no room; or
    /// the flash could not be read or written.
    pub fn pin_server(
        &mut self,
        slot: u8,
        key: PublicKey,
        suites: &[u8],
    ) -> Result<(), KeyStoreError> {
        answer::done(self.run(Want::Set(Entry::Server(slot, KnownServer::new(key, suites)))))
    }

    /// Forgets a server, and returns the key it had.
    ///
    /// Only for a person's explicit decision: nothing that comes from the network may lead here.
    ///
    /// # Errors
    /// The flash could not be read or written.
    pub fn forget_server(&mut self, slot: u8) -> Result<Option<PublicKey>, KeyStoreError> {
        answer::key(self.run(Want::Set(Entry::NoServer(slot))))
    }

    /// The key pinned under this label.
    ///
    /// # Errors
    /// As [`identity`](Self::identity).
    pub fn peer(&mut self, label: &Name) -> Result<Option<PublicKey>, KeyStoreError> {
        answer::key(self.run(Want::Get(Subject::Peer(*label))))
    }

    /// The label of a key: if it has several, the alphabetically first.
    ///
    /// # Errors
    /// As [`identity`](Self::identity).
    pub fn peer_label(&mut self, key: &PublicKey) -> Result<Option<Name>, KeyStoreError> {
        answer::name(self.run(Want::Labelled(*key)))
    }

    /// Remembers a peer. A key may have several labels, a label has one key.
    ///
    /// # Errors
    /// As [`pin_server`](Self::pin_server).
    pub fn pin_peer(&mut self, label: &Name, key: PublicKey) -> Result<(), KeyStoreError> {
        answer::done(self.run(Want::Set(Entry::Peer(*label, key))))
    }

    /// Forgets a peer, and returns the key it had.
    ///
    /// Only for a person's explicit decision: nothing that comes from the network may lead here.
    ///
    /// # Errors
    /// The flash could not be read or written.
    pub fn forget_peer(&mut self, label: &Name) -> Result<Option<PublicKey>, KeyStoreError> {
        answer::key(self.run(Want::Set(Entry::NoPeer(*label))))
    }

    /// One entry of those that count, by a number from 0 to the first for which there is none: to list all of them. Their
    /// order is none, and changes bring another.
    ///
    /// # Errors
    /// As [`identity`](Self::identity).
    pub fn entry(&mut self, number: usize) -> Result<Option<Entry>, KeyStoreError> {
        self.run(Want::Number(number))
    }

    fn new(flash: F, range: Range<u32>) -> Self {
        let unit = const { unit(F::WRITE_SIZE, F::READ_SIZE) };
        let log = log(range, unit, F::ERASE_SIZE, flash.capacity());
        Self { flash, log }
    }

    fn begin(&mut self, want: Want<'_>) -> Result<(), KeyStoreError> {
        answer::done(self.run(want))
    }

    /// Does what the task asks for, until it is done. All else is the same for every driver.
    #[inline(never)]
    fn run(&mut self, want: Want<'_>) -> Result<Option<Entry>, KeyStoreError> {
        let mut task = Task::new(&mut self.log, &want);
        let mut last = Ok(());
        loop {
            let done = match task.step(last) {
                Step::Read { at, to } => self.flash.read(at, to),
                Step::Write { at, bytes } => self.flash.write(at, bytes),
                Step::Erase { from, to } => self.flash.erase(from, to),
                Step::Done => return task.answer(),
            };
            last = done.map_err(|error| fault(error.kind()));
        }
    }
}
