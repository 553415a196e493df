//! One group of a client: the protocol's state, and what waits on it.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
};

use bytes::Bytes;
use pysock_proto::{
    ChannelName, GroupError, Name, PeerInfo, PublicKey,
    group::{Answer, Checked, Control, GroupId, Member, Standing, Step},
};
use tokio::{
    sync::{Notify, Semaphore, oneshot, watch},
    time::Instant,
};

use super::{
    Ending, GroupMember, GroupMessage, GroupNews,
    send::{Parcel, Stint},
};
use crate::{
    Error, Message, Sender,
    client::shared::Shared,
    grow::Grow,
    link::Verdict,
    listen::{self, GroupQueue, Sink},
    message::{Path, Source},
};

/// What the protocol knows of a group.
pub(super) type Core = pysock_proto::group::Group<Grow<Member>>;

/// Requests that a member may make of the owner at once, and one more each second after that.
const REQUESTS: u32 = 8;

/// A change that the program wants, at the owner.
pub(super) struct Change {
    pub(super) what: What,
    /// Until when it is tried.
    pub(super) until: Instant,
    pub(super) tell: oneshot::Sender<Result<(), Error>>,
    /// What the one it is about has said last.
    pub(super) last: Option<Result<Answer, Error>>,
}

#[derive(Clone, Copy)]
pub(super) enum What {
    Add(PublicKey, Name),
    Remove(PublicKey),
}

/// How many requests a member may still make.
struct Allowance {
    left: u32,
    since: Instant,
}

pub(super) struct State {
    pub(super) group: Core,
    /// Where the program listens.
    sink: Option<Sink>,
    /// The members of whom the program knows, once it has joined.
    seen: Option<BTreeMap<PublicKey, Name>>,
    /// Messages that wait for a session, or for room in the queue to a member. While there is one for a member,
    /// somebody works on it.
    pub(super) lanes: HashMap<Stint, VecDeque<Parcel>>,
    changes: VecDeque<Change>,
    current: Option<Change>,
    /// Nobody makes changes any more.
    finished: bool,
    allowances: HashMap<PublicKey, Allowance>,
    /// The last word of a member that leaves, until the owner has it.
    pub(super) farewell: Option<Control>,
    /// The session with the owner has opened: it may know something new.
    pub(super) owner_is_back: bool,
    /// The program knows that it is over.
    over_told: bool,
}

pub(super) struct Room {
    pub(super) id: GroupId,
    state: Mutex<State>,
    /// Wakes the group's task.
    pub(super) bell: Notify,
    pub(super) standing: watch::Sender<Standing>,
    /// The group's task has nothing more to do.
    pub(super) finished: watch::Sender<bool>,
    /// Room for messages of this side that are not in all queues yet.
    pub(super) budget: Arc<Semaphore>,
}

impl Room {
    pub(super) fn new(group: Core, queue_bytes: usize) -> (Arc<Self>, GroupQueue) {
        let (sink, queue) = listen::groups(queue_bytes);
        let standing = watch::Sender::new(group.standing());
        let joined = group.standing() != Standing::Joining;
        let own = joined.then(|| group.members().map(|m| (*m.key(), *m.name())).collect());
        let room = Room {
            id: group.id(),
            state: Mutex::new(State {
                group,
                sink: Some(sink),
                seen: own,
                lanes: HashMap::new(),
                changes: VecDeque::new(),
                current: None,
                finished: false,
                allowances: HashMap::new(),
                farewell: None,
                owner_is_back: false,
                over_told: false,
            }),
            bell: Notify::new(),
            standing,
            finished: watch::Sender::new(false),
            budget: Arc::new(Semaphore::new(queue_bytes.min(Semaphore::MAX_PERMITS))),
        };
        (Arc::new(room), queue)
    }

    /// Never held across an await.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Changes something. Whoever is affected by it hears of it, in order.
    pub(super) fn update<T>(
        &self,
        shared: &Shared,
        act: impl FnOnce(&mut State) -> T,
    ) -> (T, Verdict) {
        let mut state = self.lock();
        let result = act(&mut state);
        // Before the queues are cleared: from here on, nothing more comes into them for those who are out.
        state.return_parcels();
        let (mut verdict, epoch) = (Verdict::Go, state.group.epoch());
        for news in state.news() {
            if let GroupNews::Left(member) = &news {
                shared.forget_queued(member.key, self.id, epoch);
            }
            // Whoever waits for the last one waits for all.
            verdict = state.tell(news);
        }
        let standing = state.group.standing();
        drop(state);
        self.standing.send_if_modified(|old| std::mem::replace(old, standing) != standing);
        (result, verdict)
    }

