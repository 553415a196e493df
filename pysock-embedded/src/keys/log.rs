//! The log of entries in one half of the range, and the move to the other half.

use core::ops::Range;

use embedded_storage_async::nor_flash::{NorFlash, NorFlashError};
use heapless::Vec;

use super::{
    KeyStoreError, MAX_PEERS, MAX_SERVERS,
    entry::{Bytes, Entry, MAX_SLOT, Subject},
    header::{self, HEADER, Header},
};
use crate::proto::{Name, PublicKey, SecretKey};

/// The identity, the own name, and the pins.
const MAX_ENTRIES: usize = 2 + MAX_SERVERS + MAX_PEERS;
/// The least that a half needs: an identity, a name and a few pins, also in units of 32 bytes.
const SMALLEST_HALF: u32 = 512;
/// Flash with pages of 128 KiB exists. More than this is not used: reading the log has to stay quick.
const LARGEST_LOG: u32 = 16 * 1024;

pub(super) struct Log<F> {
    flash: F,
    /// Where the range begins.
    base: u32,
    /// Length of a half.
    half: u32,
    /// What is known of the flash. `None` after an operation failed or was abandoned halfway: look again.
    mounted: Option<Mounted>,
}

struct Mounted {
    /// Where the live half begins.
    live: u32,
    seq: u32,
    /// Where the next entry goes. `None` if something unfinished is there: flash takes no second write.
    tail: Option<u32>,
    /// Where the entries are that count.
    entries: Vec<u32, MAX_ENTRIES>,
}

/// What a walk along the log of a half found.
struct Walk {
    tail: Option<u32>,
    entries: Vec<u32, MAX_ENTRIES>,
}

impl<F: NorFlash> Log<F> {
    /// All is written in whole units, each once.
    const UNIT: usize = {
        let larger = if F::WRITE_SIZE > F::READ_SIZE { F::WRITE_SIZE } else { F::READ_SIZE };
        let unit = if larger > 4 { larger } else { 4 };
        assert!(unit <= 32 && unit.is_power_of_two(), "flash with units above 32 bytes");
        assert!(unit.is_multiple_of(F::WRITE_SIZE) && unit.is_multiple_of(F::READ_SIZE));
        unit
    };
    /// Where parts of a half are: its header, the seal of that, the mark that it is given up, the log.
    const SEAL: u32 = Self::units(HEADER) as u32;
    const RETIRED: u32 = Self::SEAL + Self::UNIT as u32;
    const BODY: u32 = Self::RETIRED + Self::UNIT as u32;

    const fn units(len: usize) -> usize {
        len.next_multiple_of(Self::UNIT)
    }

    pub(super) fn new(flash: F, range: Range<u32>) -> Result<Self, KeyStoreError> {
        let page = u32::try_from(F::ERASE_SIZE).map_err(|_| KeyStoreError::Region)?;
        let length = range.end.checked_sub(range.start).ok_or(KeyStoreError::Region)?;
        let half = length / 2;
        let fits = usize::try_from(range.end).is_ok_and(|end| end <= flash.capacity());
        let whole = length.is_multiple_of(2)
            && range.start.is_multiple_of(page)
            && half.is_multiple_of(page)
            && half.is_multiple_of(Self::UNIT as u32)
            && range.start.is_multiple_of(Self::UNIT as u32);
        if !fits || !whole || half < SMALLEST_HALF {
            return Err(KeyStoreError::Region);
        }
        Ok(Log { flash, base: range.start, half, mounted: None })
    }

    /// Where the second half begins.
    fn second(&self) -> u32 {
        self.base.saturating_add(self.half)
    }

    /// How much of a half is used.
    fn used(&self) -> u32 {
        self.half.min(LARGEST_LOG)
    }

    /// Reads what there is, and finishes a move that was cut short.
    pub(super) async fn mount(&mut self) -> Result<(), KeyStoreError> {
        self.mounted = None;
        let (first, second) = (self.base, self.second());
        let a = self.header(first).await?;
        let b = self.header(second).await?;
        let (live, seq, other) = match (a, b) {
            (Header::Live(a), Header::Live(b)) if b > a => (second, b, Some(first)),
            (Header::Live(a), Header::Live(_)) => (first, a, Some(second)),
            (Header::Live(a), _) => (first, a, None),
            (_, Header::Live(b)) => (second, b, None),
            (Header::Unsealed, Header::Unsealed) => return Err(self.nothing_yet().await),
            (Header::Damaged, _) => return Err(KeyStoreError::Corrupt { at: first }),
            // A half that is given up without one that replaces it was live: the other one must have been damaged.
            (_, Header::Damaged | Header::Retired) => {
                let at = if b == Header::Damaged { second } else { first };
                return Err(KeyStoreError::Corrupt { at });
            }
            (Header::Retired, _) => return Err(KeyStoreError::Corrupt { at: second }),
        };
        let walk = self.walk(live).await?;
        let mounted = Mounted { live, seq, tail: walk.tail, entries: walk.entries };
        if self.find(&mounted, Subject::Identity).await?.is_none() {
            return Err(KeyStoreError::Corrupt { at: live });
        }
        if let Some(old) = other {
            // From now on the old half must not be taken for the live one, should that be damaged. If this fails,
            // the newer half still wins; the next mount tries again.
            let _ = self.seal(old.saturating_add(Self::RETIRED)).await;
        }
        self.mounted = Some(mounted);
        Ok(())
    }

