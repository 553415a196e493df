//! The keys of a device, in its flash: its identity and name, the servers it remembers, the peers it has pinned.
//!
//! ```
//! # use pysock_embedded::{Entropy, NoEntropy, keys::Image};
//! use pysock_embedded::{keys::KeyStore, proto::{Keypair, Name, PublicKey, RustCrypto}};
//!
//! # struct Rng;
//! # impl Entropy for Rng {
//! #     fn fill(&mut self, bytes: &mut [u8; 32]) -> Result<(), NoEntropy> {
//! #         bytes.iter_mut().zip(1..).for_each(|(byte, n)| *byte = n);
//! #         Ok(())
//! #     }
//! # }
//! # let mut memory = [0; 8192];
//! # let (flash, mut rng) = (Image::<4>::new(&mut memory), Rng);
//! // `flash` is the driver of the chip, `rng` its generator; the first boot makes the key.
//! let mut store = KeyStore::open_or_provision(flash, 0..8192, &mut rng, None)?;
//! let identity = Keypair::<RustCrypto>::new(store.identity()?);
//! # let _ = identity;
//!
//! // After a person has compared the key of the server, or of a peer:
//! store.pin_server(0, PublicKey([7; 32]), &[1])?;
//! store.pin_peer(&Name::new("kitchen")?, PublicKey([8; 32]))?;
//! assert_eq!(store.server(0)?.map(|known| known.key), Some(PublicKey([7; 32])));
//! # Ok::<(), Box<dyn std::error::Error>>(())
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
//! The range has two halves, each of them one or more pages. Everything is written in units of the flash (at least 4 bytes),
//! each of them once, so that flash with error correction works too.
//!
//! ```text
//! half   header: format, layout, number │ seal │ mark: given up │ entry │ entry │ … │ erased
//! entry  seal │ kind, length, CRC-32, payload
//! ```
//!
//! A seal is a unit of zeros, written when what it vouches for has been written and read back. What has no seal was cut short
//! and does not count; what has one and does not match its checksum was damaged. A later entry replaces an earlier one about
//! the same. When a half is full, or ends with something unfinished, the other one is erased, gets the entries that count,
//! then its header with the next number, its seal; and the full half gets the mark. A half with the mark is never live again,
//! so damage to the newer half cannot bring an older state back.
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

mod blocking;
mod entry;
mod error;
mod header;
mod image;
mod log;
mod store;

pub use self::{
    blocking::KeyStore, entry::KnownServer, error::KeyStoreError, image::Image,
    store::AsyncKeyStore,
};

/// How many servers are remembered.
pub const MAX_SERVERS: usize = 8;
/// How many peers are pinned. Accepting everybody whom a server makes up must not wear the flash out.
pub const MAX_PEERS: usize = 32;
