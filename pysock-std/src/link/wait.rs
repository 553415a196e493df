//! What an open connection waits for between two turns.

use std::{
    future::{Future as _, poll_fn},
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use pysock_proto::CloseReason;
use tokio::time::{Instant, Sleep};

use super::{
    far_away,
    run::{End, Handler, Life},
};

/// How long a connection with low latency looks out for what comes next before it goes to sleep: somewhat longer than it
/// takes to be woken.
const LOOK_OUT: Duration = Duration::from_micros(100);

/// How often the alarm is moved away at most.
const MOVE_ONCE_IN: Duration = Duration::from_secs(1);

/// The timer of a connection. Its deadlines move away with everything that arrives, and to move a timer each time costs as
/// much as a small message: so it follows at once only to what comes earlier, and otherwise once a second. It may ring in
/// vain after a lively second, and is exact for a connection that rests.
pub(super) struct Alarm {
    sleep: Pin<Box<Sleep>>,
    moved: Instant,
}

impl Alarm {
    pub(super) fn new() -> Self {
        Alarm { sleep: Box::pin(tokio::time::sleep_until(far_away())), moved: Instant::now() }
    }

    /// Sets it: it rings at `until`, or before. `now` is about now.
    fn set(&mut self, until: Instant, now: Instant) {
        let at = self.sleep.deadline();
        if until < at || self.sleep.is_elapsed() || (until > at && now >= self.moved + MOVE_ONCE_IN)
        {
            self.sleep.as_mut().reset(until);
            self.moved = now;
        }
    }

    fn poll_ring(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.sleep.as_mut().poll(cx)
    }
}

impl<H: Handler> Life<'_, H> {
    /// Waits for whatever comes first.
    pub(super) async fn wait(&mut self) -> Result<(), End> {
        self.alarm.set(self.until(), self.link.clock.at(self.now));
        let awake_until = self.around.low_latency.then(|| std::time::Instant::now() + LOOK_OUT);
        // By hand and not of many futures: what a connection keeps while it waits is most of what it costs.
        poll_fn(|cx| self.poll_wait(cx, awake_until)).await?;
        self.check()
    }

    /// When something is due although nothing happens.
    fn until(&self) -> Instant {
        let at = |instant| self.link.clock.at(instant);
        let handler = self.handler.deadline().filter(|_| self.served);
        let deadlines = [self.link.conn.deadline().map(at), handler.map(at)];
        deadlines.into_iter().chain(self.limits()).flatten().min().unwrap_or_else(far_away)
    }

    /// When something will have waited for too long.
    fn limits(&self) -> [Option<Instant>; 4] {
        let stalled = self.stuck_since.map(|since| since + self.around.stall);
        let linger = self.ending.map(|(_, linger)| linger);
        let patience = self.around.outbox.patience_with_sources();
        [stalled, linger, self.too_slow_at(), self.sending.messages.judgement(patience)]
    }

    /// When a receiver that holds up others has done so for too long.
    fn too_slow_at(&self) -> Option<Instant> {
        match (self.ending, self.around.outbox.patience()) {
            (None, Some(patience)) => {
                self.sending.messages.holds_up_since().map(|since| since + patience)
            }
            _ => None,
        }
    }

    fn poll_wait(
        &mut self,
        cx: &mut Context<'_>,
        awake_until: Option<std::time::Instant>,
    ) -> Poll<Result<(), End>> {
        let socket = &self.link.socket;
        if let Some(wait) = &mut self.blocked
            && wait.as_mut().poll(cx).is_ready()
        {
            (self.blocked, self.leftover) = (None, true);
            return Poll::Ready(Ok(()));
        }
        if self.blocked.is_none()
            && self.reading
            && let Poll::Ready(ready) = socket.poll_read_ready(cx)
        {
            return Poll::Ready(ready.map_err(End::Io));
        }
        if self.around.outbox.line.poll_woken(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        if self.stuck_since.is_some()
            && let Poll::Ready(ready) = socket.poll_write_ready(cx)
        {
            return Poll::Ready(ready.map_err(End::Io));
        }
        if self.alarm.poll_ring(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        if awake_until.is_some_and(|until| std::time::Instant::now() < until) {
            // Once round: others run, the runtime looks at its sockets, and whoever shares the core, perhaps the other side, is not
            // kept from it.
            std::thread::yield_now();
            let _ = pin!(tokio::task::yield_now()).poll(cx);
        }
        Poll::Pending
    }

    /// What has waited for too long?
    pub(super) fn check(&mut self) -> Result<(), End> {
        let Some(limit) = self.limits().into_iter().flatten().min() else { return Ok(()) };
        let now = Instant::now();
        if now < limit {
            return Ok(());
        }
        self.sending.messages.judge_sources(&self.around.outbox, now);
        if self.stuck_since.is_some_and(|since| now >= since + self.around.stall) {
            return Err(End::Stalled);
        }
        if self.too_slow_at().is_some_and(|at| now >= at) {
            tracing::debug!("a receiver grants too little credit and is disconnected");
            self.around.outbox.end(CloseReason::TooSlow, false);
        }
        if self.ending.is_some_and(|(_, linger)| now >= linger) {
            return Err(self.over());
        }
        Ok(())
    }
}
