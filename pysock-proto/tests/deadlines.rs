//! Time as an adversary: exact deadlines on a virtual clock, nothing earlier than needed, nothing later.

mod sim;

use pysock_proto::{CloseReason, Error, Event, Instant, Limits};
use sim::{
    End, HANDSHAKE_BY, Setup, agree,
    hostile::{frame, kind},
};

/// Idle time of these tests in milliseconds, and how long a close is waited for.
const IDLE: u64 = 12_000;
const CLOSE: u64 = 5_000;

fn setup() -> Setup {
    let limits = Limits { idle_secs: 12, ..Limits::SMALL };
    Setup { client_limits: limits, server_limits: limits, ..Setup::default() }
}

/// Jumps to `at` and flushes.
fn jump(end: &mut End, at: u64) -> Result<Vec<u8>, Error> {
    end.now = Instant::from_millis(at);
    end.flushed()
}

fn deadline(end: &End) -> Option<u64> {
    end.conn.deadline().map(Instant::as_millis)
}

#[test]
fn one_deadline_covers_every_state_of_the_handshake() {
    let setup = setup();
    let ends = [
        setup.client(),
        setup.server(),
        setup.raw_client().1,
        setup.raw_server().1,
        // Message 3 is out, the welcome is not in; the handshake is complete, the policy has not decided.
        setup.hostile_server().1,
        undecided(&setup),
    ];
    for (state, mut end) in ends.into_iter().enumerate() {
        let _ = end.flushed().unwrap();
        assert_eq!(deadline(&end), Some(HANDSHAKE_BY), "state {state}");
        assert_eq!(jump(&mut end, HANDSHAKE_BY - 1), Ok(vec![]), "state {state}");
        assert_eq!(jump(&mut end, HANDSHAKE_BY), Err(Error::HandshakeTimeout), "state {state}");
        assert_eq!(
            jump(&mut end, HANDSHAKE_BY),
            Ok(vec![]),
            "no word for who is too slow: {state}"
        );
        assert!(end.conn.is_over());
        assert_eq!(deadline(&end), None);
    }
}

fn undecided(setup: &Setup) -> End {
    let (mut raw, mut server) = setup.raw_client();
    let third = raw.message(&sim::hostile::hello(&setup.client_limits, Some("n")));
    let mut asked = false;
    server.feed_once(&third, |event, _| asked |= matches!(event, Event::Admission(_))).unwrap();
    assert!(asked);
    server
}

#[test]
fn a_server_that_takes_its_time_to_admit_is_not_silent() {
    let limits = Limits { idle_secs: 2, ..Limits::SMALL };
    let setup = Setup { client_limits: limits, ..Setup::default() };
    let (mut hostile, mut client) = setup.hostile_server();
    assert_eq!(jump(&mut client, HANDSHAKE_BY - 1), Ok(vec![]), "no ping before the welcome");
    let record = hostile.record(&sim::hostile::welcome());
    client.feed(&record, usize::MAX, |_, _| ()).unwrap();
    assert_eq!(deadline(&client), Some(HANDSHAKE_BY - 1 + 1_000));
}

#[test]
fn pings_come_once_per_silence_and_a_dead_peer_is_noticed_exactly() {
    let (mut client, mut server) = setup().open();
    for (end, ping_at) in [(&mut client, IDLE / 2), (&mut server, IDLE / 4 * 3)] {
        assert_eq!(deadline(end), Some(ping_at));
        assert_eq!(jump(end, ping_at - 1), Ok(vec![]), "too early");
        // 2 bytes of length, frame header, 4 bytes, tag.
        assert_eq!(jump(end, ping_at).unwrap().len(), 2 + 3 + 4 + 16);
        assert_eq!(deadline(end), Some(IDLE), "one ping per silence");
        for at in [ping_at, ping_at + 1, IDLE - 1] {
            assert_eq!(jump(end, at), Ok(vec![]));
        }
        assert_eq!(jump(end, IDLE), Err(Error::Silent));
        assert!(end.conn.is_over());
        assert_eq!((deadline(end), jump(end, IDLE)), (None, Ok(vec![])));
    }
}

#[test]
fn an_answered_ping_starts_a_new_silence_on_both_sides() {
    let (mut client, mut server) = setup().open();
    for round in 1..=5 {
        let at = round * IDLE / 2;
        assert_eq!(deadline(&client), Some(at));
        (client.now, server.now) = (Instant::from_millis(at), Instant::from_millis(at));
        client.pump(&mut server, 3, |event, _| assert!(matches!(event, Event::Handled))).unwrap();
        assert_eq!(deadline(&server), Some(at + IDLE / 4 * 3));
        server.pump(&mut client, 3, |event, _| assert!(matches!(event, Event::Handled))).unwrap();
    }
}

#[test]
fn the_smaller_idle_limit_counts_on_both_sides() {
    for (ours, theirs) in [(8, 20), (20, 8), (8, 65_535)] {
        let setup = Setup {
            client_limits: Limits { idle_secs: ours, ..Limits::SMALL },
            server_limits: Limits { idle_secs: theirs, ..Limits::SMALL },
            ..Setup::default()
        };
        let (mut client, mut server) = setup.open();
        assert_eq!(deadline(&client), Some(4_000));
        assert_eq!(deadline(&server), Some(6_000));
        jump(&mut client, 7_999).unwrap();
        assert_eq!(jump(&mut client, 8_000), Err(Error::Silent));
        assert_eq!(jump(&mut server, 8_000), Err(Error::Silent));
    }
}

