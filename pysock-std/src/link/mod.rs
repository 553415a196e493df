//! One connection over one socket: lends buffers to the core, keeps its deadlines, moves its bytes.
//!
//! Everything here is driven by readiness, and no await holds bytes that would be lost if it were cancelled.

mod large;
mod memory;
mod messages;
mod receiving;
mod relaying;
mod run;
mod sending;
mod wait;
mod ways;

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use pysock_proto::{
    Connection, Env, Ephemeral, Error as Ended, Event, Instant, Keypair, Limits, MIN_RECORD, RxBuf,
    SecretKey, TxBuf,
};
use tokio::{
    io::{AsyncRead as _, ReadBuf},
    net::TcpStream,
};

pub(crate) use messages::Messages;
pub(crate) use receiving::{Budget, Destination, Receiving};
pub(crate) use run::{Counters, End, Handler, Surroundings, Verdict, Wait};
pub(crate) use sending::{Filled, Turn};
pub(crate) use ways::In;

use crate::Error;

/// The primitives of the desktop.
pub(crate) type C = crate::crypto::Native;

/// Bytes of one large message that may be under way, as this side announces it: with half of it, a sender on the same machine
/// waits for credit; with more, receivers that rest hold up more of the server's memory.
pub(crate) const WINDOW: u32 = 512 * 1024;

/// What a record has around a message at least, in bytes: header and envelope of its frame, and the tag.
const AROUND: usize = 3 + 2 + 16;

/// What this side announces. A message longer than `message` fits no record: it has to be streamed, and is refused as it
/// begins.
pub(crate) fn limits(record: u16, message: usize, idle_secs: u16) -> Limits {
    let longest = u16::try_from(message.saturating_add(AROUND)).unwrap_or(u16::MAX);
    let record = record.min(longest).max(MIN_RECORD);
    Limits { record, idle_secs, window: WINDOW, ..Limits::DESKTOP }
}

/// The core's clock: milliseconds since the program's first connection.
#[derive(Clone, Copy)]
pub(crate) struct Clock(tokio::time::Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Clock(tokio::time::Instant::now())
    }

    pub(crate) fn now(self) -> Instant {
        // Rounded up, so that a timer that fires at a deadline finds it reached.
        let elapsed = self.0.elapsed();
        Instant::from_millis(elapsed.as_nanos().div_ceil(1_000_000) as u64)
    }

    pub(crate) fn at(self, instant: Instant) -> tokio::time::Instant {
        self.0 + std::time::Duration::from_millis(instant.as_millis())
    }
}

/// 32 bytes of the operating system's randomness.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|e| Error::Entropy(e.to_string()))?;
    Ok(bytes)
}

/// A fresh key pair for one handshake.
pub(crate) fn ephemeral() -> Result<Ephemeral, Error> {
    Ok(Ephemeral::new::<C>(random()?))
}

/// The long-term key with its public half.
pub(crate) fn identity(key: &SecretKey) -> Arc<Keypair<C>> {
    Arc::new(Keypair::new(key.clone()))
}

/// A connection with its socket. Between bursts it owns no buffers, unless bytes are unfinished.
pub(crate) struct Link {
    pub(crate) socket: TcpStream,
    pub(crate) conn: Connection<C>,
    rx: RxBuf<Vec<u8>>,
    tx: TxBuf<Vec<u8>>,
    identity: Arc<Keypair<C>>,
    pub(crate) clock: Clock,
}

