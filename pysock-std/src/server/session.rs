//! One connection of a server: from the first byte to the admission, and what happens to what it sends.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use pysock_proto::{
    Admission, ChannelName, CloseReason, Connection, Env, Envelope, Event, Failure, Kind, Party,
    PeerId, Refusal, RequestId, ServerSetup, Unit,
    registry::{Claim, Slot},
};
use tokio::net::TcpStream;

use super::{
    doorman::Pass,
    hub::{Hub, Session, Way},
};
use crate::{
    Error, Message, Sender,
    line::Control,
    link::{self, Destination, End, Handler, Link, Surroundings, Verdict},
    message::{Path, Source},
    outbox::{Body, Item, Outbox, Outgoing, Report},
    payload::Payload,
    reply::{Asked, Replier},
    transfer::{self, Origin},
};

/// Serves one connection until it is over.
pub(super) fn serve(
    hub: Arc<Hub>,
    socket: TcpStream,
    address: SocketAddr,
    pass: Pass,
) -> impl Future<Output = ()> + Send {
    // In memory of its own, which a connection gives back before the long time that it rests.
    let welcoming = Box::pin(welcome(hub.clone(), socket, address, pass));
    live(hub, welcoming)
}

async fn live(hub: Arc<Hub>, welcoming: Pin<Box<impl Future<Output = Option<Welcomed>>>>) {
    let Some((mut link, session)) = welcoming.await else { return };
    let around = Surroundings {
        outbox: session.outbox.clone(),
        budget: hub.budget.clone(),
        counters: hub.counters.clone(),
        stall: std::time::Duration::from_secs(hub.config.idle_timeout.into()),
        low_latency: hub.config.low_latency,
    };
    // Whatever ends this task, the client is gone then.
    let leaving = Leaving { hub: &hub, session: &session };
    let end = link.live(&mut Serving { hub: &hub, session: &session }, &around).await;
    drop(leaving);
    said_goodbye(&session, &end);
}

/// A connection with its client.
type Welcomed = (Box<Link>, Arc<Session>);

fn said_goodbye(session: &Session, end: &End) {
    let (client, address) = (&session.peer.name, session.address);
    tracing::info!(%client, %address, end = %Why(end), "disconnected");
}

/// Everything before the client is in: handshake and admission.
async fn welcome(
    hub: Arc<Hub>,
    socket: TcpStream,
    address: SocketAddr,
    pass: Pass,
) -> Option<Welcomed> {
    let hub = &hub;
    let slot = hub.slot();
    let config = &hub.config;
    let limits = link::limits(config.record_limit, config.max_message, config.idle_timeout);
    let by = hub.clock.now().after_millis(hub.config.handshake_timeout.as_millis() as u64);
    let setup = ServerSetup { limits, psk_required: hub.config.psk.is_some() };
    let ephemeral = match link::ephemeral() {
        Ok(ephemeral) => ephemeral,
        Err(error) => {
            tracing::error!(%error, "a connection was turned away");
            return None;
        }
    };
    let conn = Connection::server(&setup, ephemeral, by);
    let mut link = Box::new(Link::new(socket, conn, hub.identity.clone(), hub.clock));
    let admission = match handshake(hub, &mut link).await {
        Ok(admission) => admission,
        Err(error) => {
            tracing::debug!(%address, %error, "no handshake");
            link.farewell();
            return None;
        }
    };
    let session = admit(hub, &mut link, admission, slot, address).await;
    drop(pass);
    let session = session?;
    tracing::info!(client = %session.peer.name, key = %session.peer.key, %address, "connected");
    Some((link, session))
}

struct Leaving<'a> {
    hub: &'a Hub,
    session: &'a Session,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.hub.leave(self.session);
    }
}

/// An end, for the log.
struct Why<'a>(&'a End);

