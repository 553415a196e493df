//! The owner's part: changes, and what has to be told to whom in which order.

use super::{
    Answer, Applied, Control, Group, GroupError, GroupId, MAX_MEMBERS, Member, Op, Standing, flag,
};
use crate::{id::Name, key::PublicKey, store::Store};

/// Something to tell a member: send `control` as a request, and give the answer to [`Group::done`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "the group waits for its answer"]
pub struct Step {
    /// The member.
    pub to: PublicKey,
    /// What to tell it.
    pub control: Control,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum What {
    Add,
    Remove,
    /// A removal that the removed one has asked for: it may be gone by now, and need not be told.
    Leave,
    Dissolve,
    /// A snapshot for a member that lags behind. A change may interrupt it.
    Resync,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// The one it is about gets this part of a snapshot: 0 begins, then the members, the last part completes.
    Snapshot(u16),
    /// All others are told at the same time.
    Others,
    /// The one it is about is told.
    Last,
}

/// What is under way, and how far it has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    what: What,
    /// The one it is about.
    key: PublicKey,
    name: Name,
    stage: Stage,
    /// The step of a snapshot, or the last one, was handed out.
    out: bool,
}

/// For the owner.
impl<S: Store<Member>> Group<S> {
    /// A new group with one member: its owner. `id` is 16 random bytes. The store has to be empty.
    ///
    /// # Errors
    /// [`GroupError::Full`]: there is no room even for the owner.
    pub fn create(
        id: GroupId,
        label: Name,
        owner: (PublicKey, Name),
        store: S,
    ) -> Result<Self, GroupError> {
        let (key, name) = owner;
        let mut group = Group::new(id, label, key, key, store);
        group.put(key, name, 1)?;
        group.epoch = 1;
        group.joined = 1;
        group.standing = Standing::Active;
        Ok(group)
    }

    /// Begins to add a member; the [steps](Self::step) do it. It is one as soon as it has taken the snapshot, and if
    /// that fails it is not added. Then the answers say why: see [`done`](Self::done).
    ///
    /// # Errors
    /// [`GroupError::Duplicate`], [`GroupError::Full`], [`GroupError::Busy`], [`GroupError::Used`],
    /// [`GroupError::Role`], [`GroupError::Over`]; nothing has changed.
    pub fn add(&mut self, key: PublicKey, name: Name) -> Result<(), GroupError> {
        self.may_change()?;
        if self.get(&key).is_some() {
            return Err(GroupError::Duplicate);
        }
        self.members.reserve().map_err(|_| GroupError::Full)?;
        if self.members.as_slice().len() >= usize::from(MAX_MEMBERS) {
            return Err(GroupError::Full);
        }
        self.next_epoch()?;
        self.start(What::Add, key, name, Stage::Snapshot(0));
        Ok(())
    }

    /// Removes a member, here at once; the [steps](Self::step) tell the others, and then the removed one.
    ///
    /// # Errors
    /// [`GroupError::NotMember`], [`GroupError::Busy`], [`GroupError::Used`], [`GroupError::Over`], and
    /// [`GroupError::Role`] for the owner itself; nothing has changed.
    pub fn remove(&mut self, key: &PublicKey) -> Result<(), GroupError> {
        self.take_off(key, What::Remove)
    }

    fn take_off(&mut self, key: &PublicKey, what: What) -> Result<(), GroupError> {
        self.may_change()?;
        if *key == self.owner {
            return Err(GroupError::Role);
        }
        let name = *self.get(key).ok_or(GroupError::NotMember)?.name();
        self.epoch = self.next_epoch()?;
        self.take_out(key);
        self.start(what, *key, name, Stage::Others);
        Ok(())
    }

