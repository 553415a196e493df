//! An open connection: which frames may come when, keep-alives, and the close.

use super::{Event, alert, owed::Owed, serving::Role};
use crate::{
    buffer::{Rx, Tx},
    crypto::{Crypto, Env, Suite},
    error::{CloseReason, Error, FrameError, Refusal, SendError},
    id::PeerId,
    key::PublicKey,
    limits::{CLOSE_MILLIS, Limits},
    message::{Envelope, Party, Unit},
    noise::CipherState,
    record::{self, CONTROL_ROOM, Sealer},
    stream::Streams,
    time::Instant,
    wire::{
        block::Block,
        frame::{self, Frame, HEADER, types},
    },
};

/// How far the close has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Closing {
    No,
    /// This side will send its close with the next flush.
    Due,
    /// This side has sent its close and waits until then for the other's.
    Sent(Instant),
}

pub(super) struct Open {
    pub(super) sealer: Sealer,
    incoming: CipherState,
    pub(super) role: Role,
    remote: PublicKey,
    pub(super) theirs: Limits,
    pub(super) streams: Streams,
    owed: Owed,
    /// Milliseconds of silence that are too many: the smaller of both sides' limits.
    idle: u64,
    heard: Instant,
    pings: u32,
    /// A ping is out and nothing was heard since.
    pinged: bool,
    /// A client: the server has said welcome. A server: always.
    admitted: bool,
    /// Nothing is read any more: the other side has closed, or broke a rule.
    deaf: bool,
    closing: Closing,
    /// Over as soon as what is due is written: refused, or failed.
    last_words: bool,
    /// Questions without an answer: asked by a client, to be answered by a server.
    pub(super) questions: u8,
    /// The number that the next channel takes.
    pub(super) next_channel: u32,
}

impl Open {
    pub(super) fn new(
        role: Role,
        suite: Suite,
        (outgoing, incoming): (CipherState, CipherState),
        owner: u32,
        remote: PublicKey,
        (ours, theirs): (&Limits, &Limits),
        now: Instant,
    ) -> Self {
        Open {
            sealer: Sealer { cipher: outgoing, suite, limit: theirs.record, owner },
            incoming,
            role,
            remote,
            theirs: *theirs,
            streams: Streams::default(),
            owed: Owed::default(),
            idle: u64::from(ours.idle_secs.min(theirs.idle_secs)).saturating_mul(1000),
            heard: now,
            pings: 0,
            pinged: false,
            admitted: role.is_server(),
            deaf: false,
            closing: Closing::No,
            last_words: false,
            questions: 0,
            next_channel: 0,
        }
    }

    pub(super) fn welcome(&mut self, id: PeerId) {
        self.owed.welcome = Some(id);
    }

    pub(super) fn refuse(&mut self, why: Refusal) {
        self.owed.refused = Some(why);
        (self.deaf, self.last_words) = (true, true);
    }

    pub(super) fn close(&mut self, why: CloseReason) {
        if self.closing == Closing::No {
            self.closing = Closing::Due;
            // Two closes that cross each other answer nothing; only this reason says that all was read.
            let answers = self.deaf && !self.last_words;
            self.owed.close = Some(if answers { CloseReason::Answered } else { why });
        }
    }

    /// Whether the other side itself has caused this error, so that it may be told in a sealed close. What
    /// anybody on the path can cause says nothing: an authenticated close would stop a client for good.
    pub(super) fn may_say_why(&self, error: Error) -> bool {
        !self.last_words && matches!(error, Error::Frame(..))
    }

    pub(super) fn fail(&mut self) {
        self.close(CloseReason::Protocol);
        (self.deaf, self.last_words) = (true, true);
    }

    pub(super) fn is_open(&self) -> bool {
        self.closing == Closing::No && !self.last_words
    }

    /// Whether the other side has said that nothing more will come.
    pub(super) fn was_closed(&self) -> bool {
        self.deaf
    }

    /// Whether the connection is over now that everything due was written.
    pub(super) fn is_finished(&self) -> bool {
        match self.closing {
            Closing::Sent(_) => self.deaf,
            Closing::Due => false,
            Closing::No => self.last_words && self.owed.refused.is_none(),
        }
    }

    pub(super) fn remote(&self) -> PublicKey {
        self.remote
    }

    pub(super) fn remote_limits(&self) -> &Limits {
        &self.theirs
    }

    /// Silence after which this side asks for a sign of life. The client asks first, so that usually one ping and
    /// one pong keep both sides content.
    fn patience(&self) -> u64 {
        match self.role {
            Role::Client => self.idle / 2,
            Role::Server(_) => (self.idle / 4).saturating_mul(3),
        }
    }

    /// Starts the measure of silence anew.
    pub(super) fn not_reading(&mut self, now: Instant) {
        (self.heard, self.pinged) = (now, false);
    }

