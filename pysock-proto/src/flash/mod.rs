//! The keys of a device in a range of its NOR flash: the format, and how it is read and changed.
//!
//! A range holds the identity of the device and its name, the servers it remembers, the peers it has pinned. Nothing here
//! touches flash: a [`Task`] asks for one [`Step`] after the other, each of them bytes to be read, bytes to be written, or
//! an erasure, and whoever has the flash performs them, waiting or not. `pysock-embedded` does so over drivers of flash,
//! [`Image`] over memory, which is how a desktop makes the range of a device that is to be programmed.
//!
//! ```
//! use pysock_proto::{Name, PublicKey, SecretKey, flash::{Entry, Image, Subject, KnownServer, Want}};
//!
//! // For pages of 4096 bytes, written in units of 8: the device keeps its keys in two pages.
//! let mut bytes = vec![0; 2 * 4096];
//! let secret = SecretKey::from_bytes([1; 32]); // in earnest: random
//! let name = Name::new("sensor-7")?;
//! let mut image = Image::provision(&mut bytes, 8, 4096, &secret, Some(&name))?;
//! image.run(Want::Set(Entry::Server(0, KnownServer::new(PublicKey([2; 32]), &[1]))))?;
//! // `bytes` is what the device reads. It holds the secret: treat it as such.
//!
//! let mut image = Image::open(&mut bytes, 8, 4096)?;
//! assert_eq!(image.run(Want::Get(Subject::OwnName))?, Some(Entry::OwnName(name)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Layout
//!
//! This is the normative description. The range has two halves, each of them one or more pages. Everything is written in
//! *units*: what the flash writes at once, or reads at once if that is more, but at least 4 and at most 32 bytes. Each unit is
//! written once between erasures, so that flash with error correction works too. What is shorter than its units is
//! followed by zeros. Numbers are little-endian. At most 16 KiB of a half are used.
//!
//! ```text
//! half     header │ seal │ mark: given up │ entry │ entry │ … │ erased
//! header   "pysk" │ format 1, u8 │ unit u8 │ 0 0 │ length of the half u32 │ number u32 │ CRC-32 of the rest, u32
//! entry    seal │ kind u8 │ length of the payload u8 │ 0 0 │ CRC-32 of the rest, u32 │ payload
//! seal     one unit of zeros; so is the mark
//! ```
//!
//! | kind | says | payload |
//! |---|---|---|
//! | 1 | the identity | secret key, 32 bytes |
//! | 2 | the own name | name |
//! | 3 | a server | slot u8, public key, suites that it announced, one byte each, at most 16 |
//! | 4 | a peer | public key, label |
//! | 5 | no server | slot u8 |
//! | 6 | no peer | label |
//!
//! The CRC is that of Ethernet and zip. That of an entry covers its first four bytes and the payload. Erased flash reads as
//! ones: a seal that is erased is missing, any other is there.
//!
//! # Meaning
//!
//! A seal is written when what it vouches for has been written and read back. What has no seal was cut short and does not
//! count; what has one and does not match its checksum was damaged. A later entry replaces an earlier one about the same
//! server slot, peer label, and so on. When a half is full, or ends with something unfinished, the other one is erased, gets
//! the entries that count, then its header with the next number, its seal; and the full half gets the mark. The half that
//! has a sealed header, no mark and the higher number is the live one. A half with the mark is never live again, so damage
//! to the newer half cannot bring an older state back.
//!
//! What is kept may take half of a log, so that one erasure serves for many changes.

mod entry;
mod error;
mod header;
mod image;
mod log;
mod task;

pub use self::{
    entry::{Entry, KnownServer, Subject},
    error::{Fault, KeyStoreError},
    image::Image,
    log::{Log, Region},
    task::{Step, Task, Want},
};

/// How many servers are remembered.
pub const MAX_SERVERS: usize = 8;
/// How many peers are pinned. Accepting everybody whom a server makes up must not wear the flash out.
pub const MAX_PEERS: usize = 32;

/// A seal of 32 bytes and the longest entry, a peer, in units of 32 bytes.
const MAX_SLOT: usize = 128;

/// Bytes on their way to or from flash. They may be secret: wiped when dropped.
struct Bytes {
    all: [u8; MAX_SLOT],
    len: usize,
}

impl Bytes {
    const fn new() -> Self {
        Bytes { all: [0; MAX_SLOT], len: 0 }
    }

    /// All zeros, and nothing of it used.
    fn clear(&mut self) {
        crate::key::wipe(&mut self.all);
        self.len = 0;
    }

    /// Appends. All that is ever made fits.
    #[inline(never)]
    fn put(&mut self, bytes: &[u8]) {
        for (to, from) in self.all.iter_mut().skip(self.len).zip(bytes) {
            *to = *from;
        }
        self.len = self.len.saturating_add(bytes.len());
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        crate::key::wipe(&mut self.all);
    }
}

#[inline(never)]
fn blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0xff)
}

/// CRC-32 as in Ethernet and zip, of `head` and what follows it, bit by bit: a table would cost 1 KiB of flash to save
/// microseconds.
#[inline(never)]
fn crc32(head: &[u8], rest: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in head.iter().chain(rest) {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_common_one() {
        assert_eq!(crc32(b"1234", b"56789"), 0xcbf4_3926);
    }
}
