//! The connection: one side of one encrypted link, from the first byte to the authenticated close.
//!
//! ```text
//!            client                                      server
//!
//!   ┌─ flush: prelude, message 1 ──────────────▶ Await ── PskWanted ─▶ provide_psk
//!   ▼                                              ▼
//! Handshake ◀───────────── message 2 ─────────── Handshake
//!   │ XX: Verify ─▶ accept                         │
//!   └─ flush: message 3 ───────────────────────▶ Admission ─▶ admit / refuse
//!   ▼                                              ▼
//!  Open ◀──────────── Welcome / Refused ───────── Open
//!   │  close ────────── Close ──────────────────▶  │
//!   ▼  ◀─────────────── Close ───────────────────  ▼
//!  Over                                           Over
//! ```
//! Any error leads to `Over` at once. A decision that is dropped rejects.

mod alert;
mod event;
mod handshake;
mod open;
mod owed;
mod relay;
mod send;
mod serving;

use core::marker::PhantomData;

pub use event::{Admission, Event, PskRequest, Verify};
use handshake::Handshake;
use open::Open;
pub use relay::PeerTx;
use serving::{Await, Role, Serving};

use crate::{
    buffer::{Rx, Tx},
    crypto::{Crypto, Env, Ephemeral, Suite},
    error::{Alert, CloseReason, Error, Refusal, SendError},
    id::{Name, PeerId},
    key::{Psk, PublicKey},
    limits::Limits,
    message::Envelope,
    record::CONTROL_ROOM,
    time::Instant,
    wire::block::Block,
};

/// Smallest transmit buffer that a connection can work with, in bytes. The larger, the more is packed into a record.
pub const MIN_TRANSMIT: usize = 256 + CONTROL_ROOM;

/// What a client knows of its server beforehand.
#[derive(Clone, Copy, Debug)]
pub enum Expect<'a> {
    /// Nothing: handshake XX, and [`Event::Verify`] asks before this side reveals its own key.
    Unknown,
    /// Its key: handshake XK, which nobody else can answer.
    Pinned(&'a PublicKey),
    /// After a failed XK: find out the key that answers now ([`Event::Offered`]), and reveal nothing.
    Diagnose,
}

/// How a client opens its connection.
#[derive(Clone, Copy, Debug)]
pub struct ClientSetup<'a> {
    /// What it would like to be called.
    pub name: &'a Name,
    /// What it can take.
    pub limits: Limits,
    /// What it knows of the server.
    pub expect: Expect<'a>,
    /// A pre-shared key, if the server asks for one.
    pub psk: Option<&'a Psk>,
    /// The cipher suite; has to be one of [`Crypto::suites`].
    pub suite: Suite,
}

/// How a server opens a connection.
#[derive(Clone, Copy, Debug)]
pub struct ServerSetup {
    /// What it can take.
    pub limits: Limits,
    /// Turn away clients that offer no pre-shared key, before any cryptography.
    pub psk_required: bool,
}

/// One side of one link. Holds no buffers and knows no socket, clock or random generator.
///
/// The loop that drives it, whatever the event loop, is always the same:
///
/// 1. read bytes into [`RxBuf::space`](crate::RxBuf::space) and say how many;
/// 2. call [`receive`](Self::receive) until it gives `None`, acting on the events;
/// 3. call [`flush`](Self::flush), then write [`TxBuf::sealed`](crate::TxBuf::sealed);
/// 4. wait for the socket or for [`deadline`](Self::deadline), whichever comes first.
///
/// After an error, flush and write once more (a word of farewell may be due), then drop it.
pub struct Connection<C> {
    phase: Phase,
    role: Role,
    limits: Limits,
    /// The end of the handshake at the latest.
    handshake_by: Instant,
    crypto: PhantomData<fn() -> C>,
}

// The variants are alike in size. A phase is replaced by assignment, which drops, and so wipes, in place.
enum Phase {
    /// A server before the prelude has arrived and, if it names one, the pre-shared key was found.
    Await(Await),
    Handshake(Handshake),
    Open(Open),
    /// Over. What may still be said in clear text.
    Over(Option<Alert>),
}

impl<C: Crypto> Connection<C> {
    /// A client's side. `handshake_by` bounds everything up to the server's welcome.
    pub fn client(setup: &ClientSetup<'_>, ephemeral: Ephemeral, handshake_by: Instant) -> Self {
        let limits = setup.limits.clamped();
        let phase = Phase::Handshake(Handshake::client::<C>(setup, ephemeral));
        Connection { phase, role: Role::Client, limits, handshake_by, crypto: PhantomData }
    }

    /// A server's side. `handshake_by` bounds everything up to the admission.
    pub fn server(setup: &ServerSetup, ephemeral: Ephemeral, handshake_by: Instant) -> Self {
        let limits = setup.limits.clamped();
        let phase = Phase::Await(Await::new(ephemeral, setup.psk_required));
        let role = Role::Server(const { &Serving::new::<C>() });
        Connection { phase, role, limits, handshake_by, crypto: PhantomData }
    }

