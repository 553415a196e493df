//! The books: what was sent on every lane, what every receiver has of it, and what may be missing.
//!
//! Delivery is at most once: what a receiver that was away has missed is counted, and nothing else may be missing. A
//! message that was begun after its receiver came back has to arrive.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{
    restless,
    stamp::{Kind, Lane, Stamp},
};

/// Mistakes that are shown; all are counted.
const SHOWN: u64 = 20;

/// What a receiver has of a lane.
#[derive(Clone, Copy, Default)]
struct Heard {
    /// The next one in order.
    next: u64,
    /// The first one that was begun since it is there: from here on nothing may be missing.
    since: u64,
}

/// What became of messages.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Totals {
    pub(super) delivered: u64,
    /// Missed, by whom was away when they were begun.
    pub(super) away: u64,
    /// Refused when they were sent, because their receiver was away.
    pub(super) refused: u64,
    /// Reported as lost to their sender later.
    pub(super) reported: u64,
    /// Missing though the receiver was there: no more than were reported.
    pub(super) missing: u64,
    pub(super) answers: u64,
    pub(super) returns: u64,
    /// What must not be.
    pub(super) wrong: u64,
    /// What must not be, at the server.
    pub(super) at_server: u64,
}

#[derive(Default)]
struct Books {
    sent: HashMap<Lane, u64>,
    heard: HashMap<(u32, Lane), Heard>,
    totals: Totals,
}

/// All books of one process.
#[derive(Default)]
pub(super) struct Ledger(Mutex<Books>);

impl Ledger {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins the next message of a lane.
    pub(super) fn begin(&self, lane: Lane) -> Stamp {
        let mut books = self.books();
        let sent = books.sent.entry(lane).or_default();
        *sent += 1;
        Stamp { lane, number: *sent - 1 }
    }

    /// It was not sent after all: its receiver was away. The next one gets its number.
    pub(super) fn refuse(&self, stamp: Stamp) {
        let mut books = self.books();
        books.totals.refused += 1;
        books.sent.insert(stamp.lane, stamp.number);
    }

    /// So many have been begun.
    pub(super) fn sent(&self, lane: Lane) -> u64 {
        self.books().sent.get(&lane).copied().unwrap_or(0)
    }

    /// `receiver` is there (again), on the channel of that number, and misses nothing of what is begun from now on.
    pub(super) fn arrive(&self, receiver: u32, topic: u32) {
        let mut guard = self.books();
        let books = &mut *guard;
        let mine = books.sent.iter().filter(|(lane, _)| is_for(**lane, receiver, topic));
        for (lane, sent) in mine {
            books.heard.entry((receiver, *lane)).or_default().since = *sent;
        }
    }

    /// A message has arrived, with the sender's number as pysock says it.
    pub(super) fn hear(&self, receiver: u32, from: Option<u32>, message: &[u8]) {
        let Some(stamp) = Stamp::of(message) else {
            let length = message.len();
            return self.wrong(format_args!("{receiver} got {length} bytes that nobody sent"));
        };
        let Stamp { lane, number } = stamp;
        if from != Some(lane.from) || (lane.kind != Kind::Publish && lane.to != receiver) {
            self.wrong(format_args!("{receiver} got {stamp:?} as if from {from:?}"));
        }
        let mut guard = self.books();
        let books = &mut *guard;
        books.totals.delivered += 1;
        let heard = books.heard.entry((receiver, lane)).or_default();
        if number < heard.next {
            let next = heard.next;
            drop(guard);
            return self.wrong(format_args!("{receiver} got {stamp:?} after {next}"));
        }
        let (away, missing) = gap(heard, number);
        heard.next = number + 1;
        books.totals.away += away;
        books.totals.missing += missing;
        drop(guard);
        if missing > 0 && !is_excusable(lane) {
            self.wrong(format_args!("{receiver} misses {missing} before {stamp:?}"));
        }
    }

    /// Something that must not be.
    pub(super) fn wrong(&self, what: std::fmt::Arguments<'_>) {
        let mut books = self.books();
        books.totals.wrong += 1;
        if books.totals.wrong <= SHOWN {
            eprintln!("WRONG: {what}");
        }
    }

    /// Counts something.
    pub(super) fn count(&self, what: impl FnOnce(&mut Totals)) {
        what(&mut self.books().totals);
    }

    pub(super) fn totals(&self) -> Totals {
        self.books().totals
    }

    /// What is still under way to clients, of which `topic` says to which channel each one listens.
    pub(super) fn under_way(&self, clients: u32, topic: impl Fn(u32) -> u32) -> u64 {
        self.each_open(clients, topic, |_, _, _| {})
    }