    /// Neither half was ever live. Is it because provisioning has not happened or not finished, or is it something else?
    async fn nothing_yet(&mut self) -> KeyStoreError {
        match self.unfinished().await {
            Ok(None) => KeyStoreError::Empty,
            Ok(Some(at)) => KeyStoreError::Corrupt { at },
            Err(error) => error,
        }
    }

    /// Looks for what provisioning would not leave when it is cut short. A half that it did not finish is blank, or a
    /// log like any other without its sealed header.
    async fn unfinished(&mut self) -> Result<Option<u32>, KeyStoreError> {
        for half in [self.base, self.second()] {
            let walk = self.walk(half).await?;
            // The header is written last.
            let complete = walk.tail.is_some() && !walk.entries.is_empty();
            let from = if complete { Self::RETIRED } else { 0 };
            let (from, body) = (half.saturating_add(from), half.saturating_add(Self::BODY));
            let stray = self.not_blank(from, body).await?;
            if stray.is_some() {
                return Ok(stray);
            }
        }
        Ok(None)
    }

    /// Begins a store in a range that has none.
    pub(super) async fn format(
        &mut self,
        secret: &SecretKey,
        name: Option<&Name>,
    ) -> Result<(), KeyStoreError> {
        match self.mount().await {
            Err(KeyStoreError::Empty) => {}
            Ok(()) => return Err(KeyStoreError::AlreadyProvisioned),
            Err(error) => return Err(error),
        }
        // An erasure that is cut short may leave anything, and that would not be taken for an empty range: erase only
        // if two attempts were cut short already.
        let half = if self.is_blank(self.base).await? {
            self.base
        } else if self.is_blank(self.second()).await? {
            self.second()
        } else {
            self.clear(self.base).await?;
            self.base
        };
        let body = half.saturating_add(Self::BODY);
        let at = self.put(body, &Entry::Identity(secret.clone())).await?;
        if let Some(name) = name {
            self.put(at, &Entry::OwnName(*name)).await?;
        }
        self.seal_half(half, 1).await
    }

    /// The entry about `subject`, if there is one.
    pub(super) async fn get(&mut self, subject: Subject) -> Result<Option<Entry>, KeyStoreError> {
        let mounted = self.take().await?;
        let found = self.find(&mounted, subject).await?;
        self.mounted = Some(mounted);
        Ok(found.map(|(_, entry)| entry))
    }

    /// The label of a pinned peer; if it has several, the alphabetically first.
    pub(super) async fn peer_label(
        &mut self,
        key: &PublicKey,
    ) -> Result<Option<Name>, KeyStoreError> {
        let mounted = self.take().await?;
        let mut first = None;
        for at in &mounted.entries {
            if let Entry::Peer(label, pinned) = self.entry(*at).await?
                && pinned == *key
                && first.is_none_or(|first| label < first)
            {
                first = Some(label);
            }
        }
        self.mounted = Some(mounted);
        Ok(first)
    }

    /// Stores `entry` if that changes anything, and returns what there was.
    pub(super) async fn change(&mut self, entry: &Entry) -> Result<Option<Entry>, KeyStoreError> {
        let old = self.get(entry.subject()).await?;
        if entry.changes(old.as_ref())? {
            self.set(entry).await?;
        }
        Ok(old)
    }

    /// Makes `entry` the latest about its subject.
    async fn set(&mut self, entry: &Entry) -> Result<(), KeyStoreError> {
        let mut mounted = self.take().await?;
        if !entry.removes() && !self.has_room(&mounted, entry).await? {
            self.mounted = Some(mounted);
            return Err(KeyStoreError::Full);
        }
        let end = mounted.live.saturating_add(self.used());
        let fits = |at: &u32| end.saturating_sub(*at) >= Self::size(entry);
        let Some(at) = mounted.tail.filter(fits) else {
            return self.move_over(mounted, entry).await;
        };
        let old = self.find(&mounted, entry.subject()).await?;
        mounted.tail = Some(self.put(at, entry).await?);
        note(&mut mounted.entries, old.map(|(index, _)| index), at, entry)?;
        self.mounted = Some(mounted);
        Ok(())
    }

