//! Requests that wait for their replies.

use super::{Address, Client, Event, OnEvent, Why};
use crate::proto::{Failure, Instant, Kind, PublicKey, RequestId, SendError};

/// Requests that may be unanswered at once.
const MAX_REQUESTS: usize = 4;

#[derive(Clone, Copy)]
struct Pending {
    id: RequestId,
    to: Address,
    /// Milliseconds that the reply may take.
    within: u64,
    /// The moment at which it is too late, once the request is on its way.
    by: Option<Instant>,
}

/// The requests that wait for their replies.
pub(super) struct Requests {
    pending: heapless::Vec<Pending, MAX_REQUESTS>,
    last: u32,
}

impl Requests {
    pub(super) const fn new() -> Self {
        Requests { pending: heapless::Vec::new(), last: 0 }
    }

    /// When the first of them has waited long enough.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.pending.iter().filter_map(|pending| pending.by).min()
    }

    /// A number for the next one.
    ///
    /// # Errors
    /// As many as there may be are unanswered.
    pub(super) fn next(&mut self) -> Result<RequestId, SendError> {
        if self.pending.is_full() {
            return Err(SendError::Questions);
        }
        self.last = self.last.wrapping_add(1);
        Ok(RequestId(self.last))
    }

    /// One was sent.
    pub(super) fn sent(&mut self, id: RequestId, to: Address, within: u64) {
        // `next` has found room.
        let _ = self.pending.push(Pending { id, to, within, by: None });
    }

    /// The time of those that were sent since the last step begins: the program may have asked long after that step.
    pub(super) fn start(&mut self, now: Instant) {
        for pending in &mut self.pending {
            pending.by.get_or_insert(now.after_millis(pending.within));
        }
    }

    /// Whether this answers one of them; then it waits no more.
    pub(super) fn answered(&mut self, kind: Kind, from: Address) -> bool {
        let (Kind::Request(id) | Kind::Reply(id)) = kind else { return false };
        let is_it = |pending: &Pending| pending.id == id && may_answer(pending.to, from);
        let Some(at) = self.pending.iter().position(is_it) else { return false };
        self.pending.swap_remove(at);
        true
    }
}

/// Whether an answer from there is one to a question that went there. On a channel the server has checked who answers.
fn may_answer(to: Address, from: Address) -> bool {
    match (to, from) {
        (Address::Peer(to), Address::Peer(from)) => to == from,
        (Address::Peer(_), _) | (_, Address::Peer(_)) => false,
        _ => true,
    }
}

impl<'m> Client<'m> {
    /// Tells of requests that nobody has answered in time.
    pub(super) fn expire(&mut self, on_event: &mut OnEvent<'_, 'm>) {
        let now = self.now;
        self.give_up(&|pending| pending.by.is_some_and(|by| now >= by), Why::TimedOut, on_event);
    }

    /// The connection is over: whether requests through it were acted on is unknown. Sessions go on.
    pub(super) fn lose_requests(&mut self, on_event: &mut OnEvent<'_, 'm>) {
        let through_server = |pending: &Pending| !matches!(pending.to, Address::Peer(_));
        self.give_up(&through_server, Why::Failure(Failure::Unknown), on_event);
    }

    /// A session is over, or another one: requests in it get no reply any more.
    pub(super) fn lose_requests_to(&mut self, key: &PublicKey, on_event: &mut OnEvent<'_, 'm>) {
        let in_session = |pending: &Pending| pending.to == Address::Peer(*key);
        self.give_up(&in_session, Why::Failure(Failure::Unknown), on_event);
    }

    fn give_up(
        &mut self,
        is_it: &dyn Fn(&Pending) -> bool,
        why: Why,
        on_event: &mut OnEvent<'_, 'm>,
    ) {
        // Once for each: a handler that asks again at once is not heard in the same call.
        for _ in 0..self.state.requests.pending.len() {
            let Some(at) = self.state.requests.pending.iter().position(is_it) else { return };
            let Pending { id, to, .. } = self.state.requests.pending.swap_remove(at);
            on_event(self, Event::Failed { to, kind: Kind::Request(id), why });
        }
    }
}
