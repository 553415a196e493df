//! One rule at a time, and hostile input.

extern crate std;
use std::{format, vec, vec::Vec};

use super::*;
use crate::store::growing::Growing;

const ID: GroupId = GroupId([7; 16]);

fn key(n: u8) -> PublicKey {
    PublicKey([n; 32])
}

fn name(n: u8) -> Name {
    Name::new(&format!("c{n}")).unwrap()
}

fn owned<const N: usize>() -> FixedGroup<N> {
    Group::create(ID, name(0), (key(1), name(1)), Fixed::new()).unwrap()
}

fn control(epoch: u32, op: Op) -> Vec<u8> {
    Control { group: ID, epoch, op }.encode().as_slice().to_vec()
}

fn begin(epoch: u32, members: u16) -> Vec<u8> {
    control(epoch, Op::Begin { label: name(0), members })
}

fn listed(epoch: u32, index: u16, since: u32, n: u8) -> Vec<u8> {
    control(epoch, Op::Member { index, since, key: key(n), name: name(n) })
}

fn added(epoch: u32, n: u8) -> Vec<u8> {
    control(epoch, Op::Added { key: key(n), name: name(n) })
}

fn removed(epoch: u32, n: u8) -> Vec<u8> {
    control(epoch, Op::Removed(key(n)))
}

fn message(epoch: u32, id: u32) -> Vec<u8> {
    [&Header { group: ID, epoch, id }.encode()[..], b"hi"].concat()
}

/// The view of client 2 in a group of 1 (the owner), 2 and 3, in epoch 5.
fn member<const N: usize>(standing: Standing) -> FixedGroup<N> {
    let mut group = Group::join(key(2), &key(1), &begin(5, 3), Fixed::new()).unwrap();
    let mut parts = vec![listed(5, 0, 1, 1), listed(5, 1, 5, 2), listed(5, 2, 4, 3)];
    if standing != Standing::Joining {
        parts.push(control(5, Op::Joined));
    }
    if standing == Standing::Active {
        parts.push(control(5, Op::Active));
    }
    for part in parts {
        group.apply(&key(1), &part).unwrap();
    }
    assert_eq!(group.standing(), standing);
    group
}

/// Answers every step with what `answer` says of it, and returns the steps.
fn run<S: Store<Member>>(
    group: &mut Group<S>,
    mut answer: impl FnMut(&Step) -> Answer,
) -> Vec<(u8, Op)> {
    let mut steps = vec![];
    while let Some(step) = group.step() {
        assert_eq!(Control::decode(step.control.encode().as_slice()), Ok(step.control));
        let answer = answer(&step);
        steps.push((step.to.0[0], step.control.op));
        group.done(&step, answer);
    }
    steps
}

fn with_members<const N: usize>(members: &[u8]) -> FixedGroup<N> {
    let mut group = owned();
    for n in members {
        group.add(key(*n), name(*n)).unwrap();
        run(&mut group, |_| Answer::Done);
    }
    group
}

fn keys<S: Store<Member>>(group: &Group<S>) -> Vec<u8> {
    group.members().map(|m| m.key().0[0]).collect()
}

#[test]
fn a_member_is_told_all_before_the_others_are_told_of_it() {
    let mut group = with_members::<4>(&[3]);
    group.add(key(2), name(2)).unwrap();
    assert_eq!(group.add(key(4), name(4)), Err(GroupError::Busy));
    let mut epochs = vec![];
    let steps = run(&mut group, |step| {
        epochs.push(step.control.epoch);
        Answer::Done
    });
    let member = |index, n, since| Op::Member { index, since, key: key(n), name: name(n) };
    let expected = [
        (2, Op::Begin { label: name(0), members: 3 }),
        (2, member(0, 1, 1)),
        (2, member(1, 2, 3)),
        (2, member(2, 3, 2)),
        (2, Op::Joined),
        (3, Op::Added { key: key(2), name: name(2) }),
        (2, Op::Active),
    ];
    assert_eq!(steps, expected);
    assert_eq!(epochs, [3; 7]);
    assert_eq!((keys(&group), group.epoch()), (vec![1, 2, 3], 3));
}