    /// Ends the group, here at once, whatever is under way; the [steps](Self::step) tell all members.
    ///
    /// # Errors
    /// [`GroupError::Role`], [`GroupError::Over`]; nothing has changed.
    pub fn dissolve(&mut self) -> Result<(), GroupError> {
        match self.may_change() {
            Ok(()) | Err(GroupError::Busy) => {}
            Err(why) => return Err(why),
        }
        // Members take it in their own epoch as well.
        self.epoch = self.epoch.saturating_add(1);
        self.standing = Standing::Dissolved;
        self.start(What::Dissolve, self.own, self.label, Stage::Others);
        Ok(())
    }

    /// Whether a change is under way, so that no other can begin.
    pub fn is_changing(&self) -> bool {
        self.plan.is_some_and(|plan| plan.what != What::Resync)
    }

    /// What has to be told next. `None`: nothing, before an answer arrives or somebody begins something.
    ///
    /// Steps that were handed out may be under way at the same time; those to one member do not overlap.
    pub fn step(&mut self) -> Option<Step> {
        // One that leaves while all others lag behind is told to nobody: what they have waited for comes at once.
        while self.plan.is_none() && self.next_job() {}
        let plan = self.plan?;
        if plan.stage == Stage::Others {
            let due = self.members.as_mut_slice().iter_mut().find(|m| m.has(flag::DUE))?;
            due.clear(flag::DUE);
            due.set(flag::OUT);
            return Some(Step { to: *due.key(), control: self.told(&plan) });
        }
        if plan.out {
            return None;
        }
        self.plan = Some(Plan { out: true, ..plan });
        self.current(&plan)
    }

    /// What came of a step. An answer to a step that does not matter any more is ignored.
    ///
    /// A member that did not do it is [lagging](Member::is_lagging), unless it wants to leave or was to be removed.
    /// If one that was to be added did not take the snapshot, it is not added, and will not hear of the group again.
    pub fn done(&mut self, step: &Step, answer: Answer) {
        let Some(plan) = self.plan else { return };
        if plan.stage == Stage::Others {
            if step.control != self.told(&plan) {
                return;
            }
            if let Some(member) = self.find(&step.to).filter(|m| m.has(flag::OUT)) {
                member.clear(flag::OUT);
                member.answers(answer, answer == Answer::Stale);
            }
            self.settle();
            return;
        }
        if !plan.out || self.current(&plan).as_ref() != Some(step) {
            return;
        }
        self.plan = match (answer, plan.stage) {
            (Answer::Done, Stage::Snapshot(part)) => self.next_part(plan, part),
            (Answer::Done, _) => {
                // Unless it has said meanwhile that it remembers nothing.
                if let Some(member) = self.find(&plan.key).filter(|m| !m.has(flag::ANEW)) {
                    member.clear(flag::LAGGING | flag::WANTED);
                }
                None
            }
            _ => {
                // One that was being added anew still has to be: a part of it may have arrived.
                if let Some(member) = self.find(&plan.key) {
                    member.answers(answer, false);
                }
                None
            }
        };
        self.settle();
    }

    /// Every answer that is still missing will not come: the steps are handed out again.
    pub fn interrupted(&mut self) {
        if let Some(plan) = &mut self.plan {
            plan.out = false;
        }
        for member in self.members.as_mut_slice() {
            if member.has(flag::OUT) {
                member.clear(flag::OUT);
                member.set(flag::DUE);
            }
        }
    }

    /// A member that lags behind can be reached again: the [steps](Self::step) bring it a snapshot.
    pub fn retry(&mut self, key: &PublicKey) {
        if let Some(member) = self.find(key).filter(|m| m.has(flag::LAGGING)) {
            member.set(flag::WANTED);
        }
    }

