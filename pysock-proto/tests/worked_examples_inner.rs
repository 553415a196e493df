//! The worked examples of `docs/PROTOCOL-INNER.md`: real sessions between two clients with fixed inputs, compared byte
//! by byte with an independent implementation of Noise, rendered as text, and compared with what the document says.
//!
//! `PYSOCK_UPDATE_DOCS=1 cargo test -p pysock-proto --test worked_examples_inner` rewrites the section.

mod document;
mod independent;
mod sim;

use std::fmt::Write as _;

use document::{check_codes, check_section, counting, hex, section, state, unhex, value, wire};
use independent::{Inputs, Key, Transcript, handshake, labelled, public};
use pysock_proto::{
    CloseReason, Env, Failure, Identity, Keypair, Kind, PeerInfo, PeerRefusal, PeerTx, RequestId,
    SecretKey, Unit,
    peer::{Acquaintance, channel},
};
use sim::{
    C,
    peers::{Heard, Parcel, World},
};

const A: usize = 0;
const B: usize = 1;
const NAMES: [&str; 2] = ["616c696365", "626f62"];
/// Units of 1001 bytes, a window of 262 144, 4 streams: what every hello of the examples begins with.
const TAKES: &str = "03e9 00040000 04";
/// The prologue behind its text and the step of the first message: suite 1, pattern.
const KK: (&str, [u8; 2]) = ("KK", [1, 3]);
const XX: (&str, [u8; 2]) = ("XX", [1, 1]);

fn statics() -> [Key; 2] {
    [counting(0x00), counting(0xc0)]
}

/// The ephemeral secrets of the `n`th handshake, initiator's first.
fn ephemerals(n: u8) -> [Key; 2] {
    let tagged = |from| {
        let mut secret = counting(from);
        secret[31] = n;
        secret
    };
    [tagged(0x40), tagged(0x60)]
}

fn event(out: &mut String, who: usize, heard: &[Heard]) {
    for heard in heard {
        let what = match heard {
            Heard::Greeted { proven: true } => "is asked to answer; the other key is proven".into(),
            Heard::Greeted { proven: false } => "is asked to answer; nothing is proven".into(),
            Heard::Verify(_) => "is asked whether it trusts the other key; it does".into(),
            Heard::Open { fresh: true } => "the session is open, nothing comes before it".into(),
            Heard::Open { fresh: false } => "the session is open and follows the one before".into(),
            Heard::Reset => "all streams are over".into(),
            Heard::Lost(n) => format!("Lost {n}"),
            Heard::Undelivered(n) => format!("Undelivered {n}"),
            Heard::Closed(why) => format!("closed: {why:?}"),
            Heard::Wanted => "wants a new handshake".into(),
            Heard::Failed(why) => format!("the attempt has failed: {why}"),
            Heard::Message(..) | Heard::Refused(..) | Heard::Stream(_) => continue,
            other => panic!("{other:?} is no part of an example"),
        };
        writeln!(out, "{}: {what}", ["alice", "bob"][who]).unwrap();
    }
}

/// Two clients in conversation, and what the document says of them.
struct Talk {
    world: World,
    /// Handshakes so far.
    handshakes: u8,
    /// Of the present session: keys, labels and counters of what A and what B sends.
    keys: [Key; 2],
    labels: [u8; 2],
    counters: [u32; 2],
    id: Vec<u8>,
    /// Messages that each side has begun, those that are on no way to it any more, and those that it knows it has missed.
    begun: [u32; 2],
    gone: [u32; 2],
    missed: [u32; 2],
    out: String,
}

const ARROWS: [&str; 2] = ["alice → bob", "bob → alice"];

