//! The rules of names, one test each.

extern crate std;
use super::*;

type Small = FixedRegistry<4>;

fn registry(policy: Policy) -> Small {
    Registry::new(policy, Fixed::new(), Fixed::new(), Fixed::new())
}

const CLAIM: Policy = Policy::ClaimOnce { quota: 3 };
const ALICE: PublicKey = PublicKey([1; 32]);
const BOB: PublicKey = PublicKey([2; 32]);
const MALLORY: PublicKey = PublicKey([3; 32]);

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn refused(registry: &mut Small, key: PublicKey, text: &str) -> Refusal {
    let before = registry.entries().len();
    let refusal = registry.claim(&key, &name(text)).unwrap_err();
    assert_eq!(registry.entries().len(), before, "a refusal leaves no trace");
    refusal
}

/// Claims and confirms.
fn enter(registry: &mut Small, key: PublicKey, text: &str, slot: u32) -> Admitted {
    let claim = registry.claim(&key, &name(text)).unwrap();
    registry.confirm(claim, Slot(slot)).unwrap()
}

#[test]
fn a_name_is_never_rebound() {
    for policy in [CLAIM, Policy::Open, Policy::AllowList] {
        let mut r = registry(policy);
        let alice = r.bind(&ALICE, &name("alice")).unwrap();
        let expected =
            if policy == Policy::AllowList { Refusal::NotAllowed } else { Refusal::NameTaken };
        assert_eq!(refused(&mut r, MALLORY, "alice"), expected);
        assert_eq!(r.bind(&MALLORY, &name("alice")), Err(BindError::NameTaken(alice)));
        assert_eq!(r.by_name(&name("alice")).unwrap().key(), &ALICE);
    }
}

#[test]
fn a_key_keeps_its_one_name_under_every_policy() {
    for policy in [CLAIM, Policy::Open, Policy::AllowList] {
        let mut r = registry(policy);
        let alice = r.bind(&ALICE, &name("alice")).unwrap();
        assert_eq!(refused(&mut r, ALICE, "bob"), Refusal::KeyHasName);
        assert_eq!(r.bind(&ALICE, &name("bob")), Err(BindError::KeyHasName(alice)));
        assert_eq!(r.bind(&ALICE, &name("alice")), Ok(alice), "the same pair again is fine");
    }
    let mut r = registry(Policy::Open);
    enter(&mut r, BOB, "bob", 1);
    assert_eq!(refused(&mut r, BOB, "robert"), Refusal::KeyHasName, "while it is connected");
    r.offline(PeerId(1), Slot(1));
    enter(&mut r, BOB, "robert", 2);
}

#[test]
fn a_number_that_was_given_is_told_from_one_that_never_was() {
    let mut r = registry(Policy::Open);
    let alice = enter(&mut r, ALICE, "alice", 1).peer;
    r.offline(alice, Slot(1));
    assert!(r.get(alice).is_none() && r.has_given(alice));
    for never in [0, alice.0 + 1, u32::MAX] {
        assert!(!r.has_given(PeerId(never)));
    }
}

/// Hole 3: in the seed one packet with a client's name replaced that client's key.
#[test]
fn seed_hole_3_one_packet_replaces_another_clients_key() {
    for policy in [CLAIM, Policy::Open] {
        let mut r = registry(policy);
        enter(&mut r, ALICE, "alice", 1);
        let refusal = refused(&mut r, MALLORY, "alice");
        assert!(matches!(refusal, Refusal::NameTaken | Refusal::NameInUse));
        let alice = r.by_name(&name("alice")).unwrap();
        assert_eq!((alice.key(), alice.slot()), (&ALICE, Some(Slot(1))));
        assert!(r.by_key(&MALLORY).is_none());
    }
}

/// Hole 9: in the seed everybody held the key that opened the door, for it was part of the package.
#[test]
fn seed_hole_9_a_universal_key_opens_every_door() {
    let mut r = registry(Policy::AllowList);
    for byte in [0, 1, 9, 255] {
        assert_eq!(refused(&mut r, PublicKey([byte; 32]), "alice"), Refusal::NotAllowed);
    }
    assert_eq!(r.count_online(), 0);
}

