//! The handshake against published vectors and, where none are published (psk0), against snow.

extern crate std;

use std::{string::String, vec, vec::Vec};

use super::*;
use crate::{
    crypto::{Ephemeral, Identity, Keypair, Suite, both},
    error::Error,
    key::{PublicKey, SecretKey},
};

/// ChaChaPoly of it is RustCrypto's.
type C = both::Both;

const SUITES: [(Suite, &str); 2] = [(Suite::ChaChaPoly, "ChaChaPoly"), (Suite::AesGcm, "AESGCM")];

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()).collect()
}

fn key(hex: &str) -> [u8; 32] {
    bytes(hex).try_into().unwrap()
}

#[derive(Default)]
struct Vector {
    name: String,
    fields: Vec<(String, String)>,
    messages: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Vector {
    fn field(&self, name: &str) -> &str {
        &self.fields.iter().find(|(n, _)| n == name).unwrap().1
    }
}

fn published() -> Vec<Vector> {
    let mut all: Vec<Vector> = vec![];
    for line in include_str!("../../tests/vectors/noise.txt").lines() {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["vector", _source, name] => {
                all.push(Vector { name: name.into(), ..Vector::default() })
            }
            ["message", payload, wire] => {
                let payload = if payload == "-" { vec![] } else { bytes(payload) };
                all.last_mut().unwrap().messages.push((payload, bytes(wire)));
            }
            [name, value] if !name.starts_with('#') => {
                all.last_mut().unwrap().fields.push((name.into(), value.into()));
            }
            _ => {}
        }
    }
    all
}

fn pattern_of(name: &str) -> Pattern {
    let known = [Pattern::XX, Pattern::XK, Pattern::KK];
    let is_it = |p: &Pattern| name.as_bytes().get(6..8) == Some(p.name(false));
    known.into_iter().find(is_it).unwrap()
}

fn suite_of(name: &str) -> Suite {
    let is_it = |(_, cipher): &&(Suite, &str)| name.split('_').nth(3) == Some(cipher);
    SUITES.iter().find(is_it).unwrap().0
}

/// What a pattern knows beforehand, of initiator and responder.
fn known<'a>(pattern: Pattern, i: &'a PublicKey, r: &'a PublicKey) -> [Option<&'a PublicKey>; 2] {
    match pattern {
        Pattern::XX => [None, None],
        Pattern::XK => [None, Some(r)],
        Pattern::KK => [Some(i), Some(r)],
    }
}

fn identity(hex: &str) -> Keypair<C> {
    Keypair::new(SecretKey::from_bytes(key(hex)))
}

#[test]
fn published_vectors_in_both_roles() {
    let all = published();
    assert_eq!(all.len(), 12, "XX, XK and KK, both suites, from cacophony and from snow");
    for v in all {
        let suite = suite_of(&v.name);
        let (a, b) = (identity(v.field("init_static")), identity(v.field("resp_static")));
        let prologue = bytes(v.field("init_prologue"));
        let (a_key, b_key, pattern) = (a.public(), b.public(), pattern_of(&v.name));
        let [initiator, responder] = known(pattern, &a_key, &b_key);
        let start = |role, e: &str| {
            let setup = Setup {
                role,
                pattern,
                suite,
                prologue: [&prologue[..3], &prologue[3..]],
                initiator,
                responder,
                psk: None,
            };
            HandshakeState::new::<C>(&setup, Ephemeral::new::<C>(key(v.field(e))))
        };
        let mut i = start(Role::Initiator, "init_ephemeral");
        let mut r = start(Role::Responder, "resp_ephemeral");
        let (handshake, transport) = v.messages.split_at(pattern.messages().into());
        for (step, (payload, wire)) in handshake.iter().enumerate() {
            let (writer, reader, from, to) =
                if step == 1 { (&mut r, &mut i, &b, &a) } else { (&mut i, &mut r, &a, &b) };
            assert!(!writer.reads_next() && reader.reads_next());
            let mut out = vec![0; writer.overhead() + payload.len()];
            writer.write::<C>(from, payload, &mut out).unwrap();
            assert_eq!(&out, wire, "{} message {step}", v.name);
            assert_eq!(reader.read::<C>(to, &mut out).unwrap(), payload);
        }
        if let Some((_, hash)) = v.fields.iter().find(|(n, _)| n == "handshake_hash") {
            assert_eq!(i.hash(), &key(hash));
        }
        assert_eq!(i.hash(), r.hash());
        assert!(i.is_complete() && r.is_complete());
        assert_eq!((i.remote(), r.remote()), (b.public(), a.public()));
        let ((mut i_out, mut i_in), (mut r_out, mut r_in)) = (i.split::<C>(), r.split::<C>());
        for (n, (payload, wire)) in transport.iter().enumerate() {
            // They go on taking turns: whoever did not write the last handshake message speaks first.
            let (out, inn) = if (n + handshake.len()) % 2 == 1 {
                (&mut r_out, &mut i_in)
            } else {
                (&mut i_out, &mut r_in)
            };
            let mut text = payload.clone();
            let tag = out.seal::<C>(suite, &mut text);
            assert_eq!([&text[..], &tag].concat(), *wire);
            inn.open::<C>(suite, &mut text, &tag).unwrap();
            assert_eq!(text, *payload);
        }
    }
}