impl Talk {
    fn new() -> Self {
        let mut world = World::new(2);
        for (client, secret) in world.clients.iter_mut().zip(statics()) {
            // The connections to the server are there already; from now on only this key counts.
            client.end.key = Keypair::<C>::new(SecretKey::from_bytes(secret));
            client.info.key = client.end.key.public();
        }
        world.directory = world.clients.iter().map(|client| client.info).collect();
        Talk {
            world,
            handshakes: 0,
            keys: [[0; 32]; 2],
            labels: [0xff; 2],
            counters: [0; 2],
            id: vec![0; 8],
            begun: [0; 2],
            gone: [0; 2],
            missed: [0; 2],
            out: String::from("```text\n"),
        }
    }

    fn info(&self, at: usize) -> PeerInfo {
        self.world.directory[at]
    }

    /// What one client sends now has to be exactly one unit.
    fn one(&mut self, from: usize) -> Parcel {
        let mut parcels = self.world.collect(from);
        assert_eq!(parcels.len(), 1, "{parcels:?}");
        parcels.remove(0)
    }

    fn events(&mut self) {
        for at in [A, B] {
            self.world.poll(at);
            let heard = self.world.clients[at].take();
            event(&mut self.out, at, &heard);
        }
    }

    /// Runs a handshake that `i` has begun or is about to begin, up to the first record of each side. `continues`: of
    /// the initiator, of the responder.
    fn handshake(&mut self, pattern: (&str, [u8; 2]), i: usize, continues: [u8; 2]) {
        let r = 1 - i;
        let (name, suite_and_pattern) = pattern;
        let both = ephemerals(self.handshakes);
        // The keys are handed over in advance: an initiator may begin by itself.
        for (at, secret) in [(i, both[0]), (r, both[1])] {
            self.world.clients[at].ephemerals.push(secret);
        }
        if self.handshakes == 0 {
            let known = if name == "KK" { Acquaintance::Known } else { Acquaintance::New };
            self.world.handshake(i, r, known);
        }
        self.events();
        self.handshakes += 1;
        let labels = self.labels.map(|label| label.wrapping_add(1));
        let previous = hex(&self.id);
        let hello = |at: usize, continues: u8| {
            let [own, other] = [NAMES[at], NAMES[1 - at]];
            let (o, e) = (own.len() / 2, other.len() / 2);
            // A label says what the other side shall write, so it stands in the hello of its receiver.
            let label = labels[1 - at];
            format!("{TAKES} {label:02x} {continues:02x} {previous} {o:02x} {own} {e:02x} {other}")
        };
        let [first, second] = [hello(i, continues[0]), hello(r, continues[1])];
        let payloads = match name {
            "KK" => vec![first, second],
            _ => vec![String::new(), second, first],
        };
        let bytes: Vec<_> = payloads.iter().map(|text| unhex(text)).collect();
        let payload_bytes: Vec<&[u8]> = bytes.iter().map(|bytes| &bytes[..]).collect();
        let Transcript { protocol, messages, states, mut keys } = handshake(&Inputs {
            pattern: name,
            cipher: "ChaChaPoly",
            psk: None,
            prologue: [b"pysock/1 inner", &suite_and_pattern[..]].concat(),
            statics: [statics()[i], statics()[r]],
            ephemerals: both,
            payloads: &payload_bytes,
        });
        let attempt = public(&both[0])[..4].to_vec();
        let out = &mut self.out;
        writeln!(out, "{:<24}{protocol}", "protocol name").unwrap();
        writeln!(out, "{:<24}{}", "initiator", ["alice", "bob"][i]).unwrap();
        for (whose, secret) in [("initiator", both[0]), ("responder", both[1])] {
            writeln!(out, "{whose} ephemeral").unwrap();
            value(out, "  secret", &secret);
            value(out, "  public", &public(&secret));
        }
        value(out, "attempt", &attempt);
        state(out, "before message 1", states[0]);
        let mut pending = vec![];
        for (n, message) in messages.iter().enumerate() {
            let from = if n == 1 { r } else { i };
            // Behind its last message an initiator sends its first record at once.
            let mut parcels = self.world.collect(from);
            let parcel = parcels.remove(0);
            pending = parcels;
            let high = if name == "KK" { 0x00 } else { 0x10 };
            let expected = [&[high | (n as u8 + 1)][..], &attempt, message].concat();
            assert_eq!(parcel.unit, Unit::Handshake);
            assert_eq!(hex(&parcel.bytes), hex(&expected), "message {} of {protocol}", n + 1);
            self.world.deliver(&parcel);
            let out = &mut self.out;
            if !payloads[n].is_empty() {
                writeln!(out, "\npayload of message {}\n  {}", n + 1, payloads[n]).unwrap();
            } else {
                writeln!(out).unwrap();
            }
            writeln!(out, "{}, message {} (Relay 0x30)", ARROWS[from], n + 1).unwrap();
            wire(out, &expected);
            state(out, &format!("after message {}", n + 1), states[n + 1]);
            self.events();
        }
        self.id = states[messages.len()].0[..8].to_vec();
        if i == B {
            keys.reverse();
        }
        let before = std::mem::take(&mut self.counters);
        (self.keys, self.labels) = (keys, labels);
        let out = &mut self.out;
        writeln!(out).unwrap();
        value(out, "session id", &self.id);
        value(out, "key alice → bob", &keys[A]);
        value(out, "key bob → alice", &keys[B]);
        writeln!(out, "label alice → bob       {:02x}", labels[A]).unwrap();
        writeln!(out, "label bob → alice       {:02x}", labels[B]).unwrap();
        let parcel = if pending.is_empty() { self.one(i) } else { pending.remove(0) };
        assert!(pending.is_empty());
        let head = |at: usize| format!("{:08x} {:08x}", self.begun[at], before[at]);
        let heads = [head(i), head(r)];
        let received = [i, r].map(|at| format!("40 0008 {}", self.received(at)));
        let [of_i, of_r] = received.each_ref().map(|frame| (&frame[..], "Received"));
        // With XX the initiator says nothing before it is accepted.
        let first = if name == "KK" { &[of_i][..] } else { &[] };
        self.check(&parcel, &heads[0], first, true);
        let parcel = self.one(r);
        self.check(&parcel, &heads[1], &[of_r], true);
        if name != "KK" {
            self.owes(i, &[of_i]);
        }
    }