impl std::fmt::Display for Why<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            End::Closed(why) => write!(f, "the client closed: {why}"),
            End::Here(why, _) => write!(f, "closed here: {why}"),
            End::Refused(why) => write!(f, "refused: {why}"),
            End::Broken(error) => write!(f, "{error}"),
            End::Io(error) => write!(f, "{error}"),
            End::Stalled => f.write_str("the client takes nothing"),
        }
    }
}

/// Everything up to the decision whether the client may come in.
async fn handshake(hub: &Hub, link: &mut Link) -> Result<Admission, pysock_proto::Error> {
    link.until(|event, conn, env| match event {
        Event::PskWanted(request) => {
            let psk = hub.config.psk.as_ref().filter(|psk| psk.hint() == request.hint());
            conn.provide_psk(request, psk, env)?;
            Ok(None)
        }
        Event::Admission(admission) => Ok(Some(admission)),
        _ => Ok(None),
    })
    .await
}

/// A name that is held while the disk is written; free again if that fails or is cut off.
struct Held<'a> {
    hub: &'a Hub,
    claim: Option<Claim>,
    /// It counts among those who enter.
    place: bool,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut tables = self.hub.tables();
        if let Some(claim) = self.claim.take() {
            tables.names.withdraw(claim);
        }
        tables.entering -= usize::from(self.place);
    }
}

/// Decides, makes the decision durable, and only then tells the client.
async fn admit(
    hub: &Arc<Hub>,
    link: &mut Link,
    admission: Admission,
    slot: Slot,
    address: SocketAddr,
) -> Option<Arc<Session>> {
    match try_admit(hub, &admission, slot).await {
        Ok((peer, replaced, held)) => {
            let outbox = Arc::new(Outbox::new(hub.config.queue.clone()));
            let session = Arc::new(Session::new(slot, peer, address, outbox));
            // From here on the client counts as connected, and `Leaving` or this undoes it.
            hub.enter(&session, replaced);
            drop(held);
            let env = link.env();
            let (now, id) = (env.now, session.peer.id);
            let identity = hub.identity.clone();
            let env = Env { now, identity: &*identity };
            if let Err(error) = link.conn.admit(admission, id, &env) {
                tracing::debug!(%error, "admission failed");
                hub.leave(&session);
                return None;
            }
            Some(session)
        }
        Err(why) => {
            tracing::info!(
                client = %admission.name(), key = %admission.key(), %address, %why, "refused"
            );
            let identity = hub.identity.clone();
            let env = Env { now: hub.clock.now(), identity: &*identity };
            if link.conn.refuse(admission, why, &env).is_ok() {
                link.farewell();
            }
            None
        }
    }
}

type Entered<'a> = (pysock_proto::PeerInfo, Option<Slot>, Held<'a>);

async fn try_admit<'a>(
    hub: &'a Hub,
    admission: &Admission,
    slot: Slot,
) -> Result<Entered<'a>, Refusal> {
    if hub.is_closing() {
        return Err(Refusal::ShuttingDown);
    }
    let (key, name) = (*admission.key(), *admission.name());
    let mut held = {
        let mut tables = hub.tables();
        let known = tables.names.by_key(&key).is_some_and(|entry| entry.slot().is_some());
        if !known && tables.population() + tables.entering >= hub.config.max_clients {
            return Err(Refusal::Full);
        }
        if tables.sessions.contains_key(&slot) {
            // Four thousand million connections ago somebody came who is here still.
            return Err(Refusal::Trouble);
        }
        let claim = tables.names.claim(&key, &name)?;
        tables.entering += usize::from(!known);
        Held { hub, claim: Some(claim), place: !known }
    };
    let must_persist = held.claim.as_ref().is_some_and(Claim::must_persist);
    if must_persist && let Some(state) = hub.state.clone() {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let stored = tokio::task::spawn_blocking(move || {
            state.update(|state| state.bind_name(name, key, since))
        });
        match stored.await {
            Ok(Ok(Ok(()))) => {}
            // Another server with the same state file was faster.
            Ok(Ok(Err(_))) => return Err(Refusal::NameTaken),
            Ok(Err(error)) => {
                tracing::error!(%error, client = %name, "the name could not be stored");
                return Err(Refusal::Trouble);
            }
            Err(_) => return Err(Refusal::Trouble),
        }
    }
    let claim = held.claim.take().ok_or(Refusal::Trouble)?;
    let admitted = hub.tables().names.confirm(claim, slot)?;
    let peer = pysock_proto::PeerInfo { id: admitted.peer, key, name };
    Ok((peer, admitted.replaced, held))
}