    /// Deals with what is in `rx`, at most one record of it. `None`: flush, then bring more bytes.
    ///
    /// While a decision is pending ([`Event::Verify`], [`Event::Admission`], [`Event::PskWanted`]), another call
    /// rejects: decide first, however long that takes.
    ///
    /// # Errors
    /// Whatever it is, the connection is over.
    pub fn receive<'b>(
        &mut self,
        rx: &mut Rx<'b>,
        env: &Env<'_>,
    ) -> Result<Option<Event<'b>>, Error> {
        let event = match &mut self.phase {
            // Plain text of an open record is no handshake: it belongs to another connection.
            Phase::Await(_) | Phase::Handshake(_) if rx.open(0).is_err() => Err(Error::WrongBuffer),
            Phase::Await(_) => match self.role {
                Role::Server(serving) => (serving.greeted)(&mut self.phase, rx, env),
                Role::Client => Ok(None),
            },
            Phase::Handshake(handshake) => handshake.receive::<C>(rx, self.role, env),
            Phase::Open(open) => open.receive::<C>(rx, &self.limits, env),
            Phase::Over(_) => Err(Error::Ended),
        };
        match &event {
            Err(error) => {
                if !matches!(error, Error::WrongBuffer | Error::Ended) {
                    // Nobody reads it any more, and the memory may serve another connection.
                    rx.clear();
                }
                self.fail(*error);
            }
            Ok(Some(Event::Offered(_))) => self.phase = Phase::Over(None),
            _ => {}
        }
        event
    }

    /// Takes more messages like the one that [`receive`](Self::receive) has just given, and their number: one-way, in the
    /// same record and with the same envelope. It is what `receive` would give, one event for each, at less cost; other
    /// frames stay for it.
    ///
    /// # Errors
    /// [`Error::WrongBuffer`]; the connection is over.
    pub fn receive_block<'b>(
        &mut self,
        rx: &mut Rx<'b>,
        envelope: &Envelope,
    ) -> Result<(Block<'b>, usize), Error> {
        let received = match &mut self.phase {
            Phase::Open(open) => open.receive_block(rx, envelope),
            _ => Ok((Block::new(&[], 0), 0)),
        };
        if let Err(error) = received {
            self.fail(error);
        }
        received
    }

    /// The bytes are at their end: the other side has shut down its half of the socket.
    ///
    /// # Errors
    /// [`Error::Truncated`] unless the other side had closed, which only an authenticated frame can do.
    pub fn end_of_input(&mut self) -> Result<(), Error> {
        match &self.phase {
            Phase::Over(_) => return Ok(()),
            Phase::Open(open) if open.was_closed() => return Ok(()),
            _ => {}
        }
        self.fail(Error::Truncated);
        Err(Error::Truncated)
    }

    /// Server: the pre-shared key that belongs to the hint, or `None`. To the client, an unknown hint looks
    /// like a wrong key.
    ///
    /// # Errors
    /// [`Error::Rejected`] if the request came from another connection.
    pub fn provide_psk(
        &mut self,
        request: PskRequest,
        psk: Option<&Psk>,
        env: &Env<'_>,
    ) -> Result<(), Error> {
        let started = match &mut self.phase {
            Phase::Await(wait) => wait.start_with_psk::<C>(&request, psk, env),
            _ => Err(Error::Rejected),
        };
        match started {
            Ok(handshake) => {
                self.phase = Phase::Handshake(handshake);
                Ok(())
            }
            Err(error) => {
                self.fail(error);
                Err(error)
            }
        }
    }

    /// Client: yes, this is the server. The next flush reveals this side's key to it.
    ///
    /// # Errors
    /// [`Error::Rejected`] if the decision came from another connection.
    pub fn accept(&mut self, verify: Verify) -> Result<(), Error> {
        if let Phase::Handshake(handshake) = &mut self.phase
            && handshake.accept(&verify)
        {
            return Ok(());
        }
        self.fail(Error::Rejected);
        Err(Error::Rejected)
    }

    /// Server: the client is in, under the number `id`. The next flush tells it.
    ///
    /// # Errors
    /// [`Error::Rejected`] if the decision came from another connection; [`Error::HandshakeTimeout`] if it comes too
    /// late.
    pub fn admit(&mut self, admission: Admission, id: PeerId, env: &Env<'_>) -> Result<(), Error> {
        self.decide(&admission, env, |open| open.welcome(id))
    }

    /// Server: the client stays out. The next flush tells it why, and the connection is over.
    ///
    /// # Errors
    /// [`Error::Rejected`] if the decision came from another connection; [`Error::HandshakeTimeout`] if it comes too
    /// late.
    pub fn refuse(
        &mut self,
        admission: Admission,
        why: Refusal,
        env: &Env<'_>,
    ) -> Result<(), Error> {
        self.decide(&admission, env, |open| open.refuse(why))
    }

    fn decide(
        &mut self,
        admission: &Admission,
        env: &Env<'_>,
        decision: impl FnOnce(&mut Open),
    ) -> Result<(), Error> {
        match &mut self.phase {
            Phase::Handshake(_) if env.now >= self.handshake_by => {
                self.fail(Error::HandshakeTimeout);
                Err(Error::HandshakeTimeout)
            }
            Phase::Handshake(handshake) if handshake.is_decided_by(admission) => {
                let mut open = handshake.open::<C>(self.role, &self.limits, env.now);
                decision(&mut open);
                self.phase = Phase::Open(open);
                Ok(())
            }
            _ => {
                self.fail(Error::Rejected);
                Err(Error::Rejected)
            }
        }
    }

    /// Writes what is due: handshake messages, replies, keep-alives; then seals the open record. Call it before
    /// each write and at [`deadline`](Self::deadline).
    ///
    /// What finds no room stays due. After an error it writes a last word, if there is one, and returns `Ok`.
    ///
    /// # Errors
    /// A deadline has passed, or the buffer can never serve; the connection is over.
    pub fn flush(&mut self, tx: &mut Tx<'_>, env: &Env<'_>) -> Result<(), Error> {
        let result = match &mut self.phase {
            Phase::Await(_) | Phase::Handshake(_) if env.now >= self.handshake_by => {
                Err(Error::HandshakeTimeout)
            }
            Phase::Await(_) => Ok(()),
            Phase::Handshake(handshake) => match handshake.flush::<C>(tx, &self.limits, env) {
                Ok(true) => {
                    let open = handshake.open::<C>(self.role, &self.limits, env.now);
                    self.phase = Phase::Open(open);
                    Ok(())
                }
                other => other.map(|_| ()),
            },
            Phase::Open(open) => open.flush::<C>(tx, &self.limits, env, self.handshake_by),
            Phase::Over(alert) => {
                if let (Some(why), Role::Server(serving)) = (alert.take(), self.role) {
                    (serving.alerted)(tx, why);
                }
                Ok(())
            }
        };
        match result {
            Err(error) => self.fail(error),
            Ok(()) => {
                if let Phase::Open(open) = &self.phase
                    && open.is_finished()
                {
                    self.phase = Phase::Over(None);
                }
            }
        }
        result
    }

    /// Closes, authenticated, or answers the other side's close ([`CloseReason::Answered`], whatever `why` says): the next flush sends it behind everything sent
    /// before, and the other side answers once it has read all of it. During a handshake the connection is over
    /// at once.
    pub fn close(&mut self, why: CloseReason) {
        match &mut self.phase {
            Phase::Open(open) => open.close(why),
            Phase::Over(_) => {}
            _ => self.phase = Phase::Over(None),
        }
    }

    /// The caller leaves bytes unread on purpose (back-pressure): until now, the silence is its own doing. Call it
    /// after a flush at the [`deadline`](Self::deadline); pings go on, so the other side stays content.
    pub fn not_reading(&mut self, now: Instant) {
        if let Phase::Open(open) = &mut self.phase {
            open.not_reading(now);
        }
    }

    /// When [`flush`](Self::flush) has to be called again although nothing arrives. Exact: no earlier call is needed.
    pub fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Await(_) | Phase::Handshake(_) => Some(self.handshake_by),
            Phase::Open(open) => Some(open.deadline(self.handshake_by)),
            Phase::Over(_) => None,
        }
    }

    /// Whether nothing more will come or go: write what is sealed and close the socket.
    pub fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over(_))
    }

    /// Whether messages can be sent.
    pub fn is_open(&self) -> bool {
        matches!(&self.phase, Phase::Open(open) if open.is_open())
    }

    /// The identity of the other side, once it has proven it.
    pub fn remote(&self) -> Option<PublicKey> {
        match &self.phase {
            Phase::Open(open) => Some(open.remote()),
            _ => None,
        }
    }

    /// What the other side can take, once it has said so.
    pub fn remote_limits(&self) -> Option<&Limits> {
        match &self.phase {
            Phase::Open(open) => Some(open.remote_limits()),
            _ => None,
        }
    }

    /// What this side can take, as announced.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    #[inline(never)] // Every operation that sends begins with it: 0.3 KiB of flash.
    fn opened(&mut self) -> Result<&mut Open, SendError> {
        match &mut self.phase {
            Phase::Open(open) if open.is_open() => Ok(open),
            _ => Err(SendError::NotOpen),
        }
    }

    /// Ends the connection for good, keeping only what may still be said on the wire.
    fn fail(&mut self, error: Error) {
        match (&mut self.phase, self.role) {
            (Phase::Open(open), _) if open.may_say_why(error) => open.fail(),
            (Phase::Await(_) | Phase::Handshake(_), Role::Server(serving)) => {
                self.phase = Phase::Over((serving.alert)(error));
            }
            (Phase::Over(_), _) => {}
            _ => self.phase = Phase::Over(None),
        }
    }
}