impl Link {
    pub(crate) fn new(
        socket: TcpStream,
        conn: Connection<C>,
        identity: Arc<Keypair<C>>,
        clock: Clock,
    ) -> Self {
        // Small messages leave at once; what belongs together is packed here and not by the kernel.
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(%error, "the socket keeps delaying small segments");
        }
        let (rx, tx) = (RxBuf::new(Vec::new()), TxBuf::new(Vec::new()));
        Link { socket, conn, rx, tx, identity, clock }
    }

    /// What the core may look at.
    pub(crate) fn env(&self) -> Env<'_> {
        Env { now: self.clock.now(), identity: &*self.identity }
    }

    /// Runs the connection until `decide` has something to say, for the phase before it is open: flushes, writes,
    /// reads, hands over every event.
    pub(crate) async fn until<T>(
        &mut self,
        mut decide: impl FnMut(Event<'_>, &mut Connection<C>, &Env<'_>) -> Result<Option<T>, Ended>,
    ) -> Result<T, Ended> {
        loop {
            if let Some(found) = self.step(&mut decide)? {
                return Ok(found);
            }
            let sealed = self.tx.sealed().len();
            self.flush()?;
            if self.tx.sealed().len() > sealed && self.rx.pending() > 0 {
                // What came behind the message that is answered now had to wait for the answer, not for more bytes.
                continue;
            }
            let stuck = self.write().map_err(|_| Ended::Truncated)?;
            self.rest();
            let deadline = self.conn.deadline().map(|at| self.clock.at(at));
            let timer = tokio::time::sleep_until(deadline.unwrap_or_else(far_away));
            tokio::select! {
                ready = self.socket.readable() => ready.map_err(|_| Ended::Truncated)?,
                ready = self.socket.writable(), if stuck => ready.map_err(|_| Ended::Truncated)?,
                () = timer => {}
            }
        }
    }

    /// Deals with everything that can be read now.
    fn step<T>(
        &mut self,
        decide: &mut impl FnMut(Event<'_>, &mut Connection<C>, &Env<'_>) -> Result<Option<T>, Ended>,
    ) -> Result<Option<T>, Ended> {
        loop {
            let env = Env { now: self.clock.now(), identity: &*self.identity };
            // What is unfinished waits in memory of its own size, too small for the rest.
            memory::borrow_rx(&mut self.rx);
            let mut view = self.rx.lend();
            while let Some(event) = self.conn.receive(&mut view, &env)? {
                if let Some(found) = decide(event, &mut self.conn, &env)? {
                    return Ok(Some(found));
                }
            }
            match self.read() {
                Ok(0) => return Err(self.conn.end_of_input().err().unwrap_or(Ended::Ended)),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(_) => return Err(Ended::Truncated),
            }
        }
    }

    /// Reads what is there. 0: the other side has shut its half down.
    fn read(&mut self) -> io::Result<usize> {
        memory::borrow_rx(&mut self.rx);
        let n = self.socket.try_read(self.rx.space())?;
        self.rx.filled(n);
        Ok(n)
    }

    /// As [`read`](Self::read), and spares the kernel the question whether there is more after a read that was short.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        std::task::ready!(self.socket.poll_read_ready(cx))?;
        memory::borrow_rx(&mut self.rx);
        let mut space = ReadBuf::new(self.rx.space());
        std::task::ready!(Pin::new(&mut self.socket).poll_read(cx, &mut space))?;
        let n = space.filled().len();
        self.rx.filled(n);
        Poll::Ready(Ok(n))
    }

    pub(crate) fn flush(&mut self) -> Result<(), Ended> {
        self.flush_at(self.clock.now())
    }

    fn flush_at(&mut self, now: Instant) -> Result<(), Ended> {
        memory::borrow_tx(&mut self.tx);
        let env = Env { now, identity: &*self.identity };
        self.conn.flush(&mut self.tx.lend(), &env)
    }

    /// Writes what is sealed. `true`: the socket takes no more now.
    pub(crate) fn write(&mut self) -> io::Result<bool> {
        while !self.tx.sealed().is_empty() {
            match self.socket.try_write(self.tx.sealed()) {
                Ok(n) => self.tx.written(n),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// Gives memory back that nothing is in.
    fn rest(&mut self) {
        memory::return_rx(&mut self.rx);
        memory::return_tx(&mut self.tx);
    }

    /// Says what may still be said after an error, as far as the socket takes it at once, and hangs up.
    pub(crate) fn farewell(&mut self) {
        if self.flush().is_ok() {
            let _ = self.write();
        }
        self.rest();
    }
}

/// A moment that does not come.
fn far_away() -> tokio::time::Instant {
    tokio::time::Instant::now() + std::time::Duration::from_secs(86_400 * 365)
}
