//! Other clients, end to end: sessions through the server, which cannot read them.

mod arriving;
mod book;
mod decide;
mod lane;
mod news;
mod task;
mod trust;

#[cfg(test)]
mod attack_full_group;

use std::{sync::Arc, time::Duration};

use pysock_proto::{
    Envelope, Failure, Find, Kind, Name, Party, PeerInfo, PublicKey,
    group::GroupId,
    peer::{Acquaintance, channel},
};

pub use book::AskPeer;
pub(super) use book::Book;
pub(super) use book::Entry;
pub(super) use book::locked;
use book::{Order, Phase, Why};
pub use news::{PeerListener, PeerNews, PeerPrefixListener};
pub(super) use task::PeerTask;
use trust::Standing;

use super::{Client, Undelivered, finds::Answer, shared::Shared};
use crate::{
    Data, Error, Message, StreamWriter, Target, listen,
    message::Address,
    outbox::{Body, Outgoing, Report},
    payload,
    server::REPLY_WITHIN,
    transfer,
    wait::await_reply,
};

/// How long a person on the other side may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// The first and the longest wait before a client that is not connected is looked for again.
const FIRST_SEARCH: Duration = Duration::from_millis(250);
const LONGEST_SEARCH: Duration = Duration::from_secs(30);

impl Client {
    /// Makes an end-to-end session with another client, or says who it is with if there is one: after this, the server
    /// passes on what it cannot read. The other side's key has to be the pinned one; about a new one the
    /// configuration (`peers`) decides.
    ///
    /// The other side need not do anything, if it trusts this client. Sessions survive reconnects.
    ///
    /// # Errors
    /// [`Error::Failed`] if no such client is connected; [`Error::PeerKeyChanged`] with both fingerprints;
    /// [`Error::UnknownPeer`]; [`Error::Peer`] if it does not want a session or does not answer.
    pub async fn handshake(&self, client: impl Into<Target>) -> Result<PeerInfo, Error> {
        Ok(self.shared.session(&client.into()).await?.info())
    }

    /// Sends to another client, end to end. Makes a session first if there is none. Waits while the queue to that
    /// client is full, and through reconnects.
    ///
    /// Delivery is at most once and in order; what was lost is reported to the listeners of both sides
    /// ([`PeerNews::Lost`], [`PeerNews::Undelivered`]).
    ///
    /// # Errors
    /// As [`handshake`](Self::handshake).
    pub async fn send_to_client(
        &self,
        client: impl Into<Target>,
        data: impl Into<Data>,
    ) -> Result<(), Error> {
        let entry = self.shared.session(&client.into()).await?;
        self.shared
            .push_to(&entry, channel::DIRECT, Kind::Message, Body::Whole(data.into().0))
            .await
    }

    /// As [`send_to_client`](Self::send_to_client) for each of `messages`, in order, and much cheaper where they are small
    /// and many.
    ///
    /// # Errors
    /// As [`send_to_client`](Self::send_to_client). Those before may have been sent.
    pub async fn send_many_to_client(
        &self,
        client: impl Into<Target>,
        messages: impl IntoIterator<Item: AsRef<[u8]>>,
    ) -> Result<(), Error> {
        let entry = self.shared.session(&client.into()).await?;
        for payload in payload::pack(arriving::envelope(channel::DIRECT, Kind::Message), messages) {
            self.shared.push_to(&entry, channel::DIRECT, Kind::Message, payload.into()).await?;
        }
        Ok(())
    }

    /// Asks another client, end to end, and waits for its reply, 10 seconds at most.
    ///
    /// # Errors
    /// As [`handshake`](Self::handshake); [`Error::Failed`], [`Error::NoReply`], [`Error::OutcomeUnknown`].
    pub async fn request_client(
        &self,
        client: impl Into<Target>,
        data: impl Into<Data>,
    ) -> Result<Message, Error> {
        self.request_client_within(REPLY_WITHIN, client, data).await
    }

