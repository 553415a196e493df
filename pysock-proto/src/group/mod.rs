//! Groups of clients, above their sessions with each other ([`peer`](crate::peer)): who is in, and what may be said to
//! whom.
//!
//! A [`Group`] is what one client knows of one group. It does no I/O and knows neither sessions nor the time: it is told
//! what arrived from which *proven* key, and says what to send to which.
//!
//! ```text
//!      owner                                    N, new                others
//!
//!   add(N), step() ─ Begin, Member…, Joined ─────▶ join(), apply()
//!                                                  N may receive
//!           step() ─ Added ──────────────────────────────────────────▶ apply()
//!                                                             they send to N
//!           step() ─ Active ─────────────────────▶ apply()
//!                                                  N may send
//!
//!   anybody: header() ‖ payload to each of others() ───────────────────▶ check(from, bytes)
//! ```
//!
//! - **Messages** are one-way messages or streams on [`GROUP`](crate::peer::channel::GROUP). The sender seals each for
//!   every member by itself, with the same [`header`](Group::header) in front. A receiver puts the whole message, or
//!   once the first bytes of a stream, through [`check`](Group::check).
//! - **Control** are requests on [`GROUP_CONTROL`](crate::peer::channel::GROUP_CONTROL). The answer to one is
//!   [`Answer`], made from what [`apply`](Group::apply) or [`join`](Group::join) said.
//! - **The owner** changes the group ([`add`](Group::add), [`remove`](Group::remove), [`dissolve`](Group::dissolve)),
//!   then hands out what [`step`](Group::step) says until it is `None`, and gives every answer to
//!   [`done`](Group::done), which may make further steps due. One change is under way at a time. Who could not be told
//!   is [lagging](Member::is_lagging) and holds nobody up; [`retry`](Group::retry) when it is back.
//! - **A member** that notices that its view is old asks the owner: send what [`ask`](Group::ask) says, and give the
//!   answer to [`answered`](Group::answered).
//! - A group lives in memory. A member that has lost it, and still knows that there was one, begins with
//!   [`recall`](Group::recall); otherwise it answers control with [`Answer::Forgotten`]. Either way the owner adds it
//!   anew, at once or at the next [`retry`](Group::retry). An owner that has lost a group makes a new one.
//! - Control costs the owner something: adding a member anew is told to all. Bound how many requests a client may make
//!   in a while.
//!
//! # Two clients in memory
//!
//! ```
//! use pysock_proto::{
//!     PublicKey,
//!     group::{Answer, FixedGroup, Group, GroupId},
//!     store::Fixed,
//! };
//!
//! // In earnest: the proven keys of sessions, and 16 random bytes.
//! let (ann, ben) = (PublicKey([1; 32]), PublicKey([2; 32]));
//! let id = GroupId([9; 16]);
//! let mut anns: FixedGroup<8> = Group::create(id, "band".parse()?, (ann, "ann".parse()?), Fixed::new())?;
//!
//! anns.add(ben, "ben".parse()?)?;
//! let mut bens: Option<FixedGroup<8>> = None;
//! while let Some(step) = anns.step() {
//!     // A request to `step.to`, and here is its receiver.
//!     let request = step.control.encode();
//!     let answer = match &mut bens {
//!         Some(group) => Answer::from(&group.apply(&ann, request.as_slice())),
//!         None => {
//!             let joined = Group::join(ben, &ann, request.as_slice(), Fixed::new());
//!             let answer = Answer::from(&joined);
//!             bens = joined.ok();
//!             answer
//!         }
//!     };
//!     anns.done(&step, Answer::from_reply(answer.as_reply()));
//! }
//!
//! let mut bens = bens.ok_or("never invited")?;
//! let message = [&bens.header()?[..], b"Hello, group!"].concat();
//! assert!(bens.others().any(|member| *member.key() == ann));
//! assert_eq!(anns.check(&ben, &message)?.payload, b"Hello, group!");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What a group protects
//!
//! - Whoever was never a member reads nothing and gets nothing in: each copy is sealed end to end by the session of
//!   two members, and a receiver takes a message only from a key that the owner has named to it.
//! - Only the session of the owner's key changes the group. It cannot be added away, and nobody else can join,
//!   re-name or remove anybody.
//! - A new member gets nothing that was sent before it joined. Once a sender has applied a removal, it sends the
//!   removed member nothing more, and takes nothing more from it.
//! - No message is taken twice, and gaps in what one sender has sent are noticed at its next message.
//!
//! # What it does not protect
//!
//! - **One sender can say different things to different members.** Nothing compares the copies.
//! - **The owner decides who is in**, and can show different members to different members. Membership is as
//!   trustworthy as the owner.
//! - **A removal binds each sender only once it has applied it.** Until then, that sender sends on to the removed
//!   member; one that cannot be reached does so until it can. A removed member keeps what it has read.
//! - **The server sees who talks to whom**, when, and how much. The same length to several members at once looks like
//!   a group. It can also hold messages back, which shows only as a gap.
//! - There is no order between the messages of different senders, and nothing says who has received what.
//! - A session with a member's stolen key is that member. Membership heals by removal only.

