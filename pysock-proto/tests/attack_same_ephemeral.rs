//! Two clients call with the same ephemeral key, so that their attempts have the same name and their greetings the same hash. A
//! decision about one says nothing about the other.

mod sim;

use pysock_proto::{
    Env, PeerRefusal, Unit,
    peer::{Greeting, PeerEvent},
};
use sim::{
    peers::{Heard, Parcel, World},
    rogue::{self, Rogue},
};

const C: usize = 0;
const B: usize = 1;
const D: usize = 2;
const NAMES: [&str; 3] = ["alice", "bob", "carol"];
const EPHEMERAL: [u8; 32] = [7; 32];

/// The handshake of the one at `at` with B, as far as B has to decide about its key.
fn call(world: &mut World, at: usize) -> Rogue {
    let mut noise = rogue::xx_with(50 + at as u8, &EPHEMERAL);
    let (mut buffer, mut text) = ([0; 300], [0; 300]);
    let n = noise.write_message(&[], &mut buffer).unwrap();
    let attempt: [u8; 4] = buffer[..4].try_into().unwrap();
    let handshake = |bytes| Parcel { from: at, to: B, unit: Unit::Handshake, bytes };
    world.deliver(&handshake(rogue::unit(0x11, &attempt, &buffer[..n])));
    let answer = world.collect(B).into_iter().find(|unit| unit.bytes[0] == 0x12).unwrap();
    assert_eq!(answer.to, at);
    noise.read_message(&answer.bytes[5..], &mut text).unwrap();
    let n = noise.write_message(&rogue::hello(NAMES[at], "bob"), &mut buffer).unwrap();
    world.deliver(&handshake(rogue::unit(0x13, &attempt, &buffer[..n])));
    world.collect(B);
    Rogue::after(noise, at, B, text[7])
}

#[test]
fn accepting_one_key_lets_nobody_else_in() {
    let mut world = World::new(3);
    world.clients[B].hesitates = true;
    let mut other = call(&mut world, C);
    let mut accepted = call(&mut world, D);
    accepted.first(&mut world);
    world.clients[B].take();
    // The last question was about D.
    world.clients[B].decide(true).unwrap();
    assert!(world.is_open(B, D), "it was accepted");
    assert!(!world.is_open(B, C), "nobody has decided about it");
    world.clients[B].take();
    other.first(&mut world);
    let parcel = other.frames(1, &[(0x10, &[0, 0, 7])]);
    world.deliver(&parcel);
    assert_eq!(world.clients[B].messages(), [[0u8; 0]; 0], "its words count for nothing");
    let parcel = accepted.frames(1, &[(0x10, &[0, 0, 8])]);
    world.deliver(&parcel);
    assert!(world.clients[B].take().iter().any(|heard| matches!(heard, Heard::Message(..))));
}

/// What B is asked as `at` calls; it decides nothing yet.
fn greet(world: &mut World, at: usize) -> Greeting {
    let mut buffer = [0; 300];
    let n = rogue::xx_with(50 + at as u8, &EPHEMERAL).write_message(&[], &mut buffer).unwrap();
    let mut unit = rogue::unit(0x11, &buffer[..4], &buffer[..n]);
    let (stamp, client) = (world.directory[at], &mut world.clients[B]);
    let env = Env { now: client.end.now, identity: &client.end.key };
    let mut incoming = client.peers.receive(&stamp, Unit::Handshake, &mut unit, &env);
    match client.peers.next(&mut incoming) {
        Some(PeerEvent::Greeting(greeting)) => greeting,
        other => panic!("{other:?}"),
    }
}

#[test]
fn answering_or_refusing_one_greeting_is_no_answer_to_the_other() {
    let mut world = World::new(3);
    let (refused, answered) = (greet(&mut world, C), greet(&mut world, D));
    let client = &mut world.clients[B];
    let env = Env { now: client.end.now, identity: &client.end.key };
    let by = client.end.now.after_millis(5_000);
    let ephemeral = pysock_proto::Ephemeral::new::<sim::C>([9; 32]);
    client.peers.answer(answered, ephemeral, by).unwrap();
    client.peers.refuse(refused, PeerRefusal::NotTrusted, &env);
    let said: Vec<_> = world.collect(B).iter().map(|unit| (unit.to, unit.bytes[0])).collect();
    assert_eq!(said.iter().filter(|unit| **unit == (D, 0x12)).count(), 1, "{said:x?}");
    assert!(said.iter().all(|(to, step)| (*to == D) == (*step == 0x12)), "{said:x?}");
}
