//! The model of sessions: every order of events of two real clients within a budget.
//!
//! The transition function is the implementation: `pysock_proto`'s `Peers` and `Connection`, driven as a program drives
//! them, with primitives that hide nothing. There is no second description of the protocol that could be right where
//! the code is wrong.
//!
//! The machines hold secrets, so they can be neither cloned nor compared. A state is therefore the list of actions that
//! leads to it, replayed when a step is to be taken from it. What tells states apart is what each machine was given
//! since it began, in order: both are deterministic, so two states in which that is equal, and what is under way, the
//! time and the budget too, are equal. Orders of events that no client can tell apart so are one state; states that
//! differ are never taken for one (but for collisions of 64 bits).

use std::{
    hash::{Hash, Hasher},
    marker::PhantomData,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use pysock_proto::{Unit, crypto::Crypto};
use stateright::{Model, Property};

use crate::{
    rules::Rules,
    world::{Action, End, Parcel, World},
};

/// What may happen, and how often. Of `[u8; 2]`, each client has its own.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Budget {
    pub(crate) opens: [u8; 2],
    pub(crate) sends: [u8; 2],
    pub(crate) closes: [u8; 2],
    pub(crate) drops: u8,
    pub(crate) copies: u8,
    pub(crate) holds: u8,
    pub(crate) restarts: u8,
    pub(crate) reconnects: u8,
    /// Deadlines that pass while something is under way.
    pub(crate) hurries: u8,
}

/// One scenario.
pub(crate) struct Sessions<C> {
    pub(crate) rules: Rules,
    pub(crate) budget: Budget,
    /// Clients keep their numbers.
    pub(crate) bound: bool,
    /// What has to be seen on the way.
    pub(crate) shows: &'static [Sight],
    pub(crate) crypto: PhantomData<fn() -> C>,
}

/// Something that a run has to come by, so that a bound too narrow to see anything does not pass for proof.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sight {
    /// A session follows another.
    Resumed,
    /// A message is Lost on one side and Undelivered on the other.
    Reported,
    /// Nobody knows what became of a message.
    Unknown,
    /// In the end both know that there is no session.
    Nothing,
}

/// A state: how to get there, and what can be seen of it.
#[derive(Clone)]
pub(crate) struct State {
    path: Arc<[Action]>,
    pub(crate) budget: Budget,
    /// Stands for both clients, what is under way, the time, and what was promised.
    fingerprint: u64,
    queued: [usize; 2],
    unit_next: [bool; 2],
    kept: [usize; 2],
    open: [bool; 2],
    session: [bool; 2],
    has_deadline: bool,
    /// Nothing was in anybody's way.
    undisturbed: bool,
    troubled: bool,
    resumed: bool,
    reported: bool,
    unknown: bool,
    pub(crate) broken: Option<&'static str>,
    /// If nothing is under way: what is left in the end.
    end: Option<End>,
}

impl Hash for State {
    fn hash<H: Hasher>(&self, to: &mut H) {
        (self.budget, self.fingerprint, self.undisturbed).hash(to);
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint && self.budget == other.budget
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let State { open, queued, end, broken, troubled, .. } = self;
        write!(f, "open {open:?}, under way {queued:?}, end {end:?}, troubled {troubled}, ")?;
        write!(f, "{broken:?}")
    }
}

impl<C: Crypto> Sessions<C> {
    fn look(&self, mut world: World<C>, path: Arc<[Action]>, budget: Budget, still: bool) -> State {
        let mut hasher = std::hash::DefaultHasher::new();
        world.clients.each_ref().map(|client| client.fingerprint()).hash(&mut hasher);
        for parcel in world.queues.iter().flatten().chain(world.kept.iter().flatten()) {
            hash_parcel(parcel, &mut hasher);
        }
        let queued = world.queues.each_ref().map(std::collections::VecDeque::len);
        let kept = world.kept.each_ref().map(Vec::len);
        (queued, kept, world.now.as_millis()).hash(&mut hasher);
        (&world.ledgers, world.troubled, world.broken).hash(&mut hasher);
        let open = world.clients.each_ref().map(|client| client.is_open());
        let session = world.clients.each_ref().map(|client| client.has_session());
        let troubled = world.troubled;
        let mut state = State {
            path,
            budget,
            fingerprint: hasher.finish(),
            queued,
            unit_next: [0, 1].map(|at| world.is_unit_next(at)),
            kept,
            open,
            session,
            has_deadline: world.deadline().is_some(),
            undisturbed: still,
            troubled,
            resumed: world.resumed,
            reported: world.ledgers.iter().any(|ledger| ledger.has_reported()),
            unknown: world.ledgers.iter().any(|ledger| ledger.is_unknown()),
            broken: world.broken,
            end: None,
        };
        if world.is_quiet() {
            state.end = Some(world.settle());
            state.broken = world.broken;
        }
        state
    }

