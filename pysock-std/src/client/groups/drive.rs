//! The task of a group: tells members what the owner has changed, and the owner what a member has to say.

use std::{sync::Arc, time::Duration};

use pysock_proto::{
    Kind, Party, PublicKey,
    group::{Answer, Control, Op, Standing, Step},
    peer::channel,
};
use tokio::{task::JoinSet, time::Instant};

use super::{
    ANSWER_WITHIN,
    room::{Room, State},
};
use crate::{
    Error, Target, client::shared::Shared, message::Address, outbox::Body, wait::await_reply,
};

/// The first and the longest wait before somebody is told again.
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LONGEST_RETRY: Duration = Duration::from_secs(30);
/// How often a member that leaves tries to say so.
const FAREWELLS: u32 = 4;

/// What has come back.
enum Done {
    Step(Box<Step>, Result<Answer, Error>),
    Asked(Answer),
    Farewell(Answer),
}

/// When to try again, later each time.
struct Retry {
    wait: Duration,
    at: Option<Instant>,
    /// Attempts so far.
    count: u32,
}

impl Retry {
    const NONE: Retry = Retry { wait: FIRST_RETRY, at: None, count: 0 };

    fn later(&mut self) {
        self.at = Some(Instant::now() + self.wait);
        self.wait = (self.wait * 2).min(LONGEST_RETRY);
        self.count += 1;
    }

    fn is_due(&self) -> bool {
        self.at.is_none_or(|at| at <= Instant::now())
    }
}

/// Runs until the group is over and everybody who can be reached knows.
pub(super) async fn drive(shared: Arc<Shared>, room: Arc<Room>) {
    let (mut tasks, mut retry) = (JoinSet::new(), Retry::NONE);
    while !*room.finished.borrow() {
        for step in room.change(&shared, State::steps) {
            let shared = shared.clone();
            tasks.spawn(async move {
                let answer = shared.tell(&step.to, &step.control).await;
                Done::Step(Box::new(step), answer)
            });
        }
        if tasks.is_empty()
            && let Some((owner, control, farewell)) = room.lock().errand(retry.is_due())
        {
            let shared = shared.clone();
            tasks.spawn(async move {
                let answer = shared.tell(&owner, &control).await.unwrap_or(Answer::Failed);
                if farewell { Done::Farewell(answer) } else { Done::Asked(answer) }
            });
        }
        let (over, owner, lagging) = {
            let state = room.lock();
            let over = state.is_over() && state.farewell.is_none();
            (over, state.group.is_owner(), state.is_anyone_lagging())
        };
        if over && tasks.is_empty() {
            break;
        }
        match lagging {
            true if retry.at.is_none() => retry.later(),
            false if owner => retry = Retry::NONE,
            _ => {}
        }
        let at = retry.at.unwrap_or_else(Instant::now);
        tokio::select! {
            Some(done) = tasks.join_next(), if !tasks.is_empty() => {
                let Ok(done) = done else { continue };
                settle(&shared, &room, done, &mut retry);
            }
            () = tokio::time::sleep_until(at), if retry.at.is_some() => {
                retry.at = None;
                room.lock().retry();
            }
            () = room.bell.notified() => {}
        }
    }
    shared.groups.remove(&room);
    room.finish();
}

fn settle(shared: &Arc<Shared>, room: &Room, done: Done, retry: &mut Retry) {
    room.change(shared, |state| match done {
        Done::Step(step, answer) => state.done(&step, answer),
        Done::Asked(answer) => {
            state.group.answered(answer);
            match answer {
                Answer::Failed => retry.later(),
                _ => *retry = Retry::NONE,
            }
        }
        Done::Farewell(Answer::Failed) if retry.count < FAREWELLS => retry.later(),
        Done::Farewell(_) => state.farewell = None,
    });
}

impl State {
    /// What a member has to say to the owner, and whether it is its last word.
    fn errand(&mut self, due: bool) -> Option<(PublicKey, Control, bool)> {
        let owner = *self.group.owner();
        let back = std::mem::take(&mut self.owner_is_back);
        if !due && !back {
            return None;
        }
        if let Some(control) = self.farewell {
            return Some((owner, control, true));
        }
        if self.group.is_owner() {
            return None;
        }
        let settled = matches!(self.group.standing(), Standing::Receiving | Standing::Active);
        // It may have removed this side meanwhile, or dissolved the group.
        let anyway = (back && settled).then(|| Control {
            group: self.group.id(),
            epoch: self.group.epoch(),
            op: Op::Stale,
        });
        let control = self.group.ask().or(anyway)?;
        Some((owner, control, false))
    }
}

impl Shared {
    /// Tells another client something about a group, and waits for its answer.
    pub(super) async fn tell(
        self: &Arc<Self>,
        to: &PublicKey,
        control: &Control,
    ) -> Result<Answer, Error> {
        let target = Target(Address::Key(*to));
        let body = Body::Whole(bytes::Bytes::copy_from_slice(control.encode().as_slice()));
        let asking = async {
            let entry = self.reach(&target).await?;
            let waiting = entry.requests.ask(0, Party::Server, channel::GROUP_CONTROL.into());
            let kind = Kind::Request(waiting.id());
            let item = self.peer_item(&entry, channel::GROUP_CONTROL, kind, body);
            // It must not wait behind messages of any size.
            let pushed = async { entry.outbox.push_small(item) };
            await_reply(pushed, waiting, ANSWER_WITHIN, &target).await
        };
        match tokio::time::timeout(ANSWER_WITHIN, asking).await {
            Ok(reply) => Ok(Answer::from_reply(reply?.data())),
            Err(_) => Err(Error::NoReply { to: target.to_string(), timeout: ANSWER_WITHIN }),
        }
    }
}
