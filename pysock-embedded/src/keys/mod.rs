//! The keys of a device, in its flash: its identity and name, the servers it remembers, the peers it has pinned.
//!
//! ```
//! use embedded_storage::nor_flash::NorFlash;
//! use pysock_embedded::{
//!     Entropy,
//!     keys::{KeyStore, KeyStoreError},
//!     proto::{Keypair, Name, PublicKey, RustCrypto},
//! };
//!
//! /// With the driver of the chip and its generator. The first boot makes the key.
//! fn identity(flash: impl NorFlash, rng: &mut dyn Entropy) -> Result<Keypair<RustCrypto>, KeyStoreError> {
//!     let mut store = KeyStore::open_or_provision(flash, 0x3e000..0x40000, rng, None)?;
//!     Ok(Keypair::new(store.identity()?))
//! }
//!
//! /// After a person has compared the key of the server, or of a peer.
//! fn pin(store: &mut KeyStore<impl NorFlash>, server: PublicKey, peer: PublicKey) -> Result<(), KeyStoreError> {
//!     store.pin_server(0, server, &[1])?;
//!     if let Ok(kitchen) = Name::new("kitchen") {
//!         store.pin_peer(&kitchen, peer)?;
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # What holds
//!
//! - **A loss of power leaves the old state or the new one**, at whatever write or erasure it strikes, and everything else
//!   as it was. It is enough that a cut leaves the units alone that were not being written, and pages that were not being
//!   erased; what was being written may read as anything afterwards.
//! - **Damaged is not empty.** An erased range is [`Empty`](KeyStoreError::Empty). Anything else that is not a whole store is
//!   refused and left as it is: a device that started anew by itself would give up its identity and accept any server.
//!   A flipped bit is refused too, or does not matter; no older state comes back by it.
//! - **Pages last.** What is stored already is not written again. A change that has room takes no erasure; if there is none,
//!   half of the range is erased once, and at least half of its log is free afterwards. With pages of 4096 bytes in units of
//!   4 that is one erasure of each page for 50 or more changes: pages that bear 10 000 erasures bear half a million changes.
//!   Opening erases nothing.
//! - **Secrets are wiped** from memory when they are dropped. In flash they are in the clear: whoever can read the chip has
//!   them, so lock its debug port. A moved store leaves the older half as it was until its turn comes, forgotten pins included.
//!
//! # Layout
//!
//! It is described where it is implemented, in [`flash`](crate::proto::flash): a machine without I/O, which the desktop uses
//! as well to write the range of a new device. What is here performs its steps, blocking or async.
//!
//! Why not `sequential-storage`: it skips damaged entries and repairs damaged pages by itself, which is right for settings,
//! and would silently undo a pin here.
//!
//! # Limits
//!
//! - [`MAX_SERVERS`] and [`MAX_PEERS`] pins, or fewer in small pages: what is kept may take half of the log. In 4096 bytes that
//!   are 25 peers with long names. The log is at most 16 KiB long, however large the pages are.
//! - Opening reads the log once, and each lookup the entries that count. Nothing is cached but where they are.
//! - Provisioning that was cut short twice has to erase before it tries again. Where power is cut during that as well, the
//!   range may be refused as [`Corrupt`](KeyStoreError::Corrupt). Nothing is lost: erase it.
//! - A driver has to return the bytes of a unit whose write was cut short, whatever they are. On chips with error correction
//!   that reports a fault, it has to catch that and return zeros.

mod answer;
mod asynchronous;
mod blocking;

use core::ops::Range;

use embedded_storage::nor_flash::NorFlashErrorKind;

pub use self::{asynchronous::AsyncKeyStore, blocking::KeyStore};
pub use crate::proto::flash::{Entry, Fault, KeyStoreError, KnownServer, MAX_PEERS, MAX_SERVERS};
use crate::{
    NoEntropy,
    proto::flash::{Log, Region},
};

impl From<NoEntropy> for KeyStoreError {
    fn from(_: NoEntropy) -> Self {
        KeyStoreError::Entropy
    }
}

/// The unit of a flash. Says at compile time if it is not fit.
const fn unit(write: usize, read: usize) -> u32 {
    let larger = if write > read { write } else { read };
    let unit = if larger > 4 { larger } else { 4 };
    assert!(unit <= 32 && unit.is_power_of_two(), "flash with units above 32 bytes");
    assert!(unit.is_multiple_of(write) && unit.is_multiple_of(read));
    unit as u32
}

/// Nothing is known of the range yet. One that does not fit the flash is one that cannot be used.
#[inline(never)]
fn log(range: Range<u32>, unit: u32, page: usize, capacity: usize) -> Log {
    let fits = usize::try_from(range.end).is_ok_and(|end| end <= capacity);
    let page = u32::try_from(page).unwrap_or(0);
    Log::new(Region::new(if fits { range } else { 0..0 }, unit, page))
}

fn fault(kind: NorFlashErrorKind) -> Fault {
    match kind {
        NorFlashErrorKind::NotAligned => Fault::NotAligned,
        NorFlashErrorKind::OutOfBounds => Fault::OutOfBounds,
        _ => Fault::Other,
    }
}
