//! What clients have sent and heard, and what must hold of it: messages arrive in order, at most once and unaltered, and
//! what does not arrive is reported to both sides. Clients go by numbers.
#![allow(unreachable_pub, reason = "a test has no public API")]

use std::collections::HashMap;

use pysock_proto::{PeerError, StreamId};

use crate::sim::{chance::Chance, peers::Heard};

/// What one client knows of what it sent to another, since the two last began anew.
#[derive(Default)]
pub struct Sender {
    /// Counts the beginnings; never goes back, not even when the client restarts.
    pub lineage: u32,
    pub sent: u32,
    undelivered: u32,
    unknown: u32,
    /// Under way: what they carry, and how much of it is sent.
    pub streams: Vec<(StreamId, Vec<u8>, usize)>,
    /// It remembers the whole lineage.
    whole: bool,
}

/// What one client has from another.
#[derive(Default)]
struct Receiver {
    /// The latest message: lineage and number at its sender.
    last: Option<(u32, u32)>,
    /// Since this side began anew.
    received: u32,
    lost: u32,
    streams: HashMap<u8, Vec<u8>>,
}

pub struct Ledger {
    /// (sender, receiver), here and below.
    sent: HashMap<(usize, usize), Sender>,
    got: HashMap<(usize, usize), Receiver>,
    /// With the lineage: how many arrived.
    arrived: HashMap<(usize, usize, u32), u32>,
    /// Streams are allowed.
    streams: bool,
}

/// A message that says whose it is; the rest follows from that.
fn text(from: usize, to: usize, lineage: u32, number: u32, len: usize) -> Vec<u8> {
    let mut text = vec![from as u8, to as u8];
    text.extend(lineage.to_be_bytes());
    text.extend(number.to_be_bytes());
    text.extend((len as u32).to_be_bytes());
    let mut chance = Chance(u64::from(lineage) << 32 | u64::from(number));
    text.extend((0..len).map(|_| chance.next() as u8));
    text
}

fn number(text: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(text[at..at + 4].try_into().unwrap())
}

/// The message has to be what its sender wrote.
fn assert_whole(at: usize, from: usize, message: &[u8]) {
    let (lineage, n, len) = (number(message, 2), number(message, 6), number(message, 10));
    assert_eq!(message, text(from, at, lineage, n, len as usize), "{from} to {at}");
}

impl Ledger {
    pub fn new(streams: bool) -> Self {
        let (sent, got, arrived) = Default::default();
        Ledger { sent, got, arrived, streams }
    }

    pub fn sender(&mut self, from: usize, to: usize) -> &mut Sender {
        self.sent.entry((from, to)).or_default()
    }

    /// The next message from one to another. It counts as sent once the caller says so.
    pub fn message(&mut self, from: usize, to: usize, len: usize) -> (&mut Sender, Vec<u8>) {
        let sender = self.sender(from, to);
        let message = text(from, to, sender.lineage, sender.sent, len);
        (sender, message)
    }

    /// A message has begun to arrive; without its text, it is one of a stream.
    fn begun(&mut self, at: usize, from: usize, message: Option<&[u8]>) {
        let got = self.got.entry((from, at)).or_default();
        got.received += 1;
        let Some(message) = message else { return };
        let id = (number(message, 2), number(message, 6));
        assert!(got.last < Some(id), "{from} to {at}: {id:?} after {:?}", got.last);
        got.last = Some(id);
        *self.arrived.entry((from, at, id.0)).or_default() += 1;
    }