/// What a server does with what a client sends.
struct Serving<'a> {
    hub: &'a Arc<Hub>,
    session: &'a Arc<Session>,
}

impl Serving<'_> {
    /// The way of what this client sends to the server's own listener on a channel.
    fn path(&self, channel: ChannelName) -> Arc<Path> {
        let sender = Sender(Source::Peer(self.session.peer.clone()));
        Arc::new(Path { sender, channel })
    }

    /// What the program has asked this client on this connection.
    fn asked(&self, channel: pysock_proto::router::Channel, id: RequestId) -> Asked {
        let responder = Party::Peer(self.session.peer.id);
        Asked { connection: self.session.slot.0, responder, channel: channel.0, id }
    }

    /// A message of this client for another one, as the other one gets it: the source is what this server knows.
    fn relayed(
        &self,
        envelope: &Envelope,
        (to, local): (&Session, pysock_proto::ChannelId),
        body: Body,
    ) -> Outgoing {
        let party = Party::Peer(self.session.peer.id);
        let report = match (envelope.party, envelope.kind) {
            (Party::Peer(_), Kind::Message | Kind::Request(_)) => {
                Report::Relay(Arc::downgrade(&self.session.outbox), *envelope)
            }
            // Whoever waits for a reply that cannot be delivered is told that its request has failed.
            (Party::Peer(_), Kind::Reply(id)) => {
                let request = Envelope { channel: local, party, kind: Kind::Request(id) };
                Report::Relay(Arc::downgrade(&to.outbox), request)
            }
            _ => Report::Nobody,
        };
        Outgoing {
            envelope: Envelope { channel: local, party, kind: envelope.kind },
            from: Some(self.session.peer.clone()),
            body,
            epoch: 0,
            report,
        }
    }

    /// Says why something was not routed. An unasked-for reply is nobody's business.
    fn refused(&self, envelope: Envelope, why: Failure) {
        tracing::debug!(client = %self.session.peer.name, ?envelope, %why, "not routed");
        if !matches!(envelope.kind, Kind::Reply(_)) {
            self.session.fail(envelope, why);
        }
    }
}

/// Queues for several receivers; waits for those that are full, whose patience runs for all at once.
pub(super) fn spread<T: Into<Item>>(items: impl IntoIterator<Item = (Arc<Outbox>, T)>) -> Verdict {
    let mut full = Vec::new();
    for (outbox, item) in items {
        if let Err(Some(item)) = outbox.try_push(item) {
            full.push((outbox, item));
        }
    }
    if full.is_empty() {
        return Verdict::Go;
    }
    Verdict::Wait(Box::pin(async move {
        for (outbox, item) in full {
            // One that is gone meanwhile needs nothing any more.
            let _ = outbox.push(item).await;
        }
    }))
}

