//! The life of a client: connected, lost, connected again, until there is proof that it should not be.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use pysock_proto::{Connection, Env, Envelope, Event, Failure, Kind, PeerId, TxBuf, Unit};

use super::{
    finds::Answer,
    peers::PeerTask,
    shared::{Shared, Status},
};
use crate::{
    Error, Message,
    link::{self, C, Destination, End, Filled, Handler, Link, Surroundings, Verdict},
    message::Path,
    outbox::Author,
    payload::Payload,
    reply::Replier,
    transfer::Origin,
};

/// The wait before the first new attempt, on average.
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// The longest wait between attempts, on average.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// A connection that lived so long makes the next wait short again.
const SETTLED: Duration = Duration::from_secs(2);

/// What the client's task ends with.
pub(super) type Ended = Result<(), Error>;

/// Keeps the client connected until it is closed, or told by the authenticated server to stay away.
pub(super) async fn drive(shared: Arc<Shared>, link: Link) -> Ended {
    let ended = keep_connected(&shared, link).await;
    match &ended {
        Ok(()) => shared.end("it was closed"),
        Err(error) => {
            tracing::info!(%error, "the client is over");
            shared.end(&error.to_string());
        }
    }
    ended
}

async fn keep_connected(shared: &Arc<Shared>, first: Link) -> Ended {
    let mut link = first;
    let mut peers = PeerTask::new(shared);
    let mut wait = FIRST_WAIT;
    loop {
        let since = tokio::time::Instant::now();
        let end = live(shared, &mut peers, &mut link).await;
        drop(link);
        shared.lose_connection();
        let mut why = match end {
            End::Here(_, true) => return Ok(()),
            End::Here(_, false) => return Err(Error::Disconnected),
            End::Closed(why) => Error::Closed(why),
            End::Refused(reason) => Error::Refused { name: shared.name.as_str().into(), reason },
            End::Broken(source) => Error::Handshake { address: shared.address(), source },
            End::Io(source) => Error::Connect { address: shared.address(), source },
            End::Stalled => Error::Disconnected,
        };
        if since.elapsed() >= SETTLED {
            wait = FIRST_WAIT;
        }
        link = loop {
            let final_word = match &why {
                Error::Closed(_) | Error::Refused { .. } => !why.is_temporary(),
                // What nothing authenticated says is tried again; what only the operator can mend is not.
                Error::Config(_)
                | Error::State(_)
                | Error::Entropy(_)
                | Error::UnknownServer { .. } => true,
                _ => false,
            };
            if final_word || !shared.config.reconnect {
                return Err(why);
            }
            tracing::info!(error = %why, "connecting again");
            shared.status.send_replace(Status::Reconnecting(why.to_string().into()));
            if !pause(shared, jittered(wait)).await {
                return Err(Error::Disconnected);
            }
            wait = (wait * 2).min(LONGEST_WAIT);
            match shared.connect().await {
                Ok(link) => {
                    shared.begin_connection();
                    peers.reconnected();
                    break link;
                }
                Err(error) => why = error,
            }
        };
    }
}

/// Between half and one and a half of `wait`, so that a thousand clients do not return in step.
fn jittered(wait: Duration) -> Duration {
    let random = link::random::<1>().map_or(128, |[byte]| byte);
    wait.mul_f64(0.5 + f64::from(random) / 256.0)
}

/// Waits. `false`: the program has closed the client meanwhile.
async fn pause(shared: &Shared, wait: Duration) -> bool {
    let until = tokio::time::Instant::now() + wait;
    loop {
        if shared.outbox.ending().is_some() {
            return false;
        }
        tokio::select! {
            () = tokio::time::sleep_until(until) => return true,
            () = shared.outbox.line.woken() => {}
        }
    }
}

async fn live(shared: &Arc<Shared>, peers: &mut PeerTask, link: &mut Link) -> End {
    let around = Surroundings {
        outbox: shared.outbox.clone(),
        budget: shared.budget.clone(),
        counters: shared.counters.clone(),
        stall: Duration::from_secs(shared.config.idle_timeout.into()),
        low_latency: shared.config.low_latency,
    };
    link.live(&mut Listening { shared, peers }, &around).await
}

