//! Sessions with other clients on a connection: where their units find room in the transmit buffer.
//!
//! A unit is written behind the open record and sealed there before the record is extended over it, so that not even a
//! forgotten [`PeerTx`] can show the server plain text.

use super::{Connection, open::Open};
use crate::{
    buffer::Tx,
    crypto::{Crypto, Env, TAG},
    error::{Failure, SendError},
    id::{ChannelId, PeerId, StreamId},
    key::PublicKey,
    message::{Envelope, Kind, Party, Unit},
    peer::{BEFORE, HalfOpen, LONGEST, Peer, Peers},
    record::CONTROL_ROOM,
    store::Store,
    time::Instant,
    wire::frame::{self, HEADER, types},
};

/// Length of what stands in front of a unit in its outer record: frame header, and the number of the peer.
const RELAY: usize = HEADER + 4;

/// The way to one other client, end to end: several messages share a record, which is sealed when it is full or this is
/// dropped. Comes from [`Connection::to_peer`].
pub struct PeerTx<'a, 't, C: Crypto> {
    open: &'a mut Open,
    tx: &'a mut Tx<'t>,
    peer: &'a mut Peer,
    to: PeerId,
    unit: OpenUnit,
    crypto: core::marker::PhantomData<C>,
}

/// A unit that is being written behind the open record.
#[derive(Default)]
struct OpenUnit {
    /// Bytes so far; 0 before it is begun.
    len: usize,
    /// Of which stand in front of the frames.
    before: usize,
    /// The most it may have, with its tag.
    room: usize,
}

impl<C: Crypto> Connection<C> {
    /// Writes what is due to other clients: handshakes, notices, what sessions owe. Call it before each
    /// [`flush`](Self::flush). What finds no room stays due.
    ///
    /// # Errors
    /// [`SendError::NotOpen`] or [`SendError::Role`] on a connection that has no peers;
    /// [`SendError::Full`] while the buffer has no room.
    // Apart, or the room for a handshake would stand on the caller's stack: 860 bytes deeper on a Cortex-M3.
    #[inline(never)]
    pub fn flush_peers<S: Store<Peer>, H: Store<HalfOpen>>(
        &mut self,
        tx: &mut Tx<'_>,
        peers: &mut Peers<C, S, H>,
        env: &Env<'_>,
    ) -> Result<(), SendError> {
        if !peers.is_owing() {
            return Ok(());
        }
        let open = self.with_peers()?;
        let mut unit = [0; LONGEST];
        loop {
            // Looks before it acts: what is written is not due any more.
            open.sealer.reserve::<C>(tx, 4 + LONGEST, CONTROL_ROOM)?;
            let Some((to, len)) = peers.handshake_due(&mut unit, env) else { break };
            let unit = unit.get(..len).unwrap_or_default();
            open.put::<C>(tx, types::RELAY_HANDSHAKE, [&to.0.to_be_bytes(), unit])?;
        }
        let (sessions, window) = peers.debtors();
        for peer in sessions {
            if let Some(to) = peer.id().filter(|_| peer.may_seal()) {
                PeerTx::<C>::new(open, tx, peer, to).pay(window, env.now)?;
            }
        }
        peers.owes_nothing();
        Ok(())
    }

    /// The way to the client of this key, with which there is an [open](Peer::is_open) session.
    ///
    /// # Errors
    /// [`SendError::NotOpen`] without one; [`SendError::Role`] on a server.
    pub fn to_peer<'a, 't, S: Store<Peer>, H: Store<HalfOpen>>(
        &'a mut self,
        tx: &'a mut Tx<'t>,
        peers: &'a mut Peers<C, S, H>,
        key: &PublicKey,
    ) -> Result<PeerTx<'a, 't, C>, SendError> {
        let open = self.with_peers()?;
        let peer = peers.get_mut(key).filter(|peer| peer.is_open()).ok_or(SendError::NotOpen)?;
        let to = peer.id().ok_or(SendError::NotOpen)?;
        Ok(PeerTx::new(open, tx, peer, to))
    }

    fn with_peers(&mut self) -> Result<&mut Open, SendError> {
        let open = self.opened()?;
        open.only_client()?;
        Ok(open)
    }
}

impl<'a, 't, C: Crypto> PeerTx<'a, 't, C> {
    fn new(open: &'a mut Open, tx: &'a mut Tx<'t>, peer: &'a mut Peer, to: PeerId) -> Self {
        let (unit, crypto) = (OpenUnit::default(), core::marker::PhantomData);
        PeerTx { open, tx, peer, to, unit, crypto }
    }

