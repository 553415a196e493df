//! The rules of channels, one test each.

extern crate std;
use super::*;
use crate::{
    id::{Name, RequestId},
    key::PublicKey,
    registry::{FixedRegistry, Policy},
};
use std::vec::Vec;

type Small = FixedRouter<3, 6>;
type People = FixedRegistry<4>;

const MESSAGE: Kind = Kind::Message;
const REQUEST: Kind = Kind::Request(RequestId(1));
const REPLY: Kind = Kind::Reply(RequestId(1));
const ZERO: ChannelId = ChannelId(0);
const ONE: ChannelId = ChannelId(1);

fn name(text: &str) -> ChannelName {
    ChannelName::new(text).unwrap()
}

/// Channels `a` and `b`; two channels for each connection.
fn router() -> Small {
    let mut router = Router::new(2, Fixed::new(), Fixed::new(), Fixed::new());
    router.create(&name("a")).unwrap();
    router.create(&name("b")).unwrap();
    router
}

fn people() -> People {
    Registry::new(Policy::Open, Fixed::new(), Fixed::new(), Fixed::new())
}

/// Admits the client called `text` on connection `slot`.
fn enter(people: &mut People, text: &str, slot: u32) -> Sender {
    let key = PublicKey([text.as_bytes()[0]; 32]);
    let claim = people.claim(&key, &Name::new(text).unwrap()).unwrap();
    let peer = people.confirm(claim, Slot(slot)).unwrap().peer;
    Sender { slot: Slot(slot), peer }
}

/// Alice calls channel `a` 0, Bob calls it 1, Carol is on `b` only.
fn three() -> (Small, People, [Sender; 3]) {
    let (mut r, mut p) = (router(), people());
    let all = [enter(&mut p, "alice", 1), enter(&mut p, "bob", 2), enter(&mut p, "carol", 3)];
    r.join(all[0].slot, ZERO, &name("a")).unwrap();
    r.join(all[1].slot, ONE, &name("a")).unwrap();
    r.join(all[2].slot, ZERO, &name("b")).unwrap();
    (r, p, all)
}

fn member(sender: Sender, local: ChannelId) -> Member {
    Member { slot: sender.slot, local }
}

#[test]
fn a_channel_is_created_once_and_its_number_never_comes_back() {
    let mut r = router();
    let a = r.find(&name("a")).unwrap();
    assert_eq!(r.create(&name("a")), Err(CreateError::Exists(a)));
    r.join(Slot(1), ZERO, &name("a")).unwrap();
    assert_eq!(r.remove(&name("a")), Some(a));
    assert_eq!(r.remove(&name("a")), None);
    assert_eq!((r.resolve(Slot(1), ZERO), r.members(a, None).count()), (None, 0));
    assert_ne!(r.create(&name("a")), Ok(a));
    assert_eq!(r.members(r.find(&name("a")).unwrap(), None).count(), 0, "nobody is inherited");
    let names: Vec<_> = r.channels().iter().map(|e| e.name().as_str()).collect();
    assert_eq!(names, ["a", "b"]);
}

#[test]
fn channels_end_with_the_storage_and_with_the_numbers() {
    let mut r = router();
    r.create(&name("c")).unwrap();
    assert_eq!(r.create(&name("d")), Err(CreateError::Full));
    r.remove(&name("c")).unwrap();
    r.next = u32::MAX;
    assert_eq!(r.create(&name("d")), Err(CreateError::Full));
    assert_eq!(r.find(&name("d")), None);
}

#[test]
fn each_connection_numbers_its_channels_itself() {
    let mut r = router();
    let a = r.join(Slot(1), ChannelId(7), &name("a")).unwrap();
    let b = r.join(Slot(2), ChannelId(7), &name("b")).unwrap();
    r.join(Slot(2), ChannelId(0), &name("a")).unwrap();
    assert_eq!(r.resolve(Slot(1), ChannelId(7)), Some(a));
    assert_eq!(r.resolve(Slot(2), ChannelId(7)), Some(b));
    assert_eq!((r.local(Slot(2), a), r.local(Slot(1), b)), (Some(ZERO), None));
    let on_a: Vec<_> = r.members(a, None).map(|m| (m.slot.0, m.local.0)).collect();
    assert_eq!(on_a, [(1, 7), (2, 0)]);
}