impl Handler for Serving<'_> {
    fn message(&mut self, envelope: Envelope, payload: Payload) -> Verdict {
        match self.hub.route(self.session, &envelope) {
            Ok(Way::Listener(channel, name, sink)) => {
                let path = self.path(name);
                if let (Kind::Reply(id), Payload::One(bytes)) = (envelope.kind, &payload) {
                    let message = Message::new(path, bytes.clone(), None);
                    let asked = self.asked(channel, id);
                    if !self.hub.requests.settle(asked, Ok(message)) {
                        tracing::debug!(client = %self.session.peer.name, "a reply to no request");
                    }
                    return Verdict::Go;
                }
                sink.deliver(path, payload, Replier::to(&self.session.outbox, &envelope))
            }
            Ok(Way::Clients(to)) => spread(to.into_iter().map(|(session, local)| {
                let item = self.relayed(&envelope, (&session, local), payload.clone().into());
                (session.outbox.clone(), item)
            })),
            Err(why) => {
                self.refused(envelope, why);
                Verdict::Go
            }
        }
    }

    fn begin(
        &mut self,
        envelope: Envelope,
        length: Option<u64>,
        origin: Origin,
    ) -> (Destination, Verdict) {
        let limit = self.hub.config.max_message;
        match self.hub.route(self.session, &envelope) {
            Ok(Way::Listener(_, name, sink)) if envelope.kind == Kind::Message => {
                sink.begin(self.path(name), length, origin, limit)
            }
            // Requests and replies are delivered whole.
            Ok(Way::Listener(..)) => (Destination::Collect { limit, path: None }, Verdict::Go),
            // Nobody else is on the channel.
            Ok(Way::Clients(to)) if to.is_empty() => (Destination::Discard, Verdict::Go),
            Ok(Way::Clients(to)) => {
                let wakes = to.iter().map(|(session, _)| Some(session.outbox.line.clone()));
                let ends = transfer::parts(length, Some(origin), wakes);
                let mut senders = Vec::with_capacity(ends.len());
                let mut items = Vec::with_capacity(ends.len());
                for ((sender, mut parts), (session, local)) in ends.into_iter().zip(&to) {
                    parts.published = envelope.party == Party::Everyone;
                    senders.push(sender);
                    let item = self.relayed(&envelope, (session, *local), Body::Parts(parts));
                    items.push((session.outbox.clone(), item));
                }
                (Destination::Forward(senders), spread(items))
            }
            Err(why) => {
                self.refused(envelope, why);
                (Destination::Refuse(why), Verdict::Go)
            }
        }
    }

    fn relay(&mut self, peer: PeerId, unit: Unit, bytes: &mut [u8], _: &Env<'_>) -> Verdict {
        self.hub.relay(self.session, peer, unit, Bytes::copy_from_slice(bytes))
    }

    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Open { id, name } => {
                let result = self.hub.open(self.session, id, &name);
                self.session.outbox.line.tell(Control::AnswerOpen(id, result));
            }
            Event::Left(id) => self.hub.close_channel(self.session, id),
            Event::Find { query, find } => {
                let found = self.hub.find(&find);
                self.session.outbox.line.tell(Control::AnswerFind(query, found));
            }
            Event::Failed { envelope, failure } => self.failed(&envelope, failure),
            _ => {}
        }
    }
}

impl Serving<'_> {
    /// The client says that it will not answer a request.
    fn failed(&self, envelope: &Envelope, why: Failure) {
        if let Some((requester, envelope)) = self.hub.failed(self.session, envelope) {
            requester.fail(envelope, why);
            return;
        }
        if let (Kind::Request(id), Party::Server) = (envelope.kind, envelope.party)
            && let Some(channel) = self.hub.channel_of(self.session, envelope.channel)
        {
            let asked = self.asked(channel, id);
            self.hub.requests.settle(asked, Err(why));
        }
    }
}

/// Ends the connection of a client on the operator's word.
pub(super) fn kick(hub: &Hub, target: &crate::Target) -> Result<(), Error> {
    let peer = hub.resolve(target)?;
    let tables = hub.tables();
    let slot = tables.names.get(peer).and_then(pysock_proto::registry::Entry::slot);
    if let Some(session) = slot.and_then(|slot| tables.sessions.get(&slot)) {
        session.outbox.end(CloseReason::Kicked, false);
    }
    Ok(())
}
