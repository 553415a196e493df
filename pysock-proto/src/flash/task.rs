//! One operation on a range, step by step.

use core::mem;

use super::{
    Bytes, Entry, Fault, KeyStoreError, Log, MAX_PEERS, MAX_SERVERS, MAX_SLOT, Subject, blank,
    header::{self, Header},
};
use crate::{
    id::Name,
    key::{PublicKey, SecretKey},
};

/// What a task is to do.
pub enum Want<'a> {
    /// See whether there is a store, and finish what a loss of power interrupted.
    Open,
    /// Begin a store in a range that has none, with an identity and a name.
    Provision(&'a SecretKey, Option<&'a Name>),
    /// The entry about this.
    Get(Subject),
    /// The entry of the peer with this key; if it has several labels, the one that is alphabetically first.
    Labelled(PublicKey),
    /// The entry with this number, from 0 to the first that there is not. Their order is none, and changes bring another.
    Number(usize),
    /// Store this entry, if that changes anything, and answer with what there was about the same. An identity is never
    /// replaced, nor is a pin by another key.
    Set(Entry),
}

/// What has to be done in the flash. Places are offsets in the flash.
pub enum Step<'t> {
    /// Fill `to` with what is at `at`.
    Read {
        /// Where.
        at: u32,
        /// The memory to be filled.
        to: &'t mut [u8],
    },
    /// Write `bytes` at `at`, where the flash is erased.
    Write {
        /// Where.
        at: u32,
        /// What.
        bytes: &'t [u8],
    },
    /// Erase whole pages.
    Erase {
        /// Where they begin.
        from: u32,
        /// Where they end.
        to: u32,
    },
    /// Nothing more: see [`Task::answer`].
    Done,
}

/// An operation on a range: what it needs of the flash, one step after the other. Dropping it halfway is like losing power
/// at that moment.
pub struct Task<'a> {
    log: &'a mut Log,
    want: &'a Want<'a>,
    state: State,
    ask: Ask,
    /// What is being written.
    out: Bytes,
    /// What was read, as long as it is.
    seen: Bytes,
    /// The header of the first half.
    first: Header,
    /// What was wanted, if it is there.
    found: Option<Entry>,
    /// What went wrong. Until all is done, that it is not.
    error: Option<KeyStoreError>,
    /// The half that is read or written, and where in it.
    half: u32,
    at: u32,
    /// The number of the entry that is looked at.
    index: usize,
    /// What is looked for: what the entry in `slot` is about. And whether that says that there is nothing any more.
    subject: Subject,
    removes: bool,
    /// An identity was found.
    identity: bool,
    /// A half that is not given up and not live either.
    stale: Option<u32>,
    /// A half that is erased, if the range has no store.
    vacant: Option<u32>,
    /// There is no live half: this is about what provisioning may have left.
    unfinished: bool,
    /// The half is being written anew.
    building: bool,
    /// What was wanted is written.
    written: bool,
    /// The number of the entry that will be replaced.
    replaced: Option<usize>,
    /// What all entries take that will be kept.
    size: u32,
    servers: usize,
    peers: usize,
    /// Where the entry is that is being written, where its seal goes, and what is next.
    slot: u32,
    place: u32,
    sealing: u32,
    after: After,
}

/// Whose result the next call brings.
#[derive(Clone, Copy)]
enum State {
    Begin,
    /// The header of the first half was read, or of the second.
    First,
    Second,
    /// A slot was read, along the log of a half.
    Slot,
    /// An entry was read that the one in that slot may replace.
    Earlier,
    /// A part was read that has to be blank.
    Blank,
    /// The header was read of a half that provisioning did not finish.
    Stray,
    /// An entry was read that may be the one that is wanted.
    Entry,
    /// The half was erased that will be written.
    Erased,
    /// An entry was read that has to be written again.
    Copied,
    /// Something was written, and read back.
    Wrote,
    Reread,
    Over,
}

/// What follows when something is written and sealed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    /// The entry was the last of its log.
    Entry,
    /// The entry was one of a half that is written anew.
    Copy,
    /// The header was; then the half is live.
    Header,
    /// The mark on a half that is given up.
    Mark,
}

/// The next step, at `place`.
#[derive(Clone, Copy)]
enum Ask {
    Read,
    Write,
    Erase,
    Nothing,
}

/// What is asked for is in the task, and so is what went wrong: moving it from call to call would take more code than what
/// makes it.
type Then = Result<(), Failed>;

struct Failed;

