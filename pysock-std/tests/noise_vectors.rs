//! The primitives of this crate under published vectors of Noise, and connections over them against another implementation, snow.
//! The core has the same tests with RustCrypto.

use pysock_std::{
    crypto::Native,
    proto::{
        ClientSetup, Connection, Crypto, Env, Ephemeral, Event, Expect, Identity, Instant, Keypair,
        Limits, PeerId, RxBuf, SecretKey, ServerSetup, Suite, TxBuf,
    },
};

type C = Native;
type Key = [u8; 32];

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()).collect()
}

fn hmac(key: &Key, data: &[u8]) -> Key {
    let pad = |byte: u8| -> Vec<u8> {
        (0..64).map(|i| key.get(i).copied().unwrap_or_default() ^ byte).collect()
    };
    C::hash(&[&pad(0x5c), &C::hash(&[&pad(0x36), data])])
}

fn hkdf(ck: &Key, material: &[u8]) -> [Key; 2] {
    let temp = hmac(ck, material);
    let first = hmac(&temp, &[1]);
    [first, hmac(&temp, &[&first[..], &[2]].concat())]
}

fn seal(suite: Suite, key: &Key, n: u64, ad: &[u8], text: &[u8]) -> Vec<u8> {
    let mut out = text.to_vec();
    let tag = C::seal(suite, key, n, ad, &mut out);
    let mut back = out.clone();
    C::open(suite, key, n, ad, &mut back, &tag).unwrap();
    assert_eq!(back, text);
    out.extend(tag);
    out
}

/// Noise §5.2.
struct Symmetric {
    suite: Suite,
    h: Key,
    ck: Key,
    k: Option<(Key, u64)>,
}

impl Symmetric {
    fn mix_hash(&mut self, data: &[u8]) {
        self.h = C::hash(&[&self.h, data]);
    }

    fn mix_key(&mut self, material: Key) {
        let [ck, k] = hkdf(&self.ck, &material);
        (self.ck, self.k) = (ck, Some((k, 0)));
    }

    fn encrypt(&mut self, text: &[u8]) -> Vec<u8> {
        let out = match &mut self.k {
            None => text.to_vec(),
            Some((k, n)) => {
                *n += 1;
                seal(self.suite, k, *n - 1, &self.h, text)
            }
        };
        self.mix_hash(&out);
        out
    }
}

/// One vector: what its name says, and its lines.
fn check(name: &str, lines: &[(&str, &str)]) {
    let [_, pattern, _, cipher, _] = name.split('_').collect::<Vec<_>>()[..] else { panic!() };
    let suite = if cipher == "AESGCM" { Suite::AesGcm } else { Suite::ChaChaPoly };
    let field = |name: &str| lines.iter().find(|(n, _)| *n == name).map(|(_, value)| bytes(value));
    let key = |name: &str| -> Key { field(name).unwrap().try_into().unwrap() };
    let [si, sr] = [key("init_static"), key("resp_static")];
    let [ei, er] = [key("init_ephemeral"), key("resp_ephemeral")];
    let mut h = [0; 32];
    match name.len() {
        n @ 0..=32 => h[..n].copy_from_slice(name.as_bytes()),
        _ => h = C::hash(&[name.as_bytes()]),
    }
    let mut state = Symmetric { suite, h, ck: h, k: None };
    state.mix_hash(&field("init_prologue").unwrap());
    let (known, messages) = match pattern {
        "XX" => (vec![], vec!["e", "e ee s es", "s se"]),
        "XK" => (vec![sr], vec!["e es", "e ee", "s se"]),
        _ => (vec![si, sr], vec!["e es ss", "e ee se"]),
    };
    for secret in known {
        state.mix_hash(&C::public(&secret));
    }
    let vectors: Vec<_> = lines.iter().filter(|(name, _)| *name == "message").collect();
    let parts = |i: usize| {
        let (payload, wire) = vectors[i].1.split_once(' ').unwrap();
        (if payload == "-" { vec![] } else { bytes(payload) }, bytes(wire))
    };
    for (i, tokens) in messages.iter().enumerate() {
        let (s, e) = if i == 1 { (sr, er) } else { (si, ei) };
        let mut out = vec![];
        for token in tokens.split(' ') {
            // Each side computes it from its own secret; both have to come to the same.
            let mut dh = |a: Key, b: Key| {
                let shared = C::dh(&a, &C::public(&b)).unwrap();
                assert_eq!(C::dh(&b, &C::public(&a)), Ok(shared));
                state.mix_key(shared);
            };
            match token {
                "ee" => dh(ei, er),
                "es" => dh(ei, sr),
                "se" => dh(si, er),
                "ss" => dh(si, sr),
                "s" => out.extend(state.encrypt(&C::public(&s))),
                _ => {
                    out.extend(C::public(&e));
                    state.mix_hash(&C::public(&e));
                }
            }
        }
        let (payload, wire) = parts(i);
        out.extend(state.encrypt(&payload));
        assert_eq!(out, wire, "{name}, message {i}");
    }
    if let Some(hash) = field("handshake_hash") {
        assert_eq!(state.h.to_vec(), hash);
    }
    let keys = hkdf(&state.ck, &[]);
    let mut sent = [0; 2];
    for i in messages.len()..vectors.len() {
        let (payload, wire) = parts(i);
        let from = i % 2;
        assert_eq!(
            seal(suite, &keys[from], sent[from], &[], &payload),
            wire,
            "{name}, message {i}"
        );
        sent[from] += 1;
    }
}

