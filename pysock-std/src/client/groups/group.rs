//! A group in the hands of a program.

use std::{fmt, sync::Arc};

use pysock_proto::{
    GroupError, Name, PublicKey,
    group::{GroupId, HEADER, Standing},
};
use tokio::{
    sync::{Mutex, oneshot},
    task::JoinSet,
    time::Instant,
};

use super::{
    ANSWER_WITHIN, DECIDE_WITHIN, GroupMember, GroupMessage, GroupNews, JOIN_WITHIN, Outcomes,
    room::{Change, Room, What},
    send::Sent,
};
use crate::{Data, Error, Target, client::shared::Shared, listen::GroupQueue};

/// What a message costs beyond its data while it is not in all queues, in bytes.
const OVERHEAD: usize = 256;

/// A group that this client is in. Clones are the same group; dropping the last one leaves it, or dissolves it if this
/// client is its owner.
///
/// Somebody should listen, from the beginning: what arrives waits in a queue, and while that is full, nothing else
/// arrives at this client either, not even what the owner has to tell it about the group. Listening and sending may go on
/// at the same time, from clones.
#[derive(Clone)]
pub struct Group(Arc<Handle>);

struct Handle {
    shared: Arc<Shared>,
    room: Arc<Room>,
    queue: Mutex<GroupQueue>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.room.abandon(&self.shared);
    }
}

impl Group {
    pub(super) fn new(shared: Arc<Shared>, room: Arc<Room>, queue: GroupQueue) -> Self {
        Group(Arc::new(Handle { shared, room, queue: Mutex::new(queue) }))
    }

    /// Its id.
    pub fn id(&self) -> GroupId {
        self.0.room.id
    }

    /// What the owner calls it.
    pub fn label(&self) -> Name {
        *self.0.room.lock().group.label()
    }

    /// Who decides about the members.
    pub fn owner(&self) -> PublicKey {
        *self.0.room.lock().group.owner()
    }

    /// Whether that is this client.
    pub fn is_owner(&self) -> bool {
        self.0.room.lock().group.is_owner()
    }

    /// How many changes of its members this client has seen, and its beginning.
    pub fn epoch(&self) -> u32 {
        self.0.room.lock().group.epoch()
    }

    /// Who is in, as far as this client knows; it is among them. Empty once the group is over.
    pub fn members(&self) -> Vec<GroupMember> {
        let state = self.0.room.lock();
        let members = state.group.members().filter(|_| !state.is_over());
        members.map(|m| GroupMember { name: *m.name(), key: *m.key() }).collect()
    }

    /// Sends to every other member. Each gets a copy of its own, end to end; messages too large for a record are
    /// streamed. Waits until every copy is in the queue to its member, 5 seconds at most for each, at the same time,
    /// and says for whom that has worked. Who is removed before that fails; what is queued for it already is dropped.
    ///
    /// One who has just joined waits here until the others know.
    ///
    /// # Errors
    /// [`Error::Group`] if nothing may be sent: the group is over, or the others do not know of this client yet.
    /// That members cannot be reached is none.
    pub async fn send(&self, data: impl Into<Data>) -> Result<Outcomes, Error> {
        let Handle { shared, room, .. } = &*self.0;
        let data = data.into().0;
        let most = shared.config.queue_bytes;
        let cost = u32::try_from(data.len().saturating_add(OVERHEAD).min(most)).unwrap_or(u32::MAX);
        let hold = room.budget.clone().acquire_many_owned(cost).await;
        let hold = hold.map_err(|_| Error::Disconnected)?;
        self.until(|standing| standing == Standing::Active).await?;
        let mut bytes = Vec::with_capacity(HEADER.saturating_add(data.len()));
        bytes.resize(HEADER, 0);
        bytes.extend_from_slice(&data);
        let sent = room.dispatch(shared, bytes, hold).map_err(|why| room.error(why))?;
        let mut outcomes = Outcomes::default();
        for (target, sent) in sent {
            let outcome = match sent {
                Sent::Queued => Ok(()),
                Sent::Waits(outcome) => {
                    outcome.await.unwrap_or_else(|_| Err(Arc::new(Error::Disconnected)))
                }
            };
            outcomes.0.push((target, outcome));
        }
        Ok(outcomes)
    }

