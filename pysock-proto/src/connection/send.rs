//! Sending. Every operation looks before it acts: an error leaves connection and buffer as they were.

use super::{Connection, open::Open};
use crate::{
    buffer::Tx,
    crypto::Crypto,
    directory::{Find, PeerInfo},
    error::{Failure, SendError},
    id::{ChannelId, ChannelName, PeerId, StreamId},
    limits::{Limits, MAX_QUESTIONS},
    message::{Envelope, Unit},
    record::CONTROL_ROOM,
    wire::{
        block::Block,
        control,
        frame::{self, types},
    },
};

impl Open {
    pub(super) fn only_client(&self) -> Result<(), SendError> {
        if self.role.is_server() { Err(SendError::Role) } else { Ok(()) }
    }

    fn only_server(&self) -> Result<(), SendError> {
        if self.role.is_server() { Ok(()) } else { Err(SendError::Role) }
    }

    /// A client may have so many questions open.
    fn ask<C: Crypto>(&mut self, tx: &mut Tx<'_>, kind: u8, body: &[u8]) -> Result<(), SendError> {
        self.only_client()?;
        if self.questions >= MAX_QUESTIONS {
            return Err(SendError::Questions);
        }
        self.put::<C>(tx, kind, [body, &[]])?;
        self.questions = self.questions.saturating_add(1);
        Ok(())
    }

    /// A server answers each question once.
    fn answer<C: Crypto>(
        &mut self,
        tx: &mut Tx<'_>,
        kind: u8,
        body: &[u8],
    ) -> Result<(), SendError> {
        self.only_server()?;
        let left = self.questions.checked_sub(1).ok_or(SendError::Questions)?;
        self.put::<C>(tx, kind, [body, &[]])?;
        self.questions = left;
        Ok(())
    }
}

impl<C: Crypto> Connection<C> {
    /// Appends a whole message to the open record. Nothing leaves before [`flush`](Self::flush), so that
    /// many messages share one record.
    ///
    /// # Errors
    /// [`SendError::Full`] while the buffer has no room; [`SendError::TooLong`] if it has to be streamed.
    pub fn send(
        &mut self,
        tx: &mut Tx<'_>,
        envelope: &Envelope,
        bytes: &[u8],
    ) -> Result<(), SendError> {
        let (kind, header) = frame::message_header(envelope);
        self.opened()?.put::<C>(tx, kind, [header.as_slice(), bytes])
    }

    /// Appends the messages of a block, as [`send`](Self::send) does one by one, and in one go where the block has the
    /// [header bytes](Block::header_of) that this envelope needs. Returns how many were appended, and why not all.
    pub fn send_block(
        &mut self,
        tx: &mut Tx<'_>,
        envelope: &Envelope,
        block: Block<'_>,
    ) -> (usize, Result<(), SendError>) {
        let (kind, header) = frame::message_header(envelope);
        let header = header.as_slice();
        let open = match self.opened() {
            Ok(open) => open,
            Err(error) => return (0, Err(error)),
        };
        let (mut sent, mut rest) = (0_usize, block);
        while let Some(bytes) = rest.iter().next() {
            // The first of each record, with all that may be due before it; the others only follow.
            if let Err(error) = open.put::<C>(tx, kind, [header, bytes]) {
                return (sent, Err(error));
            }
            rest = rest.skip(1);
            let (joined, left) = open.sealer.join(tx, (kind, header), rest, CONTROL_ROOM);
            rest = left;
            sent = sent.saturating_add(1).saturating_add(joined);
        }
        (sent, Ok(()))
    }

    /// Longest message that [`send`](Self::send) can ever take with this buffer and this receiver, in bytes.
    pub fn longest_message(&self, tx: &Tx<'_>) -> usize {
        match &self.phase {
            super::Phase::Open(open) => {
                let body = open.sealer.longest_body(tx, CONTROL_ROOM);
                body.saturating_sub(frame::ENVELOPE_MAX)
            }
            _ => 0,
        }
    }

