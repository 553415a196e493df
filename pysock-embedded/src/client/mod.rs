//! The client: everything it does but moving bytes.
//!
//! It holds the connection, what it knows of channels and sessions, and when to try again. A driver gives it the bytes of a
//! link and takes what it wants to send:
//!
//! ```text
//!            ┌───────────────────────────────────────────────────────────────────────────────┐
//!            ▼                                                                               │
//!   connect_at() has come: begin(now), open a link                                           │
//!   read into buffers().0, filled(n)                 the end of the link: lost(now, …) ──────┤
//!   process(now, on_event)                           at most what `filled` has brought       │
//!   write buffers().1, written(n)                    is_over() and nothing to write: ────────┘
//!   wait for the link or deadline()
//! ```
//! [`blocking`](crate::blocking), [`io_async`](crate::io_async) and, with the feature of that name, `smoltcp` are such drivers. All of them
//! call the program's handler with one [`Event`] at a time and with the client itself, so that it can answer at once.

mod channels;
mod event;
mod memory;
mod peers;
mod process;
mod requests;
mod search;
mod setup;
mod streams;
mod verbs;

pub use crate::value::{LONGEST_VALUE, ValueError};
pub use channels::ChannelError;
pub use event::{Address, Ended, Event, Message, Stream, Target, Why};
pub use memory::Memory;
pub use peers::SessionError;
pub use setup::Setup;

use core::{fmt, mem};

use self::{
    memory::{Parts, State},
    search::Search,
};
use crate::{
    entropy::{NoEntropy, draw},
    proto::{
        self, ClientSetup, CloseReason, Connection, Env, Ephemeral, Expect, Instant, Limits,
        PeerInfo, PublicKey, RustCrypto, RxBuf, SendError, Suite, TxBuf,
        peer::{HalfOpen, Peer, Peers},
        store::Lent,
    },
};

pub(crate) type Sessions<'m> = Peers<RustCrypto, Lent<'m, Peer>, Lent<'m, HalfOpen>>;

/// What a program does with an event. It is called with the client, so it can answer at once.
pub type OnEvent<'h, 'm> = dyn FnMut(&mut Client<'m>, Event<'_>) + 'h;

/// How long reaching the server and the handshake with it may take together: chips are slow, and networks far.
const HANDSHAKE_MILLIS: u64 = 30_000;
/// The first wait before another connection; each failure in a row doubles it.
const RETRY_MILLIS: u64 = 1_000;
/// It doubles up to 64 seconds.
const MOST_DOUBLINGS: u32 = 6;
/// How long the last bytes of a connection that is over may take to leave.
const FAREWELL_MILLIS: u64 = 5_000;
/// Senders that the server announces once and this client remembers.
const SENDERS: usize = Limits::SMALL.peers as usize;

/// A channel of a client: its place in the client's memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Channel(u8);

/// A client on a microcontroller, in [`Memory`] of the program. See the [module](self) for how it is driven, and
/// [`Event`] for what it tells.
pub struct Client<'m> {
    setup: Setup<'m>,
    limits: Limits,
    /// The server's key, once it is known.
    server: Option<PublicKey>,
    state: &'m mut State,
    rx: RxBuf<&'m mut [u8]>,
    tx: TxBuf<&'m mut [u8]>,
    channels: &'m mut heapless::VecView<channels::Slot>,
    sessions: Sessions<'m>,
    /// Whom there are sessions with, or were.
    contacts: &'m mut heapless::VecView<PeerInfo>,
    searches: &'m mut heapless::VecView<Search>,
    next_query: u16,
    /// The time of the last step.
    now: Instant,
    retry: Retry,
    ended: Option<Ended>,
    /// Of a connection that is over: when what is still to write is given up.
    farewell_by: Option<Instant>,
    /// Something of the program has found no room.
    turned_away: bool,
    /// Counts connections, so that what belongs to an earlier one is known.
    connection: u16,
}

/// When to connect.
struct Retry {
    at: Option<Instant>,
    failures: u32,
    /// The next connection only finds out which key the server has now.
    diagnose: bool,
}

impl<'m> Client<'m> {
    fn new(parts: Parts<'m>, setup: Setup<'m>, limits: Limits) -> Self {
        let Parts { rx, tx, state, channels, sessions, contacts, searches } = parts;
        Client {
            server: setup.server,
            setup,
            limits,
            state,
            rx: RxBuf::new(rx),
            tx: TxBuf::new(tx),
            channels,
            sessions,
            contacts,
            searches,
            next_query: 0,
            now: Instant::default(),
            retry: Retry { at: Some(Instant::default()), failures: 0, diagnose: false },
            ended: None,
            farewell_by: None,
            turned_away: false,
            connection: 0,
        }
    }

