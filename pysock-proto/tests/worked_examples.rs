//! The worked examples of `docs/PROTOCOL.md`: real connections with fixed inputs, compared byte by byte with an
//! independent implementation of Noise, rendered as text, and compared with what the document says.
//!
//! `PYSOCK_UPDATE_DOCS=1 cargo test -p pysock-proto --test worked_examples` rewrites the section.

mod both;
mod document;
mod independent;
mod sim;

use std::fmt::Write as _;

use both::Both;
use document::{check_codes, check_section, counting, hex, section, state, unhex, value, wire};
use independent::{Inputs, Key, Transcript, handshake, public, record, record_with, rekey};
use pysock_proto::{
    Alert, ChannelId, ChannelName, ClientSetup, CloseReason, Connection, Envelope, Ephemeral,
    Event, Expect, Failure, Find, Fingerprint, Identity, Instant, Keypair, Kind, Limits, Name,
    Party, PeerId, PeerInfo, Psk, Refusal, RequestId, SecretKey, ServerSetup, StreamId, Suite,
    crypto::Crypto,
};
use sim::{C, End, HANDSHAKE_BY, Half};

const CLIENT_LIMITS: Limits = Limits::SMALL;
const SERVER_LIMITS: Limits = Limits::DESKTOP;
/// The payloads of messages 2 and 3, written by hand: limits, flags, and the name `alice`.
const SERVER_HELLO: &str = "4000 003c 00040000 04 40 0000";
const CLIENT_HELLO: &str = "0200 003c 00000400 01 04 0000 05 616c696365";
/// The number that the server gives to the client.
const CLIENT_NUMBER: PeerId = PeerId(300);

fn client_secret() -> Key {
    counting(0x00)
}

fn server_secret() -> Key {
    counting(0x20)
}

fn client_ephemeral() -> Key {
    counting(0x40)
}

fn server_ephemeral() -> Key {
    counting(0x60)
}

fn psk() -> Psk {
    Psk::new(*b"\xa0\xa1\xa2\xa3\xa4\xa5\xa6\xa7", counting(0x80))
}

/// Another client, of which only the key is seen.
fn bob() -> PeerInfo {
    let key = keypair(counting(0xc0)).public();
    PeerInfo { id: PeerId(301), key, name: Name::new("bob").unwrap() }
}

fn keypair(secret: Key) -> Keypair<C> {
    Keypair::new(SecretKey::from_bytes(secret))
}

#[derive(Clone, Copy, PartialEq)]
enum Side {
    Client,
    Server,
}
use Side::{Client, Server};

/// Two connections in conversation, and what the document says of them.
struct Talk<K: Crypto = C> {
    client: End<K>,
    server: End<K>,
    cipher: &'static str,
    keys: [Key; 2],
    /// Records that each side has sent.
    sent: [u64; 2],
    out: String,
}

/// The decisions of the examples: everything is accepted.
fn agree<K: Crypto>(event: Event<'_>, end: &mut Half<'_, K>) {
    let env = end.env;
    match event {
        Event::PskWanted(request) => {
            assert_eq!(request.hint(), psk().hint());
            end.conn.provide_psk(request, Some(&psk()), &env).unwrap();
        }
        Event::Verify(verify) => end.conn.accept(verify).unwrap(),
        Event::Admission(it) => end.conn.admit(it, CLIENT_NUMBER, &env).unwrap(),
        _ => {}
    }
}

impl Talk {
    /// With the first suite, and a server that has no other.
    fn new(xk: bool, with_psk: bool) -> Self {
        Self::with(Suite::ChaChaPoly, xk, with_psk)
    }
}

