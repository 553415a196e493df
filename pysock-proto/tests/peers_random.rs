//! Two to four clients, a server that does what it likes, and chance. Messages arrive in order, at most once and
//! unaltered; what does not arrive is reported to both sides; and once the server is honest again, everybody has open
//! sessions.
#![allow(clippy::print_stderr, reason = "a failing seed has to be seen")]

mod sim;

use std::collections::HashMap;

use pysock_proto::{
    CloseReason, Env, Kind, Limits, PeerError, SendError, StreamId, Unit, peer::Acquaintance,
};
use sim::peers::{Heard, Parcel, World};

const SEEDS: u64 = 300;
const STEPS: usize = 400;

/// SplitMix64.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// What one client knows of what it sent to another, since the two last began anew.
#[derive(Default)]
struct Sender {
    /// Counts the beginnings; never goes back, not even when the client restarts.
    lineage: u32,
    sent: u32,
    undelivered: u32,
    unknown: u32,
    streams: Vec<(StreamId, Vec<u8>, usize)>,
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

struct Game {
    world: World,
    rng: Rng,
    n: usize,
    sent: HashMap<(usize, usize), Sender>,
    got: HashMap<(usize, usize), Receiver>,
    /// (sender, receiver, lineage): how many arrived.
    arrived: HashMap<(usize, usize, u32), u32>,
    transit: Vec<Parcel>,
    log: Vec<String>,
}

/// Says how to see a failure again.
struct Guard(u64);

impl Drop for Guard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let command = "cargo test -p pysock-proto --test peers_random";
            eprintln!("seed {} fails; again: PEERS_SEED={} {command}", self.0, self.0);
        }
    }
}

/// A message that says whose it is; the rest follows from that.
fn text(from: usize, to: usize, lineage: u32, number: u32, len: usize) -> Vec<u8> {
    let mut text = vec![from as u8, to as u8];
    text.extend(lineage.to_be_bytes());
    text.extend(number.to_be_bytes());
    text.extend((len as u32).to_be_bytes());
    let mut rng = Rng(u64::from(lineage) << 32 | u64::from(number));
    text.extend((0..len).map(|_| rng.next() as u8));
    text
}

fn number(text: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(text[at..at + 4].try_into().unwrap())
}

impl Game {
    fn new(seed: u64) -> Self {
        let mut rng = Rng(seed);
        let n = 2 + rng.below(3);
        let limits = Limits {
            record: [256, 512, 1024][rng.below(3)],
            idle_secs: u16::MAX,
            window: [512, 4096][rng.below(2)],
            streams: rng.below(5) as u8,
            ..Limits::DESKTOP
        };
        let world = World::with(n, limits);
        let (sent, got, arrived) = Default::default();
        Game { world, rng, n, sent, got, arrived, transit: vec![], log: vec![] }
    }

    fn note(&mut self, what: impl FnOnce() -> String) {
        if std::env::var("PEERS_SEED").is_ok_and(|seed| !seed.contains("..")) {
            self.log.push(what());
            eprintln!("{:.150}", self.log.last().unwrap());
        }
    }

    fn pair(&mut self) -> (usize, usize) {
        let a = self.rng.below(self.n);
        (a, (a + 1 + self.rng.below(self.n - 1)) % self.n)
    }

    fn send(&mut self, a: usize, b: usize) {
        let len = [0, 1, 20, 150, 600][self.rng.below(5)];
        self.send_of(a, b, len);
    }

    fn send_of(&mut self, a: usize, b: usize, len: usize) {
        let sender = self.sent.entry((a, b)).or_default();
        let message = text(a, b, sender.lineage, sender.sent, len);
        match self.world.clients[a].send(&self.world.directory[b], &message) {
            Ok(()) => {
                sender.sent += 1;
                let what = format!("{a}->{b} message {}.{}", sender.lineage, sender.sent - 1);
                self.note(|| what);
            }
            Err(SendError::NotOpen | SendError::Full(_) | SendError::TooLong(_)) => {}
            Err(why) => panic!("{why}"),
        }
    }