    /// When to [`begin`](Self::begin) another connection: `None` while there is one, and after a close or a refusal that
    /// says not to come back.
    pub fn connect_at(&self) -> Option<Instant> {
        if self.state.conn.is_some() { None } else { self.retry.at }
    }

    /// Whether a connection is under way, up, or to be written to its end.
    pub fn is_active(&self) -> bool {
        self.state.conn.is_some()
    }

    /// Whether the server has admitted this client, so that something can be sent.
    pub fn is_connected(&self) -> bool {
        self.state.conn.as_ref().is_some_and(Connection::is_open)
    }

    /// Driver: a connection is about to be opened. Reaching the server and the handshake together have 30 seconds from now.
    ///
    /// # Errors
    /// There is no randomness. That is fatal: do not go on with this client.
    pub fn begin(&mut self, now: Instant) -> Result<(), NoEntropy> {
        self.now = now;
        let random = draw(&mut *self.setup.entropy)?;
        let expect = match &self.server {
            Some(_) if self.retry.diagnose => Expect::Diagnose,
            Some(key) => Expect::Pinned(key),
            None => Expect::Unknown,
        };
        let setup = ClientSetup {
            name: &self.setup.name,
            limits: self.limits,
            expect,
            psk: self.setup.psk,
            suite: Suite::ChaChaPoly,
        };
        let by = now.after_millis(HANDSHAKE_MILLIS);
        self.state.conn =
            Some(Connection::client(&setup, Ephemeral::new::<RustCrypto>(*random), by));
        self.connection = self.connection.wrapping_add(1);
        self.clear();
        Ok(())
    }

    /// Driver: space to read into, and bytes to write.
    pub fn buffers(&mut self) -> (&mut [u8], &[u8]) {
        (self.rx.space(), self.tx.sealed())
    }

    /// Driver: so many bytes were read into the front of the space.
    pub fn filled(&mut self, n: usize) {
        self.rx.filled(n);
    }

    /// Driver: so many of the bytes to write were written.
    pub fn written(&mut self, n: usize) {
        self.tx.written(n);
    }

    /// Driver: whether the connection is over. What is still to write is a word of farewell; close the link after it, and
    /// say so with [`lost`](Self::lost).
    pub fn is_over(&self) -> bool {
        self.state.conn.as_ref().is_some_and(Connection::is_over)
    }

    /// Driver: the link has come to its end, or did not come about.
    pub fn lost(&mut self, now: Instant, on_event: &mut OnEvent<'_, 'm>) {
        self.now = now;
        let Some(conn) = &mut self.state.conn else { return };
        let cut = conn.end_of_input();
        // Dropped where it is: moved away, it would leave a copy of its secrets behind.
        self.state.conn = None;
        let why = match (self.ended.take(), cut) {
            (Some(why), _) => why,
            (None, Err(why)) => Ended::Failed(why),
            (None, Ok(())) => Ended::Failed(proto::Error::Truncated),
        };
        self.clear();
        self.over(why, on_event);
    }

    /// Driver: there is no way to the server at the moment. Instead of [`begin`](Self::begin), or after it.
    pub fn unreachable(&mut self, now: Instant, on_event: &mut OnEvent<'_, 'm>) {
        self.now = now;
        self.state.conn = None;
        self.clear();
        self.over(Ended::Unreachable, on_event);
    }

