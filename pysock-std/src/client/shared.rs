//! What a client keeps across its connections: channels, queues, and whoever waits for an answer.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, Weak},
};

use pysock_proto::{
    Envelope, Failure, Find, Keypair, Kind, Limits, Name, Party, PeerId, PeerInfo, PublicKey,
};
use tokio::sync::watch;

use super::{
    Ask, AskPeer, Undelivered,
    channels::Channels,
    finds::{Answer, Finds},
    groups::Groups,
    peers::Book,
    suites::Suites,
};
use crate::{
    Error, Sender, Target,
    config::{ClientConfig, Queue, WhenFull},
    link::{Budget, C, Clock, Counters},
    message::{Address, Source},
    outbox::{Author, Body, Outbox, Outgoing, Report},
    reply::{Asked, Outcome, Requests},
    state::StateFile,
};

/// Failures that are kept for a program that asks late.
const FAILURES: usize = 64;
/// Peers whose numbers a client keeps in mind for sending.
const DIRECTORY: usize = 1024;
/// Memory for incomplete messages, in bytes, unless a single message may need more.
const BUDGET: usize = 128 << 20;

/// How a client is doing.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Status {
    /// Connected and admitted.
    Connected,
    /// The connection was lost; another one is being made. Says why the last attempt failed.
    Reconnecting(Arc<str>),
    /// Over for good. Says why.
    Ended(Arc<str>),
}

/// Who the server has said its clients are. Numbers are good for one connection only.
#[derive(Default)]
struct Directory {
    /// The last ones announced as senders, latest last.
    announced: VecDeque<Arc<PeerInfo>>,
    by_name: HashMap<Name, PeerInfo>,
    by_key: HashMap<PublicKey, PeerInfo>,
}

