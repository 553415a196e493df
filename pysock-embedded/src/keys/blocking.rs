//! The store over a blocking flash driver: the async one, whose futures are done when they are first polled.

use core::{
    fmt,
    ops::Range,
    pin::pin,
    task::{Context, Poll, Waker},
};

use embedded_storage::nor_flash as blocking;
use embedded_storage_async::nor_flash::{ErrorType, NorFlash, ReadNorFlash};

use super::{
    AsyncKeyStore, KeyStoreError, KnownServer,
    entry::{Entry, Subject},
    log::Log,
};
use crate::{
    entropy::Entropy,
    proto::{Name, PublicKey, SecretKey},
};

/// The keys of this device, in a range of its flash.
///
/// The range is an even number of whole pages that nothing else writes to. For a driver that is async there is
/// [`AsyncKeyStore`].
pub struct KeyStore<F> {
    log: Log<Blocking<F>>,
}

impl<F> fmt::Debug for KeyStore<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyStore(…)")
    }
}

impl<F: blocking::NorFlash> KeyStore<F> {
    /// Opens the store in `range` of `flash`. Finishes what a loss of power interrupted.
    ///
    /// # Errors
    /// [`KeyStoreError::Empty`] if nothing has been provisioned. Anything else that is not a whole store is refused as
    /// well, and stays as it is: to go on with new keys would give up the identity and accept any server.
    pub fn open(flash: F, range: Range<u32>) -> Result<Self, KeyStoreError> {
        now(AsyncKeyStore::open(Blocking(flash), range)).map(Self::from)
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
        now(AsyncKeyStore::provision(Blocking(flash), range, secret, name)).map(Self::from)
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
        now(AsyncKeyStore::open_or_provision(Blocking(flash), range, entropy, name)).map(Self::from)
    }

    /// The secret key of this device.
    ///
    /// # Errors
    /// The flash could not be read, or was damaged meanwhile.
    pub fn identity(&mut self) -> Result<SecretKey, KeyStoreError> {
        let entry = self.get(Subject::Identity)?;
        // A store without one does not mount.
        entry.and_then(Entry::secret).ok_or(KeyStoreError::Empty)
    }

    /// What this device is called.
    ///
    /// # Errors
    /// As [`identity`](Self::identity).
    pub fn name(&mut self) -> Result<Option<Name>, KeyStoreError> {
        Ok(self.get(Subject::OwnName)?.and_then(Entry::own_name))
    }

    /// Gives this device a name.
    ///
    /// # Errors
    /// The flash could not be read or written.
    pub fn set_name(&mut self, name: &Name) -> Result<(), KeyStoreError> {
        self.change(&Entry::OwnName(*name)).map(|_| ())
    }

    /// The server remembered in this slot. Slots are numbers of the caller's choice, one for each server it knows an
    /// address of.
    ///
    /// # Errors
    /// As [`identity`](Self::identity).
    pub fn server(&mut self, slot: u8) -> Result<Option<KnownServer>, KeyStoreError> {
        Ok(self.get(Subject::Server(slot))?.and_then(Entry::server))
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
        let entry = Entry::Server(slot, KnownServer::new(key, suites));
        self.change(&entry).map(|_| ())
    }

    /// Forgets a server, and returns the key it had.
    ///
    /// Only for a person's explicit decision: nothing that comes from the network may lead here.
    ///
    /// # Errors
    /// The flash could not be read or written.
    pub fn forget_server(&mut self, slot: u8) -> Result<Option<PublicKey>, KeyStoreError> {
        Ok(self.change(&Entry::NoServer(slot))?.and_then(Entry::key))
    }

    /// The key pinned under this label.
    ///
    /// # Errors
    /// As [`identity`](Self::identity).
    pub fn peer(&mut self, label: &Name) -> Result<Option<PublicKey>, KeyStoreError> {
        Ok(self.get(Subject::Peer(*label))?.and_then(Entry::key))
    }

    /// The label of a key: if it has several, the alphabetically first.
    ///
    /// # Errors
    /// As [`identity`](Self::identity).
    pub fn peer_label(&mut self, key: &PublicKey) -> Result<Option<Name>, KeyStoreError> {
        now(self.log.peer_label(key))
    }

    /// Remembers a peer. A key may have several labels, a label has one key.
    ///
    /// # Errors
    /// As [`pin_server`](Self::pin_server).
    pub fn pin_peer(&mut self, label: &Name, key: PublicKey) -> Result<(), KeyStoreError> {
        self.change(&Entry::Peer(*label, key)).map(|_| ())
    }

    /// Forgets a peer, and returns the key it had.
    ///
    /// Only for a person's explicit decision: nothing that comes from the network may lead here.
    ///
    /// # Errors
    /// The flash could not be read or written.
    pub fn forget_peer(&mut self, label: &Name) -> Result<Option<PublicKey>, KeyStoreError> {
        Ok(self.change(&Entry::NoPeer(*label))?.and_then(Entry::key))
    }

    fn from(store: AsyncKeyStore<Blocking<F>>) -> Self {
        KeyStore { log: store.log }
    }

    // These two are all that is run of the async body, each linked once instead of into every caller.

    #[inline(never)]
    fn get(&mut self, subject: Subject) -> Result<Option<Entry>, KeyStoreError> {
        now(self.log.get(subject))
    }

    #[inline(never)]
    fn change(&mut self, entry: &Entry) -> Result<Option<Entry>, KeyStoreError> {
        now(self.log.change(entry))
    }
}

/// A blocking driver as an async one that never waits.
struct Blocking<F>(F);

impl<F: ErrorType> ErrorType for Blocking<F> {
    type Error = F::Error;
}

impl<F: blocking::ReadNorFlash> ReadNorFlash for Blocking<F> {
    const READ_SIZE: usize = F::READ_SIZE;

    async fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), F::Error> {
        self.0.read(offset, bytes)
    }

    fn capacity(&self) -> usize {
        self.0.capacity()
    }
}

impl<F: blocking::NorFlash> NorFlash for Blocking<F> {
    const WRITE_SIZE: usize = F::WRITE_SIZE;
    const ERASE_SIZE: usize = F::ERASE_SIZE;

    async fn erase(&mut self, from: u32, to: u32) -> Result<(), F::Error> {
        self.0.erase(from, to)
    }

    async fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), F::Error> {
        self.0.write(offset, bytes)
    }
}

/// The result of a future that never waits.
fn now<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(result) = future.as_mut().poll(&mut context) {
            return result;
        }
    }
}