impl<K: Crypto> Talk<K> {
    /// Runs the handshake and renders it.
    fn with(suite: Suite, xk: bool, with_psk: bool) -> Self {
        let (server_key, psk) = (keypair(server_secret()).public(), psk());
        let setup = ClientSetup {
            name: &Name::new("alice").unwrap(),
            limits: CLIENT_LIMITS,
            expect: if xk { Expect::Pinned(&server_key) } else { Expect::Unknown },
            psk: with_psk.then_some(&psk),
            suite,
        };
        let by = Instant::from_millis(HANDSHAKE_BY);
        let conn = Connection::client(&setup, Ephemeral::new::<C>(client_ephemeral()), by);
        let mut client = End::<K>::new(conn, keypair(client_secret()), CLIENT_LIMITS, 4096);
        let setup = ServerSetup { limits: SERVER_LIMITS, psk_required: false };
        let conn = Connection::server(&setup, Ephemeral::new::<C>(server_ephemeral()), by);
        let mut server = End::<K>::new(conn, keypair(server_secret()), SERVER_LIMITS, 4096);

        let cipher = if suite == Suite::AesGcm { "AESGCM" } else { "ChaChaPoly" };
        let mut prelude = unhex("5059534b 01");
        prelude.push(suite as u8);
        prelude.push(if xk { 2 } else { 1 });
        prelude.push(u8::from(with_psk));
        prelude.extend(if with_psk { psk.hint() } else { [0; 8] });
        let (hello2, hello3) = (unhex(SERVER_HELLO), unhex(CLIENT_HELLO));
        let Transcript { protocol, messages, states, keys } = handshake(&Inputs {
            pattern: if xk { "XK" } else { "XX" },
            cipher,
            psk: with_psk.then_some(psk.expose()),
            prologue: [b"pysock/1 outer", &prelude[..]].concat(),
            statics: [client_secret(), server_secret()],
            ephemerals: [client_ephemeral(), server_ephemeral()],
            payloads: &[&[], &hello2, &hello3],
        });

        let mut out = String::from("```text\n");
        writeln!(out, "{:<24}{protocol}", "protocol name").unwrap();
        value(&mut out, "prelude", &prelude);
        state(&mut out, "before message 1", states[0]);
        for (i, message) in messages.iter().enumerate() {
            let (from, to) =
                if i == 1 { (&mut server, &mut client) } else { (&mut client, &mut server) };
            let wire = from.flushed().unwrap();
            let length = u16::try_from(message.len()).unwrap().to_be_bytes();
            let before = if i == 0 { &prelude[..] } else { &[] };
            let expected = [before, &length, message].concat();
            assert_eq!(hex(&wire), hex(&expected), "message {} of {protocol}", i + 1);
            to.feed(&wire, usize::MAX, agree).unwrap();
            writeln!(out).unwrap();
            let arrow = if i == 1 { "server → client" } else { "client → server" };
            match i {
                1 => writeln!(out, "payload of message 2    {SERVER_HELLO}").unwrap(),
                2 => writeln!(out, "payload of message 3    {CLIENT_HELLO}").unwrap(),
                _ => {}
            }
            value(
                &mut out,
                &format!("{arrow}, length and message {}", i + 1),
                &expected[before.len()..],
            );
            state(&mut out, &format!("after message {}", i + 1), states[i + 1]);
        }
        writeln!(out).unwrap();
        value(&mut out, "key client → server", &keys[0]);
        value(&mut out, "key server → client", &keys[1]);
        let mut talk = Talk { client, server, cipher, keys, sent: [0; 2], out };
        let welcome = match K::suites() {
            [1] => ("01 0004 ac02 01 01", "Welcome: number 300, one suite: 1"),
            _ => ("01 0005 ac02 02 0201", "Welcome: number 300, two suites: 2 and 1"),
        };
        talk.say(Server, &[welcome]);
        assert!(talk.client.conn.is_open() && talk.server.conn.is_open());
        talk
    }

