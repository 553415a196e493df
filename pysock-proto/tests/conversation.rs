//! A conversation from the first byte to the close, whatever the pieces in which its bytes arrive.

mod sim;

use pysock_proto::{
    ChannelName, CloseReason, Envelope, Event, Kind, Limits, Party, PeerId, RequestId,
};
use sim::{End, Setup, agree};

fn to_server(channel: pysock_proto::ChannelId) -> Envelope {
    Envelope { channel, party: Party::Server, kind: Kind::Message }
}

#[test]
fn the_seeds_dialogue_in_pieces_of_any_size() {
    for pinned in [false, true] {
        for chunk in [1, 2, 7, 100, usize::MAX] {
            let setup = Setup { pinned, ..Setup::default() };
            let (mut client, mut server) = (setup.client(), setup.server());
            let mut welcome = None;
            for _ in 0..3 {
                client.pump(&mut server, chunk, agree).unwrap();
                server
                    .pump(&mut client, chunk, |event, end| {
                        if let Event::Welcome { id, .. } = event {
                            welcome = Some(id);
                        }
                        agree(event, end);
                    })
                    .unwrap();
            }
            assert_eq!(welcome, Some(PeerId(7)));
            dialogue(&mut client, &mut server, chunk);
            farewell(&mut client, &mut server, chunk);
        }
    }
}

fn dialogue(client: &mut End, server: &mut End, chunk: usize) {
    let name = ChannelName::new("test").unwrap();
    let test = client.conn.open_channel(&mut client.tx.lend(), &name).unwrap();
    client.conn.send(&mut client.tx.lend(), &to_server(test), b"Hello, World!").unwrap();
    let mut heard = vec![];
    client
        .pump(server, chunk, |event, end| match event {
            Event::Open { id, name } => {
                assert_eq!(name.as_str(), "test");
                end.conn.answer_open(&mut end.tx, id, Ok(())).unwrap();
            }
            Event::Message { envelope, bytes } => {
                heard.push(bytes.to_vec());
                // The event is still held while the answer is written.
                end.conn.send(&mut end.tx, &envelope, b"Hello From Server").unwrap();
                assert_eq!(bytes, b"Hello, World!");
            }
            Event::Handled => {}
            other => panic!("{other:?}"),
        })
        .unwrap();
    assert_eq!(heard, [b"Hello, World!"]);
    let mut heard = vec![];
    server
        .pump(client, chunk, |event, _| match event {
            Event::Opened { id, result } => assert_eq!((id, result), (test, Ok(()))),
            Event::Message { envelope, bytes } => {
                assert_eq!(envelope, to_server(test));
                heard.push(bytes.to_vec());
            }
            Event::Handled => {}
            other => panic!("{other:?}"),
        })
        .unwrap();
    assert_eq!(heard, [b"Hello From Server"]);
}

fn farewell(client: &mut End, server: &mut End, chunk: usize) {
    client.conn.close(CloseReason::Done);
    let mut closed = None;
    client
        .pump(server, chunk, |event, end| {
            if let Event::Closed(why) = event {
                closed = Some(why);
                end.conn.close(CloseReason::Done);
            }
        })
        .unwrap();
    assert_eq!(closed, Some(CloseReason::Done));
    assert!(!client.conn.is_over() && client.conn.deadline().is_some());
    server.pump(client, chunk, |_, _| ()).unwrap();
    assert!(server.conn.is_over());
    client.flush().unwrap();
    assert!(client.conn.is_over());
    assert_eq!(client.conn.end_of_input(), Ok(()));
    assert_eq!(client.conn.deadline(), None);
}

#[test]
fn a_hundred_small_messages_share_one_record() {
    let (mut client, mut server) = Setup::default().open();
    let request =
        Envelope { kind: Kind::Request(RequestId(5)), ..to_server(pysock_proto::ChannelId(3)) };
    for i in 0..100u8 {
        client.conn.send(&mut client.tx.lend(), &request, &[i]).unwrap();
    }
    let wire = client.flushed().unwrap();
    // 100 frames of 3 + 2 + 4 + 1 bytes; one record of up to 1024 bytes takes 100 of them.
    assert_eq!(wire.len(), 2 + 100 * 10 + 16);
    let mut seen = 0u8;
    server
        .feed(&wire, usize::MAX, |event, _| {
            if let Event::Message { envelope, bytes } = event {
                assert_eq!((envelope, bytes), (request, &[seen][..]));
                seen += 1;
            }
        })
        .unwrap();
    assert_eq!(seen, 100);
}

#[test]
fn a_large_message_streams_through_small_buffers() {
    let limits = Limits { record: 256, window: 700, ..Limits::SMALL };
    let setup =
        Setup { server_limits: limits, transmit: pysock_proto::MIN_TRANSMIT, ..Setup::default() };
    let (mut client, mut server) = setup.open();
    let big: Vec<u8> = (0..50_000u32).map(|n| (n * 7) as u8).collect();
    let envelope = to_server(pysock_proto::ChannelId(0));
    let length = Some(big.len() as u64);
    let stream = client.conn.begin(&mut client.tx.lend(), &envelope, length).unwrap();
    let (mut rest, mut got, mut complete) = (&big[..], vec![], false);
    for _ in 0..2_000 {
        while !rest.is_empty() {
            match client.conn.chunk(&mut client.tx.lend(), stream, rest) {
                Ok(n) => rest = &rest[n..],
                Err(_) => break,
            }
        }
        if rest.is_empty() && !complete {
            let _ = client.conn.end(&mut client.tx.lend(), stream);
        }
        client
            .pump(&mut server, 50, |event, end| match event {
                Event::Begin { length: announced, .. } => assert_eq!(announced, length),
                Event::Chunk { stream, bytes } => {
                    got.extend_from_slice(bytes);
                    end.conn.consumed(stream, bytes.len());
                }
                Event::End(_) => complete = true,
                _ => {}
            })
            .unwrap();
        server.pump(&mut client, 50, |_, _| ()).unwrap();
    }
    assert!(complete && got == big);
    // The number is free again.
    assert_eq!(client.conn.begin(&mut client.tx.lend(), &envelope, None), Ok(stream));
}

#[test]
fn the_state_of_a_connection_stays_within_its_budget() {
    let size = size_of::<pysock_proto::Connection<sim::C>>();
    assert!(size <= 512, "{size}");
}