    /// Writes what counts and `entry` into the other half, and gives this one up.
    async fn move_over(&mut self, from: Mounted, entry: &Entry) -> Result<(), KeyStoreError> {
        let to = if from.live == self.base { self.second() } else { self.base };
        // Erased just before it is written, in one run: what an erasure that was cut short leaves may read as erased
        // and not last.
        self.clear(to).await?;
        let end = to.saturating_add(self.used());
        let mut at = to.saturating_add(Self::BODY);
        for old in &from.entries {
            let old = self.entry(*old).await?;
            if old.subject() != entry.subject() {
                at = self.put(at, &old).await?;
            }
        }
        if !entry.removes() {
            at = self.put(at, entry).await?;
        }
        debug_assert!(at <= end, "there was room for it");
        let seq = from.seq.checked_add(1).ok_or(KeyStoreError::WornOut)?;
        self.seal_half(to, seq).await
    }

    /// Makes a half live whose log is written, and gives up the other one.
    async fn seal_half(&mut self, half: u32, seq: u32) -> Result<(), KeyStoreError> {
        let mut bytes = Bytes::new();
        header::encode(&mut bytes, Self::UNIT as u8, self.half, seq);
        self.store(half, bytes).await?;
        self.seal(half.saturating_add(Self::SEAL)).await?;
        self.mount().await
    }

    /// Whether there is room to keep `entry`: always enough to leave half of a log free, so that one erasure serves
    /// for many changes.
    async fn has_room(&mut self, mounted: &Mounted, entry: &Entry) -> Result<bool, KeyStoreError> {
        let (mut size, mut servers, mut peers) = (0u32, 0usize, 0usize);
        let mut count = |entry: &Entry| {
            size = size.saturating_add(Self::size(entry));
            match entry {
                Entry::Server(..) => servers = servers.saturating_add(1),
                Entry::Peer(..) => peers = peers.saturating_add(1),
                _ => {}
            }
        };
        count(entry);
        for at in &mounted.entries {
            let old = self.entry(*at).await?;
            if old.subject() != entry.subject() {
                count(&old);
            }
        }
        Ok(size <= self.budget() && servers <= MAX_SERVERS && peers <= MAX_PEERS)
    }

    fn budget(&self) -> u32 {
        self.used().saturating_sub(Self::BODY) / 2
    }

    /// What an entry takes: its seal and itself.
    fn size(entry: &Entry) -> u32 {
        Self::UNIT.saturating_add(Self::units(entry.encode().len)) as u32
    }

    /// What is known of the flash, after a look if need be. It has to be put back: an operation that does not come
    /// to its end leaves nothing known.
    async fn take(&mut self) -> Result<Mounted, KeyStoreError> {
        if self.mounted.is_none() {
            self.mount().await?;
        }
        self.mounted.take().ok_or(KeyStoreError::Empty)
    }

    async fn find(
        &mut self,
        mounted: &Mounted,
        subject: Subject,
    ) -> Result<Option<(usize, Entry)>, KeyStoreError> {
        self.find_in(&mounted.entries, subject).await
    }

    async fn find_in(
        &mut self,
        entries: &Vec<u32, MAX_ENTRIES>,
        subject: Subject,
    ) -> Result<Option<(usize, Entry)>, KeyStoreError> {
        for (index, at) in entries.iter().enumerate() {
            let entry = self.entry(*at).await?;
            if entry.subject() == subject {
                return Ok(Some((index, entry)));
            }
        }
        Ok(None)
    }

    /// The entry in the slot at `at`, which was there before.
    async fn entry(&mut self, at: u32) -> Result<Entry, KeyStoreError> {
        let bytes = self.slot(at, MAX_SLOT as u32).await?;
        let entry = bytes.all.get(Self::UNIT..).and_then(Entry::decode);
        entry.map(|(entry, _)| entry).ok_or(KeyStoreError::Corrupt { at })
    }

    /// Reads the log of a half from its beginning.
    async fn walk(&mut self, half: u32) -> Result<Walk, KeyStoreError> {
        let end = half.saturating_add(self.used());
        let mut at = half.saturating_add(Self::BODY);
        let mut entries = Vec::new();
        while at < end {
            let bytes = self.slot(at, end.saturating_sub(at)).await?;
            let (seal, slot) = bytes.all.split_at_checked(Self::UNIT).unwrap_or_default();
            if blank(seal) {
                // The end. A write that was cut short may have left something here, but not beyond.
                let beyond = at.saturating_add(MAX_SLOT as u32);
                if let Some(at) = self.not_blank(beyond, end).await? {
                    return Err(KeyStoreError::Corrupt { at });
                }
                return Ok(Walk { tail: blank(slot).then_some(at), entries });
            }
            let (entry, len) = Entry::decode(slot).ok_or(KeyStoreError::Corrupt { at })?;
            let old = self.find_in(&entries, entry.subject()).await?;
            note(&mut entries, old.map(|(index, _)| index), at, &entry)?;
            at = at.saturating_add(Self::UNIT.saturating_add(Self::units(len)) as u32);
        }
        Ok(Walk { tail: None, entries })
    }

