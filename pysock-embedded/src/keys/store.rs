//! The store itself.

use core::{fmt, ops::Range};

use embedded_storage_async::nor_flash::NorFlash;

use super::{
    KeyStoreError, KnownServer,
    entry::{Entry, Subject},
    log::Log,
};
use crate::{
    entropy::{self, Entropy},
    proto::{Name, PublicKey, SecretKey},
};

/// [`KeyStore`](super::KeyStore) over a flash driver that is async. Dropping a future before it is done is like losing
/// power at that moment: the change is there or it is not, and the store can go on.
pub struct AsyncKeyStore<F> {
    pub(super) log: Log<F>,
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
        let mut log = Log::new(flash, range)?;
        log.mount().await?;
        Ok(AsyncKeyStore { log })
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
        let mut log = Log::new(flash, range)?;
        log.format(secret, name).await?;
        Ok(AsyncKeyStore { log })
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
        let mut log = Log::new(flash, range)?;
        match log.mount().await {
            Err(KeyStoreError::Empty) => {
                let secret = SecretKey::from_bytes(*entropy::draw(&mut entropy)?);
                log.format(&secret, name).await?
            }
            mounted => mounted?,
        }
        Ok(AsyncKeyStore { log })
    }

    /// See [`KeyStore::identity`](super::KeyStore::identity).
    ///
    /// # Errors
    /// As there.
    pub async fn identity(&mut self) -> Result<SecretKey, KeyStoreError> {
        let entry = self.log.get(Subject::Identity).await?;
        // A store without one does not mount.
        entry.and_then(Entry::secret).ok_or(KeyStoreError::Empty)
    }

    /// See [`KeyStore::name`](super::KeyStore::name).
    ///
    /// # Errors
    /// As there.
    pub async fn name(&mut self) -> Result<Option<Name>, KeyStoreError> {
        Ok(self.log.get(Subject::OwnName).await?.and_then(Entry::own_name))
    }

    /// See [`KeyStore::set_name`](super::KeyStore::set_name).
    ///
    /// # Errors
    /// As there.
    pub async fn set_name(&mut self, name: &Name) -> Result<(), KeyStoreError> {
        self.log.change(&Entry::OwnName(*name)).await.map(|_| ())
    }

    /// See [`KeyStore::server`](super::KeyStore::server).
    ///
    /// # Errors
    /// As there.
    pub async fn server(&mut self, slot: u8) -> Result<Option<KnownServer>, KeyStoreError> {
        Ok(self.log.get(Subject::Server(slot)).await?.and_then(Entry::server))
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
        let entry = Entry::Server(slot, KnownServer::new(key, suites));
        self.log.change(&entry).await.map(|_| ())
    }

    /// See [`KeyStore::forget_server`](super::KeyStore::forget_server).
    ///
    /// # Errors
    /// As there.
    pub async fn forget_server(&mut self, slot: u8) -> Result<Option<PublicKey>, KeyStoreError> {
        Ok(self.log.change(&Entry::NoServer(slot)).await?.and_then(Entry::key))
    }

    /// See [`KeyStore::peer`](super::KeyStore::peer).
    ///
    /// # Errors
    /// As there.
    pub async fn peer(&mut self, label: &Name) -> Result<Option<PublicKey>, KeyStoreError> {
        Ok(self.log.get(Subject::Peer(*label)).await?.and_then(Entry::key))
    }

    /// See [`KeyStore::peer_label`](super::KeyStore::peer_label).
    ///
    /// # Errors
    /// As there.
    pub async fn peer_label(&mut self, key: &PublicKey) -> Result<Option<Name>, KeyStoreError> {
        self.log.peer_label(key).await
    }

    /// See [`KeyStore::pin_peer`](super::KeyStore::pin_peer).
    ///
    /// # Errors
    /// As there.
    pub async fn pin_peer(&mut self, label: &Name, key: PublicKey) -> Result<(), KeyStoreError> {
        self.log.change(&Entry::Peer(*label, key)).await.map(|_| ())
    }

    /// See [`KeyStore::forget_peer`](super::KeyStore::forget_peer).
    ///
    /// # Errors
    /// As there.
    pub async fn forget_peer(&mut self, label: &Name) -> Result<Option<PublicKey>, KeyStoreError> {
        Ok(self.log.change(&Entry::NoPeer(*label)).await?.and_then(Entry::key))
    }
}