/// Promise 9: "the server will confuse which information is of which client".
#[test]
fn seed_promise_9_two_clients_of_one_name_are_never_confused() {
    let mut r = registry(Policy::Open);
    let alice = enter(&mut r, ALICE, "sensor", 1).peer;
    assert_eq!(refused(&mut r, BOB, "sensor"), Refusal::NameInUse);
    r.offline(alice, Slot(1));
    let bob = enter(&mut r, BOB, "sensor", 1).peer;
    assert_ne!(alice, bob, "same name, same socket, another identity");
    assert!(r.get(alice).is_none(), "a late answer to the first finds nobody");
}

#[test]
fn an_allow_list_does_not_tell_strangers_which_names_exist() {
    let mut r = registry(Policy::AllowList);
    r.bind(&ALICE, &name("alice")).unwrap();
    assert_eq!(refused(&mut r, MALLORY, "alice"), refused(&mut r, MALLORY, "nobody"));
    enter(&mut r, ALICE, "alice", 1);
}

#[test]
fn of_two_strangers_at_the_same_moment_the_first_has_the_name() {
    for policy in [CLAIM, Policy::Open] {
        let mut r = registry(policy);
        assert_eq!(r.policy(), policy);
        let first = r.claim(&ALICE, &name("x")).unwrap();
        assert_eq!(refused(&mut r, BOB, "x"), Refusal::NameInUse, "while the disk is written");
        assert_eq!(first.must_persist(), policy == CLAIM);
        r.confirm(first, Slot(1)).unwrap();
        let now = if policy == CLAIM { Refusal::NameTaken } else { Refusal::NameInUse };
        assert_eq!(refused(&mut r, BOB, "x"), now);
    }
}

#[test]
fn nobody_is_online_before_the_binding_is_on_disk() {
    let mut r = registry(CLAIM);
    let claim = r.claim(&ALICE, &name("alice")).unwrap();
    assert_eq!((r.count_online(), r.count_bound()), (0, 0));
    r.withdraw(claim); // The disk is full.
    assert!(r.entries().is_empty());
    enter(&mut r, BOB, "alice", 1);
    assert_eq!((r.count_online(), r.count_bound()), (1, 1));
}

#[test]
fn a_failed_write_for_one_connection_does_not_undo_that_of_another() {
    let mut r = registry(CLAIM);
    let (one, two) =
        (r.claim(&ALICE, &name("alice")).unwrap(), r.claim(&ALICE, &name("alice")).unwrap());
    assert!(one.must_persist() && two.must_persist(), "neither may rely on the other's write");
    r.withdraw(one);
    assert_eq!(refused(&mut r, BOB, "alice"), Refusal::NameInUse, "the second still holds it");
    r.confirm(two, Slot(2)).unwrap();
    assert!(!r.claim(&ALICE, &name("alice")).unwrap().must_persist(), "once is enough");
}

#[test]
fn a_claimed_name_stays_claimed_when_its_client_leaves() {
    let mut r = registry(CLAIM);
    let alice = enter(&mut r, ALICE, "alice", 1).peer;
    assert!(r.offline(alice, Slot(1)));
    assert_eq!(refused(&mut r, BOB, "alice"), Refusal::NameTaken);
    assert_eq!(enter(&mut r, ALICE, "alice", 2).peer, alice);
}

#[test]
fn the_newest_connection_of_a_key_is_the_active_one_and_keeps_its_number() {
    for policy in [CLAIM, Policy::Open] {
        let mut r = registry(policy);
        let first = enter(&mut r, ALICE, "alice", 1);
        assert_eq!(first.replaced, None);
        let second = enter(&mut r, ALICE, "alice", 2);
        assert_eq!(second, Admitted { peer: first.peer, replaced: Some(Slot(1)) });
        assert_eq!(r.count_online(), 1);
    }
}

#[test]
fn a_connection_does_not_replace_itself() {
    let mut r = registry(CLAIM);
    let first = enter(&mut r, ALICE, "alice", 1);
    assert_eq!(enter(&mut r, ALICE, "alice", 1), first);
    assert_eq!(r.by_key(&ALICE).unwrap().slot(), Some(Slot(1)));
}

#[test]
fn an_unadmitted_connection_replaces_nobody() {
    let mut r = registry(Policy::Open);
    let alice = enter(&mut r, ALICE, "alice", 1).peer;
    let claim = r.claim(&ALICE, &name("alice")).unwrap();
    assert_eq!(r.get(alice).unwrap().slot(), Some(Slot(1)));
    r.withdraw(claim);
    assert_eq!(r.get(alice).unwrap().slot(), Some(Slot(1)));
}

