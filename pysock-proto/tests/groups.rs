//! Groups under load: changes and messages arrive in any interleaving between pairs and channels, are lost one by one,
//! members join, leave, forget and lag behind. What the module promises is checked at every delivery.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use pysock_proto::{
    GroupError, Name, PublicKey,
    group::{Answer, Applied, Control, FixedGroup, Group, GroupId, Op, Standing, Step},
    store::Fixed,
};

const ID: GroupId = GroupId([42; 16]);
const CLIENTS: usize = 8;
/// Has sessions with everybody and is never added.
const OUTSIDER: usize = CLIENTS;

type G = FixedGroup<9>;

fn key(client: usize) -> PublicKey {
    // Not in the order of the clients, so that new members come in anywhere.
    PublicKey([(client as u8).wrapping_mul(37) % 101; 32])
}

fn name(client: usize) -> Name {
    Name::new(&format!("c{client}")).unwrap()
}

fn client(of: &PublicKey) -> usize {
    (0..=CLIENTS).find(|c| key(*c) == *of).unwrap()
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % n
    }

    fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

enum Request {
    Step(Step),
    Ask(Control),
}

/// On its way from one client to another.
enum Flying {
    Message { bytes: Vec<u8>, sent_at: u64, life: u64 },
    Request(Request),
    Reply(Option<Step>, Answer),
}

#[derive(Default)]
struct Node {
    group: Option<G>,
    /// When it was added, last time.
    joined_at: u64,
    joined_in: u32,
    /// How often it has begun with nothing.
    life: u64,
    /// Of each sender, the last payload and number that were taken, and in which membership and life it sent them.
    last: BTreeMap<usize, (u64, u32, (u32, u64))>,
    taken: BTreeSet<(usize, u64)>,
}

