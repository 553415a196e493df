//! What a program and its connection's task both know of other clients: queues to them, how their sessions do, and what
//! the task is told.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
};

use pysock_proto::{
    ChannelName, Name, PeerError, PeerInfo, PeerRefusal, PublicKey,
    group::GroupId,
    peer::{Acquaintance, Greeting, PeerVerify},
};
use tokio::sync::watch;

use crate::{
    Error,
    config::{Queue, WhenFull},
    line::Line,
    listen::Sink,
    outbox::Outbox,
    reply::Requests,
};

/// Clients with which a client may have sessions at once.
pub(super) const MAX_SESSIONS: usize = 4096;
/// Handshakes that may be under way at once.
pub(super) const MAX_HANDSHAKES: usize = 256;

/// Decides about another client of which nothing is known: its name and its key.
pub type AskPeer = dyn Fn(&Name, &PublicKey) -> bool + Send + Sync;

/// How the session with another client does.
#[derive(Clone, Debug)]
pub(super) enum Phase {
    /// A handshake is under way, or will be.
    Meeting,
    /// Somebody on the other side is being asked.
    Waiting,
    Open,
    Failed(Why),
}

/// Why there is no session.
#[derive(Clone, Debug)]
pub(super) enum Why {
    Peer(PeerError),
    /// The pinned key is another one.
    Changed {
        expected: PublicKey,
        offered: PublicKey,
    },
    /// Nothing is known about the key, and that is not enough.
    Unknown(PublicKey),
    /// The server has named a key, and the other side has proven another.
    Swapped {
        named: PublicKey,
        proven: PublicKey,
    },
    Closed,
    /// What has to be remembered could not be read or stored.
    State(Arc<str>),
    /// The client is over.
    Ended,
}

impl Why {
    /// Whether another attempt may soon succeed.
    pub(super) fn is_temporary(&self) -> bool {
        match self {
            Why::Peer(PeerError::TimedOut | PeerError::UnderWay) => true,
            Why::Peer(PeerError::Refused(why)) => why.is_temporary(),
            Why::Peer(PeerError::Unreachable(why)) => *why == pysock_proto::Failure::Busy,
            _ => false,
        }
    }
}

/// Another client, as this one deals with it.
pub(in crate::client) struct Entry {
    pub(super) peer: Mutex<PeerInfo>,
    pub(in crate::client) outbox: Arc<Outbox>,
    pub(in crate::client) requests: Requests,
    pub(super) phase: watch::Sender<Phase>,
    /// Its key is pinned, so that it may do more than take part in groups.
    pinned: AtomicBool,
    /// The connection on which it is being looked for.
    sought: Mutex<Option<u32>>,
}

impl Entry {
    pub(in crate::client) fn info(&self) -> PeerInfo {
        *locked(&self.peer)
    }

    pub(in crate::client) fn is_open(&self) -> bool {
        matches!(*self.phase.borrow(), Phase::Open)
    }

    pub(super) fn is_pinned(&self) -> bool {
        self.pinned.load(Ordering::Acquire)
    }

    pub(super) fn set_pinned(&self) {
        self.pinned.store(true, Ordering::Release);
    }

    pub(super) fn fails(&self, why: Why) {
        self.phase.send_replace(Phase::Failed(why));
    }

    /// The search for it on the connection `epoch`, unless one is under way there.
    pub(super) fn search(self: &Arc<Self>, epoch: u32) -> Option<Search> {
        let before = locked(&self.sought).replace(epoch);
        (before != Some(epoch)).then(|| Search { entry: self.clone(), epoch })
    }
}

/// A search for a client. There is one at a time, whatever the server says and how often; that of an earlier connection
/// may be about to end.
pub(super) struct Search {
    entry: Arc<Entry>,
    epoch: u32,
}

impl Drop for Search {
    fn drop(&mut self) {
        locked(&self.entry.sought).take_if(|epoch| *epoch == self.epoch);
    }
}

/// What the connection's task is told.
pub(super) enum Order {
    Meet(PeerInfo, Acquaintance),
    Answer(Greeting),
    Refuse(Greeting, PeerRefusal),
    Accept(PeerVerify),
    Deny(PeerVerify, PeerRefusal),
    /// The server has found a client again whose number was lost.
    Named(PeerInfo),
    Close(PublicKey),
    /// What was queued for this member of a group before this epoch is not to be sent any more.
    Forget(PublicKey, GroupId, u32),
}

/// Everything about other clients that outlives a connection.
pub(in crate::client) struct Book {
    entries: Mutex<HashMap<PublicKey, Arc<Entry>>>,
    orders: Mutex<VecDeque<Order>>,
    sink: Mutex<Option<Sink>>,
    /// There will be no further connection.
    ended: AtomicBool,
    /// Pins of a client without a state file: as long as the program runs.
    pub(super) pins: Mutex<BTreeMap<Name, PublicKey>>,
    pub(super) ask: Option<Arc<AskPeer>>,
    /// What messages of one client to another say they came by.
    pub(super) direct: ChannelName,
    queue_bytes: usize,
    /// The line to the connection's task, beside which each queue has its own.
    line: Line,
}