#[test]
fn a_late_goodbye_of_a_replaced_connection_changes_nothing() {
    let mut r = registry(Policy::Open);
    let alice = enter(&mut r, ALICE, "alice", 1).peer;
    enter(&mut r, ALICE, "alice", 2);
    assert!(!r.offline(alice, Slot(1)));
    assert_eq!(r.by_name(&name("alice")).unwrap().slot(), Some(Slot(2)));
    assert!(r.offline(alice, Slot(2)));
    assert!(r.entries().is_empty());
}

#[test]
fn a_goodbye_while_the_same_key_is_coming_back_keeps_its_number() {
    let mut r = registry(Policy::Open);
    let alice = enter(&mut r, ALICE, "alice", 1).peer;
    let claim = r.claim(&ALICE, &name("alice")).unwrap();
    assert!(r.offline(alice, Slot(1)));
    assert_eq!(r.confirm(claim, Slot(2)), Ok(Admitted { peer: alice, replaced: None }));
}

#[test]
fn a_quota_counts_unfinished_claims_but_not_the_operators_word() {
    let mut r = registry(Policy::ClaimOnce { quota: 1 });
    let pending = r.claim(&ALICE, &name("alice")).unwrap();
    assert_eq!(refused(&mut r, BOB, "bob"), Refusal::Full);
    r.withdraw(pending);
    enter(&mut r, BOB, "bob", 1);
    r.bind(&ALICE, &name("alice")).unwrap();
    enter(&mut r, ALICE, "alice", 2);
    assert_eq!(refused(&mut r, MALLORY, "mallory"), Refusal::Full);
}

#[test]
fn full_storage_refuses_strangers_only() {
    let mut r = registry(Policy::Open);
    for n in 1..=4 {
        enter(&mut r, PublicKey([n; 32]), &std::format!("n{n}"), n.into());
    }
    assert_eq!(refused(&mut r, PublicKey([5; 32]), "n5"), Refusal::Full);
    assert_eq!(r.bind(&PublicKey([5; 32]), &name("n5")), Err(BindError::Full));
    assert_eq!(enter(&mut r, ALICE, "n1", 9).replaced, Some(Slot(1)));
}

#[test]
fn numbers_end_before_the_one_that_means_everyone() {
    let mut r = registry(Policy::Open);
    assert_eq!(enter(&mut r, ALICE, "first", 1).peer, PeerId(1), "0 means the server");
    r.next = u32::MAX - 1;
    assert_eq!(enter(&mut r, BOB, "last", 2).peer, PeerId(u32::MAX - 1));
    assert_eq!(refused(&mut r, MALLORY, "more"), Refusal::Full);
    assert_eq!(r.bind(&MALLORY, &name("more")), Err(BindError::Full));
    assert_eq!(enter(&mut r, ALICE, "first", 3).peer, PeerId(1), "known ones still come in");
}

#[test]
fn what_the_operator_removes_is_gone_at_once() {
    let mut r = registry(CLAIM);
    let alice = enter(&mut r, ALICE, "alice", 1).peer;
    let again = r.claim(&ALICE, &name("alice")).unwrap();
    assert_eq!(r.remove(alice).unwrap().slot(), Some(Slot(1)));
    let bob = enter(&mut r, BOB, "alice", 2).peer;
    assert_ne!(alice, bob);
    assert_eq!(r.confirm(again, Slot(3)), Err(Refusal::NotAllowed), "a claim from before");
    assert!(!r.offline(alice, Slot(1)));
    assert_eq!(r.remove(alice).map(|_| ()), None);
    assert_eq!(r.by_name(&name("alice")).unwrap().key(), &BOB);
}

#[test]
fn a_list_is_reloaded_while_clients_are_connected() {
    let mut r = registry(Policy::AllowList);
    for (key, text, slot) in [(ALICE, "alice", 1), (BOB, "bob", 2), (MALLORY, "mallory", 3)] {
        r.bind(&key, &name(text)).unwrap();
        enter(&mut r, key, text, slot);
    }
    // Alice stays, Bob is called otherwise now, Mallory is out.
    let list = [(ALICE, name("alice")), (BOB, name("robert"))];
    let mut kicked = std::vec::Vec::new();
    r.retain(|e| {
        let keep = list.contains(&(*e.key(), *e.name()));
        kicked.extend(e.slot().filter(|_| !keep));
        keep
    });
    for (key, name) in &list {
        r.bind(key, name).unwrap();
    }
    assert_eq!(kicked, [Slot(2), Slot(3)]);
    assert_eq!(r.by_name(&name("alice")).unwrap().slot(), Some(Slot(1)));
    assert_eq!(refused(&mut r, BOB, "bob"), Refusal::KeyHasName);
    assert_eq!(refused(&mut r, MALLORY, "mallory"), Refusal::NotAllowed);
    enter(&mut r, BOB, "robert", 4);
}