struct World {
    random: Random,
    now: u64,
    nodes: Vec<Node>,
    /// By sender, receiver, and whether it is control: nothing overtakes within one.
    wires: BTreeMap<(usize, usize, bool), VecDeque<Flying>>,
    /// To whom each message went: by sender, then by payload.
    sent: BTreeMap<usize, BTreeMap<u64, BTreeSet<usize>>>,
    losing: bool,
    accepted: u64,
    missed: u64,
    refused: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut nodes: Vec<Node> = (0..=CLIENTS).map(|_| Node::default()).collect();
        let owner = (key(0), name(0));
        nodes[0].group =
            Some(Group::create(ID, Name::new("band").unwrap(), owner, Fixed::new()).unwrap());
        World {
            random: Random(seed * 2 + 1),
            now: 0,
            nodes,
            wires: BTreeMap::new(),
            sent: BTreeMap::new(),
            losing: true,
            accepted: 0,
            missed: 0,
            refused: 0,
        }
    }

    fn owner(&mut self) -> &mut G {
        self.nodes[0].group.as_mut().unwrap()
    }

    fn push(&mut self, from: usize, to: usize, what: Flying) {
        let control = !matches!(what, Flying::Message { .. });
        self.wires.entry((from, to, control)).or_default().push_back(what);
    }

    /// Everything that clients owe each other is put on its way.
    fn pump(&mut self) {
        while let Some(step) = self.owner().step() {
            let to = client(&step.to);
            self.push(0, to, Flying::Request(Request::Step(step)));
        }
        for node in 1..CLIENTS {
            if let Some(control) = self.nodes[node].group.as_mut().and_then(Group::ask) {
                self.push(node, 0, Flying::Request(Request::Ask(control)));
            }
        }
    }

    fn send(&mut self, from: usize) {
        self.now += 1;
        let node = &mut self.nodes[from];
        let Some(group) = &mut node.group else { return };
        let Ok(header) = group.header() else {
            assert_ne!(group.standing(), Standing::Active);
            return;
        };
        let to: Vec<usize> = group.others().map(|m| client(m.key())).collect();
        let (now, life) = (self.now, node.life);
        let bytes = [&header[..], &now.to_be_bytes()].concat();
        self.sent.entry(from).or_default().insert(now, to.iter().copied().collect());
        for to in to {
            self.push(from, to, Flying::Message { bytes: bytes.clone(), sent_at: now, life });
        }
    }

    fn deliver(&mut self) -> bool {
        let wires: Vec<_> =
            self.wires.iter().filter(|(_, w)| !w.is_empty()).map(|(k, _)| *k).collect();
        if wires.is_empty() {
            return false;
        }
        let (from, to, control) = wires[self.random.below(wires.len())];
        let what = self.wires.get_mut(&(from, to, control)).unwrap().pop_front().unwrap();
        let lost = self.losing && self.random.once_in(12);
        self.now += 1;
        match what {
            Flying::Message { .. } if lost => {}
            Flying::Message { bytes, sent_at, life } => {
                self.message(from, to, &bytes, sent_at, life)
            }
            // Lost on its way there, or the answer on its way back: the requester knows no difference.
            Flying::Request(request) => {
                let (step, bytes) = match &request {
                    Request::Step(step) => (Some(*step), step.control.encode()),
                    Request::Ask(control) => (None, control.encode()),
                };
                let answer = match lost && self.random.once_in(2) {
                    true => Answer::Failed,
                    false => self.request(from, to, bytes.as_slice()),
                };
                let answer = if lost { Answer::Failed } else { answer };
                self.push(to, from, Flying::Reply(step, answer));
            }
            Flying::Reply(step, answer) => {
                let Some(group) = &mut self.nodes[to].group else { return true };
                match step {
                    Some(step) => group.done(&step, answer),
                    None => group.answered(answer),
                }
            }
        }
        true
    }

    fn request(&mut self, from: usize, to: usize, bytes: &[u8]) -> Answer {
        let node = &mut self.nodes[to];
        if node.group.as_ref().is_some_and(|g| g.standing().is_over()) && node.invited(bytes) {
            // It was removed, and comes again with nothing.
            node.forget();
        }
        let Some(group) = &mut node.group else {
            let joined = Group::join(key(to), &key(from), bytes, Fixed::new());
            let answer = Answer::from(&joined);
            node.group = joined.ok();
            return answer;
        };
        let applied = group.apply(&key(from), bytes);
        let since = group.get(&key(to)).map_or(0, |m| m.since());
        if applied == Ok(Applied::Joined) && since != node.joined_in {
            (node.joined_at, node.joined_in) = (self.now, since);
            node.last.clear();
        }
        Answer::from(&applied)
    }

    fn message(&mut self, from: usize, to: usize, bytes: &[u8], sent_at: u64, life: u64) {
        let sent = &self.sent[&from];
        let node = &mut self.nodes[to];
        let Some(group) = &mut node.group else { return };
        let agreed = group.get(&key(from)).is_some() && !group.standing().is_over();
        let id = u32::from_be_bytes(bytes[20..24].try_into().unwrap());
        let epoch = u32::from_be_bytes(bytes[16..20].try_into().unwrap());
        let checked = group.check(&key(from), bytes);
        let Ok(checked) = checked else {
            self.refused += 1;
            // Between clients that know each other, only what is older than the membership is refused.
            let why = checked.unwrap_err();
            let since = group.get(&key(from)).map_or(0, |m| m.since());
            let own = group.get(&key(to)).map_or(0, |m| m.since());
            let expected = !agreed
                || matches!(why, GroupError::Epoch if epoch < own)
                || matches!(why, GroupError::Repeated if epoch < since)
                || matches!(why, GroupError::NotActive);
            assert!(expected, "{from} to {to}: {why} {epoch} {id} since {since} own {own}");
            return;
        };
        assert!(agreed && from != OUTSIDER);
        assert_eq!(checked.payload, &bytes[24..]);
        assert!(sent_at > node.joined_at, "{to} got what was sent before it joined");
        assert!(node.taken.insert((from, sent_at)), "taken twice");
        assert_eq!(checked.old_view, epoch > group.epoch());
        self.accepted += 1;
        self.missed += u64::from(checked.missed);
        // Who was added anew counts from there: compared within one membership and one memory only.
        let since = group.get(&key(from)).unwrap().since();
        let Some((at, last, before)) = node.last.insert(from, (sent_at, id, (since, life))) else {
            assert_eq!(checked.missed, 0, "the first one since {to} joined");
            return;
        };
        if before == (since, life) {
            let between = sent.range(at + 1..sent_at);
            let for_me = between.filter(|(_, to_whom)| to_whom.contains(&to)).count();
            assert_eq!(checked.missed, id - last - 1, "{from} to {to}");
            assert_eq!(checked.missed as usize, for_me, "{from} to {to}");
        }
    }

    /// Somebody outside says whatever it can think of to somebody inside.
    fn inject(&mut self) {
        let to = self.random.below(CLIENTS);
        let outsider = key(OUTSIDER);
        let Some(group) = &mut self.nodes[to].group else { return };
        let (epoch, owner) = (group.epoch(), group.is_owner());
        let before = format!("{group:?}");
        let victim = key(self.random.below(CLIENTS));
        for epoch in [epoch.saturating_sub(1), epoch, epoch + 1, u32::MAX] {
            let header = [&ID.0[..], &epoch.to_be_bytes(), &[0, 0, 1, 0], b"hi"].concat();
            assert!(group.check(&outsider, &header).is_err());
            for op in [
                Op::Begin { label: name(0), members: 2 },
                Op::Member { index: 0, since: 1, key: outsider, name: name(1) },
                Op::Joined,
                Op::Active,
                Op::Added { key: outsider, name: name(1) },
                Op::Removed(victim),
                Op::Dissolved,
                Op::Leave,
                Op::Stale,
            ] {
                let control = Control { group: ID, epoch, op }.encode();
                let refused = group.apply(&outsider, control.as_slice()).unwrap_err();
                assert!(owner || refused == GroupError::NotOwner);
            }
        }
        assert_eq!(format!("{group:?}"), before, "an outsider has changed something");
    }

    fn act(&mut self) {
        let who = self.random.below(CLIENTS);
        let other = 1 + self.random.below(CLIENTS - 1);
        match self.random.below(100) {
            0..50 => self.send(who),
            50..60 => drop(self.owner().add(key(other), name(other))),
            60..66 => drop(self.owner().remove(&key(other))),
            66..80 => self.owner().retry(&key(other)),
            80..83 => self.leave(other),
            83..85 => self.restart(other),
            85..87 => self.owner().interrupted(),
            _ => self.inject(),
        }
    }

    fn leave(&mut self, who: usize) {
        let Some(group) = &mut self.nodes[who].group else { return };
        let control = group.leave().unwrap();
        assert!(group.standing().is_over());
        self.push(who, 0, Flying::Request(Request::Ask(control)));
    }

    /// Loses everything, and remembers the group or not.
    fn restart(&mut self, who: usize) {
        let was_in = self.nodes[who].group.as_ref().is_some_and(|g| !g.standing().is_over());
        self.nodes[who].forget();
        if was_in && self.random.once_in(2) {
            let label = Name::new("band").unwrap();
            let group = Group::recall(ID, label, key(0), key(who), Fixed::new());
            self.nodes[who].group = Some(group);
        }
    }

    /// Everything arrives from now on.
    fn settle(&mut self) {
        self.losing = false;
        for round in 0..40 {
            // Who has lost everything without a word is noticed at the next change.
            if round == 20 {
                let last = key(CLIENTS - 1);
                if self.owner().remove(&last).is_err() {
                    self.owner().add(last, name(CLIENTS - 1)).unwrap();
                }
            }
            for who in 1..CLIENTS {
                self.owner().retry(&key(who));
            }
            self.pump();
            while self.deliver() {
                self.pump();
            }
        }
        let view = |group: &G| -> Vec<_> {
            group.members().map(|m| (*m.key(), *m.name(), m.since())).collect()
        };
        assert!(!self.owner().is_changing());
        let (expected, epoch) = (view(self.owner()), self.owner().epoch());
        for who in 0..CLIENTS {
            let inside = expected.iter().any(|(k, ..)| *k == key(who));
            match &self.nodes[who].group {
                Some(group) if inside => {
                    assert_eq!(group.standing(), Standing::Active, "{who}");
                    assert_eq!((view(group), group.epoch()), (expected.clone(), epoch), "{who}");
                }
                other => assert!(!inside, "{who}: {other:?}"),
            }
        }
        // All agree: a message reaches each of them.
        let before = self.accepted;
        self.send(0);
        while self.deliver() {}
        assert_eq!(self.accepted - before, expected.len() as u64 - 1);
    }
}

