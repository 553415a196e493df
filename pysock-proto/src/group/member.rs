//! One member of a group, as one side sees it.

use crate::{id::Name, key::PublicKey};

/// A member of a group, in storage that the caller supplies.
#[derive(Clone, Debug)]
pub struct Member {
    key: PublicKey,
    name: Name,
    /// The epoch in which it was added, last time.
    since: u32,
    /// Epoch and number of its last message. Later ones are larger, compared in this order; number 0 is none.
    heard: (u32, u32),
    flags: u8,
}

// On a microcontroller, eight of them are the price of a group.
const _: () = assert!(size_of::<Member>() <= 80);

/// What is noted beside a member.
pub(super) mod flag {
    /// In the snapshot that is arriving.
    pub(in crate::group) const FRESH: u8 = 0x01;
    /// In that snapshot only: not a member until it is complete.
    pub(in crate::group) const PENDING: u8 = 0x02;
    /// Owner: the change under way has to be told to it.
    pub(in crate::group) const DUE: u8 = 0x04;
    /// Owner: the change was handed out and is not answered yet.
    pub(in crate::group) const OUT: u8 = 0x08;
    /// Owner: it has missed something.
    pub(in crate::group) const LAGGING: u8 = 0x10;
    /// Owner: it gets a snapshot as soon as no change is under way.
    pub(in crate::group) const WANTED: u8 = 0x20;
    /// Owner: it has left, and the others are to be told.
    pub(in crate::group) const LEAVING: u8 = 0x40;
    /// Owner: it knows that it is out, and need not be told. Only a member's own view has the bit's other meaning.
    pub(in crate::group) const PARTED: u8 = FRESH;
    /// Owner: a snapshot alone does not do, it has to be added anew.
    pub(in crate::group) const ANEW: u8 = 0x80;
}

impl Member {
    pub(super) const fn new(key: PublicKey, name: Name, since: u32) -> Self {
        Member { key, name, since, heard: (since, 0), flags: 0 }
    }

    /// Its key: who it is.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// What the owner calls it.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The epoch in which it was added, last time.
    pub fn since(&self) -> u32 {
        self.since
    }

    /// Owner: whether it has missed something and waits for a snapshot.
    pub fn is_lagging(&self) -> bool {
        self.has(flag::LAGGING)
    }

    pub(super) fn has(&self, flags: u8) -> bool {
        self.flags & flags != 0
    }

    pub(super) fn set(&mut self, flags: u8) {
        self.flags |= flags;
    }

    pub(super) fn clear(&mut self, flags: u8) {
        self.flags &= !flags;
    }

    /// It was added in epoch `since`, as far as its owner says. If that is news, it begins anew.
    pub(super) fn begins(&mut self, name: Name, since: u32) {
        self.name = name;
        self.since = since;
        self.counts_from(since);
    }

    /// Its messages count from `epoch` on, and none before the first of them was missed.
    pub(super) fn counts_from(&mut self, epoch: u32) {
        // It may have been heard in that epoch before this side was told of it.
        if self.heard.0 < epoch {
            self.heard = (epoch, 0);
        }
    }

    /// Takes the number of a message of epoch `epoch`. Says how many before it were missed, or `None` if it comes too
    /// late.
    pub(super) fn hears(&mut self, epoch: u32, id: u32) -> Option<u32> {
        let (_, last) = self.heard;
        if (epoch, id) <= self.heard {
            return None;
        }
        self.heard = (epoch, id);
        // A smaller number in a later epoch: it was added anew, has forgotten the old ones, and this side has not
        // been told yet.
        let follows = last != 0 && id > last;
        Some(if follows { id.saturating_sub(last).saturating_sub(1) } else { 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(since: u32) -> Member {
        Member::new(PublicKey([1; 32]), Name::new("m").unwrap(), since)
    }

    #[test]
    fn numbers_rise_and_gaps_are_counted_from_the_first_message_on() {
        let mut m = member(3);
        assert_eq!(m.hears(2, 1), None, "before it was added");
        assert_eq!(m.hears(3, 50), Some(0));
        assert_eq!(m.hears(3, 50), None);
        assert_eq!(m.hears(3, 49), None);
        assert_eq!(m.hears(3, 51), Some(0));
        assert_eq!(m.hears(4, 54), Some(2));
        assert_eq!(m.hears(3, 60), None, "an epoch never falls");
        assert_eq!(m.hears(u32::MAX, u32::MAX), Some(u32::MAX - 55));
        assert_eq!(m.hears(u32::MAX, u32::MAX), None);
    }

    #[test]
    fn who_begins_anew_may_count_from_one_whether_or_not_it_is_known() {
        let mut m = member(3);
        assert_eq!(m.hears(5, 20), Some(0));
        assert_eq!(m.hears(8, 1), Some(0), "not told yet");
        m.begins(m.name, 7);
        assert_eq!(m.hears(8, 1), None, "told late: nothing is taken twice");
        assert_eq!(m.hears(8, 3), Some(1));
        m.begins(m.name, 9);
        assert_eq!(m.hears(8, 4), None);
        assert_eq!(m.hears(9, 40), Some(0), "told in time: nothing counts as missed");
    }
}