    /// The slot at `at`, and whatever follows it; blank beyond `left` bytes.
    async fn slot(&mut self, at: u32, left: u32) -> Result<Bytes, KeyStoreError> {
        let mut bytes = Bytes::new();
        bytes.all.fill(0xff);
        let end = self.base.saturating_add(self.half.saturating_mul(2));
        let left = left.min(end.saturating_sub(at));
        let len = usize::try_from(left).map_or(MAX_SLOT, |left| left.min(MAX_SLOT));
        self.read(at, bytes.all.get_mut(..len).unwrap_or_default()).await?;
        Ok(bytes)
    }

    async fn header(&mut self, half: u32) -> Result<Header, KeyStoreError> {
        let bytes = self.slot(half, Self::BODY).await?;
        header::decode(&bytes.all, Self::UNIT, self.half)
    }

    /// The first place from `at` to `end` where something is.
    async fn not_blank(&mut self, mut at: u32, end: u32) -> Result<Option<u32>, KeyStoreError> {
        while at < end {
            if !blank(&self.slot(at, end.saturating_sub(at)).await?.all) {
                return Ok(Some(at));
            }
            at = at.saturating_add(MAX_SLOT as u32);
        }
        Ok(None)
    }

    /// Whether the log of a half and its header are erased.
    async fn is_blank(&mut self, half: u32) -> Result<bool, KeyStoreError> {
        let end = half.saturating_add(self.used());
        Ok(self.not_blank(half, end).await?.is_none())
    }

    /// Erases a half.
    async fn clear(&mut self, half: u32) -> Result<(), KeyStoreError> {
        let end = half.saturating_add(self.half);
        self.flash.erase(half, end).await.map_err(flash_error)?;
        if self.is_blank(half).await? { Ok(()) } else { Err(KeyStoreError::WornOut) }
    }

    /// Writes `entry` into the slot at `at`: itself, then its seal. Returns where the next one goes.
    ///
    /// The seal tells an entry that was never finished from one that was damaged later.
    async fn put(&mut self, at: u32, entry: &Entry) -> Result<u32, KeyStoreError> {
        let unit = Self::UNIT as u32;
        let end = self.store(at.saturating_add(unit), entry.encode()).await?;
        self.seal(at).await?;
        Ok(end)
    }

    /// Writes `bytes` in whole units, looks whether they are there, and returns where they end.
    async fn store(&mut self, at: u32, mut bytes: Bytes) -> Result<u32, KeyStoreError> {
        let len = Self::units(bytes.len);
        self.write(at, bytes.all.get(..len).unwrap_or_default()).await?;
        let written = core::mem::replace(&mut bytes, self.slot(at, len as u32).await?);
        match written.all.get(..len) == bytes.all.get(..len) {
            true => Ok(at.saturating_add(len as u32)),
            false => Err(KeyStoreError::WornOut),
        }
    }

    /// Writes a unit of zeros: no damage of a few bits makes it look erased.
    async fn seal(&mut self, at: u32) -> Result<(), KeyStoreError> {
        let mut bytes = Bytes::new();
        bytes.len = Self::UNIT;
        self.store(at, bytes).await.map(|_| ())
    }

    async fn read(&mut self, at: u32, to: &mut [u8]) -> Result<(), KeyStoreError> {
        self.flash.read(at, to).await.map_err(flash_error)
    }

    async fn write(&mut self, at: u32, bytes: &[u8]) -> Result<(), KeyStoreError> {
        self.flash.write(at, bytes).await.map_err(flash_error)
    }
}

/// Replaces the entry number `old` by the one at `at`.
fn note(
    entries: &mut Vec<u32, MAX_ENTRIES>,
    old: Option<usize>,
    at: u32,
    entry: &Entry,
) -> Result<(), KeyStoreError> {
    if let Some(index) = old {
        entries.swap_remove(index);
    }
    if !entry.removes() {
        entries.push(at).map_err(|_| KeyStoreError::Corrupt { at })?;
    }
    Ok(())
}

pub(super) fn blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0xff)
}

fn flash_error(error: impl NorFlashError) -> KeyStoreError {
    KeyStoreError::Flash(error.kind())
}
