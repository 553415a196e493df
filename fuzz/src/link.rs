//! `link`: two real connections, programs that use all they have, and whoever controls the path in between. What is
//! delivered is what was sent, in order, once and unaltered; a connection that ends well has delivered everything; and if
//! nobody interferes, nothing goes wrong.

mod journal;

use pysock_proto::{
    ChannelId, CloseReason, Envelope, Error, Event, Failure, Find, Kind, Limits, Party, PeerId,
    RequestId, StreamId,
};

use self::journal::Journal;
use crate::{
    crypto::Toy,
    end::{End, Setup, name},
    frames::limits,
    input::Input,
};

/// One direction: who sends, what it has said, and what is on its way.
struct Way {
    journal: Journal,
    wire: Vec<u8>,
    /// What was on its way is not what was sent any more.
    altered: bool,
    result: Result<(), Error>,
}

struct Link {
    /// The client, the server.
    ends: [End<Toy>; 2],
    /// From the client, from the server.
    ways: [Way; 2],
}

/// Operations of both sides, and of the one in between.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let mut setup = Setup::new(Limits { idle_secs: 60, ..limits(&mut input) });
    setup.server = Limits { idle_secs: 60, ..limits(&mut input) };
    setup.transmit = input.pick(&[420, 1_000, 5_000]);
    setup.pinned = input.flag();
    let (client, server) = setup.open::<Toy>();
    let way = || Way { journal: Journal::default(), wire: vec![], altered: false, result: Ok(()) };
    let mut link = Link { ends: [client, server], ways: [way(), way()] };
    while !input.is_empty() {
        let op = input.byte();
        let from = usize::from(op & 1);
        match op >> 1 & 0x1f {
            0..=15 => link.acts(from, op >> 1 & 0x0f, &mut input),
            16..=20 => link.flush(from),
            21..=25 => link.deliver(from, usize::MAX),
            26 => link.deliver(from, usize::from(input.word())),
            27 => {
                let millis = u64::from(input.byte()) * 100;
                link.ends.iter_mut().for_each(|end| end.later(millis));
            }
            28 => {}
            _ => link.mischief(from, &mut input),
        }
    }
    link.end();
}

impl Link {
    fn flush(&mut self, from: usize) {
        let way = &mut self.ways[from];
        match self.ends[from].flushed() {
            Ok(wire) => way.wire.extend(wire),
            // Silence, or an answer to its close that did not come: only time and interference do that.
            Err(error) => way.journal.broken = Some(error),
        }
        let word = self.ends[from].flushed().unwrap_or_default();
        self.ways[from].wire.extend(word);
    }

    /// Some bytes arrive.
    fn deliver(&mut self, from: usize, n: usize) {
        let way = &mut self.ways[from];
        let n = n.min(way.wire.len());
        let wire: Vec<u8> = way.wire.drain(..n).collect();
        let to = &mut self.ends[1 - from];
        if way.result.is_err() || to.conn.is_over() {
            return;
        }
        let journal = &mut way.journal;
        let mut halted = None;
        way.result = to.feed(&wire, |event, half| {
            journal.hears(&event);
            match event {
                Event::Closed(_) => half.conn.close(CloseReason::Done),
                Event::Stopped { stream, .. } => halted = Some(stream),
                _ => {}
            }
        });
        if let Some(stream) = halted {
            self.ways[1 - from].journal.halted(stream);
        }
    }

