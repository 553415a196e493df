//! Sessions between clients, end to end, through a server that is an adversary here: it can drop what it likes, and
//! nothing more.
//!
//! ```text
//!        initiator                                            responder
//!
//!   handshake(peer, …)
//!     └─ flush_peers: first message ───────────────────────▶ Greeting ─▶ answer / refuse
//!                            KK, keys known                   │
//!   Open ◀──────────────────────────────── second message ────┤
//!    ├─ flush_peers: first record ──────────────────────────▶ Open
//!    │                       XX, first contact                │
//!   Verify ─▶ accept ◀──────────────────── second message ────┘
//!    ├─ flush_peers: third message, first record ───────────▶ Verify ─▶ accept
//!   Open ◀──────────────────────────────────── first record ── Open
//! ```
//! A session that breaks (the connection was another one, a record is missing), or gets old, is replaced by a new
//! handshake: [`Peers::poll`] says so with [`PeerEvent::Wanted`]. The present session stays until the first record of the
//! new one authenticates, so a replayed first message displaces nothing. Messages are counted over all sessions with a
//! peer, so each is delivered once and in order, or reported: [`PeerEvent::Lost`] where it should have arrived,
//! [`PeerEvent::Undelivered`] or [`PeerEvent::Unknown`] where it came from.
//!
//! # In the loop
//!
//! ```
//! use pysock_proto::{
//!     Connection, Env, Ephemeral, Event, Kind, PeerInfo, RustCrypto, SendError, Tx,
//!     peer::{Acquaintance, FixedPeers, PeerEvent, channel},
//! };
//!
//! type C = RustCrypto;
//!
//! /// What a client does with an event of its connection. `from`: whom the last [`Event::Peer`] has named so.
//! fn on_event(peers: &mut FixedPeers<C, 4, 2>, event: Event<'_>, from: &PeerInfo, env: &Env<'_>, random: [u8; 32]) {
//!     let by = env.now.after_millis(3_000);
//!     match event {
//!         Event::Peer(peer) => peers.named(&peer),
//!         Event::RelayFailed { peer, failure } => {
//!             // A hint: an attempt with that peer has ended, if there was one.
//!             let _ended = peers.unreachable(peer, failure);
//!         }
//!         Event::Relay { unit, bytes, .. } => {
//!             let mut incoming = peers.receive(from, unit, bytes, env);
//!             while let Some(event) = peers.next(&mut incoming) {
//!                 match event {
//!                     // Is it one of ours? Dropping a decision says no.
//!                     PeerEvent::Greeting(greeting) => {
//!                         let _ = peers.answer(greeting, Ephemeral::new::<C>(random), by);
//!                     }
//!                     PeerEvent::Verify(verify) if *verify.key() == from.key => {
//!                         let _ = peers.accept(verify, env);
//!                     }
//!                     PeerEvent::Message { bytes, .. } => assert!(bytes.len() < 100),
//!                     _ => {}
//!                 }
//!             }
//!         }
//!         _ => {}
//!     }
//! }
//!
//! /// Before each flush of the connection.
//! fn before_flush(
//!     conn: &mut Connection<C>,
//!     tx: &mut Tx<'_>,
//!     peers: &mut FixedPeers<C, 4, 2>,
//!     swat: &PeerInfo,
//!     env: &Env<'_>,
//!     random: [u8; 32],
//! ) -> Result<(), SendError> {
//!     while let Some((_, event)) = peers.poll(env.now) {
//!         if let PeerEvent::Wanted = event {
//!             let (e, by) = (Ephemeral::new::<C>(random), env.now.after_millis(3_000));
//!             let _ = peers.handshake(swat, Acquaintance::Known, e, by, env);
//!         }
//!     }
//!     if peers.get(&swat.key).is_some_and(|peer| peer.is_open()) {
//!         conn.to_peer(tx, peers, &swat.key)?.send(channel::DIRECT, Kind::Message, b"21.5")?;
//!     }
//!     conn.flush_peers(tx, peers, env)
//! }
//! ```
//! Wake up at [`Peers::deadline`] as well as at that of the connection, and call [`Peers::reconnected`] when there is a
//! new one.

mod allowance;
mod counts;
mod entry;
mod event;
mod half;
mod incoming;
mod meet;
mod news;
mod outgoing;
mod session;
#[cfg(test)]
mod tests;

