//! Messages on their way to the members: sealed once for each, and none waits for another.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use pysock_proto::{
    GroupError, Kind, PeerId, PeerInfo, PublicKey,
    group::{HEADER, Member},
    peer::channel,
};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::{
    SEND_WITHIN,
    room::{Room, State},
};
use crate::{
    Error, Target,
    client::{peers::Entry, shared::Shared},
    message::Address,
    outbox::Body,
};

/// A member, and the epoch in which it was added: one that was removed and comes back is another one.
pub(super) type Stint = (PublicKey, u32);

/// What became of a message for one member.
pub(super) type Outcome = Result<(), Arc<Error>>;

/// A message that waits for a session with one member, or for room in the queue to it.
pub(super) struct Parcel {
    bytes: Bytes,
    tell: oneshot::Sender<Outcome>,
    /// Its share of the group's budget, the same for all members.
    _hold: Arc<OwnedSemaphorePermit>,
}

/// What is known of a message for one member: now, or later.
pub(super) enum Sent {
    Queued,
    Waits(oneshot::Receiver<Outcome>),
}

impl Room {
    /// Gives a message its number, and everybody a copy. `bytes` begins with room for the header.
    pub(super) fn dispatch(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        mut bytes: Vec<u8>,
        hold: OwnedSemaphorePermit,
    ) -> Result<Vec<(Target, Sent)>, GroupError> {
        let mut state = self.lock();
        let header = state.group.header()?;
        for (to, from) in bytes.iter_mut().zip(header) {
            *to = from;
        }
        let (bytes, hold) = (Bytes::from(bytes), Arc::new(hold));
        // Under the lock: whoever is numbered first is queued first.
        let others: Vec<_> =
            state.group.others().map(|m| ((*m.key(), m.since()), *m.name())).collect();
        let sent = others.into_iter().map(|(to, name)| {
            let target = Target::from(&PeerInfo { id: PeerId(0), name, key: to.0 });
            if !state.lanes.contains_key(&to) && shared.queue_at_once(&to.0, &bytes) {
                return (target, Sent::Queued);
            }
            let (tell, outcome) = oneshot::channel();
            let parcel = Parcel { bytes: bytes.clone(), tell, _hold: hold.clone() };
            let lane = state.lanes.entry(to).or_insert_with(|| {
                tokio::spawn(work(shared.clone(), self.clone(), to));
                VecDeque::new()
            });
            lane.push_back(parcel);
            (target, Sent::Waits(outcome))
        });
        Ok(sent.collect())
    }

    /// Brings the first message that waits for a member into the queue to it.
    async fn carry(&self, shared: &Arc<Shared>, to: Stint) -> Result<(), Error> {
        let entry = shared.reach(&Target(Address::Key(to.0))).await?;
        loop {
            // Before the attempt, so that no room is overlooked.
            let room = entry.outbox.room();
            if self.queue_first(shared, &entry, to)? {
                return Ok(());
            }
            tokio::select! {
                biased;
                () = room => {}
                why = shared.until_failed(&entry) => return Err(why),
            }
        }
    }

    /// Queues the first message that waits for a member, if there is room. `true`: it waits no more.
    fn queue_first(
        &self,
        shared: &Arc<Shared>,
        entry: &Arc<Entry>,
        to: Stint,
    ) -> Result<bool, Error> {
        // Under the lock to the end: the removal of this member comes before, and takes the message away, or after, and
        // finds it in the queue. Out of both, it would overtake what the removal drops, and reach one who is out.
        let mut state = self.lock();
        let Some(lane) = state.lanes.get_mut(&to) else { return Ok(true) };
        let Some(parcel) = lane.front() else { return Ok(true) };
        if !shared.queue(entry, &parcel.bytes)? {
            return Ok(false);
        }
        if let Some(parcel) = lane.pop_front() {
            parcel.tell(Ok(()));
        }
        Ok(true)
    }
}

impl State {
    /// Whether a message waits for a member. If not, whoever brings the next one begins anew.
    fn awaits(&mut self, to: Stint) -> bool {
        let waits = self.lanes.get(&to).is_some_and(|lane| !lane.is_empty());
        if !waits {
            self.lanes.remove(&to);
        }
        waits
    }

    /// Whoever is out gets nothing of what waits for it, and the senders are told.
    pub(super) fn return_parcels(&mut self) {
        let (over, label) = (self.is_over(), *self.group.label());
        let (group, lanes) = (&self.group, &mut self.lanes);
        lanes.retain(|(key, since), lane| {
            let is_in = !over && group.get(key).map(Member::since) == Some(*since);
            if !is_in {
                let source = GroupError::NotMember;
                fail(lane, &Arc::new(Error::Group { label, source }));
            }
            is_in
        });
    }
}

impl Parcel {
    fn tell(self, outcome: Outcome) {
        // Who does not wait for it any more need not know.
        let _ = self.tell.send(outcome);
    }
}

fn fail(lane: &mut VecDeque<Parcel>, why: &Arc<Error>) {
    for parcel in lane.drain(..) {
        parcel.tell(Err(why.clone()));
    }
}

/// Brings the messages for one member into its queue, in order.
async fn work(shared: Arc<Shared>, room: Arc<Room>, to: Stint) {
    while room.lock().awaits(to) {
        let progress = || shared.book.get(&to.0).map(|entry| entry.outbox.progress());
        let before = progress();
        let carried = match tokio::time::timeout(SEND_WITHIN, room.carry(&shared, to)).await {
            Ok(carried) => carried,
            // Something large may be in front, and the way slow.
            Err(_) if progress() != before => continue,
            Err(_) => {
                let (key, name) = (&to.0, room.name_of(&to.0));
                let to = name.map_or_else(|| key.to_string(), |name| name.to_string());
                Err(Error::NoReply { to, timeout: SEND_WITHIN })
            }
        };
        // All that waits has waited for the same.
        if let Err(why) = carried
            && let Some(lane) = room.lock().lanes.get_mut(&to)
        {
            fail(lane, &Arc::new(why));
        }
    }
}

impl Shared {
    /// Queues a message to a group for one member, if there is a session and room.
    fn queue_at_once(self: &Arc<Self>, key: &PublicKey, bytes: &Bytes) -> bool {
        debug_assert!(bytes.len() >= HEADER);
        let Some(entry) = self.book.get(key).filter(|entry| entry.is_open()) else { return false };
        self.queue(&entry, bytes).unwrap_or(false)
    }

    /// Queues a message to a group for one member. `false`: there is no room.
    fn queue(self: &Arc<Self>, entry: &Arc<Entry>, bytes: &Bytes) -> Result<bool, Error> {
        let body = Body::Whole(bytes.clone());
        let item = self.peer_item(entry, channel::GROUP, Kind::Message, body);
        match entry.outbox.try_push(item) {
            Ok(()) => Ok(true),
            Err(Some(_)) => Ok(false),
            Err(None) => Err(Error::Disconnected),
        }
    }
}
