//! Strangers at the door: whatever is not a prelude is recognised at its first wrong byte, and answered coarsely.

mod sim;

use pysock_proto::{Alert, Error, Limits, RxBuf};
use sim::{
    End, Setup,
    hostile::{Raw, framed, hello, prelude},
};

/// Feeds `bytes` one at a time; says which one was too many, and why.
fn first_wrong(server: &mut End, bytes: &[u8]) -> Option<(usize, Error)> {
    bytes
        .iter()
        .enumerate()
        .find_map(|(at, byte)| server.feed(&[*byte], 1, |_, _| ()).err().map(|error| (at, error)))
}

/// What a server says in clear text behind its back, and that it says it once.
fn last_word(server: &mut End) -> Vec<u8> {
    server.flush().unwrap();
    let wire = server.wire();
    server.flush().unwrap();
    assert!(server.wire().is_empty(), "said twice");
    assert!(server.conn.is_over());
    assert_eq!(server.conn.deadline(), None);
    wire
}

#[test]
fn other_protocols_are_closed_at_their_first_wrong_byte_and_in_silence() {
    let strangers: [(&[u8], usize); 7] = [
        (b"GET / HTTP/1.1\r\n\r\n", 0),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 0),
        (b"SSH-2.0-OpenSSH_9.6\r\n", 0),
        (b"\0\0\0\0\0", 0),
        (b"PUT / HTTP/1.1\r\n", 1),
        (b"PYTHON", 2),
        (b"PYSICKS!", 3),
    ];
    for (bytes, at) in strangers {
        let mut server = Setup::default().server();
        assert_eq!(first_wrong(&mut server, bytes), Some((at, Error::NotPysock)));
        assert_eq!(last_word(&mut server), [], "a stranger gets no answer");
        assert_eq!(server.feed(b"P", 1, |_, _| ()), Err(Error::Ended));
    }
}

#[test]
fn every_wrong_byte_of_a_prelude_is_judged_when_it_arrives() {
    let cases: [(usize, u8, Error, Alert); 8] = [
        (4, 0, Error::Version(0), Alert::Version),
        (4, 2, Error::Version(2), Alert::Version),
        (5, 0, Error::Suite(0), Alert::Suite),
        (5, 0xff, Error::Suite(0xff), Alert::Suite),
        (6, 3, Error::Pattern(3), Alert::Pattern),
        (7, 0x02, Error::Flags(0x02), Alert::Pattern),
        (7, 0x81, Error::Flags(0x81), Alert::Pattern),
        (8, 1, Error::Flags(0), Alert::Pattern),
    ];
    for (at, byte, error, alert) in cases {
        let mut bytes = prelude(1, None);
        bytes[at] = byte;
        let mut server = Setup::default().server();
        assert_eq!(first_wrong(&mut server, &bytes), Some((at, error)));
        assert_eq!(last_word(&mut server), [0, 1, alert.code()]);
    }
    // A hint without its flag is wrong in any of its bytes.
    for at in 8..16 {
        let mut bytes = prelude(2, None);
        bytes[at] = 0x80;
        let mut server = Setup::default().server();
        assert_eq!(first_wrong(&mut server, &bytes), Some((at, Error::Flags(0))));
    }
}

#[test]
fn a_missing_psk_is_turned_away_before_any_cryptography() {
    let setup = Setup { psk_required: true, ..Setup::default() };
    let mut server = setup.server();
    assert_eq!(server.feed(&prelude(1, None), 16, |_, _| ()), Err(Error::PskRequired));
    assert_eq!(last_word(&mut server), [0, 1, Alert::Psk.code()]);
}

#[test]
fn any_prelude_cut_short_is_no_error_and_no_answer() {
    let whole = prelude(1, None);
    for len in 0..whole.len() {
        let mut server = Setup::default().server();
        server.feed(&whole[..len], 1, |event, _| panic!("{event:?}")).unwrap();
        assert_eq!(server.flushed(), Ok(vec![]));
        assert_eq!(server.conn.end_of_input(), Err(Error::Truncated));
        assert_eq!(last_word(&mut server), []);
    }
}

#[test]
fn a_full_buffer_costs_the_farewell_and_nothing_else() {
    let mut server = Setup::default().server();
    server.tx = pysock_proto::TxBuf::new(vec![0; 2]);
    assert_eq!(server.feed(b"PYSK\x07", 5, |_, _| ()), Err(Error::Version(7)));
    assert_eq!(last_word(&mut server), []);
}