    /// Says that a message did not get through. The envelope is that of what failed.
    ///
    /// # Errors
    /// [`SendError::Full`] while the buffer has no room.
    pub fn send_failed(
        &mut self,
        tx: &mut Tx<'_>,
        envelope: &Envelope,
        failure: Failure,
    ) -> Result<(), SendError> {
        let body = frame::failed(envelope, failure);
        self.opened()?.put::<C>(tx, types::FAILED, [body.as_slice(), &[]])
    }

    /// Begins a message larger than a record, of `length` bytes if that is known and less than 2^64 - 1.
    ///
    /// # Errors
    /// [`SendError::Streams`] while the receiver takes no further one; [`SendError::Full`].
    pub fn begin(
        &mut self,
        tx: &mut Tx<'_>,
        envelope: &Envelope,
        length: Option<u64>,
    ) -> Result<StreamId, SendError> {
        let open = self.opened()?;
        let Limits { streams, window, .. } = open.theirs;
        let stream = open.streams.free(streams)?;
        let body = frame::begin(stream, envelope, length);
        open.put::<C>(tx, types::BEGIN, [body.as_slice(), &[]])?;
        open.streams.begin(stream, length, window);
        Ok(stream)
    }

    /// Appends as much of `bytes` as credit and room allow now, and returns how much that was: at least one byte,
    /// unless `bytes` is empty.
    ///
    /// # Errors
    /// [`SendError::NoCredit`] until [`Event::Credit`](super::Event::Credit); [`SendError::Full`] until the buffer
    /// is written; [`SendError::StreamLength`] if it is more than declared.
    pub fn chunk(
        &mut self,
        tx: &mut Tx<'_>,
        stream: StreamId,
        bytes: &[u8],
    ) -> Result<usize, SendError> {
        let open = self.opened()?;
        let allowed = open.streams.sendable(stream, bytes.len())?;
        let room = open.sealer.room(tx, CONTROL_ROOM).saturating_sub(1);
        let part = bytes.get(..allowed.min(room)).unwrap_or_default();
        if part.is_empty() {
            return if bytes.is_empty() { Ok(0) } else { Err(SendError::Full(1)) };
        }
        open.put::<C>(tx, types::CHUNK, [&[stream.0], part])?;
        open.streams.sent(stream, part.len());
        Ok(part.len())
    }

    /// Ends a stream: the message is complete.
    ///
    /// # Errors
    /// [`SendError::StreamLength`] if less than the declared length was sent; [`SendError::Full`].
    pub fn end(&mut self, tx: &mut Tx<'_>, stream: StreamId) -> Result<(), SendError> {
        let open = self.opened()?;
        open.streams.may_end(stream)?;
        open.put::<C>(tx, types::END, [&[stream.0], &[]])?;
        open.streams.ended(stream);
        Ok(())
    }

    /// Gives a stream up: the receiver throws away what it has of the message.
    ///
    /// # Errors
    /// [`SendError::NoStream`] if it is not open; [`SendError::Full`].
    pub fn abort(
        &mut self,
        tx: &mut Tx<'_>,
        stream: StreamId,
        why: Failure,
    ) -> Result<(), SendError> {
        let open = self.opened()?;
        if !open.streams.is_sending(stream) {
            return Err(SendError::NoStream);
        }
        open.put::<C>(tx, types::ABORT, [&[stream.0, why.code()], &[]])?;
        open.streams.ended(stream);
        Ok(())
    }

    /// Says that `n` more bytes of a stream are dealt with, so that the sender may go on. Flush tells it.
    pub fn consumed(&mut self, stream: StreamId, n: usize) {
        let window = self.limits.window;
        if let Ok(open) = self.opened() {
            open.streams.consumed(stream, n, window);
        }
    }

    /// Wants no more of a stream that the other side sends. Flush tells it; no further event comes of that stream.
    pub fn stop(&mut self, stream: StreamId, why: Failure) {
        if let Ok(open) = self.opened() {
            open.streams.stop(stream, why);
        }
    }