    /// Appends a whole message about [`channel`](crate::peer::channel).
    ///
    /// # Errors
    /// [`SendError::Full`] while the buffer has no room; [`SendError::TooLong`] if it has to be streamed.
    pub fn send(&mut self, channel: u16, kind: Kind, bytes: &[u8]) -> Result<(), SendError> {
        let (kind, header) = frame::message_header(&envelope(channel, kind));
        self.frame(kind, [header.as_slice(), bytes])?;
        self.peer.count();
        Ok(())
    }

    /// Longest message that [`send`](Self::send) can ever take with this buffer and this receiver, in bytes.
    pub fn longest_message(&self) -> usize {
        self.longest_body().saturating_sub(frame::ENVELOPE_MAX)
    }

    /// Whether the other side takes messages larger than a record.
    pub fn takes_streams(&self) -> bool {
        self.peer.takes().0 > 0
    }

    /// Says that a message did not get through. Channel and kind are those of what failed.
    ///
    /// # Errors
    /// [`SendError::Full`] while the buffer has no room.
    pub fn send_failed(
        &mut self,
        channel: u16,
        kind: Kind,
        failure: Failure,
    ) -> Result<(), SendError> {
        let body = frame::failed(&envelope(channel, kind), failure);
        self.frame(types::FAILED, [body.as_slice(), &[]])
    }

    /// Begins a message larger than a record, of `length` bytes if that is known and less than 2^64 - 1.
    ///
    /// # Errors
    /// [`SendError::Streams`] while the receiver takes no further one; [`SendError::Full`].
    pub fn begin(
        &mut self,
        channel: u16,
        kind: Kind,
        length: Option<u64>,
    ) -> Result<StreamId, SendError> {
        let (streams, window) = self.peer.takes();
        let stream = self.peer.streams().free(streams)?;
        let body = frame::begin(stream, &envelope(channel, kind), length);
        self.frame(types::BEGIN, [body.as_slice(), &[]])?;
        self.peer.streams().begin(stream, length, window);
        self.peer.count();
        Ok(stream)
    }

    /// Appends as much of `bytes` as credit and room allow now, and returns how much that was: at least one byte, unless
    /// `bytes` is empty.
    ///
    /// # Errors
    /// [`SendError::NoCredit`] until [`PeerEvent::Credit`](crate::peer::PeerEvent::Credit); [`SendError::Full`] until
    /// the buffer is written; [`SendError::StreamLength`] if it is more than declared.
    pub fn chunk(&mut self, stream: StreamId, bytes: &[u8]) -> Result<usize, SendError> {
        let allowed = self.peer.streams().sendable(stream, bytes.len())?;
        if bytes.is_empty() {
            return Ok(0);
        }
        self.ensure(HEADER + 2)?;
        let used = self.unit.len.saturating_add(HEADER + 1 + TAG);
        let room = self.unit.room.saturating_sub(used);
        let part = bytes.get(..allowed.min(room)).unwrap_or_default();
        self.frame(types::CHUNK, [&[stream.0], part])?;
        self.peer.streams().sent(stream, part.len());
        Ok(part.len())
    }

    /// Ends a stream: the message is complete.
    ///
    /// # Errors
    /// [`SendError::StreamLength`] if less than the declared length was sent; [`SendError::Full`].
    pub fn end(&mut self, stream: StreamId) -> Result<(), SendError> {
        self.peer.streams().may_end(stream)?;
        self.frame(types::END, [&[stream.0], &[]])?;
        self.peer.streams().ended(stream);
        Ok(())
    }

    /// Gives a stream up: the receiver throws away what it has of the message.
    ///
    /// # Errors
    /// [`SendError::NoStream`] if it is not open; [`SendError::Full`].
    pub fn abort(&mut self, stream: StreamId, why: Failure) -> Result<(), SendError> {
        if !self.peer.streams().is_sending(stream) {
            return Err(SendError::NoStream);
        }
        self.frame(types::ABORT, [&[stream.0, why.code()], &[]])?;
        self.peer.streams().ended(stream);
        Ok(())
    }

    /// Writes what the session owes.
    fn pay(&mut self, window: u32, now: Instant) -> Result<(), SendError> {
        while let Some(control) = self.peer.owed(window) {
            self.frame(control.kind, [control.body.as_slice(), &[]])?;
            self.peer.paid(&control, now);
        }
        if self.peer.owes_record() && self.unit.len == 0 {
            self.ensure(0)?;
            self.seal();
        }
        Ok(())
    }