#[test]
fn a_connection_opens_a_channel_once_and_not_too_many() {
    let mut r = router();
    r.create(&name("c")).unwrap();
    assert_eq!(r.join(Slot(1), ZERO, &name("nowhere")), Err(JoinError::NoChannel));
    r.join(Slot(1), ZERO, &name("a")).unwrap();
    assert_eq!(r.join(Slot(1), ONE, &name("a")), Err(JoinError::AlreadyOpen(ZERO)));
    assert_eq!(r.join(Slot(1), ZERO, &name("b")), Err(JoinError::NumberInUse));
    r.join(Slot(1), ONE, &name("b")).unwrap();
    assert_eq!(r.join(Slot(1), ChannelId(2), &name("c")), Err(JoinError::TooMany));
    r.leave(Slot(1), ONE).unwrap();
    r.join(Slot(1), ChannelId(2), &name("c")).unwrap();
}

#[test]
fn full_storage_changes_neither_table() {
    let mut r = router();
    for slot in 0..6 {
        r.join(Slot(slot), ZERO, &name("a")).unwrap();
    }
    assert_eq!(r.join(Slot(9), ZERO, &name("a")), Err(JoinError::Full));
    assert_eq!(r.resolve(Slot(9), ZERO), None);
    assert_eq!(r.members(r.find(&name("a")).unwrap(), None).count(), 6);
}

#[test]
fn who_leaves_is_off_and_who_stays_is_on() {
    let (mut r, _, [alice, bob, carol]) = three();
    let (a, b) = (r.find(&name("a")).unwrap(), r.find(&name("b")).unwrap());
    assert_eq!(r.leave(alice.slot, ONE), None);
    assert_eq!(r.leave(alice.slot, ZERO), Some(a));
    assert_eq!(r.members(a, None).collect::<Vec<_>>(), [member(bob, ONE)]);
    r.join(bob.slot, ZERO, &name("b")).unwrap();
    r.drop_slot(bob.slot);
    r.drop_slot(Slot(99));
    assert_eq!(r.members(a, None).count(), 0);
    assert_eq!(r.members(b, None).collect::<Vec<_>>(), [member(carol, ZERO)]);
}

#[test]
fn one_message_reaches_the_server_one_client_or_all_others() {
    let (r, p, [alice, bob, _]) = three();
    let a = r.find(&name("a")).unwrap();
    for kind in [MESSAGE, REQUEST, REPLY] {
        let route = r.route(&p, alice, ZERO, Party::Server, kind);
        assert!(matches!(route, Ok(Route::Server(channel)) if channel == a));
        let route = r.route(&p, alice, ZERO, Party::Peer(bob.peer), kind);
        assert!(matches!(route, Ok(Route::Peer { peer, to })
            if peer == bob.peer && to == member(bob, ONE)));
        let route = r.route_from_server(&p, a, Party::Peer(bob.peer), kind);
        assert!(matches!(route, Ok(Route::Peer { to, .. }) if to == member(bob, ONE)));
    }
    let Ok(Route::Members(others)) = r.route(&p, alice, ZERO, Party::Everyone, MESSAGE) else {
        panic!("to the members");
    };
    assert_eq!(others.collect::<Vec<_>>(), [member(bob, ONE)], "never back to the sender");
    let Ok(Route::Members(all)) = r.route_from_server(&p, a, Party::Everyone, MESSAGE) else {
        panic!("to the members");
    };
    assert_eq!(all.size_hint(), (2, Some(2)));
    assert_eq!(all.collect::<Vec<_>>(), [member(alice, ZERO), member(bob, ONE)]);
}

