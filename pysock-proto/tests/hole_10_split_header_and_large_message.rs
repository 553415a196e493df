//! Hole 10: a header split over two reads, or a message of 100 kB, broke the seed's stream. And hole 6: messages
//! arrived out of order, or not at all.

mod sim;

use pysock_proto::{Event, Failure, Limits, MIN_TRANSMIT, SendError, StreamId};
use sim::{End, Setup, to_server};

#[test]
fn a_record_header_split_over_two_reads() {
    let (mut client, mut server) = Setup::default().open();
    for text in [&b"first"[..], b"second"] {
        client.conn.send(&mut client.tx.lend(), &to_server(0), text).unwrap();
        let wire = client.flushed().unwrap();
        server.feed(&wire[..1], 1, |event, _| panic!("{event:?}")).unwrap();
        let mut heard = vec![];
        server
            .feed(&wire[1..], usize::MAX, |event, _| {
                if let Event::Message { bytes, .. } = event {
                    heard.push(bytes.to_vec());
                }
            })
            .unwrap();
        assert_eq!(heard, [text]);
    }
}

#[derive(Default)]
struct Heard {
    bytes: Vec<u8>,
    complete: bool,
    aborted: Option<Failure>,
}

impl Heard {
    fn hear(&mut self, event: Event<'_>, end: &mut sim::Half<'_>) {
        match event {
            Event::Chunk { stream, bytes } => {
                assert!(!self.complete);
                self.bytes.extend_from_slice(bytes);
                end.conn.consumed(stream, bytes.len());
            }
            Event::End(_) => self.complete = true,
            Event::Aborted { failure, .. } => self.aborted = Some(failure),
            _ => {}
        }
    }
}

/// Sends all of `data` and ends the stream, exchanging whenever there is no credit or no room.
fn stream(
    from: &mut End,
    to: &mut End,
    data: &[u8],
    length: Option<u64>,
    heard: &mut Heard,
) -> StreamId {
    let stream = from.conn.begin(&mut from.tx.lend(), &to_server(0), length).unwrap();
    let (mut rest, mut rounds) = (data, 0);
    loop {
        let step = match rest {
            [] => from.conn.end(&mut from.tx.lend(), stream).map(|()| 0),
            _ => from.conn.chunk(&mut from.tx.lend(), stream, rest),
        };
        match step {
            Ok(0) => break,
            Ok(n) => rest = &rest[n..],
            Err(SendError::NoCredit | SendError::Full(_)) => {
                from.pump(to, 61, |event, end| heard.hear(event, end)).unwrap();
                to.pump(from, 61, |_, _| ()).unwrap();
                rounds += 1;
                assert!(rounds < data.len(), "no progress");
            }
            Err(error) => panic!("{error}"),
        }
    }
    from.pump(to, 61, |event, end| heard.hear(event, end)).unwrap();
    to.pump(from, 61, |_, _| ()).unwrap();
    stream
}

#[test]
fn a_hundred_kilobytes_through_the_smallest_buffers_both_ways() {
    let limits = Limits { record: 256, window: 256, streams: 1, ..Limits::SMALL };
    let setup = Setup {
        client_limits: limits,
        server_limits: limits,
        transmit: MIN_TRANSMIT,
        ..Setup::default()
    };
    let (mut client, mut server) = setup.open();
    let data: Vec<u8> = (0..100_000u32).map(|n| (n % 251) as u8).collect();
    for length in [None, Some(data.len() as u64)] {
        let mut heard = Heard::default();
        stream(&mut client, &mut server, &data, length, &mut heard);
        assert!(heard.complete && heard.bytes == data);
        let mut heard = Heard::default();
        stream(&mut server, &mut client, &data, length, &mut heard);
        assert!(heard.complete && heard.bytes == data);
    }
}

#[test]
fn lengths_around_the_credit_and_the_declaration_are_exact() {
    for len in [0usize, 1, 255, 256, 257, 511, 512, 513] {
        let limits = Limits { record: 256, window: 256, streams: 1, ..Limits::SMALL };
        let setup = Setup { server_limits: limits, ..Setup::default() };
        let (mut client, mut server) = setup.open();
        let mut heard = Heard::default();
        let id = stream(&mut client, &mut server, &vec![1; len], Some(len as u64), &mut heard);
        assert!(heard.complete && heard.bytes.len() == len, "{len}");
        let tx = &mut client.tx.lend();
        assert_eq!(client.conn.chunk(tx, id, b"x"), Err(SendError::NoStream));
        assert_eq!(client.conn.begin(tx, &to_server(0), Some(1)), Ok(id), "free again");
        assert_eq!(client.conn.end(tx, id), Err(SendError::StreamLength));
        assert_eq!(client.conn.chunk(tx, id, b"xx"), Err(SendError::StreamLength));
        assert_eq!(client.conn.begin(tx, &to_server(0), None), Err(SendError::Streams));
    }
}

#[test]
fn an_aborted_message_is_never_complete() {
    let (mut client, mut server) = Setup::default().open();
    let id = client.conn.begin(&mut client.tx.lend(), &to_server(0), Some(10)).unwrap();
    client.conn.chunk(&mut client.tx.lend(), id, b"half").unwrap();
    client.conn.abort(&mut client.tx.lend(), id, Failure::Cancelled).unwrap();
    let mut heard = Heard::default();
    client.pump(&mut server, 7, |event, end| heard.hear(event, end)).unwrap();
    assert_eq!((heard.complete, heard.aborted), (false, Some(Failure::Cancelled)));
    let again = client.conn.abort(&mut client.tx.lend(), id, Failure::Cancelled);
    assert_eq!(again, Err(SendError::NoStream));
}

#[test]
fn ten_thousand_small_messages_arrive_once_and_in_order() {
    let (mut client, mut server) = Setup { pinned: true, ..Setup::default() }.open();
    let mut next = 0u32;
    for n in 0..10_000u32 {
        client.conn.send(&mut client.tx.lend(), &to_server(0), &n.to_be_bytes()).unwrap();
        if n % 97 == 0 || n == 9_999 {
            client
                .pump(&mut server, 50, |event, _| {
                    if let Event::Message { bytes, .. } = event {
                        assert_eq!(bytes, next.to_be_bytes());
                        next += 1;
                    }
                })
                .unwrap();
        }
    }
    assert_eq!(next, 10_000);
}