    /// What an action takes from the budget, if it has that.
    fn pays(action: Action, budget: &mut Budget) -> Option<()> {
        let from = match action {
            Action::Open(at) => &mut budget.opens[at],
            Action::Send(at) => &mut budget.sends[at],
            Action::Close(at) => &mut budget.closes[at],
            Action::Drop(_) => &mut budget.drops,
            Action::Copy(_) => &mut budget.copies,
            Action::Hold(_) => &mut budget.holds,
            Action::Restart(..) => &mut budget.restarts,
            Action::Reconnect(..) => &mut budget.reconnects,
            Action::Deliver(_) | Action::Release(..) | Action::Tick => return Some(()),
        };
        *from = from.checked_sub(1)?;
        Some(())
    }
}

fn hash_parcel(parcel: &Parcel, to: &mut impl Hasher) {
    match parcel {
        Parcel::Unit(stamp, number, unit, bytes) => {
            (0, stamp.id, number, *unit == Unit::Record, bytes).hash(to);
        }
        Parcel::Named(other) => (1, other.id).hash(to),
        Parcel::Failed(id) => (2, id).hash(to),
    }
}

impl<C: Crypto> Model for Sessions<C> {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let world = World::<C>::new(self.rules, self.bound);
        vec![self.look(world, Arc::new([]), self.budget, true)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.broken.is_some() {
            return;
        }
        let quiet = state.queued == [0, 0];
        for at in [0, 1] {
            let mut may = vec![Action::Open(at)];
            may.extend(state.open[at].then_some(Action::Send(at)));
            may.extend(state.session[at].then_some(Action::Close(at)));
            if state.queued[at] > 0 {
                may.push(Action::Deliver(at));
            }
            if state.unit_next[at] {
                may.extend([Action::Drop(at), Action::Copy(at), Action::Hold(at)]);
            }
            may.extend((0..state.kept[at]).map(|which| Action::Release(at, which)));
            // A client that has never done anything has nothing to forget.
            if !state.path.is_empty() {
                let lost = (state.queued[at] > 0).then_some(false);
                for keeps in [Some(true), lost].into_iter().flatten() {
                    may.extend([Action::Restart(at, keeps), Action::Reconnect(at, keeps)]);
                }
            }
            may.retain(|action| Self::pays(*action, &mut state.budget.clone()).is_some());
            actions.extend(may);
        }
        if state.has_deadline && (quiet || state.budget.hurries > 0) {
            actions.push(Action::Tick);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut budget = last.budget;
        Self::pays(action, &mut budget)?;
        let quiet = last.queued == [0, 0];
        if action == Action::Tick && !quiet {
            budget.hurries = budget.hurries.checked_sub(1)?;
        }
        let fair = match action {
            Action::Deliver(_) | Action::Send(_) => true,
            Action::Open(_) => last.session == [false; 2],
            Action::Tick => quiet,
            _ => false,
        };
        let path: Arc<[Action]> = last.path.iter().copied().chain([action]).collect();
        let replayed = catch_unwind(AssertUnwindSafe(|| {
            let mut world = World::<C>::new(self.rules, self.bound);
            let taken = path.iter().all(|action| world.act(*action));
            taken.then(|| self.look(world, path.clone(), budget, last.undisturbed && fair))
        }));
        replayed.unwrap_or_else(|_| {
            let broken = Some("a panic");
            Some(State { path, budget, broken, fingerprint: !last.fingerprint, ..last.clone() })
        })
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always("every promise about messages is kept", |_, state: &State| {
                state.broken.is_none()
            }),
            Property::always("the same session on both sides, or none", |_, state: &State| {
                state.end != Some(End::Differ)
            }),
            Property::always("what nobody disturbs works at once", |_, state: &State| {
                let begun = !state.path.is_empty();
                let rests = state.queued == [0, 0];
                let works = !state.troubled && (!rests || state.open == [true, true]);
                !state.undisturbed || !begun || works
            }),
            Property::sometimes("both have a session", |_, state: &State| {
                state.open == [true, true]
            }),
        ];
        properties.extend(self.shows.iter().map(|sight| sight.property()));
        properties
    }
}

impl Sight {
    fn property<C: Crypto>(self) -> Property<Sessions<C>> {
        match self {
            Sight::Resumed => {
                Property::sometimes("a session follows another", |_, state: &State| state.resumed)
            }
            Sight::Reported => {
                Property::sometimes("both hear that a message is missing", |_, state: &State| {
                    state.reported
                })
            }
            Sight::Unknown => {
                Property::sometimes("of a message nobody knows", |_, state: &State| state.unknown)
            }
            Sight::Nothing => {
                Property::sometimes("both know that there is none", |_, state: &State| {
                    state.end == Some(End::Nothing)
                })
            }
        }
    }
}
