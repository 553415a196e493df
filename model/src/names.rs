//! The model of the registry: keys that claim names, in every order, with connections that break, claims that are never
//! confirmed, servers that restart with what is on disk, and an operator.
//!
//! The transition function is the real `Registry` here, too. It shows all of itself, so a state is what it shows, with
//! the claims under way and what is on disk; it is replayed because nobody may copy a claim.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{Hash, Hasher},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use pysock_proto::{
    Name, PeerId, PublicKey,
    registry::{Claim, FixedRegistry, Policy, Registry, Slot},
    store::Fixed,
};
use stateright::{Model, Property};

const KEYS: usize = 3;
const NAMES: usize = 2;

/// One step. Keys and names are numbered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub(crate) enum Step {
    /// A connection of this key, proven, asks for this name.
    Claim(usize, usize),
    /// The new binding of this claim gets to the disk, which refuses what contradicts another one.
    Store(usize),
    /// What had to be on disk is there: the client of this claim is let in.
    Confirm(usize),
    /// The client of this claim is gone, be its binding stored or not; or it could not be stored.
    Withdraw(usize),
    /// This connection is over: also one that was replaced.
    Offline(usize),
    /// The operator forgets this key.
    Remove(usize),
    /// The server starts anew, with what is on disk.
    Restart,
}

/// The registry and what is around it, as a server would have it.
struct World {
    policy: Policy,
    registry: FixedRegistry<KEYS>,
    claims: Vec<Asking>,
    /// Connections that are not over, by their slots: of which number, and whether another one has replaced it.
    live: BTreeMap<u32, (usize, PeerId, bool)>,
    slots: u32,
    disk: BTreeMap<usize, usize>,
    /// Who has had a number since the server started.
    given: BTreeMap<u32, usize>,
    wrong: Option<&'static str>,
}

/// A claim under way.
#[derive(Debug)]
struct Asking {
    key: usize,
    name: usize,
    claim: Claim,
    stored: bool,
}

impl Asking {
    fn may_confirm(&self) -> bool {
        self.stored || !self.claim.must_persist()
    }
}

fn key(at: usize) -> PublicKey {
    // Not in the order of their numbers, so that the indices have something to sort.
    PublicKey([[5, 9, 1][at]; 32])
}

fn name(at: usize) -> Name {
    Name::new(["zoe", "amy"][at]).expect("a name")
}

fn empty(policy: Policy) -> FixedRegistry<KEYS> {
    Registry::new(policy, Fixed::new(), Fixed::new(), Fixed::new())
}

impl World {
    /// A server that starts with what is on disk.
    fn new(policy: Policy, disk: BTreeMap<usize, usize>) -> Self {
        let mut world = World {
            policy,
            registry: empty(policy),
            claims: vec![],
            live: BTreeMap::new(),
            slots: 0,
            disk,
            given: BTreeMap::new(),
            wrong: None,
        };
        for (k, n) in world.disk.clone() {
            match world.registry.bind(&key(k), &name(n)) {
                Ok(peer) => world.number(k, peer),
                Err(_) => world.see(false, "what is on disk cannot be loaded"),
            }
        }
        world
    }

    fn see(&mut self, holds: bool, wrong: &'static str) {
        if !holds {
            self.wrong = self.wrong.or(Some(wrong));
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Claim(k, n) => self.claim(k, n),
            Step::Confirm(which) => self.confirm(which),
            Step::Withdraw(which) => {
                self.registry.withdraw(self.claims.remove(which).claim);
            }
            Step::Store(which) => {
                let Asking { key, name, stored, .. } = &mut self.claims[which];
                *stored = true;
                if self.disk.iter().any(|(k, n)| (k == key) != (n == name)) {
                    self.registry.withdraw(self.claims.remove(which).claim);
                } else {
                    self.disk.insert(*key, *name);
                }
            }
            Step::Offline(which) => {
                let Some((&slot, &(_, peer, replaced))) = self.live.iter().nth(which) else {
                    return;
                };
                self.live.remove(&slot);
                let ended = self.registry.offline(peer, Slot(slot));
                self.see(ended != replaced, "the end of an old connection ends a newer one");
            }
            Step::Remove(k) => {
                if let Some(peer) = self.registry.by_key(&key(k)).map(|entry| entry.peer()) {
                    self.registry.remove(peer);
                }
                self.disk.remove(&k);
                // The end of its connection will be noticed later.
                for (_, _, gone) in self.live.values_mut().filter(|(of, ..)| *of == k) {
                    *gone = true;
                }
            }
            Step::Restart => {
                *self = World::new(self.policy, std::mem::take(&mut self.disk));
            }
        }
        self.agree();
    }

