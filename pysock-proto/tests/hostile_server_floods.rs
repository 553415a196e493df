//! A server that drowns a client in calls and records: what that costs is bounded, live sessions stay as they are, and
//! whoever really calls gets through afterwards.

mod sim;

use pysock_proto::{Identity, PeerId, PeerInfo, Unit, peer::Acquaintance};
use sim::{
    keypair,
    peers::{Heard, Parcel, World},
};

const A: usize = 0;
const B: usize = 1;
const C: usize = 2;

fn call(from: usize, step: u8, n: u32, len: usize) -> Parcel {
    let mut message = vec![0x55; len];
    message[..4].copy_from_slice(&n.to_be_bytes());
    let bytes = [&[step], &message[..4], &message].concat();
    Parcel { from, to: B, unit: Unit::Handshake, bytes }
}

/// B's session with A carries messages both ways.
fn undisturbed(world: &mut World, n: u32) {
    world.send(A, B, &n.to_be_bytes());
    world.send(B, A, &n.to_be_bytes());
    for at in [A, B] {
        for unit in world.collect(at) {
            if unit.to < 3 {
                world.deliver(&unit);
            }
        }
    }
    assert_eq!(world.clients[A].messages(), [n.to_be_bytes()]);
    assert_eq!(world.clients[B].messages(), [n.to_be_bytes()]);
}

#[test]
fn calls_of_hundreds_of_strangers() {
    for (step, len) in [(0x11, 32), (0x01, 80)] {
        let mut world = World::new(3);
        world.pair(A, B);
        for n in 0..200 {
            let (id, key) = (PeerId(100 + n), keypair(n as u8).public());
            world.directory.push(PeerInfo { id, key, name: "eve".parse().unwrap() });
        }
        let mut answers = 0;
        for n in 0..2_000u32 {
            let from = 3 + n as usize % 200;
            // Who calls is nobody that the test knows; the parcel only needs its stamp.
            world.deliver(&call(from, step, n, len));
            if n % 50 == 0 {
                answers += world.collect(B).len();
                undisturbed(&mut world, n);
            }
        }
        assert!(answers < 80, "{answers} answers");
        assert!(world.clients[B].peers.sessions().len() == 1);
        world.directory.truncate(3);
        world.collect(B);
        world.advance(11_000);
        world.heals(C, B);
        world.heals(A, B);
    }
}

#[test]
fn calls_of_one_acquaintance() {
    for (step, len) in [(0x11, 32), (0x01, 80)] {
        let mut world = World::new(3);
        world.pair(A, B);
        world.advance(1_000);
        for n in 0..2_000 {
            world.deliver(&call(A, step, n, len));
            if n % 50 == 0 {
                undisturbed(&mut world, n);
            }
        }
        world.advance(11_000);
        world.heals(C, B);
        world.handshake(A, B, Acquaintance::Known);
        world.heals(A, B);
    }
}

#[test]
fn records_of_no_session() {
    let mut world = World::new(3);
    world.pair(A, B);
    let mut notices = 0;
    for n in 0..5_000u32 {
        let mut bytes = vec![n as u8; 40 + n as usize % 60];
        bytes[1..4].copy_from_slice(&n.to_be_bytes()[1..]);
        let from = [A, C][n as usize % 2];
        world.deliver(&Parcel { from, to: B, unit: Unit::Record, bytes });
        if n % 100 == 0 {
            notices += world.collect(B).len();
        }
    }
    // Eight for each of the two.
    assert!(notices <= 16, "{notices} notices");
    assert!(world.is_open(A, B) && world.is_open(B, A));
    assert_eq!(world.clients[B].peers.dropped(), 5_000);
    undisturbed(&mut world, 7);
    world.heals(C, B);
}

#[test]
fn the_same_answers_over_and_over() {
    let mut world = World::new(2);
    world.handshake(A, B, Acquaintance::New);
    world.run_with(|unit| vec![unit; 50]);
    let heard = world.clients[A].take();
    assert_eq!(heard.iter().filter(|heard| matches!(heard, Heard::Open { .. })).count(), 1);
    world.heals(A, B);
}

#[test]
fn a_session_that_is_denied_again_and_again_is_renewed_at_a_steady_pace() {
    let mut world = World::new(2);
    world.pair(A, B);
    let mut renewed = 0;
    for _ in 0..6_000 {
        // A minute, in which the server says of every record that there is no session for it.
        world.advance(10);
        if world.is_open(A, B) {
            world.send(A, B, b"?");
        }
        world.run();
        let last = world.seen.iter().rev().find(|unit| unit.from == A && unit.unit == Unit::Record);
        let header = last.map_or(vec![0; 4], |unit| unit.bytes[..4].to_vec());
        let bytes = [&[0x23][..], &header, &[0]].concat();
        world.deliver(&Parcel { from: B, to: A, unit: Unit::Handshake, bytes });
        world.seen.clear();
        renewed += world.clients[A].take().iter().filter(|heard| **heard == Heard::Wanted).count();
        world.clients[B].take();
    }
    assert!((30..80).contains(&renewed), "{renewed} times");
    world.advance(60_000);
    world.heals(A, B);
}

#[test]
fn who_guesses_without_end_holds_up_nobody_else() {
    let mut world = World::new(3);
    for n in 0..400 {
        world.advance(25);
        world.deliver(&call(A, 0x01, n, 80));
        world.collect(B);
    }
    world.handshake(C, B, Acquaintance::Known);
    world.run();
    assert!(world.is_open(C, B) && world.is_open(B, C));
}
