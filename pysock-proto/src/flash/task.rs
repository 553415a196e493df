//! One operation on a range, step by step.

mod change;
mod mount;

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
}