    /// Flushes one side; what comes has to be one record with exactly these frames.
    fn say(&mut self, from: Side, frames: &[(&str, &str)]) {
        let (ours, theirs, i, arrow) = match from {
            Client => (&mut self.client, &mut self.server, 0, "client → server"),
            Server => (&mut self.server, &mut self.client, 1, "server → client"),
        };
        let text: Vec<u8> = frames.iter().flat_map(|(frame, _)| unhex(frame)).collect();
        let expected = record_with(self.cipher, &self.keys[i], self.sent[i], &text);
        let bytes = ours.flushed().unwrap();
        assert_eq!(hex(&bytes), hex(&expected), "{frames:?}");
        theirs.feed(&bytes, usize::MAX, agree).unwrap();
        writeln!(self.out, "\n{arrow}, record {}", self.sent[i]).unwrap();
        for (frame, what) in frames {
            writeln!(self.out, "  frame  {frame}\n         {what}").unwrap();
        }
        wire(&mut self.out, &bytes);
        self.sent[i] += 1;
    }

    fn finish(mut self) -> String {
        self.out.push_str("```\n");
        self.out
    }
}

const TEST: ChannelId = ChannelId(0);

fn envelope(party: Party, kind: Kind) -> Envelope {
    Envelope { channel: TEST, party, kind }
}

/// A short conversation with every frame that a simple client meets.
fn conversation() -> String {
    let mut talk = Talk::new(false, false);
    let to_server = envelope(Party::Server, Kind::Message);

    let (conn, tx) = (&mut talk.client.conn, &mut talk.client.tx);
    conn.open_channel(&mut tx.lend(), &ChannelName::new("test").unwrap()).unwrap();
    talk.say(Client, &[("06 0006 00 04 74657374", "Open: channel 0 is \"test\"")]);
    talk.server.conn.answer_open(&mut talk.server.tx.lend(), TEST, Ok(())).unwrap();
    talk.say(Server, &[("07 0002 00 00", "Opened: channel 0, no failure")]);

    let (conn, tx) = (&mut talk.client.conn, &mut talk.client.tx);
    conn.send(&mut tx.lend(), &to_server, b"Hello, World!").unwrap();
    talk.say(
        Client,
        &[("10 000f 0000 48656c6c6f2c20576f726c6421", "Message to the server: \"Hello, World!\"")],
    );
    let (conn, tx) = (&mut talk.server.conn, &mut talk.server.tx);
    conn.send(&mut tx.lend(), &to_server, b"Hello From Server").unwrap();
    talk.say(
        Server,
        &[(
            "10 0013 0000 48656c6c6f2046726f6d20536572766572",
            "Message from the server: \"Hello From Server\"",
        )],
    );

    let (conn, tx) = (&mut talk.client.conn, &mut talk.client.tx);
    let request = envelope(Party::Server, Kind::Request(RequestId(1)));
    conn.send(&mut tx.lend(), &request, b"time?").unwrap();
    talk.say(Client, &[("11 000b 0000 00000001 74696d653f", "Request 1 to the server: \"time?\"")]);
    let (conn, tx) = (&mut talk.server.conn, &mut talk.server.tx);
    let reply = envelope(Party::Server, Kind::Reply(RequestId(1)));
    conn.send(&mut tx.lend(), &reply, b"12:00").unwrap();
    talk.say(Server, &[("12 000b 0000 00000001 31323a3030", "Reply 1 from the server: \"12:00\"")]);

    peers(&mut talk);
    stream(&mut talk);

    writeln!(talk.out, "\n30 seconds pass in silence: half of the negotiated 60.").unwrap();
    (talk.client.now, talk.server.now) =
        (Instant::from_millis(30_000), Instant::from_millis(30_000));
    talk.say(Client, &[("04 0004 00000001", "Ping")]);
    talk.say(Server, &[("05 0004 00000001", "Pong, with the bytes of the ping")]);

    talk.client.conn.close(CloseReason::Done);
    talk.say(Client, &[("03 0001 00", "Close: done")]);
    talk.server.conn.close(CloseReason::Done);
    talk.say(Server, &[("03 0001 04", "Close: answered")]);
    talk.client.flush().unwrap();
    assert!(talk.client.conn.is_over() && talk.server.conn.is_over());
    talk.finish()
}