    /// Closes the books: what has not come by now will not.
    pub(super) fn close(&self, clients: u32, topic: impl Fn(u32) -> u32) {
        let (mut away, mut missing, mut mistakes) = (0, 0, Vec::new());
        self.each_open(clients, topic, |(receiver, lane), heard, sent| {
            let gap = gap(heard, sent);
            away += gap.0;
            missing += gap.1;
            if gap.1 > 0 && !is_excusable(lane) {
                mistakes
                    .push(format!("at the end, {receiver} has {} of {sent}: {lane:?}", heard.next));
            }
        });
        for mistake in mistakes {
            self.wrong(format_args!("{mistake}"));
        }
        self.count(|totals| {
            totals.away += away;
            totals.missing += missing;
        });
        let Totals { missing, reported, .. } = self.totals();
        if missing > reported {
            self.wrong(format_args!("{missing} messages are missing, {reported} were reported"));
        }
    }

    /// Calls `open` with every lane of which a client has not heard all; how many messages that is.
    fn each_open(
        &self,
        clients: u32,
        topic: impl Fn(u32) -> u32,
        mut open: impl FnMut((u32, Lane), &Heard, u64),
    ) -> u64 {
        let books = self.books();
        let mut all = 0;
        for (lane, sent) in &books.sent {
            let receivers = match lane.kind {
                Kind::OneWay | Kind::Large | Kind::Ask => 0..0,
                Kind::Publish => 1..clients + 1,
                Kind::Relay | Kind::Sealed => lane.to..lane.to + 1,
            };
            for receiver in receivers.filter(|who| is_for(*lane, *who, topic(*who))) {
                let heard = books.heard.get(&(receiver, *lane)).copied().unwrap_or_default();
                if heard.next < *sent {
                    // What was begun while it was away does not come any more.
                    all += gap(&heard, *sent).1;
                    open((receiver, *lane), &heard, *sent);
                }
            }
        }
        all
    }
}

fn is_for(lane: Lane, receiver: u32, topic: u32) -> bool {
    match lane.kind {
        Kind::Publish => lane.to == topic && lane.from != receiver,
        Kind::Relay | Kind::Sealed => lane.to == receiver,
        Kind::OneWay | Kind::Large | Kind::Ask => false,
    }
}

/// Its sender may have known only where the receiver was before; then it was told that it got lost.
fn is_excusable(lane: Lane) -> bool {
    lane.kind == Kind::Relay && restless(lane.to)
}

/// What is missing before `number`: as the receiver was away, and otherwise.
fn gap(heard: &Heard, number: u64) -> (u64, u64) {
    let there = heard.since.clamp(heard.next, number);
    (there - heard.next, number - there)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LANE: Lane = Lane { kind: Kind::Relay, from: 1, to: 3 };

    fn hear(ledger: &Ledger, stamp: Stamp) {
        ledger.hear(3, Some(1), &stamp.message(false));
    }

    #[test]
    fn what_was_begun_while_the_receiver_was_away_may_be_missing_and_nothing_else() {
        let ledger = Ledger::default();
        let all: Vec<_> = (0..6).map(|_| ledger.begin(LANE)).collect();
        hear(&ledger, all[0]);
        ledger.arrive(3, 0);
        let [seventh, eighth] = [ledger.begin(LANE), ledger.begin(LANE)];
        assert_eq!(ledger.under_way(3, |_| 0), 2);
        hear(&ledger, eighth);
        let Totals { away, missing, wrong, .. } = ledger.totals();
        assert_eq!((away, missing, wrong), (5, 1, 0));
        hear(&ledger, seventh);
        assert_eq!(ledger.totals().wrong, 1, "order");
        hear(&ledger, eighth);
        assert_eq!(ledger.totals().wrong, 2, "twice");
        ledger.close(3, |_| 0);
        assert_eq!(ledger.totals().wrong, 3, "missing, and nobody was told");
    }

    #[test]
    fn who_is_always_there_misses_nothing() {
        let (ledger, lane) = (Ledger::default(), Lane { to: 4, ..LANE });
        let [_, second, _third] = [ledger.begin(lane), ledger.begin(lane), ledger.begin(lane)];
        ledger.hear(4, Some(1), &second.message(false));
        assert_eq!(ledger.totals().wrong, 1);
        ledger.close(4, |_| 0);
        assert_eq!(ledger.totals().wrong, 3, "the last one, and that nobody was told");
    }

    #[test]
    fn whoever_pretends_or_alters_is_found() {
        let ledger = Ledger::default();
        let stamp = ledger.begin(LANE);
        ledger.hear(3, Some(3), &stamp.message(false));
        ledger.hear(3, Some(1), b"junk");
        assert_eq!(ledger.totals().wrong, 2);
    }
}