/// Runs our side against snow's and returns both transports.
fn against_snow(
    (suite, cipher): (Suite, &str),
    pattern: Pattern,
    psk: Option<[u8; 32]>,
    we_start: bool,
) {
    let (ours, theirs) = (identity(&"11".repeat(32)), identity(&"22".repeat(32)));
    let (ours_key, theirs_key) = (ours.public(), theirs.public());
    let name = std::format!(
        "Noise_{}_25519_{cipher}_BLAKE2s",
        core::str::from_utf8(pattern.name(psk.is_some())).unwrap()
    );
    let (i, r) = if we_start { (&ours_key, &theirs_key) } else { (&theirs_key, &ours_key) };
    let [initiator, responder] = known(pattern, i, r);
    let secret = [0x22; 32];
    let mut builder = snow::Builder::new(name.parse().unwrap())
        .prologue(b"pysock/1 outer...")
        .unwrap()
        .local_private_key(&secret)
        .unwrap();
    if let Some(psk) = &psk {
        builder = builder.psk(0, psk).unwrap();
    }
    if pattern == Pattern::KK || (pattern == Pattern::XK && !we_start) {
        builder = builder.remote_public_key(&ours_key.0).unwrap();
    }
    let mut snow = if we_start {
        builder.build_responder().unwrap()
    } else {
        builder.build_initiator().unwrap()
    };
    let setup = Setup {
        role: if we_start { Role::Initiator } else { Role::Responder },
        pattern,
        suite,
        prologue: [b"pysock/1 outer", b"..."],
        initiator,
        responder,
        psk: psk.as_ref(),
    };
    let mut we = HandshakeState::new::<C>(&setup, Ephemeral::new::<C>([0x33; 32]));
    let payloads = [&b""[..], b"limits", b"limits and a name"];
    for payload in payloads.into_iter().take(pattern.messages().into()) {
        if we.reads_next() {
            let mut wire = [0; 256];
            let n = snow.write_message(payload, &mut wire).unwrap();
            assert_eq!(n, we.overhead() + payload.len());
            assert_eq!(we.read::<C>(&ours, &mut wire[..n]).unwrap(), payload);
        } else {
            let mut wire = vec![0; we.overhead() + payload.len()];
            we.write::<C>(&ours, payload, &mut wire).unwrap();
            let mut text = [0; 256];
            let n = snow.read_message(&wire, &mut text).unwrap();
            assert_eq!(&text[..n], payload);
        }
    }
    assert_eq!(we.remote(), theirs_key);
    assert_eq!(we.hash(), snow.get_handshake_hash());
    let (mut out, mut inn) = we.split::<C>();
    let mut snow = snow.into_transport_mode().unwrap();
    // Once across a rekeying, which snow leaves to its caller; elsewhere a few records will do.
    let records = if pattern == Pattern::XX && psk.is_none() && we_start { 0x1_0003 } else { 3u64 };
    let mut wire = [0; 64];
    for n in 0..records {
        if n == 0x1_0000 {
            snow.rekey_outgoing();
            snow.rekey_incoming();
        }
        let mut text = n.to_be_bytes();
        let tag = out.seal::<C>(suite, &mut text);
        let len = snow.read_message(&[&text[..], &tag].concat(), &mut wire).unwrap();
        assert_eq!(wire[..len], n.to_be_bytes());
        let len = snow.write_message(&n.to_le_bytes(), &mut wire).unwrap();
        let (text, tag) = wire[..len].split_last_chunk_mut().unwrap();
        inn.open::<C>(suite, text, tag).unwrap();
        assert_eq!(text, n.to_le_bytes());
    }
}

#[test]
fn snow_understands_us_and_we_understand_snow() {
    for suite in SUITES {
        for pattern in [Pattern::XX, Pattern::XK, Pattern::KK] {
            for psk in [None, Some([0x55; 32])] {
                for we_start in [true, false] {
                    against_snow(suite, pattern, psk, we_start);
                }
            }
        }
    }
}

#[test]
fn every_flipped_bit_of_a_handshake_is_noticed() {
    for pattern in [Pattern::XX, Pattern::XK, Pattern::KK] {
        for victim in 0..pattern.messages() {
            let (a, b) = (identity(&"11".repeat(32)), identity(&"22".repeat(32)));
            let message_len = { run(pattern, &a, &b, None).unwrap()[usize::from(victim)] };
            for bit in (0..message_len * 8).step_by(5) {
                let outcome = run(pattern, &a, &b, Some((victim, bit)));
                // An altered ephemeral is noticed at the latest by the message that follows it.
                assert!(outcome.is_err(), "{pattern:?} message {victim} bit {bit}");
            }
        }
    }
}

/// A whole handshake with one bit flipped; the lengths of its messages.
fn run(
    pattern: Pattern,
    a: &Keypair<C>,
    b: &Keypair<C>,
    flip: Option<(u8, usize)>,
) -> Result<Vec<usize>, Error> {
    let (a_key, b_key) = (a.public(), b.public());
    let [initiator, responder] = known(pattern, &a_key, &b_key);
    let start = |role, seed| {
        let setup = Setup {
            role,
            pattern,
            suite: Suite::ChaChaPoly,
            prologue: [b"p", b"q"],
            initiator,
            responder,
            psk: None,
        };
        HandshakeState::new::<C>(&setup, Ephemeral::new::<C>([seed; 32]))
    };
    let (mut i, mut r) = (start(Role::Initiator, 3), start(Role::Responder, 4));
    let mut lengths = vec![];
    for step in 0..pattern.messages() {
        let (writer, reader, from, to) =
            if step == 1 { (&mut r, &mut i, b, a) } else { (&mut i, &mut r, a, b) };
        let mut wire = vec![0; writer.overhead() + 5];
        writer.write::<C>(from, b"12345", &mut wire)?;
        lengths.push(wire.len());
        if let Some((at, bit)) = flip
            && at == step
        {
            wire[bit / 8] ^= 1 << (bit % 8);
        }
        reader.read::<C>(to, &mut wire)?;
    }
    let _: PublicKey = i.remote();
    if i.hash() == r.hash() { Ok(lengths) } else { Err(Error::Handshake) }
}