#[test]
fn a_removal_is_told_to_the_removed_one_last_and_at_the_end_to_all() {
    let mut group = with_members::<4>(&[2, 3, 4]);
    group.remove(&key(3)).unwrap();
    assert_eq!(keys(&group), [1, 2, 4], "at once");
    let gone = Op::Removed(key(3));
    assert_eq!(run(&mut group, |_| Answer::Done), [(2, gone), (4, gone), (3, gone)]);
    group.dissolve().unwrap();
    assert_eq!(group.header(), Err(GroupError::Over));
    let steps = run(&mut group, |_| Answer::Failed);
    assert_eq!(steps, [(2, Op::Dissolved), (4, Op::Dissolved)]);
    assert_eq!(group.dissolve(), Err(GroupError::Over));
    assert_eq!(group.apply(&key(2), &control(3, Op::Leave)), Err(GroupError::Over));
}

#[test]
fn who_cannot_be_told_holds_nobody_up_and_gets_a_snapshot_later() {
    let mut group = with_members::<5>(&[2, 3]);
    group.add(key(4), name(4)).unwrap();
    let deaf = |step: &Step| if step.to == key(2) { Answer::Failed } else { Answer::Done };
    assert_eq!(run(&mut group, deaf).last(), Some(&(4, Op::Active)));
    assert!(group.get(&key(2)).unwrap().is_lagging());
    // It is tried again after the next change; not in a circle.
    group.remove(&key(3)).unwrap();
    let steps = run(&mut group, deaf);
    let gone = Op::Removed(key(3));
    assert_eq!(steps, [(4, gone), (3, gone), (2, Op::Begin { label: name(0), members: 3 })]);
    assert_eq!(group.step(), None);
    group.retry(&key(2));
    let steps = run(&mut group, |_| Answer::Done);
    assert_eq!((steps.len(), steps.last()), (6, Some(&(2, Op::Active))));
    assert!(!group.get(&key(2)).unwrap().is_lagging());
}

#[test]
fn a_change_interrupts_a_snapshot_which_then_begins_again() {
    let mut group = with_members::<5>(&[2, 3]);
    group.apply(&key(2), &control(2, Op::Stale)).unwrap();
    let first = group.step().unwrap();
    group.done(&first, Answer::Done);
    let second = group.step().unwrap();
    assert!(!group.is_changing());
    group.remove(&key(3)).unwrap();
    group.done(&second, Answer::Done);
    let steps = run(&mut group, |_| Answer::Done);
    let begin = Op::Begin { label: name(0), members: 2 };
    assert_eq!(steps[..2], [(3, Op::Removed(key(3))), (2, begin)]);
    assert_eq!((steps.len(), steps.last()), (6, Some(&(2, Op::Active))));
    assert_eq!(group.step(), None);
}

#[test]
fn an_addition_that_fails_leaves_no_trace_and_no_epoch() {
    for fails_at in 0..4 {
        let mut group = with_members::<3>(&[2]);
        group.add(key(3), name(3)).unwrap();
        let mut left = fails_at;
        let steps = run(&mut group, |_| {
            left -= 1;
            if left < 0 { Answer::Refused } else { Answer::Done }
        });
        assert_eq!(steps.len(), fails_at as usize + 1);
        assert_eq!((keys(&group), group.epoch(), group.is_changing()), (vec![1, 2], 2, false));
    }
}

#[test]
fn interrupted_steps_come_again_and_answers_to_others_count_for_nothing() {
    let mut group = with_members::<4>(&[2, 3]);
    group.remove(&key(3)).unwrap();
    let step = group.step().unwrap();
    assert_eq!(group.step(), None);
    let other = Step { to: key(3), ..step };
    group.done(&other, Answer::Done);
    assert_eq!(group.step(), None);
    group.interrupted();
    assert_eq!(group.step(), Some(step));
    group.done(&step, Answer::Done);
    group.done(&step, Answer::Failed);
    assert!(!group.get(&key(2)).unwrap().is_lagging());
    let last = group.step().unwrap();
    group.interrupted();
    assert_eq!(group.step(), Some(last));
}

