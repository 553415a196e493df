//! What an open connection waits for between two turns.

use std::{pin::Pin, time::Duration};

use pysock_proto::CloseReason;
use tokio::time::{Instant, Sleep};

use super::{
    far_away,
    run::{End, Handler, Life, Wait},
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

    async fn rings(&mut self) {
        self.sleep.as_mut().await;
    }
}

impl<H: Handler> Life<'_, H> {
    /// Waits for whatever comes first.
    pub(super) async fn wait(&mut self) -> Result<(), End> {
        let conn = &self.link.conn;
        let deadline = conn.deadline().into_iter().chain(self.handler.deadline()).min();
        let mut until = deadline.map_or_else(far_away, |at| self.link.clock.at(at));
        let stuck = self.stuck_since;
        if let Some(since) = stuck {
            until = until.min(since + self.around.stall);
        }
        if let Some((_, linger)) = self.ending {
            until = until.min(linger);
        }
        let too_slow_at = match (self.ending, self.around.outbox.patience()) {
            (None, Some(patience)) => {
                self.sending.messages.holds_up_since().map(|since| since + patience)
            }
            _ => None,
        };
        if let Some(at) = too_slow_at {
            until = until.min(at);
        }
        self.alarm.set(until, self.link.clock.at(self.now));
        let mut looks_out = self.around.low_latency;
        loop {
            let blocked = &mut self.blocked;
            let socket = &self.link.socket;
            tokio::select! {
                biased;
                ready = socket.readable(), if self.reading && blocked.is_none() => ready.map_err(End::Io)?,
                () = self.around.outbox.line.woken() => {}
                ready = socket.writable(), if stuck.is_some() => ready.map_err(End::Io)?,
                () = wait_for(blocked) => {
                    (self.blocked, self.leftover) = (None, true);
                    return Ok(());
                }
                () = look_out(), if looks_out => {
                    looks_out = false;
                    continue;
                }
                () = self.alarm.rings() => {}
            }
            break;
        }
        if stuck.is_none() && too_slow_at.is_none() && self.ending.is_none() {
            return Ok(());
        }
        let now = Instant::now();
        if stuck.is_some_and(|since| now >= since + self.around.stall) {
            return Err(End::Stalled);
        }
        if too_slow_at.is_some_and(|at| now >= at) {
            tracing::debug!("a receiver grants too little credit and is disconnected");
            self.around.outbox.end(CloseReason::TooSlow, false);
        }
        if self.ending.is_some_and(|(_, linger)| now >= linger) {
            return Err(self.over());
        }
        Ok(())
    }
}

/// Waits for what blocks, or for ever.
async fn wait_for(blocked: &mut Option<Wait>) {
    match blocked {
        Some(wait) => wait.await,
        None => std::future::pending().await,
    }
}

/// Keeps the thread awake for a moment. Others run, and the runtime looks at its sockets, each time round.
async fn look_out() {
    let until = std::time::Instant::now() + LOOK_OUT;
    while std::time::Instant::now() < until {
        tokio::task::yield_now().await;
    }
}
