//! The store over a flash driver that is async.

use core::{fmt, ops::Range};

use embedded_storage_async::nor_flash::{NorFlash, NorFlashError};

use super::{KeyStoreError, KnownServer, answer, fault, log, unit};
use crate::{
    entropy::{self, Entropy},
    proto::{
        Name, PublicKey, SecretKey,
        flash::{Entry, Log, Step, Subject, Task, Want},
    },
};

/// [`KeyStore`](super::KeyStore) over a flash driver that is async. Dropping a future before it is done is like losing
/// power at that moment: the change is there or it is not, and the store can go on.
pub struct AsyncKeyStore<F> {
    flash: F,
    log: Log,
}

impl<F> fmt::Debug for AsyncKeyStore<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyStore(…)")
    }
}

impl<F: NorFlash> AsyncKeyStore<F> {
    /// See [`KeyStore::open`](super::KeyStore::open).
    ///
    /// # Errors
    /// As there.
    pub async fn open(flash: F, range: Range<u32>) -> Result<Self, KeyStoreError> {
        let mut store = Self::new(flash, range);
        store.begin(Want::Open).await?;
        Ok(store)
    }

    /// See [`KeyStore::provision`](super::KeyStore::provision).
    ///
    /// # Errors
    /// As there.
    pub async fn provision(
        flash: F,
        range: Range<u32>,
        secret: &SecretKey,
        name: Option<&Name>,
    ) -> Result<Self, KeyStoreError> {
        let mut store = Self::new(flash, range);
        store.begin(Want::Provision(secret, name)).await?;
        Ok(store)
    }

    /// See [`KeyStore::open_or_provision`](super::KeyStore::open_or_provision).
    ///
    /// # Errors
    /// As there.
    pub async fn open_or_provision(
        flash: F,
        range: Range<u32>,
        mut entropy: &mut (impl Entropy + ?Sized),
        name: Option<&Name>,
    ) -> Result<Self, KeyStoreError> {
        let mut store = Self::new(flash, range);
        match store.begin(Want::Open).await {
            Err(KeyStoreError::Empty) => {
                let secret = SecretKey::from_bytes(*entropy::draw(&mut entropy)?);
                store.begin(Want::Provision(&secret, name)).await?
            }
            opened => opened?,
        }
        Ok(store)
    }

    /// See [`KeyStore::identity`](super::KeyStore::identity).
    ///
    /// # Errors
    /// As there.
    pub async fn identity(&mut self) -> Result<SecretKey, KeyStoreError> {
        answer::identity(self.run(Want::Get(Subject::Identity)).await)
    }

    /// See [`KeyStore::name`](super::KeyStore::name).
    ///
    /// # Errors
    /// As there.
    pub async fn name(&mut self) -> Result<Option<Name>, KeyStoreError> {
        answer::name(self.run(Want::Get(Subject::OwnName)).await)
    }

    /// See [`KeyStore::set_name`](super::KeyStore::set_name).
    ///
    /// # Errors
    /// As there.
    pub async fn set_name(&mut self, name: &Name) -> Result<(), KeyStoreError> {
        answer::done(self.run(Want::Set(Entry::OwnName(*name))).await)
    }

    /// See [`KeyStore::server`](super::KeyStore::server).
    ///
    /// # Errors
    /// As there.
    pub async fn server(&mut self, slot: u8) -> Result<Option<KnownServer>, KeyStoreError> {
        answer::server(self.run(Want::Get(Subject::Server(slot))).await)
    }

    /// See [`KeyStore::pin_server`](super::KeyStore::pin_server).
    ///
    /// # Errors
    /// As there.
    pub async fn pin_server(
        &mut self,
        slot: u8,
        key: PublicKey,
        suites: &[u8],
    ) -> Result<(), KeyStoreError> {
        answer::done(self.run(Want::Set(Entry::Server(slot, KnownServer::new(key, suites)))).await)
    }

    /// See [`KeyStore::forget_server`](super::KeyStore::forget_server).
    ///
    /// # Errors
    /// As there.
    pub async fn forget_server(&mut self, slot: u8) -> Result<Option<PublicKey>, KeyStoreError> {
        answer::key(self.run(Want::Set(Entry::NoServer(slot))).await)
    }

    /// See [`KeyStore::peer`](super::KeyStore::peer).
    ///
    /// # Errors
    /// As there.
    pub async fn peer(&mut self, label: &Name) -> Result<Option<PublicKey>, KeyStoreError> {
        answer::key(self.run(Want::Get(Subject::Peer(*label))).await)
    }

    /// See [`KeyStore::peer_label`](super::KeyStore::peer_label).
    ///
    /// # Errors
    /// As there.
    pub async fn peer_label(&mut self, key: &PublicKey) -> Result<Option<Name>, KeyStoreError> {
        answer::name(self.run(Want::Labelled(*key)).await)
    }

    /// See [`KeyStore::pin_peer`](super::KeyStore::pin_peer).
    ///
    /// # Errors
    /// As there.
    pub async fn pin_peer(&mut self, label: &Name, key: PublicKey) -> Result<(), KeyStoreError> {
        answer::done(self.run(Want::Set(Entry::Peer(*label, key))).await)
    }

    /// See [`KeyStore::forget_peer`](super::KeyStore::forget_peer).
    ///
    /// # Errors
    /// As there.
    pub async fn forget_peer(&mut self, label: &Name) -> Result<Option<PublicKey>, KeyStoreError> {
        answer::key(self.run(Want::Set(Entry::NoPeer(*label))).await)
    }

    /// See [`KeyStore::entry`](super::KeyStore::entry).
    ///
    /// # Errors
    /// As there.
    pub async fn entry(&mut self, number: usize) -> Result<Option<Entry>, KeyStoreError> {
        self.run(Want::Number(number)).await
    }

    fn new(flash: F, range: Range<u32>) -> Self {
        let unit = const { unit(F::WRITE_SIZE, F::READ_SIZE) };
        let log = log(range, unit, F::ERASE_SIZE, flash.capacity());
        Self { flash, log }
    }

    async fn begin(&mut self, want: Want<'_>) -> Result<(), KeyStoreError> {
        answer::done(self.run(want).await)
    }

    /// Does what the task asks for, until it is done.
    async fn run(&mut self, want: Want<'_>) -> Result<Option<Entry>, KeyStoreError> {
        let mut task = Task::new(&mut self.log, &want);
        let mut last = Ok(());
        loop {
            let done = match task.step(last) {
                Step::Read { at, to } => self.flash.read(at, to).await,
                Step::Write { at, bytes } => self.flash.write(at, bytes).await,
                Step::Erase { from, to } => self.flash.erase(from, to).await,
                Step::Done => return task.answer(),
            };
            last = done.map_err(|error| fault(error.kind()));
        }
    }
}