    /// A member's request.
    pub(super) fn asked(
        &mut self,
        from: &PublicKey,
        epoch: u32,
        op: &Op,
    ) -> Result<Applied, GroupError> {
        if self.standing.is_over() {
            return Err(GroupError::Over);
        }
        let current = self.epoch;
        let under_way = self.plan.is_some_and(|plan| plan.key == *from);
        let member = match op {
            Op::Leave | Op::Stale if *from == self.own => return Err(GroupError::Role),
            Op::Leave | Op::Stale => self.find(from).ok_or(GroupError::NotMember)?,
            _ => return Err(GroupError::Role),
        };
        if *op == Op::Leave {
            // Said before it was added anew, it knows nothing of that.
            let parted = if epoch >= member.since() { flag::PARTED } else { 0 };
            member.set(flag::LEAVING | parted);
            return Ok(Applied::Leaves(*from));
        }
        let remembers = epoch != 0 && epoch <= current;
        let told_soon = under_way || member.has(flag::DUE | flag::OUT);
        if remembers && (told_soon || (epoch == current && !member.has(flag::LAGGING))) {
            return Ok(Applied::Nothing);
        }
        member.set(flag::LAGGING | flag::WANTED | if remembers { 0 } else { flag::ANEW });
        Ok(Applied::Asks(*from))
    }

    fn may_change(&self) -> Result<(), GroupError> {
        match self.standing {
            _ if !self.is_owner() => Err(GroupError::Role),
            over if over.is_over() => Err(GroupError::Over),
            _ if self.is_changing() => Err(GroupError::Busy),
            _ => Ok(()),
        }
    }

    fn next_epoch(&self) -> Result<u32, GroupError> {
        self.epoch.checked_add(1).ok_or(GroupError::Used)
    }

    fn start(&mut self, what: What, key: PublicKey, name: Name, stage: Stage) {
        let interrupted = self.plan.take().filter(|plan| plan.what == What::Resync);
        if let Some(member) = interrupted.and_then(|plan| self.find(&plan.key)) {
            member.set(flag::LAGGING | flag::WANTED);
        }
        self.plan = Some(Plan { what, key, name, stage, out: false });
        if stage == Stage::Others {
            self.mark_others();
        }
    }

    /// Begins what a member has asked for. `false`: none has asked for anything.
    fn next_job(&mut self) -> bool {
        if !self.is_owner() || self.standing.is_over() {
            return false;
        }
        let wanting = |m: &&Member| m.has(flag::LEAVING | flag::WANTED);
        let Some(member) = self.members.as_slice().iter().find(wanting) else { return false };
        let (key, name) = (*member.key(), *member.name());
        let (leaving, anew) = (member.has(flag::LEAVING), member.has(flag::ANEW));
        let what = if member.has(flag::PARTED) { What::Leave } else { What::Remove };
        if let Some(member) = self.find(&key) {
            member.clear(flag::LEAVING | flag::PARTED | flag::WANTED);
        }
        match (leaving, anew) {
            // Epochs used up: the group has to be made anew anyway.
            (true, _) => drop(self.take_off(&key, what)),
            (false, true) if self.next_epoch().is_err() => {}
            (false, true) => self.start(What::Add, key, name, Stage::Snapshot(0)),
            (false, false) => self.start(What::Resync, key, name, Stage::Snapshot(0)),
        }
        true
    }

    /// Notes who has to be told of the change. Who lags behind gets a snapshot afterwards, which tells it as well.
    fn mark_others(&mut self) {
        let Some(plan) = self.plan else { return };
        let (own, ends) = (self.own, plan.what == What::Dissolve);
        for member in self.members.as_mut_slice() {
            member.clear(flag::DUE | flag::OUT);
            if *member.key() == own || *member.key() == plan.key {
                continue;
            }
            let snapshot = member.has(flag::LAGGING) && !ends;
            member.set(if snapshot { flag::WANTED } else { flag::DUE });
        }
        self.settle();
    }

    /// Goes on once all others have answered.
    fn settle(&mut self) {
        let Some(plan) = self.plan.filter(|plan| plan.stage == Stage::Others) else { return };
        if self.members.as_slice().iter().any(|m| m.has(flag::DUE | flag::OUT)) {
            return;
        }
        self.plan = None;
        match plan.what {
            What::Dissolve => self.members.retain(|_| false),
            What::Leave => {}
            _ => self.plan = Some(Plan { stage: Stage::Last, out: false, ..plan }),
        }
    }

