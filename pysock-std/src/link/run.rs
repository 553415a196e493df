//! The life of an open connection: one task that reads, writes and keeps time for it.

use std::{
    future::{Future, poll_fn},
    io,
    pin::Pin,
    sync::Arc,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use pysock_proto::{
    CloseReason, Connection, Env, Envelope, Error as Ended, Event, PeerId, Refusal, TxBuf, Unit,
};
use tokio::time::Instant;

use super::{
    C, Destination, Link, Receiving,
    receiving::Budget,
    sending::{Filled, Sending},
    wait::Alarm,
};
use crate::{
    line::Control,
    message::Path,
    outbox::{Ending, Outbox},
    payload::{Payload, gather},
    transfer::Origin,
};

/// What a connection may read before others have their turn, in bytes.
const BURST: usize = 64 * 1024;
/// How long this side tries to send what is queued and its close, once it is ending.
const LINGER: Duration = Duration::from_secs(5);

/// Something that has to be waited for before more is read.
pub(crate) type Wait = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Whether reading may go on.
pub(crate) enum Verdict {
    Go,
    /// A receiver is full: nothing more is read from this connection until it has room.
    Wait(Wait),
}

/// What a side of a connection does with what arrives.
pub(crate) trait Handler: Send {
    /// A message, whole, or several one-way ones with the same envelope.
    fn message(&mut self, envelope: Envelope, payload: Payload) -> Verdict;

    /// A large message that was collected. Its sender is who it was as it began: meanwhile others may have taken that one's
    /// place among the peers that are remembered.
    fn collected(&mut self, envelope: Envelope, _path: Option<Arc<Path>>, bytes: Bytes) -> Verdict {
        self.message(envelope, Payload::One(bytes))
    }

    /// A large message begins: what is to become of it?
    fn begin(
        &mut self,
        envelope: Envelope,
        length: Option<u64>,
        origin: Origin,
    ) -> (Destination, Verdict);

    /// A sealed unit: on a server for this peer, on a client from it.
    fn relay(&mut self, peer: PeerId, unit: Unit, bytes: &mut [u8], env: &Env<'_>) -> Verdict;

    /// Moves what goes to other clients, end to end, into `tx`.
    fn fill(
        &mut self,
        _conn: &mut Connection<C>,
        _tx: &mut TxBuf<Vec<u8>>,
        _env: &Env<'_>,
    ) -> Filled {
        Filled::All
    }

    /// Nothing more is to be sent to other clients. `true` once they know, or need not.
    fn part(&mut self, _env: &Env<'_>) -> bool {
        true
    }

    /// When [`fill`](Self::fill) has something to do although nothing arrives.
    fn deadline(&self) -> Option<pysock_proto::Instant> {
        None
    }

    /// Anything else.
    fn event(&mut self, event: Event<'_>);
}

/// Why a connection is over.
#[derive(Debug)]
pub(crate) enum End {
    /// The other side closed, authenticated.
    Closed(CloseReason),
    /// The other side, a server, does not admit us, authenticated.
    Refused(Refusal),
    /// This side closed; `true` if the other confirmed that it had read everything.
    Here(CloseReason, bool),
    /// It broke, and nothing proves who did it.
    Broken(Ended),
    Io(io::Error),
    /// The other side takes nothing: it was disconnected.
    Stalled,
}

/// What a server or a client counts over all its connections.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) wakeups: AtomicU64,
    pub(crate) received: AtomicU64,
}

/// What the life of a connection needs from outside.
pub(crate) struct Surroundings {
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) budget: Budget,
    pub(crate) counters: Arc<Counters>,
    /// How long the socket may take nothing at all.
    pub(crate) stall: Duration,
    /// Look out for what comes next for a moment, instead of going to sleep at once.
    pub(crate) low_latency: bool,
}

pub(super) struct Life<'a, H> {
    pub(super) link: &'a mut Link,
    pub(super) handler: &'a mut H,
    pub(super) around: &'a Surroundings,
    pub(super) sending: Sending,
    receiving: Receiving,
    pub(super) blocked: Option<Wait>,
    /// The other side may still send something.
    pub(super) reading: bool,
    /// Bytes may be left that were received and not yet looked at.
    pub(super) leftover: bool,
    closed: Option<End>,
    /// This side began the close.
    closed_here: bool,
    pub(super) ending: Option<(Ending, Instant)>,
    pub(super) stuck_since: Option<Instant>,
    pub(super) alarm: Alarm,
    /// Something may have to be moved although nothing was queued.
    due: bool,
    /// The handler has done what was due. Otherwise it waits for room, and not for a time.
    pub(super) served: bool,
    /// When this turn began.
    pub(super) now: pysock_proto::Instant,
}

