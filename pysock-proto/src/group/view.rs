//! A member's part: taking the owner's changes and snapshots, and asking for one.

use super::{Answer, Control, Group, GroupError, GroupId, MAX_MEMBERS, Member, Op, Standing, flag};
use crate::{id::Name, key::PublicKey, store::Store};

/// What a control body has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Applied {
    /// Nothing: a repetition, or a part of a snapshot.
    Nothing,
    /// A snapshot is complete: the members are others now, and messages may be received.
    Joined,
    /// This side may send.
    Active,
    /// There is this member now, or it has begun anew.
    Added(PublicKey),
    /// This member is gone.
    Removed(PublicKey),
    /// The group is over for this side: see [`Group::standing`].
    Over,
    /// Owner: this member leaves. The following steps tell the others.
    Leaves(PublicKey),
    /// Owner: this member gets a snapshot. The following steps bring it.
    Asks(PublicKey),
}

/// A snapshot that is arriving.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sync {
    epoch: u32,
    members: u16,
    next: u16,
}

/// Whether the owner is to be asked for a snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ask {
    No,
    Wanted,
    Out,
}

/// For members.
impl<S: Store<Member>> Group<S> {
    /// Takes an invitation: the first control body of a group that is not known here, an [`Op::Begin`] from `from`, who
    /// thereby is its owner. Whether `own` wants to be in is the caller's decision, as is which owners it listens to.
    /// The store has to be empty.
    ///
    /// # Errors
    /// It is not an invitation, or not for this side.
    pub fn join(
        own: PublicKey,
        from: &PublicKey,
        bytes: &[u8],
        store: S,
    ) -> Result<Self, GroupError> {
        let Control { group, epoch, op: Op::Begin { label, members } } = Control::decode(bytes)?
        else {
            return Err(GroupError::Forgotten);
        };
        if own == *from {
            return Err(GroupError::Role);
        }
        let mut group = Group::new(group, label, *from, own, store);
        group.begin(epoch, label, members)?;
        Ok(group)
    }

    /// A group that this side remembers to be in, and nothing more: [`ask`](Self::ask) the owner. The store has to be
    /// empty.
    pub fn recall(id: GroupId, label: Name, owner: PublicKey, own: PublicKey, store: S) -> Self {
        let mut group = Group::new(id, label, owner, own, store);
        group.ask = Ask::Wanted;
        group
    }

    /// Takes the body of a control request from `from`, the key that the session has proven. Answer it with
    /// [`Answer::from`] the result.
    ///
    /// A snapshot is taken in place. Until it is complete the old view holds; where the store is full, those of the
    /// old view who are not in the snapshot so far give way, and nothing of theirs is taken meanwhile.
    ///
    /// # Errors
    /// Nothing has changed, except that a snapshot may have ended.
    pub fn apply(&mut self, from: &PublicKey, bytes: &[u8]) -> Result<Applied, GroupError> {
        let Control { group, epoch, op } = Control::decode(bytes)?;
        if group != self.id {
            return Err(GroupError::OtherGroup);
        }
        if self.is_owner() {
            return self.asked(from, epoch, &op);
        }
        if *from != self.owner {
            return Err(GroupError::NotOwner);
        }
        if self.standing.is_over() {
            let known = matches!(op, Op::Dissolved) || op == Op::Removed(self.own);
            return if known { Ok(Applied::Nothing) } else { Err(GroupError::Over) };
        }
        if epoch < self.epoch {
            return Err(GroupError::Epoch);
        }
        let applied = match op {
            Op::Begin { label, members } => self.begin(epoch, label, members),
            Op::Member { index, since, key, name } => self.listed(epoch, index, since, key, name),
            Op::Joined => self.complete(epoch),
            Op::Active => self.activate(epoch),
            // In any epoch: there is nothing after it for this side.
            Op::Removed(key) if key == self.own => Ok(self.over(Standing::Removed)),
            Op::Dissolved => Ok(self.over(Standing::Dissolved)),
            Op::Added { key, .. } | Op::Removed(key) if key == self.owner || key == self.own => {
                Err(GroupError::Role)
            }
            Op::Added { key, name } => self.change(epoch, key, Some(name)),
            Op::Removed(key) => self.change(epoch, key, None),
            Op::Leave | Op::Stale => Err(GroupError::Role),
        };
        if matches!(applied, Ok(applied) if applied != Applied::Nothing) {
            self.ask = Ask::No;
        }
        applied
    }