impl Node {
    fn forget(&mut self) {
        (self.group, self.joined_in) = (None, 0);
        self.life += 1;
        self.last.clear();
    }

    fn invited(&self, bytes: &[u8]) -> bool {
        matches!(Control::decode(bytes), Ok(Control { op: Op::Begin { .. }, .. }))
    }
}

#[test]
fn promises_hold_in_any_order_and_with_losses() {
    let (mut accepted, mut missed, mut refused) = (0, 0, 0);
    for seed in 0..400 {
        let mut world = World::new(seed);
        for who in 1..5 {
            world.owner().add(key(who), name(who)).unwrap();
            world.losing = false;
            world.pump();
            while world.deliver() {
                world.pump();
            }
            world.losing = true;
        }
        for _ in 0..1_500 {
            match world.random.below(4) {
                0 => world.act(),
                _ => drop(world.deliver()),
            }
            world.pump();
        }
        world.settle();
        accepted += world.accepted;
        missed += world.missed;
        refused += world.refused;
    }
    // The world is rough, and yet most gets through.
    assert!(
        accepted > 50_000 && missed > 1_000 && refused > 1_000,
        "{accepted} {missed} {refused}"
    );
}

#[test]
fn while_members_are_only_added_and_nothing_is_lost_everybody_sent_to_takes_everything() {
    for seed in 0..100 {
        let mut world = World::new(seed);
        world.losing = false;
        let mut next = 1;
        for _ in 0..800 {
            match world.random.below(8) {
                0 if next < CLIENTS && world.owner().add(key(next), name(next)).is_ok() => {
                    next += 1;
                }
                0..3 => {
                    let who = world.random.below(CLIENTS);
                    world.send(who);
                }
                _ => drop(world.deliver()),
            }
            world.pump();
        }
        while world.deliver() {
            world.pump();
        }
        let sent = world.sent.values().flat_map(BTreeMap::values).map(BTreeSet::len).sum::<usize>();
        assert!(sent > 200, "{sent}");
        assert_eq!((world.accepted as usize, world.missed, world.refused), (sent, 0, 0), "{seed}");
    }
}

/// A removal binds a sender once it has applied it: a member that is left out sends on to who has gone.
#[test]
fn a_member_that_leaves_while_another_lags_behind_gets_nothing_more_from_it() {
    let mut group: G = Group::create(ID, name(0), (key(0), name(0)), Fixed::new()).unwrap();
    let told = |group: &mut G, reachable: &[usize]| {
        while let Some(step) = group.step() {
            let there = reachable.contains(&client(&step.to));
            group.done(&step, if there { Answer::Done } else { Answer::Failed });
        }
    };
    group.add(key(1), name(1)).unwrap();
    told(&mut group, &[1]);
    group.add(key(2), name(2)).unwrap();
    told(&mut group, &[2]);
    assert!(group.get(&key(1)).unwrap().is_lagging());

    // All who are left lag behind, so nobody is told of the change as such; and 1 is back.
    let leave = Control { group: ID, epoch: group.epoch(), op: Op::Leave };
    assert_eq!(group.apply(&key(2), leave.encode().as_slice()), Ok(Applied::Leaves(key(2))));
    told(&mut group, &[1]);
    assert!(group.get(&key(2)).is_none());
    assert!(!group.get(&key(1)).unwrap().is_lagging(), "1 still believes that 2 is in");
}
