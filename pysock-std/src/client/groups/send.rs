//! Messages on their way to the members: sealed once for each, and none waits for another.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use pysock_proto::{GroupError, Kind, PeerId, PeerInfo, PublicKey, group::HEADER, peer::channel};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::{SEND_WITHIN, room::Room};
use crate::{Error, Target, client::shared::Shared, message::Address, outbox::Body};

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
        let others: Vec<_> = state.group.others().map(|m| (*m.key(), *m.name())).collect();
        let sent = others.into_iter().map(|(key, name)| {
            let target = Target::from(&PeerInfo { id: PeerId(0), name, key });
            if !state.lanes.contains_key(&key) && shared.queue_at_once(&key, &bytes) {
                return (target, Sent::Queued);
            }
            let (tell, outcome) = oneshot::channel();
            let parcel = Parcel { bytes: bytes.clone(), tell, _hold: hold.clone() };
            let lane = state.lanes.entry(key).or_insert_with(|| {
                tokio::spawn(work(shared.clone(), self.clone(), key));
                VecDeque::new()
            });
            lane.push_back(parcel);
            (target, Sent::Waits(outcome))
        });
        Ok(sent.collect())
    }

    /// The next message for a member. `None`: there is none, and whoever brings the next one begins anew.
    fn next_parcel(&self, key: &PublicKey) -> Option<Parcel> {
        let mut state = self.lock();
        let member = state.group.get(key).is_some() && !state.is_over();
        let label = *state.group.label();
        if !member {
            let why = Arc::new(Error::Group { label, source: GroupError::NotMember });
            fail(state.lanes.remove(key), &why);
            return None;
        }
        let parcel = state.lanes.get_mut(key)?.pop_front();
        if parcel.is_none() {
            state.lanes.remove(key);
        }
        parcel
    }
}

fn fail(parcels: impl IntoIterator<Item = impl IntoIterator<Item = Parcel>>, why: &Arc<Error>) {
    for parcel in parcels.into_iter().flatten() {
        // Who does not wait for it any more need not know.
        let _ = parcel.tell.send(Err(why.clone()));
    }
}

/// Brings the messages for one member into its queue, in order.
async fn work(shared: Arc<Shared>, room: Arc<Room>, key: PublicKey) {
    while let Some(parcel) = room.next_parcel(&key) {
        let Parcel { bytes, tell, _hold } = parcel;
        let sending = async {
            let entry = shared.reach(&Target(Address::Key(key))).await?;
            shared.push_to(&entry, channel::GROUP, Kind::Message, Body::Whole(bytes)).await
        };
        let sent = match tokio::time::timeout(SEND_WITHIN, sending).await {
            Ok(sent) => sent,
            Err(_) => {
                let to =
                    room.name_of(&key).map_or_else(|| key.to_string(), |name| name.to_string());
                Err(Error::NoReply { to, timeout: SEND_WITHIN })
            }
        };
        let outcome = sent.map_err(Arc::new);
        if let Err(why) = &outcome {
            // What waits has waited for the same.
            let waiting = room.lock().lanes.get_mut(&key).map(std::mem::take);
            fail(waiting, why);
        }
        let _ = tell.send(outcome);
    }
}

impl Shared {
    /// Queues a message to a group for one member, if there is a session and room.
    fn queue_at_once(self: &Arc<Self>, key: &PublicKey, bytes: &Bytes) -> bool {
        debug_assert!(bytes.len() >= HEADER);
        let Some(entry) = self.book.get(key).filter(|entry| entry.is_open()) else { return false };
        let body = Body::Whole(bytes.clone());
        let item = self.peer_item(&entry, channel::GROUP, Kind::Message, body);
        entry.outbox.try_push(item).is_ok()
    }
}