    pub(super) fn deadline(&self, handshake_by: Instant) -> Instant {
        if !self.admitted {
            return match self.closing {
                Closing::Sent(by) => handshake_by.min(by),
                _ => handshake_by,
            };
        }
        match self.closing {
            Closing::Sent(by) => self.heard.after_millis(self.idle).min(by),
            _ if self.pinged => self.heard.after_millis(self.idle),
            _ => self.heard.after_millis(self.patience()),
        }
    }

    /// Appends a frame of the application. Before a server's first, its welcome has to be out.
    pub(super) fn put<C: Crypto>(
        &mut self,
        tx: &mut Tx<'_>,
        kind: u8,
        parts: [&[u8]; 2],
    ) -> Result<(), SendError> {
        self.pay_admission(tx)?;
        self.sealer.frame::<C>(tx, kind, parts, CONTROL_ROOM)
    }

    /// Writes a server's decision about its client, if it is due: nothing comes before it.
    fn pay_admission(&mut self, tx: &mut Tx<'_>) -> Result<(), SendError> {
        match self.role {
            Role::Server(serving) if self.owed.owes_admission() => {
                (serving.decided)(&mut self.owed, &mut self.sealer, tx)
            }
            _ => Ok(()),
        }
    }

    #[inline(never)] // As part of its only caller it would take 0.2 KiB more flash.
    pub(super) fn flush<C: Crypto>(
        &mut self,
        tx: &mut Tx<'_>,
        ours: &Limits,
        env: &Env<'_>,
        handshake_by: Instant,
    ) -> Result<(), Error> {
        if self.is_finished() {
            return self.sealer.seal::<C>(tx).map_err(|_| Error::WrongBuffer);
        }
        if !self.admitted && env.now >= handshake_by {
            return Err(Error::HandshakeTimeout);
        }
        // Until the welcome the handshake's deadline counts alone: the server may have a person to ask.
        let silence = if self.admitted { env.now.millis_since(self.heard) } else { 0 };
        if silence >= self.idle {
            return Err(Error::Silent);
        }
        if let Closing::Sent(by) = self.closing {
            // Nothing follows a close, whatever is due.
            return if env.now >= by { Err(Error::CloseTimeout) } else { Ok(()) };
        }
        if silence >= self.patience() && !self.pinged {
            self.pinged = true;
            self.pings = self.pings.wrapping_add(1);
            self.owed.ping = Some(self.pings.to_be_bytes());
        }
        let paid = self.pay_admission(tx).and_then(|()| {
            self.owed.pay::<C>(&mut self.sealer, (&mut self.streams, ours.window), tx)
        });
        match paid {
            // What found no room stays due.
            Ok(()) | Err(SendError::Full(_)) => {}
            Err(SendError::TooLong(_)) => {
                return Err(Error::BufferTooSmall(super::MIN_TRANSMIT as u16));
            }
            Err(_) => return Err(Error::WrongBuffer),
        }
        self.sealer.seal::<C>(tx).map_err(|_| Error::WrongBuffer)?;
        if self.closing == Closing::Due && self.owed.close.is_none() {
            self.closing = Closing::Sent(env.now.after_millis(CLOSE_MILLIS));
        }
        Ok(())
    }