    /// Leaves, at once. Send what it returns to the owner; if that fails, send it again, or leave it: other members
    /// are refused from now on.
    ///
    /// # Errors
    /// [`GroupError::Role`]: the owner cannot leave, but [`dissolve`](Self::dissolve).
    pub fn leave(&mut self) -> Result<Control, GroupError> {
        if self.is_owner() {
            return Err(GroupError::Role);
        }
        if !self.standing.is_over() {
            self.over(Standing::Left);
        }
        Ok(Control { group: self.id, epoch: self.epoch, op: Op::Leave })
    }

    /// What to send to the owner because this side's view is old, if it is. The answer to it goes to
    /// [`answered`](Self::answered).
    pub fn ask(&mut self) -> Option<Control> {
        if self.ask != Ask::Wanted || self.standing.is_over() {
            return None;
        }
        self.ask = Ask::Out;
        Some(Control { group: self.id, epoch: self.epoch, op: Op::Stale })
    }

    /// What came of [`ask`](Self::ask), or of [`leave`](Self::leave).
    pub fn answered(&mut self, answer: Answer) {
        let asked = self.ask == Ask::Out;
        match answer {
            Answer::Gone if !self.is_owner() && !self.standing.is_over() => {
                self.over(Standing::Removed);
            }
            // The next message of a newer epoch, or the caller's next attempt, asks again.
            Answer::Failed if asked => self.ask = Ask::Wanted,
            _ if asked => self.ask = Ask::No,
            _ => {}
        }
    }

    fn begin(&mut self, epoch: u32, label: Name, members: u16) -> Result<Applied, GroupError> {
        self.drop_sync();
        // At least the owner and this side.
        if epoch == 0 || members < 2 {
            return Err(GroupError::Snapshot);
        }
        if members > MAX_MEMBERS {
            return Err(GroupError::Full);
        }
        self.label = label;
        self.sync = Some(Sync { epoch, members, next: 0 });
        Ok(Applied::Nothing)
    }

    fn listed(
        &mut self,
        epoch: u32,
        index: u16,
        since: u32,
        key: PublicKey,
        name: Name,
    ) -> Result<Applied, GroupError> {
        let Some(sync) = self.sync.filter(|sync| sync.epoch == epoch) else {
            return Err(GroupError::Stale);
        };
        let known = self.find(&key).is_some_and(|m| m.has(flag::FRESH));
        if index < sync.next && known {
            return Ok(Applied::Nothing);
        }
        if let Err(why) = self.list(&sync, index, since, key, name) {
            self.drop_sync();
            return Err(why);
        }
        self.sync = Some(Sync { next: index.saturating_add(1), ..sync });
        Ok(Applied::Nothing)
    }