pub(in crate::client) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Book {
    pub(in crate::client) fn new(
        queue_bytes: usize,
        line: &Line,
        ask: Option<Arc<AskPeer>>,
    ) -> Result<Self, Error> {
        let name = "direct";
        let direct = name.parse().map_err(|source| Error::Name { name: name.into(), source })?;
        Ok(Book {
            entries: Mutex::default(),
            orders: Mutex::default(),
            sink: Mutex::default(),
            ended: AtomicBool::new(false),
            pins: Mutex::default(),
            ask,
            direct,
            queue_bytes,
            line: line.beside(),
        })
    }

    pub(super) fn order(&self, order: Order) {
        locked(&self.orders).push_back(order);
        self.line.wake();
    }

    pub(super) fn next_order(&self) -> Option<Order> {
        locked(&self.orders).pop_front()
    }

    /// Handshakes and decisions of a connection that is over mean nothing to the next one.
    pub(super) fn forget_orders(&self) {
        locked(&self.orders).retain(|order| matches!(order, Order::Forget(..)));
    }

    pub(in crate::client) fn get(&self, key: &PublicKey) -> Option<Arc<Entry>> {
        locked(&self.entries).get(key).cloned()
    }

    pub(super) fn by_name(&self, name: &Name) -> Option<Arc<Entry>> {
        let entries = locked(&self.entries);
        entries.values().find(|entry| entry.info().name == *name && entry.is_open()).cloned()
    }

    pub(super) fn all(&self) -> Vec<Arc<Entry>> {
        locked(&self.entries).values().cloned().collect()
    }

    /// Makes an entry for a client that is let in.
    pub(super) fn enter(&self, peer: &PeerInfo, pinned: bool) -> Result<(), Why> {
        let entry = self.entry(peer).map_err(Why::Peer)?;
        if pinned {
            entry.set_pinned();
        }
        Ok(())
    }

    /// The entry of a client, made if there is none yet.
    pub(super) fn entry(&self, peer: &PeerInfo) -> Result<Arc<Entry>, PeerError> {
        let mut entries = locked(&self.entries);
        if let Some(entry) = entries.get(&peer.key) {
            *locked(&entry.peer) = *peer;
            return Ok(entry.clone());
        }
        if entries.len() >= MAX_SESSIONS {
            entries.retain(|_, entry| !matches!(*entry.phase.borrow(), Phase::Failed(_)));
        }
        if entries.len() >= MAX_SESSIONS {
            return Err(PeerError::Full);
        }
        let limits = Queue { bytes: self.queue_bytes, full: WhenFull::Block, ..Queue::new() };
        let entry = Arc::new(Entry {
            peer: Mutex::new(*peer),
            outbox: Arc::new(Outbox::on(self.line.beside(), limits)),
            requests: Requests::default(),
            phase: watch::Sender::new(Phase::Meeting),
            pinned: AtomicBool::new(false),
            sought: Mutex::default(),
        });
        entries.insert(peer.key, entry.clone());
        Ok(entry)
    }

    pub(super) fn listen(&self, sink: Sink) -> Result<(), Error> {
        let mut listener = locked(&self.sink);
        if self.ended.load(Ordering::Acquire) {
            return Err(Error::Disconnected);
        }
        if listener.as_ref().is_some_and(|sink| !sink.is_closed()) {
            return Err(Error::ChannelExists(self.direct.as_str().into()));
        }
        *listener = Some(sink);
        Ok(())
    }

    pub(super) fn sink(&self) -> Option<Sink> {
        locked(&self.sink).clone().filter(|sink| !sink.is_closed())
    }

    /// There will be no further connection.
    pub(in crate::client) fn end(&self) {
        let mut listener = locked(&self.sink);
        // Under the lock: whoever listens came before, and hears it, or comes after, and is told.
        self.ended.store(true, Ordering::Release);
        *listener = None;
        drop(listener);
        for entry in self.all() {
            entry.fails(Why::Ended);
            entry.outbox.fail_all(pysock_proto::Failure::NoPeer);
            entry.requests.lose(|_| true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pysock_proto::PeerId;

    #[test]
    fn a_client_is_looked_for_once_on_each_connection() {
        let book = Book::new(1024, &Line::default(), None).unwrap();
        let name = "ann".parse().unwrap();
        let ann = PeerInfo { id: PeerId(1), name, key: PublicKey([1; 32]) };
        let entry = book.entry(&ann).unwrap();
        let first = entry.search(1).unwrap();
        assert!(entry.search(1).is_none());
        // The search of the connection before may be asleep.
        let second = entry.search(2).unwrap();
        drop(first);
        assert!(entry.search(2).is_none(), "the end of another search");
        drop(second);
        assert!(entry.search(2).is_some());
    }
}
