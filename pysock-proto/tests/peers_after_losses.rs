//! Sessions between clients, one after the other: what a server that drops and delays at the worst moment can and cannot
//! make of the change.

mod sim;

use pysock_proto::{
    CloseReason, Env, Kind, StreamId, Unit,
    peer::{Acquaintance, PeerEvent, PeerVerify},
};
use sim::{
    peers::{Heard, Parcel, World},
    rogue::Rogue,
};

const A: usize = 0;
const B: usize = 1;

fn begin(world: &mut World) -> StreamId {
    let peer = world.directory[B];
    let stream = world.clients[A].with_peer(&peer, |to| to.begin(0, Kind::Message, None)).unwrap();
    world.run();
    stream
}

/// One record with a part of a stream, on its way.
fn chunk(world: &mut World, stream: StreamId, byte: u8) -> Parcel {
    let peer = world.directory[B];
    world.clients[A].with_peer(&peer, |to| to.chunk(stream, &[byte; 10])).unwrap();
    let mut parcels = world.collect(A);
    parcels.retain(|parcel| parcel.unit == Unit::Record);
    parcels.remove(0)
}

/// The stream never seems to go on, and everybody is told.
fn is_reset(world: &mut World) {
    for _ in 0..20 {
        world.run();
        world.advance(1_000);
    }
    for at in [A, B] {
        assert!(world.clients[at].take().contains(&Heard::Reset), "{at}");
    }
    world.heals(A, B);
}

#[test]
fn a_stream_does_not_go_on_over_a_gap_found_during_the_handshake() {
    let mut world = World::new(2);
    world.pair(A, B);
    let stream = begin(&mut world);
    // B calls, and says that streams go on; then it finds a part of one missing.
    world.advance(500);
    world.handshake(B, A, Acquaintance::Known);
    let call = world.collect(B).remove(0);
    let _lost = chunk(&mut world, stream, 1);
    let second = chunk(&mut world, stream, 2);
    world.deliver(&second);
    world.deliver(&call);
    assert!(world.clients[B].chunks.is_empty());
    world.run();
    let peer = world.directory[B];
    if world.is_open(A, B) {
        let _ = world.clients[A].with_peer(&peer, |to| to.chunk(stream, &[3; 10]));
    }
    world.run();
    assert!(world.clients[B].chunks.is_empty(), "a part was skipped");
    is_reset(&mut world);
}

#[test]
fn a_stream_does_not_go_on_if_its_tail_is_missing_when_the_key_is_accepted() {
    let mut world = World::new(2);
    world.pair(A, B);
    let stream = begin(&mut world);
    world.advance(500);
    let _lost = chunk(&mut world, stream, 1);
    world.handshake(A, B, Acquaintance::New);
    world.pass_first(A);
    world.pass_first(B);
    let rest = world.collect(A);
    assert_eq!(rest.len(), 2, "third message and first record");
    // B takes its time: the first record is in before it has decided.
    let verify = hold(&mut world, &rest[0]).expect("a decision");
    assert!(hold(&mut world, &rest[1]).is_none());
    let client = &mut world.clients[B];
    let env = Env { now: client.end.now, identity: &client.end.key };
    client.peers.accept(verify, &env).unwrap();
    world.run();
    let peer = world.directory[B];
    if world.is_open(A, B) {
        let _ = world.clients[A].with_peer(&peer, |to| to.chunk(stream, &[2; 10]));
    }
    world.run();
    assert!(world.clients[B].chunks.is_empty(), "a part was skipped");
    is_reset(&mut world);
}

