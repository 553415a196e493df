//! The books of relayed requests: who has to answer what to whom.

use std::collections::{HashMap, VecDeque};

use pysock_proto::{ChannelId, RequestId, registry::Slot, router::Channel};

/// Requests of one requester to one responder that are remembered. The oldest are forgotten first, so one that is
/// never answered costs its own requester something and nobody else.
const PER_REQUESTER: usize = 256;

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
pub(super) struct AskedOf(HashMap<Slot, VecDeque<Open>>);

impl AskedOf {
    /// Notes a request.
    pub(super) fn note(&mut self, requester: Slot, open: Open) {
        let waiting = self.0.entry(requester).or_default();
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
        let waiting = self.0.get_mut(&requester)?;
        let at = waiting.iter().position(|open| open.channel == channel && open.id == id)?;
        let open = waiting.remove(at);
        if waiting.is_empty() {
            self.0.remove(&requester);
        }
        open
    }

    /// Requesters on the books.
    pub(super) fn requesters(&self) -> usize {
        self.0.len()
    }

    /// Forgets the requests of connections that are gone.
    pub(super) fn keep(&mut self, connected: impl Fn(Slot) -> bool) {
        self.0.retain(|slot, _| connected(*slot));
    }

    /// Everything that is left to be answered.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (Slot, Open)> + '_ {
        self.0.drain().flat_map(|(slot, waiting)| waiting.into_iter().map(move |open| (slot, open)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(id: u32) -> Open {
        Open { channel: Channel(1), id: RequestId(id), local: ChannelId(7) }
    }

    #[test]
    fn a_request_is_answered_once_and_only_to_its_connection() {
        let mut asked = AskedOf::default();
        asked.note(Slot(1), open(5));
        assert_eq!(asked.answer(Slot(2), Channel(1), RequestId(5)), None, "another connection");
        assert_eq!(asked.answer(Slot(1), Channel(2), RequestId(5)), None, "another channel");
        assert_eq!(asked.answer(Slot(1), Channel(1), RequestId(5)), Some(open(5)));
        assert_eq!(asked.answer(Slot(1), Channel(1), RequestId(5)), None, "answered before");
        assert_eq!(asked.requesters(), 0);
    }

    #[test]
    fn who_asks_without_end_forgets_only_its_own_oldest() {
        let mut asked = AskedOf::default();
        asked.note(Slot(1), open(0));
        for id in 0..=PER_REQUESTER as u32 {
            asked.note(Slot(2), open(id));
        }
        assert_eq!(asked.answer(Slot(2), Channel(1), RequestId(0)), None);
        assert_eq!(asked.answer(Slot(2), Channel(1), RequestId(1)), Some(open(1)));
        assert_eq!(asked.answer(Slot(1), Channel(1), RequestId(0)), Some(open(0)));
        asked.keep(|slot| slot != Slot(2));
        assert_eq!(asked.drain().count(), 0);
    }
}