#[test]
fn the_owner_keeps_out_what_does_not_belong() {
    let mut group = with_members::<3>(&[2]);
    assert_eq!(group.add(key(2), name(9)), Err(GroupError::Duplicate));
    assert_eq!(group.add(key(1), name(1)), Err(GroupError::Duplicate));
    assert_eq!(group.remove(&key(1)), Err(GroupError::Role));
    assert_eq!(group.remove(&key(9)), Err(GroupError::NotMember));
    assert_eq!(group.leave(), Err(GroupError::Role));
    group.add(key(3), name(3)).unwrap();
    run(&mut group, |_| Answer::Done);
    assert_eq!(group.add(key(4), name(4)), Err(GroupError::Full));
    // A member's epochs cannot be ahead of the owner's.
    assert_eq!(group.check(&key(2), &message(9, 1)), Err(GroupError::Epoch));
    for (from, bytes, why) in [
        (2, added(4, 5), GroupError::Role),
        (2, begin(4, 2), GroupError::Role),
        (1, control(3, Op::Leave), GroupError::Role),
        (9, control(3, Op::Leave), GroupError::NotMember),
        (9, control(3, Op::Stale), GroupError::NotMember),
    ] {
        assert_eq!(group.apply(&key(from), &bytes), Err(why), "{from}");
    }
    assert_eq!(group.step(), None);
}

#[test]
fn a_group_has_a_most_of_members() {
    let mut group =
        Group::create(ID, name(0), (key(1), name(1)), Growing::<Member>::default()).unwrap();
    for n in 1..MAX_MEMBERS {
        let [a, b] = n.to_be_bytes();
        let mut bytes = [2; 32];
        bytes[..2].copy_from_slice(&[a, b]);
        group.add(PublicKey(bytes), name(2)).unwrap();
        // Only the new one answers, so that the test stays linear.
        run(&mut group, |_| Answer::Done);
    }
    assert_eq!(group.members().count(), usize::from(MAX_MEMBERS));
    assert_eq!(group.add(key(9), name(9)), Err(GroupError::Full));
    let mut joined = Group::join(key(2), &key(1), &begin(5, 2), Fixed::<_, 4>::new()).unwrap();
    assert_eq!(joined.apply(&key(1), &begin(5, MAX_MEMBERS + 1)), Err(GroupError::Full));
}

#[test]
fn members_ask_leave_and_forget() {
    let mut group = with_members::<4>(&[2, 3]);
    let stale = |epoch| control(epoch, Op::Stale);
    assert_eq!(group.apply(&key(2), &stale(3)), Ok(Applied::Nothing), "it is not");
    assert_eq!(group.step(), None);
    assert_eq!(group.apply(&key(2), &stale(2)), Ok(Applied::Asks(key(2))));
    let steps = run(&mut group, |_| Answer::Done);
    assert_eq!((steps.len(), group.epoch()), (6, 3));
    assert_eq!(group.apply(&key(2), &stale(0)), Ok(Applied::Asks(key(2))));
    let steps = run(&mut group, |_| Answer::Done);
    assert!(steps.contains(&(3, Op::Added { key: key(2), name: name(2) })), "added anew");
    assert_eq!((group.epoch(), group.get(&key(2)).unwrap().since()), (4, 4));
    assert_eq!(group.apply(&key(2), &control(1, Op::Leave)), Ok(Applied::Leaves(key(2))));
    let steps = run(&mut group, |_| Answer::Done);
    let told = (3, Op::Removed(key(2)));
    assert_eq!(steps, [told, (2, told.1)], "it left before it was added anew");
    group.add(key(2), name(2)).unwrap();
    run(&mut group, |_| Answer::Done);
    let epoch = group.epoch();
    assert_eq!(group.apply(&key(2), &control(epoch, Op::Leave)), Ok(Applied::Leaves(key(2))));
    assert_eq!(run(&mut group, |_| Answer::Done), [told], "it knows, and may be gone");
    // Who answers that it is gone leaves as well.
    group.add(key(4), name(4)).unwrap();
    run(&mut group, |step| if step.to == key(3) { Answer::Gone } else { Answer::Done });
    assert_eq!(keys(&group), [1, 4]);
}