/// Brings a parcel, and keeps the decision that it asks for.
fn hold(world: &mut World, parcel: &Parcel) -> Option<PeerVerify> {
    let stamp = world.directory[parcel.from];
    let client = &mut world.clients[parcel.to];
    let env = Env { now: client.end.now, identity: &client.end.key };
    let mut bytes = parcel.bytes.clone();
    let mut incoming = client.peers.receive(&stamp, parcel.unit, &mut bytes, &env);
    match client.peers.next(&mut incoming)? {
        PeerEvent::Verify(verify) => Some(verify),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_record_of_the_session_before_that_comes_last_breaks_no_rule() {
    let mut world = World::new(2);
    world.pair(A, B);
    world.advance(500);
    world.send(B, A, b"late");
    let late = world.collect(B);
    world.handshake(A, B, Acquaintance::Known);
    // The first record of B's new session goes missing, the next does not.
    let mut kept = 0;
    world.run_with(|parcel| {
        kept += usize::from(parcel.from == B && parcel.unit == Unit::Record);
        if parcel.from == B && kept == 1 && parcel.unit == Unit::Record {
            vec![]
        } else {
            vec![parcel]
        }
    });
    world.send(B, A, b"on time");
    for parcel in world.collect(B).iter().chain(&late) {
        world.deliver(parcel);
    }
    let heard = world.clients[A].take();
    assert!(!heard.iter().any(|heard| matches!(heard, Heard::Failed(_))), "{heard:?}");
    assert!(heard.contains(&Heard::Lost(1)), "{heard:?}");
    world.advance(2_000);
    world.run();
    let heard = world.clients[A].take();
    assert!(heard.contains(&Heard::Open { fresh: false }), "{heard:?}");
    world.heals(A, B);
}

#[test]
fn messages_under_way_to_a_client_that_closes_are_reported() {
    let mut world = World::new(2);
    world.pair(A, B);
    world.send(B, A, b"crosses the close");
    let _lost = world.collect(B);
    let (key, client) = (world.directory[B].key, &mut world.clients[A]);
    let env = Env { now: client.end.now, identity: &client.end.key };
    client.peers.close(&key, CloseReason::Done, &env);
    world.run();
    let heard = world.clients[B].take();
    assert_eq!(heard, [Heard::Unknown(1), Heard::Closed(CloseReason::Done)]);
}

#[test]
fn closing_a_broken_session_breaks_no_rule() {
    let mut world = World::new(2);
    world.pair(A, B);
    let stream = begin(&mut world);
    let _lost = chunk(&mut world, stream, 1);
    let second = chunk(&mut world, stream, 2);
    world.deliver(&second);
    let third = chunk(&mut world, stream, 3);
    let (key, client) = (world.directory[A].key, &mut world.clients[B]);
    let env = Env { now: client.end.now, identity: &client.end.key };
    client.peers.close(&key, CloseReason::Done, &env);
    world.deliver(&third);
    assert!(world.clients[B].chunks.is_empty());
    world.run();
    let heard = world.clients[B].take();
    assert!(heard.contains(&Heard::Closed(CloseReason::Answered)), "{heard:?}");
    world.heals(A, B);
}

#[test]
fn a_close_leaves_as_soon_as_the_server_has_named_its_receiver() {
    let mut world = World::new(2);
    world.pair(A, B);
    let peer = world.directory[B];
    let client = &mut world.clients[A];
    client.peers.reconnected();
    let env = Env { now: client.end.now, identity: &client.end.key };
    client.peers.close(&peer.key, CloseReason::Done, &env);
    assert_eq!(world.collect(A), []);
    world.clients[A].peers.named(&peer);
    world.run();
    assert_eq!(world.clients[B].take().last(), Some(&Heard::Closed(CloseReason::Done)));
}

#[test]
fn what_a_frame_makes_due_leaves_even_if_the_caller_flushes_between_two_events() {
    let mut world = World::new(2);
    let mut rogue = Rogue::new(&mut world, A, B);
    rogue.first(&mut world);
    world.collect(B);
    let close: (u8, &[u8]) = (0x03, &[1, 0, 0, 0, 0, 0, 0, 0, 0]);
    let mut parcel = rogue.frames(0, &[(0x10, &[0, 0, 7]), close]);
    let stamp = world.directory[A];
    let client = &mut world.clients[B];
    let env = Env { now: client.end.now, identity: &client.end.key };
    let mut incoming = client.peers.receive(&stamp, parcel.unit, &mut parcel.bytes, &env);
    assert!(matches!(client.peers.next(&mut incoming), Some(PeerEvent::Message { .. })));
    let mut tx = client.end.tx.lend();
    client.end.conn.flush_peers(&mut tx, &mut client.peers, &env).unwrap();
    assert!(matches!(client.peers.next(&mut incoming), Some(PeerEvent::Closed(_))));
    assert!(client.peers.next(&mut incoming).is_none());
    assert_eq!(world.collect(B).len(), 1, "the answer to the close");
    world.poll(B);
    assert!(world.clients[B].peers.sessions().is_empty());
}

#[test]
fn records_of_a_handshake_that_another_has_displaced_are_not_swallowed() {
    let mut world = World::new(2);
    world.pair(A, B);
    world.advance(500);
    world.handshake(A, B, Acquaintance::Known);
    for parcel in world.collect(A) {
        world.deliver(&parcel);
    }
    for parcel in world.collect(B) {
        world.deliver(&parcel);
    }
    // A is open; before its first record it calls once more, and B waits for that session instead.
    world.advance(500);
    world.handshake(A, B, Acquaintance::Known);
    let mut units = world.collect(A);
    units.sort_by_key(|parcel| parcel.unit == Unit::Record);
    world.deliver(&units[0]);
    let _lost = world.collect(B);
    world.deliver(&units[1]);
    let said = world.collect(B);
    assert!(said.iter().any(|parcel| parcel.bytes[0] == 0x23), "{said:?}");
    for parcel in &said {
        world.deliver(parcel);
    }
    assert!(!world.is_open(A, B));
    world.advance(4_000);
    world.heals(A, B);
}

#[test]
fn who_begins_a_session_tells_what_it_lacks() {
    let mut world = World::new(2);
    world.pair(A, B);
    world.send(B, A, b"1");
    let _lost = world.collect(B);
    world.send(B, A, b"2");
    for parcel in world.collect(B) {
        world.deliver(&parcel);
    }
    // A says so, in vain.
    let _lost = world.collect(A);
    world.advance(1_000);
    world.handshake(A, B, Acquaintance::Known);
    world.run();
    let heard = world.clients[B].take();
    assert!(heard.contains(&Heard::Undelivered(1)), "{heard:?}");
}

/// Both ends of the memory: records of 256 bytes, and the smallest transmit buffer.
mod small {
    use super::{A, B};
    use crate::sim::peers::{Heard, World};
    use pysock_proto::{
        Env, Kind, Limits, MIN_RECORD, MIN_TRANSMIT, SendError, peer::Acquaintance,
    };

    fn world(transmit: usize) -> World {
        let limits = Limits {
            record: MIN_RECORD,
            idle_secs: u16::MAX,
            window: 256,
            streams: 1,
            ..Limits::DESKTOP
        };
        World::with_room(2, limits, transmit)
    }

    #[test]
    fn everything_works_with_the_smallest_buffers() {
        for how in [Acquaintance::New, Acquaintance::Known] {
            let mut world = world(MIN_TRANSMIT);
            world.handshake(A, B, how);
            world.run();
            world.heals(A, B);
            world.advance(3_700_000);
            world.run();
            world.heals(A, B);
            let peer = world.directory[B];
            let stream =
                world.clients[A].with_peer(&peer, |to| to.begin(0, Kind::Message, Some(2_000)));
            let (stream, mut left) = (stream.unwrap(), 2_000);
            while left > 0 {
                let rest = vec![7; left];
                match world.clients[A].with_peer(&peer, |to| to.chunk(stream, &rest)) {
                    Ok(n) => left -= n,
                    Err(SendError::NoCredit | SendError::Full(_)) => {}
                    Err(why) => panic!("{why}"),
                }
                world.run();
            }
            world.clients[A].with_peer(&peer, |to| to.end(stream)).unwrap();
            world.run();
            let chunks: usize = world.clients[B].chunks.iter().map(Vec::len).sum();
            assert_eq!(chunks, 2_000);
            assert!(world.clients[B].take().contains(&Heard::Stream(format!("End({stream:?})"))));
        }
    }

    #[test]
    fn each_length_fits_or_is_too_long_and_a_full_buffer_is_full() {
        for transmit in [MIN_TRANSMIT, MIN_TRANSMIT + 1, MIN_TRANSMIT + 37, 600, 1_000] {
            let mut world = world(transmit);
            world.pair(A, B);
            let peer = world.directory[B];
            let longest = world.clients[A].with_peer(&peer, |to| to.longest_message());
            assert!(longest > 150, "{longest}");
            for len in 0..300 {
                let message = vec![len as u8; len];
                match world.clients[A].send(&peer, &message) {
                    Ok(()) => assert!(len <= longest + 12, "{len}"),
                    Err(SendError::TooLong(_)) => assert!(len > longest, "{len} of {longest}"),
                    Err(why) => panic!("{len}: {why}"),
                }
                world.run();
                let expected = if len > longest {
                    world.clients[B].messages()
                } else {
                    let got = world.clients[B].messages();
                    assert_eq!(got, std::slice::from_ref(&message), "{len}");
                    got
                };
                assert!(expected.iter().all(|got| *got == message));
            }
            // Nothing is written: it gets full, and stays as it was.
            for len in [0, 1, 10, 100, longest] {
                let mut sent = 0;
                let full = loop {
                    match world.clients[A].send(&peer, &vec![1; len]) {
                        Ok(()) => sent += 1,
                        Err(why) => break why,
                    }
                };
                assert!(matches!(full, SendError::Full(1..)), "{len}: {full}");
                world.run();
                assert_eq!(world.clients[B].messages().len(), sent, "{len}");
            }
            world.heals(A, B);
        }
    }

    #[test]
    fn the_server_never_sees_plain_text_not_even_of_what_is_forgotten() {
        let mut world = world(1_000);
        world.pair(A, B);
        let peer = world.directory[B];
        let secret = [0xa5; 40];
        let client = &mut world.clients[A];
        {
            let mut tx = client.end.tx.lend();
            let mut to = client.end.conn.to_peer(&mut tx, &mut client.peers, &peer.key).unwrap();
            to.send(0, Kind::Message, &secret).unwrap();
            std::mem::forget(to);
        }
        world.send(A, B, b"short");
        world.run();
        for len in [1, 39, 40, 41, 120] {
            world.clients[A].send(&peer, &vec![0xa5; len]).unwrap();
            // Refused, and behind something that is already there.
            let _ = world.clients[A].send(&peer, &[0xa5; 250]);
            world.run();
        }
        for parcel in &world.seen {
            assert!(!parcel.bytes.windows(8).any(|part| part == [0xa5; 8]), "{parcel:?}");
        }
        let client = &mut world.clients[A];
        let env = Env { now: client.end.now, identity: &client.end.key };
        let mut tx = client.end.tx.lend();
        client.end.conn.flush_peers(&mut tx, &mut client.peers, &env).unwrap();
    }
}
