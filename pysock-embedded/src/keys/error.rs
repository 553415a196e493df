//! Why a store could not be opened, read or changed.

use core::fmt;

use embedded_storage::nor_flash::NorFlashErrorKind;

use crate::{NoEntropy, proto::PublicKey};

/// Why a store could not be opened, read or changed. What was stored before is as it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum KeyStoreError {
    /// The flash driver failed.
    Flash(NorFlashErrorKind),
    /// The flash did not take what was written or erased: it is worn out, or protected against writing.
    WornOut,
    /// The range is not two or more pages of this flash, an even number of them, with at least 512 bytes in each half.
    Region,
    /// Nothing has been stored yet: this is the first boot, or an earlier attempt at provisioning was cut short.
    Empty,
    /// There is a store already, so nothing was provisioned.
    AlreadyProvisioned,
    /// What is stored was damaged, or something else is stored there.
    Corrupt {
        /// Where this was noticed, as an offset in the flash.
        at: u32,
    },
    /// A newer pysock wrote the store.
    NewerFormat {
        /// The format it says it has.
        version: u8,
    },
    /// The store was written with another size of the range, or of the unit in which the flash is written.
    OtherGeometry,
    /// Another key is pinned there.
    OtherKey(PublicKey),
    /// There is no room for one more pin.
    Full,
    /// The source of randomness failed, or what it gave is not random.
    Entropy,
}

impl fmt::Display for KeyStoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flash(kind) => write!(f, "the flash driver failed: {kind}"),
            Self::WornOut => f.write_str(
                "the flash did not keep what was written; it is worn out or write-protected: \
                 replace it, or give the store other pages",
            ),
            Self::Region => f.write_str(
                "the range for keys has to be an even number of whole pages, and each half of it \
                 at least 512 bytes",
            ),
            Self::Empty => f.write_str("there are no keys yet: provision the device"),
            Self::AlreadyProvisioned => f.write_str(
                "the device has keys already: open them, or erase the range to give them up",
            ),
            Self::Corrupt { at } => write!(
                f,
                "the stored keys are damaged at {at:#x}, or the range holds something else: restore \
                 its image; or erase it to start anew, with a new identity and no pins"
            ),
            Self::NewerFormat { version } => write!(
                f,
                "the stored keys have format {version}, and this pysock reads only format 1: use \
                 the firmware that wrote them, or a newer one"
            ),
            Self::OtherGeometry => f.write_str(
                "the keys were stored with another range or another unit of writing: open them with \
                 those",
            ),
            Self::OtherKey(key) => write!(
                f,
                "the key {key} is pinned there: forget it first, if its owner says that it changed"
            ),
            Self::Full => f.write_str("there is no room for one more pin: forget some first"),
            Self::Entropy => NoEntropy.fmt(f),
        }
    }
}

impl core::error::Error for KeyStoreError {}

impl From<NoEntropy> for KeyStoreError {
    fn from(_: NoEntropy) -> Self {
        Self::Entropy
    }
}