    /// Asks another client, end to end, and waits for its reply. The time covers making a session, too: where a person
    /// has to decide first, and may take longer, call [`handshake`](Self::handshake) before.
    ///
    /// # Errors
    /// As [`request_client`](Self::request_client).
    pub async fn request_client_within(
        &self,
        timeout: Duration,
        client: impl Into<Target>,
        data: impl Into<Data>,
    ) -> Result<Message, Error> {
        let (target, body) = (client.into(), Body::Whole(data.into().0));
        let asking = async {
            let entry = self.shared.session(&target).await?;
            let waiting = entry.requests.ask(0, Party::Server, channel::DIRECT.into());
            let kind = Kind::Request(waiting.id());
            let item = self.shared.peer_item(&entry, channel::DIRECT, kind, body);
            await_reply(entry.outbox.push(item), waiting, timeout, &target).await
        };
        match tokio::time::timeout(timeout, asking).await {
            Ok(reply) => reply,
            Err(_) => Err(Error::NoReply { to: target.to_string(), timeout }),
        }
    }

    /// Begins a message to another client that is written bit by bit; `length` in bytes if it is known.
    ///
    /// # Errors
    /// As [`handshake`](Self::handshake).
    pub async fn stream_to_client(
        &self,
        client: impl Into<Target>,
        length: Option<u64>,
    ) -> Result<StreamWriter, Error> {
        let target = client.into();
        let entry = self.shared.session(&target).await?;
        let (writer, parts) =
            transfer::writer(length, target.to_string(), entry.outbox.line.clone());
        let kind = Kind::Message;
        self.shared.push_to(&entry, channel::DIRECT, kind, Body::Parts(parts)).await?;
        Ok(writer)
    }

    /// Listens to what other clients send to this one, end to end. Call it before others may send: what arrives while
    /// nobody listens is thrown away.
    ///
    /// # Errors
    /// [`Error::ChannelExists`] while there is another listener; [`Error::Disconnected`] if the client is over.
    pub fn listen_peers(&self) -> Result<PeerListener, Error> {
        let (sink, queue) = listen::reports(self.shared.config.queue_bytes);
        self.shared.book.listen(sink)?;
        Ok(PeerListener { queue })
    }

    /// Like [`listen_peers`](Self::listen_peers), but messages are handed on while they arrive, in memory that does not
    /// grow with their size.
    ///
    /// # Errors
    /// [`Error::ChannelExists`] while there is another listener; [`Error::Disconnected`] if the client is over.
    pub fn listen_peer_prefixes(&self) -> Result<PeerPrefixListener, Error> {
        let (sink, queue) = listen::prefixes(self.shared.config.queue_bytes);
        self.shared.book.listen(sink)?;
        Ok(PeerPrefixListener { queue })
    }

    /// The clients with which there is an end-to-end session now.
    pub fn peers(&self) -> Vec<PeerInfo> {
        let open = self.shared.book.all().into_iter().filter(|entry| entry.is_open());
        let mut peers: Vec<PeerInfo> = open.map(|entry| entry.info()).collect();
        peers.sort_by_key(|peer| peer.name);
        peers
    }

    /// Closes the end-to-end session with a client, if there is one.
    pub fn close_peer(&self, key: &PublicKey) {
        self.shared.book.order(Order::Close(*key));
    }
}

impl Shared {
    /// The open session with a client that may be sent anything: its key is pinned, or is now.
    pub(super) async fn session(self: &Arc<Self>, target: &Target) -> Result<Arc<Entry>, Error> {
        let entry = self.reach(target).await?;
        if !entry.is_pinned() {
            let PeerInfo { name, key, .. } = entry.info();
            self.judge(name, key).await.map_err(|why| self.explain(&name, why))?;
            entry.set_pinned();
        }
        Ok(entry)
    }