    fn stream(&mut self, a: usize, b: usize) {
        let peer = self.world.directory[b];
        if !self.world.is_open(a, b) {
            return;
        }
        let len = self.rng.below(3000);
        let declared = self.rng.one_in(2);
        let sender = self.sent.entry((a, b)).or_default();
        let message = text(a, b, sender.lineage, sender.sent, len);
        let length = declared.then_some(message.len() as u64);
        match self.world.clients[a].with_peer(&peer, |to| to.begin(0, Kind::Message, length)) {
            Ok(stream) => {
                sender.sent += 1;
                sender.streams.push((stream, message, 0));
                let what = format!("{a}->{b} stream {}.{}", sender.lineage, sender.sent - 1);
                self.note(|| what);
            }
            Err(SendError::Streams | SendError::Full(_)) => {}
            Err(why) => panic!("{why}"),
        }
    }

    fn go_on(&mut self, a: usize, b: usize) {
        let peer = self.world.directory[b];
        if !self.world.is_open(a, b) {
            return;
        }
        let Some(sender) = self.sent.get_mut(&(a, b)) else { return };
        let client = &mut self.world.clients[a];
        sender.streams.retain_mut(|(stream, message, at)| {
            let rest = &message[*at..];
            if rest.is_empty() {
                return client.with_peer(&peer, |to| to.end(*stream)).is_err();
            }
            match client.with_peer(&peer, |to| to.chunk(*stream, rest)) {
                Ok(n) => *at += n,
                Err(SendError::NoCredit | SendError::Full(_)) => {}
                Err(why) => panic!("{why}"),
            }
            true
        });
    }

    /// What everybody has heard, held against what must hold.
    fn listen(&mut self) {
        for at in 0..self.n {
            for (from, heard) in std::mem::take(&mut self.world.clients[at].heard) {
                let short = match &heard {
                    Heard::Message(_, _, text) => format!("Message {text:.10?}"),
                    other => format!("{other:?}"),
                };
                self.note(|| format!("  {at} of {from}: {short}"));
                let chunk = match &heard {
                    Heard::Stream(what) if what.starts_with("Chunk") => {
                        self.world.clients[at].chunks.pop_front()
                    }
                    _ => None,
                };
                self.hear(at, from, heard, chunk);
            }
        }
    }

    fn whole(&mut self, at: usize, from: usize, message: &[u8]) {
        let (lineage, n, len) = (number(message, 2), number(message, 6), number(message, 10));
        assert_eq!(message, text(from, at, lineage, n, len as usize), "{from} to {at}");
    }

    fn begun(&mut self, at: usize, from: usize, message: Option<&[u8]>) {
        let got = self.got.entry((from, at)).or_default();
        got.received += 1;
        let Some(message) = message else { return };
        let id = (number(message, 2), number(message, 6));
        assert!(got.last < Some(id), "{from} to {at}: {id:?} after {:?}", got.last);
        got.last = Some(id);
        *self.arrived.entry((from, at, id.0)).or_default() += 1;
    }

