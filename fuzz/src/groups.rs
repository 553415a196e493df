//! `groups`: an owner, members and somebody who was never added; control and messages that are lost, and bytes that nobody
//! honest sent. Only the owner changes the group, nobody hears what was not meant for it, nothing is taken twice, and when
//! everything arrives again, all who are in see the same group.

use std::collections::{BTreeSet, VecDeque};

use pysock_proto::{
    PublicKey,
    group::{Answer, Control, FixedGroup, Group, GroupId, Standing, Step},
    store::Fixed,
};

use crate::{end::name, input::Input};

const ID: GroupId = GroupId([42; 16]);
/// The owner is 0, and the last is never added.
const CLIENTS: usize = 5;
const OUTSIDER: usize = CLIENTS - 1;
type G = FixedGroup<6>;

/// Not in the order of the clients, so that new members come in anywhere.
fn key(client: usize) -> PublicKey {
    PublicKey([(client as u8).wrapping_mul(37) % 101; 32])
}

fn client(of: &PublicKey) -> usize {
    (0..CLIENTS).find(|at| key(*at) == *of).expect("a client")
}

/// A message, from whom, to whom it was meant when it was sent, and how often its sender had begun anew.
struct Sent {
    from: usize,
    to: BTreeSet<usize>,
    bytes: Vec<u8>,
}

struct World {
    groups: Vec<Option<G>>,
    /// Messages under way between two.
    wires: Vec<VecDeque<(usize, usize)>>,
    sent: Vec<Sent>,
    /// Who has taken what.
    taken: BTreeSet<(usize, usize)>,
}

/// Operations of the clients.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let owner = (key(0), name("c0"));
    let made = Group::create(ID, name("band"), owner, Fixed::new());
    let mut groups: Vec<Option<G>> = (0..CLIENTS).map(|_| None).collect();
    groups[0] = Some(made.expect("there is room"));
    let wires = (0..CLIENTS * CLIENTS).map(|_| VecDeque::new()).collect();
    let mut world = World { groups, wires, sent: vec![], taken: BTreeSet::new() };
    for _ in 0..500 {
        if input.is_empty() {
            break;
        }
        world.step(&mut input);
    }
    world.heals();
}

impl World {
    fn owner(&mut self) -> &mut G {
        self.groups[0].as_mut().expect("the owner forgets nothing here")
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let (op, who) = (input.byte(), input.byte());
        let a = usize::from(who) % CLIENTS;
        let b = usize::from(who >> 4) % CLIENTS;
        match op % 16 {
            0 | 1 if a != OUTSIDER => {
                let _ = self.owner().add(key(a), name(&format!("c{a}")));
            }
            2 if a != 0 => {
                let _ = self.owner().remove(&key(a));
            }
            // One step: told and answered, or one of the two is lost.
            3..=6 => {
                self.tells(who % 8);
            }
            7..=9 => self.sends(a),
            10 | 11 => self.delivers(a, b),
            12 => {
                self.wires[a * CLIENTS + b].pop_front();
            }
            13 if a != 0 => {
                let asked = self.groups[a].as_mut().and_then(Group::ask);
                if let Some(control) = asked {
                    let answer = self.request(a, 0, control.encode().as_slice());
                    let answer = if who & 0x40 == 0 { answer } else { Answer::Failed };
                    if let Some(group) = &mut self.groups[a] {
                        group.answered(answer);
                    }
                }
            }
            14 => match who % 4 {
                // It leaves, it forgets, it is back, or it says what nobody should.
                0 if a != 0 => {
                    if let Some(Ok(control)) = self.groups[a].as_mut().map(Group::leave) {
                        self.request(a, 0, control.encode().as_slice());
                    }
                }
                1 if a != 0 => self.groups[a] = None,
                2 => self.owner().retry(&key(a)),
                _ => self.owner().interrupted(),
            },
            _ => self.lies(a, b, input),
        }
    }

    /// The owner's next step.
    fn tells(&mut self, luck: u8) -> bool {
        let Some(step) = self.owner().step() else { return false };
        self.told(&step, luck);
        true
    }

    fn told(&mut self, step: &Step, luck: u8) {
        let to = client(&step.to);
        let answer = match luck {
            1 => Answer::Failed,
            _ => self.request(0, to, step.control.encode().as_slice()),
        };
        let answer = if luck == 2 { Answer::Failed } else { answer };
        self.owner().done(step, answer);
    }

    fn request(&mut self, from: usize, to: usize, bytes: &[u8]) -> Answer {
        let place = &mut self.groups[to];
        if let Some(group) = place
            && !(group.standing().is_over() && to != 0)
        {
            return Answer::from(&group.apply(&key(from), bytes));
        }
        // It knows nothing of the group, or only that it is over: it can be invited again.
        let joined = Group::join(key(to), &key(from), bytes, Fixed::new());
        let answer = Answer::from(&joined);
        if let Ok(group) = joined {
            *place = Some(group);
        }
        answer
    }