mod control;
mod member;
mod owner;
mod view;

#[cfg(test)]
mod tests;

pub use control::{Answer, Control, ControlBytes, GroupId, HEADER, MAX_CONTROL, Op};
pub use member::Member;
pub use owner::Step;
pub use view::Applied;

use crate::{
    error::GroupError,
    id::Name,
    key::PublicKey,
    store::{Fixed, Store},
};
use control::Header;
use member::flag;
use owner::Plan;
use view::{Ask, Sync};

/// Most members of a group, its owner among them. Every message is sealed once for each: a desktop does well with 32,
/// a microcontroller with 8.
pub const MAX_MEMBERS: u16 = 256;

/// What this side may do in a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Standing {
    /// It was invited, and waits for the rest of the snapshot.
    Joining,
    /// It receives. Not all others know of it yet.
    Receiving,
    /// It sends and receives.
    Active,
    /// Over: the owner has removed it.
    Removed,
    /// Over: it has left.
    Left,
    /// Over: the group is no more.
    Dissolved,
}

impl Standing {
    /// Whether the group is over for this side. Drop it then: it stays so, also if this side is invited again.
    pub const fn is_over(self) -> bool {
        matches!(self, Standing::Removed | Standing::Left | Standing::Dissolved)
    }
}

/// A message to the group that passed [`Group::check`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Checked<'b> {
    /// What it says.
    pub payload: &'b [u8],
    /// How many messages of this sender were missed right before it.
    pub missed: u32,
    /// The sender knows a newer epoch: the owner should be [asked](Group::ask).
    pub old_view: bool,
}

/// What one client knows of one group, with the members in storage `S`.
#[derive(Debug)]
pub struct Group<S> {
    id: GroupId,
    label: Name,
    owner: PublicKey,
    own: PublicKey,
    standing: Standing,
    epoch: u32,
    /// The epoch in which this side was added, last time.
    joined: u32,
    /// Number of the last message of this side.
    sent: u32,
    ask: Ask,
    sync: Option<Sync>,
    plan: Option<Plan>,
    /// By key.
    members: S,
}

/// A group of at most `N` members inside itself. One more than there are keeps a swap smooth: see [`Group::apply`].
pub type FixedGroup<const N: usize> = Group<Fixed<Member, N>>;

const _: () = assert!(size_of::<FixedGroup<8>>() <= 240 + 8 * 80);

impl<S> Group<S> {
    fn new(id: GroupId, label: Name, owner: PublicKey, own: PublicKey, members: S) -> Self {
        Group {
            id,
            label,
            owner,
            own,
            standing: Standing::Joining,
            epoch: 0,
            joined: 0,
            sent: 0,
            ask: Ask::No,
            sync: None,
            plan: None,
            members,
        }
    }

    /// Its id.
    pub fn id(&self) -> GroupId {
        self.id
    }

    /// What the owner calls it.
    pub fn label(&self) -> &Name {
        &self.label
    }

    /// The key of the client that decides who is in.
    pub fn owner(&self) -> &PublicKey {
        &self.owner
    }