#[test]
fn forged_and_half_records_are_no_sign_of_life() {
    let (mut client, mut server) = setup().open();
    server.conn.close(CloseReason::Done);
    let wire = server.flushed().unwrap();
    client.now = Instant::from_millis(5_000);
    client.feed(&wire[..wire.len() - 1], usize::MAX, |_, _| ()).unwrap();
    assert_eq!(deadline(&client), Some(IDLE / 2));
}

#[test]
fn a_socket_that_takes_nothing_does_not_busy_the_loop() {
    let (mut client, _) = setup().open();
    client.tx = pysock_proto::TxBuf::new(vec![0; pysock_proto::MIN_TRANSMIT]);
    let envelope = sim::to_server(0);
    while client.conn.send(&mut client.tx.lend(), &envelope, &[0; 30]).is_ok() {}
    let mut wakes = vec![];
    while let Some(at) = deadline(&client) {
        wakes.push(at);
        assert!(wakes.len() < 10, "{wakes:?}");
        client.now = Instant::from_millis(at);
        let _ = client.flush();
    }
    assert_eq!(wakes, [IDLE / 2, IDLE]);
}

#[test]
fn an_unanswered_close_ends_at_its_own_deadline_and_nothing_follows_it() {
    let (mut hostile, mut server) = setup().hostile_client();
    server.now = Instant::from_millis(1_000);
    server.conn.close(CloseReason::Kicked);
    let frames = hostile.frames(&server.flushed().unwrap());
    assert_eq!(frames, [(kind::CLOSE, vec![CloseReason::Kicked.code()])]);
    assert_eq!(deadline(&server), Some(1_000 + CLOSE));
    // What would be answered at any other time.
    let text = [frame(kind::PING, b"abcd"), sim::hostile::begin(0, 1), frame(kind::CHUNK, &[0, 1])];
    let more = [&text.concat()[..], &frame(kind::END, &[0])].concat();
    let mut streamed = 0;
    server
        .feed(&hostile.record(&more), usize::MAX, |event, _| {
            streamed += usize::from(matches!(event, Event::Chunk { .. } | Event::End(_)));
        })
        .unwrap();
    assert_eq!(streamed, 2, "what was sent before the other side heard of the close arrives");
    assert_eq!(server.flushed(), Ok(vec![]), "nothing follows a close");
    assert_eq!(jump(&mut server, 1_000 + CLOSE - 1), Ok(vec![]));
    assert_eq!(jump(&mut server, 1_000 + CLOSE), Err(Error::CloseTimeout));
    assert_eq!(deadline(&server), None);
}

#[test]
fn no_ping_follows_a_close() {
    let limits = Limits { idle_secs: 4, ..Limits::SMALL };
    let (mut client, _) = Setup { client_limits: limits, ..Setup::default() }.open();
    client.conn.close(CloseReason::Done);
    assert!(!client.flushed().unwrap().is_empty());
    assert_eq!(deadline(&client), Some(4_000), "silence counts still");
    assert_eq!(jump(&mut client, 3_999), Ok(vec![]));
    assert_eq!(jump(&mut client, 4_000), Err(Error::Silent));
}

#[test]
fn a_close_that_is_answered_in_the_last_moment_is_no_timeout() {
    let (mut client, mut server) = setup().open();
    client.conn.close(CloseReason::Done);
    client.pump(&mut server, 9, agree).unwrap();
    let answer = server.flushed().unwrap();
    client.now = Instant::from_millis(CLOSE);
    client.feed(&answer, 9, |_, _| ()).unwrap();
    assert_eq!(client.flushed(), Ok(vec![]));
    assert!(client.conn.is_over());
}

#[test]
fn both_may_close_at_once() {
    let (mut client, mut server) = setup().open();
    client.conn.close(CloseReason::Done);
    server.conn.close(CloseReason::ShuttingDown);
    let (a, b) = (client.flushed().unwrap(), server.flushed().unwrap());
    let mut reasons = vec![];
    for (end, wire) in [(&mut client, b), (&mut server, a)] {
        end.feed(&wire, 1, |event, _| match event {
            Event::Closed(why) => reasons.push(why),
            other => panic!("{other:?}"),
        })
        .unwrap();
        assert_eq!(end.conn.end_of_input(), Ok(()));
        assert_eq!(end.flushed(), Ok(vec![]), "its close is out already");
        assert!(end.conn.is_over());
    }
    assert_eq!(reasons, [CloseReason::ShuttingDown, CloseReason::Done]);
}

#[test]
fn the_end_of_the_bytes_is_a_cut_in_every_state_but_after_a_close() {
    let setup = setup();
    let (client, server) = setup.open();
    let mut closing = setup.open().0;
    closing.conn.close(CloseReason::Done);
    closing.flushed().unwrap();
    let early = [setup.client(), setup.server(), setup.raw_client().1, setup.raw_server().1];
    let late = [setup.hostile_server().1, undecided(&setup), client, server, closing];
    for mut end in early.into_iter().chain(late) {
        assert_eq!(end.conn.end_of_input(), Err(Error::Truncated));
        assert!(end.conn.is_over());
        assert_eq!(end.conn.end_of_input(), Ok(()), "reported once");
        assert_eq!((end.flushed(), deadline(&end)), (Ok(vec![]), None));
    }
    let (mut client, mut server) = setup.open();
    server.conn.close(CloseReason::Kicked);
    server.pump(&mut client, 5, agree).unwrap();
    assert_eq!(client.conn.end_of_input(), Ok(()));
}