#[test]
fn what_cannot_be_delivered_fails_with_its_reason() {
    let (r, mut p, [alice, bob, carol]) = three();
    let fails = |p: &People, local, to, kind| r.route(p, alice, local, to, kind).unwrap_err();
    for kind in [REQUEST, REPLY] {
        assert_eq!(fails(&p, ZERO, Party::Everyone, kind), Failure::BadDestination);
    }
    assert_eq!(fails(&p, ZERO, Party::Peer(alice.peer), MESSAGE), Failure::BadDestination);
    assert_eq!(fails(&p, ONE, Party::Server, MESSAGE), Failure::NoChannel);
    assert_eq!(fails(&p, ZERO, Party::Peer(carol.peer), MESSAGE), Failure::NotOnChannel);
    for nobody in [PeerId(0), PeerId(77), PeerId(u32::MAX)] {
        assert_eq!(fails(&p, ZERO, Party::Peer(nobody), MESSAGE), Failure::NoPeer);
    }
    p.offline(bob.peer, bob.slot);
    assert_eq!(fails(&p, ZERO, Party::Peer(bob.peer), MESSAGE), Failure::NoPeer);
    let (a, gone) = (r.find(&name("a")).unwrap(), Channel(99));
    let own = |channel, to| r.route_from_server(&p, channel, to, MESSAGE).map(drop);
    assert_eq!(own(a, Party::Server), Err(Failure::BadDestination));
    assert_eq!(own(gone, Party::Peer(alice.peer)), Err(Failure::NotOnChannel));
}

/// Hole 4: in the seed a message said who had sent it, and was believed. Here the connection says it, and
/// a connection that says what the registry does not gets nothing routed.
#[test]
fn seed_hole_4_the_sender_inside_a_message_is_believed() {
    let (r, p, [alice, bob, _]) = three();
    for to in [Party::Server, Party::Everyone, Party::Peer(bob.peer)] {
        let forged = Sender { slot: alice.slot, peer: bob.peer };
        assert_eq!(r.route(&p, forged, ZERO, to, MESSAGE).map(drop), Err(Failure::NoPeer));
        let unadmitted = Sender { slot: Slot(50), peer: alice.peer };
        assert_eq!(r.route(&p, unadmitted, ZERO, to, MESSAGE).map(drop), Err(Failure::NoPeer));
    }
}

/// Hole 15: in the seed a claim that nobody had checked chose the socket. Here only an admission moves
/// the route to a peer; joining channels or asking for the name does not.
#[test]
fn seed_hole_15_an_unauthenticated_claim_chooses_the_socket() {
    let (mut r, mut p, [alice, bob, _]) = three();
    let to_bob =
        |r: &Small, p: &People| match r.route(p, alice, ZERO, Party::Peer(bob.peer), MESSAGE) {
            Ok(Route::Peer { to, .. }) => Ok(to.slot),
            Ok(other) => panic!("{other:?}"),
            Err(failure) => Err(failure),
        };
    let (mallory, bobs) = (Slot(9), Name::new("bob").unwrap());
    r.join(mallory, ONE, &name("a")).unwrap();
    assert!(p.claim(&PublicKey([b'm'; 32]), &bobs).is_err());
    assert_eq!(to_bob(&r, &p), Ok(bob.slot));
    // Bob's own second connection is not in either before it is confirmed.
    let claim = p.claim(&PublicKey([b'b'; 32]), &bobs).unwrap();
    assert_eq!(to_bob(&r, &p), Ok(bob.slot));
    p.confirm(claim, Slot(5)).unwrap();
    assert_eq!(to_bob(&r, &p), Err(Failure::NotOnChannel), "the newest is active, and opens anew");
    r.join(Slot(5), ZERO, &name("a")).unwrap();
    assert_eq!(to_bob(&r, &p), Ok(Slot(5)));
}

#[test]
fn a_replaced_connection_sends_nothing_more() {
    let (r, mut p, [alice, bob, _]) = three();
    enter(&mut p, "alice", 10);
    let late = r.route(&p, alice, ZERO, Party::Peer(bob.peer), MESSAGE);
    assert_eq!(late.map(drop), Err(Failure::NoPeer));
}