pub(super) struct Shared {
    pub(super) config: ClientConfig,
    pub(super) name: Name,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) identity: Arc<Keypair<C>>,
    pub(super) clock: Clock,
    pub(super) state: Option<Arc<StateFile>>,
    pub(super) ask: Option<Arc<Ask>>,
    /// The key that the server has to have.
    pub(super) pinned: Mutex<Option<PublicKey>>,
    /// What is known of its cipher suites.
    pub(super) suites: Suites,
    pub(super) outbox: Arc<Outbox>,
    /// Other clients, end to end.
    pub(super) book: Book,
    /// Groups of other clients and this one.
    pub(super) groups: Groups,
    pub(super) budget: Budget,
    pub(super) counters: Arc<Counters>,
    pub(super) requests: Requests,
    pub(super) finds: Finds,
    pub(super) status: watch::Sender<Status>,
    pub(super) channels: Channels,
    directory: Mutex<Directory>,
    failures: Mutex<VecDeque<Undelivered>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Shared {
    pub(super) fn new(
        config: ClientConfig,
        name: Name,
        (host, port): (String, u16),
        state: Option<Arc<StateFile>>,
        (pinned, suites): (Option<PublicKey>, Vec<u8>),
        (ask, ask_peer): (Option<Arc<Ask>>, Option<Arc<AskPeer>>),
    ) -> Result<Self, Error> {
        // The program waits while the server is behind.
        let queue = Queue { bytes: config.queue_bytes, full: WhenFull::Block, ..Queue::new() };
        let outbox = Arc::new(Outbox::new(queue));
        Ok(Shared {
            book: Book::new(config.queue_bytes, &outbox.line, ask_peer)?,
            groups: Groups::default(),
            outbox,
            identity: crate::link::identity(&config.key),
            clock: Clock::start(),
            budget: Budget::new(BUDGET, config.max_message),
            counters: Arc::default(),
            requests: Requests::default(),
            status: watch::Sender::new(Status::Reconnecting("not connected yet".into())),
            pinned: Mutex::new(pinned),
            suites: Suites::new(config.suite, suites),
            channels: Channels::default(),
            finds: Finds::default(),
            directory: Mutex::default(),
            failures: Mutex::default(),
            config,
            name,
            host,
            port,
            state,
            ask,
        })
    }

    pub(super) fn address(&self) -> String {
        crate::state::server_id(&self.host, self.port)
    }

    pub(super) fn limits(&self) -> Limits {
        let ClientConfig { record_limit, max_message, idle_timeout, .. } = self.config;
        crate::link::limits(record_limit, max_message, idle_timeout)
    }

    pub(super) fn pinned(&self) -> Option<PublicKey> {
        *locked(&self.pinned)
    }

    /// A new connection is open: channels are opened again in the same order, so they keep their numbers.
    pub(super) fn begin_connection(&self) {
        // Requests that nobody waits for any more must not surprise the server now.
        self.outbox.drop_requests(|envelope, id| {
            let (responder, channel) = (envelope.party, envelope.channel.0.into());
            !self.requests.waits_for(&Asked { connection: 0, responder, channel, id })
        });
        // Under this lock numbers and the connection they belong to change together.
        let mut directory = locked(&self.directory);
        *directory = Directory::default();
        self.channels.all(|asked| self.outbox.restart(asked));
        self.finds.lose();
        self.status.send_replace(Status::Connected);
    }

    /// The connection is lost: nobody knows what became of requests.
    pub(super) fn lose_connection(&self) {
        self.requests.lose(|_| true);
        self.finds.lose();
    }

    /// There will be no further connection.
    pub(super) fn end(&self, why: &str) {
        self.status.send_replace(Status::Ended(why.into()));
        self.outbox.fail_all(Failure::NoPeer);
        self.book.end();
        self.groups.end();
        self.lose_connection();
        self.channels.end();
    }

    /// Who a source is, as the server has announced it.
    pub(super) fn sender(&self, party: Party) -> Option<Sender> {
        match party {
            Party::Server => Some(Sender(Source::Server(self.pinned()?))),
            Party::Everyone => None,
            Party::Peer(id) => {
                let directory = locked(&self.directory);
                let peer = directory.announced.iter().rev().find(|peer| peer.id == id)?;
                Some(Sender(Source::Peer(peer.clone())))
            }
        }
    }

    /// Who a number stands for, as the server has announced it.
    pub(super) fn announced_peer(&self, id: PeerId) -> Option<PeerInfo> {
        let directory = locked(&self.directory);
        directory.announced.iter().rev().find(|peer| peer.id == id).map(|peer| **peer)
    }

    pub(super) fn announced(&self, peer: PeerInfo) {
        let mut directory = locked(&self.directory);
        directory.announced.push_back(Arc::new(peer));
        if directory.announced.len() > usize::from(self.limits().peers) {
            directory.announced.pop_front();
        }
    }

    /// The number of a target on the present connection, and which connection that is.
    pub(super) async fn resolve(&self, target: &Target) -> Result<(Party, u32), Error> {
        let epoch = self.outbox.epoch();
        let find = match &target.0 {
            Address::Server => return Ok((Party::Server, epoch)),
            // A number may be of an earlier connection; the key is what counts.
            Address::Peer(peer) => Find::Key(peer.key),
            Address::Key(key) => Find::Key(*key),
            Address::Text(text) => {
                let name = text.parse();
                Find::Name(name.map_err(|source| Error::Name { name: text.clone(), source })?)
            }
        };
        if let Some(peer) = self.look_up(&find) {
            return Ok((Party::Peer(peer), epoch));
        }
        let Answer { peer, epoch } = self.find(find).await?;
        let failure = Failure::NoPeer;
        let peer = peer.ok_or_else(|| Error::Failed { to: target.to_string(), failure })?;
        let mut directory = locked(&self.directory);
        if self.outbox.epoch() != epoch {
            // The number belongs to a connection that is over meanwhile.
            return Err(Error::Failed { to: target.to_string(), failure });
        }
        if directory.by_key.len() >= DIRECTORY {
            (directory.by_key, directory.by_name) = Default::default();
        }
        directory.by_key.insert(peer.key, peer);
        directory.by_name.insert(peer.name, peer);
        Ok((Party::Peer(peer.id), epoch))
    }

    fn look_up(&self, find: &Find) -> Option<PeerId> {
        let directory = locked(&self.directory);
        let found = match find {
            Find::Name(name) => directory.by_name.get(name),
            Find::Key(key) => directory.by_key.get(key),
            Find::After(_) => None,
        };
        found.map(|peer| peer.id)
    }

    /// A number stands for nobody any more.
    fn forget(&self, party: Party) {
        if let Party::Peer(id) = party {
            let mut directory = locked(&self.directory);
            directory.by_key.retain(|_, peer| peer.id != id);
            directory.by_name.retain(|_, peer| peer.id != id);
        }
    }

    pub(super) fn outgoing(
        self: &Arc<Self>,
        envelope: Envelope,
        epoch: u32,
        body: Body,
    ) -> Outgoing {
        let author: Weak<Self> = Arc::downgrade(self);
        let report = Report::Program(author, envelope);
        Outgoing { envelope, from: None, body, epoch, report }
    }

    pub(super) fn note_failure(&self, undelivered: Undelivered) {
        let mut failures = locked(&self.failures);
        if failures.len() >= FAILURES {
            failures.pop_front();
        }
        failures.push_back(undelivered);
    }

    pub(super) fn take_failures(&self) -> Vec<Undelivered> {
        locked(&self.failures).drain(..).collect()
    }

    /// A reply arrived.
    pub(super) fn replied(&self, envelope: &Envelope, outcome: Outcome) {
        let Kind::Reply(id) = envelope.kind else { return };
        let asked = Asked {
            connection: 0,
            responder: envelope.party,
            channel: envelope.channel.0.into(),
            id,
        };
        if !self.requests.settle(asked, outcome) {
            tracing::debug!(?envelope, "a reply to no request");
        }
    }
}

impl Author for Shared {
    /// Something that this client sent did not get through.
    fn failed(&self, envelope: Envelope, why: Failure) {
        if why == Failure::NoPeer {
            self.forget(envelope.party);
        }
        match envelope.kind {
            Kind::Request(id) => {
                let asked = Asked {
                    connection: 0,
                    responder: envelope.party,
                    channel: envelope.channel.0.into(),
                    id,
                };
                self.requests.settle(asked, Err(why));
            }
            Kind::Reply(_) => tracing::debug!(%why, "a reply did not get through"),
            Kind::Message => {
                let name = self.channels.name(envelope.channel);
                tracing::info!(channel = ?name, to = ?envelope.party, %why, "a message did not get through");
                self.note_failure(Undelivered { channel: name, to: envelope.party, why });
            }
        }
    }
}
