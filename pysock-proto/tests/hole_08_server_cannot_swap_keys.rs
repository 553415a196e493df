//! The seed's server could swap the keys of a handshake between clients, and every handshake was approved. Here the
//! key that is proven is the one that counts.

mod sim;

use pysock_proto::{Identity, PeerError, PublicKey, Unit, peer::Acquaintance};
use sim::{
    keypair,
    peers::{Heard, Parcel, World},
    rogue,
};

const A: usize = 0;
const B: usize = 1;
const MALLORY: u8 = 99;

fn mallory() -> PublicKey {
    keypair(MALLORY).public()
}

fn nobody_is_open(world: &World) {
    for client in &world.clients {
        assert!(client.peers.sessions().is_empty());
        assert!(!client.heard.iter().any(|(_, heard)| matches!(heard, Heard::Open { .. })));
    }
}

#[test]
fn a_swapped_key_of_the_callee_is_noticed() {
    for how in [Acquaintance::New, Acquaintance::Known] {
        let mut world = World::new(2);
        let genuine = world.directory[B];
        world.directory[B].key = mallory();
        world.handshake(A, B, how);
        world.run();
        nobody_is_open(&world);
        let expected = match how {
            Acquaintance::Known => Heard::Failed(PeerError::NeedXx),
            _ => Heard::OtherKey(genuine.key),
        };
        assert_eq!(world.clients[A].take(), [expected]);
        world.directory[B] = genuine;
        world.advance(20_000);
        world.heals(A, B);
    }
}

#[test]
fn a_swapped_key_of_the_caller_is_noticed() {
    for how in [Acquaintance::New, Acquaintance::Known] {
        let mut world = World::new(2);
        let genuine = world.directory[A];
        world.directory[A].key = mallory();
        world.handshake(A, B, how);
        world.run();
        assert!(!world.is_open(A, B) && world.clients[B].peers.sessions().is_empty());
        let b = world.clients[B].take();
        match how {
            Acquaintance::Known => assert_eq!(b, []),
            _ => assert_eq!(b, [Heard::Greeted { proven: false }, Heard::OtherKey(genuine.key)]),
        }
        assert!(!world.clients[A].take().contains(&Heard::Open { fresh: true }));
        world.directory[A] = genuine;
        world.advance(20_000);
        world.heals(A, B);
    }
}

/// The server answers a call for B itself, with a key of its own.
fn answer_for_b(world: &mut World, hello: &[u8]) {
    let first = world.collect(A).remove(0);
    let mut noise = rogue::noise("XX", MALLORY, None, false);
    let mut buffer = [0; 300];
    noise.read_message(&first.bytes[5..], &mut buffer).unwrap();
    let n = noise.write_message(hello, &mut buffer).unwrap();
    let bytes = rogue::unit(0x12, &first.bytes[1..5], &buffer[..n]);
    world.deliver(&Parcel { from: B, to: A, unit: Unit::Handshake, bytes });
}

#[test]
fn a_server_that_answers_in_between_shows_its_own_key() {
    let hello = rogue::hello("bob", "alice");
    // The directory is honest: the key is another one.
    let mut world = World::new(2);
    world.handshake(A, B, Acquaintance::New);
    answer_for_b(&mut world, &hello);
    assert_eq!(world.clients[A].take(), [Heard::OtherKey(mallory())]);
    nobody_is_open(&world);
    // The directory lies as well: the key that has to be accepted is the false one, and this client's is not shown.
    let mut world = World::new(2);
    world.directory[B].key = mallory();
    world.clients[A].accepts = false;
    world.handshake(A, B, Acquaintance::New);
    answer_for_b(&mut world, &hello);
    assert_eq!(world.clients[A].take(), [Heard::Verify(mallory())]);
    let said = world.collect(A);
    assert_eq!(said.len(), 1, "it says no, and nothing else");
    assert_eq!((said[0].bytes[0], said[0].bytes.len()), (0x21, 6));
    nobody_is_open(&world);
}

#[test]
fn a_diagnosis_shows_the_key_that_answers_and_nothing_else() {
    let mut world = World::new(2);
    world.handshake(A, B, Acquaintance::Diagnose);
    answer_for_b(&mut world, &rogue::hello("bob", "alice"));
    assert_eq!(world.clients[A].take(), [Heard::Offered(mallory())]);
    assert_eq!(world.collect(A), []);
    nobody_is_open(&world);
}

#[test]
fn a_diagnosis_of_the_right_key_opens_nothing_either() {
    let mut world = World::new(2);
    world.handshake(A, B, Acquaintance::Diagnose);
    world.run();
    assert_eq!(world.clients[A].take(), [Heard::Offered(world.directory[B].key)]);
    assert_eq!(world.clients[B].take(), [Heard::Greeted { proven: false }]);
    nobody_is_open(&world);
}

#[test]
fn nobody_answers_a_call_to_a_known_key_but_its_owner() {
    let mut world = World::new(2);
    world.handshake(A, B, Acquaintance::Known);
    let first = world.collect(A).remove(0);
    // The server cannot even read it; whatever it says ends the attempt at most.
    let a = world.directory[A].key;
    let mut noise = rogue::noise("KK", MALLORY, Some(&a), false);
    assert!(noise.read_message(&first.bytes[5..], &mut [0; 300]).is_err());
    for len in [0, 32, 48, 57, 120] {
        let bytes = rogue::unit(0x02, &first.bytes[1..5], &vec![9; len]);
        world.deliver(&Parcel { from: B, to: A, unit: Unit::Handshake, bytes });
    }
    assert_eq!(world.clients[A].take(), [Heard::Failed(PeerError::Handshake)]);
    nobody_is_open(&world);
    world.heals(A, B);
}

#[test]
fn a_decision_against_a_key_is_heard_on_the_other_side() {
    let mut world = World::new(2);
    world.clients[B].accepts = false;
    world.handshake(A, B, Acquaintance::New);
    world.run();
    let why = PeerError::Refused(pysock_proto::PeerRefusal::NotTrusted);
    let b = world.directory[B].key;
    assert_eq!(world.clients[A].take(), [Heard::Verify(b), Heard::Failed(why)]);
    nobody_is_open(&world);
}

#[test]
fn a_decision_that_never_comes_ends_the_call() {
    let mut world = World::new(2);
    world.handshake(A, B, Acquaintance::New);
    // The first record never arrives, nor does the answer to it.
    world.run_with(|parcel| if parcel.unit == Unit::Record { vec![] } else { vec![parcel] });
    world.clients[A].take();
    let until = world.clients[A].peers.deadline().unwrap();
    world.advance(until.millis_since(world.now));
    world.run();
    assert_eq!(world.clients[A].take(), [Heard::Failed(PeerError::TimedOut)]);
    assert!(world.clients[A].peers.sessions().is_empty());
    world.heals(A, B);
}

#[test]
fn two_names_for_one_client_are_noticed() {
    for (how, liar) in
        [Acquaintance::New, Acquaintance::Known].map(|how| [(how, A), (how, B)]).concat()
    {
        let mut world = World::new(2);
        let genuine = world.directory[liar];
        world.directory[liar].name = "eve".parse().unwrap();
        world.handshake(A, B, how);
        world.run();
        nobody_is_open(&world);
        let heard: Vec<_> = world.clients.iter_mut().flat_map(|client| client.take()).collect();
        assert!(heard.contains(&Heard::Failed(PeerError::Name)), "{heard:?}");
        world.directory[liar] = genuine;
        world.advance(20_000);
        world.heals(A, B);
    }
}
