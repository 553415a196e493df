//! Where a range lies, and what is known of it between two tasks.

use core::ops::Range;

use heapless::Vec;

use super::{MAX_PEERS, MAX_SERVERS, header::HEADER};

/// The identity, the own name, and the pins.
const MAX_ENTRIES: usize = 2 + MAX_SERVERS + MAX_PEERS;
/// The least that a half needs: an identity, a name and a few pins, also in units of 32 bytes.
const SMALLEST_HALF: u32 = 512;
/// Flash with pages of 128 KiB exists. More than this is not used: reading the log has to stay quick.
const LARGEST_LOG: u32 = 16 * 1024;

/// A range of flash for keys: where it is, and in which units it is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Region {
    pub(super) base: u32,
    /// Length of a half; 0 if the range cannot be used.
    pub(super) half: u32,
    pub(super) unit: u32,
}

impl Region {
    /// The range from an offset in the flash to another one. `unit` is what the flash writes at once, or what it reads at
    /// once if that is more; below 4 it counts as 4. A `page` is what it erases at once.
    ///
    /// The range has to be an even number of whole pages, with 512 bytes or more in each half, and the unit a power of two,
    /// at most 32. Otherwise every [`Task`](super::Task) on it fails with [`KeyStoreError::Region`].
    ///
    /// [`KeyStoreError::Region`]: super::KeyStoreError::Region
    pub fn new(range: Range<u32>, unit: u32, page: u32) -> Self {
        let unit = unit.max(4);
        let length = range.end.saturating_sub(range.start);
        let half = length / 2;
        let whole = |of: u32| range.start.is_multiple_of(of) && half.is_multiple_of(of);
        let fits = length.is_multiple_of(2) && whole(page) && whole(unit);
        let usable = fits && half >= SMALLEST_HALF && unit <= 32 && unit.is_power_of_two();
        Region { base: range.start, half: if usable { half } else { 0 }, unit }
    }

    /// A length in whole units.
    pub(super) fn units(&self, len: usize) -> u32 {
        // A unit is a power of two.
        let more = self.unit.wrapping_sub(1);
        (len as u32).wrapping_add(more) & !more
    }

    /// How much of a half is used.
    pub(super) fn used(&self) -> u32 {
        self.half.min(LARGEST_LOG)
    }

    /// The half that is not this one.
    pub(super) fn other(&self, half: u32) -> u32 {
        self.half.wrapping_sub(half)
    }

    /// Where parts of a half are: the seal of its header, the mark that it is given up, the log.
    pub(super) fn seal(&self) -> u32 {
        self.units(HEADER)
    }

    pub(super) fn retired(&self) -> u32 {
        self.seal().wrapping_add(self.unit)
    }

    pub(super) fn body(&self) -> u32 {
        self.retired().wrapping_add(self.unit)
    }

    /// How much of a log what is kept may take: half of it stays free, so that one erasure serves for many changes.
    pub(super) fn budget(&self) -> u32 {
        self.used().saturating_sub(self.body()) / 2
    }
}

/// What is known of a range, from one [`Task`](super::Task) to the next: about 110 bytes.
pub struct Log {
    pub(super) region: Region,
    /// Whether the rest is so. Not after a task failed or was abandoned: the next one looks again.
    pub(super) known: bool,
    /// Where in the range the live half begins.
    pub(super) live: u32,
    pub(super) seq: u32,
    /// Where in it the next entry goes. `None` if something unfinished is there: flash takes no second write.
    pub(super) tail: Option<u32>,
    /// Where in it the entries are that count.
    pub(super) entries: Vec<u16, MAX_ENTRIES>,
}

impl Log {
    /// Nothing is known yet.
    pub const fn new(region: Region) -> Self {
        Log { region, known: false, live: 0, seq: 0, tail: None, entries: Vec::new() }
    }
}
