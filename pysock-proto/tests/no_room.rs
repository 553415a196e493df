//! Full buffers, stuck sockets and mixed-up memory: nothing is lost, nothing falls out of step, nothing leaks across.

mod sim;

use pysock_proto::{
    Block, CloseReason, Error, Event, Failure, Find, Limits, MAX_QUESTIONS, MIN_TRANSMIT, RxBuf,
    SendError, TxBuf,
};
use sim::{
    End, Setup, agree,
    hostile::{begin, frame, kind},
    to_server,
};

fn tight() -> Setup {
    let limits = Limits { record: 256, streams: 4, window: 256, ..Limits::SMALL };
    Setup {
        client_limits: limits,
        server_limits: limits,
        transmit: MIN_TRANSMIT,
        ..Setup::default()
    }
}

/// Sends until nothing more fits, down to the last byte.
fn fill(end: &mut End) -> usize {
    let mut sent = 0;
    for len in [100, 10, 0] {
        while end.conn.send(&mut end.tx.lend(), &to_server(0), &vec![b'f'; len]).is_ok() {
            sent += 1;
        }
    }
    sent
}

fn count_messages(from: &mut End, to: &mut End) -> usize {
    let mut n = 0;
    from.pump(to, usize::MAX, |event, _| n += usize::from(matches!(event, Event::Message { .. })))
        .unwrap();
    n
}

#[test]
fn full_consumes_nothing_and_leaves_the_cipher_in_step() {
    let (mut client, mut server) = tight().open();
    let sent = fill(&mut client);
    let sealed = client.tx.sealed().to_vec();
    for _ in 0..1_000 {
        let full = client.conn.send(&mut client.tx.lend(), &to_server(0), b"too many");
        assert!(matches!(full, Err(SendError::Full(n)) if n > 0), "{full:?}");
    }
    assert_eq!(client.tx.sealed(), sealed, "refused sends seal nothing");
    assert_eq!(count_messages(&mut client, &mut server), sent);
    assert_eq!(client.conn.send(&mut client.tx.lend(), &to_server(0), b"again"), Ok(()));
    assert_eq!(count_messages(&mut client, &mut server), 1);
}

#[test]
fn full_names_the_bytes_that_are_missing() {
    let (mut client, mut server) = tight().open();
    fill(&mut client);
    client.flush().unwrap();
    let Err(SendError::Full(missing)) =
        client.conn.send(&mut client.tx.lend(), &to_server(0), &[1; 50])
    else {
        panic!("it fitted")
    };
    let wire = client.tx.sealed().to_vec();
    let (one_less, enough) = (usize::from(missing) - 1, usize::from(missing));
    server.feed(&wire, usize::MAX, |_, _| ()).unwrap();
    client.tx.written(one_less);
    let again = client.conn.send(&mut client.tx.lend(), &to_server(0), &[1; 50]);
    assert_eq!(again, Err(SendError::Full(1)));
    client.tx.written(enough - one_less);
    assert_eq!(client.conn.send(&mut client.tx.lend(), &to_server(0), &[1; 50]), Ok(()));
}

#[test]
fn what_is_too_long_can_never_fit_and_what_is_not_always_can() {
    for transmit in [MIN_TRANSMIT, 1_000, 70_000] {
        let setup = Setup { transmit, ..tight() };
        let (mut client, mut server) = setup.open();
        let longest = client.conn.longest_message(&client.tx.lend());
        let envelope = pysock_proto::Envelope {
            party: pysock_proto::Party::Everyone,
            kind: pysock_proto::Kind::Request(pysock_proto::RequestId(1)),
            ..to_server(1)
        };
        let too_long = client.conn.send(&mut client.tx.lend(), &envelope, &vec![0; longest + 1]);
        assert!(matches!(too_long, Err(SendError::TooLong(_))), "{too_long:?}");
        assert!(client.tx.is_empty());
        client.conn.send(&mut client.tx.lend(), &envelope, &vec![0; longest]).unwrap();
        assert_eq!(count_messages(&mut client, &mut server), 1);
    }
}