impl Link {
    /// Lives until the connection is over. What was queued and not begun is back in the outbox then.
    pub(crate) async fn live<H: Handler>(&mut self, handler: &mut H, around: &Surroundings) -> End {
        let receiving = Receiving::new(around.budget.clone(), &around.outbox);
        let mut life = Life {
            now: self.clock.now(),
            link: self,
            handler,
            around,
            sending: Sending::default(),
            receiving,
            blocked: None,
            reading: true,
            leftover: true,
            closed: None,
            closed_here: false,
            ending: None,
            stuck_since: None,
            alarm: Alarm::new(),
            due: true,
            served: false,
        };
        let end = loop {
            match life.turn().await {
                Ok(()) => {}
                Err(end) => break end,
            }
        };
        life.sending.messages.give_back(&around.outbox);
        if matches!(end, End::Broken(_)) {
            self.farewell();
        }
        end
    }
}

impl<H: Handler> Life<'_, H> {
    /// One wake-up: read, write, wait.
    async fn turn(&mut self) -> Result<(), End> {
        self.around.counters.wakeups.fetch_add(1, Ordering::Relaxed);
        if self.around.outbox.is_cut() {
            return Err(self.over());
        }
        // A turn is short, and to ask for the time costs as much as to handle a message.
        self.now = self.link.clock.now();
        let mut again = false;
        if self.blocked.is_none() && self.reading {
            again |= poll_fn(|cx| Poll::Ready(self.read(cx))).await?;
        }
        again |= self.write()?;
        if self.link.conn.is_over() && self.stuck_since.is_none() {
            return Err(self.over());
        }
        if again {
            // Who sends without a pause has no more patience for it.
            self.check()?;
            tokio::task::yield_now().await;
            return Ok(());
        }
        self.link.rest();
        self.wait().await
    }

    pub(super) fn over(&mut self) -> End {
        match (self.closed.take(), self.ending) {
            (Some(end @ End::Refused(_)), _) => end,
            (Some(End::Closed(answer)), Some((ending, _))) if self.closed_here => {
                End::Here(ending.why, answer == CloseReason::Answered)
            }
            (Some(end), _) => end,
            (None, Some((ending, _))) => End::Here(ending.why, false),
            (None, None) => End::Broken(Ended::Ended),
        }
    }

    /// Reads and handles what is there. `true`: there may be more, but others have their turn first.
    fn read(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let mut total = 0;
        loop {
            if self.leftover {
                self.handle()?;
                if self.blocked.is_some() || !self.reading {
                    return Ok(false);
                }
                self.leftover = false;
            }
            if total >= BURST {
                return Ok(true);
            }
            match self.link.poll_read(cx) {
                Poll::Ready(Ok(0)) => {
                    self.reading = false;
                    return self.link.conn.end_of_input().map(|()| false).map_err(End::Broken);
                }
                Poll::Ready(Ok(n)) => {
                    total += n;
                    self.leftover = true;
                }
                Poll::Pending => return Ok(false),
                Poll::Ready(Err(error)) => return Err(End::Io(error)),
            }
        }
    }

    /// Handles what has been received.
    fn handle(&mut self) -> Result<(), End> {
        let Link { conn, rx, identity, .. } = &mut *self.link;
        let env = Env { now: self.now, identity: &**identity };
        // What is unfinished waits in memory of its own size, too small for the rest.
        super::memory::borrow_rx(rx);
        let mut view = rx.lend();
        while let Some(event) = conn.receive(&mut view, &env).map_err(End::Broken)? {
            // What arrives may make something due, unless it only goes to the program.
            self.due |= !matches!(event, Event::Message { .. } | Event::Handled);
            let verdict = match event {
                Event::Message { envelope, bytes } => {
                    self.receiving.interrupted(&envelope, conn);
                    let more = conn.receive_block(&mut view, &envelope).map_err(End::Broken)?;
                    let payload = gather(&envelope, bytes, more);
                    let count = payload.count() as u64;
                    self.around.counters.received.fetch_add(count, Ordering::Relaxed);
                    self.handler.message(envelope, payload)
                }
                Event::Begin { stream, envelope, length } => {
                    self.receiving.interrupted(&envelope, conn);
                    let origin = self.receiving.origin(stream);
                    let (to, verdict) = self.handler.begin(envelope, length, origin);
                    self.receiving.begin(stream, envelope, length, to, conn);
                    verdict
                }
                Event::Chunk { stream, bytes } => {
                    self.receiving.chunk(stream, bytes, conn);
                    Verdict::Go
                }
                Event::End(stream) => match self.receiving.end(stream) {
                    Some((envelope, path, bytes)) => {
                        self.around.counters.received.fetch_add(1, Ordering::Relaxed);
                        self.handler.collected(envelope, path, bytes)
                    }
                    None => Verdict::Go,
                },
                Event::Aborted { stream, failure } => {
                    self.receiving.aborted(stream, failure);
                    Verdict::Go
                }
                Event::Stopped { stream, failure } => {
                    self.sending.messages.stopped(stream, failure, &self.around.outbox);
                    Verdict::Go
                }
                Event::Relay { peer, unit, bytes } => self.handler.relay(peer, unit, bytes, &env),
                Event::Closed(why) => {
                    self.reading = false;
                    self.closed = Some(End::Closed(why));
                    // What is queued still goes out before the answer.
                    let answer = Ending { why: CloseReason::Answered, drain: true };
                    self.ending.get_or_insert((answer, Instant::now() + LINGER));
                    Verdict::Go
                }
                Event::Refused(why) => {
                    self.reading = false;
                    self.closed = Some(End::Refused(why));
                    Verdict::Go
                }
                Event::Credit(_) | Event::Handled => Verdict::Go,
                other => {
                    self.handler.event(other);
                    Verdict::Go
                }
            };
            if let Verdict::Wait(wait) = verdict {
                self.blocked = Some(wait);
                return Ok(());
            }
        }
        Ok(())
    }

    /// Fills, seals and writes as long as the socket takes it. `true`: more could go, but others have their turn first.
    fn write(&mut self) -> Result<bool, End> {
        let mut rounds = 0;
        loop {
            let filled = self.fill();
            let now = self.now;
            let due = self.link.conn.deadline().is_some_and(|at| at <= now);
            match self.link.flush_at(now) {
                // Leaving bytes unread on purpose is no silence of the other side.
                Ok(()) if due && self.blocked.is_some() => self.link.conn.not_reading(now),
                Ok(()) => {}
                Err(Ended::CloseTimeout) => return Err(self.over()),
                Err(error) => return Err(End::Broken(error)),
            }
            let before = self.link.tx.sealed().len();
            let stuck = self.link.write().map_err(End::Io)?;
            let taken = before.saturating_sub(self.link.tx.sealed().len());
            self.around.outbox.taken(taken);
            if stuck {
                if taken > 0 || self.stuck_since.is_none() {
                    self.stuck_since = Some(Instant::now());
                }
                return Ok(false);
            }
            self.stuck_since = None;
            if filled == Filled::All {
                return Ok(false);
            }
            rounds += 1;
            if rounds == 8 {
                return Ok(true);
            }
        }
    }

    /// Moves what is queued into the transmit buffer, and begins the close once it is due.
    fn fill(&mut self) -> Filled {
        if !self.has_to_fill() {
            return Filled::All;
        }
        let filled = self.fill_now();
        self.due = filled == Filled::Full;
        filled
    }

    /// Whether there can be anything to move: looking at every queue costs more than most messages do.
    fn has_to_fill(&mut self) -> bool {
        self.around.outbox.line.was_rung()
            || self.due
            || self.ending.is_some()
            || !self.sending.is_idle()
            || self.handler.deadline().is_some_and(|at| at <= self.now)
    }

    fn fill_now(&mut self) -> Filled {
        let Link { conn, tx, identity, .. } = &mut *self.link;
        let env = Env { now: self.now, identity: &**identity };
        let outbox = &*self.around.outbox;
        if self.ending.is_none() {
            let asked = outbox.lock().ending;
            self.ending = asked.map(|ending| (ending, Instant::now() + LINGER));
            self.closed_here = self.ending.is_some() && self.closed.is_none();
        }
        self.served = false;
        if conn.is_over() {
            return Filled::All;
        }
        super::memory::borrow_tx(tx);
        let receiving = &mut self.receiving;
        let inward = |control, conn: &mut Connection<C>| match control {
            Control::Consumed { stream, turn, bytes } => {
                receiving.consumed((stream, turn), bytes, conn);
            }
            Control::Stop { stream, turn, why } => receiving.stop((stream, turn), why, conn),
            _ => {}
        };
        if self.sending.control(conn, tx, outbox, inward) == Filled::Full {
            return Filled::Full;
        }
        match self.ending {
            Some((Ending { why, drain: false }, _)) => conn.close(why),
            _ => {
                if conn.is_open() {
                    self.served = self.handler.fill(conn, tx, &env) == Filled::All;
                    if self.sending.fill(conn, tx, outbox) == Filled::Full || !self.served {
                        return Filled::Full;
                    }
                }
                if let Some((Ending { why, .. }, _)) = self.ending
                    && self.sending.messages.is_idle()
                    && outbox.lock().is_empty()
                    && (!self.closed_here || self.handler.part(&env))
                {
                    conn.close(why);
                }
            }
        }
        Filled::All
    }
}