    /// What `at` has heard of `from`, held against what must hold. `chunk` is the piece of a stream that came with it.
    pub fn hear(&mut self, at: usize, from: usize, heard: Heard, chunk: Option<Vec<u8>>) {
        match heard {
            Heard::Message(_, _, message) => {
                assert_whole(at, from, &message);
                self.begun(at, from, Some(&message));
            }
            Heard::Stream(what) => {
                let id = what.split_once("StreamId(").map(|(_, n)| n.split_once(')').unwrap().0);
                let id = id.or(what.split(' ').nth(1));
                let stream: u8 = id.unwrap().parse().unwrap();
                let kind = what.split(['(', ' ']).next().unwrap();
                let got = self.got.entry((from, at)).or_default();
                match kind {
                    "Begin" => {
                        assert!(got.streams.insert(stream, vec![]).is_none(), "begun twice");
                        self.begun(at, from, None);
                        // Which it is says only its text; it arrives with the first chunk.
                    }
                    "Chunk" => {
                        got.streams.get_mut(&stream).expect("begun").extend(chunk.unwrap());
                    }
                    "End" => {
                        let message = got.streams.remove(&stream).expect("begun");
                        assert_whole(at, from, &message);
                        let lineage = number(&message, 2);
                        *self.arrived.entry((from, at, lineage)).or_default() += 1;
                    }
                    "Aborted" => {
                        got.streams.remove(&stream).expect("begun");
                    }
                    "Credit" => {}
                    other => panic!("{other}"),
                }
            }
            Heard::Reset => {
                let got = self.got.entry((from, at)).or_default();
                // What had begun will not end: it is among what is reported lost.
                got.received -= got.streams.len() as u32;
                got.streams.clear();
                self.sender(at, from).streams.clear();
            }
            Heard::Open { fresh: true } => self.anew(at, from),
            Heard::Open { fresh: false } => {}
            Heard::Lost(n) => self.got.entry((from, at)).or_default().lost += n,
            Heard::Undelivered(n) => self.sender(at, from).undelivered += n,
            Heard::Unknown(n) => self.sender(at, from).unknown += n,
            Heard::Greeted { .. }
            | Heard::Verify(_)
            | Heard::Wanted
            | Heard::Patience
            | Heard::Closed(_)
            | Heard::Unanswered => {}
            Heard::Failed(PeerError::Protocol(..) | PeerError::Own | PeerError::Name) => {
                panic!("{at} of {from}: {heard:?}")
            }
            Heard::Failed(_) => {}
            Heard::OtherKey(_) | Heard::Offered(_) | Heard::Refused(..) => {
                panic!("{at} of {from}: {heard:?}")
            }
        }
    }

    /// `at` and `with` have begun anew, as `at` sees it.
    fn anew(&mut self, at: usize, with: usize) {
        self.settle(at, with);
        let sender = self.sender(at, with);
        let lineage = sender.lineage + 1;
        *sender = Sender { lineage, whole: true, ..Sender::default() };
        let got = self.got.entry((with, at)).or_default();
        (got.received, got.lost) = (0, 0);
        got.streams.clear();
    }

    /// A lineage is over: what has not arrived, its sender has heard of. Streams that were cut off count as arrived
    /// for their sender.
    fn settle(&mut self, from: usize, to: usize) {
        let Some(sender) = self.sent.get(&(from, to)) else { return };
        let arrived = self.arrived.get(&(from, to, sender.lineage)).copied().unwrap_or_default();
        let got = self.got.get(&(from, to)).map_or(0, |got| got.received);
        let missing = sender.sent.saturating_sub(arrived.max(got));
        let reported = sender.undelivered + sender.unknown;
        if sender.whole && sender.streams.is_empty() && !self.streams {
            assert!(missing <= reported, "{from} to {to}: {missing} missing, {reported} reported");
            assert!(reported <= sender.sent, "{from} to {to}: {reported} of {}", sender.sent);
        }
    }

    /// `at` restarts: what it had from `other` it has forgotten, and may not get again.
    pub fn forget(&mut self, at: usize, other: usize) {
        let sender = self.sender(at, other);
        *sender = Sender { lineage: sender.lineage + 1, ..Sender::default() };
        let got = self.got.entry((other, at)).or_default();
        *got = Receiver { last: got.last, ..Receiver::default() };
    }

    /// At the end, both sides know of every message what became of it.
    pub fn balance(&self, from: usize, to: usize) {
        let (sent, got) = (&self.sent[&(from, to)], &self.got[&(from, to)]);
        assert_eq!(
            got.received + got.lost,
            sent.sent,
            "{from} to {to}: {} received, {} lost, {} sent in {}",
            got.received,
            got.lost,
            sent.sent,
            sent.lineage
        );
        assert_eq!(sent.undelivered, got.lost, "{from} to {to}");
        assert_eq!(sent.unknown, 0, "{from} to {to}");
    }
}
