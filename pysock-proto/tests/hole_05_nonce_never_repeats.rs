//! Hole 5: the seed used one AES-GCM nonce for every message in both directions.
//!
//! An independent implementation that counts its nonces and rekeys at the same places has to understand every record.

mod sim;

use pysock_proto::{Event, Limits};
use sim::{
    Setup,
    hostile::{frame, kind},
    to_server,
};

const REKEY_EVERY: u64 = 1 << 16;

fn setup() -> Setup {
    let limits = Limits { record: 256, ..Limits::DESKTOP };
    Setup { client_limits: limits, server_limits: limits, ..Setup::default() }
}

#[test]
fn equal_messages_never_look_alike() {
    let (mut client, mut server) = setup().open();
    let mut seen = std::collections::HashSet::new();
    for end in [&mut client, &mut server] {
        for _ in 0..500 {
            end.conn.send(&mut end.tx.lend(), &to_server(0), b"the same").unwrap();
            let record = end.flushed().unwrap();
            assert!(seen.insert(record), "two records alike");
        }
    }
    // Nor in another session of the same two keys, whose ephemeral keys differ.
    let (mut hostile, _) = setup().hostile_client();
    assert!(seen.insert(hostile.record(&frame(kind::MESSAGE, b"\0\0the same"))));
}

#[test]
fn a_send_that_fails_uses_no_nonce_and_a_seal_always_uses_one() {
    let (mut hostile, mut server) = setup().hostile_client();
    let before = hostile.0.receiving_nonce();
    let too_long = server.conn.send(&mut server.tx.lend(), &to_server(0), &[0; 60_000]);
    assert!(too_long.is_err());
    for n in 1..100 {
        server.conn.send(&mut server.tx.lend(), &to_server(0), b"x").unwrap();
        server.flush().unwrap();
        server.flush().unwrap();
        hostile.frames(&server.wire());
        assert_eq!(hostile.0.receiving_nonce(), before + n);
    }
}

/// Feeds records past 2^16, sealed by snow, which rekeys where the protocol says.
#[test]
fn the_receiving_side_rekeys_before_record_two_to_the_sixteenth() {
    let (mut hostile, mut server) = setup().hostile_client();
    let message = frame(kind::MESSAGE, b"\0\0");
    let (mut heard, last) = (0, REKEY_EVERY + 3);
    while hostile.0.sending_nonce() < last {
        if hostile.0.sending_nonce() == REKEY_EVERY {
            hostile.0.rekey_outgoing();
        }
        let record = hostile.record(&message);
        server
            .feed(&record, usize::MAX, |event, _| {
                heard += u64::from(matches!(event, Event::Message { .. }));
            })
            .unwrap();
    }
    assert_eq!(heard, last);
}

/// Reads records past 2^16 with snow; the one in question opens under the next key and only under that.
#[test]
fn the_sending_side_rekeys_before_record_two_to_the_sixteenth() {
    let (mut hostile, mut server) = setup().hostile_client();
    while hostile.0.receiving_nonce() < REKEY_EVERY + 3 {
        server.conn.send(&mut server.tx.lend(), &to_server(0), b"").unwrap();
        server.flush().unwrap();
        let wire = server.wire();
        if hostile.0.receiving_nonce() == REKEY_EVERY {
            assert!(hostile.0.read_message(&wire[2..], &mut [0; 300]).is_err(), "the old key");
            hostile.0.rekey_incoming();
        }
        assert_eq!(hostile.frames(&wire).len(), 1);
    }
}
