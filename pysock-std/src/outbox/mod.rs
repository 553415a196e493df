//! The bounded queue of what one connection still has to send.
//!
//! Whoever sends to a client puts it here; the client's own task takes it out as the socket allows. A full queue
//! makes its senders wait, and after a while the stated policy decides: see [`WhenFull`].

mod item;

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use pysock_proto::{CloseReason, Envelope, Failure, Kind, PeerId, RequestId};
use tokio::{
    sync::{Notify, futures::Notified},
    time::Instant,
};

pub(crate) use item::{Author, Body, Item, Outgoing, Report, Sequence, record_cost};

use crate::{
    config::{Queue, WhenFull},
    line::{Control, Line},
    relay::{Handshakes, Notices, Sealed},
};

/// Room beyond the limit of a queue that is kept for what is small, in bytes.
const RESERVE: usize = 64 * 1024;

/// How a connection is to be ended by this side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ending {
    pub(crate) why: CloseReason,
    /// Send what is queued first.
    pub(crate) drain: bool,
}

#[derive(Default)]
pub(crate) struct Inner {
    pub(crate) queue: VecDeque<Outgoing>,
    /// Beside the messages, since no channel's order holds for them. They share the room.
    pub(crate) records: VecDeque<Sealed>,
    pub(crate) handshakes: Handshakes,
    pub(crate) notices: Notices,
    bytes: usize,
    /// Since when the queue has been too full for somebody.
    full_since: Option<Instant>,
    /// Bytes that the socket has taken since patience last began.
    taken: usize,
    pub(crate) ending: Option<Ending>,
}

pub(crate) struct Outbox {
    inner: Mutex<Inner>,
    /// What else the connection's task has to do.
    pub(crate) line: Arc<Line>,
    /// Senders may try again.
    room: Notify,
    limits: Queue,
    dropped: AtomicU64,
    epoch: AtomicU32,
    /// The connection is not even closed: it is dropped.
    cut: AtomicBool,
    /// Counts whatever leaves, also parts of what is large: whoever waits for room sees whether it is worth it.
    progress: AtomicU64,
}

/// Why an item was not queued.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Gone;

impl Inner {
    fn push(&mut self, item: Item) {
        match item {
            Item::Message(message) => {
                let mut cost = message.cost();
                let alone = match self.queue.back_mut() {
                    Some(last) => {
                        let before = last.cost();
                        let alone = last.join(message).err();
                        if alone.is_none() {
                            cost = last.cost().saturating_sub(before);
                        }
                        alone
                    }
                    None => Some(message),
                };
                self.queue.extend(alone);
                self.bytes = self.bytes.saturating_add(cost);
            }
            Item::Record(record) => {
                self.bytes = self.bytes.saturating_add(record_cost(&record));
                self.records.push_back(record);
            }
        }
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
            && self.records.is_empty()
            && self.handshakes.is_empty()
            && self.notices.all_said()
    }

    /// Takes out what goes first to make room for `item`: the oldest of its own kind, if there is any.
    fn evict(&mut self, item: &Item) -> Option<Item> {
        let message = |inner: &mut Self| inner.queue.pop_front().map(Item::Message);
        let record = |inner: &mut Self| inner.records.pop_front().map(Item::Record);
        let oldest = match item {
            Item::Message(_) => message(self).or_else(|| record(self)),
            Item::Record(_) => record(self).or_else(|| message(self)),
        }?;
        self.bytes = self.bytes.saturating_sub(oldest.cost());
        Some(oldest)
    }

    /// Takes the next messages out, so many at most; [`Outbox::settle`] gives their room back.
    pub(crate) fn pop(&mut self, most: usize) -> impl Iterator<Item = Outgoing> {
        let n = self.queue.len().min(most);
        self.queue.drain(..n)
    }
}

impl Outbox {
    pub(crate) fn new(limits: Queue) -> Self {
        Self::on(Line::default(), limits)
    }

