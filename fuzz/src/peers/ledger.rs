//! Who has said what to whom, and what was heard of it.

use std::collections::{BTreeMap, BTreeSet};

/// From, to.
type Pair = (usize, usize);

#[derive(Default)]
pub(super) struct Ledger {
    /// The number of the next message. It never goes back, not even when a client starts anew.
    next: BTreeMap<Pair, u32>,
    /// The latest message that was heard.
    last: BTreeMap<Pair, u32>,
    /// Large messages that were heard to their end.
    ended: BTreeSet<(Pair, u32)>,
    /// Large messages that are arriving, by stream.
    arriving: BTreeMap<(Pair, u8), Vec<u8>>,
}

const HEADER: usize = 9;

/// A message that says whose it is; the rest follows from that.
fn text((from, to): Pair, number: u32, len: usize) -> Vec<u8> {
    let mut text = vec![from as u8, to as u8, (len >> 8) as u8, len as u8, 0];
    text.extend(number.to_be_bytes());
    text.extend((0..len).map(|at| (number as u8).wrapping_add(at as u8) ^ (at >> 8) as u8));
    text
}

/// The number of a message, if it is what its sender wrote for this receiver.
fn number(pair: Pair, message: &[u8]) -> u32 {
    assert!(message.len() >= HEADER, "{pair:?}: cut short");
    let len = usize::from(message[2]) << 8 | usize::from(message[3]);
    let number = u32::from_be_bytes([message[5], message[6], message[7], message[8]]);
    assert_eq!(message, text(pair, number, len), "{pair:?}: not what was sent");
    number
}

impl Ledger {
    /// The next message.
    pub(super) fn message(&mut self, pair: Pair, len: usize) -> Vec<u8> {
        let number = self.next.entry(pair).or_default();
        *number += 1;
        text(pair, *number, len)
    }

    pub(super) fn hears(&mut self, pair: Pair, message: &[u8]) {
        let number = number(pair, message);
        let last = self.last.entry(pair).or_default();
        assert!(*last < number, "{pair:?}: {number} after {last}");
        *last = number;
    }

    /// The number of the latest message that was heard.
    pub(super) fn last(&self, pair: Pair) -> u32 {
        self.last.get(&pair).copied().unwrap_or_default()
    }

    /// The number of the latest message that was made.
    pub(super) fn made(&self, pair: Pair) -> u32 {
        self.next.get(&pair).copied().unwrap_or_default()
    }

    pub(super) fn begins(&mut self, pair: Pair, stream: u8) {
        let before = self.arriving.insert((pair, stream), vec![]);
        assert!(before.is_none(), "{pair:?}: stream {stream} begins twice");
    }

    pub(super) fn chunk(&mut self, pair: Pair, stream: u8, bytes: &[u8]) {
        self.arriving.get_mut(&(pair, stream)).expect("a stream that has begun").extend(bytes);
    }

    pub(super) fn ends(&mut self, pair: Pair, stream: u8) {
        let message = self.arriving.remove(&(pair, stream)).expect("a stream that has begun");
        let number = number(pair, &message);
        assert!(self.ended.insert((pair, number)), "{pair:?}: {number} ends twice");
    }

    pub(super) fn aborts(&mut self, pair: Pair, stream: u8) {
        assert!(self.arriving.remove(&(pair, stream)).is_some(), "what has not begun");
    }

    /// Every stream towards one client is over.
    pub(super) fn resets(&mut self, pair: Pair) {
        self.arriving.retain(|(of, _), _| *of != pair);
    }
}
