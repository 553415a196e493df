//! The books of relayed requests: who has to answer what to whom.

use std::collections::{HashMap, VecDeque};

use pysock_proto::{ChannelId, RequestId, registry::Slot, router::Channel};

/// Requests of one requester to one responder that are remembered. The oldest are forgotten first, so one that is
/// never answered costs its own requester something and nobody else.
const PER_REQUESTER: usize = 256;
/// Requesters on one client's books before those who have left are looked for.
const REQUESTERS: usize = 64;

/// A request that waits for its answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Open {
    pub(super) channel: Channel,
    pub(super) id: RequestId,
    /// What the requester calls the channel.
    pub(super) local: ChannelId,
}

/// What one client has been asked and has not answered. By connection of the requester, not by its number: an answer
/// that comes late never reaches the requester's next connection.
#[derive(Default)]
pub(super) struct AskedOf {
    open: HashMap<Slot, VecDeque<Open>>,
    /// Requesters that were found connected when it was looked last.
    found: usize,
}

impl AskedOf {
    /// Notes a request. Those who have left are forgotten each time that the books have doubled: to look for them at each
    /// request would cost as much as there are requesters.
    pub(super) fn note(&mut self, requester: Slot, open: Open, connected: impl Fn(Slot) -> bool) {
        if self.open.len() >= REQUESTERS.max(2 * self.found) {
            self.open.retain(|slot, _| connected(*slot));
            self.found = self.open.len();
        }
        let waiting = self.open.entry(requester).or_default();
        if waiting.len() >= PER_REQUESTER {
            waiting.pop_front();
        }
        waiting.push_back(open);
    }

    /// Takes a request off the books: it is answered. `None`: it never was there, or was answered before.
    pub(super) fn answer(
        &mut self,
        requester: Slot,
        channel: Channel,
        id: RequestId,
    ) -> Option<Open> {
        let waiting = self.open.get_mut(&requester)?;
        let at = waiting.iter().position(|open| open.channel == channel && open.id == id)?;
        let open = waiting.remove(at);
        if waiting.is_empty() {
            self.open.remove(&requester);
        }
        open
    }

    /// Everything that is left to be answered.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (Slot, Open)> + '_ {
        let open = self.open.drain();
        open.flat_map(|(slot, waiting)| waiting.into_iter().map(move |open| (slot, open)))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn open(id: u32) -> Open {
        Open { channel: Channel(1), id: RequestId(id), local: ChannelId(7) }
    }

    #[test]
    fn a_request_is_answered_once_and_only_to_its_connection() {
        let mut asked = AskedOf::default();
        asked.note(Slot(1), open(5), |_| true);
        assert_eq!(asked.answer(Slot(2), Channel(1), RequestId(5)), None, "another connection");
        assert_eq!(asked.answer(Slot(1), Channel(2), RequestId(5)), None, "another channel");
        assert_eq!(asked.answer(Slot(1), Channel(1), RequestId(5)), Some(open(5)));
        assert_eq!(asked.answer(Slot(1), Channel(1), RequestId(5)), None, "answered before");
        assert!(asked.open.is_empty());
    }

    #[test]
    fn who_asks_without_end_forgets_only_its_own_oldest() {
        let mut asked = AskedOf::default();
        asked.note(Slot(1), open(0), |_| true);
        for id in 0..=PER_REQUESTER as u32 {
            asked.note(Slot(2), open(id), |_| true);
        }
        assert_eq!(asked.answer(Slot(2), Channel(1), RequestId(0)), None);
        assert_eq!(asked.answer(Slot(2), Channel(1), RequestId(1)), Some(open(1)));
        assert_eq!(asked.answer(Slot(1), Channel(1), RequestId(0)), Some(open(0)));
        assert_eq!(asked.drain().count(), PER_REQUESTER - 1);
    }

    #[test]
    fn those_who_have_left_are_looked_for_seldom_and_do_not_pile_up() {
        let mut asked = AskedOf::default();
        let looks = Cell::new(0);
        for slot in 0..10_000 {
            asked.note(Slot(slot), open(0), |_| {
                looks.set(looks.get() + 1);
                true
            });
        }
        assert!(looks.get() < 2 * 10_000, "{} looks for 10 000 requests", looks.get());
        // All of them leave, and others come and leave.
        for slot in 10_000..40_000 {
            asked.note(Slot(slot), open(0), |other| other.0 + 100 > slot);
        }
        assert!(asked.open.len() < 2 * 100 + REQUESTERS, "{} requesters", asked.open.len());
    }
}
