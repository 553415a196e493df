//! Sessions with other clients, as the connection's task runs them: it alone touches the protocol's state.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use pysock_proto::{
    CloseReason, Connection, Env, Failure, Kind, Party, PeerError, PeerId, PeerInfo, PublicKey,
    SendError, TxBuf, Unit,
    group::GroupId,
    peer::{Acquaintance, HalfOpen, Peer, PeerEvent, Peers, channel},
};

use super::{
    PeerNews,
    arriving::{envelope, sender},
    book::{MAX_HANDSHAKES, MAX_SESSIONS, Order, Phase, Why},
    lane::{Lane, PeerIn},
};
use crate::{
    client::shared::Shared,
    grow::Grow,
    link::{self, C, Filled, Messages, Receiving, Verdict, Wait},
    outbox::{Body, Outgoing},
    payload::{Payload, gather},
    reply::Asked,
};

/// How long one attempt at a handshake may take, in milliseconds.
const ATTEMPT_MILLIS: u64 = 3_000;

pub(super) type Core = Peers<C, Grow<Peer>, Grow<HalfOpen>>;

/// Reading waits for each that is full: they are different queues, and the last one says nothing about the others.
pub(super) fn all(verdicts: impl Iterator<Item = Verdict>) -> Verdict {
    let waits: Vec<Wait> = verdicts
        .filter_map(|verdict| match verdict {
            Verdict::Wait(wait) => Some(wait),
            Verdict::Go => None,
        })
        .collect();
    if waits.is_empty() {
        return Verdict::Go;
    }
    Verdict::Wait(Box::pin(async move {
        for wait in waits {
            wait.await;
        }
    }))
}

/// All sessions of a client. Outlives its connections.
pub(in crate::client) struct PeerTask {
    pub(super) shared: Arc<Shared>,
    pub(super) core: Core,
    pub(super) lanes: HashMap<PublicKey, Lane>,
    /// The program is leaving, and every session was closed.
    parting: bool,
}

impl PeerTask {
    pub(in crate::client) fn new(shared: &Arc<Shared>) -> Self {
        let (sessions, halves) = (Grow::bounded(MAX_SESSIONS), Grow::bounded(MAX_HANDSHAKES));
        PeerTask {
            shared: shared.clone(),
            core: Peers::new(shared.name, shared.limits(), sessions, halves),
            lanes: HashMap::new(),
            parting: false,
        }
    }

    /// The connection is another one: every session goes on once its client is found there.
    pub(in crate::client) fn reconnected(&mut self) {
        self.shared.book.forget_orders();
        self.core.reconnected();
        for peer in self.core.sessions() {
            if let Some(lane) = self.lanes.get(peer.key()) {
                lane.entry.phase.send_replace(Phase::Meeting);
            }
            super::find_again(&self.shared, *peer.key());
        }
    }

    /// A sealed unit has arrived.
    pub(in crate::client) fn relay(
        &mut self,
        from: PeerId,
        unit: Unit,
        bytes: &mut [u8],
        env: &Env<'_>,
    ) -> Verdict {
        let Some(mut peer) = self.shared.announced_peer(from) else { return Verdict::Go };
        if let (Unit::Record, Some(entry)) = (unit, self.shared.book.get(&peer.key)) {
            // What it says, it says under the name it was accepted with, whatever the server calls it by now.
            peer.name = entry.info().name;
        }
        let mut incoming = self.core.receive(&peer, unit, bytes, env);
        let verdicts = std::iter::from_fn(|| {
            let event = self.core.next(&mut incoming)?;
            Some(match event {
                PeerEvent::Message { channel, kind, bytes } => {
                    let payload = match kind {
                        Kind::Message => {
                            let more = self.core.next_block(&mut incoming, channel);
                            gather(&envelope(channel, kind), bytes, more)
                        }
                        _ => Payload::One(Bytes::copy_from_slice(bytes)),
                    };
                    self.message(&peer, channel, kind, payload)
                }
                event => self.act(&peer, event, env),
            })
        });
        all(verdicts)
    }

    /// The server did not pass something on.
    pub(in crate::client) fn unreachable(&mut self, id: PeerId, why: Failure) {
        let known = self.core.sessions().iter().find(|peer| peer.id() == Some(id));
        let known = known.map(|peer| *peer.key());
        let failed = self.core.unreachable(id, why);
        if let Some((key, error)) = failed
            && let Some(entry) = self.shared.book.get(&key)
        {
            entry.fails(Why::Peer(error));
        }
        if let Some(key) = known
            && why == Failure::NoPeer
        {
            // Its number is of another time.
            super::find_again(&self.shared, key);
        }
    }

