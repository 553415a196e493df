//! Mounting: the headers, the log of the live half, the mark on the other one.

use super::*;

impl Task<'_> {
    pub(super) fn mount(&mut self) -> Then {
        self.read_header(0, State::First)
    }

    #[inline(never)]
    pub(super) fn read_header(&mut self, half: u32, state: State) -> Then {
        self.half = half;
        self.read_slot(0, self.log.region.body(), state)
    }

    #[inline(never)]
    pub(super) fn header(&self) -> Header {
        header::decode(self.seen(), &self.log.region)
    }

    pub(super) fn choose(&mut self) -> Then {
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
    pub(super) fn walk(&mut self) -> Then {
        self.log.live = self.half;
        self.log.entries.clear();
        self.log.tail = None;
        self.identity = false;
        self.at = self.log.region.body();
        self.along()
    }

    pub(super) fn along(&mut self) -> Then {
        let end = self.log.region.used();
        if self.at < end { self.read_slot(self.at, end, State::Slot) } else { self.walked() }
    }

    pub(super) fn slot(&mut self) -> Then {
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
    pub(super) fn entry(&mut self) -> Result<Entry, Failed> {
        let slot = self.seen().get(self.log.region.unit as usize..);
        slot.and_then(Entry::decode).ok_or_else(|| self.corrupt_at(self.place))
    }

    /// Reads the entry number `index`, to see whether the one at `at` replaces it.
    pub(super) fn earlier(&mut self) -> Then {
        if self.read_entry(State::Earlier) { Ok(()) } else { self.note(None) }
    }

    /// Reads the entry number `index`, if there is one.
    #[inline(never)]
    pub(super) fn read_entry(&mut self, state: State) -> bool {
        let Some(at) = self.log.entries.get(self.index) else { return false };
        let at = u32::from(*at);
        self.read(self.log.live.wrapping_add(at), self.log.region.half.wrapping_sub(at), state);
        true
    }

    /// Replaces the entry number `old` by the one in `slot`.
    #[inline(never)]
    pub(super) fn replace(&mut self, old: Option<usize>) -> Result<(), Failed> {
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

    pub(super) fn note(&mut self, old: Option<usize>) -> Then {
        self.replace(old)?;
        self.identity |= self.subject == Subject::Identity;
        self.at = self.at.wrapping_add(self.size);
        self.along()
    }

    /// Makes sure that all is erased from `at` on.
    pub(super) fn blank(&mut self) -> Then {
        let end = self.log.region.used();
        match (self.at < end, self.building) {
            (true, _) => self.read_slot(self.at, end, State::Blank),
            (false, true) => self.build(),
            (false, false) => self.walked(),
        }
    }

    pub(super) fn walked(&mut self) -> Then {
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
    pub(super) fn stray(&mut self) -> Then {
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

    pub(super) fn mounted(&mut self) -> Then {
        match self.want {
            _ if self.written => self.finish(),
            Want::Open => self.finish(),
            Want::Provision(..) => Err(self.fail(KeyStoreError::AlreadyProvisioned)),
            _ => self.look(),
        }
    }

    #[inline(never)]
    pub(super) fn finish(&mut self) -> Then {
        self.log.known = true;
        self.error = None;
        Ok(())
    }
}