    /// As [`update`](Self::update), for those that do not read from the network. The group's task has to be woken if
    /// it is not the one that does it.
    pub(super) fn change<T>(&self, shared: &Shared, act: impl FnOnce(&mut State) -> T) -> T {
        let (result, verdict) = self.update(shared, act);
        if let Verdict::Wait(wait) = verdict
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(wait);
        }
        result
    }

    /// A message to the group has arrived.
    pub(super) fn message(&self, peer: &PeerInfo, channel: ChannelName, bytes: &Bytes) -> Verdict {
        let mut state = self.lock();
        let Checked { payload, missed, old_view } = match state.group.check(&peer.key, bytes) {
            Ok(checked) => checked,
            Err(why) => {
                tracing::debug!(from = %peer.name, group = %self.id, %why, "not a message of this group");
                return Verdict::Go;
            }
        };
        let name = state.group.get(&peer.key).map_or(peer.name, |member| *member.name());
        let sender = Sender(Source::Proven(Arc::new(PeerInfo { name, ..*peer })));
        let data = bytes.slice_ref(payload);
        let message = Message::new(Arc::new(Path { sender, channel }), data, None);
        if old_view {
            self.bell.notify_one();
        }
        // Under the lock: messages and news keep their order.
        state.tell(GroupNews::Message(GroupMessage { message, missed }))
    }

    /// A session has opened.
    pub(super) fn opened(&self, key: &PublicKey) {
        let mut state = self.lock();
        let owner = state.group.owner() == key;
        state.owner_is_back |= owner;
        state.group.retry(key);
        let concerned = owner || state.group.get(key).is_some();
        drop(state);
        if concerned {
            self.bell.notify_one();
        }
    }

    /// What the owner calls this member, unless the group is over.
    pub(super) fn name_of(&self, key: &PublicKey) -> Option<Name> {
        let state = self.lock();
        let member = state.group.get(key).filter(|_| !state.is_over())?;
        Some(*member.name())
    }

    /// Ends it for this side, if it is not over: the owner dissolves it, a member leaves.
    pub(super) fn abandon(&self, shared: &Shared) {
        self.change(shared, |state| {
            if !state.group.standing().is_over() {
                match state.group.is_owner() {
                    // Neither fails now.
                    true => drop(state.group.dissolve()),
                    false => state.farewell = state.group.leave().ok(),
                }
            }
        });
        self.bell.notify_one();
    }

    /// Nothing follows: the group is over and all who are concerned were told, or the client is over.
    pub(super) fn finish(&self) {
        let mut state = self.lock();
        // Under the lock: a change comes before, and fails, or after, and is not taken.
        state.finished = true;
        state.fail_changes(|| Error::Disconnected);
        state.lanes.clear();
        // What waits there for room still goes to the program.
        state.sink = None;
        drop(state);
        self.finished.send_replace(true);
        self.bell.notify_one();
    }

    pub(super) fn error(&self, source: GroupError) -> Error {
        Error::Group { label: *self.lock().group.label(), source }
    }
}

impl State {
    fn tell(&self, news: GroupNews) -> Verdict {
        self.sink.as_ref().map_or(Verdict::Go, |sink| sink.group(news))
    }

    /// What the program does not know yet.
    fn news(&mut self) -> Vec<GroupNews> {
        let ending = match self.group.standing() {
            Standing::Joining => return Vec::new(),
            Standing::Removed => Some(Ending::Removed),
            Standing::Left => Some(Ending::Left),
            Standing::Dissolved => Some(Ending::Dissolved),
            _ => None,
        };
        if let Some(ending) = ending {
            let told = std::mem::replace(&mut self.over_told, true);
            return if told { Vec::new() } else { vec![GroupNews::Over(ending)] };
        }
        let now: BTreeMap<_, _> = self.group.members().map(|m| (*m.key(), *m.name())).collect();
        let Some(seen) = self.seen.replace(now.clone()) else { return Vec::new() };
        let member = |(key, name): (&PublicKey, &Name)| GroupMember { name: *name, key: *key };
        let gone = seen.iter().filter(|(key, _)| !now.contains_key(*key));
        let new = now.iter().filter(|(key, _)| !seen.contains_key(*key));
        let left = gone.map(|m| GroupNews::Left(member(m)));
        left.chain(new.map(|m| GroupNews::Joined(member(m)))).collect()
    }