use core::marker::PhantomData;

pub use entry::Peer;
pub use event::{Greeting, PeerEvent, PeerVerify};
pub use half::HalfOpen;
pub(crate) use half::LONGEST;
pub(crate) use incoming::FIRST_HEADER;
pub use incoming::Incoming;
pub(crate) use outgoing::BEFORE;

use crate::{
    crypto::{Crypto, Env, Suite},
    directory::PeerInfo,
    error::{CloseReason, Failure, PeerError},
    id::{Name, PeerId, StreamId},
    key::PublicKey,
    limits::{CLOSE_MILLIS, Limits},
    noise::Role,
    store::{Fixed, Store},
    time::Instant,
    wire::inner::{self, Attempt, Takes, Terms},
};
use allowance::Allowance;
use half::{Stage, Undecided};

/// What a message between clients is about.
pub mod channel {
    /// From one client to the other.
    pub const DIRECT: u16 = 0;
    /// To the members of a group: see the module of groups.
    pub const GROUP: u16 = 1;
    /// About a group: see the module of groups.
    pub const GROUP_CONTROL: u16 = 2;
}

/// What is known of the other side before a handshake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Acquaintance {
    /// Its key is pinned or was accepted before: pattern KK, which nobody else can answer.
    Known,
    /// The key is only what the server says: pattern XX, and [`PeerEvent::Verify`] asks before this side's key is
    /// shown.
    New,
    /// After [`PeerError::NeedXx`] or [`PeerError::Handshake`]: find out the key that answers now, and show nothing.
    Diagnose,
}

/// A notice to a peer: short, and nothing proves it.
struct Notice {
    to: PeerId,
    step: u8,
    attempt: Attempt,
    code: u8,
}

/// Notices that may be due at once; more are dropped.
const NOTICES: usize = 4;
/// How long an initiator waits at most for a person on the other side, in milliseconds.
const PATIENCE_MILLIS: u64 = 120_000;
/// How long a greeting may wait for its answer, in milliseconds.
const GREETING_MILLIS: u64 = 10_000;

/// All sessions of one client, in storage `S`, and the handshakes under way, in storage `H`.
pub struct Peers<C, S, H> {
    name: Name,
    limits: Limits,
    sessions: S,
    halves: H,
    notices: [Option<Notice>; NOTICES],
    /// For notices, and for first messages of clients without a session that do not verify.
    notices_left: Allowance,
    guesses_left: Allowance,
    /// Something is due for [`Connection::flush_peers`](crate::Connection::flush_peers).
    owing: bool,
    /// An attempt that failed with its last message.
    failed: Option<(PublicKey, PeerError)>,
    dropped: u32,
    crypto: PhantomData<fn() -> C>,
}

/// Sessions with at most `N` peers and `M` handshakes inside itself.
pub type FixedPeers<C, const N: usize, const M: usize> =
    Peers<C, Fixed<Peer, N>, Fixed<HalfOpen, M>>;

impl<C, S, H> Peers<C, S, H> {
    /// No sessions yet, of a client called `name` that announced `limits` to its server. Both stores have to be empty.
    pub const fn new(name: Name, limits: Limits, sessions: S, halves: H) -> Self {
        Peers {
            name,
            limits,
            sessions,
            halves,
            notices: [const { None }; NOTICES],
            notices_left: Allowance::new(),
            guesses_left: Allowance::new(),
            owing: false,
            failed: None,
            dropped: 0,
            crypto: PhantomData,
        }
    }

    /// Units that were dropped: they did not authenticate, came too late or twice, or belonged to nothing.
    pub fn dropped(&self) -> u32 {
        self.dropped
    }
}

impl<C: Crypto, S: Store<Peer>, H: Store<HalfOpen>> Peers<C, S, H> {
    /// The sessions, by key.
    pub fn sessions(&self) -> &[Peer] {
        self.sessions.as_slice()
    }

    /// The session with the client of this key.
    pub fn get(&self, key: &PublicKey) -> Option<&Peer> {
        self.sessions.as_slice().get(self.place(key).ok()?)
    }

    #[inline(never)] // One copy of the search and its bounds: 0.2 KiB of flash.
    pub(crate) fn get_mut(&mut self, key: &PublicKey) -> Option<&mut Peer> {
        let at = self.place(key).ok()?;
        self.sessions.as_mut_slice().get_mut(at)
    }

