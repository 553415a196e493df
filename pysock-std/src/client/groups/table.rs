//! All groups of a client, and the way of what arrives to them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use pysock_proto::{
    ChannelName, GroupError, Identity, Name, PeerInfo, PublicKey,
    group::{Answer, Control, GroupId, MAX_MEMBERS, Op},
};
use tokio::sync::mpsc;

use super::{
    Group, Invitation, Invitations, MAX_GROUPS,
    drive::drive,
    room::{Core, Room},
};
use crate::{
    Error,
    client::{peers::locked, shared::Shared},
    grow::Grow,
    link::{self, Verdict},
    listen::GroupQueue,
    reply::Replier,
};

/// Invitations about which the program has not decided yet, in all and of one owner.
const MAX_INVITATIONS: usize = 16;
const MAX_INVITATIONS_OF_ONE: usize = 4;

/// An invitation without a decision.
struct Pending {
    owner: PeerInfo,
    label: Name,
    /// The latest: the owner asks again from time to time.
    bytes: Bytes,
    replier: Replier,
}

#[derive(Default)]
struct Inner {
    rooms: HashMap<GroupId, Arc<Room>>,
    pending: HashMap<GroupId, Pending>,
    listener: Option<mpsc::UnboundedSender<Invitation>>,
    ended: bool,
}

/// All groups of a client.
#[derive(Default)]
pub(crate) struct Groups(Mutex<Inner>);

/// Room for all members and one more, which keeps a swap smooth.
fn store() -> Grow<pysock_proto::group::Member> {
    Grow::bounded(usize::from(MAX_MEMBERS) + 1)
}

impl Groups {
    pub(super) fn listen(&self, shared: &Arc<Shared>) -> Result<Invitations, Error> {
        let mut inner = locked(&self.0);
        if inner.ended {
            return Err(Error::Disconnected);
        }
        if inner.listener.as_ref().is_some_and(|listener| !listener.is_closed()) {
            return Err(Error::ChannelExists(format!("invitations to {}", shared.name)));
        }
        let (listener, queue) = mpsc::unbounded_channel();
        inner.listener = Some(listener);
        Ok(Invitations { queue })
    }

    fn room(&self, id: &GroupId) -> Option<Arc<Room>> {
        locked(&self.0).rooms.get(id).cloned()
    }

    fn rooms(&self) -> Vec<Arc<Room>> {
        locked(&self.0).rooms.values().cloned().collect()
    }

    /// What the owners of groups in which both are call a client. None: no group vouches for it.
    pub(in crate::client) fn names_of(&self, key: &PublicKey) -> Vec<Name> {
        self.rooms().iter().filter_map(|room| room.name_of(key)).collect()
    }

    /// A session has opened.
    pub(in crate::client) fn opened(&self, key: &PublicKey) {
        for room in self.rooms() {
            room.opened(key);
        }
    }

    /// A message to a group has arrived.
    pub(in crate::client) fn message(
        &self,
        peer: &PeerInfo,
        channel: ChannelName,
        bytes: &Bytes,
    ) -> Verdict {
        match GroupId::of(bytes).and_then(|id| self.room(&id)) {
            Some(room) => room.message(peer, channel, bytes),
            None => {
                tracing::debug!(from = %peer.name, "a message to an unknown group");
                Verdict::Go
            }
        }
    }

    /// Takes an invitation away: it was declined.
    pub(super) fn decline(&self, id: &GroupId) {
        let declined = locked(&self.0).pending.remove(id);
        if let Some(pending) = declined {
            pending.replier.reply_now(Answer::Gone.as_reply());
        }
    }

    pub(super) fn remove(&self, room: &Arc<Room>) {
        let mut inner = locked(&self.0);
        if inner.rooms.get(&room.id).is_some_and(|known| Arc::ptr_eq(known, room)) {
            inner.rooms.remove(&room.id);
        }
    }

    /// The client is over.
    pub(in crate::client) fn end(&self) {
        let inner =
            std::mem::replace(&mut *locked(&self.0), Inner { ended: true, ..Inner::default() });
        for room in inner.rooms.values() {
            room.finish();
        }
    }
}