    /// Goes on in the record at the front, or decrypts the next one.
    // As part of its only caller it would take 0.8 KiB more flash, and deepen the stack of everything else there.
    #[inline(never)]
    pub(super) fn receive<'b, C: Crypto>(
        &mut self,
        rx: &mut Rx<'b>,
        ours: &Limits,
        env: &Env<'_>,
    ) -> Result<Option<Event<'b>>, Error> {
        if self.deaf {
            rx.clear();
            return Ok(None);
        }
        let (owner, suite) = (self.sealer.owner, self.sealer.suite);
        if rx.open(owner)?.is_empty() {
            if !self.admitted && alert::is_next(rx) {
                return alert::read(rx).map_or(Ok(None), |why| Err(Error::Alert(why)));
            }
            if !record::open::<C>(&mut self.incoming, suite, rx, ours.record, owner)? {
                return Ok(None);
            }
            (self.heard, self.pinged) = (env.now, false);
        }
        while !self.deaf {
            let text = rx.open(owner)?;
            let Some(&kind) = text.first() else { break };
            let (kind, len) = frame::split(text).map_err(|why| Error::Frame(kind, why))?;
            let body = rx.take_frame(HEADER, len).ok_or(Error::WrongBuffer)?;
            let event = match (frame::relayed(kind), self.role) {
                (Some(unit), _) => self.relayed(unit, body).map(Some),
                (_, Role::Server(serving)) if frame::is_clients(kind) => {
                    (serving.asked)(self, kind, body).map(Some)
                }
                _ => frame::decode(kind, body).and_then(|frame| self.act(frame, ours)),
            };
            if let Some(event) = event.map_err(|why| Error::Frame(kind, why))? {
                return Ok(Some(event));
            }
        }
        Ok(Some(Event::Handled))
    }

    /// Takes the frames that follow in the record at the front, as long as they are messages with this envelope.
    /// Whatever else comes is left to `receive`.
    pub(super) fn receive_block<'b>(
        &mut self,
        rx: &mut Rx<'b>,
        envelope: &Envelope,
    ) -> Result<(Block<'b>, usize), Error> {
        let (block, count) = Block::alike(rx.open(self.sealer.owner)?, envelope);
        let (len, header) = (block.bytes().len(), block.header());
        let allowed = !self.deaf && self.admitted && self.check_party(envelope.party).is_ok();
        if count == 0 || !allowed {
            return Ok((Block::new(&[], header), 0));
        }
        let bytes = rx.take_frame(0, len).ok_or(Error::WrongBuffer)?;
        Ok((Block::new(bytes, header), count))
    }

    /// Frames that only a server may send.
    fn only_from_server(&self) -> Result<(), FrameError> {
        if self.role.is_server() { Err(FrameError::Role) } else { Ok(()) }
    }

    /// A source is the server or one client; only a destination can be everyone.
    fn check_party(&self, party: Party) -> Result<(), FrameError> {
        match party {
            Party::Everyone if !self.role.is_server() => Err(FrameError::Body),
            _ => Ok(()),
        }
    }

    /// An answer arrived at a client.
    fn answered(&mut self) -> Result<(), FrameError> {
        self.only_from_server()?;
        self.questions = self.questions.checked_sub(1).ok_or(FrameError::Questions)?;
        Ok(())
    }

    /// A sealed unit of two clients.
    fn relayed<'b>(&self, unit: Unit, body: &'b mut [u8]) -> Result<Event<'b>, FrameError> {
        if !self.admitted {
            return Err(FrameError::Admission);
        }
        let (peer, bytes) = frame::decode_relay(body)?;
        Ok(Event::Relay { peer, unit, bytes })
    }

    /// The rules of the open state: whether a frame may come now, what it changes, and what the caller hears of it.
    #[inline(never)] // The same: 0.2 KiB.
    fn act<'b>(
        &mut self,
        frame: Frame<'b>,
        ours: &Limits,
    ) -> Result<Option<Event<'b>>, FrameError> {
        if frame == Frame::Skipped {
            return Ok(None);
        }
        let is_admission = matches!(frame, Frame::Welcome { .. } | Frame::Refused(_));
        if is_admission == self.admitted {
            return Err(FrameError::Admission);
        }
        if !self.streams.act(&frame, ours)? {
            return Ok(None);
        }
        Ok(Some(match frame {
            Frame::Welcome { id, suites } => {
                self.admitted = true;
                Event::Welcome { id: PeerId(id), suites }
            }
            Frame::Refused(why) => {
                (self.deaf, self.last_words) = (true, true);
                Event::Refused(why)
            }
            Frame::Close(why) => {
                self.deaf = true;
                Event::Closed(why)
            }
            Frame::Ping(echo) => {
                self.owed.pong = Some(echo);
                return Ok(None);
            }
            Frame::Pong | Frame::Done(_) | Frame::Skipped => return Ok(None),
            Frame::Opened { id, result } => {
                self.answered()?;
                Event::Opened { id, result }
            }
            Frame::Found { query, peer } => {
                self.answered()?;
                Event::Found { query, peer }
            }
            Frame::Peer(peer) => {
                self.only_from_server()?;
                Event::Peer(peer)
            }
            Frame::Message { envelope, bytes } => {
                self.check_party(envelope.party)?;
                Event::Message { envelope, bytes }
            }
            Frame::Failed { envelope, failure } => Event::Failed { envelope, failure },
            Frame::RelayFailed { peer, failure } => {
                self.only_from_server()?;
                Event::RelayFailed { peer, failure }
            }
            Frame::Begin { stream, envelope, length } => {
                self.check_party(envelope.party)?;
                Event::Begin { stream, envelope, length }
            }
            Frame::Chunk { stream, bytes } => Event::Chunk { stream, bytes },
            Frame::End(stream) => Event::End(stream),
            Frame::Abort { stream, failure } => Event::Aborted { stream, failure },
            Frame::Stop { stream, failure } => Event::Stopped { stream, failure },
            Frame::Credit { stream, .. } => Event::Credit(stream),
        }))
    }
}

// The type byte of a close has to stay known to every version, or nobody could say goodbye.
const _: () = assert!(types::CLOSE & types::IGNORABLE == 0);