/// XX and XK: the length of message 1, and the shortest of messages 2 and 3 (payload of one byte).
const LENGTHS: [(bool, usize, usize, usize); 2] = [(false, 32, 97, 65), (true, 48, 49, 65)];
const LONGEST: usize = 256;

#[test]
fn a_first_message_of_any_other_length_is_judged_at_its_header() {
    for (pinned, right, _, _) in LENGTHS {
        for len in (0..=300).chain([65_535]) {
            let mut server = Setup::default().server();
            let pattern = if pinned { 2 } else { 1 };
            server.feed(&prelude(pattern, None), 16, |_, _| ()).unwrap();
            let header = (len as u16).to_be_bytes();
            let got = server.feed(&header, 2, |event, _| panic!("{event:?}"));
            if len == right {
                assert_eq!(got, Ok(()));
            } else {
                assert_eq!(got, Err(Error::HandshakeLength(len as u16)), "{len}");
                assert_eq!(last_word(&mut server), [0, 1, Alert::Failed.code()]);
            }
        }
    }
}

#[test]
fn later_messages_of_impossible_length_are_judged_at_their_header() {
    for (pinned, _, shortest_2, shortest_3) in LENGTHS {
        let setup = Setup { pinned, ..Setup::default() };
        for len in (0..=300).chain([65_535]) {
            let header = (len as u16).to_be_bytes();
            let wrong = Err(Error::HandshakeLength(len as u16));
            let (_, mut client) = setup.raw_server();
            let got = client.feed(&header, 2, |event, _| panic!("{event:?}"));
            // A length of 1 announces an alert.
            let fits = len == 1 || (shortest_2..=LONGEST).contains(&len);
            assert_eq!(got, if fits { Ok(()) } else { wrong }, "message 2 of {len}");
            assert_eq!(client.flushed(), Ok(vec![]), "a client does not answer in clear text");
            let (_, mut server) = setup.raw_client();
            let got = server.feed(&header, 2, |event, _| panic!("{event:?}"));
            let fits = (shortest_3..=LONGEST).contains(&len);
            assert_eq!(got, if fits { Ok(()) } else { wrong }, "message 3 of {len}");
        }
    }
}

#[test]
fn a_possible_length_with_junk_in_it_does_not_verify() {
    for pinned in [false, true] {
        let setup = Setup { pinned, ..Setup::default() };
        for len in [98, 110, 256] {
            let (_, mut client) = setup.raw_server();
            let junk = framed(&vec![9; len]);
            assert_eq!(client.feed(&junk, 7, |_, _| ()), Err(Error::Handshake));
            let (_, mut server) = setup.raw_client();
            assert_eq!(server.feed(&junk, 7, |_, _| ()), Err(Error::Handshake));
            assert_eq!(last_word(&mut server), [0, 1, Alert::Failed.code()]);
        }
    }
}

#[test]
fn every_flipped_bit_of_a_handshake_is_noticed() {
    for pinned in [false, true] {
        let setup = Setup { pinned, ..Setup::default() };
        let (mut raw, _) = setup.raw_client();
        let third = raw.message(&hello(&setup.client_limits, Some("mallory")));
        for at in 2..third.len() {
            let (_, mut server) = setup.raw_client();
            let mut bad = third.clone();
            bad[at] ^= 0x10;
            assert_eq!(server.feed(&bad, usize::MAX, |_, _| ()), Err(Error::Handshake), "{at}");
        }
        let (mut raw, _) = setup.raw_server();
        let second = raw.message(&hello(&setup.server_limits, None));
        for at in 2..second.len() {
            let (_, mut client) = setup.raw_server();
            let mut bad = second.clone();
            bad[at] ^= 0x10;
            assert_eq!(client.feed(&bad, usize::MAX, |_, _| ()), Err(Error::Handshake), "{at}");
        }
    }
}