    /// The open session with a client: the present one, or one that a handshake makes now. That it is a member of a
    /// group is enough.
    pub(super) async fn reach(self: &Arc<Self>, target: &Target) -> Result<Arc<Entry>, Error> {
        let pinned = match &target.0 {
            Address::Text(text) => {
                let name: Name =
                    text.parse().map_err(|source| Error::Name { name: text.clone(), source })?;
                if let Some(entry) = self.book.by_name(&name) {
                    return Ok(entry);
                }
                self.pins().await.map_err(|why| self.explain(&name, why))?.peer(&name)
            }
            Address::Key(key) => Some(*key),
            Address::Peer(peer) => Some(peer.key),
            Address::Server => return Err(Error::NoPeers),
        };
        if let Some(entry) = pinned.and_then(|key| self.book.get(&key))
            && entry.is_open()
        {
            return Ok(entry);
        }
        let nobody = || Error::Failed { to: target.to_string(), failure: Failure::NoPeer };
        // A name is first of all what a pinned key is called here; what the server calls so comes after it.
        let mut found = match pinned {
            Some(key) => self.find(Find::Key(key)).await?.peer,
            None => None,
        };
        if let (None, Address::Text(text)) = (&found, &target.0) {
            found = self.find(Find::Name(text.parse().map_err(|_| nobody())?)).await?.peer;
        }
        self.meet(found.ok_or_else(nobody)?).await
    }

    async fn meet(self: &Arc<Self>, peer: PeerInfo) -> Result<Arc<Entry>, Error> {
        let explain = |why| self.explain(&peer.name, why);
        let known = self.book.get(&peer.key).is_some_and(|entry| entry.is_open());
        let acquaintance = match self.vouched(&peer.name, &peer.key).await.map_err(explain)? {
            Standing::Changed(expected) => {
                return Err(explain(Why::Changed { expected, offered: peer.key }));
            }
            Standing::Pinned => Acquaintance::Known,
            Standing::New if known || self.is_member(&peer.key) => Acquaintance::Known,
            Standing::New if self.config.peers == crate::config::Trust::Pin => {
                return Err(explain(Why::Unknown(peer.key)));
            }
            Standing::New => Acquaintance::New,
        };
        let entry = self.book.entry(&peer).map_err(|why| explain(Why::Peer(why)))?;
        let mut phase = entry.phase.subscribe();
        let begun = tokio::time::Instant::now();
        loop {
            if !entry.is_open() {
                entry.phase.send_replace(Phase::Meeting);
            }
            self.book.order(Order::Meet(peer, acquaintance));
            let outcome = async {
                loop {
                    match &*phase.borrow_and_update() {
                        Phase::Open => return Ok(()),
                        Phase::Failed(why) => return Err(why.clone()),
                        Phase::Meeting | Phase::Waiting => {}
                    }
                    if phase.changed().await.is_err() {
                        return Err(Why::Ended);
                    }
                }
            };
            let asking = async {
                tokio::time::sleep_until(begun + self.config.timeout).await;
                if matches!(*entry.phase.borrow(), Phase::Waiting)
                    || self.config.peers == crate::config::Trust::Ask
                {
                    tokio::time::sleep_until(begun + PATIENCE).await;
                }
            };
            let why = tokio::select! {
                outcome = outcome => match outcome {
                    Ok(()) => return Ok(entry),
                    Err(why) => why,
                },
                () = asking => return Err(explain(Why::Peer(pysock_proto::PeerError::TimedOut))),
            };
            if !why.is_temporary() || begun.elapsed() >= self.config.timeout {
                return Err(explain(why));
            }
            tokio::time::sleep(FIRST_SEARCH).await;
        }
    }

    /// Why there is no session, for the program.
    fn explain(&self, name: &Name, why: Why) -> Error {
        let (name, state) = (*name, self.config.state.clone());
        match why {
            Why::Peer(source) => Error::Peer { name, source },
            Why::Changed { expected, offered } => Error::PeerKeyChanged {
                name,
                expected: Box::new(expected),
                offered: Box::new(offered),
                state,
            },
            Why::Unknown(key) => Error::UnknownPeer { name, key: Box::new(key), state },
            Why::Swapped { named, proven } => {
                Error::KeySwapped { name, named: Box::new(named), proven: Box::new(proven) }
            }
            Why::Closed => Error::Failed { to: name.to_string(), failure: Failure::Gone },
            Why::State(why) => Error::Value(why.as_ref().into()),
            Why::Ended => Error::Disconnected,
        }
    }