    fn number(&mut self, k: usize, peer: PeerId) {
        let fresh = *self.given.entry(peer.0).or_insert(k) == k;
        self.see(fresh, "a number has been another key's");
    }

    fn claim(&mut self, k: usize, n: usize) {
        let before = format!("{:?}", self.registry);
        let user = self.registry.by_name(&name(n)).map(|entry| *entry.key());
        let own = self.registry.by_key(&key(k)).map(|entry| *entry.name());
        match self.registry.claim(&key(k), &name(n)) {
            Ok(claim) => {
                self.see(user.is_none_or(|user| user == key(k)), "a name in use was given twice");
                self.see(own.is_none_or(|own| own == name(n)), "a key has two names");
                self.number(k, claim.peer());
                self.claims.push(Asking { key: k, name: n, claim, stored: false });
            }
            Err(_) => {
                let same = before == format!("{:?}", self.registry);
                self.see(same, "a refusal has changed something");
                let listed = self.policy == Policy::AllowList;
                let free = !listed && user.is_none() && own.is_none() || own == Some(name(n));
                self.see(!free, "a name that is free, or its own, is refused");
            }
        }
    }

    fn confirm(&mut self, which: usize) {
        let Asking { key: k, name: n, claim, .. } = self.claims.remove(which);
        let known = self.registry.get(claim.peer()).is_some();
        let (peer, persists) = (claim.peer(), claim.must_persist());
        self.slots += 1;
        match self.registry.confirm(claim, Slot(self.slots)) {
            Ok(admitted) => {
                self.see(
                    known && admitted.peer == peer,
                    "a claim that the operator ended lives on",
                );
                let older = self.live.iter().find(|(_, (of, _, gone))| *of == k && !gone);
                let older = older.map(|(slot, _)| *slot);
                let replaced = admitted.replaced.map(|slot| slot.0);
                self.see(replaced == older, "the older connection of a key is not replaced");
                if let Some(older) = older.and_then(|slot| self.live.get_mut(&slot)) {
                    older.2 = true;
                }
                self.live.insert(self.slots, (k, peer, false));
                let bound = self.registry.get(peer).is_some_and(|entry| entry.is_bound());
                self.see(bound || !persists, "what was stored is not bound");
                let own = !bound || self.disk.get(&k) == Some(&n);
                let others = self.disk.iter().any(|(other, bound)| *other != k && *bound == n);
                let kept = self.policy == Policy::Open || !others;
                self.see(own && kept, "a bound name went to another key");
            }
            Err(_) => self.see(!known, "a client is refused that had its claim"),
        }
    }