    /// What a client has of the other's messages: the next that it expects, and how many it has missed.
    fn received(&self, at: usize) -> String {
        format!("{:08x} {:08x}", self.begun[1 - at], self.missed[at])
    }

    /// Holds a record to what it has to be, renders it, and delivers it or not.
    fn check(&mut self, parcel: &Parcel, head: &str, frames: &[(&str, &str)], arrives: bool) {
        let from = parcel.from;
        let arrow = ARROWS[from];
        let joined: String = frames.iter().map(|(frame, _)| *frame).collect();
        let text = unhex(&format!("{head}{joined}"));
        let (label, counter) = (self.labels[from], self.counters[from]);
        let expected = labelled(&self.keys[from], label, counter, &text);
        assert_eq!(parcel.unit, Unit::Record);
        assert_eq!(hex(&parcel.bytes), hex(&expected), "{arrow} {head} {frames:?}");
        self.counters[from] += 1;
        let out = &mut self.out;
        if !out.ends_with("```text\n") {
            out.push('\n');
        }
        writeln!(out, "{arrow}, label {label:02x}, counter {counter} (Relay 0x31)").unwrap();
        let what = if counter == 0 { "number, records" } else { "number" };
        writeln!(out, "  text   {head}\n         {what}").unwrap();
        for (frame, what) in frames {
            writeln!(out, "  frame  {frame}\n         {what}").unwrap();
        }
        wire(out, &expected);
        let to = 1 - from;
        if arrives {
            self.missed[to] += std::mem::take(&mut self.gone[to]);
            self.world.deliver(parcel);
            self.events();
        } else {
            writeln!(out, "the server drops it").unwrap();
        }
    }