#[test]
fn joining_gives_the_right_to_receive_and_then_to_send() {
    let mut joining = member::<4>(Standing::Joining);
    assert_eq!(joining.check(&key(3), &message(5, 1)), Err(GroupError::NotActive));
    assert_eq!(joining.members().count(), 0);
    assert_eq!(joining.apply(&key(1), &control(0, Op::Active)), Err(GroupError::Stale));
    let mut receiving = member::<4>(Standing::Receiving);
    assert_eq!(receiving.header(), Err(GroupError::NotActive));
    assert!(receiving.check(&key(3), &message(5, 1)).is_ok());
    let mut active = member::<4>(Standing::Active);
    let header = |group: &mut FixedGroup<4>| Header::decode(&group.header().unwrap()).unwrap().0;
    assert_eq!(header(&mut active), Header { group: ID, epoch: 5, id: 1 });
    assert_eq!(header(&mut active).id, 2);
    active.sent = u32::MAX;
    assert_eq!(active.header(), Err(GroupError::Used));
    assert_eq!(active.others().map(|m| m.key().0[0]).collect::<Vec<_>>(), [1, 3]);
}

#[test]
fn a_message_counts_once_from_a_member_in_its_time() {
    let mut group = member::<4>(Standing::Active);
    let fine = Checked { payload: b"hi", missed: 0, old_view: false };
    assert_eq!(group.check(&key(3), &message(5, 9)), Ok(fine));
    assert_eq!(group.check(&key(3), &message(5, 9)), Err(GroupError::Repeated));
    assert_eq!(group.check(&key(3), &message(5, 8)), Err(GroupError::Repeated));
    assert_eq!(group.check(&key(3), &message(5, 12)), Ok(Checked { missed: 2, ..fine }));
    assert_eq!(group.check(&key(3), &message(4, 13)), Err(GroupError::Epoch), "before it joined");
    assert_eq!(group.check(&key(2), &message(5, 1)), Err(GroupError::NotMember), "itself");
    assert_eq!(group.check(&key(9), &message(5, 1)), Err(GroupError::NotMember));
    assert_eq!(group.check(&key(9), &message(9, 1)), Err(GroupError::NotMember));
    assert_eq!(group.ask(), None, "strangers make nobody ask");
    assert!(group.check(&key(3), &message(6, 13)).unwrap().old_view);
    assert_eq!(group.ask(), Some(Control { group: ID, epoch: 5, op: Op::Stale }));
    assert_eq!(group.ask(), None, "once");
    group.answered(Answer::Failed);
    assert!(group.ask().is_some());
    group.answered(Answer::Done);
    assert_eq!(group.ask(), None);
    for cut in 0..HEADER {
        assert_eq!(group.check(&key(3), &message(6, 14)[..cut]), Err(GroupError::Malformed));
    }
    assert_eq!(group.check(&key(3), &message(6, 0)), Err(GroupError::Malformed));
    let mut other = message(6, 14);
    other[0] ^= 1;
    assert_eq!(group.check(&key(3), &other), Err(GroupError::OtherGroup));
}

#[test]
fn changes_follow_each_other_and_repetitions_have_no_effect() {
    let mut group = member::<4>(Standing::Active);
    let owner = key(1);
    assert_eq!(group.apply(&owner, &added(7, 4)), Err(GroupError::Stale), "one is missing");
    assert_eq!(group.apply(&owner, &added(6, 4)), Ok(Applied::Added(key(4))));
    assert_eq!(group.apply(&owner, &added(6, 4)), Ok(Applied::Nothing));
    assert_eq!(group.apply(&owner, &added(6, 8)), Err(GroupError::Stale), "another in this epoch");
    assert_eq!(group.apply(&owner, &added(7, 5)), Err(GroupError::Full));
    assert_eq!(group.epoch(), 6);
    assert_eq!(group.apply(&owner, &removed(7, 4)), Ok(Applied::Removed(key(4))));
    assert_eq!(group.apply(&owner, &removed(7, 4)), Ok(Applied::Nothing));
    assert_eq!(group.check(&key(4), &message(7, 1)), Err(GroupError::NotMember));
    assert_eq!(group.apply(&owner, &added(6, 4)), Err(GroupError::Epoch), "a replay");
    assert_eq!(group.apply(&owner, &begin(6, 3)), Err(GroupError::Epoch), "an old snapshot");
    assert_eq!(group.apply(&owner, &removed(8, 9)), Err(GroupError::Stale), "who is that?");
    for own in [1, 2] {
        assert_eq!(group.apply(&owner, &added(8, own)), Err(GroupError::Role));
    }
    assert_eq!(group.apply(&owner, &removed(8, 1)), Err(GroupError::Role));
    assert_eq!(group.apply(&owner, &control(8, Op::Active)), Err(GroupError::Stale));
    assert_eq!(group.apply(&owner, &control(8, Op::Joined)), Err(GroupError::Stale));
    assert_eq!(group.apply(&owner, &control(7, Op::Leave)), Err(GroupError::Role));
    assert_eq!(group.apply(&owner, &removed(20, 2)), Ok(Applied::Over));
    assert_eq!(group.apply(&owner, &removed(20, 2)), Ok(Applied::Nothing));
    assert_eq!(group.apply(&owner, &begin(21, 2)), Err(GroupError::Over));
    assert_eq!(group.header(), Err(GroupError::Over));
    assert_eq!(group.check(&key(3), &message(7, 50)), Err(GroupError::Over));
    assert_eq!((group.standing(), group.members().count()), (Standing::Removed, 0));
}