/// Another client: found, announced, heard, answered.
fn peers(talk: &mut Talk) {
    let bob = bob();
    let body = format!("ad02 {} 03 626f62", hex(bob.key.as_bytes()));
    let (conn, tx) = (&mut talk.client.conn, &mut talk.client.tx);
    conn.find(&mut tx.lend(), 9, &Find::Name(bob.name)).unwrap();
    let to_everyone = envelope(Party::Everyone, Kind::Message);
    conn.send(&mut tx.lend(), &to_everyone, b"hi").unwrap();
    talk.say(
        Client,
        &[
            ("09 0006 09 00 03 626f62", "Find: query 9, by name, \"bob\""),
            ("14 0008 0000 ffffffff 6869", "Message to everyone else on channel 0: \"hi\""),
        ],
    );
    let (conn, tx) = (&mut talk.server.conn, &mut talk.server.tx);
    conn.answer_find(&mut tx.lend(), 9, Some(&bob)).unwrap();
    conn.announce(&mut tx.lend(), &bob).unwrap();
    let from_bob = envelope(Party::Peer(bob.id), Kind::Message);
    conn.send(&mut tx.lend(), &from_bob, b"hi alice").unwrap();
    talk.say(
        Server,
        &[
            (&format!("0a 0028 09 01 {body}"), "Found: query 9, number 301, bob's key, \"bob\""),
            (&format!("0b 0026 {body}"), "Peer: number 301, bob's key, \"bob\""),
            ("14 000e 0000 0000012d 686920616c696365", "Message from number 301: \"hi alice\""),
        ],
    );
    let request = envelope(Party::Peer(PeerId(999)), Kind::Request(RequestId(2)));
    let (conn, tx) = (&mut talk.client.conn, &mut talk.client.tx);
    conn.send(&mut tx.lend(), &request, b"?").unwrap();
    talk.say(Client, &[("15 000b 0000 000003e7 00000002 3f", "Request 2 to number 999: \"?\"")]);
    let (conn, tx) = (&mut talk.server.conn, &mut talk.server.tx);
    conn.send_failed(&mut tx.lend(), &request, Failure::NoPeer).unwrap();
    talk.say(
        Server,
        &[(
            "18 000c 01 0000 000003e7 00000002 02",
            "Failed: request 2 to number 999, no such peer",
        )],
    );
}

/// A message as a stream, and one that its receiver stops.
fn stream(talk: &mut Talk) {
    let to_server = envelope(Party::Server, Kind::Message);
    let (conn, tx) = (&mut talk.client.conn, &mut talk.client.tx);
    let id = conn.begin(&mut tx.lend(), &to_server, Some(5)).unwrap();
    assert_eq!(conn.chunk(&mut tx.lend(), id, b"abc"), Ok(3));
    assert_eq!(conn.chunk(&mut tx.lend(), id, b"de"), Ok(2));
    conn.end(&mut tx.lend(), id).unwrap();
    talk.say(
        Client,
        &[
            (
                "20 0014 00 00 0000 00000000 00000000 0000000000000005",
                "Begin: stream 0, message to the server, 5 bytes",
            ),
            ("21 0004 00 616263", "Chunk: stream 0, \"abc\""),
            ("21 0003 00 6465", "Chunk: stream 0, \"de\""),
            ("22 0001 00", "End: stream 0"),
        ],
    );
    talk.say(Server, &[("26 0001 00", "Done: stream 0 is free again")]);

    let (conn, tx) = (&mut talk.client.conn, &mut talk.client.tx);
    conn.begin(&mut tx.lend(), &to_server, None).unwrap();
    talk.say(
        Client,
        &[(
            "20 0014 00 00 0000 00000000 00000000 ffffffffffffffff",
            "Begin: stream 0, message to the server, length unknown",
        )],
    );
    talk.server.conn.stop(StreamId(0), Failure::TooLarge);
    talk.say(Server, &[("24 0002 00 04", "Stop: stream 0, too large")]);
    talk.say(Client, &[("23 0002 00 08", "Abort: stream 0, cancelled")]);
    talk.say(Server, &[("26 0001 00", "Done: stream 0 is free again")]);
}