    fn list(
        &mut self,
        sync: &Sync,
        index: u16,
        since: u32,
        key: PublicKey,
        name: Name,
    ) -> Result<(), GroupError> {
        let in_turn = index == sync.next && index < sync.members;
        // Rising keys: nobody is in twice.
        let (Ok(from) | Err(from)) = self.place(&key);
        let rises = self.members.as_slice().iter().skip(from).all(|m| !m.has(flag::FRESH));
        if !in_turn || !rises || since == 0 || since > sync.epoch {
            return Err(GroupError::Snapshot);
        }
        // This side's old numbers are lost, and the others know them: only an addition begins anew.
        if key == self.own && self.standing == Standing::Joining && since != sync.epoch {
            return Err(GroupError::Forgotten);
        }
        let new = self.place(&key).is_err();
        if new && self.members.reserve().is_err() {
            // Owner and this side have their place in every snapshot.
            let stays =
                |m: &Member| m.has(flag::FRESH) || *m.key() == self.owner || *m.key() == self.own;
            let old = self.members.as_slice().iter().rposition(|m| !stays(m));
            self.members.remove(old.ok_or(GroupError::Full)?);
        }
        self.put(key, name, since)?;
        if let Some(member) = self.find(&key) {
            member.set(flag::FRESH | if new { flag::PENDING } else { 0 });
        }
        Ok(())
    }

    fn complete(&mut self, epoch: u32) -> Result<Applied, GroupError> {
        let Some(sync) = self.sync.filter(|sync| sync.epoch == epoch) else {
            let repeated = epoch == self.epoch && self.standing != Standing::Joining;
            return if repeated { Ok(Applied::Nothing) } else { Err(GroupError::Stale) };
        };
        let fresh = |key: &PublicKey| {
            let member = self.members.as_slice().get(self.place(key).ok()?)?;
            member.has(flag::FRESH).then_some(member.since())
        };
        let whole = sync.next == sync.members && fresh(&self.owner).is_some();
        let (Some(since), true) = (fresh(&self.own), whole) else {
            self.drop_sync();
            return Err(GroupError::Snapshot);
        };
        self.members.retain(|m| m.has(flag::FRESH));
        for member in self.members.as_mut_slice() {
            member.clear(flag::FRESH | flag::PENDING);
        }
        self.sync = None;
        self.epoch = epoch;
        if self.joined != since || self.standing == Standing::Joining {
            self.standing = Standing::Receiving;
            self.joined = since;
            // What was sent while this side was out was not for it.
            for member in self.members.as_mut_slice() {
                member.counts_from(since);
            }
        }
        Ok(Applied::Joined)
    }

    fn activate(&mut self, epoch: u32) -> Result<Applied, GroupError> {
        match self.standing {
            _ if epoch != self.epoch => Err(GroupError::Stale),
            Standing::Receiving => {
                self.standing = Standing::Active;
                Ok(Applied::Active)
            }
            Standing::Active => Ok(Applied::Nothing),
            _ => Err(GroupError::Stale),
        }
    }

    /// Applies one change: an addition if there is a name.
    fn change(
        &mut self,
        epoch: u32,
        key: PublicKey,
        name: Option<Name>,
    ) -> Result<Applied, GroupError> {
        let known = self.get(&key).map(Member::since);
        if epoch == self.epoch {
            let repeated = match name {
                Some(_) => known == Some(epoch),
                None => known.is_none(),
            };
            return if repeated { Ok(Applied::Nothing) } else { Err(GroupError::Stale) };
        }
        let next = self.epoch.checked_add(1) == Some(epoch) && self.standing != Standing::Joining;
        if !next || (name.is_none() && known.is_none()) {
            return Err(GroupError::Stale);
        }
        // The owner begins a snapshot anew after a change.
        self.drop_sync();
        let applied = match name {
            Some(name) => {
                self.put(key, name, epoch)?;
                Applied::Added(key)
            }
            None => {
                self.take_out(&key);
                Applied::Removed(key)
            }
        };
        self.epoch = epoch;
        Ok(applied)
    }

    fn over(&mut self, standing: Standing) -> Applied {
        self.standing = standing;
        self.sync = None;
        self.members.retain(|_| false);
        Applied::Over
    }

    /// Back to the old view, as far as it is left.
    fn drop_sync(&mut self) {
        if self.sync.take().is_some() {
            self.members.retain(|m| !m.has(flag::PENDING));
            for member in self.members.as_mut_slice() {
                member.clear(flag::FRESH);
            }
        }
    }
}