#[test]
fn nobody_but_the_owner_changes_anything() {
    let mut group = member::<4>(Standing::Active);
    let before = format!("{group:?}");
    for from in [2, 3, 9] {
        for bytes in [
            begin(6, 2),
            listed(6, 0, 1, 9),
            control(5, Op::Joined),
            control(5, Op::Active),
            added(6, 9),
            removed(6, 3),
            removed(6, 2),
            control(6, Op::Dissolved),
            control(5, Op::Leave),
        ] {
            assert_eq!(group.apply(&key(from), &bytes), Err(GroupError::NotOwner));
        }
    }
    assert_eq!(group.add(key(9), name(9)), Err(GroupError::Role));
    assert_eq!(group.remove(&key(3)), Err(GroupError::Role));
    assert_eq!(group.dissolve(), Err(GroupError::Role));
    assert_eq!(group.step(), None);
    assert_eq!(format!("{group:?}"), before);
}

#[test]
fn a_bad_snapshot_leaves_the_old_view() {
    let full = |parts: &[(u16, u32, u8)]| {
        let parts = parts.iter().map(|(index, since, n)| listed(8, *index, *since, *n));
        parts.chain([control(8, Op::Joined)]).collect::<Vec<_>>()
    };
    for (members, parts, why) in [
        (3, full(&[(0, 1, 1), (1, 5, 2), (2, 5, 2)]), "twice, and not only repeated"),
        (3, full(&[(0, 1, 1), (1, 4, 3), (2, 5, 2)]), "keys do not rise"),
        (3, full(&[(0, 1, 1), (2, 5, 2)]), "one is left out"),
        (3, full(&[(0, 1, 1), (1, 5, 2)]), "one is missing"),
        (2, full(&[(0, 1, 1), (1, 5, 2), (2, 4, 3)]), "one too many"),
        (2, full(&[(0, 1, 1), (1, 4, 3)]), "without this side"),
        (2, full(&[(0, 5, 2), (1, 4, 3)]), "without the owner"),
        (2, full(&[(0, 1, 1), (1, 9, 2)]), "from the future"),
        (2, full(&[(0, 0, 1), (1, 5, 2)]), "never added"),
    ] {
        let mut group = member::<4>(Standing::Active);
        group.apply(&key(1), &begin(8, members)).unwrap();
        let refused = parts.iter().any(|part| group.apply(&key(1), part).is_err());
        assert!(refused, "{why}");
        assert_eq!((keys(&group), group.epoch()), (vec![1, 2, 3], 5), "{why}");
        assert!(group.check(&key(3), &message(5, 1)).is_ok(), "{why}");
        assert!(group.header().is_ok());
    }
    let mut group = member::<4>(Standing::Active);
    for members in [0, 1] {
        assert_eq!(group.apply(&key(1), &begin(8, members)), Err(GroupError::Snapshot));
    }
}

