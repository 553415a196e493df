//! What all connections of a server share: who is connected, which channels there are, who listens.

use std::{
    collections::{BTreeSet, HashMap},
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use pysock_proto::{
    ChannelId, ChannelName, CloseReason, Envelope, Failure, Find, Keypair, Kind, Party, PeerId,
    PeerInfo,
    registry::{Entry, Policy, Registry, Slot},
    router::{Channel, ChannelEntry, Membership, Route, Router, Sender as Routed},
};
use tokio::sync::watch;

use super::{
    Client,
    asked::{AskedOf, Open},
    relay::Partners,
};
use crate::{
    Error, Target,
    config::{NamePolicy, ServerConfig},
    grow::Grow,
    link::{Budget, C, Clock, Counters},
    listen::Sink,
    message::Address,
    outbox::{Outbox, Outgoing},
    reply::Requests,
    state::StateFile,
};

/// Channels that one client may open.
const CHANNELS_PER_CLIENT: u16 = 1024;
/// Memory for incomplete messages of all clients together, in bytes, unless a single message may need more.
const BUDGET: usize = 256 << 20;

pub(crate) type Names = Registry<Grow<Entry>, Grow<PeerId>>;
type Channels = Router<Grow<ChannelEntry>, Grow<Membership>>;

/// A client that is in.
pub(crate) struct Session {
    pub(crate) slot: Slot,
    pub(crate) peer: Arc<PeerInfo>,
    pub(crate) address: SocketAddr,
    pub(crate) outbox: Arc<Outbox>,
    /// Requests of other clients that it has to answer.
    asked: Mutex<AskedOf>,
    /// With whom it exchanges sealed units.
    partners: Mutex<Partners>,
}

impl Session {
    pub(crate) fn new(
        slot: Slot,
        peer: PeerInfo,
        address: SocketAddr,
        outbox: Arc<Outbox>,
    ) -> Self {
        let (asked, partners) = (Mutex::default(), Mutex::default());
        Session { slot, peer: Arc::new(peer), address, outbox, asked, partners }
    }

    pub(super) fn partners(&self) -> MutexGuard<'_, Partners> {
        self.partners.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn asked(&self) -> MutexGuard<'_, AskedOf> {
        self.asked.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Tells its client that something failed, also beside a full queue: whoever waits for a reply may wait for this.
    pub(crate) fn fail(&self, envelope: Envelope, why: Failure) {
        let _ = self.outbox.push_small(Outgoing::failed(envelope, why));
    }
}

/// The tables of who and where.
pub(crate) struct Tables {
    pub(crate) names: Names,
    channels: Channels,
    pub(crate) sessions: HashMap<Slot, Arc<Session>>,
    /// Those of them that were replaced and are still being closed.
    leaving: BTreeSet<(PeerId, Slot)>,
    sinks: HashMap<Channel, (ChannelName, Sink)>,
    /// Clients that are being admitted and are not among the sessions yet.
    pub(crate) entering: usize,
}

/// Clients on a channel, and what number each of them gives it.
pub(crate) type Receivers = Vec<(Arc<Session>, ChannelId)>;

/// Where a message of a client goes.
pub(crate) enum Way {
    Listener(Channel, ChannelName, Sink),
    Clients(Receivers),
}

pub(crate) struct Hub {
    pub(crate) config: ServerConfig,
    pub(crate) identity: Arc<Keypair<C>>,
    pub(crate) clock: Clock,
    pub(crate) state: Option<Arc<StateFile>>,
    pub(crate) budget: Budget,
    pub(crate) counters: Arc<Counters>,
    pub(crate) requests: Requests,
    tables: Mutex<Tables>,
    /// Connections that have begun.
    begun: AtomicU32,
    closing: AtomicBool,
    /// How many clients are connected.
    pub(crate) population: watch::Sender<usize>,
}

impl Hub {
    pub(crate) fn new(config: ServerConfig, state: Option<Arc<StateFile>>) -> Self {
        let policy = match config.names {
            NamePolicy::Open => Policy::Open,
            NamePolicy::AllowList => Policy::AllowList,
            NamePolicy::ClaimOnce => {
                Policy::ClaimOnce { quota: u32::try_from(config.max_names).unwrap_or(u32::MAX) }
            }
        };
        let tables = Tables {
            names: Registry::new(policy, Grow::new(), Grow::new(), Grow::new()),
            channels: Router::new(CHANNELS_PER_CLIENT, Grow::new(), Grow::new(), Grow::new()),
            sessions: HashMap::new(),
            leaving: BTreeSet::new(),
            sinks: HashMap::new(),
            entering: 0,
        };
        Hub {
            identity: crate::link::identity(&config.key),
            clock: Clock::start(),
            state,
            budget: Budget::new(BUDGET, config.max_message),
            counters: Arc::default(),
            requests: Requests::default(),
            tables: Mutex::new(tables),
            begun: AtomicU32::new(0),
            closing: AtomicBool::new(false),
            population: watch::Sender::new(0),
            config,
        }
    }

    /// A number for a connection, higher than those of all before it until they begin anew, four thousand million later.
    pub(crate) fn slot(&self) -> Slot {
        Slot(self.begun.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Asks every client to go, after what is queued for it.
    pub(crate) fn begin_shutdown(&self) {
        self.closing.store(true, Ordering::Release);
        let mut tables = self.tables();
        for session in tables.sessions.values() {
            session.outbox.end(CloseReason::ShuttingDown, true);
        }
        tables.end_if_empty();
    }

    /// Nothing more will be delivered: whoever listens learns that the server is gone.
    pub(crate) fn stop_listening(&self) {
        self.tables().sinks.clear();
    }

    /// Enters a client that was admitted, and tells the connection that it replaces.
    pub(crate) fn enter(&self, session: &Arc<Session>, replaced: Option<Slot>) {
        let mut tables = self.tables();
        if let Some(old) = replaced {
            tables.channels.drop_slot(old);
            tables.replace(session.peer.id, old);
        }
        let active = tables.names.get(session.peer.id).and_then(Entry::slot);
        if active != Some(session.slot) {
            // A newer connection was faster on its way from admission to here.
            tables.sessions.insert(session.slot, session.clone());
            tables.replace(session.peer.id, session.slot);
        } else {
            tables.sessions.insert(session.slot, session.clone());
        }
        self.population.send_replace(tables.sessions.len());
        if self.is_closing() {
            session.outbox.end(CloseReason::ShuttingDown, true);
        }
    }

    /// A connection is over: forgets it, and says to whoever waits for an answer from it that none will come.
    pub(crate) fn leave(&self, session: &Session) {
        // What is still queued never reached it.
        session.outbox.fail_all(Failure::NoPeer);
        let mut tables = self.tables();
        tables.names.offline(session.peer.id, session.slot);
        tables.channels.drop_slot(session.slot);
        tables.sessions.remove(&session.slot);
        tables.leaving.remove(&(session.peer.id, session.slot));
        if tables.active(session.peer.id).is_none() {
            // Whoever comes under a new key each time would leave as many as it likes otherwise.
            tables.cut_leaving(session.peer.id);
        }
        tables.part(session);
        let party = Party::Peer(session.peer.id);
        for (requester, open) in session.asked().drain() {
            if let Some(requester) = tables.sessions.get(&requester) {
                let envelope =
                    Envelope { channel: open.local, party, kind: Kind::Request(open.id) };
                requester.fail(envelope, Failure::Unknown);
            }
        }
        if self.is_closing() {
            tables.end_if_empty();
        }
        self.population.send_replace(tables.sessions.len());
        drop(tables);
        self.requests.lose(|asked| asked.connection == session.slot.0);
    }

    /// Creates a channel with its listener.
    pub(crate) fn create_channel(&self, name: &ChannelName, sink: Sink) -> Result<(), Error> {
        let mut tables = self.tables();
        let exists = || Error::ChannelExists(name.as_str().into());
        let channel = match tables.channels.find(name) {
            Some(channel) if tables.sinks.contains_key(&channel) => return Err(exists()),
            Some(channel) => channel,
            None => tables.channels.create(name).map_err(|_| exists())?,
        };
        tables.sinks.insert(channel, (*name, sink));
        Ok(())
    }

    /// Creates a channel to which only clients listen.
    pub(crate) fn declare_channel(&self, name: &ChannelName) {
        // It may have been declared before; then there is nothing to do.
        let _ = self.tables().channels.create(name);
    }

    pub(crate) fn open(
        &self,
        session: &Session,
        id: ChannelId,
        name: &ChannelName,
    ) -> Result<(), Failure> {
        let joined = self.tables().channels.join(session.slot, id, name);
        joined.map(drop).map_err(|error| {
            tracing::debug!(client = %session.peer.name, channel = %name, %error, "channel refused");
            match error {
                pysock_proto::router::JoinError::NoChannel => Failure::NoChannel,
                pysock_proto::router::JoinError::AlreadyOpen(_) => Failure::AlreadyOpen,
                _ => Failure::TooMany,
            }
        })
    }

    pub(crate) fn close_channel(&self, session: &Session, id: ChannelId) {
        self.tables().channels.leave(session.slot, id);
    }

    pub(crate) fn find(&self, find: &Find) -> Option<PeerInfo> {
        if !self.config.directory {
            return None;
        }
        let tables = self.tables();
        let entry = match find {
            Find::Name(name) => tables.names.by_name(name),
            Find::Key(key) => tables.names.by_key(key),
            Find::After(peer) => tables.names.next_online_after(*peer),
        };
        entry.filter(|entry| entry.slot().is_some()).map(info)
    }

    /// Decides where a message of `session` goes, and keeps the books of requests and replies.
    pub(crate) fn route(&self, session: &Session, envelope: &Envelope) -> Result<Way, Failure> {
        let tables = self.tables();
        let sender = Routed { slot: session.slot, peer: session.peer.id };
        let channel =
            tables.channels.resolve(session.slot, envelope.channel).ok_or(Failure::NoChannel)?;
        let Envelope { channel: local, party, kind } = *envelope;
        match tables.channels.route(&tables.names, sender, local, party, kind)? {
            Route::Server(channel) => {
                let (name, sink) = tables.sinks.get(&channel).ok_or(Failure::NoResponder)?;
                Ok(Way::Listener(channel, *name, sink.clone()))
            }
            Route::Peer { to, .. } => {
                let target = tables.sessions.get(&to.slot).ok_or(Failure::NoPeer)?;
                match kind {
                    Kind::Message => {}
                    Kind::Request(id) => {
                        let connected = |slot| tables.sessions.contains_key(&slot);
                        let open = Open { channel, id, local };
                        target.asked().note(session.slot, open, connected);
                    }
                    Kind::Reply(id) => {
                        let open = session.asked().answer(target.slot, channel, id);
                        open.ok_or(Failure::BadDestination)?;
                    }
                }
                Ok(Way::Clients(vec![(target.clone(), to.local)]))
            }
            Route::Members(members) => Ok(Way::Clients(tables.sessions_of(members))),
        }
    }

    /// A client says that it will not answer. Gives the requester, and how it knows the request.
    pub(crate) fn failed(
        &self,
        session: &Session,
        envelope: &Envelope,
    ) -> Option<(Arc<Session>, Envelope)> {
        let (Kind::Request(id), Party::Peer(requester)) = (envelope.kind, envelope.party) else {
            return None;
        };
        let tables = self.tables();
        let channel = tables.channels.resolve(session.slot, envelope.channel)?;
        let slot = tables.names.get(requester)?.slot()?;
        let open = session.asked().answer(slot, channel, id)?;
        let party = Party::Peer(session.peer.id);
        let envelope = Envelope { channel: open.local, party, kind: Kind::Request(id) };
        Some((tables.sessions.get(&slot)?.clone(), envelope))
    }

    /// The server's own number of a channel that a connection has opened.
    pub(crate) fn channel_of(&self, session: &Session, local: ChannelId) -> Option<Channel> {
        self.tables().channels.resolve(session.slot, local)
    }

    /// Whom the program means.
    pub(crate) fn resolve(&self, target: &Target) -> Result<PeerId, Error> {
        let tables = self.tables();
        let entry = match &target.0 {
            Address::Peer(peer) => tables.names.get(peer.id),
            Address::Key(key) => tables.names.by_key(key),
            Address::Text(text) => {
                let name =
                    text.parse().map_err(|source| Error::Name { name: text.clone(), source })?;
                tables.names.by_name(&name)
            }
            Address::Server => None,
        };
        let online = entry.filter(|entry| entry.slot().is_some());
        let failure = Failure::NoPeer;
        online.map(Entry::peer).ok_or_else(|| Error::Failed { to: target.to_string(), failure })
    }

    /// Where a message of the program goes: to one client, or to everyone on the channel.
    pub(crate) fn route_from_program(
        &self,
        name: &ChannelName,
        party: Party,
        kind: Kind,
    ) -> Result<(Channel, Receivers), Failure> {
        let tables = self.tables();
        let channel = tables.channels.find(name).ok_or(Failure::NoChannel)?;
        match tables.channels.route_from_server(&tables.names, channel, party, kind)? {
            Route::Peer { to, .. } => {
                let session = tables.sessions.get(&to.slot).ok_or(Failure::NoPeer)?;
                Ok((channel, vec![(session.clone(), to.local)]))
            }
            Route::Members(members) => Ok((channel, tables.sessions_of(members))),
            Route::Server(_) => Err(Failure::BadDestination),
        }
    }

    pub(crate) fn clients(&self) -> Vec<Client> {
        let tables = self.tables();
        let online = tables.names.online_after(PeerId(0));
        let sessions = online.filter_map(|entry| tables.sessions.get(&entry.slot()?));
        sessions.map(|session| Client::of(session)).collect()
    }
}

impl Tables {
    /// How many clients are connected, whatever connections of theirs are still being closed.
    pub(crate) fn population(&self) -> usize {
        self.sessions.len().saturating_sub(self.leaving.len())
    }

    /// Closes a connection whose client has a newer one. One that was still being closed is cut: no client holds more than
    /// two, however fast it comes again.
    fn replace(&mut self, peer: PeerId, old: Slot) {
        let Some(session) = self.sessions.get(&old) else { return };
        session.outbox.end(CloseReason::Replaced, false);
        self.cut_leaving(peer);
        self.leaving.insert((peer, old));
    }

    /// Nobody waits any more for a client to answer the close of connections that it has replaced.
    fn cut_leaving(&self, peer: PeerId) {
        for (_, slot) in self.leaving.range((peer, Slot(0))..=(peer, Slot(u32::MAX))) {
            if let Some(session) = self.sessions.get(slot) {
                session.outbox.cut();
            }
        }
    }

    /// With the last client of a server that is closing, its channels end.
    fn end_if_empty(&mut self) {
        if self.sessions.is_empty() {
            self.sinks.clear();
        }
    }

    fn sessions_of(&self, members: pysock_proto::router::Members<'_>) -> Receivers {
        let sessions = members.filter_map(|m| Some((self.sessions.get(&m.slot)?.clone(), m.local)));
        sessions.collect()
    }
}

/// What others may know of a client.
pub(crate) fn info(entry: &Entry) -> PeerInfo {
    PeerInfo { id: entry.peer(), key: *entry.key(), name: *entry.name() }
}