    /// Passes on a sealed unit of two clients: to a server, `peer` says whom it is for; from a server, whom it is
    /// from.
    ///
    /// # Errors
    /// [`SendError::Full`] while the buffer has no room; [`SendError::TooLong`] if the receiver takes no unit of
    /// this length.
    pub fn relay(
        &mut self,
        tx: &mut Tx<'_>,
        peer: PeerId,
        unit: Unit,
        bytes: &[u8],
    ) -> Result<(), SendError> {
        self.opened()?.put::<C>(tx, frame::relay_kind(unit), [&peer.0.to_be_bytes(), bytes])
    }

    /// Server: says that a unit for `peer` was not passed on.
    ///
    /// # Errors
    /// [`SendError::Full`] while the buffer has no room.
    pub fn relay_failed(
        &mut self,
        tx: &mut Tx<'_>,
        peer: PeerId,
        failure: Failure,
    ) -> Result<(), SendError> {
        let open = self.opened()?;
        open.only_server()?;
        let body = frame::relay_failed(peer, failure);
        open.put::<C>(tx, types::RELAY_FAILED, [body.as_slice(), &[]])
    }

    /// Client: asks to be on a channel and returns the number that will stand for it.
    ///
    /// # Errors
    /// [`SendError::Questions`] while too many are unanswered; [`SendError::Full`].
    pub fn open_channel(
        &mut self,
        tx: &mut Tx<'_>,
        name: &ChannelName,
    ) -> Result<ChannelId, SendError> {
        let open = self.opened()?;
        let id = u16::try_from(open.next_channel).map_err(|_| SendError::Channels)?;
        let body = control::encode_open(ChannelId(id), name);
        open.ask::<C>(tx, types::OPEN, body.as_slice())?;
        open.next_channel = open.next_channel.saturating_add(1);
        Ok(ChannelId(id))
    }

    /// Client: wants nothing more from a channel. Messages under way may still arrive.
    ///
    /// # Errors
    /// [`SendError::Full`] while the buffer has no room.
    pub fn leave_channel(&mut self, tx: &mut Tx<'_>, id: ChannelId) -> Result<(), SendError> {
        let open = self.opened()?;
        open.only_client()?;
        let body = control::encode_leave(id);
        open.put::<C>(tx, types::LEAVE, [body.as_slice(), &[]])
    }

    /// Client: looks for another client. The answer repeats `query`.
    ///
    /// # Errors
    /// [`SendError::Questions`] while too many are unanswered; [`SendError::Full`].
    pub fn find(&mut self, tx: &mut Tx<'_>, query: u16, find: &Find) -> Result<(), SendError> {
        let body = control::encode_find(query, find);
        self.opened()?.ask::<C>(tx, types::FIND, body.as_slice())
    }

    /// Server: answers [`Event::Open`](super::Event::Open).
    ///
    /// # Errors
    /// [`SendError::Questions`] if none is open; [`SendError::Full`].
    pub fn answer_open(
        &mut self,
        tx: &mut Tx<'_>,
        id: ChannelId,
        result: Result<(), Failure>,
    ) -> Result<(), SendError> {
        let failure = result.map_or_else(|why| why.code().max(1), |()| 0);
        let body = control::encode_opened(id, failure);
        self.opened()?.answer::<C>(tx, types::OPENED, body.as_slice())
    }

    /// Server: answers [`Event::Find`](super::Event::Find).
    ///
    /// # Errors
    /// [`SendError::Questions`] if none is open; [`SendError::Full`].
    pub fn answer_find(
        &mut self,
        tx: &mut Tx<'_>,
        query: u16,
        peer: Option<&PeerInfo>,
    ) -> Result<(), SendError> {
        let body = control::encode_found(query, peer);
        self.opened()?.answer::<C>(tx, types::FOUND, body.as_slice())
    }

    /// Server: says whom a number stands for, before the first message that is stamped with it.
    ///
    /// # Errors
    /// [`SendError::Full`] while the buffer has no room.
    pub fn announce(&mut self, tx: &mut Tx<'_>, peer: &PeerInfo) -> Result<(), SendError> {
        let open = self.opened()?;
        open.only_server()?;
        let body = control::encode_peer(peer);
        open.put::<C>(tx, types::PEER, [body.as_slice(), &[]])
    }
}
