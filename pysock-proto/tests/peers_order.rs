//! What a session needs of the order of units: a server keeps handshakes and records in queues of their own.

mod sim;

use pysock_proto::{Unit, peer::Acquaintance};
use sim::peers::{Heard, World};

const A: usize = 0;
const B: usize = 1;

#[test]
fn a_record_before_its_handshake_costs_another_handshake_and_no_message() {
    let mut world = World::new(2);
    world.handshake(A, B, Acquaintance::New);
    world.pass_first(A);
    world.pass_first(B);
    let rest = world.collect(A);
    assert_eq!(rest.iter().map(|p| p.unit).collect::<Vec<_>>(), [Unit::Handshake, Unit::Record]);
    for parcel in rest.iter().rev() {
        world.deliver(parcel);
    }
    world.run();
    world.advance(1_000);
    world.run();
    let (a, b) = (world.clients[A].take(), world.clients[B].take());
    for heard in [&a, &b] {
        let lost = |heard: &Heard| {
            matches!(heard, Heard::Lost(_) | Heard::Undelivered(_) | Heard::Unknown(_))
        };
        assert!(!heard.iter().any(lost), "{a:?} {b:?}");
    }
    assert!(a.contains(&Heard::Wanted), "{a:?}");
    world.heals(A, B);
}

#[test]
fn handshakes_that_overtake_all_records_lose_nothing() {
    let mut world = World::new(2);
    world.pair(A, B);
    for hour in 0..4u8 {
        for n in 0..5 {
            world.send(A, B, &[hour, n]);
            world.send(B, A, &[hour, n]);
        }
        let records: Vec<_> = [A, B].into_iter().flat_map(|at| world.collect(at)).collect();
        world.handshake(A, B, Acquaintance::Known);
        let first = world.pass_first(A);
        let second = world.collect(B).remove(0);
        assert_eq!((first.unit, second.unit), (Unit::Handshake, Unit::Handshake));
        world.deliver(&second);
        for record in &records {
            world.deliver(record);
        }
        world.run();
        let expected: Vec<_> = (0..5).map(|n| vec![hour, n]).collect();
        for at in [A, B] {
            let heard = world.clients[at].take();
            assert!(!heard.iter().any(|heard| matches!(heard, Heard::Lost(_))), "{heard:?}");
            let messages = heard.into_iter().filter_map(|heard| match heard {
                Heard::Message(_, _, bytes) => Some(bytes),
                _ => None,
            });
            assert_eq!(messages.collect::<Vec<_>>(), expected);
        }
        world.advance(1_000);
    }
}

#[test]
fn what_was_said_after_a_beginning_is_heard_after_it() {
    let mut world = World::new(2);
    world.handshake(A, B, Acquaintance::New);
    world.pass_first(A);
    world.pass_first(B);
    for parcel in world.collect(A) {
        world.deliver(&parcel);
    }
    // Bob has a session and speaks in it; Alice does not know yet whether he has accepted her.
    assert!(world.is_open(B, A) && !world.is_open(A, B));
    world.send(B, A, b"one");
    let early = world.collect(B);
    world.clients[A].renews = false;
    world.reconnect(A);
    world.advance(1_000);
    world.poll(A);
    world.handshake(A, B, Acquaintance::New);
    world.pass_first(A);
    world.pass_first(B);
    let rest = world.collect(A);
    world.clients[A].take();
    // What he has said comes first, then his answer to the second beginning.
    for parcel in early.iter().chain(&rest) {
        world.deliver(parcel);
    }
    world.run();
    let heard = world.clients[A].take();
    let place = |what: &Heard| heard.iter().position(|heard| heard == what);
    let begins = place(&Heard::Open { fresh: true });
    let speaks = heard.iter().position(|heard| matches!(heard, Heard::Message(..)));
    assert!(begins.is_some() && begins < speaks, "{heard:?}");
    let beginnings = heard.iter().filter(|heard| **heard == Heard::Open { fresh: true });
    assert_eq!(beginnings.count(), 1, "{heard:?}");
    world.clients[A].renews = true;
    world.heals(A, B);
}