    /// Longest body of one frame that can ever fit.
    fn longest_body(&self) -> usize {
        let outer = self.open.sealer.longest_body(self.tx, CONTROL_ROOM).saturating_sub(4);
        outer.min(self.peer.longest_unit()).saturating_sub(BEFORE + HEADER + TAG)
    }

    fn frame(&mut self, kind: u8, [first, second]: [&[u8]; 2]) -> Result<(), SendError> {
        let body = first.len().saturating_add(second.len());
        self.ensure(HEADER.saturating_add(body))?;
        let full = SendError::Full(0);
        let at = RELAY.saturating_add(self.unit.len);
        let to = self.tx.beyond().get_mut(at..).ok_or(full)?;
        let (header, to) = to.split_first_chunk_mut::<HEADER>().ok_or(full)?;
        let (to_first, to) = to.split_at_mut_checked(first.len()).ok_or(full)?;
        let to_second = to.get_mut(..second.len()).ok_or(full)?;
        // It fits a record, and so a u16.
        let [a, b] = u16::try_from(body).unwrap_or(u16::MAX).to_be_bytes();
        *header = [kind, a, b];
        to_first.copy_from_slice(first);
        to_second.copy_from_slice(second);
        self.unit.len = self.unit.len.saturating_add(HEADER).saturating_add(body);
        Ok(())
    }

    /// Makes room for `len` more bytes in the unit, in another unit or another record if need be.
    fn ensure(&mut self, len: usize) -> Result<(), SendError> {
        loop {
            if self.unit.len == 0 {
                self.start()?;
            }
            let need = self.unit.len.saturating_add(len).saturating_add(TAG);
            let Some(missing) = need.checked_sub(self.unit.room).filter(|n| *n > 0) else {
                return Ok(());
            };
            if self.unit.len > self.unit.before {
                self.seal();
                continue;
            }
            self.unit.len = 0;
            if self.tx.body() == 0 {
                let (longest, missing) = (self.longest_body(), u16::try_from(missing));
                return Err(match len > longest.saturating_add(HEADER) {
                    true => SendError::TooLong(u16::try_from(longest).unwrap_or(u16::MAX)),
                    false => SendError::Full(missing.unwrap_or(u16::MAX)),
                });
            }
            self.open.sealer.seal::<C>(self.tx)?;
        }
    }

    /// Begins a unit behind the open record.
    fn start(&mut self) -> Result<(), SendError> {
        self.open.sealer.check_owner(self.tx)?;
        if !self.peer.may_seal() {
            // The counter is used up; a new session has been wanted for long.
            return Err(SendError::NotOpen);
        }
        self.tx.compact();
        let record = self.tx.body().saturating_add(RELAY + TAG);
        let record = usize::from(self.open.sealer.limit).saturating_sub(record);
        let memory = self.tx.beyond().len().saturating_sub(RELAY + TAG + CONTROL_ROOM);
        self.unit.room = record.min(memory).min(self.peer.longest_unit());
        let unit = self.tx.beyond().get_mut(RELAY..).unwrap_or_default();
        self.unit.before = self.peer.start(unit);
        self.unit.len = self.unit.before;
        Ok(())
    }

    /// Seals the unit, and extends the open record over it.
    fn seal(&mut self) {
        let len = self.unit.len.saturating_add(TAG);
        self.unit = OpenUnit::default();
        let Some(all) = self.tx.beyond().get_mut(..RELAY.saturating_add(len)) else { return };
        let Some((header, unit)) = all.split_first_chunk_mut::<RELAY>() else { return };
        let [a, b] = u16::try_from(len.saturating_add(4)).unwrap_or(u16::MAX).to_be_bytes();
        let [p, q, r, s] = self.to.0.to_be_bytes();
        *header = [frame::relay_kind(Unit::Record), a, b, p, q, r, s];
        self.peer.seal::<C>(unit);
        let n = RELAY.saturating_add(len);
        self.tx.extend(n, self.open.sealer.owner);
    }
}

impl<C: Crypto> Drop for PeerTx<'_, '_, C> {
    fn drop(&mut self) {
        if self.unit.len > self.unit.before {
            self.seal();
        }
    }
}

/// A session has no parties but its two; the field says what is usual between a client and its server.
fn envelope(channel: u16, kind: Kind) -> Envelope {
    Envelope { channel: ChannelId(channel), party: Party::Server, kind }
}
