//! Why a store could not be opened, read or changed.

use core::fmt;

use crate::key::PublicKey;

/// Why a driver of flash failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// It says that a place or a length is not aligned.
    NotAligned,
    /// It says that a place is not in the flash.
    OutOfBounds,
    /// Anything else.
    Other,
}

/// Why a store could not be opened, read or changed. What was stored before is as it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum KeyStoreError {
    /// The flash driver failed.
    Flash(Fault),
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
            Self::Flash(fault) => f.write_str(match fault {
                Fault::NotAligned => "the flash driver refused a place or length as not aligned",
                Fault::OutOfBounds => "the flash driver says that the range is not in the flash",
                Fault::Other => "the flash driver failed",
            }),
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
            Self::Entropy => f.write_str(
                "there is no randomness to make a key from: check the generator, and do not go on \
                 without it",
            ),
        }
    }
}

impl core::error::Error for KeyStoreError {}
