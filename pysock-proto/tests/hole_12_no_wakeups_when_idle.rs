//! Hole 12: the seed used a whole core while nothing happened. The core wakes at its deadlines and at nothing else.

mod sim;

use pysock_proto::{Event, Instant, Limits};
use sim::{End, Setup};

/// An hour in which nobody says anything: wake-ups of both sides, each at its deadline.
#[test]
fn an_idle_hour_costs_one_ping_and_one_pong_per_half_idle_time() {
    let limits = Limits { idle_secs: 60, ..Limits::SMALL };
    let setup = Setup { client_limits: limits, server_limits: limits, ..Setup::default() };
    let (mut client, mut server) = setup.open();
    let (mut client_wakes, mut server_wakes, mut bytes) = (0, 0, 0);
    let hour = Instant::from_millis(3_600_000);
    loop {
        let (c, s) = (client.conn.deadline().unwrap(), server.conn.deadline().unwrap());
        let now = c.min(s);
        if now > hour {
            break;
        }
        (client.now, server.now) = (now, now);
        client_wakes += u32::from(c == now);
        server_wakes += u32::from(s == now);
        bytes += exchange(&mut client, &mut server);
    }
    assert_eq!((client_wakes, server_wakes), (120, 0), "every 30 s, and only the client");
    // Each way: length, frame header, 4 bytes, tag.
    assert_eq!(bytes, 120 * 2 * (2 + 3 + 4 + 16));
}

fn exchange(client: &mut End, server: &mut End) -> usize {
    let silent = |event: Event<'_>, _: &mut sim::Half<'_>| {
        assert!(matches!(event, Event::Handled), "{event:?}");
    };
    let there = client.flushed().unwrap();
    server.feed(&there, usize::MAX, silent).unwrap();
    let back = server.flushed().unwrap();
    client.feed(&back, usize::MAX, silent).unwrap();
    there.len() + back.len()
}

#[test]
fn calling_too_early_or_too_often_changes_nothing() {
    let (mut client, _) = Setup::default().open();
    let deadline = client.conn.deadline().unwrap();
    for millis in (0..deadline.as_millis()).step_by(97) {
        client.now = Instant::from_millis(millis);
        assert_eq!(client.flushed(), Ok(vec![]));
        assert_eq!(client.conn.deadline(), Some(deadline));
    }
}

/// Whatever state a connection is in, a deadline that has passed does not stay: acting on it moves or ends it.
#[test]
fn no_state_has_a_deadline_that_stays_in_the_past() {
    let limits = Limits { idle_secs: 3, ..Limits::SMALL };
    let setup = Setup { client_limits: limits, server_limits: limits, ..Setup::default() };
    for room in [true, false] {
        let (client, server) = setup.open();
        let mut closing = setup.open().0;
        closing.conn.close(pysock_proto::CloseReason::Done);
        let mut failed = setup.open().0;
        assert!(failed.feed(&[0, 0], 2, |_, _| ()).is_err());
        let opening = [setup.client(), setup.server(), setup.raw_client().1, setup.raw_server().1];
        let open = [setup.hostile_server().1, client, server, closing, failed];
        for (state, mut end) in opening.into_iter().chain(open).enumerate() {
            if !room {
                end.tx = pysock_proto::TxBuf::new(vec![0; pysock_proto::MIN_TRANSMIT]);
                let mut sent = 0;
                while end.conn.send(&mut end.tx.lend(), &sim::to_server(0), b"").is_ok() {
                    sent += 1;
                }
                assert_eq!(sent > 0, end.conn.is_open(), "state {state}");
            }
            let mut wakes = 0;
            while let Some(at) = end.conn.deadline() {
                end.now = end.now.max(at);
                let _ = end.flush();
                wakes += 1;
                assert!(wakes < 6, "state {state} is busy");
            }
        }
    }
}