    /// The server has named a client.
    pub(in crate::client) fn named(&mut self, peer: &PeerInfo) {
        self.core.named(peer);
    }

    /// Moves what goes to other clients into `tx`.
    pub(in crate::client) fn fill(
        &mut self,
        conn: &mut Connection<C>,
        tx: &mut TxBuf<Vec<u8>>,
        env: &Env<'_>,
    ) -> Filled {
        while let Some(order) = self.shared.book.next_order() {
            self.obey(order, env);
        }
        while let Some((key, event)) = self.core.poll(env.now) {
            let Some(peer) = self.peer(&key) else { continue };
            if let Verdict::Wait(wait) = self.act(&peer, event, env) {
                // News, not messages: nothing has to stop for them.
                tokio::spawn(wait);
            }
        }
        self.lanes.retain(|key, _| self.core.get(key).is_some());
        if self.flush(conn, tx, env) == Filled::Full {
            return Filled::Full;
        }
        let mut filled = Filled::All;
        for (key, lane) in &mut self.lanes {
            let input = &mut PeerIn { core: &mut self.core, key: *key };
            lane.listen_to_consumers(input);
            if lane.fill(conn, tx, &mut self.core, key) == Filled::Full {
                filled = Filled::Full;
                break;
            }
        }
        // Consumers may have given credit back.
        if self.flush(conn, tx, env) == Filled::Full { Filled::Full } else { filled }
    }

    fn flush(
        &mut self,
        conn: &mut Connection<C>,
        tx: &mut TxBuf<Vec<u8>>,
        env: &Env<'_>,
    ) -> Filled {
        match conn.flush_peers(&mut tx.lend(), &mut self.core, env) {
            Err(SendError::Full(_)) => Filled::Full,
            Ok(()) => Filled::All,
            Err(error) => {
                tracing::debug!(%error, "sessions with other clients were not served");
                Filled::All
            }
        }
    }

    pub(in crate::client) fn deadline(&self) -> Option<pysock_proto::Instant> {
        self.core.deadline()
    }

    /// The program leaves: says so to everybody, once all is sent. `true`: they have answered, or will not.
    pub(in crate::client) fn part(&mut self, env: &Env<'_>) -> bool {
        let open = |key: &PublicKey| self.core.get(key).is_some_and(Peer::is_open);
        let busy = self.lanes.iter().any(|(key, lane)| open(key) && !lane.is_idle());
        if busy {
            return false;
        }
        if !self.parting {
            self.parting = true;
            let keys: Vec<_> = self.core.sessions().iter().map(|peer| *peer.key()).collect();
            for key in keys {
                self.core.close(&key, CloseReason::Done, env);
            }
            self.shared.outbox.line.wake();
        }
        // One that is not reachable now cannot be told.
        self.core.sessions().iter().all(|peer| peer.id().is_none())
    }

    fn peer(&self, key: &PublicKey) -> Option<PeerInfo> {
        let mut peer = self.shared.book.get(key)?.info();
        if let Some(id) = self.core.get(key).and_then(Peer::id) {
            peer.id = id;
        }
        Some(peer)
    }

    pub(super) fn obey(&mut self, order: Order, env: &Env<'_>) {
        match order {
            Order::Meet(peer, acquaintance) => self.meet(&peer, acquaintance, env),
            Order::Answer(greeting) => {
                let by = env.now.after_millis(ATTEMPT_MILLIS);
                match link::ephemeral() {
                    Ok(ephemeral) => {
                        if let Err(error) = self.core.answer(greeting, ephemeral, by) {
                            tracing::debug!(%error, "a greeting was answered too late");
                        }
                    }
                    Err(error) => tracing::error!(%error, "a greeting was not answered"),
                }
            }
            Order::Refuse(greeting, why) => self.core.refuse(greeting, why, env),
            Order::Accept(verify) => {
                if let Err(error) = self.core.accept(verify, env) {
                    tracing::debug!(%error, "a key was accepted too late");
                }
            }
            Order::Deny(verify, why) => self.core.deny(verify, why, env),
            Order::Named(peer) => self.core.named(&peer),
            Order::Close(key) => self.core.close(&key, CloseReason::Done, env),
            Order::Forget(key, group, epoch) => self.forget(&key, group, epoch),
        }
    }