    /// The connection to the server is another one: handshakes under way are void, numbers of peers mean nothing any
    /// more, and every session wants a new handshake as soon as its peer is [named](Self::named) again.
    pub fn reconnected(&mut self) {
        self.drop_halves(&|_| true);
        self.notices = [const { None }; NOTICES];
        for peer in self.sessions.as_mut_slice() {
            peer.reconnected();
        }
    }

    /// The server has named a client: by announcing it, or in answer to a question.
    pub fn named(&mut self, peer: &PeerInfo) {
        if let Some(known) = self.get_mut(&peer.key) {
            known.is_called(peer.id);
            // What was due could not leave without a number.
            self.owing = true;
        }
    }

    /// The server did not pass something on. Ends an attempt with that peer; a session it ends not, but it wants a
    /// new handshake.
    pub fn unreachable(&mut self, id: PeerId, why: Failure) -> Option<(PublicKey, PeerError)> {
        if let Some(peer) =
            self.sessions.as_mut_slice().iter_mut().find(|peer| peer.id() == Some(id))
        {
            peer.is_gone();
        }
        let at = self.position(|half| half.peer.id == id && half.role == Role::Initiator)?;
        let key = self.end(at)?;
        Some((key, PeerError::Unreachable(why)))
    }

    /// Closes a session: what is flushed before it still counts, and [`PeerEvent::Closed`] tells the answer.
    pub fn close(&mut self, key: &PublicKey, why: CloseReason, env: &Env<'_>) {
        let until = env.now.after_millis(CLOSE_MILLIS);
        if let Some(peer) = self.get_mut(key) {
            peer.close(why, until);
            self.owing = true;
        }
    }

    /// Forgets a session without a word, with its keys.
    pub fn forget(&mut self, key: &PublicKey) {
        self.drop_sessions(&|peer| peer.key == *key);
        self.drop_halves(&|half| half.peer.key == *key);
    }

    /// Says that `n` more bytes of a stream are dealt with.
    pub fn consumed(&mut self, key: &PublicKey, stream: StreamId, n: usize) {
        let window = self.limits.window;
        if let Some(peer) = self.get_mut(key) {
            peer.streams.consumed(stream, n, window);
            self.owing = true;
        }
    }

    /// Wants no more of a stream that the other side sends.
    pub fn stop(&mut self, key: &PublicKey, stream: StreamId, why: Failure) {
        if let Some(peer) = self.get_mut(key) {
            peer.streams.stop(stream, why);
            self.owing = true;
        }
    }

    /// What happened without anything arriving: news of sessions, attempts that took too long, sessions that want a
    /// new handshake. Call it after each batch of units and at the [`deadline`](Self::deadline), until it gives `None`.
    pub fn poll(&mut self, now: Instant) -> Option<(PublicKey, PeerEvent<'static>)> {
        if let Some((key, why)) = self.failed.take() {
            return Some((key, PeerEvent::Failed(why)));
        }
        while let Some(at) = self.position(|half| now >= half.deadline) {
            let role = self.halves.as_slice().get(at)?.role;
            let key = self.end(at)?;
            if role == Role::Initiator {
                return Some((key, PeerEvent::Failed(PeerError::TimedOut)));
            }
        }
        let (sessions, halves) = (self.sessions.as_mut_slice(), self.halves.as_slice());
        for peer in sessions {
            peer.give_up(now);
            if let Some(news) = peer.news() {
                return Some((peer.key, news));
            }
            if peer.wanted_at().is_some_and(|at| now >= at) && !is_under_way(halves, &peer.key) {
                peer.tries(now);
                return Some((peer.key, PeerEvent::Wanted));
            }
        }
        self.drop_sessions(&Peer::is_over);
        None
    }

    /// When [`poll`](Self::poll) has to be called although nothing arrives.
    pub fn deadline(&self) -> Option<Instant> {
        let (sessions, halves) = (self.sessions.as_slice(), self.halves.as_slice());
        let mut first: Option<Instant> = None;
        let mut also = |at: Instant| first = Some(first.map_or(at, |first| first.min(at)));
        for peer in sessions {
            if let Some(at) = peer.deadline().filter(|_| !is_under_way(halves, &peer.key)) {
                also(at);
            }
        }
        halves.iter().for_each(|half| also(half.deadline));
        first
    }