/// Points whose product with any secret is zero: RFC 7748 §6.1 asks for the check. 0, 1, p-1, p, p+1 and the two of
/// order 8 (cr.yp.to/ecdh.html), of which the second half is twice as well with the ignored top bit set.
fn low_order() -> Vec<[u8; 32]> {
    let hex = |text: &str| -> [u8; 32] {
        core::array::from_fn(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
    };
    let p = |low: u8| {
        let mut point = [0xff; 32];
        (point[0], point[31]) = (low, 0x7f);
        point
    };
    let mut one = [0; 32];
    one[0] = 1;
    let mut points = vec![
        [0; 32],
        one,
        p(0xec),
        p(0xed),
        p(0xee),
        hex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
        hex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    ];
    let with_top_bit = points.clone().into_iter().map(|mut point| {
        point[31] |= 0x80;
        point
    });
    points.extend(with_top_bit.collect::<Vec<_>>());
    points
}

#[test]
fn low_order_ephemerals_are_fatal_on_both_sides() {
    for point in low_order() {
        // XX mixes the first DH only in message 2, so the server notices when it answers.
        let mut server = Setup::default().server();
        server.feed(&[prelude(1, None), framed(&point)].concat(), usize::MAX, |_, _| ()).unwrap();
        assert_eq!(server.flush(), Err(Error::LowOrder));
        assert_eq!(last_word(&mut server), [0, 1, Alert::Failed.code()]);
        // XK already in message 1.
        let mut server = Setup::default().server();
        let first = framed(&[&point[..], &[0; 16]].concat());
        let got = server.feed(&[prelude(2, None), first].concat(), usize::MAX, |_, _| ());
        assert_eq!(got, Err(Error::LowOrder));
        for pinned in [false, true] {
            let (_, mut client) = Setup { pinned, ..Setup::default() }.raw_server();
            let second = framed(&[&point[..], &[0; 80]].concat());
            assert_eq!(client.feed(&second, usize::MAX, |_, _| ()), Err(Error::LowOrder));
        }
    }
}

#[test]
fn low_order_static_keys_are_fatal_although_they_are_sealed_well() {
    for point in low_order() {
        // Some points of low order are not even canonical, which is noticed first.
        let canonical = pysock_proto::PublicKey(point).is_canonical();
        let fatal = if canonical { Error::LowOrder } else { Error::KeyEncoding };
        let mut client = Setup::default().client();
        let mut raw = Raw::lying(false, point);
        let wire = client.flushed().unwrap();
        raw.read(&mut &wire[16..]);
        let second = raw.message(&hello(&Limits::DESKTOP, None));
        assert_eq!(client.feed(&second, 20, |e, _| panic!("{e:?}")), Err(fatal));
        let mut server = Setup::default().server();
        let mut raw = Raw::lying(true, point);
        let first = [prelude(1, None), raw.message(&[])].concat();
        server.feed(&first, 20, |_, _| ()).unwrap();
        raw.read(&mut &server.flushed().unwrap()[..]);
        let third = raw.message(&hello(&Limits::DESKTOP, Some("n")));
        assert_eq!(server.feed(&third, 20, |e, _| panic!("{e:?}")), Err(fatal));
    }
}

#[test]
fn a_pinned_key_of_low_order_is_refused_before_anything_is_sent() {
    for point in low_order() {
        let key = pysock_proto::PublicKey(point);
        let mut client = Setup::default().client_expecting(pysock_proto::Expect::Pinned(&key));
        assert_eq!(client.flush(), Err(Error::LowOrder));
        assert_eq!(client.wire(), []);
    }
}

#[test]
fn announced_limits_and_names_outside_their_rules_are_refused() {
    let good = Limits::DESKTOP;
    let bad = [
        Limits { record: 255, ..good },
        Limits { idle_secs: 0, ..good },
        Limits { window: 255, ..good },
        Limits { peers: 0, ..good },
    ];
    let mut hellos: Vec<Vec<u8>> = bad.iter().map(|l| hello(l, Some("name"))).collect();
    let long = "n".repeat(33);
    hellos.extend(["", "With Space", "UPPER", "*", "a/b", &long].map(|n| hello(&good, Some(n))));
    hellos.push(hello(&good, None));
    hellos.push(b"x".to_vec());
    for payload in hellos {
        let (mut raw, mut server) = Setup::default().raw_client();
        let got = server.feed(&raw.message(&payload), usize::MAX, |e, _| panic!("{e:?}"));
        assert_eq!(got, Err(Error::Hello));
        assert_eq!(last_word(&mut server), [0, 1, Alert::Failed.code()]);
    }
    for limits in bad {
        let (mut raw, mut client) = Setup::default().raw_server();
        let second = raw.message(&hello(&limits, None));
        assert_eq!(client.feed(&second, 9, |e, _| panic!("{e:?}")), Err(Error::Hello));
    }
}

#[test]
fn a_receive_buffer_that_can_never_serve_is_named() {
    let mut server = Setup::default().server();
    server.feed(&prelude(1, None), 16, |_, _| ()).unwrap();
    server.rx = RxBuf::new(vec![0; 33]);
    let mut raw = Raw::new(true, 1, None);
    assert_eq!(server.feed(&raw.message(&[]), 33, |_, _| ()), Err(Error::BufferTooSmall(34)));
}