    fn sends(&mut self, from: usize) {
        let Some(group) = &mut self.groups[from] else { return };
        let Ok(header) = group.header() else {
            assert_ne!(group.standing(), Standing::Active);
            return;
        };
        let to: BTreeSet<usize> = group.others().map(|member| client(member.key())).collect();
        assert!(!to.contains(&OUTSIDER) && !to.contains(&from), "sent to {to:?}");
        let number = self.sent.len();
        let bytes = [&header[..], &number.to_be_bytes()].concat();
        for to in &to {
            self.wires[from * CLIENTS + to].push_back((number, *to));
        }
        self.sent.push(Sent { from, to, bytes });
    }

    fn delivers(&mut self, from: usize, to: usize) {
        let Some((number, _)) = self.wires[from * CLIENTS + to].pop_front() else { return };
        self.hears(number, from, to);
        // The session would not bring it twice; the group does not take it twice either.
        let Some(group) = &mut self.groups[to] else { return };
        assert!(group.check(&key(from), &self.sent[number].bytes).is_err(), "taken twice");
    }

    fn hears(&mut self, number: usize, from: usize, to: usize) {
        let Some(group) = &mut self.groups[to] else { return };
        let sent = &self.sent[number];
        let Ok(checked) = group.check(&key(from), &sent.bytes) else { return };
        assert_eq!(checked.payload, number.to_be_bytes());
        assert_eq!(sent.from, from, "taken from somebody else");
        assert!(sent.to.contains(&to), "not meant for it");
        assert!(!group.standing().is_over() && group.get(&key(from)).is_some());
        self.taken.insert((to, number));
    }

    /// Somebody who is not the owner, or bytes that are nothing.
    fn lies(&mut self, a: usize, b: usize, input: &mut Input<'_>) {
        let n = input.below(40);
        let mut bytes = input.bytes(n).to_vec();
        if input.flag() {
            bytes.splice(0..0, ID.0);
        }
        if let Ok(control) = Control::decode(&bytes) {
            assert_eq!(control.encode().as_slice(), bytes, "one meaning, one encoding");
        }
        let Some(group) = &mut self.groups[b] else {
            let joined: Result<G, _> = Group::join(key(b), &key(a), &bytes, Fixed::new());
            assert!(joined.is_err() || a != b, "invited by itself");
            return;
        };
        let picture = |group: &G| -> (u32, Standing, Vec<PublicKey>) {
            let members = group.members().map(|member| *member.key()).collect();
            (group.epoch(), group.standing(), members)
        };
        let before = picture(group);
        if a != 0 && b != 0 {
            let _ = group.apply(&key(a), &bytes);
            assert_eq!(picture(group), before, "changed by {a}, who does not own it");
        }
        if let Ok(checked) = group.check(&key(a), &bytes) {
            assert!(bytes.ends_with(checked.payload) && group.get(&key(a)).is_some());
        }
    }

    /// Everything arrives from now on.
    fn heals(&mut self) {
        for round in 0..50 {
            let mut quiet = true;
            for at in 1..CLIENTS {
                self.owner().retry(&key(at));
                // Who has lost the group and is told nothing notices nothing, unless it remembers that there was one.
                if self.groups[at].is_none() && self.owner().get(&key(at)).is_some() {
                    let group = Group::recall(ID, name("band"), key(0), key(at), Fixed::new());
                    self.groups[at] = Some(group);
                }
            }
            self.owner().interrupted();
            for _ in 0..500 {
                if !self.tells(0) {
                    break;
                }
                quiet = false;
            }
            for at in 1..CLIENTS {
                if let Some(control) = self.groups[at].as_mut().and_then(Group::ask) {
                    quiet = false;
                    let answer = self.request(at, 0, control.encode().as_slice());
                    self.groups[at].as_mut().expect("it asked").answered(answer);
                }
            }
            if quiet {
                break;
            }
            assert!(round < 49, "the owner never comes to rest");
        }
        let owners = self.groups[0].as_ref().expect("the owner's");
        let members: Vec<PublicKey> = owners.members().map(|member| *member.key()).collect();
        assert!(!members.contains(&key(OUTSIDER)), "somebody was added by nobody");
        for member in members.iter().filter(|member| **member != key(0)) {
            let group = self.groups[client(member)].as_ref().expect("a member has the group");
            let seen: Vec<PublicKey> = group.members().map(|member| *member.key()).collect();
            assert_eq!(seen, members, "{} sees another group", client(member));
            assert_eq!((group.epoch(), group.standing()), (owners.epoch(), Standing::Active));
        }
    }
}