#[test]
fn a_snapshot_holds_when_it_is_complete_also_in_a_full_store() {
    let mut group = member::<3>(Standing::Active);
    group.check(&key(1), &message(5, 7)).unwrap();
    let owner = key(1);
    for part in [begin(8, 3), listed(8, 0, 1, 1), listed(8, 1, 5, 2)] {
        group.apply(&owner, &part).unwrap();
    }
    assert_eq!(group.apply(&owner, &listed(8, 1, 5, 2)), Ok(Applied::Nothing), "repeated");
    assert!(group.check(&key(3), &message(5, 1)).is_ok(), "until then the old view");
    group.apply(&owner, &listed(8, 2, 7, 4)).unwrap();
    assert_eq!(keys(&group), [1, 2], "one gives way");
    assert_eq!(group.check(&key(4), &message(8, 1)), Err(GroupError::NotMember), "not yet");
    assert_eq!(group.apply(&owner, &control(8, Op::Joined)), Ok(Applied::Joined));
    assert_eq!(group.apply(&owner, &control(8, Op::Joined)), Ok(Applied::Nothing));
    assert_eq!((keys(&group), group.standing()), (vec![1, 2, 4], Standing::Active));
    assert_eq!(group.check(&owner, &message(8, 7)).map(|c| c.missed), Ok(0));
    assert_eq!(group.check(&owner, &message(8, 9)).map(|c| c.missed), Ok(1), "it was kept");
    let mut group = member::<3>(Standing::Active);
    for part in [begin(8, 4), listed(8, 0, 1, 1), listed(8, 1, 5, 2), listed(8, 2, 4, 3)] {
        group.apply(&owner, &part).unwrap();
    }
    assert_eq!(group.apply(&owner, &listed(8, 3, 7, 4)), Err(GroupError::Full));
}

#[test]
fn who_has_forgotten_joins_only_anew() {
    let mut group = Group::join(key(2), &key(1), &begin(8, 2), Fixed::<_, 3>::new()).unwrap();
    group.apply(&key(1), &listed(8, 0, 1, 1)).unwrap();
    let refused = group.apply(&key(1), &listed(8, 1, 5, 2));
    assert_eq!(Answer::from(&refused), Answer::Forgotten);
    let unknown = Group::join(key(2), &key(1), &added(8, 4), Fixed::<_, 3>::new());
    assert_eq!(Answer::from(&unknown), Answer::Forgotten);
    let own = Group::join(key(2), &key(2), &begin(8, 2), Fixed::<_, 3>::new());
    assert_eq!(own.err(), Some(GroupError::Role));
    let mut group = Group::recall(ID, name(0), key(1), key(2), Fixed::<_, 3>::new());
    assert_eq!(group.ask().map(|c| (c.epoch, c.op)), Some((0, Op::Stale)));
    assert_eq!(group.check(&key(1), &message(8, 1)), Err(GroupError::NotActive));
    group.answered(Answer::Gone);
    assert_eq!(group.standing(), Standing::Removed);
}

#[test]
fn whatever_arrives_nothing_panics_and_memory_stays_bounded() {
    let mut state = 1u64;
    let mut random = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u32
    };
    for _ in 0..200 {
        let mut member = member::<5>(Standing::Active);
        let mut owner = with_members::<5>(&[2, 3]);
        for _ in 0..300 {
            let epoch = 4 + random() % 5;
            let n = (random() % 6) as u8;
            let mut bytes = match random() % 9 {
                0 => begin(epoch, (random() % 6) as u16),
                1..4 => listed(epoch, (random() % 5) as u16, random() % 9, n),
                4 => control(epoch, Op::Joined),
                5 => control(epoch, [Op::Active, Op::Leave, Op::Stale][random() as usize % 3]),
                6 => added(epoch, n),
                7 => removed(epoch, n),
                _ => message(epoch, random() % 9),
            };
            if random() % 4 == 0 {
                let at = random() as usize % bytes.len();
                bytes[at] ^= 1 << (random() % 8);
            }
            bytes.truncate(bytes.len() - (random() % 8 == 0) as usize);
            let from = key((random() % 4) as u8);
            for group in [&mut member, &mut owner] {
                let _ = group.apply(&from, &bytes);
                let _ = group.check(&from, &bytes);
                let in_order = group.members().map(Member::key).is_sorted_by(|a, b| a < b);
                let over = group.standing().is_over();
                let complete = group.get(&group.own).is_some() && group.get(&group.owner).is_some();
                assert!(in_order && (over || complete || group.sync.is_some()), "{group:?}");
            }
            if let Some(step) = owner.step() {
                let answers = [Answer::Done, Answer::Stale, Answer::Failed, Answer::Forgotten];
                owner.done(&step, answers[random() as usize % 4]);
            }
        }
    }
}