impl<'a> Task<'a> {
    /// An operation on the range of `log`.
    pub fn new(log: &'a mut Log, want: &'a Want<'a>) -> Self {
        Task {
            log,
            want,
            state: State::Begin,
            ask: Ask::Nothing,
            out: Bytes::new(),
            seen: Bytes::new(),
            first: Header::Unsealed,
            found: None,
            error: Some(KeyStoreError::Flash(Fault::Other)),
            half: 0,
            at: 0,
            index: 0,
            subject: Subject::Identity,
            removes: false,
            identity: false,
            stale: None,
            vacant: None,
            unfinished: false,
            building: false,
            written: false,
            replaced: None,
            size: 0,
            servers: 0,
            peers: 0,
            slot: 0,
            place: 0,
            sealing: 0,
            after: After::Entry,
        }
    }

    /// What is next. `last` says how the step went that the call before asked for; for the first call it is `Ok`.
    #[inline(never)]
    pub fn step(&mut self, last: Result<(), Fault>) -> Step<'_> {
        self.ask = Ask::Nothing;
        let going = self.next(last).is_ok();
        let region = &self.log.region;
        let at = region.base.wrapping_add(self.place);
        match self.ask {
            Ask::Read if going => {
                Step::Read { at, to: self.seen.all.get_mut(..self.seen.len).unwrap_or_default() }
            }
            Ask::Write if going => {
                Step::Write { at, bytes: self.out.all.get(..self.out.len).unwrap_or_default() }
            }
            Ask::Erase if going => Step::Erase { from: at, to: at.wrapping_add(region.half) },
            _ => Step::Done,
        }
    }

    /// What was found, after [`Step::Done`]. See [`Want`] for what that is.
    ///
    /// # Errors
    /// It failed, or is not done; what was stored before is as it was.
    pub fn answer(self) -> Result<Option<Entry>, KeyStoreError> {
        match self.error {
            Some(error) => Err(error),
            None => Ok(self.found),
        }
    }

    fn next(&mut self, last: Result<(), Fault>) -> Then {
        let state = mem::replace(&mut self.state, State::Over);
        if let Err(fault) = last {
            return self.failed(state, KeyStoreError::Flash(fault));
        }
        match state {
            State::Begin => {
                if self.log.region.half == 0 {
                    return Err(self.fail(KeyStoreError::Region));
                }
                // It has to be put back: an operation that does not come to its end leaves nothing known.
                let known = mem::take(&mut self.log.known);
                match self.want {
                    Want::Open | Want::Provision(..) => self.mount(),
                    _ if known => self.look(),
                    _ => self.mount(),
                }
            }
            State::First => {
                self.first = self.header();
                self.read_header(self.log.region.half, State::Second)
            }
            State::Second => self.choose(),
            State::Slot => self.slot(),
            State::Earlier => {
                let earlier = self.entry()?;
                if self.same(&earlier) {
                    return self.note(Some(self.index));
                }
                self.index = self.index.wrapping_add(1);
                self.earlier()
            }
            State::Blank => {
                if blank(self.seen()) {
                    self.at = self.at.wrapping_add(MAX_SLOT as u32);
                    return self.blank();
                }
                Err(if self.building {
                    self.fail(KeyStoreError::WornOut)
                } else {
                    self.corrupt(self.at)
                })
            }
            State::Stray => self.stray(),
            State::Entry => self.looked(),
            State::Erased => {
                self.at = 0;
                self.blank()
            }
            State::Copied => {
                let old = self.entry()?;
                if self.same(&old) { self.copy() } else { self.put(&old, After::Copy) }
            }
            State::Wrote => {
                self.read(self.place, self.out.len as u32, State::Reread);
                Ok(())
            }
            State::Reread => {
                // As long as it was written.
                if self.out.all.get(..self.out.len) != Some(self.seen()) {
                    return self.failed(state, KeyStoreError::WornOut);
                }
                if self.place == self.sealing { self.sealed() } else { self.seal(self.sealing) }
            }
            State::Over => Ok(()),
        }
    }

    fn failed(&mut self, state: State, error: KeyStoreError) -> Then {
        match (state, self.after) {
            // That the mark cannot be written does no harm: the newer half still wins. The next time it is tried again.
            (State::Wrote | State::Reread, After::Mark) => self.mounted(),
            _ => Err(self.fail(error)),
        }
    }

    fn fail(&mut self, error: KeyStoreError) -> Failed {
        self.error = Some(error);
        Failed
    }

    #[inline(never)]
    fn read(&mut self, at: u32, len: u32, state: State) {
        self.state = state;
        self.ask = Ask::Read;
        self.place = at;
        self.seen.len = len.min(MAX_SLOT as u32) as usize;
    }

    fn seen(&self) -> &[u8] {
        self.seen.all.get(..self.seen.len).unwrap_or_default()
    }

    /// Reads from `at` of the half on, but at most a slot, and not beyond `end`.
    fn read_slot(&mut self, at: u32, end: u32, state: State) -> Then {
        self.read(self.half.wrapping_add(at), end.wrapping_sub(at), state);
        Ok(())
    }

    /// Something is wrong at `at` of the half.
    fn corrupt(&mut self, at: u32) -> Failed {
        self.corrupt_at(self.half.wrapping_add(at))
    }

    #[inline(never)]
    fn corrupt_at(&mut self, at: u32) -> Failed {
        let at = self.log.region.base.wrapping_add(at);
        self.fail(KeyStoreError::Corrupt { at })
    }

    // Mounting: the headers, the log of the live half, the mark on the other one.

    fn mount(&mut self) -> Then {
        self.read_header(0, State::First)
    }

    #[inline(never)]
    fn read_header(&mut self, half: u32, state: State) -> Then {
        self.half = half;
        self.read_slot(0, self.log.region.body(), state)
    }

    #[inline(never)]
    fn header(&self) -> Header {
        header::decode(self.seen(), &self.log.region)
    }

    fn choose(&mut self) -> Then {
        let (first, second, one) = (self.first, self.header(), self.log.region.half);
        (self.half, self.log.seq) = match (first, second) {
            (Header::Newer(version), _) | (_, Header::Newer(version)) => {
                return Err(self.fail(KeyStoreError::NewerFormat { version }));
            }
            (Header::Geometry, _) | (_, Header::Geometry) => {
                return Err(self.fail(KeyStoreError::OtherGeometry));
            }
            (Header::Live(a), Header::Live(b)) if b > a => {
                self.stale = Some(0);
                (one, b)
            }
            (Header::Live(a), b) => {
                self.stale = matches!(b, Header::Live(_)).then_some(one);
                (0, a)
            }
            (_, Header::Live(b)) => (one, b),
            (Header::Unsealed, Header::Unsealed) => {
                self.unfinished = true;
                (0, 0)
            }
            // A half that is given up without one that replaces it was live: the other one must have been damaged.
            (first, second) => {
                let is_first = first == Header::Damaged || second == Header::Retired;
                self.half = if is_first { 0 } else { one };
                return Err(self.corrupt(0));
            }
        };
        self.walk()
    }

    /// Reads the log of the half from its beginning.
    fn walk(&mut self) -> Then {
        self.log.live = self.half;
        self.log.entries.clear();
        self.log.tail = None;
        self.identity = false;
        self.at = self.log.region.body();
        self.along()
    }

    fn along(&mut self) -> Then {
        let end = self.log.region.used();
        if self.at < end { self.read_slot(self.at, end, State::Slot) } else { self.walked() }
    }

    fn slot(&mut self) -> Then {
        let unit = self.log.region.unit as usize;
        let (seal, slot) = self.seen().split_at_checked(unit).unwrap_or_default();
        if blank(seal) {
            // The end. A write that was cut short may have left something here, but not beyond.
            self.log.tail = blank(slot).then_some(self.at);
            self.at = self.at.wrapping_add(MAX_SLOT as u32);
            return self.blank();
        }
        let entry = self.entry()?;
        self.subject = entry.subject();
        self.removes = entry.removes();
        self.size = self.size_of(&entry);
        self.index = 0;
        self.slot = self.at;
        self.earlier()
    }

    /// The entry in the slot that was read.
    #[inline(never)]
    fn entry(&mut self) -> Result<Entry, Failed> {
        let slot = self.seen().get(self.log.region.unit as usize..);
        slot.and_then(Entry::decode).ok_or_else(|| self.corrupt_at(self.place))
    }

    /// Reads the entry number `index`, to see whether the one at `at` replaces it.
    fn earlier(&mut self) -> Then {
        if self.read_entry(State::Earlier) { Ok(()) } else { self.note(None) }
    }

    /// Reads the entry number `index`, if there is one.
    #[inline(never)]
    fn read_entry(&mut self, state: State) -> bool {
        let Some(at) = self.log.entries.get(self.index) else { return false };
        let at = u32::from(*at);
        self.read(self.log.live.wrapping_add(at), self.log.region.half.wrapping_sub(at), state);
        true
    }

    /// Replaces the entry number `old` by the one in `slot`.
    #[inline(never)]
    fn replace(&mut self, old: Option<usize>) -> Result<(), Failed> {
        // Not `swap_remove`: it is the only one to need `memmove`, which takes 1.5 KiB.
        let last = old.and_then(|_| self.log.entries.pop());
        if let (Some(index), Some(last)) = (old, last)
            && let Some(entry) = self.log.entries.get_mut(index)
        {
            *entry = last;
        }
        if !self.removes {
            let full = self.log.entries.push(self.slot as u16).is_err();
            if full {
                return Err(self.corrupt(self.slot));
            }
        }
        Ok(())
    }

    fn note(&mut self, old: Option<usize>) -> Then {
        self.replace(old)?;
        self.identity |= self.subject == Subject::Identity;
        self.at = self.at.wrapping_add(self.size);
        self.along()
    }

    /// Makes sure that all is erased from `at` on.
    fn blank(&mut self) -> Then {
        let end = self.log.region.used();
        match (self.at < end, self.building) {
            (true, _) => self.read_slot(self.at, end, State::Blank),
            (false, true) => self.build(),
            (false, false) => self.walked(),
        }
    }

    fn walked(&mut self) -> Then {
        if self.unfinished {
            return self.read_header(self.half, State::Stray);
        }
        if !self.identity {
            return Err(self.corrupt(0));
        }
        if let Some(half) = self.stale.take() {
            // From now on the old half must not be taken for the live one, should that be damaged.
            self.after = After::Mark;
            return self.seal(half.wrapping_add(self.log.region.retired()));
        }
        self.mounted()
    }

    /// Looks for what provisioning would not leave when it is cut short. A half that it did not finish is blank, or a
    /// log like any other without its sealed header.
    fn stray(&mut self) -> Then {
        let region = &self.log.region;
        // The header is written last.
        let complete = self.log.tail.is_some() && !self.log.entries.is_empty();
        let from = if complete { region.retired() } else { 0 };
        // What was read ends with the header.
        if !self.seen().get(from as usize..).is_some_and(blank) {
            return Err(self.corrupt(from));
        }
        if self.log.tail == Some(region.body()) && self.vacant.is_none() {
            self.vacant = Some(self.half);
        }
        if self.half == 0 {
            self.half = region.half;
            return self.walk();
        }
        if !matches!(self.want, Want::Provision(..)) {
            return Err(self.fail(KeyStoreError::Empty));
        }
        self.unfinished = false;
        self.log.entries.clear();
        // An erasure that is cut short may leave anything, and that would not be taken for an empty range: erase only
        // if two attempts were cut short already.
        match self.vacant {
            Some(half) => {
                self.half = half;
                self.build()
            }
            None => self.erase(0),
        }
    }

    fn mounted(&mut self) -> Then {
        match self.want {
            _ if self.written => self.finish(),
            Want::Open => self.finish(),
            Want::Provision(..) => Err(self.fail(KeyStoreError::AlreadyProvisioned)),
            _ => self.look(),
        }
    }

    #[inline(never)]
    fn finish(&mut self) -> Then {
        self.log.known = true;
        self.error = None;
        Ok(())
    }

    // Looking at the entries that count.

    fn look(&mut self) -> Then {
        self.index = if let Want::Number(index) = self.want { *index } else { 0 };
        self.size = 0;
        match self.want {
            Want::Get(subject) => self.subject = *subject,
            Want::Set(new) => self.subject = new.subject(),
            _ => {}
        }
        self.look_at()
    }

    #[inline(never)]
    fn look_at(&mut self) -> Then {
        if self.read_entry(State::Entry) {
            return Ok(());
        }
        self.log.known = true;
        match self.want {
            Want::Set(new) => self.set(new),
            _ => self.finish(),
        }
    }

    fn looked(&mut self) -> Then {
        let entry = self.entry()?;
        let matches = match (self.want, &entry) {
            (Want::Get(_) | Want::Set(_), entry) => self.same(entry),
            (Want::Labelled(key), Entry::Peer(label, pinned)) if pinned == key => {
                !matches!(&self.found, Some(Entry::Peer(first, _)) if first <= label)
            }
            (want, _) => matches!(want, Want::Number(_)),
        };
        if matches {
            self.found = Some(entry);
            self.replaced = Some(self.index);
            if let Want::Get(_) | Want::Number(_) = self.want {
                return self.finish();
            }
        } else {
            self.count(&entry);
        }
        self.index = self.index.wrapping_add(1);
        self.look_at()
    }

    /// Whether an entry is about what is looked for.
    #[inline(never)]
    fn same(&self, entry: &Entry) -> bool {
        entry.subject() == self.subject
    }

    fn count(&mut self, entry: &Entry) {
        self.size = self.size.wrapping_add(self.size_of(entry));
        match entry {
            Entry::Server(..) => self.servers = self.servers.wrapping_add(1),
            Entry::Peer(..) => self.peers = self.peers.wrapping_add(1),
            _ => {}
        }
    }

    /// What an entry takes: its seal and itself.
    fn size_of(&self, entry: &Entry) -> u32 {
        let region = &self.log.region;
        region.unit.wrapping_add(region.units(entry.len()))
    }

    // Changing.

    /// All entries were seen: stores the new one.
    fn set(&mut self, new: &Entry) -> Then {
        if !new.changes(self.found.as_ref()).map_err(|error| self.fail(error))? {
            return self.finish();
        }
        self.count(new);
        let region = &self.log.region;
        let has_room =
            self.size <= region.budget() && self.servers <= MAX_SERVERS && self.peers <= MAX_PEERS;
        if !new.removes() && !has_room {
            return Err(self.fail(KeyStoreError::Full));
        }
        self.log.known = false;
        let fits = |at: &u32| region.used().saturating_sub(*at) >= self.size_of(new);
        match self.log.tail.filter(fits) {
            Some(at) => {
                self.half = self.log.live;
                self.at = at;
                self.removes = new.removes();
                self.put(new, After::Entry)
            }
            None => self.erase(region.other(self.log.live)),
        }
    }

    /// Erases a half, to write it anew.
    ///
    /// Erased just before it is written, in one run: what an erasure that was cut short leaves may read as erased and not
    /// last.
    fn erase(&mut self, half: u32) -> Then {
        self.half = half;
        self.building = true;
        self.state = State::Erased;
        self.ask = Ask::Erase;
        self.place = half;
        Ok(())
    }

    /// Writes what counts and what is new into the erased half.
    fn build(&mut self) -> Then {
        self.at = self.log.region.body();
        self.index = 0;
        self.copy()
    }

    fn copy(&mut self) -> Then {
        let reads = self.read_entry(State::Copied);
        let index = self.index;
        self.index = index.wrapping_add(1);
        if reads {
            return Ok(());
        }
        match (self.want, index.wrapping_sub(self.log.entries.len())) {
            (Want::Set(new), 0) if !new.removes() => self.put(new, After::Copy),
            (Want::Provision(secret, _), 0) => {
                self.put(&Entry::Identity((*secret).clone()), After::Copy)
            }
            (Want::Provision(_, Some(name)), 1) => self.put(&Entry::OwnName(**name), After::Copy),
            _ => self.finish_half(),
        }
    }

    /// Makes the half live whose log is written.
    fn finish_half(&mut self) -> Then {
        let region = self.log.region;
        let seq = self.log.seq.checked_add(1);
        let seq = seq.ok_or_else(|| self.fail(KeyStoreError::WornOut))?;
        header::encode(&mut self.out, region.unit as u8, region.half, seq);
        self.after = After::Header;
        self.sealing = self.half.wrapping_add(region.seal());
        self.write(self.half)
    }

    /// Writes `entry` into the slot at `at`: itself, then its seal.
    ///
    /// The seal tells an entry that was never finished from one that was damaged later.
    #[inline(never)]
    fn put(&mut self, entry: &Entry, after: After) -> Then {
        entry.encode(&mut self.out);
        self.after = after;
        self.slot = self.at;
        self.sealing = self.half.wrapping_add(self.at);
        self.at = self.at.wrapping_add(self.size_of(entry));
        self.write(self.sealing.wrapping_add(self.log.region.unit))
    }

    /// Writes a unit of zeros: no damage of a few bits makes it look erased.
    #[inline(never)]
    fn seal(&mut self, at: u32) -> Then {
        self.out.clear();
        self.out.len = 1;
        self.sealing = at;
        self.write(at)
    }

    /// Writes `out` in whole units.
    #[inline(never)]
    fn write(&mut self, at: u32) -> Then {
        self.out.len = self.log.region.units(self.out.len) as usize;
        self.place = at;
        self.state = State::Wrote;
        self.ask = Ask::Write;
        Ok(())
    }

    /// It is written, sealed, and there.
    fn sealed(&mut self) -> Then {
        match self.after {
            After::Mark => self.mounted(),
            After::Copy => self.copy(),
            After::Header => {
                self.written = true;
                self.building = false;
                self.mount()
            }
            After::Entry => {
                self.replace(self.replaced)?;
                self.log.tail = Some(self.at);
                self.finish()
            }
        }
    }
}
