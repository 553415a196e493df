//! Random hostility: mutated sessions, garbage before and after the handshake, forged tags. Nothing panics, and what
//! is delivered is what was sent.

mod sim;

use proptest::{collection::vec, prelude::*};
use pysock_proto::{CloseReason, Error, Event, Limits};
use sim::{
    End, Setup, agree,
    hostile::{frame, hello, prelude, welcome},
    to_server,
};

/// Feeds everything, deciding in favour, and gives the messages that came out before the first error.
fn survive(end: &mut End, wire: &[u8], chunk: usize) -> (Vec<Vec<u8>>, Option<Error>) {
    let mut heard = vec![];
    let result = end.feed(wire, chunk, |event, end| match event {
        Event::Message { bytes, .. } => heard.push(bytes.to_vec()),
        Event::Chunk { stream, bytes } => end.conn.consumed(stream, bytes.len()),
        other => agree(other, end),
    });
    // Whatever happened, the rest of the interface still answers.
    let _ = (end.flushed(), end.conn.deadline(), end.conn.end_of_input(), end.flushed());
    end.conn.close(CloseReason::Done);
    (heard, result.err())
}

#[test]
fn a_wrong_byte_anywhere_in_a_record_is_fatal() {
    let (mut client, _) = Setup::default().open();
    client.conn.send(&mut client.tx.lend(), &to_server(0), b"pay 10 to bob").unwrap();
    let wire = client.flushed().unwrap();
    for at in 2..wire.len() {
        for flip in [1, 0x80] {
            let mut bad = wire.clone();
            bad[at] ^= flip;
            let mut server = Setup::default().open().1;
            assert_eq!(server.feed(&bad, usize::MAX, |e, _| panic!("{e:?}")), Err(Error::Tag));
        }
    }
}

#[test]
fn repeated_swapped_and_reflected_records_are_fatal() {
    let (mut client, mut server) = Setup::default().open();
    let mut record = |text| {
        client.conn.send(&mut client.tx.lend(), &to_server(0), text).unwrap();
        client.flushed().unwrap()
    };
    let (one, two) = (record(b"one"), record(b"two"));
    let (heard, error) = survive(&mut server, &[&one[..], &one].concat(), 50);
    assert_eq!((heard, error), (vec![b"one".to_vec()], Some(Error::Tag)), "repeated");
    let (heard, error) = survive(&mut Setup::default().open().1, &two, 50);
    assert_eq!((heard, error), (vec![], Some(Error::Tag)), "dropped or swapped");
    let (heard, error) = survive(&mut client, &one, 50);
    assert_eq!((heard, error), (vec![], Some(Error::Tag)), "reflected");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn garbage_at_the_door(bytes in vec(any::<u8>(), 0..600), real in 0usize..17, pattern in 1u8..3) {
        let wire = [&prelude(pattern, None)[..real.min(16)], &bytes].concat();
        let (heard, _) = survive(&mut Setup::default().server(), &wire, 37);
        prop_assert!(heard.is_empty());
        let (_, mut client) = Setup { pinned: pattern == 2, ..Setup::default() }.raw_server();
        let (heard, _) = survive(&mut client, &bytes, 37);
        prop_assert!(heard.is_empty());
    }

    #[test]
    fn garbage_instead_of_a_record(bytes in vec(any::<u8>(), 0..3000)) {
        for mut end in [Setup::default().open().0, Setup::default().open().1] {
            let (heard, error) = survive(&mut end, &bytes, 100);
            prop_assert!(heard.is_empty());
            let whole = bytes.len() >= 2 + 1024;
            prop_assert!(!whole || error.is_some());
        }
    }

    #[test]
    fn sealed_garbage(texts in vec(vec(any::<u8>(), 3..200), 1..20)) {
        let (mut hostile, mut server) = Setup::default().hostile_client();
        let wire: Vec<u8> = texts.iter().flat_map(|text| hostile.record(text)).collect();
        survive(&mut server, &wire, 64);
        let (mut hostile, mut client) = Setup::default().hostile_server();
        let mut wire = hostile.record(&welcome());
        wire.extend(texts.iter().flat_map(|text| hostile.record(text)));
        survive(&mut client, &wire, 64);
    }

    /// Bodies at random behind types that exist: reaches deeper than bytes at random.
    #[test]
    fn sealed_frames_with_random_bodies(
        frames in vec((0u8..0x28, vec(0u8..6, 0..30)), 1..40),
        small in any::<bool>(),
    ) {
        let limits = if small { Limits::SMALL } else { Limits::DESKTOP };
        let setup = Setup { client_limits: limits, server_limits: limits, ..Setup::default() };
        for server_side in [true, false] {
            let (mut hostile, mut end) =
                if server_side { setup.hostile_client() } else { setup.hostile_server_welcomed() };
            let wire: Vec<u8> =
                frames.iter().flat_map(|(kind, body)| hostile.record(&frame(*kind, body))).collect();
            survive(&mut end, &wire, 64);
        }
    }

    #[test]
    fn random_hellos(payload in vec(any::<u8>(), 0..150), name in "[a-z ]{0,34}") {
        for payload in [payload, hello(&Limits::SMALL, Some(&name))] {
            if payload.is_empty() {
                continue;
            }
            let (mut raw, mut server) = Setup::default().raw_client();
            let (_, error) = survive(&mut server, &raw.message(&payload), 64);
            prop_assert!(matches!(error, None | Some(Error::Hello)), "{:?}", error);
            let (mut raw, mut client) = Setup::default().raw_server();
            let (_, error) = survive(&mut client, &raw.message(&payload), 64);
            prop_assert!(matches!(error, None | Some(Error::Hello)), "{:?}", error);
        }
    }

    /// Whatever is done to the bytes of a valid session, what is delivered is a prefix of what was sent.
    #[test]
    fn a_mutated_session_delivers_a_true_prefix(
        messages in vec(vec(any::<u8>(), 0..300), 1..12),
        (at, how, byte) in (any::<prop::sample::Index>(), 0u8..5, any::<u8>()),
    ) {
        let (mut client, mut server) = Setup::default().open();
        let mut wire = vec![];
        for message in &messages {
            client.conn.send(&mut client.tx.lend(), &to_server(0), message).unwrap();
            wire.extend(client.flushed().unwrap());
        }
        let at = at.index(wire.len());
        match how {
            0 => wire[at] ^= byte | 1,
            1 => drop(wire.remove(at)),
            2 => wire.insert(at, byte),
            3 => wire.truncate(at),
            _ => wire.rotate_left(at),
        }
        let (heard, error) = survive(&mut server, &wire, 97);
        prop_assert!(heard.len() <= messages.len() && heard[..] == messages[..heard.len()]);
        let all = heard.len() == messages.len();
        prop_assert!(error.is_some() || how == 3 || all || server.rx.pending() > 0);
    }
}