    /// Whether this side is the owner.
    pub fn is_owner(&self) -> bool {
        self.own == self.owner
    }

    /// How many changes this side's view has seen, and the group's beginning.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// What this side may do.
    pub fn standing(&self) -> Standing {
        self.standing
    }
}

impl<S: Store<Member>> Group<S> {
    /// The members in this side's view, itself among them, by key.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.as_slice().iter().filter(|m| !m.has(flag::PENDING))
    }

    /// The members to whom a message of this side goes: all others.
    pub fn others(&self) -> impl Iterator<Item = &Member> {
        self.members().filter(|m| *m.key() != self.own)
    }

    /// The member with this key.
    pub fn get(&self, key: &PublicKey) -> Option<&Member> {
        let member = self.members.as_slice().get(self.place(key).ok()?)?;
        (!member.has(flag::PENDING)).then_some(member)
    }

    /// Begins a message of this side: what comes in front of the payload. Send it to each of
    /// [`others`](Self::others). A header that is never sent counts as a missed message with all of them.
    ///
    /// # Errors
    /// [`GroupError::NotActive`], [`GroupError::Over`], [`GroupError::Used`]; nothing has changed.
    pub fn header(&mut self) -> Result<[u8; HEADER], GroupError> {
        if self.standing.is_over() {
            return Err(GroupError::Over);
        }
        if self.standing != Standing::Active {
            return Err(GroupError::NotActive);
        }
        self.sent = self.sent.checked_add(1).ok_or(GroupError::Used)?;
        Ok(Header { group: self.id, epoch: self.epoch, id: self.sent }.encode())
    }

    /// Checks a message, or the first bytes of a stream, that came from `from`: the key that the session has proven.
    ///
    /// # Errors
    /// The message is not one of this group, or not one for this side. Drop it; nothing has changed.
    pub fn check<'b>(
        &mut self,
        from: &PublicKey,
        bytes: &'b [u8],
    ) -> Result<Checked<'b>, GroupError> {
        let (header, payload) = Header::decode(bytes).ok_or(GroupError::Malformed)?;
        if header.group != self.id {
            return Err(GroupError::OtherGroup);
        }
        match self.standing {
            Standing::Joining => return Err(GroupError::NotActive),
            over if over.is_over() => return Err(GroupError::Over),
            _ => {}
        }
        if *from == self.own || self.get(from).is_none() {
            return Err(GroupError::NotMember);
        }
        let newer = header.epoch > self.epoch;
        // Nobody knows more than the owner; and this side was not in before it joined.
        if header.epoch < self.joined || (newer && self.is_owner()) {
            return Err(GroupError::Epoch);
        }
        let member = self.find(from).ok_or(GroupError::NotMember)?;
        let missed = member.hears(header.epoch, header.id).ok_or(GroupError::Repeated)?;
        if newer && self.ask == Ask::No {
            self.ask = Ask::Wanted;
        }
        Ok(Checked { payload, missed, old_view: newer })
    }

    /// Where a member is, or would be: they are sorted by key.
    fn place(&self, key: &PublicKey) -> Result<usize, usize> {
        self.members.as_slice().binary_search_by(|m| m.key().cmp(key))
    }

    /// The member with this key, also if it is pending.
    fn find(&mut self, key: &PublicKey) -> Option<&mut Member> {
        let at = self.place(key).ok()?;
        self.members.as_mut_slice().get_mut(at)
    }

    /// Puts a member in; one that is there already begins anew.
    fn put(&mut self, key: PublicKey, name: Name, since: u32) -> Result<(), GroupError> {
        match self.place(&key) {
            Ok(at) => {
                if let Some(member) = self.members.as_mut_slice().get_mut(at) {
                    member.begins(name, since);
                }
                Ok(())
            }
            Err(at) => {
                self.members.insert(at, Member::new(key, name, since)).map_err(|_| GroupError::Full)
            }
        }
    }

    fn take_out(&mut self, key: &PublicKey) {
        if let Ok(at) = self.place(key) {
            self.members.remove(at);
        }
    }
}