/// What a client does with what its server sends.
struct Listening<'a> {
    shared: &'a Arc<Shared>,
    peers: &'a mut PeerTask,
}

impl Listening<'_> {
    /// By which channel it came, and who sent it.
    fn path(&self, envelope: &Envelope) -> Result<Arc<Path>, Failure> {
        let channel = self.shared.channels.name(envelope.channel).ok_or(Failure::NoChannel)?;
        let sender = self.shared.sender(envelope.party).ok_or(Failure::NoPeer)?;
        Ok(Arc::new(Path { sender, channel }))
    }

    /// Hands it to whoever waits for it.
    fn deliver(&self, envelope: &Envelope, path: Arc<Path>, payload: Payload) -> Verdict {
        // Unless the program takes it, a request is answered with a failure as this is dropped.
        let replier = Replier::to(&self.shared.outbox, envelope);
        if let (Kind::Reply(_), Payload::One(bytes)) = (envelope.kind, &payload) {
            self.shared.replied(envelope, Ok(Message::new(path, bytes.clone(), None)));
            return Verdict::Go;
        }
        match self.shared.channels.sink(envelope.channel) {
            Some(sink) => sink.deliver(path, payload, replier),
            None => Verdict::Go,
        }
    }
}

impl Handler for Listening<'_> {
    fn message(&mut self, envelope: Envelope, payload: Payload) -> Verdict {
        match self.path(&envelope) {
            Ok(path) => self.deliver(&envelope, path, payload),
            Err(why) => {
                tracing::debug!(?envelope, %why, "a message from nowhere");
                // A request is answered with a failure.
                drop(Replier::to(&self.shared.outbox, &envelope));
                Verdict::Go
            }
        }
    }

    fn collected(&mut self, envelope: Envelope, path: Option<Arc<Path>>, bytes: Bytes) -> Verdict {
        match path {
            Some(path) => self.deliver(&envelope, path, Payload::One(bytes)),
            None => self.message(envelope, Payload::One(bytes)),
        }
    }

    fn begin(
        &mut self,
        envelope: Envelope,
        length: Option<u64>,
        origin: Origin,
    ) -> (Destination, Verdict) {
        let limit = self.shared.config.max_message;
        let path = match self.path(&envelope) {
            Ok(path) => path,
            Err(why) => return (Destination::Refuse(why), Verdict::Go),
        };
        match (envelope.kind, self.shared.channels.sink(envelope.channel)) {
            (Kind::Message, Some(sink)) => sink.begin(path, length, origin, limit),
            (Kind::Message | Kind::Request(_), None) => {
                (Destination::Refuse(Failure::NoResponder), Verdict::Go)
            }
            // Requests and replies are delivered whole.
            _ => (Destination::Collect { limit, path: Some(path) }, Verdict::Go),
        }
    }

    fn relay(&mut self, peer: PeerId, unit: Unit, bytes: &mut [u8], env: &Env<'_>) -> Verdict {
        self.peers.relay(peer, unit, bytes, env)
    }

    fn fill(&mut self, conn: &mut Connection<C>, tx: &mut TxBuf<Vec<u8>>, env: &Env<'_>) -> Filled {
        self.peers.fill(conn, tx, env)
    }

    fn part(&mut self, env: &Env<'_>) -> bool {
        self.peers.part(env)
    }

    fn deadline(&self) -> Option<pysock_proto::Instant> {
        self.peers.deadline()
    }

    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Opened { id, result } => self.shared.opened(id, result),
            Event::Found { query, peer } => {
                let epoch = self.shared.outbox.epoch();
                self.shared.finds.settle(query, Answer { peer, epoch });
            }
            Event::Peer(peer) => {
                self.peers.named(&peer);
                self.shared.announced(peer);
            }
            Event::RelayFailed { peer, failure } => self.peers.unreachable(peer, failure),
            Event::Failed { envelope, failure } => self.shared.failed(envelope, failure),
            _ => {}
        }
    }
}
