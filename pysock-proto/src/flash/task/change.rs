//! Looking at the entries that count, and changing them.

use super::*;

impl Task<'_> {
    pub(super) fn look(&mut self) -> Then {
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
    pub(super) fn look_at(&mut self) -> Then {
        if self.read_entry(State::Entry) {
            return Ok(());
        }
        self.log.known = true;
        match self.want {
            Want::Set(new) => self.set(new),
            _ => self.finish(),
        }
    }

    pub(super) fn looked(&mut self) -> Then {
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
    pub(super) fn same(&self, entry: &Entry) -> bool {
        entry.subject() == self.subject
    }

    pub(super) fn count(&mut self, entry: &Entry) {
        self.size = self.size.wrapping_add(self.size_of(entry));
        match entry {
            Entry::Server(..) => self.servers = self.servers.wrapping_add(1),
            Entry::Peer(..) => self.peers = self.peers.wrapping_add(1),
            _ => {}
        }
    }

    /// What an entry takes: its seal and itself.
    pub(super) fn size_of(&self, entry: &Entry) -> u32 {
        let region = &self.log.region;
        region.unit.wrapping_add(region.units(entry.len()))
    }

    /// All entries were seen: stores the new one.
    pub(super) fn set(&mut self, new: &Entry) -> Then {
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
    pub(super) fn erase(&mut self, half: u32) -> Then {
        self.half = half;
        self.building = true;
        self.state = State::Erased;
        self.ask = Ask::Erase;
        self.place = half;
        Ok(())
    }

    /// Writes what counts and what is new into the erased half.
    pub(super) fn build(&mut self) -> Then {
        self.at = self.log.region.body();
        self.index = 0;
        self.copy()
    }

    pub(super) fn copy(&mut self) -> Then {
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
    pub(super) fn finish_half(&mut self) -> Then {
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
    pub(super) fn put(&mut self, entry: &Entry, after: After) -> Then {
        entry.encode(&mut self.out);
        self.after = after;
        self.slot = self.at;
        self.sealing = self.half.wrapping_add(self.at);
        self.at = self.at.wrapping_add(self.size_of(entry));
        self.write(self.sealing.wrapping_add(self.log.region.unit))
    }

    /// Writes a unit of zeros: no damage of a few bits makes it look erased.
    #[inline(never)]
    pub(super) fn seal(&mut self, at: u32) -> Then {
        self.out.clear();
        self.out.len = 1;
        self.sealing = at;
        self.write(at)
    }

    /// Writes `out` in whole units.
    #[inline(never)]
    pub(super) fn write(&mut self, at: u32) -> Then {
        self.out.len = self.log.region.units(self.out.len) as usize;
        self.place = at;
        self.state = State::Wrote;
        self.ask = Ask::Write;
        Ok(())
    }

    /// It is written, sealed, and there.
    pub(super) fn sealed(&mut self) -> Then {
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