    /// A control body has arrived from this client.
    pub(super) fn apply(&mut self, from: &PublicKey, bytes: &[u8]) -> Answer {
        // Each may make the owner tell everybody something.
        if self.group.is_owner() && self.group.get(from).is_some() && !self.may_ask(from) {
            return Answer::Refused;
        }
        Answer::from(&self.group.apply(from, bytes))
    }

    fn may_ask(&mut self, member: &PublicKey) -> bool {
        let now = Instant::now();
        let group = &self.group;
        self.allowances.retain(|key, _| group.get(key).is_some());
        let full = Allowance { left: REQUESTS, since: now };
        let allowance = self.allowances.entry(*member).or_insert(full);
        let earned = u32::try_from((now - allowance.since).as_secs()).unwrap_or(REQUESTS);
        if earned > 0 {
            allowance.left = allowance.left.saturating_add(earned).min(REQUESTS);
            allowance.since = now;
        }
        let left = allowance.left.checked_sub(1);
        allowance.left = left.unwrap_or(0);
        left.is_some()
    }

    pub(super) fn is_over(&self) -> bool {
        self.group.standing().is_over()
    }

    /// Takes a change, unless nobody would make it.
    pub(super) fn want(&mut self, change: Change) -> Result<(), GroupError> {
        if self.finished {
            return Err(GroupError::Over);
        }
        self.changes.push_back(change);
        Ok(())
    }

    /// What has to be told now; begins the next change if none is under way.
    pub(super) fn steps(&mut self) -> Vec<Step> {
        let mut steps = Vec::new();
        loop {
            steps.extend(std::iter::from_fn(|| self.group.step()));
            if self.is_over() {
                self.fail_changes(|| Error::Disconnected);
                return steps;
            }
            if self.current.is_some() || self.group.is_changing() {
                return steps;
            }
            let Some(change) = self.changes.pop_front() else { return steps };
            let begun = match change.what {
                What::Add(key, name) => self.group.add(key, name),
                What::Remove(key) => self.group.remove(&key),
            };
            match begun {
                Ok(()) => self.current = Some(change),
                Err(source) => {
                    let label = *self.group.label();
                    let _ = change.tell.send(Err(Error::Group { label, source }));
                }
            }
        }
    }

    /// What came of a step.
    pub(super) fn done(&mut self, step: &Step, result: Result<Answer, Error>) {
        let answer = result.as_ref().map_or(Answer::Failed, |answer| *answer);
        self.group.done(step, answer);
        let Some(mut change) = self.current.take() else { return };
        if matches!(change.what, What::Add(key, _) if key == step.to) && answer != Answer::Done {
            change.last = Some(result);
        }
        if self.group.is_changing() {
            self.current = Some(change);
            return;
        }
        let outcome = match change.what {
            What::Remove(_) => Ok(()),
            What::Add(key, _) if self.group.get(&key).is_some() => Ok(()),
            What::Add(_, name) => match change.last.take() {
                // It may be deciding still. Meanwhile it is the turn of others.
                Some(Err(Error::NoReply { .. } | Error::OutcomeUnknown { .. }))
                    if Instant::now() < change.until =>
                {
                    self.changes.push_back(change);
                    return;
                }
                Some(Err(error)) => Err(error),
                _ => Err(Error::Declined { name }),
            },
        };
        let _ = change.tell.send(outcome);
    }

    fn fail_changes(&mut self, why: impl Fn() -> Error) {
        for change in self.current.take().into_iter().chain(self.changes.drain(..)) {
            let _ = change.tell.send(Err(why()));
        }
    }

    /// Tries again to reach those who lag behind.
    pub(super) fn retry(&mut self) {
        let lagging = self.group.members().filter(|member| member.is_lagging());
        let keys: Vec<PublicKey> = lagging.map(|member| *member.key()).collect();
        for key in &keys {
            self.group.retry(key);
        }
    }

    pub(super) fn is_anyone_lagging(&self) -> bool {
        self.group.is_owner() && self.group.members().any(Member::is_lagging)
    }
}