    /// Takes messages to a group out of the queue to a client. What was begun goes on.
    fn forget(&mut self, key: &PublicKey, group: GroupId, epoch: u32) {
        let stale = |item: &Outgoing| match &item.body {
            Body::Whole(bytes) if item.envelope.channel.0 == channel::GROUP => {
                // Since then it may have become a member again.
                GroupId::of(bytes) == Some(group)
                    && bytes.get(16..20).is_some_and(|at| *at < epoch.to_be_bytes()[..])
            }
            _ => false,
        };
        if let Some(entry) = self.shared.book.get(key) {
            entry.outbox.drop_stale(stale);
        }
        if let Some(lane) = self.lanes.get_mut(key) {
            lane.messages.drop_stale(stale, &lane.entry.outbox);
        }
    }

    fn meet(&mut self, peer: &PeerInfo, acquaintance: Acquaintance, env: &Env<'_>) {
        let Ok(entry) = self.shared.book.entry(peer) else { return };
        if self.core.get(&peer.key).is_some_and(Peer::is_open) {
            entry.phase.send_replace(Phase::Open);
            return;
        }
        let by = env.now.after_millis(ATTEMPT_MILLIS);
        let begun = match link::ephemeral() {
            Ok(e) => self.core.handshake(peer, acquaintance, e, by, env).map_err(Why::Peer),
            Err(error) => Err(Why::State(error.to_string().into())),
        };
        match begun {
            // What is under way will tell.
            Ok(()) | Err(Why::Peer(PeerError::UnderWay)) => {}
            Err(why) => entry.fails(why),
        }
    }

    /// Something happened with another client.
    fn act(&mut self, peer: &PeerInfo, event: PeerEvent<'_>, env: &Env<'_>) -> Verdict {
        match event {
            PeerEvent::Greeting(greeting) => self.greeted(*peer, greeting, env),
            PeerEvent::Verify(verify) => self.verify(*peer, verify, env),
            PeerEvent::Open { fresh } => return self.opened(peer, fresh),
            PeerEvent::Wanted => {
                if let Some(entry) = self.shared.book.get(&peer.key) {
                    entry.phase.send_replace(Phase::Meeting);
                }
                self.meet(peer, Acquaintance::Known, env);
            }
            PeerEvent::Patience => {
                if let Some(entry) = self.shared.book.get(&peer.key) {
                    entry.phase.send_replace(Phase::Waiting);
                }
            }
            PeerEvent::Failed(why) => self.failed(peer, why, env),
            PeerEvent::Offered(offered) => {
                let why = Why::Changed { expected: peer.key, offered };
                self.fails(
                    &peer.key,
                    if offered == peer.key { Why::Peer(PeerError::NeedXx) } else { why },
                );
            }
            PeerEvent::OtherKey(proven) => {
                self.fails(&peer.key, Why::Swapped { named: peer.key, proven });
            }
            PeerEvent::Refused { channel, kind: Kind::Request(id), failure } => {
                if let Some(lane) = self.lanes.get(&peer.key) {
                    let asked = Asked {
                        connection: 0,
                        responder: Party::Server,
                        channel: channel.into(),
                        id,
                    };
                    lane.entry.requests.settle(asked, Err(failure));
                }
            }
            PeerEvent::Refused { channel, failure, .. } => {
                self.shared.undelivered(peer, channel, failure);
            }
            PeerEvent::Begin { stream, channel, kind, length } => {
                return self.begin(peer, stream, envelope(channel, kind), length);
            }
            PeerEvent::Chunk { stream, bytes } => {
                let Some(lane) = self.lanes.get_mut(&peer.key) else { return Verdict::Go };
                let input = &mut PeerIn { core: &mut self.core, key: peer.key };
                lane.receiving.chunk(stream, bytes, input);
            }
            PeerEvent::End(stream) => {
                let Some(lane) = self.lanes.get_mut(&peer.key) else { return Verdict::Go };
                if let Some((envelope, _, bytes)) = lane.receiving.end(stream) {
                    let payload = Payload::One(bytes);
                    return self.message(peer, envelope.channel.0, envelope.kind, payload);
                }
            }
            PeerEvent::Aborted { stream, failure } => {
                if let Some(lane) = self.lanes.get_mut(&peer.key) {
                    lane.receiving.aborted(stream, failure);
                }
            }
            PeerEvent::Stopped { stream, failure } => {
                if let Some(lane) = self.lanes.get_mut(&peer.key) {
                    lane.messages.stopped(stream, failure, &lane.entry.outbox);
                }
            }
            PeerEvent::Reset => {
                if let Some(lane) = self.lanes.get_mut(&peer.key) {
                    lane.reset();
                }
            }
            PeerEvent::Lost(messages) => {
                self.lose_requests(&peer.key);
                return self.tell(PeerNews::Lost { from: sender(peer), messages });
            }
            PeerEvent::Undelivered(messages) => {
                self.lose_requests(&peer.key);
                self.shared.undelivered(peer, channel::DIRECT, Failure::Gone);
                return self.tell(PeerNews::Undelivered { to: *peer, messages });
            }
            PeerEvent::Unknown(messages) => {
                self.lose_requests(&peer.key);
                self.shared.undelivered(peer, channel::DIRECT, Failure::Unknown);
                return self.tell(PeerNews::Unknown { to: *peer, messages });
            }
            PeerEvent::Unanswered => {
                self.over(&peer.key);
                self.fails(&peer.key, Why::Closed);
            }
            PeerEvent::Closed(why) => {
                self.over(&peer.key);
                self.fails(&peer.key, Why::Closed);
                return self.tell(PeerNews::Closed { peer: *peer, why });
            }
            _ => {}
        }
        Verdict::Go
    }