    /// After a part of a snapshot was taken.
    fn next_part(&mut self, plan: Plan, part: u16) -> Option<Plan> {
        if part <= self.snapshot_len(&plan) {
            return Some(Plan {
                stage: Stage::Snapshot(part.saturating_add(1)),
                out: false,
                ..plan
            });
        }
        if plan.what == What::Resync {
            return Some(Plan { stage: Stage::Last, out: false, ..plan });
        }
        // It knows the group: from here on the group knows it.
        let epoch = self.next_epoch().ok()?;
        self.put(plan.key, plan.name, epoch).ok()?;
        self.epoch = epoch;
        if let Some(member) = self.find(&plan.key) {
            member.clear(flag::ANEW | flag::WANTED | flag::LAGGING);
        }
        self.plan = Some(Plan { stage: Stage::Others, out: false, ..plan });
        self.mark_others();
        self.plan
    }

    /// How many members a snapshot has.
    fn snapshot_len(&self, plan: &Plan) -> u16 {
        let joins = plan.what == What::Add && self.place(&plan.key).is_err();
        let len = self.members.as_slice().len().saturating_add(joins.into());
        // No more than MAX_MEMBERS were let in.
        u16::try_from(len).unwrap_or(MAX_MEMBERS)
    }

    /// The step that is due for the one it is about.
    fn current(&self, plan: &Plan) -> Option<Step> {
        let adding = plan.what == What::Add && matches!(plan.stage, Stage::Snapshot(_));
        let epoch = if adding { self.next_epoch().ok()? } else { self.epoch };
        let op = match plan.stage {
            Stage::Others => return None,
            Stage::Last if plan.what == What::Remove => Op::Removed(plan.key),
            Stage::Last => Op::Active,
            Stage::Snapshot(0) => Op::Begin { label: self.label, members: self.snapshot_len(plan) },
            Stage::Snapshot(part) if part <= self.snapshot_len(plan) => {
                self.listing(plan, part.saturating_sub(1), epoch)?
            }
            Stage::Snapshot(_) => Op::Joined,
        };
        Some(Step { to: plan.key, control: Control { group: self.id, epoch, op } })
    }

    /// The member at `index` of a snapshot, in which the one that is being added has its place already.
    fn listing(&self, plan: &Plan, index: u16, epoch: u32) -> Option<Op> {
        let at = usize::from(index);
        let joins = (plan.what == What::Add).then(|| self.place(&plan.key));
        let from = match joins {
            Some(Ok(place) | Err(place)) if place == at => {
                return Some(Op::Member { index, since: epoch, key: plan.key, name: plan.name });
            }
            Some(Err(place)) if place < at => at.saturating_sub(1),
            _ => at,
        };
        let m = self.members.as_slice().get(from)?;
        Some(Op::Member { index, since: m.since(), key: *m.key(), name: *m.name() })
    }

    /// What all others are told.
    fn told(&self, plan: &Plan) -> Control {
        let op = match plan.what {
            What::Remove | What::Leave => Op::Removed(plan.key),
            What::Dissolve => Op::Dissolved,
            What::Add | What::Resync => Op::Added { key: plan.key, name: plan.name },
        };
        Control { group: self.id, epoch: self.epoch, op }
    }
}

impl Member {
    /// Notes how it has answered. `soon`: whether it gets a snapshot without anybody asking for it.
    fn answers(&mut self, answer: Answer, soon: bool) {
        match answer {
            Answer::Done => {}
            Answer::Gone => self.set(flag::LEAVING | flag::PARTED),
            // Not at once: adding it anew is a change, and two members could keep each other's changes going.
            Answer::Forgotten => self.set(flag::LAGGING | flag::ANEW),
            Answer::Stale | Answer::Refused | Answer::Failed => {
                self.set(flag::LAGGING | if soon { flag::WANTED } else { 0 });
            }
        }
    }
}