/// A chunk is as long as a frame can be, in the open record or behind it: of two frames of one length, both fit or none.
#[test]
fn a_chunk_takes_all_the_room_there_is() {
    let window = 100_000;
    for transmit in [MIN_TRANSMIT, 400, 700] {
        let limits = Limits { window, ..tight().client_limits };
        let setup = Setup { transmit, client_limits: limits, server_limits: limits, ..tight() };
        for filled in (0..=transmit - MIN_TRANSMIT / 2).step_by(5) {
            // The same each time: connections take their randomness from the setup.
            let with_that = || {
                let (mut client, _server) = setup.open();
                let stream = client.conn.begin(&mut client.tx.lend(), &to_server(0), None).unwrap();
                client.flush().unwrap();
                client.wire();
                for part in vec![b'f'; filled].chunks(100) {
                    let _ = client.conn.send(&mut client.tx.lend(), &to_server(0), part);
                }
                (client, stream)
            };
            let (mut client, stream) = with_that();
            let chunk = client.conn.chunk(&mut client.tx.lend(), stream, &[7; 1_000]);
            let message = |len: usize| {
                let (mut client, _) = with_that();
                let sealed = client.tx.sealed().len();
                let sent = client.conn.send(&mut client.tx.lend(), &to_server(0), &vec![7; len]);
                assert!(sent.is_ok() || client.tx.sealed().len() == sealed, "it acts, and fails");
                sent
            };
            // Before its bytes a chunk has one, and such a message two.
            match chunk {
                Ok(n) => {
                    assert_eq!(message(n - 1), Ok(()), "{transmit} {filled}: {n}");
                    let longer = message(n);
                    let refused =
                        matches!(longer, Err(SendError::Full(1..) | SendError::TooLong(_)));
                    assert!(refused, "{transmit} {filled}: {longer:?}");
                }
                Err(SendError::Full(_)) => {
                    assert!(matches!(message(0), Err(SendError::Full(1..))), "{transmit} {filled}");
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// Everything that can be owed at once fits the room that applications cannot take.
#[test]
fn all_replies_at_once_fit_beside_a_full_buffer() {
    let (mut hostile, mut server) = tight().hostile_client();
    // Four streams of the server's own, so that the hostile client can stop them.
    for _ in 0..4 {
        server.conn.begin(&mut server.tx.lend(), &to_server(0), None).unwrap();
    }
    hostile.frames(&server.flushed().unwrap());
    // Four streams towards it: two consume a window, one is stopped here, one ends.
    let mut text = vec![];
    for stream in 0..4 {
        text.extend(begin(stream, u64::MAX));
    }
    server.feed(&hostile.record(&text), usize::MAX, |_, _| ()).unwrap();
    for stream in [0, 1] {
        let chunk = frame(kind::CHUNK, &[&[stream][..], &[7; 200]].concat());
        server
            .feed(&hostile.record(&chunk), usize::MAX, |event, end| {
                if let Event::Chunk { stream, bytes } = event {
                    end.conn.consumed(stream, bytes.len());
                }
            })
            .unwrap();
    }
    server.conn.stop(pysock_proto::StreamId(2), Failure::TooLarge);
    let mut text = frame(kind::END, &[3]);
    for stream in 0..4 {
        text.extend(frame(kind::STOP, &[stream, 7]));
    }
    text.extend(frame(kind::PING, b"abcd"));
    fill(&mut server);
    server.feed(&hostile.record(&text), usize::MAX, |_, _| ()).unwrap();
    server.now = server.conn.deadline().unwrap();
    server.conn.close(CloseReason::Kicked);
    // One flush, and nothing is written to the socket in between.
    server.flush().unwrap();
    let frames = hostile.frames(&server.wire());
    let mut kinds: Vec<u8> = frames.iter().map(|f| f.0).filter(|k| *k != kind::MESSAGE).collect();
    assert_eq!(kinds.pop(), Some(kind::CLOSE), "last");
    kinds.sort_unstable();
    let (abort, stop, credit) = ([kind::ABORT; 4], [kind::STOP], [kind::CREDIT; 2]);
    let expected = [&[kind::PING, kind::PONG], &abort[..], &stop, &credit, &[kind::DONE]].concat();
    assert_eq!(kinds, expected);
}

#[test]
fn two_stuck_sockets_do_not_keep_either_side_from_reading() {
    let (mut client, mut server) = tight().open();
    let (mut to_server, mut to_client, mut sent) = (vec![], vec![], 0);
    for (end, wire) in [(&mut client, &mut to_server), (&mut server, &mut to_client)] {
        sent += fill(end);
        end.flush().unwrap();
        // The kernel took these, and nothing since.
        wire.extend(end.tx.sealed());
    }
    let (mut heard, mut answers) = (0, 0);
    for (end, wire) in [(&mut client, &to_client), (&mut server, &to_server)] {
        end.feed(wire, 33, |event, end| {
            if let Event::Message { envelope, bytes } = event {
                heard += 1;
                answers += usize::from(end.conn.send(&mut end.tx, &envelope, bytes).is_ok());
            }
        })
        .unwrap();
    }
    assert_eq!((heard, answers), (sent, 0));
}

#[test]
fn a_flood_of_pings_owes_one_pong() {
    let (mut hostile, mut server) = tight().hostile_client();
    fill(&mut server);
    for n in 0..200u32 {
        let ping = hostile.record(&frame(kind::PING, &n.to_be_bytes()));
        server.feed(&ping, usize::MAX, |_, _| ()).unwrap();
        server.flush().unwrap();
    }
    let frames = hostile.frames(&server.flushed().unwrap());
    let mut pongs = frames.iter().filter(|f| f.0 == kind::PONG);
    assert_eq!(pongs.next_back().unwrap().1, 199u32.to_be_bytes(), "the latest is answered");
}

#[test]
fn an_open_transmit_record_of_another_connection_is_refused() {
    let (mut a, _) = tight().open();
    let mut b = Setup { pinned: true, ..tight() }.open().0;
    a.conn.send(&mut a.tx.lend(), &to_server(0), b"for a's server only").unwrap();
    let (env_b, env_a) = (
        pysock_proto::Env { now: b.now, identity: &b.key },
        pysock_proto::Env { now: a.now, identity: &a.key },
    );
    let refused = b.conn.send(&mut a.tx.lend(), &to_server(0), b"x");
    assert_eq!(refused, Err(SendError::WrongBuffer));
    // Sealed bytes belong to their connection as well.
    a.conn.flush(&mut a.tx.lend(), &env_a).unwrap();
    let before = a.tx.sealed().to_vec();
    let refused = b.conn.send(&mut a.tx.lend(), &to_server(0), b"x");
    assert_eq!(refused, Err(SendError::WrongBuffer));
    b.conn.close(CloseReason::Done);
    assert_eq!(b.conn.flush(&mut a.tx.lend(), &env_b), Err(Error::WrongBuffer));
    assert_eq!(a.tx.sealed(), before);
}

#[test]
fn a_handshake_does_not_write_over_another_connections_record() {
    let (mut a, mut server) = tight().open();
    a.conn.send(&mut a.tx.lend(), &to_server(0), b"kept").unwrap();
    let mut b = tight().client();
    let env = pysock_proto::Env { now: b.now, identity: &b.key };
    assert_eq!(b.conn.flush(&mut a.tx.lend(), &env), Err(Error::WrongBuffer));
    assert_eq!(count_messages(&mut a, &mut server), 1);
    // Nor does a farewell in clear text.
    a.conn.send(&mut a.tx.lend(), &to_server(0), b"kept").unwrap();
    let mut c = tight().server();
    assert_eq!(c.feed(b"PYSK\x09", 5, |_, _| ()), Err(Error::Version(9)));
    let env = pysock_proto::Env { now: c.now, identity: &c.key };
    c.conn.flush(&mut a.tx.lend(), &env).unwrap();
    assert_eq!(count_messages(&mut a, &mut server), 1);
}

#[test]
fn a_buffer_too_small_for_a_handshake_is_named_not_waited_for() {
    for capacity in [0, 1, 31] {
        let mut client = tight().client();
        client.tx = TxBuf::new(vec![0; capacity]);
        let Err(Error::BufferTooSmall(needed)) = client.flush() else { panic!("{capacity}") };
        let mut client = tight().client();
        client.tx = TxBuf::new(vec![0; usize::from(needed)]);
        client.flush().unwrap();
        assert_eq!(client.tx.sealed().len(), usize::from(needed));
    }
}

#[test]
fn before_it_is_open_nothing_can_be_sent() {
    let mut client = tight().client();
    let mut tx = client.tx.lend();
    assert!(tx.sealed().is_empty());
    assert_eq!(client.conn.longest_message(&tx), 0);
    assert_eq!(client.conn.send(&mut tx, &to_server(0), b"x"), Err(SendError::NotOpen));
    let block = Block::new(&[0x10, 0, 3, 0, 0, 7], 3);
    let sent = client.conn.send_block(&mut tx, &to_server(0), block);
    assert_eq!(sent, (0, Err(SendError::NotOpen)));
    let received = client.conn.receive_block(&mut client.rx.lend(), &to_server(0)).unwrap();
    assert_eq!((received.0.bytes(), received.1), (&[][..], 0));
    assert_eq!(client.conn.limits(), &tight().client_limits);
}

#[test]
fn a_client_may_have_eight_questions_open_and_asks_again_after_an_answer() {
    let (mut client, mut server) = tight().open();
    let find = Find::Name("somebody".parse().unwrap());
    let ask = |client: &mut End, query| client.conn.find(&mut client.tx.lend(), query, &find);
    for query in 0..u16::from(MAX_QUESTIONS) {
        assert_eq!(ask(&mut client, query), Ok(()));
        client.pump(&mut server, usize::MAX, |_, _| ()).unwrap();
    }
    assert_eq!(ask(&mut client, 8), Err(SendError::Questions));
    server.conn.answer_find(&mut server.tx.lend(), 0, None).unwrap();
    server.pump(&mut client, usize::MAX, |_, _| ()).unwrap();
    assert_eq!(ask(&mut client, 8), Ok(()));
    assert_eq!(ask(&mut client, 9), Err(SendError::Questions));
}

#[test]
fn plain_text_received_by_one_connection_is_never_read_by_another() {
    let (mut client, mut server) = tight().open();
    for text in [b"one", b"two"] {
        client.conn.send(&mut client.tx.lend(), &to_server(0), text).unwrap();
    }
    let wire = client.flushed().unwrap();
    let mut others = [Setup { pinned: true, ..tight() }.open().1, tight().server()];
    server.feed_once(&wire, |_, _| ()).unwrap();
    for other in &mut others {
        let env = pysock_proto::Env { now: other.now, identity: &other.key };
        let got = other.conn.receive(&mut server.rx.lend(), &env).map(|_| ());
        assert_eq!(got, Err(Error::WrongBuffer));
    }
    let mut other = Setup { pinned: true, ..tight() }.open().1;
    let block = other.conn.receive_block(&mut server.rx.lend(), &to_server(0)).map(|_| ());
    assert_eq!(block, Err(Error::WrongBuffer));
    assert!(other.conn.is_over());
    let mut rest = vec![];
    server
        .feed(&[], 0, |event, _| {
            if let Event::Message { bytes, .. } = event {
                rest.push(bytes.to_vec());
            }
        })
        .unwrap();
    assert_eq!(rest, [b"two"], "nothing was taken");
}

#[test]
fn a_half_received_or_half_read_record_moves_to_other_memory() {
    let (mut client, mut server) = tight().open();
    for text in [b"one", b"two"] {
        client.conn.send(&mut client.tx.lend(), &to_server(0), text).unwrap();
    }
    let wire = client.flushed().unwrap();
    let mut heard = vec![];
    let mut hear = |event: Event<'_>, _: &mut sim::Half<'_>| {
        if let Event::Message { bytes, .. } = event {
            heard.push(bytes.to_vec());
        }
    };
    for at in 0..wire.len() {
        let (mut client, mut server) = tight().open();
        client.conn.send(&mut client.tx.lend(), &to_server(0), b"one").unwrap();
        let wire = client.flushed().unwrap();
        let at = at.min(wire.len() - 1);
        server.feed(&wire[..at], usize::MAX, |event, _| panic!("{event:?}")).unwrap();
        assert_eq!(server.rx.pending(), at);
        assert!(server.rx.move_to(vec![0; at.saturating_sub(1)]).is_err() || at == 0);
        server.rx = server.rx.move_to(vec![0; 300]).unwrap();
        server.feed(&wire[at..], 7, &mut hear).unwrap();
    }
    assert_eq!(heard.len(), wire.len());
    // With the first frame read and the second still there, in exactly as much memory as it takes.
    server.feed_once(&wire, |_, _| ()).unwrap();
    let n = server.rx.pending();
    let mut kept = server.rx.move_to(vec![0; n]).unwrap();
    assert_eq!(server.rx.pending(), 0, "the first memory is free");
    let env = pysock_proto::Env { now: server.now, identity: &server.key };
    let mut rx = kept.lend();
    let event = server.conn.receive(&mut rx, &env).unwrap();
    assert!(matches!(event, Some(Event::Message { bytes: b"two", .. })), "{event:?}");
}

#[test]
fn the_longest_record_in_a_buffer_one_byte_too_small_is_named_not_waited_for() {
    let limits = Limits { record: 65_535, ..Limits::DESKTOP };
    let setup = Setup { server_limits: limits, ..Setup::default() };
    let (mut client, mut server) = (setup.client(), setup.server());
    for _ in 0..3 {
        client.pump(&mut server, usize::MAX, agree).unwrap();
        server.pump(&mut client, usize::MAX, agree).unwrap();
    }
    for (len, capacity) in [(65_535u16, 65_535), (65_534, 65_535), (65_535, 65_536)] {
        let mut server = setup.open().1;
        server.rx = RxBuf::new(vec![0; capacity]);
        let got = server.feed(&len.to_be_bytes(), 2, |_, _| ());
        assert_eq!(got, Err(Error::BufferTooSmall(65_535)), "{len} {capacity}");
    }
    server.tx = TxBuf::new(vec![]);
    let got = server.conn.send(&mut server.tx.lend(), &to_server(0), b"");
    assert_eq!(got, Err(SendError::TooLong(0)));
}