    /// When [`process`](Self::process) has to be called although nothing arrives, or another connection is to be made.
    pub fn deadline(&self) -> Option<Instant> {
        let connection = self.state.conn.as_ref().and_then(Connection::deadline);
        let of_sessions = self.sessions.deadline().filter(|_| self.is_connected());
        let farewell = self.farewell_by.filter(|_| !self.tx.is_empty());
        [connection, of_sessions, farewell, self.connect_at(), self.state.requests.deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    /// From now on this is the server's key, and no other will do: after a person has agreed to it, or for the first
    /// connection of a device that was given it beforehand. Does not end a connection that is up.
    pub fn trust(&mut self, server: PublicKey) {
        (self.server, self.retry.diagnose) = (Some(server), false);
    }

    /// The server's key, if this client knows it.
    pub fn server(&self) -> Option<&PublicKey> {
        self.server.as_ref()
    }

    /// Yes, this is the right server. Its key is remembered for as long as this client lives: write it down.
    ///
    /// # Errors
    /// The decision came too late or is of another connection. Then this one is over.
    pub fn accept(&mut self, verify: proto::Verify) -> Result<(), proto::Error> {
        let key = *verify.key();
        let accepted = self.state.conn.as_mut().ok_or(proto::Error::Ended)?.accept(verify);
        match accepted {
            Ok(()) => self.server = Some(key),
            Err(why) => self.ends(Ended::Failed(why)),
        }
        accepted
    }

    /// Tells the server that this client goes, after everything that was sent. It does not come back by itself.
    pub fn close(&mut self) {
        self.retry.at = None;
        // What sessions still have to say goes first: nothing follows a close.
        self.flush_sessions();
        if let Some(conn) = &mut self.state.conn {
            conn.close(CloseReason::Done);
            if conn.is_over() {
                self.ends(Ended::Closed(CloseReason::Done));
            }
        }
    }

    /// Comes back after all: after a close, or a refusal.
    pub fn reconnect(&mut self) {
        self.retry.at = Some(self.now);
    }

    fn env(&self) -> Env<'m> {
        Env { now: self.now, identity: self.setup.identity }
    }

    /// The open connection, and where it writes.
    fn open(
        &mut self,
    ) -> Result<(&mut Connection<RustCrypto>, &mut TxBuf<&'m mut [u8]>), SendError> {
        let conn = self.state.conn.as_mut().ok_or(SendError::NotOpen)?;
        Ok((conn, &mut self.tx))
    }

    /// Remembers what found no room, so that the program hears when there is some.
    fn noted<T>(&mut self, sent: Result<T, SendError>) -> Result<T, SendError> {
        self.turned_away |= matches!(sent, Err(SendError::Full(_)));
        sent
    }

    /// Nothing of one connection is left for the next.
    fn clear(&mut self) {
        let rx = mem::replace(&mut self.rx, RxBuf::new(&mut []));
        self.rx = RxBuf::new(rx.into_inner());
        self.unwrite();
        (self.ended, self.farewell_by, self.turned_away) = (None, None, false);
        self.close_channels();
        self.state.senders.clear();
        self.searches.clear();
    }

    /// Nobody waits any more for what is still to write.
    fn unwrite(&mut self) {
        let tx = mem::replace(&mut self.tx, TxBuf::new(&mut []));
        self.tx = TxBuf::new(tx.into_inner());
    }

    /// Decides when to try again, and tells.
    fn over(&mut self, why: Ended, on_event: &mut OnEvent<'_, 'm>) {
        let failed = |error: proto::Error| {
            matches!(error, proto::Error::Handshake | proto::Error::Alert(proto::Alert::Failed))
        };
        // Only what is authenticated may keep this client away.
        let again = match why {
            // It answers this side's close: the program has said whether to come back.
            Ended::Closed(CloseReason::Answered) => true,
            Ended::Closed(why) => why.is_temporary(),
            Ended::Refused(why) => why.is_temporary(),
            Ended::OtherKey(_) | Ended::Failed(_) | Ended::Unreachable => true,
        };
        self.retry.diagnose =
            matches!(why, Ended::Failed(why) if failed(why)) && !self.retry.diagnose;
        let again = again && self.retry.at.is_some();
        self.retry.at = again.then(|| self.now.after_millis(self.pause()));
        self.retry.failures = self.retry.failures.saturating_add(1);
        on_event(self, Event::Disconnected { why, again });
        self.lose_requests(on_event);
    }

    /// How long to wait before another connection, in milliseconds. A part of the key keeps a thousand devices from coming
    /// back at once.
    fn pause(&self) -> u64 {
        let doublings = self.retry.failures.min(MOST_DOUBLINGS);
        let pause = RETRY_MILLIS.saturating_mul(1 << doublings);
        let key = self.setup.identity.public();
        let spread = key.as_bytes().get(doublings as usize).copied().unwrap_or_default();
        pause.saturating_add(pause.saturating_mul(spread.into()) >> 9)
    }
}

impl Drop for Client<'_> {
    /// The memory outlives the client; its secrets do not.
    fn drop(&mut self) {
        self.state.conn = None;
        // That ends the handshakes.
        self.sessions.reconnected();
        while let Some(key) = self.sessions.sessions().first().map(|peer| *peer.key()) {
            self.sessions.forget(&key);
        }
    }
}

impl fmt::Debug for Client<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("name", &self.setup.name)
            .field("is_connected", &self.is_connected())
            .finish_non_exhaustive()
    }
}