    fn hear(&mut self, at: usize, from: usize, heard: Heard, chunk: Option<Vec<u8>>) {
        match heard {
            Heard::Message(_, _, message) => {
                self.whole(at, from, &message);
                self.begun(at, from, Some(&message));
            }
            Heard::Stream(what) => {
                let number =
                    what.split_once("StreamId(").map(|(_, n)| n.split_once(')').unwrap().0);
                let number = number.or(what.split(' ').nth(1));
                let stream: u8 = number.unwrap().parse().unwrap();
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
                        self.whole(at, from, &message);
                        let lineage = u32::from_be_bytes(message[2..6].try_into().unwrap());
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
                self.sent.entry((at, from)).or_default().streams.clear();
            }
            Heard::Open { fresh: true } => self.anew(at, from),
            Heard::Open { fresh: false } => {}
            Heard::Lost(n) => self.got.entry((from, at)).or_default().lost += n,
            Heard::Undelivered(n) => self.sent.entry((at, from)).or_default().undelivered += n,
            Heard::Unknown(n) => self.sent.entry((at, from)).or_default().unknown += n,
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
        let sender = self.sent.entry((at, with)).or_default();
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
        if sender.whole && sender.streams.is_empty() && self.world.limits.streams == 0 {
            assert!(missing <= reported, "{from} to {to}: {missing} missing, {reported} reported");
            assert!(reported <= sender.sent, "{from} to {to}: {reported} of {}", sender.sent);
        }
    }

    fn restart(&mut self, at: usize) {
        self.note(|| format!("{at} restarts"));
        self.world.restart(at);
        for other in 0..self.n {
            let sender = self.sent.entry((at, other)).or_default();
            *sender = Sender { lineage: sender.lineage + 1, ..Sender::default() };
            // What it had from others it has forgotten, and may not get again.
            let got = self.got.entry((other, at)).or_default();
            *got = Receiver { last: got.last, ..Receiver::default() };
        }
    }

    fn deliver(&mut self, parcel: &Parcel) {
        self.note(|| {
            let head = &parcel.bytes[..parcel.bytes.len().min(5)];
            format!(
                "{}=>{} {:?} {head:x?} {}",
                parcel.from,
                parcel.to,
                parcel.unit,
                parcel.bytes.len()
            )
        });
        self.world.deliver(parcel);
        self.listen();
    }

    /// What the server makes of a parcel on its way.
    fn mischief(&mut self, mut parcel: Parcel) {
        let at = self.rng.next() as usize;
        match self.rng.below(9) {
            0 | 1 => {}
            2 => {
                self.deliver(&parcel);
                self.deliver(&parcel);
            }
            3 => self.transit.push(parcel),
            4 if !parcel.bytes.is_empty() => {
                let at = at % parcel.bytes.len();
                parcel.bytes[at] ^= 1 << self.rng.below(8);
                self.deliver(&parcel);
            }
            5 => {
                parcel.bytes.truncate(1 + at % parcel.bytes.len());
                self.deliver(&parcel);
            }
            6 => {
                (parcel.from, parcel.to) = (parcel.to, parcel.from);
                self.deliver(&parcel);
            }
            7 => {
                parcel.from = at % self.n;
                self.deliver(&parcel);
            }
            _ => {
                let old = self.world.seen[at % self.world.seen.len()].clone();
                self.deliver(&old);
                self.deliver(&parcel);
            }
        }
    }

    fn forge(&mut self) {
        let Some(like) = self.world.seen.last().cloned() else { return };
        let step = [0x20, 0x21, 0x22, 0x23][self.rng.below(4)];
        let mut bytes = vec![step];
        let name = if step == 0x23 { 0..4 } else { 1..5 };
        bytes.extend(like.bytes.get(name).unwrap_or(&[0; 4]));
        bytes.push(1);
        let (from, to) = (like.to, like.from);
        self.deliver(&Parcel { from, to, unit: Unit::Handshake, bytes });
    }

    fn step(&mut self, evil: usize) {
        let (a, b) = self.pair();
        match self.rng.below(100) {
            0..35 => self.send(a, b),
            35..39 => self.stream(a, b),
            39..47 => self.go_on(a, b),
            47..64 => {
                let parcels = self.world.collect(a);
                self.transit.extend(parcels);
                self.listen();
            }
            64..92 => {
                for _ in 0..self.rng.below(6) {
                    if self.transit.is_empty() {
                        break;
                    }
                    let evil = self.rng.below(100) < evil;
                    let from = if evil { self.rng.below(self.transit.len()) } else { 0 };
                    let parcel = self.transit.remove(from);
                    if evil { self.mischief(parcel) } else { self.deliver(&parcel) }
                }
            }
            92..96 => {
                let jumps = [50, 130, 1_000, 1_000, 4_000, 4_000, 70_000, 3_700_000];
                let by = jumps[self.rng.below(jumps.len())];
                self.note(|| format!("{by} ms later"));
                self.world.advance(by);
            }
            96 => {
                let how = [Acquaintance::Known, Acquaintance::New];
                for (a, b) in [(a, b), (b, a)] {
                    let how = how[self.rng.below(2)];
                    let peer = self.world.directory[b];
                    let called = self.world.clients[a].handshake(&peer, how);
                    self.note(|| format!("{a} calls {b}: {how:?} {called:?}"));
                    if self.rng.one_in(2) {
                        break;
                    }
                }
            }
            97 if evil > 0 => self.forge(),
            98 if self.rng.one_in(2) => {
                self.note(|| format!("{a} reconnects"));
                self.world.reconnect(a);
            }
            99 if self.rng.one_in(4) => self.restart(a),
            99 if self.rng.one_in(3) => {
                self.note(|| format!("{a} closes {b}"));
                let (key, client) = (self.world.directory[b].key, &mut self.world.clients[a]);
                let env = Env { now: client.end.now, identity: &client.end.key };
                client.peers.close(&key, CloseReason::Done, &env);
            }
            _ => {}
        }
        assert!(self.transit.len() < 2_000);
    }

    /// An honest server, and time.
    fn settle_all(&mut self) {
        self.transit.clear();
        for round in 0.. {
            self.world.run();
            self.listen();
            let pairs = (0..self.n).flat_map(|a| (0..self.n).map(move |b| (a, b)));
            let shut: Vec<_> =
                pairs.filter(|&(a, b)| a != b && !self.world.is_open(a, b)).collect();
            if shut.is_empty() {
                return;
            }
            assert!(round < 100, "still shut: {shut:?}");
            for (a, b) in shut {
                let key = self.world.directory[b].key;
                if self.world.clients[a].peers.get(&key).is_none() {
                    let peer = self.world.directory[b];
                    let called = self.world.clients[a].handshake(&peer, Acquaintance::Known);
                    self.note(|| format!("{a} calls {b}: {called:?}"));
                }
            }
            self.note(|| "later".into());
            self.world.advance(2_000 + round * 77);
        }
    }

    fn end(&mut self) {
        self.settle_all();
        // One side may have lost the session and not know it yet.
        for _ in 0..3 {
            for a in 0..self.n {
                for b in (0..self.n).filter(|&b| b != a) {
                    self.send_of(a, b, 5);
                }
            }
            self.world.run();
            self.listen();
            self.settle_all();
        }
        for a in 0..self.n {
            for b in (0..self.n).filter(|&b| b != a) {
                let sent = &self.sent[&(a, b)];
                let got = &self.got[&(a, b)];
                assert_eq!(
                    got.received + got.lost,
                    sent.sent,
                    "{a} to {b}: {} received, {} lost, {} sent in {}",
                    got.received,
                    got.lost,
                    sent.sent,
                    sent.lineage
                );
                assert_eq!(sent.undelivered, got.lost, "{a} to {b}");
                assert_eq!(sent.unknown, 0, "{a} to {b}");
            }
        }
    }
}

fn play(seed: u64) {
    let _guard = Guard(seed);
    let mut game = Game::new(seed);
    let evil = [0, 2, 5, 15, 40][game.rng.below(5)];
    for a in 0..game.n {
        for b in a + 1..game.n {
            let how = [Acquaintance::Known, Acquaintance::New][game.rng.below(2)];
            game.world.handshake(a, b, how);
        }
        game.world.run();
        game.listen();
    }
    for _ in 0..STEPS {
        game.step(evil);
    }
    game.end();
}

#[test]
fn whatever_the_server_does_messages_come_in_order_once_or_are_reported() {
    if let Ok(seed) = std::env::var("PEERS_SEED") {
        let (first, last) = seed.split_once("..").unwrap_or((&seed, ""));
        let first: u64 = first.parse().unwrap();
        return (first..last.parse().unwrap_or(first + 1)).for_each(play);
    }
    std::thread::scope(|scope| {
        for part in 0..2 {
            scope.spawn(move || (0..SEEDS).filter(|seed| seed % 2 == part).for_each(play));
        }
    });
}
