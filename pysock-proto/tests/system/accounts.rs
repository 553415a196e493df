//! What clients and server have sent each other outside sessions, and what must hold of it: each message comes at most
//! once, whole, in the order of its sender and channel, stamped with its sender; and it comes, unless a connection on
//! its way has ended or its sender is told.

use std::collections::{BTreeMap, BTreeSet};

use crate::sim::chance::Chance;

/// In place of a client.
pub const SERVER: usize = 254;
pub const EVERYONE: usize = 255;

/// Length of what stands in front of the filling.
pub const HEAD: usize = 11;

struct Sent {
    channel: usize,
    /// Those that have to get it yet.
    to: BTreeSet<usize>,
}

#[derive(Default)]
pub struct Accounts {
    next: BTreeMap<usize, u32>,
    open: BTreeMap<(usize, u32), Sent>,
    /// By sender, channel and receiver: the latest.
    last: BTreeMap<(usize, usize, usize), u32>,
    /// Failures that the server has reported and their sender has not heard of.
    reports: BTreeMap<usize, u32>,
    pub delivered: u64,
    pub excused: u64,
    pub failed: u64,
}

fn text(from: usize, to: usize, channel: usize, n: u32, len: usize) -> Vec<u8> {
    let mut text = vec![from as u8, to as u8, channel as u8];
    text.extend(n.to_be_bytes());
    text.extend((len as u32).to_be_bytes());
    let mut chance = Chance(u64::from(n) << 8 | from as u64);
    text.extend((0..len).map(|_| chance.next() as u8));
    text
}

/// Which message of its sender it is.
pub fn number(text: &[u8]) -> u32 {
    u32::from_be_bytes(text[3..7].try_into().unwrap())
}

impl Accounts {
    /// The next message of a sender. It counts once the caller says that it is [`sent`](Self::sent).
    pub fn message(&self, from: usize, to: usize, channel: usize, len: usize) -> Vec<u8> {
        let n = self.next.get(&from).copied().unwrap_or_default();
        text(from, to, channel, n, len)
    }

    /// The message was taken, and these have to get it.
    pub fn sent(&mut self, from: usize, channel: usize, to: BTreeSet<usize>) {
        let next = self.next.entry(from).or_default();
        if !to.is_empty() {
            self.open.insert((from, *next), Sent { channel, to });
        }
        *next += 1;
    }

    /// A message has arrived, stamped with its source.
    pub fn got(&mut self, at: usize, stamp: usize, channel: usize, message: &[u8]) {
        let (n, len) = (number(message), message.len() - HEAD);
        let to = usize::from(message[1]);
        assert_ne!(stamp, at, "an echo");
        assert_eq!(
            message,
            text(stamp, to, channel, n, len),
            "{at} got what {stamp} did not send so"
        );
        assert!(to == at || to == EVERYONE, "{at} got what {stamp} sent to {to}");
        let last = self.last.insert((stamp, channel, at), n);
        assert!(last < Some(n), "{at} got number {n} of {stamp} on {channel} after {last:?}");
        self.delivered += 1;
        self.is_done(stamp, n, at);
    }

    fn is_done(&mut self, from: usize, n: u32, at: usize) {
        if let Some(sent) = self.open.get_mut(&(from, n)) {
            sent.to.remove(&at);
            if sent.to.is_empty() {
                self.open.remove(&(from, n));
            }
        }
    }

    fn excuse(&mut self, is_it: impl Fn(usize, usize, usize) -> bool) {
        let excused = &mut self.excused;
        self.open.retain(|(from, _), sent| {
            let before = sent.to.len();
            sent.to.retain(|to| !is_it(*from, *to, sent.channel));
            *excused += (before - sent.to.len()) as u64;
            !sent.to.is_empty()
        });
    }

    /// `who` closes: it may miss what is on its way to it, and what it has sent is not lost.
    pub fn closes(&mut self, who: usize) {
        self.excuse(|_, to, _| to == who);
        self.reports.remove(&who);
    }

    /// A connection of `who` has ended, or its link was cut: what was on its way may be lost.
    pub fn disconnected(&mut self, who: usize) {
        self.excuse(|from, to, _| from == who || to == who);
        self.reports.remove(&who);
    }

    /// Nobody sends `who` anything on that channel any more.
    pub fn left(&mut self, who: usize, channel: usize) {
        self.excuse(|_, to, on| to == who && on == channel);
    }

    /// The server gives a message up for one receiver; `told` is whether its sender will hear of it.
    pub fn gives_up(&mut self, from: usize, message: &[u8], at: usize, told: bool) {
        self.is_done(from, number(message), at);
        *self.reports.entry(from).or_default() += u32::from(told);
        self.failed += 1;
    }

    /// A sender has heard of a failure.
    pub fn reported(&mut self, from: usize) {
        let left = self.reports.get_mut(&from).expect("a failure that the server has not reported");
        *left = left.checked_sub(1).expect("a failure was reported twice");
    }

    /// Whether the server has everything that a client sent to it.
    pub fn is_complete(&self, from: usize) -> bool {
        !self.open.iter().any(|((by, _), sent)| *by == from && sent.to.contains(&SERVER))
    }

    /// Nothing is on its way any more.
    pub fn settle(&self) {
        if let Some(((from, n), Sent { channel, to })) = self.open.first_key_value() {
            panic!("{from} sent number {n} on {channel}: lost to {to:?} without a word");
        }
        assert!(self.reports.values().all(|left| *left == 0), "unheard: {:?}", self.reports);
    }
}