impl Shared {
    pub(super) fn create_group(self: &Arc<Self>, label: Name) -> Result<Group, Error> {
        let id = GroupId(link::random()?);
        let owner = (self.identity.public(), self.name);
        let refused = |source| Error::Group { label, source };
        let core = Core::create(id, label, owner, store()).map_err(refused)?;
        let (room, queue) = Room::new(core, self.config.queue_bytes);
        {
            let mut inner = locked(&self.groups.0);
            if inner.ended {
                return Err(Error::Disconnected);
            }
            if inner.rooms.len() >= MAX_GROUPS {
                return Err(refused(GroupError::Full));
            }
            inner.rooms.insert(id, room.clone());
        }
        Ok(self.start(room, queue))
    }

    fn start(self: &Arc<Self>, room: Arc<Room>, queue: GroupQueue) -> Group {
        tokio::spawn(drive(self.clone(), room.clone()));
        Group::new(self.clone(), room, queue)
    }

    /// Takes an invitation that the program accepts.
    pub(super) fn join_group(self: &Arc<Self>, id: &GroupId) -> Result<Group, Error> {
        let mut inner = locked(&self.groups.0);
        let full = inner.rooms.len() >= MAX_GROUPS;
        let pending = inner.pending.remove(id).ok_or(Error::Disconnected)?;
        let own = self.identity.public();
        let joined = match full {
            false => Core::join(own, &pending.owner.key, &pending.bytes, store()),
            true => Err(GroupError::Full),
        };
        let answer = Answer::from(&joined);
        let room = joined.map(|core| {
            let (room, queue) = Room::new(core, self.config.queue_bytes);
            inner.rooms.insert(*id, room.clone());
            (room, queue)
        });
        drop(inner);
        pending.replier.reply_now(answer.as_reply());
        match room {
            Ok((room, queue)) => Ok(self.start(room, queue)),
            Err(source) => Err(Error::Group { label: pending.label, source }),
        }
    }

    /// A control body has arrived. It is answered at once, unless the program has to decide.
    pub(in crate::client) fn group_control(
        self: &Arc<Self>,
        peer: &PeerInfo,
        bytes: Bytes,
        replier: Replier,
    ) -> Verdict {
        let room = GroupId::of(&bytes).and_then(|id| self.groups.room(&id));
        let Some(room) = room else {
            match Control::decode(&bytes) {
                Ok(Control { group, op: Op::Begin { label, .. }, .. }) => {
                    self.invited(peer, group, label, bytes, replier);
                }
                Ok(Control { op: Op::Leave | Op::Stale, .. }) => {
                    replier.reply_now(Answer::Gone.as_reply());
                }
                Ok(_) => replier.reply_now(Answer::Forgotten.as_reply()),
                Err(_) => replier.reply_now(Answer::Refused.as_reply()),
            }
            return Verdict::Go;
        };
        let (answer, verdict) = room.update(self, |state| state.apply(&peer.key, &bytes));
        room.bell.notify_one();
        replier.reply_now(answer.as_reply());
        verdict
    }

    fn invited(
        self: &Arc<Self>,
        peer: &PeerInfo,
        id: GroupId,
        label: Name,
        bytes: Bytes,
        replier: Replier,
    ) {
        let mut guard = locked(&self.groups.0);
        let inner = &mut *guard;
        let pending = Pending { owner: *peer, label, bytes, replier };
        let refused = match inner.pending.get_mut(&id) {
            Some(known) if known.owner.key == peer.key => {
                // Nobody waits for the answer to the one before any more.
                let before = std::mem::replace(known, pending);
                drop(guard);
                drop(before);
                return;
            }
            Some(_) => Some(Answer::Refused),
            None => inner.refusal(peer),
        };
        if let (None, Some(listener)) = (refused, &inner.listener) {
            let invitation = Invitation { shared: self.clone(), id, label, owner: *peer };
            inner.pending.insert(id, pending);
            let listener = listener.clone();
            drop(guard);
            // If nobody listens any more, it is dropped, and thereby declined.
            let _ = listener.send(invitation);
            return;
        }
        drop(guard);
        pending.replier.reply_now(refused.unwrap_or(Answer::Gone).as_reply());
    }
}

impl Inner {
    /// Why nobody is asked about a new invitation.
    fn refusal(&self, owner: &PeerInfo) -> Option<Answer> {
        let of_one = self.pending.values().filter(|p| p.owner.key == owner.key).count();
        if self.listener.as_ref().is_none_or(mpsc::UnboundedSender::is_closed) {
            Some(Answer::Gone)
        } else if self.pending.len() >= MAX_INVITATIONS
            || of_one >= MAX_INVITATIONS_OF_ONE
            || self.rooms.len() >= MAX_GROUPS
        {
            Some(Answer::Refused)
        } else {
            None
        }
    }
}