    /// With a line of its own to a task that has others.
    pub(crate) fn on(line: Line, limits: Queue) -> Self {
        Outbox {
            inner: Mutex::default(),
            line: Arc::new(line),
            room: Notify::new(),
            limits,
            dropped: AtomicU64::new(0),
            epoch: AtomicU32::new(0),
            cut: AtomicBool::new(false),
            progress: AtomicU64::new(0),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic elsewhere leaves the queue usable: it is consistent after every statement.
        self.inner.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Messages thrown away because the queue was full.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Bytes waiting.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().bytes
    }

    /// Something of it has left.
    pub(crate) fn progressed(&self) {
        self.progress.fetch_add(1, Ordering::Relaxed);
    }

    /// Another number each time that something of it has left.
    pub(crate) fn progress(&self) -> u64 {
        self.progress.load(Ordering::Relaxed)
    }

    pub(crate) fn epoch(&self) -> u32 {
        self.epoch.load(Ordering::Acquire)
    }

    /// A new connection begins: numbers of peers that belong to the one before mean nothing any more, and what the
    /// one before had to do is replaced by `control`.
    pub(crate) fn restart(&self, control: impl IntoIterator<Item = Control>) {
        // Nobody queues for the old connection in between.
        let _inner = self.lock();
        self.epoch.fetch_add(1, Ordering::AcqRel);
        self.line.restart(control);
    }

    /// Forgets queued requests that are `stale`. Nobody is told: nobody waits.
    pub(crate) fn drop_requests(&self, stale: impl Fn(&Envelope, RequestId) -> bool) {
        self.drop_stale(|item| {
            matches!(item.envelope.kind, Kind::Request(id) if stale(&item.envelope, id))
                && !matches!(item.body, Body::Failed(_))
        });
    }

    /// Forgets what is queued and `stale`. Nobody is told.
    pub(crate) fn drop_stale(&self, stale: impl Fn(&Outgoing) -> bool) {
        let mut inner = self.lock();
        let Inner { queue, bytes, .. } = &mut *inner;
        queue.retain(|item| {
            let gone = stale(item);
            if gone {
                *bytes = bytes.saturating_sub(item.cost());
            }
            !gone
        });
        drop(inner);
        self.settle(0);
    }

    /// Ends the connection. The first reason stands.
    pub(crate) fn end(&self, why: CloseReason, drain: bool) {
        let mut inner = self.lock();
        if inner.ending.is_none() {
            inner.ending = Some(Ending { why, drain });
        }
        drop(inner);
        self.line.wake();
        self.room.notify_waiters();
    }

    /// Drops the connection at once, whatever it still has to say.
    pub(crate) fn cut(&self) {
        self.cut.store(true, Ordering::Release);
        self.line.wake();
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Acquire)
    }

    /// How the connection is to be ended, if it is.
    pub(crate) fn ending(&self) -> Option<Ending> {
        self.lock().ending
    }

    /// An item that was popped takes so much more room now.
    pub(crate) fn charge(&self, more: usize) {
        let mut inner = self.lock();
        inner.bytes = inner.bytes.saturating_add(more);
    }

    /// An item that was popped is sent, or given up.
    pub(crate) fn settle(&self, cost: usize) {
        self.progressed();
        let mut inner = self.lock();
        inner.bytes = inner.bytes.saturating_sub(cost);
        if inner.full_since.is_some() && inner.bytes <= self.limits.bytes / 2 {
            inner.full_since = None;
            drop(inner);
            self.room.notify_waiters();
        }
    }

    /// Queues without waiting. Gives the item back if there is no room and its sender should wait.
    pub(crate) fn try_push(&self, item: impl Into<Item>) -> Result<(), Option<Item>> {
        let item = item.into();
        let mut inner = self.lock();
        if inner.ending.is_some() {
            drop(inner);
            item.fail_gone();
            return Err(None);
        }
        let mut evicted = Vec::new();
        // A message larger than the whole queue may pass when it has the queue for itself.
        while inner.bytes > 0 && inner.bytes.saturating_add(item.cost()) > self.limits.bytes {
            if self.limits.full != WhenFull::DropOldest {
                if inner.full_since.is_none() {
                    (inner.full_since, inner.taken) = (Some(Instant::now()), 0);
                }
                return Err(Some(item));
            }
            let Some(oldest) = inner.evict(&item) else {
                // What has the room is being sent already: the new one is the one to go.
                drop(inner);
                evicted.push(item);
                self.dropped.fetch_add(count(&evicted), Ordering::Relaxed);
                for item in evicted {
                    item.fail(Failure::Busy);
                }
                return Ok(());
            };
            evicted.push(oldest);
        }
        inner.push(item);
        drop(inner);
        self.dropped.fetch_add(count(&evicted), Ordering::Relaxed);
        for oldest in evicted {
            oldest.fail(Failure::Busy);
        }
        self.line.wake();
        Ok(())
    }

    /// Queues something small although the queue is full: it must not wait for messages of any size.
    pub(crate) fn push_small(&self, item: Outgoing) -> Result<(), Gone> {
        let mut inner = self.lock();
        let most = self.limits.bytes.saturating_add(RESERVE);
        if inner.ending.is_some() || inner.bytes.saturating_add(item.cost()) > most {
            drop(inner);
            item.fail(Failure::Busy);
            return Err(Gone);
        }
        inner.push(item.into());
        drop(inner);
        self.line.wake();
        Ok(())
    }