    /// What holds at any time.
    fn agree(&mut self) {
        let entries = self.registry.entries();
        let names: BTreeSet<_> = entries.iter().map(|entry| entry.name().to_string()).collect();
        let keys: BTreeSet<_> = entries.iter().map(|entry| entry.key().0).collect();
        let once = names.len() == entries.len() && keys.len() == entries.len();
        let found = entries.iter().all(|entry| {
            let (of, called) =
                (self.registry.by_key(entry.key()), self.registry.by_name(entry.name()));
            [of, called].iter().all(|found| found.is_some_and(|found| found.peer() == entry.peer()))
        });
        let slots: BTreeSet<_> =
            entries.iter().filter_map(|entry| entry.slot()).map(|slot| slot.0).collect();
        let active = self.live.iter().filter(|(_, (_, _, gone))| !gone).map(|(slot, _)| *slot);
        let active: BTreeSet<u32> = active.collect();
        let idle = |entry: &&pysock_proto::registry::Entry| {
            let claimed = self.claims.iter().any(|asking| asking.claim.peer() == entry.peer());
            !entry.is_bound() && entry.slot().is_none() && !claimed
        };
        let kept = entries.iter().find(idle).is_none();
        let bound: BTreeSet<_> =
            entries.iter().filter(|entry| entry.is_bound()).map(|entry| entry.key().0).collect();
        let stored = bound.iter().all(|owner| self.disk.keys().any(|k| key(*k).0 == *owner));
        self.see(once, "a key with two names, or a name of two keys");
        self.see(found, "an index has lost somebody");
        self.see(slots == active, "who is online is not who is connected");
        self.see(kept, "an entry stays that nothing needs");
        self.see(stored, "a binding counts that is not on disk");
    }
}

/// One policy, and how many steps.
pub(crate) struct Names {
    pub(crate) policy: Policy,
    pub(crate) depth: usize,
    /// Which keys have which names to begin with.
    pub(crate) disk: &'static [(usize, usize)],
}

/// A state, and the steps that lead to it.
#[derive(Clone)]
pub(crate) struct State {
    path: Arc<[Step]>,
    fingerprint: u64,
    /// Which claims may be confirmed.
    claims: Vec<(bool, bool)>,
    live: usize,
    wrong: Option<&'static str>,
    replaced: bool,
}

impl Hash for State {
    fn hash<H: Hasher>(&self, to: &mut H) {
        // Shorter ways to the same place leave more steps, so they are not the same state.
        (self.fingerprint, self.path.len()).hash(to);
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint && self.path.len() == other.path.len()
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} claims, {} connections, {:?}", self.claims.len(), self.live, self.wrong)
    }
}

impl Names {
    fn at(&self, path: Arc<[Step]>) -> State {
        let mut world = World::new(self.policy, self.disk.iter().copied().collect());
        let all = AssertUnwindSafe(|| path.iter().for_each(|step| world.step(*step)));
        if catch_unwind(all).is_err() {
            world.wrong = Some("a panic");
        }
        let mut hasher = std::hash::DefaultHasher::new();
        format!("{:?} {:?} {:?}", world.registry, world.claims, world.live).hash(&mut hasher);
        (&world.disk, world.slots, &world.given, world.wrong).hash(&mut hasher);
        let claims = world.claims.iter();
        let claims = claims.map(|asking| (asking.claim.must_persist(), asking.may_confirm()));
        State {
            path,
            fingerprint: hasher.finish(),
            claims: claims.collect(),
            live: world.live.len(),
            wrong: world.wrong,
            replaced: world.live.values().any(|(_, _, replaced)| *replaced),
        }
    }
}

impl Model for Names {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![self.at(Arc::new([]))]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        if state.path.len() == self.depth || state.wrong.is_some() {
            return;
        }
        for k in 0..KEYS {
            steps.extend((0..NAMES).map(|n| Step::Claim(k, n)));
            steps.push(Step::Remove(k));
        }
        for (which, (persists, may)) in state.claims.iter().enumerate() {
            steps.extend((*persists && !may).then_some(Step::Store(which)));
            steps.extend(may.then_some(Step::Confirm(which)));
            steps.push(Step::Withdraw(which));
        }
        steps.extend((0..state.live).map(Step::Offline));
        steps.push(Step::Restart);
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        Some(self.at(last.path.iter().copied().chain([step]).collect()))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(
                "one key, one name, one connection, one number",
                |_, state: &State| state.wrong.is_none(),
            ),
            Property::sometimes("a connection is replaced", |_, state: &State| state.replaced),
        ]
    }
}