    /// Sends one message as one record with this frame.
    fn say(&mut self, from: usize, kind: Kind, text: &str, frame: (&str, &str), arrives: bool) {
        let (peer, number) = (self.info(1 - from), self.begun[from]);
        let send = |to: &mut PeerTx<'_, '_, C>| to.send(channel::DIRECT, kind, text.as_bytes());
        self.world.clients[from].with_peer(&peer, send).unwrap();
        self.begun[from] += 1;
        self.gone[1 - from] += u32::from(!arrives);
        let parcel = self.one(from);
        self.check(&parcel, &format!("{number:08x}"), &[frame], arrives);
    }

    /// What a client has written, or owes by itself, as one record with these frames.
    fn owes(&mut self, from: usize, frames: &[(&str, &str)]) {
        let (parcel, number) = (self.one(from), self.begun[from]);
        self.check(&parcel, &format!("{number:08x}"), frames, true);
    }

    /// A notice of `bob` for `alice`, who hears of it.
    fn notice(&mut self, text: &str, what: &str) {
        let parcel = self.one(B);
        assert_eq!((parcel.unit, hex(&parcel.bytes)), (Unit::Handshake, hex(&unhex(text))));
        if !self.out.ends_with("```text\n") {
            self.out.push('\n');
        }
        writeln!(self.out, "bob → alice (Relay 0x30)\n  {text}\n  {what}").unwrap();
        self.world.deliver(&parcel);
        self.events();
    }

    /// The same conversation goes on below another title.
    fn title(&mut self, title: &str) {
        write!(self.out, "```\n\n#### {title}\n\n```text\n").unwrap();
    }

    fn finish(mut self) -> String {
        self.out.push_str("```\n");
        self.out
    }
}

/// KK, and what travels in a session until it is closed.
fn conversation() -> String {
    let mut talk = Talk::new();
    talk.handshake(KK, A, [0, 0]);

    let hello = ("10 000d 0000 48656c6c6f2c20426f6221", "Message: \"Hello, Bob!\"");
    talk.say(A, Kind::Message, "Hello, Bob!", hello, true);
    let (ask, answer) = (Kind::Request(RequestId(1)), Kind::Reply(RequestId(1)));
    talk.say(B, ask, "time?", ("11 000b 0000 00000001 74696d653f", "Request 1: \"time?\""), true);
    let reply = ("12 000b 0000 00000001 31323a3030", "Reply 1: \"12:00\"");
    talk.say(A, answer, "12:00", reply, true);
    let ask = Kind::Request(RequestId(2));
    talk.say(B, ask, "?", ("11 0007 0000 00000002 3f", "Request 2: \"?\""), true);
    let peer = talk.info(B);
    let decline =
        |to: &mut PeerTx<'_, '_, C>| to.send_failed(channel::DIRECT, ask, Failure::NoResponder);
    talk.world.clients[A].with_peer(&peer, decline).unwrap();
    let declined = "18 000c 01 0000 00000000 00000002 06";
    talk.owes(A, &[(declined, "Failed: request 2, nobody answers requests here")]);

    talk.title("A gap");
    talk.say(A, Kind::Message, "one", ("10 0005 0000 6f6e65", "Message: \"one\""), false);
    talk.say(A, Kind::Message, "two", ("10 0005 0000 74776f", "Message: \"two\""), true);
    let received = format!("40 0008 {}", talk.received(B));
    talk.owes(B, &[(&received, "Received: 4 are dealt with, of which 1 was missed")]);

    talk.title("The handshake after the gap: counts go on, streams do not");
    talk.world.advance(125);
    talk.handshake(KK, B, [0, 1]);

    talk.title("A stream, and an hour later new keys; everything goes on");
    let begin = |to: &mut PeerTx<'_, '_, C>| {
        let stream = to.begin(channel::DIRECT, Kind::Message, Some(5)).unwrap();
        assert_eq!(to.chunk(stream, b"abc"), Ok(3));
        stream
    };
    let stream = talk.world.clients[A].with_peer(&peer, begin);
    let begin = "20 0014 00 00 0000 00000000 00000000 0000000000000005";
    let chunk = ("21 0004 00 616263", "Chunk: stream 0, \"abc\"");
    talk.owes(A, &[(begin, "Begin: stream 0, message, 5 bytes"), chunk]);
    talk.begun[A] += 1;
    talk.out.push_str("\nAn hour passes.\n\n");
    talk.world.advance(3_600_000);
    talk.handshake(KK, B, [1, 1]);
    let end = |to: &mut PeerTx<'_, '_, C>| {
        assert_eq!(to.chunk(stream, b"de"), Ok(2));
        to.end(stream).unwrap();
    };
    talk.world.clients[A].with_peer(&peer, end);
    let chunk = ("21 0003 00 6465", "Chunk: stream 0, \"de\"");
    talk.owes(A, &[chunk, ("22 0001 00", "End: stream 0")]);
    talk.owes(B, &[("26 0001 00", "Done: stream 0 is free again")]);

    talk.title("Close");
    let client = &mut talk.world.clients[A];
    let env = Env { now: client.end.now, identity: &client.end.key };
    client.peers.close(&peer.key, CloseReason::Done, &env);
    let close = format!("03 0009 00 {}", talk.received(A));
    talk.owes(A, &[(&close, "Close: done, with what has been received")]);
    let close = format!("03 0009 04 {}", talk.received(B));
    talk.owes(B, &[(&close, "Close: answered, with what has been received")]);
    assert!(talk.world.clients.iter().all(|client| client.peers.sessions().is_empty()));
    talk.finish()
}

