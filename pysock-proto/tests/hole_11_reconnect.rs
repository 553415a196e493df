//! Hole 11: a known client that came back hung for ever. And hole 1: a stranger who left stopped the whole server. A
//! connection shares nothing with another, so neither can happen; lent memory is the only thing that passes on.

mod sim;

use pysock_proto::{CloseReason, Ephemeral, Error, Event, Instant, RxBuf, ServerSetup};
use sim::{C, HANDSHAKE_BY, Setup, agree, client_key, to_server};

/// One pair of buffers at the server for all its connections in turn, as a server with few connections does it.
#[test]
fn a_client_comes_back_as_often_as_it_likes_after_any_kind_of_end() {
    let setup = Setup { pinned: true, ..Setup::default() };
    let mut server = setup.server();
    for round in 0..12u8 {
        let mut client = setup.client();
        let server_setup = ServerSetup { limits: setup.server_limits, psk_required: false };
        let by = Instant::from_millis(HANDSHAKE_BY);
        let ephemeral = Ephemeral::new::<C>([round + 1; 32]);
        server.conn = pysock_proto::Connection::server(&server_setup, ephemeral, by);
        for _ in 0..3 {
            client.pump(&mut server, 30, agree).unwrap();
            server.pump(&mut client, 30, agree).unwrap();
        }
        assert_eq!(server.conn.remote(), Some(client_key()), "round {round}");
        client.conn.send(&mut client.tx.lend(), &to_server(0), b"back again").unwrap();
        let mut heard = 0;
        client
            .pump(&mut server, 30, |event, _| {
                heard += u32::from(matches!(event, Event::Message { bytes: b"back again", .. }));
            })
            .unwrap();
        assert_eq!(heard, 1);
        match round % 3 {
            0 => {
                client.conn.close(CloseReason::Done);
                client.pump(&mut server, 30, agree).unwrap();
                server.pump(&mut client, 30, |_, _| ()).unwrap();
                assert!(server.conn.is_over() && server.conn.end_of_input().is_ok());
            }
            1 => assert_eq!(server.conn.end_of_input(), Err(Error::Truncated)),
            _ => {
                assert!(server.feed(b"\0\0", 2, |_, _| ()).is_err());
                server.flushed().unwrap();
            }
        }
        assert!(server.rx.pending() == 0 && server.tx.is_empty(), "nothing passes on");
    }
}

#[test]
fn strangers_leave_no_trace_in_the_memory_they_were_served_with() {
    let setup = Setup::default();
    let mut shared = setup.server();
    for junk in [&b""[..], b"P", b"PYSK", b"\x01\x02\x03\x04\x05", b"GET / HTTP/1.0\r\n\r\n"] {
        let mut stranger = setup.server();
        stranger.rx = shared.rx;
        let _ = stranger.feed(junk, 100, |_, _| ());
        let _ = (stranger.flushed(), stranger.conn.end_of_input());
        assert!(stranger.conn.is_over());
        shared.rx = RxBuf::new(stranger.rx.into_inner());
        shared.tx = stranger.tx;
        assert!(shared.tx.is_empty());
    }
    let mut client = setup.client();
    for _ in 0..3 {
        client.pump(&mut shared, 30, agree).unwrap();
        shared.pump(&mut client, 30, agree).unwrap();
    }
    assert!(shared.conn.is_open() && client.conn.is_open());
}