    /// Waits until this side may do something, or says why it may not.
    pub(super) async fn until(&self, may: impl Fn(Standing) -> bool) -> Result<(), Error> {
        let room = &self.0.room;
        let mut standing = room.standing.subscribe();
        let mut finished = room.finished.subscribe();
        let waiting = standing.wait_for(|standing| may(*standing) || standing.is_over());
        tokio::select! {
            biased;
            _ = finished.wait_for(|finished| *finished) => {}
            standing = tokio::time::timeout(JOIN_WITHIN, waiting) => match standing {
                Ok(Ok(standing)) if !standing.is_over() => return Ok(()),
                Ok(_) => {}
                Err(_) => return Err(room.error(GroupError::NotActive)),
            },
        }
        let over = room.lock().is_over();
        Err(if over { room.error(GroupError::Over) } else { Error::Disconnected })
    }

    /// The next message of another member. News of other kinds are skipped; [`next`](Self::next) has them. `None`: the
    /// group or the client is over. Each message goes to one listener.
    pub async fn listen(&self) -> Option<GroupMessage> {
        loop {
            match self.next().await? {
                GroupNews::Message(message) => return Some(message),
                news => tracing::debug!(?news, "news of a group"),
            }
        }
    }

    /// Calls `function` with every message, until the group or the client is over.
    pub async fn listen_with(&self, mut function: impl AsyncFnMut(GroupMessage)) {
        while let Some(message) = self.listen().await {
            function(message).await;
        }
    }

    /// The next message, or what became of the group. `None`: the group or the client is over.
    pub async fn next(&self) -> Option<GroupNews> {
        self.0.queue.lock().await.next().await
    }

    /// Invites a client, and waits until it has joined and everybody who can be reached knows. It has about a minute
    /// to decide. Other changes go on meanwhile, and this one does if the future is dropped.
    ///
    /// # Errors
    /// As [`handshake`](crate::Client::handshake) if there is no session with it; [`Error::Declined`];
    /// [`Error::Group`] if this client is not the owner, or the other one is in already; [`Error::NoReply`].
    pub async fn add(&self, client: impl Into<Target>) -> Result<(), Error> {
        self.only_owner()?;
        let peer = self.0.shared.session(&client.into()).await?.info();
        self.wants(What::Add(peer.key, peer.name)).await
    }

    /// Removes a member, and waits until everybody who can be reached knows. It is not told anything from then on.
    ///
    /// # Errors
    /// [`Error::Group`] if this client is not the owner, or there is no such member.
    pub async fn remove(&self, key: &PublicKey) -> Result<(), Error> {
        self.only_owner()?;
        self.wants(What::Remove(*key)).await
    }

    pub(super) async fn add_all(&self, clients: Vec<Target>) -> Outcomes {
        let mut adding = JoinSet::new();
        for (at, client) in clients.into_iter().enumerate() {
            let group = self.clone();
            adding.spawn(async move { (at, client.clone(), group.add(client).await) });
        }
        let mut added = adding.join_all().await;
        added.sort_by_key(|(at, ..)| *at);
        Outcomes(added.into_iter().map(|(_, who, how)| (who, how.map_err(Arc::new))).collect())
    }

    /// Leaves the group, at once, and waits until the owner knows, 5 seconds at most; it is told later if need be.
    ///
    /// # Errors
    /// [`Error::Group`]: the owner cannot leave, but [`dissolve`](Self::dissolve).
    pub async fn leave(&self) -> Result<(), Error> {
        if self.is_owner() {
            return Err(self.0.room.error(GroupError::Role));
        }
        self.end().await;
        Ok(())
    }

    /// Ends the group for all, at once, and waits until everybody who can be reached knows, 5 seconds at most.
    ///
    /// # Errors
    /// [`Error::Group`]: only the owner may.
    pub async fn dissolve(&self) -> Result<(), Error> {
        self.only_owner()?;
        self.end().await;
        Ok(())
    }

    async fn end(&self) {
        let Handle { shared, room, .. } = &*self.0;
        let mut finished = room.finished.subscribe();
        room.abandon(shared);
        // Not knowing is no failure: this side is out either way.
        let _ = tokio::time::timeout(ANSWER_WITHIN, finished.wait_for(|done| *done)).await;
    }

    fn only_owner(&self) -> Result<(), Error> {
        if self.is_owner() { Ok(()) } else { Err(self.0.room.error(GroupError::Role)) }
    }

    async fn wants(&self, what: What) -> Result<(), Error> {
        let (tell, told) = oneshot::channel();
        let until = Instant::now() + DECIDE_WITHIN;
        let room = &self.0.room;
        let wanted = room.lock().want(Change { what, until, tell, last: None });
        wanted.map_err(|why| room.error(why))?;
        room.bell.notify_one();
        told.await.unwrap_or(Err(Error::Disconnected))
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group")
            .field("id", &self.id())
            .field("label", &self.label())
            .field("epoch", &self.epoch())
            .finish_non_exhaustive()
    }
}