    fn position(&self, is_it: impl Fn(&HalfOpen) -> bool) -> Option<usize> {
        self.halves.as_slice().iter().position(is_it)
    }

    /// Where the handshake with a peer is in which this side has this role.
    fn with(&self, key: &PublicKey, role: Role) -> Option<usize> {
        self.position(|half| half.role == role && half.peer.key == *key)
    }

    /// Where the handshake is that waits for this decision. A greeting binds to nothing but an ephemeral key, which the
    /// other side chooses, and two may choose the same: whose it is counts, too.
    fn undecided(&self, what: Undecided, key: &PublicKey, bind: [u8; 8]) -> Option<usize> {
        self.position(|half| half.undecided == what && half.peer.key == *key && half.bind == bind)
    }

    // One copy of each is enough: 0.3 KiB of flash for the two.
    #[inline(never)]
    fn drop_sessions(&mut self, is_it: &dyn Fn(&Peer) -> bool) {
        self.sessions.retain(|peer| !is_it(peer));
    }

    #[inline(never)]
    fn drop_halves(&mut self, is_it: &dyn Fn(&HalfOpen) -> bool) {
        self.halves.retain(|half| !is_it(half));
    }

    /// Ends a handshake, and says with whom it was. Its secrets are wiped where they lie, before it moves.
    fn end(&mut self, at: usize) -> Option<PublicKey> {
        let half = self.halves.as_mut_slice().get_mut(at)?;
        half.wipe();
        let key = half.peer.key;
        self.halves.remove(at);
        Some(key)
    }

    /// What this side says of itself to a peer.
    fn terms(&self, key: &PublicKey) -> Terms {
        let Limits { window, streams, .. } = self.limits;
        let (label, continues, previous) = match self.get(key) {
            Some(peer) => {
                let label = peer.session.receiving.label.wrapping_add(1);
                (label, peer.continues(), peer.previous())
            }
            None => (0, false, [0; 8]),
        };
        let takes = Takes { unit: inner::longest_unit(&self.limits), window, streams };
        let aes = C::suites().contains(&(Suite::AesGcm as u8));
        Terms { takes, label, continues, aes, previous }
    }

    /// Puts the session of the complete handshake at `at` in place.
    fn install(&mut self, at: usize, now: Instant) -> Result<(), PeerError> {
        let made = self.make(at, now);
        if let (Some(key), Ok(())) = (self.end(at), made) {
            self.drop_halves(&|half| half.peer.key == key);
            self.owing = true;
        }
        made
    }

    /// Makes the session of a complete handshake the present one, while the handshake stays.
    #[inline(never)] // As part of its only caller it would take 50 bytes more flash.
    fn make(&mut self, at: usize, now: Instant) -> Result<(), PeerError> {
        let wrong = PeerError::Handshake;
        let key = self.halves.as_slice().get(at).ok_or(wrong)?.peer.key;
        let place = self.place(&key);
        let half = self.halves.as_mut_slice().get_mut(at).ok_or(wrong)?;
        let theirs = half.theirs.ok_or(wrong)?;
        let session = half.take_session::<C>().ok_or(wrong)?;
        let (Ok(at) | Err(at)) = place;
        let before = place.ok().and_then(|at| self.sessions.as_mut_slice().get_mut(at));
        let is_known = before.is_some();
        if before.as_ref().map_or([0; 8], |peer| peer.previous()) != half.ours.previous {
            // Another handshake was faster, and this one follows a session that is no more.
            return Err(wrong);
        }
        match before {
            Some(peer) => peer.replace(session),
            None => {
                let peer = Peer::new(half, session);
                self.sessions.insert(at, peer).map_err(|_| PeerError::Full)?;
            }
        }
        let peer = self.sessions.as_mut_slice().get_mut(at).ok_or(wrong)?;
        peer.begin(half, &theirs, is_known, now);
        Ok(())
    }

    /// Where the session with a peer is, or would be: they are sorted by key.
    fn place(&self, key: &PublicKey) -> Result<usize, usize> {
        self.sessions.as_slice().binary_search_by(|peer| peer.key.cmp(key))
    }
}

/// Whether a handshake with this peer is under way, in either role.
#[inline(never)] // One copy of the search: some 80 bytes of flash.
fn is_under_way(halves: &[HalfOpen], key: &PublicKey) -> bool {
    halves.iter().any(|half| half.peer.key == *key)
}