    /// What one side's program does.
    #[allow(clippy::collapsible_match, reason = "what is tried does not belong into a condition")]
    fn acts(&mut self, from: usize, what: u8, input: &mut Input<'_>) {
        let arg = input.byte();
        let stream = StreamId(arg & 3);
        let to_server = from == 0;
        let envelope = Envelope {
            channel: ChannelId(u16::from(arg & 3)),
            // Towards a client it is a source, which is never everyone.
            party: if to_server && arg & 4 == 4 {
                Party::Everyone
            } else if arg & 8 == 8 {
                Party::Peer(PeerId(9))
            } else {
                Party::Server
            },
            kind: match arg >> 4 & 3 {
                1 => Kind::Request(RequestId(arg.into())),
                2 => Kind::Reply(RequestId(arg.into())),
                _ => Kind::Message,
            },
        };
        let (end, other) = (from, 1 - from);
        let journal = &mut self.ways[from].journal;
        let bytes = journal.text(usize::from(arg));
        let conn = &mut self.ends[end].conn;
        let mut tx = self.ends[end].tx.lend();
        match what {
            0 => {
                if conn.send(&mut tx, &envelope, &bytes).is_ok() {
                    journal.says(&Event::Message { envelope, bytes: &bytes });
                }
            }
            1 => {
                let length = (arg & 1 == 1).then_some(u64::from(arg) * 3);
                if let Ok(stream) = conn.begin(&mut tx, &envelope, length) {
                    journal.says(&Event::Begin { stream, envelope, length });
                }
            }
            2 | 3 => {
                if let Ok(n @ 1..) = conn.chunk(&mut tx, stream, &bytes) {
                    journal.says(&Event::Chunk { stream, bytes: &bytes[..n] });
                }
            }
            4 => {
                if conn.end(&mut tx, stream).is_ok() {
                    journal.says(&Event::End(stream));
                }
            }
            5 => {
                let failure = Failure::TooLarge;
                if conn.abort(&mut tx, stream, failure).is_ok() {
                    journal.says(&Event::Aborted { stream, failure });
                }
            }
            6 => {
                let taken = self.ways[other].journal.consumes(stream);
                conn.consumed(stream, taken);
            }
            7 => {
                if conn.is_open() && self.ways[other].journal.stops(stream) {
                    conn.stop(stream, Failure::TooLarge);
                }
            }
            8 => {
                let name = "a/b".parse().expect("a channel");
                if let Ok(id) = conn.open_channel(&mut tx, &name) {
                    journal.says(&Event::Open { id, name });
                }
            }
            9 => {
                let (query, find) = (u16::from(arg), Find::Name(name("swat")));
                if conn.find(&mut tx, query, &find).is_ok() {
                    journal.says(&Event::Find { query, find });
                }
            }
            10 => {
                let (id, result) = (ChannelId(u16::from(arg)), Ok(()));
                if conn.answer_open(&mut tx, id, result).is_ok() {
                    journal.says(&Event::Opened { id, result });
                }
            }
            11 => {
                let query = u16::from(arg);
                if conn.answer_find(&mut tx, query, None).is_ok() {
                    journal.says(&Event::Found { query, peer: None });
                }
            }
            12 => {
                let (peer, unit) = (PeerId(7), pysock_proto::Unit::Record);
                let mut bytes = bytes;
                bytes.push(1);
                if conn.relay(&mut tx, peer, unit, &bytes).is_ok() {
                    journal.says(&Event::Relay { peer, unit, bytes: &mut bytes });
                }
            }
            13 => {
                let id = ChannelId(arg.into());
                if conn.leave_channel(&mut tx, id).is_ok() {
                    journal.says(&Event::Left(id));
                }
            }
            14 => {
                let failure = Failure::NotOnChannel;
                if conn.send_failed(&mut tx, &envelope, failure).is_ok() {
                    journal.says(&Event::Failed { envelope, failure });
                }
            }
            _ if arg == 77 => conn.close(CloseReason::Done),
            _ => {}
        }
    }

    /// What the one in between does to the bytes.
    fn mischief(&mut self, from: usize, input: &mut Input<'_>) {
        let way = &mut self.ways[from];
        let before = way.wire.clone();
        let at = usize::from(input.word()) % way.wire.len().max(1);
        let n = usize::from(input.byte()).min(way.wire.len() - at);
        match input.below(6) {
            0 if at < way.wire.len() => way.wire[at] ^= 1 << (n & 7),
            1 => drop(way.wire.drain(at..at + n)),
            2 => way.wire.truncate(at),
            // Whole records, or nearly: the first again, the first two in the other order.
            3 => {
                let first = record(&way.wire).to_vec();
                way.wire.splice(0..0, first);
            }
            4 => {
                let first = record(&way.wire).to_vec();
                let second = record(&way.wire[first.len()..]).len();
                way.wire.drain(..first.len());
                way.wire.splice(second..second, first);
            }
            _ => {
                // What one side says, it hears.
                let other = record(&self.ways[1 - from].wire).to_vec();
                self.ways[from].wire.splice(0..0, other);
            }
        }
        let way = &mut self.ways[from];
        way.altered |= way.wire != before;
    }

    /// Both sides say goodbye, and everything arrives that still can.
    fn end(&mut self) {
        self.ends.iter_mut().for_each(|end| end.conn.close(CloseReason::Done));
        for _ in 0..6 {
            for from in 0..2 {
                self.flush(from);
                self.deliver(from, usize::MAX);
            }
        }
        let untouched = !self.ways[0].altered && !self.ways[1].altered;
        let silent = self.ways.iter().any(|way| way.journal.broken.is_some());
        for from in 0..2 {
            let receiver = &mut self.ends[1 - from];
            let ended = receiver.conn.end_of_input();
            let way = &self.ways[from];
            if untouched && !silent {
                assert_eq!(way.result, Ok(()), "nobody interfered");
                assert!(way.journal.is_complete(), "nobody interfered: {:?}", way.journal);
            }
            if way.result.is_ok() && ended.is_ok() && way.journal.was_closed() {
                assert!(way.journal.is_complete(), "it ended well: {:?}", way.journal);
            }
            if receiver.conn.is_over() {
                let _ = receiver.flushed();
                receiver.assert_stays_over();
            }
        }
    }
}

/// The first record, or what there is of it.
fn record(wire: &[u8]) -> &[u8] {
    let len = wire.first_chunk().map_or(0, |len| usize::from(u16::from_be_bytes(*len)) + 2);
    &wire[..len.min(wire.len())]
}