#[test]
fn a_stricter_policy_names_those_who_have_to_go() {
    let mut r = registry(Policy::Open);
    r.bind(&ALICE, &name("alice")).unwrap();
    enter(&mut r, ALICE, "alice", 1);
    let bob = enter(&mut r, BOB, "bob", 2).peer;
    let late = r.claim(&MALLORY, &name("mallory")).unwrap();
    r.set_policy(Policy::AllowList);
    assert_eq!(r.confirm(late, Slot(3)), Err(Refusal::NotAllowed));
    assert!(r.by_key(&MALLORY).is_none(), "a claim that fails is withdrawn");
    let out: std::vec::Vec<_> = r.no_longer_allowed().map(Entry::peer).collect();
    assert_eq!(out, [bob]);
    assert!(!r.still_allowed(bob) && !r.still_allowed(PeerId(99)));
}

#[test]
fn a_policy_that_persists_admits_nobody_unpersisted() {
    let mut r = registry(Policy::Open);
    let claim = r.claim(&ALICE, &name("alice")).unwrap();
    r.set_policy(CLAIM);
    assert_eq!(r.confirm(claim, Slot(1)), Err(Refusal::Trouble));
    let claim = r.claim(&ALICE, &name("alice")).unwrap();
    assert!(claim.must_persist());
    r.confirm(claim, Slot(1)).unwrap();
}

#[test]
fn a_directory_is_paged_by_number() {
    let mut r = registry(CLAIM);
    r.bind(&ALICE, &name("offline")).unwrap();
    let (bob, mallory) = (enter(&mut r, BOB, "b", 1).peer, enter(&mut r, MALLORY, "a", 2).peer);
    assert_eq!(r.next_online_after(PeerId(0)).map(Entry::peer), Some(bob));
    r.offline(bob, Slot(1));
    assert_eq!(r.next_online_after(bob).map(Entry::peer), Some(mallory));
    assert!(r.next_online_after(mallory).is_none());
    assert_eq!((r.count_online(), r.count_bound()), (1, 3));
}

#[test]
fn a_desktop_knows_thousands() {
    use crate::store::growing::Growing;
    let mut r =
        Registry::new(Policy::Open, Growing::default(), Growing::default(), Growing::default());
    let key = |n: u32| {
        let mut key = [0; 32];
        key[..4].copy_from_slice(&n.wrapping_mul(0x9e37_79b9).to_be_bytes());
        PublicKey(key)
    };
    let label = |n: u32| name(&std::format!("c{:x}", n.reverse_bits()));
    for n in 1..=3000 {
        let claim = r.claim(&key(n), &label(n)).unwrap();
        r.confirm(claim, Slot(n)).unwrap();
    }
    for n in (1..=3000).step_by(2) {
        r.offline(PeerId(n), Slot(n));
    }
    for n in 1..=3000 {
        let expected = (n % 2 == 0).then_some(Slot(n));
        assert_eq!(r.by_key(&key(n)).and_then(Entry::slot), expected);
        assert_eq!(r.by_name(&label(n)).and_then(Entry::slot), expected);
    }
}

#[test]
fn a_late_last_message_of_a_connection_given_up_throws_nobody_out() {
    for policy in [CLAIM, Policy::Open] {
        let mut r = registry(policy);
        // Slot 1 began first, but slot 2 has proven the key before it.
        let late = r.claim(&ALICE, &name("alice")).unwrap();
        let alice = enter(&mut r, ALICE, "alice", 2);
        assert_eq!(r.confirm(late, Slot(1)), Err(Refusal::Replaced));
        assert_eq!(r.by_key(&ALICE).unwrap().slot(), Some(Slot(2)));
        assert_eq!(enter(&mut r, ALICE, "alice", 3).replaced, Some(Slot(2)));
        assert!(r.offline(alice.peer, Slot(3)));
        // Nothing of the late claim is left.
        assert_eq!(r.by_key(&ALICE).is_some(), policy == CLAIM);
    }
}