#[test]
fn published_vectors() {
    let text = include_str!("../../pysock-proto/tests/vectors/noise.txt");
    let mut checked = 0;
    for vector in text.split("\nvector ").skip(1) {
        let mut lines = vector.lines();
        let name = lines.next().unwrap().split(' ').nth(1).unwrap();
        if name.contains("AESGCM") && !C::suites().contains(&2) {
            continue;
        }
        check(name, &lines.filter_map(|line| line.split_once(' ')).collect::<Vec<_>>());
        checked += 1;
    }
    assert_eq!(checked, 6 * C::suites().len());
}

/// What handshake messages carry: limits, flags, and the name `alice`.
const SERVER_HELLO: &str = "4000003c0004000004400000";
const CLIENT_HELLO: &str = "0200003c000004000104000005616c696365";

fn framed(message: &[u8]) -> Vec<u8> {
    [&u16::try_from(message.len()).unwrap().to_be_bytes(), message].concat()
}

/// A connection over our primitives, in one role and pattern, with snow on the other side.
fn against_snow(suite: Suite, xk: bool, we_start: bool) {
    let key = |seed: u8| Keypair::<C>::new(SecretKey::from_bytes([seed; 32]));
    let (ours, theirs) = (key(1), key(2));
    let env = Env { now: Instant::from_millis(0), identity: &ours };
    let by = Instant::from_millis(10_000);
    let ephemeral = Ephemeral::new::<C>([3; 32]);
    let (mut rx, mut tx) = (RxBuf::new(vec![0; 70_000]), TxBuf::new(vec![0; 4096]));
    let server_key = if we_start { theirs.public() } else { ours.public() };
    let name = "alice".parse().unwrap();
    let mut conn: Connection<C> = if we_start {
        let expect = if xk { Expect::Pinned(&server_key) } else { Expect::Unknown };
        let setup = ClientSetup { name: &name, limits: Limits::DESKTOP, expect, psk: None, suite };
        Connection::client(&setup, ephemeral, by)
    } else {
        let setup = ServerSetup { limits: Limits::DESKTOP, psk_required: false };
        Connection::server(&setup, ephemeral, by)
    };
    let prelude =
        [&b"PYSK"[..], &[1, suite as u8, if xk { 2 } else { 1 }, 0], &[0; 8][..]].concat();
    let prologue = [&b"pysock/1 outer"[..], &prelude].concat();
    let cipher = if suite == Suite::AesGcm { "AESGCM" } else { "ChaChaPoly" };
    let pattern = if xk { "XK" } else { "XX" };
    let builder =
        snow::Builder::new(format!("Noise_{pattern}_25519_{cipher}_BLAKE2s").parse().unwrap());
    let mut builder = builder.prologue(&prologue).unwrap().local_private_key(&[2; 32]).unwrap();
    if xk && !we_start {
        builder = builder.remote_public_key(server_key.as_bytes()).unwrap();
    }
    let mut snow =
        if we_start { builder.build_responder() } else { builder.build_initiator() }.unwrap();

    // Bytes to us, then what we have to say to them.
    let mut exchange = |wire: &[u8]| -> Vec<u8> {
        rx.space()[..wire.len()].copy_from_slice(wire);
        rx.filled(wire.len());
        while let Some(event) = conn.receive(&mut rx.lend(), &env).unwrap() {
            match event {
                Event::Verify(verify) => conn.accept(verify).unwrap(),
                Event::Admission(it) => conn.admit(it, PeerId(300), &env).unwrap(),
                Event::Welcome { id, suites } => assert_eq!((id.0, suites), (300, &[2, 1][..])),
                _ => {}
            }
        }
        conn.flush(&mut tx.lend(), &env).unwrap();
        let said = tx.sealed().to_vec();
        tx.written(said.len());
        said
    };
    let mut buffer = vec![0; 1024];
    let hello = |text: &str| bytes(&text.replace(' ', ""));
    // Welcome: number 300, suites 2 and 1.
    let welcome = bytes("010005ac02020201");
    if we_start {
        let said = exchange(&[]);
        assert_eq!(said[..16], prelude);
        snow.read_message(&said[18..], &mut buffer).unwrap();
        let n = snow.write_message(&hello(SERVER_HELLO), &mut buffer).unwrap();
        let said = exchange(&framed(&buffer[..n]));
        snow.read_message(&said[2..], &mut buffer).unwrap();
        let mut snow = snow.into_transport_mode().unwrap();
        let n = snow.write_message(&welcome, &mut buffer).unwrap();
        exchange(&framed(&buffer[..n]));
    } else {
        let n = snow.write_message(&[], &mut buffer).unwrap();
        let said = exchange(&[prelude, framed(&buffer[..n])].concat());
        snow.read_message(&said[2..], &mut buffer).unwrap();
        let n = snow.write_message(&hello(CLIENT_HELLO), &mut buffer).unwrap();
        let said = exchange(&framed(&buffer[..n]));
        let mut snow = snow.into_transport_mode().unwrap();
        let n = snow.read_message(&said[2..], &mut buffer).unwrap();
        let listed = [
            &[1, 0, C::suites().len() as u8 + 3, 0xac, 2, C::suites().len() as u8][..],
            C::suites(),
        ];
        assert_eq!(buffer[..n], listed.concat());
    }
    assert!(conn.is_open());
    assert_eq!(conn.remote(), Some(theirs.public()));
}

#[test]
fn snow_understands_us_and_we_understand_snow() {
    for suite in C::suites().iter().filter_map(|byte| Suite::from_byte(*byte)) {
        for xk in [false, true] {
            for we_start in [false, true] {
                against_snow(suite, xk, we_start);
            }
        }
    }
}