    /// Waits until there may be room again; from now on, not from the first poll on.
    pub(crate) fn room(&self) -> Notified<'_> {
        self.room.notified()
    }

    /// Queues, waiting for room as the policy says.
    pub(crate) async fn push(&self, item: impl Into<Item>) -> Result<(), Gone> {
        // Nearly always there is room, and to look out for more costs as much as everything else here.
        let mut item = match self.try_push(item) {
            Ok(()) => return Ok(()),
            Err(None) => return Err(Gone),
            Err(back) => back,
        };
        loop {
            let room = self.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            let Some(waiting) = item.take() else { return Ok(()) };
            match self.try_push(waiting) {
                Ok(()) => return Ok(()),
                Err(None) => return Err(Gone),
                Err(back) => item = back,
            }
            match self.too_slow_at() {
                None => room.await,
                Some(at) if at <= Instant::now() => {
                    tracing::debug!("a receiver reads too slowly and is disconnected");
                    self.end(CloseReason::TooSlow, false);
                }
                Some(at) => {
                    let _ = tokio::time::timeout_at(at, room).await;
                }
            }
        }
    }

    /// Queues a handshake ahead of everything else, or tells its sender why not. Nobody waits for that.
    pub(crate) fn push_handshake(&self, handshake: Sealed) {
        let mut inner = self.lock();
        let pushed = match inner.ending {
            Some(_) => Err((handshake, Failure::Gone)),
            None => inner.handshakes.push(handshake),
        };
        drop(inner);
        match pushed {
            Ok(()) => self.line.wake(),
            Err((handshake, why)) => handshake.fail(why),
        }
    }

    /// Says that a sealed unit for `peer` was not passed on, unless it was said just now.
    pub(crate) fn relay_failed(&self, peer: PeerId, why: Failure) {
        if self.lock().notices.note(peer, why, Instant::now()) {
            self.line.wake();
        }
    }

    /// How long a receiver may hold others up, if it is disconnected after that.
    pub(crate) fn patience(&self) -> Option<Duration> {
        (self.limits.full == WhenFull::Disconnect).then_some(self.limits.patience)
    }

    /// How long a stream may keep its number with less than [`least`](Self::least) from its source, while others wait for one:
    /// so short that the receiver, who cannot help it, does not count as too slow before.
    pub(crate) fn patience_with_sources(&self) -> Duration {
        self.limits.patience / 2
    }

    /// What a receiver takes at least in that time, in bytes.
    pub(crate) fn least(&self) -> usize {
        self.limits.bytes / 64
    }

    /// When this receiver counts as too slow, if nothing changes before.
    fn too_slow_at(&self) -> Option<Instant> {
        let patience = self.patience()?;
        self.lock().full_since.map(|since| since + patience)
    }

    /// The socket has taken so many bytes. Who takes enough of them has its patience anew.
    pub(crate) fn taken(&self, bytes: usize) {
        let mut inner = self.lock();
        inner.taken = inner.taken.saturating_add(bytes);
        if inner.taken >= self.least() {
            inner.taken = 0;
            if inner.full_since.is_some() {
                inner.full_since = Some(Instant::now());
            }
        }
    }

    /// Fails the messages that wait. Later ones may go.
    pub(crate) fn give_up(&self, why: Failure) {
        let queue = std::mem::take(&mut self.lock().queue);
        for message in queue {
            let cost = message.cost();
            message.fail(why);
            self.settle(cost);
        }
    }

    /// The connection is gone for good: everything queued fails, the messages because of `why`.
    pub(crate) fn fail_all(&self, why: Failure) {
        let mut inner = self.lock();
        inner.ending.get_or_insert(Ending { why: CloseReason::Done, drain: false });
        let queue = std::mem::take(&mut inner.queue);
        let records = std::mem::take(&mut inner.records);
        let handshakes = std::mem::take(&mut inner.handshakes);
        inner.notices = Notices::default();
        self.line.restart([]);
        inner.bytes = 0;
        drop(inner);
        for message in queue {
            message.fail(why);
        }
        for unit in handshakes.into_all().chain(records) {
            unit.fail(Failure::Gone);
        }
        self.room.notify_waiters();
    }
}

/// How many messages and records these are.
fn count(items: &[Item]) -> u64 {
    items.iter().map(Item::count).sum::<usize>() as u64
}

#[cfg(test)]
mod tests {
    use super::{item::OVERHEAD, *};
    use crate::relay::tests::sealed;
    use pysock_proto::{ChannelId, Party, Unit};

    /// A message on a channel of its own: it joins no other.
    fn message(channel: u16, len: usize) -> Outgoing {
        let party = Party::Server;
        let envelope = Envelope { channel: ChannelId(channel), party, kind: Kind::Message };
        let (body, report) = (Body::Whole(vec![0; len].into()), Report::Nobody);
        Outgoing { envelope, from: None, body, epoch: 0, report }
    }

    fn record(len: usize) -> Sealed {
        sealed(1, Unit::Record, len)
    }

    #[test]
    fn records_and_messages_share_the_room_and_displace_their_own_kind_first() {
        let full = WhenFull::DropOldest;
        let outbox = Outbox::new(Queue { bytes: 10_000, full, patience: Duration::ZERO });
        let lengths = |outbox: &Outbox| {
            let inner = outbox.lock();
            (inner.queue.len(), inner.records.len())
        };
        for channel in 0..4 {
            assert!(outbox.try_push(message(channel, 1_000)).is_ok());
            assert!(outbox.try_push(record(1_000)).is_ok());
        }
        assert_eq!(lengths(&outbox), (4, 4));
        assert!(outbox.try_push(record(1_500)).is_ok());
        assert_eq!(lengths(&outbox), (4, 4), "one record went, one came");
        assert!(outbox.try_push(record(9_000)).is_ok());
        assert_eq!(lengths(&outbox), (0, 1), "then the messages");
        assert_eq!((outbox.dropped(), outbox.waiting()), (9, 9_000 + OVERHEAD));
    }
}
