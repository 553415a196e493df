//! A client that has a genuine session and breaks its rules. Only that session ends, and the other side hears why.

mod sim;

use pysock_proto::{
    CloseReason, Env, FrameError, Limits, PeerError, Unit,
    peer::{Acquaintance, PeerEvent},
};
use sim::{
    peers::{Heard, Parcel, World},
    rogue::{self, Rogue},
};

const ROGUE: usize = 0;
const B: usize = 1;
const C: usize = 2;

/// Types and bodies.
type Frames<'a> = &'a [(u8, &'a [u8])];

fn world() -> World {
    let limits =
        Limits { record: 1024, idle_secs: u16::MAX, window: 512, streams: 2, ..Limits::DESKTOP };
    World::with(3, limits)
}

/// Only the rogue's session has ended: B has told it, the one with C goes on, and a genuine client may come.
fn only_that_ends(world: &mut World) {
    let close = world.collect(B);
    assert!(close.iter().all(|unit| unit.to == ROGUE) && close.len() <= 1, "{close:?}");
    world.poll(B);
    assert_eq!(world.clients[B].peers.sessions().len(), 1);
    world.heals(B, C);
    world.advance(4_000);
    world.heals(ROGUE, B);
}

fn breaks(frames: Frames<'_>, kind: u8, why: FrameError) {
    let mut world = world();
    world.pair(B, C);
    let mut rogue = Rogue::new(&mut world, ROGUE, B);
    rogue.first(&mut world);
    assert!(world.is_open(B, ROGUE));
    world.clients[B].take();
    let parcel = rogue.frames(0, frames);
    world.deliver(&parcel);
    let heard = world.clients[B].take();
    let failed = Heard::Failed(PeerError::Protocol(kind, why));
    assert_eq!(heard.last(), Some(&failed), "{frames:x?}: {heard:?}");
    // Whatever it says now, nobody listens.
    let parcel = rogue.frames(0, &[(0x10, &[0, 0, 1, 2, 3])]);
    world.deliver(&parcel);
    let parcel = rogue.text(&[]);
    world.deliver(&parcel);
    assert_eq!(world.clients[B].take(), []);
    only_that_ends(&mut world);
}

#[test]
fn frames_that_break_a_rule() {
    let begin =
        |stream, length: u64| [&[stream][..], &[0; 1 + 2 + 4 + 4], &length.to_be_bytes()].concat();
    let unknown = begin(0, u64::MAX);
    let ten = begin(0, 10);
    let third = begin(2, 10);
    let chunk = [0; 514];
    for kind in [0x00, 0x01, 0x02, 0x04, 0x06, 0x0b, 0x13, 0x17, 0x27, 0x30, 0x31, 0x41, 0x7f] {
        breaks(&[(kind, &[0; 8])], kind, FrameError::Unknown);
    }
    use FrameError::{Body, Credit, Stream, StreamLength};
    let to_another = [0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0];
    let routed = [&[0][..], &to_another, &u64::MAX.to_be_bytes()].concat();
    let failed = [&to_another[..], &[1]].concat();
    let cases: [(Frames<'_>, u8, FrameError); 20] = [
        (&[(0x10, &[0])], 0x10, Body),
        (&[(0x14, &[0, 0, 0, 0, 0, 9, 1])], 0x14, FrameError::Unknown),
        (&[(0x21, &[0, 1])], 0x21, Stream),
        (&[(0x22, &[0])], 0x22, Stream),
        (&[(0x23, &[0, 1])], 0x23, Stream),
        (&[(0x24, &[0, 1])], 0x24, Stream),
        (&[(0x25, &[0, 0, 0, 0, 1])], 0x25, Stream),
        (&[(0x26, &[0])], 0x26, Stream),
        (&[(0x20, &third)], 0x20, Stream),
        (&[(0x20, &ten), (0x20, &ten)], 0x20, Stream),
        (&[(0x20, &unknown), (0x21, &chunk)], 0x21, Credit),
        (&[(0x20, &ten), (0x21, &chunk[..12])], 0x21, StreamLength),
        (&[(0x20, &ten), (0x22, &[0])], 0x22, StreamLength),
        (&[(0x20, &ten[..19])], 0x20, Body),
        // There is nobody else to send to.
        (&[(0x20, &routed)], 0x20, Body),
        (&[(0x18, &failed)], 0x18, Body),
        // More than was sent, or missed.
        (&[(0x40, &[0, 0, 0, 1, 0, 0, 0, 0])], 0x40, Body),
        (&[(0x40, &[0, 0, 0, 0, 0xff, 0, 0, 0])], 0x40, Body),
        (&[(0x40, &[0, 0, 0])], 0x40, Body),
        (&[(0x03, &[1, 0, 0, 0, 9, 0, 0, 0, 0])], 0x03, Body),
    ];
    for (frames, kind, why) in cases {
        breaks(frames, kind, why);
    }
}

#[test]
fn texts_that_are_no_frames() {
    // A frame longer than its record; less than a header; records without a number; a number that goes back.
    let cases: [(&[u8], u8); 5] = [
        (&[0, 0, 0, 5, 0x10, 0, 9, 0], 0x10),
        (&[0, 0, 0, 5, 0x10, 0], 0x10),
        (&[], 0),
        (&[0, 0, 0], 0),
        (&[0, 0, 0, 4], 0),
    ];
    for (text, kind) in cases {
        let mut world = world();
        world.pair(B, C);
        let mut rogue = Rogue::new(&mut world, ROGUE, B);
        rogue.first(&mut world);
        let parcel = rogue.frames(5, &[]);
        world.deliver(&parcel);
        world.clients[B].take();
        let parcel = rogue.text(text);
        world.deliver(&parcel);
        let heard = world.clients[B].take();
        let why = if kind == 0 { FrameError::Body } else { FrameError::Length };
        assert_eq!(heard, [Heard::Failed(PeerError::Protocol(kind, why))], "{text:?}");
        only_that_ends(&mut world);
    }
}

#[test]
fn a_first_record_without_its_header() {
    for text in [&[][..], &[0; 3], &[0; 7]] {
        let mut world = world();
        world.pair(B, C);
        let mut rogue = Rogue::new(&mut world, ROGUE, B);
        let parcel = rogue.text(text);
        world.deliver(&parcel);
        let heard = world.clients[B].take();
        let failed = Heard::Failed(PeerError::Protocol(0, FrameError::Body));
        assert!(heard.contains(&failed), "{heard:?}");
        only_that_ends(&mut world);
    }
}

#[test]
fn frames_before_the_key_is_accepted_say_nothing() {
    for accepts_first in [true, false] {
        let mut world = world();
        world.pair(B, C);
        let mut noise = rogue::noise("XX", 50, None, true);
        let mut buffer = [0; 300];
        let n = noise.write_message(&[], &mut buffer).unwrap();
        let attempt: [u8; 4] = buffer[..4].try_into().unwrap();
        let send = |world: &mut World, unit, bytes: Vec<u8>| {
            world.deliver(&Parcel { from: ROGUE, to: B, unit, bytes });
        };
        send(&mut world, Unit::Handshake, rogue::unit(0x11, &attempt, &buffer[..n]));
        let answer = world.collect(B).remove(0);
        world.clients[B].take();
        let (mut text, names) = ([0; 300], rogue::hello("alice", "bob"));
        noise.read_message(&answer.bytes[5..], &mut text).unwrap();
        let n = noise.write_message(&names, &mut buffer).unwrap();
        let third = rogue::unit(0x13, &attempt, &buffer[..n]);
        let mut rogue = Rogue::after(noise, ROGUE, B, text[7]);
        // A first record with a message in it, and more: before the decision, and after it.
        let mut first = [&[0; 8][..], &[0x10, 0, 3, 0, 0, 7]].concat();
        first[3] = 1;
        let early = [rogue.text(&first), rogue.frames(2, &[(0x10, &[0, 0, 8])])];
        if accepts_first {
            send(&mut world, Unit::Handshake, third);
            world.clients[B].take();
            early.iter().for_each(|parcel| world.deliver(parcel));
            assert_eq!(world.clients[B].messages(), [[7], [8]]);
            continue;
        }
        // World takes decisions at once; this one is kept.
        let (stamp, client) = (world.directory[ROGUE], &mut world.clients[B]);
        let env = Env { now: client.end.now, identity: &client.end.key };
        let mut third = third;
        let mut incoming = client.peers.receive(&stamp, Unit::Handshake, &mut third, &env);
        let Some(PeerEvent::Verify(verify)) = client.peers.next(&mut incoming) else {
            panic!("no decision")
        };
        early.iter().for_each(|parcel| world.deliver(parcel));
        assert_eq!(world.clients[B].take(), []);
        let client = &mut world.clients[B];
        let env = Env { now: client.end.now, identity: &client.end.key };
        client.peers.accept(verify, &env).unwrap();
        world.poll(B);
        assert_eq!(world.clients[B].take(), []);
        // What comes later counts, and what was said too early is lost.
        let parcel = rogue.frames(3, &[(0x10, &[0, 0, 9])]);
        world.deliver(&parcel);
        let heard = world.clients[B].take();
        assert!(heard.contains(&Heard::Lost(3)), "{heard:?}");
        world.heals(B, C);
    }
}

#[test]
fn a_first_record_that_lies_is_found_out_when_the_key_is_accepted() {
    let mut world = world();
    world.pair(B, C);
    world.clients[B].hesitates = true;
    let mut noise = rogue::noise("XX", 50, None, true);
    let (mut buffer, mut text) = ([0; 300], [0; 300]);
    let n = noise.write_message(&[], &mut buffer).unwrap();
    let attempt: [u8; 4] = buffer[..4].try_into().unwrap();
    let first = rogue::unit(0x11, &attempt, &buffer[..n]);
    world.deliver(&Parcel { from: ROGUE, to: B, unit: Unit::Handshake, bytes: first });
    let answer = world.collect(B).remove(0);
    noise.read_message(&answer.bytes[5..], &mut text).unwrap();
    let n = noise.write_message(&rogue::hello("alice", "bob"), &mut buffer).unwrap();
    let third = rogue::unit(0x13, &attempt, &buffer[..n]);
    world.deliver(&Parcel { from: ROGUE, to: B, unit: Unit::Handshake, bytes: third });
    // Its number goes back, though nothing came before it.
    let lie = Rogue::after(noise, ROGUE, B, text[7]).text(&[0xff, 0, 0, 0, 0, 0, 0, 0]);
    world.deliver(&lie);
    world.clients[B].take();
    assert_eq!(world.collect(B).len(), 1, "it asked for patience");
    let accepted = world.clients[B].decide(true);
    assert_eq!(accepted, Err(PeerError::Protocol(0, FrameError::Body)));
    world.clients[B].hesitates = false;
    only_that_ends(&mut world);
}

#[test]
fn what_nobody_tells_any_more_is_said_once() {
    let mut world = world();
    let mut rogue = Rogue::new(&mut world, ROGUE, B);
    rogue.first(&mut world);
    world.send(B, ROGUE, b"did it arrive?");
    world.collect(B);
    world.clients[B].take();
    let wrong = rogue.frames(0, &[(0x00, &[])]);
    world.deliver(&wrong);
    let heard = world.clients[B].take();
    assert!(heard.contains(&Heard::Unknown(1)), "{heard:?}");
    // B calls again at once, and is answered, before the session that failed is forgotten.
    world.handshake(B, ROGUE, Acquaintance::Known);
    let call = world.collect(B).into_iter().find(|unit| unit.bytes[0] == 0x01).unwrap();
    let b = world.directory[B].key;
    let mut noise = rogue::noise("KK", 50, Some(&b), false);
    let mut buffer = [0; 300];
    noise.read_message(&call.bytes[5..], &mut buffer).unwrap();
    let n = noise.write_message(&rogue::hello("alice", "bob"), &mut buffer).unwrap();
    let bytes = rogue::unit(0x02, &call.bytes[1..5], &buffer[..n]);
    world.deliver(&Parcel { from: ROGUE, to: B, unit: Unit::Handshake, bytes });
    let heard = world.clients[B].take();
    assert!(heard.contains(&Heard::Open { fresh: true }), "{heard:?}");
    assert!(!heard.iter().any(|heard| matches!(heard, Heard::Unknown(_))), "{heard:?}");
}

#[test]
fn a_close_said_twice_is_one() {
    let mut world = world();
    world.pair(B, C);
    let mut rogue = Rogue::new(&mut world, ROGUE, B);
    rogue.first(&mut world);
    world.clients[B].take();
    let close: (u8, &[u8]) = (0x03, &[1, 0, 0, 0, 0, 0, 0, 0, 0]);
    let parcel = rogue.frames(0, &[close, close, (0x10, &[0, 0, 1]), (0x33, &[])]);
    world.deliver(&parcel);
    let heard = world.clients[B].take();
    assert!(matches!(heard[..], [Heard::Closed(why)] if why != CloseReason::Answered), "{heard:?}");
    only_that_ends(&mut world);
}

#[test]
fn nothing_behind_a_fault_or_a_close_is_taken_as_a_block_either() {
    let message: (u8, &[u8]) = (0x10, &[0, 0, 1]);
    for last in [(0x03, &[1, 0, 0, 0, 0, 0, 0, 0, 0][..]), (0x00, &[])] {
        let mut world = world();
        let mut rogue = Rogue::new(&mut world, ROGUE, B);
        rogue.first(&mut world);
        let mut unit = rogue.frames(0, &[message, message, last, message, message]);
        let (from, client) = (world.directory[ROGUE], &mut world.clients[B]);
        let env = Env { now: client.end.now, identity: &client.end.key };
        let mut incoming = client.peers.receive(&from, unit.unit, &mut unit.bytes, &env);
        assert!(matches!(client.peers.next(&mut incoming), Some(PeerEvent::Message { .. })));
        assert_eq!(client.peers.next_block(&mut incoming, 0).1, 1);
        assert!(matches!(
            client.peers.next(&mut incoming),
            Some(PeerEvent::Closed(_) | PeerEvent::Failed(_))
        ));
        assert_eq!(client.peers.next_block(&mut incoming, 0).1, 0);
        while let Some(event) = client.peers.next(&mut incoming) {
            assert!(!matches!(event, PeerEvent::Message { .. }), "{event:?}");
        }
    }
}

#[test]
fn what_is_unknown_and_ignorable_is_ignored() {
    let mut world = world();
    let mut rogue = Rogue::new(&mut world, ROGUE, B);
    rogue.first(&mut world);
    world.clients[B].take();
    let parcel = rogue.frames(0, &[(0x80, &[1]), (0xff, &[]), (0x10, &[0, 0, 7])]);
    world.deliver(&parcel);
    assert_eq!(world.clients[B].messages(), [[7]]);
    assert!(world.is_open(B, ROGUE));
}

#[test]
fn a_number_far_ahead_is_a_loss_and_nothing_else() {
    let mut world = world();
    let mut rogue = Rogue::new(&mut world, ROGUE, B);
    rogue.first(&mut world);
    world.clients[B].take();
    for number in [0x7fff_ffff, 0xffff_fffe, 0x7fff_fffd] {
        let parcel = rogue.frames(number, &[(0x10, &[0, 0, 7])]);
        world.deliver(&parcel);
        let heard = world.clients[B].take();
        assert!(matches!(heard[..], [Heard::Lost(_), Heard::Message(..)]), "{heard:?}");
    }
}