fn first_contact() -> String {
    let mut talk = Talk::new();
    talk.handshake(XX, A, [0, 0]);
    talk.finish()
}

/// Notices: a first message that is refused, one that does not verify, a record for which there is no session.
fn notices() -> String {
    let mut talk = Talk::new();
    talk.world.clients[B].answers = false;
    let secret = ephemerals(0)[0];
    let attempt = hex(&public(&secret)[..4]);
    let begin = |talk: &mut Talk| {
        talk.world.clients[A].ephemerals.push(secret);
        talk.world.handshake(A, B, Acquaintance::Known);
        let parcel = talk.one(A);
        assert_eq!(hex(&parcel.bytes[..5]), format!("01{attempt}"));
        parcel
    };
    let parcel = begin(&mut talk);
    talk.world.deliver(&parcel);
    talk.world.clients[B].take();
    talk.notice(&format!("21 {attempt} 01"), "the attempt is refused: NotTrusted");

    let mut parcel = begin(&mut talk);
    *parcel.bytes.last_mut().unwrap() ^= 1;
    talk.world.deliver(&parcel);
    talk.notice(&format!("20 {attempt} 00"), "the first message of KK did not verify");

    let stray = Parcel { from: A, to: B, unit: Unit::Record, bytes: unhex("07 00002a 00") };
    talk.world.deliver(&stray);
    talk.notice("23 07 00002a 00", "no session for the record with label 07 and counter 42");
    talk.finish()
}

fn inputs() -> String {
    let mut out = String::from("```text\n");
    for (whose, secret) in ["alice", "bob"].into_iter().zip(statics()) {
        value(&mut out, &format!("{whose} static secret"), &secret);
        value(&mut out, &format!("{whose} static public"), &public(&secret));
    }
    out.push_str("```\n");
    out
}

fn examples() -> String {
    section([
        ("Inputs", inputs()),
        ("KK: each knows the other's key", conversation()),
        ("XX: first contact", first_contact()),
        ("Notices", notices()),
    ])
}

#[test]
fn the_document_says_what_the_code_does() {
    check_section("PROTOCOL-INNER.md", "worked_examples_inner", &examples());
}

#[test]
fn the_table_of_codes_is_that_of_the_code() {
    let document = document::read("PROTOCOL-INNER.md");
    check_codes(&document, "### 10.2 ", |code| format!("{:?}", PeerRefusal::from_code(code)));
}