/// The rekeying rule, at the record where it first applies.
fn rekeying() -> String {
    let mut talk = Talk::new(false, false);
    let (first, frame) = (talk.keys[0], unhex("10 0002 0000"));
    let second = rekey(&first);
    let mut out = String::from("```text\n");
    value(&mut out, "k of records 0-65535", &first);
    value(&mut out, "k of records 65536-", &second);
    writeln!(out, "\nEach record holds one frame: 10 0002 0000\n").unwrap();
    let to_server = envelope(Party::Server, Kind::Message);
    for n in 0..65_538u64 {
        let (conn, tx) = (&mut talk.client.conn, &mut talk.client.tx);
        conn.send(&mut tx.lend(), &to_server, b"").unwrap();
        talk.client.flush().unwrap();
        let wire = talk.client.wire();
        let key = if n < 65_536 { &first } else { &second };
        assert_eq!(wire, record(key, n, &frame), "record {n}");
        talk.server.feed(&wire, usize::MAX, agree).unwrap();
        if n == 0 || n >= 65_535 {
            value(&mut out, &format!("record {n}"), &wire);
        }
    }
    out.push_str("```\n");
    out
}

fn inputs() -> String {
    let mut out = String::from("```text\n");
    let pairs = [
        ("client static", client_secret()),
        ("server static", server_secret()),
        ("client ephemeral", client_ephemeral()),
        ("server ephemeral", server_ephemeral()),
        ("bob static", counting(0xc0)),
    ];
    for (whose, secret) in pairs {
        value(&mut out, &format!("{whose} secret"), &secret);
        value(&mut out, &format!("{whose} public"), &public(&secret));
    }
    value(&mut out, "psk hint", &psk().hint());
    value(&mut out, "psk", psk().expose());
    out.push_str("```\n");
    out
}

fn texts() -> String {
    let mut out = String::from("```text\n");
    for (whose, secret) in [("client", client_secret()), ("server", server_secret())] {
        let key = keypair(secret);
        writeln!(out, "{whose} secret       {}", key.secret().to_text().expose()).unwrap();
        writeln!(out, "{whose} public       {}", key.public()).unwrap();
        let fingerprint = Fingerprint::of::<C>(&key.public());
        let start = [b"pysock/1 fingerprint", &public(&secret)[..]].concat();
        let plain: String = fingerprint.to_string().split('-').collect();
        assert_eq!(plain, hex(&independent::hash(&start)[..16]));
        writeln!(out, "{whose} fingerprint  {fingerprint}").unwrap();
    }
    writeln!(out, "psk with hint       {}", psk().to_text().expose()).unwrap();
    out.push_str("```\n");
    out
}

fn examples() -> String {
    section([
        ("Inputs", inputs()),
        ("Text forms", texts()),
        ("XX: first contact, and a conversation", conversation()),
        ("XK: the server's key is known", Talk::new(true, false).finish()),
        ("XX with a pre-shared key", Talk::new(false, true).finish()),
        ("XK with a pre-shared key", Talk::new(true, true).finish()),
        ("XX with suite 2", Talk::<Both>::with(Suite::AesGcm, false, false).finish()),
        (
            "XK with suite 2 and a pre-shared key",
            Talk::<Both>::with(Suite::AesGcm, true, true).finish(),
        ),
        ("Rekeying: client → server, keys of the first example", rekeying()),
    ])
}

#[test]
fn the_document_says_what_the_code_does() {
    check_section("PROTOCOL.md", "worked_examples", &examples());
}

#[test]
fn the_tables_of_codes_are_those_of_the_code() {
    let document = document::read("PROTOCOL.md");
    check_codes(&document, "## 7 ", |code| format!("{:?}", Alert::from_code(code)));
    check_codes(&document, "## 8 ", |code| format!("{:?}", Refusal::from_code(code)));
    check_codes(&document, "### 13.4 ", |code| format!("{:?}", Failure::from_code(code)));
    check_codes(&document, "## 17 ", |code| format!("{:?}", CloseReason::from_code(code)));
}