    fn fails(&self, key: &PublicKey, why: Why) {
        if let Some(entry) = self.shared.book.get(key) {
            entry.fails(why);
        }
    }

    /// The session is over for good: what waits for it will not be sent.
    fn over(&mut self, key: &PublicKey) {
        if let Some(lane) = self.lanes.get_mut(key) {
            lane.reset();
            lane.entry.requests.lose(|_| true);
            lane.entry.outbox.give_up(Failure::Gone);
        }
    }

    /// A request or its reply may be among what was lost.
    fn lose_requests(&self, key: &PublicKey) {
        if let Some(lane) = self.lanes.get(key) {
            lane.entry.requests.lose(|_| true);
        }
    }

    fn failed(&mut self, peer: &PeerInfo, why: PeerError, env: &Env<'_>) {
        let doubtful = matches!(why, PeerError::NeedXx | PeerError::Handshake);
        if doubtful && !self.core.sessions().iter().any(|known| known.key() == &peer.key) {
            // Which key answers now? Finding out shows nothing of ours.
            self.meet(peer, Acquaintance::Diagnose, env);
            return;
        }
        tracing::debug!(peer = %peer.name, %why, "no session");
        if matches!(why, PeerError::Protocol(..)) {
            self.over(&peer.key);
        }
        self.fails(&peer.key, Why::Peer(why));
    }

    fn opened(&mut self, peer: &PeerInfo, fresh: bool) -> Verdict {
        let mut peer = *peer;
        if let Some(entry) = self.shared.book.get(&peer.key) {
            // Who that is was judged before; the server may have changed its mind since.
            peer.name = entry.info().name;
        }
        let Ok(entry) = self.shared.book.entry(&peer) else { return Verdict::Go };
        if fresh {
            // Answers belong to the questions of one time.
            entry.requests.lose(|_| true);
            entry.outbox.restart([]);
        }
        self.lanes.entry(peer.key).or_insert_with(|| Lane {
            messages: Messages::default(),
            receiving: Receiving::new(self.shared.budget.clone(), &entry.outbox),
            entry: entry.clone(),
        });
        tracing::debug!(peer = %peer.name, fresh, "end-to-end session");
        entry.phase.send_replace(Phase::Open);
        self.shared.groups.opened(&peer.key);
        if !entry.is_pinned() {
            let shared = self.shared.clone();
            tokio::spawn(async move {
                if shared.is_pinned(&peer).await {
                    entry.set_pinned();
                }
            });
        }
        self.tell(PeerNews::Opened { peer, fresh })
    }

    fn tell(&self, news: PeerNews) -> Verdict {
        match self.shared.book.sink() {
            Some(sink) => sink.report(news),
            None => Verdict::Go,
        }
    }
}