    /// Somebody was turned away: the program hears why.
    fn turned_away(&self, peer: PeerInfo, why: Why) {
        let why = self.explain(&peer.name, why).to_string();
        tracing::warn!(peer = %peer.name, key = %peer.key, %why, "turned away");
        if let Some(sink) = self.book.sink() {
            // Whoever knocks without end must not fill the queue.
            sink.mention(PeerNews::TurnedAway { peer, why });
        }
    }

    pub(super) fn peer_item(
        self: &Arc<Self>,
        entry: &Entry,
        channel: u16,
        kind: Kind,
        body: Body,
    ) -> Outgoing {
        let (shared, peer) = (Arc::downgrade(self), entry.info());
        let requests = match kind {
            Kind::Request(_) => self.book.get(&peer.key),
            _ => None,
        };
        let tell = move |envelope: Envelope, why| {
            if let (Kind::Request(id), Some(entry)) = (envelope.kind, &requests) {
                let (responder, channel) = (Party::Server, envelope.channel.0.into());
                entry.requests.settle(
                    crate::reply::Asked { connection: 0, responder, channel, id },
                    Err(why),
                );
            } else if let Some(shared) = shared.upgrade() {
                shared.undelivered(&peer, envelope.channel.0, why);
            }
        };
        let envelope =
            Envelope { channel: pysock_proto::ChannelId(channel), party: Party::Server, kind };
        let report = Report::Session(Arc::new(tell), envelope);
        Outgoing { envelope, from: None, body, epoch: entry.outbox.epoch(), report }
    }

    /// Queues something for a client, unless its session fails while the queue is full.
    pub(super) async fn push_to(
        self: &Arc<Self>,
        entry: &Arc<Entry>,
        channel: u16,
        kind: Kind,
        body: Body,
    ) -> Result<(), Error> {
        let item = self.peer_item(entry, channel, kind, body);
        tokio::select! {
            biased;
            pushed = entry.outbox.push(item) => pushed.map_err(|_| Error::Disconnected),
            why = self.until_failed(entry) => Err(why),
        }
    }

    /// Why there is no session any more, once it has failed.
    pub(super) async fn until_failed(&self, entry: &Entry) -> Error {
        let mut phase = entry.phase.subscribe();
        let failed = phase.wait_for(|phase| matches!(phase, Phase::Failed(_))).await;
        let why = match failed.as_deref() {
            Ok(Phase::Failed(why)) => why.clone(),
            _ => Why::Ended,
        };
        drop(failed);
        self.explain(&entry.info().name, why)
    }

    /// A message to another client did not get through.
    fn undelivered(&self, peer: &PeerInfo, _channel: u16, why: Failure) {
        tracing::info!(to = %peer.name, %why, "a message to a client did not get through");
        self.note_failure(Undelivered { channel: None, to: Party::Peer(peer.id), why });
    }

    /// Whether a group of this client vouches for the key.
    fn is_member(&self, key: &PublicKey) -> bool {
        !self.groups.names_of(key).is_empty()
    }

    /// What was queued before this epoch for a member of a group that is one no more is not to be sent.
    pub(super) fn forget_queued(&self, member: PublicKey, group: GroupId, epoch: u32) {
        self.book.order(Order::Forget(member, group, epoch));
    }
}

/// Looks for a client whose session lost its number, until it is there or the session is over.
fn find_again(shared: &Arc<Shared>, key: PublicKey) {
    let (shared, epoch) = (shared.clone(), shared.outbox.epoch());
    let Some(search) = shared.book.get(&key).and_then(|entry| entry.search(epoch)) else { return };
    tokio::spawn(async move {
        let mut wait = FIRST_SEARCH;
        while shared.outbox.epoch() == epoch && shared.outbox.ending().is_none() {
            if shared.book.get(&key).is_none_or(|entry| entry.is_open()) {
                return;
            }
            if let Ok(Answer { peer: Some(peer), .. }) = shared.find(Find::Key(key)).await {
                // What was found may be lost again at once.
                drop(search);
                shared.book.order(Order::Named(peer));
                return;
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_SEARCH);
        }
    });
}
