//! Records of sessions: which session they belong to, and what their frames say.

use super::{HalfOpen, Peer, PeerEvent, Peers, Stage, Undecided, half::First, session::Opened};
use crate::{
    crypto::{Crypto, Env},
    directory::PeerInfo,
    error::{CloseReason, FrameError, PeerError},
    id::ChannelId,
    key::PublicKey,
    limits::Limits,
    message::{Envelope, Kind, Party, Unit},
    store::Store,
    time::Instant,
    wire::{
        Reader,
        block::Block,
        frame::{self, Frame, HEADER},
        inner::{self, RECORD_HEADER, Received, step},
    },
};

/// A unit that has arrived and is being read: give it to [`Peers::next`] until that gives `None`. Borrows only the
/// receive buffer.
pub struct Incoming<'b> {
    from: PublicKey,
    first: Option<PeerEvent<'b>>,
    rest: &'b [u8],
    /// The streams of its session are the present ones.
    streams: bool,
}

impl<C: Crypto, S: Store<Peer>, H: Store<HalfOpen>> Peers<C, S, H> {
    /// Deals with a unit that the server says is from `from`: decrypts it in place, at most once. What it says comes
    /// from [`next`](Self::next). What does not authenticate says nothing and is [counted](Self::dropped).
    // As part of its only caller it would take 0.7 KiB more flash, and deepen the stack of everything else there.
    #[inline(never)]
    pub fn receive<'b>(
        &mut self,
        from: &PeerInfo,
        unit: Unit,
        bytes: &'b mut [u8],
        env: &Env<'_>,
    ) -> Incoming<'b> {
        let mut incoming = Incoming { from: from.key, first: None, rest: &[], streams: false };
        match unit {
            Unit::Handshake => incoming.first = self.meet(from, bytes, env),
            Unit::Record => match self.record(from, bytes, env) {
                Ok((rest, streams)) => (incoming.rest, incoming.streams) = (rest, streams),
                Err(why) => {
                    incoming.first = why.map(PeerEvent::Failed);
                    self.dropped = self.dropped.saturating_add(1);
                }
            },
        }
        incoming
    }

    /// Opens a record in whichever session it belongs to. Gives its frames, or what the caller has to hear of it.
    fn record<'b>(
        &mut self,
        from: &PeerInfo,
        unit: &'b mut [u8],
        env: &Env<'_>,
    ) -> Result<(&'b [u8], bool), Option<PeerError>> {
        let header = *unit.first_chunk::<RECORD_HEADER>().ok_or(None)?;
        if let Some(at) = self.confirms(from, header) {
            return self.confirm(at, from, header, unit, env);
        }
        let Some(peer) = self.get_mut(&from.key) else {
            self.notice(from.id, step::NO_SESSION, header, 0, env.now);
            return Err(None);
        };
        let is_late = peer.is_late(header);
        let Some((record, present)) = peer.open::<C>(unit) else {
            if !is_late {
                self.notice(from.id, step::NO_SESSION, header, 0, env.now);
            }
            return Err(None);
        };
        peer.is_called(from.id);
        let frames = accept(peer, &record, present, env.now);
        self.owing = true;
        frames
    }

    /// The handshake that waits for the first record of its session, if this header may be one.
    fn confirms(&self, from: &PeerInfo, header: [u8; RECORD_HEADER]) -> Option<usize> {
        self.position(|half| match &half.stage {
            Stage::Confirm { session: Some(session), .. } => {
                let (label, _) = inner::decode_record_header(header);
                half.peer.key == from.key && session.receiving.label == label
            }
            _ => false,
        })
    }

    /// A record for a session that was not confirmed yet: if it authenticates, the session takes the place of the one
    /// before.
    fn confirm<'b>(
        &mut self,
        at: usize,
        from: &PeerInfo,
        header: [u8; RECORD_HEADER],
        unit: &'b mut [u8],
        env: &Env<'_>,
    ) -> Result<(&'b [u8], bool), Option<PeerError>> {
        let half = self.halves.as_mut_slice().get_mut(at).ok_or(None)?;
        let (key, accepted) = (half.peer.key, half.undecided == Undecided::Nothing);
        let Stage::Confirm { session: Some(session), first } = &mut half.stage else {
            return Err(None);
        };
        let is_late = inner::decode_record_header(header).1 < session.receiving.next();
        let Some(record) = session.receiving.open::<C>(unit) else {
            if !is_late {
                // It may be of a handshake that this one has taken the place of.
                self.notice(from.id, step::NO_SESSION, header, 0, env.now);
            }
            return Err(None);
        };
        if !accepted {
            // Before its key is accepted, a peer has nothing to say.
            let mut from = Reader(record.text);
            if let (true, Some(number), Some(records), []) =
                (record.first, from.u32(), from.u32(), from.0)
            {
                *first = Some(First { number, records });
                return Ok((&[], false));
            }
            return Err(None);
        }
        self.install(at, env.now)?;
        accept(self.get_mut(&key).ok_or(None)?, &record, true, env.now)
    }

    /// What a unit says next.
    pub fn next<'b>(&mut self, incoming: &mut Incoming<'b>) -> Option<PeerEvent<'b>> {
        if let Some(event) = incoming.first.take() {
            return Some(event);
        }
        let ours = self.limits;
        // What frames make due: the last flush may have been a moment ago.
        self.owing |= !incoming.rest.is_empty();
        let peer = self.get_mut(&incoming.from)?;
        loop {
            if let Some(news) = peer.news() {
                return Some(news);
            }
            let &kind = incoming.rest.first()?;
            let event = frame::split(incoming.rest).and_then(|(kind, len)| {
                let (head, rest) = incoming.rest.split_at(HEADER.saturating_add(len));
                incoming.rest = rest;
                let body = head.get(HEADER..).unwrap_or_default();
                act(peer, kind, body, incoming.streams.then_some(&ours))
            });
            match event {
                Ok(Some(event)) => return Some(event),
                Ok(None) => {}
                Err(why) => {
                    incoming.rest = &[];
                    peer.fail();
                    return Some(PeerEvent::Failed(PeerError::Protocol(kind, why)));
                }
            }
        }
    }
}

impl<C: Crypto, S: Store<Peer>, H: Store<HalfOpen>> Peers<C, S, H> {
    /// Takes more one-way messages about the same channel as the one that [`next`](Self::next) has just given, and their
    /// number. It is what `next` would give, one event for each, at less cost; other frames stay for it.
    pub fn next_block<'b>(
        &mut self,
        incoming: &mut Incoming<'b>,
        channel: u16,
    ) -> (Block<'b>, usize) {
        let (party, kind) = (Party::Server, Kind::Message);
        let envelope = Envelope { channel: ChannelId(channel), party, kind };
        let (block, count) = Block::alike(incoming.rest, &envelope);
        let Some(peer) = self.get_mut(&incoming.from).filter(|peer| !peer.is_deaf()) else {
            return (Block::new(&[], block.header()), 0);
        };
        incoming.rest = incoming.rest.get(block.bytes().len()..).unwrap_or_default();
        for _ in 0..count {
            peer.counted();
        }
        (block, count)
    }
}

/// Length of what stands in front of the frames of a session's first record.
pub(crate) const FIRST_HEADER: usize = 4 + 4;

/// Takes note of what a record says of those before it. Gives its frames, and whether streams in it count.
fn accept<'b>(
    peer: &mut Peer,
    record: &Opened<'b>,
    present: bool,
    now: Instant,
) -> Result<(&'b [u8], bool), Option<PeerError>> {
    if peer.is_deaf() {
        return Err(None);
    }
    let mut from = Reader(record.text);
    let number = from.u32();
    let records = if record.first { from.u32() } else { Some(0) };
    let arrived = match (number, records) {
        (Some(number), Some(records)) => {
            peer.arrived(record, present, First { number, records }, now)
        }
        _ => false,
    };
    if !arrived {
        peer.fail();
        return Err(Some(PeerError::Protocol(0, FrameError::Body)));
    }
    Ok((from.0, peer.streams_count(present)))
}

/// The rules of a session's frames: what a frame changes, and what the caller hears of it. Without limits, the streams
/// it may belong to are over.
fn act<'b>(
    peer: &mut Peer,
    kind: u8,
    body: &'b [u8],
    streams: Option<&Limits>,
) -> Result<Option<PeerEvent<'b>>, FrameError> {
    if peer.is_deaf() {
        return Ok(None);
    }
    let mut from = Reader(body);
    match kind {
        inner::types::RECEIVED => {
            peer.told(Received::take(&mut from).ok_or(FrameError::Body)?)?;
            return Ok(None);
        }
        inner::types::CLOSE => {
            let why = CloseReason::from_code(from.u8().ok_or(FrameError::Body)?);
            peer.told(Received::take(&mut from).ok_or(FrameError::Body)?)?;
            peer.closed(why);
            return Ok(None);
        }
        0x10..=0x12 | frame::types::FAILED | frame::types::BEGIN..=frame::types::DONE => {}
        unknown if unknown & frame::types::IGNORABLE != 0 => return Ok(None),
        _ => return Err(FrameError::Unknown),
    }
    let frame = frame::decode(kind, body)?;
    if frame.envelope().is_some_and(|envelope| envelope.party != Party::Server) {
        return Err(FrameError::Body);
    }
    if matches!(frame, Frame::Message { .. } | Frame::Begin { .. }) {
        peer.counted();
    }
    let is_heard = match (&frame, streams) {
        (Frame::Message { .. } | Frame::Failed { .. }, _) => true,
        (_, Some(ours)) => peer.streams.act(&frame, ours)?,
        // It belongs to streams that are over on this side; a message that begins is as good as lost.
        (_, None) => {
            peer.misses(u32::from(matches!(frame, Frame::Begin { .. })));
            false
        }
    };
    if !is_heard {
        return Ok(None);
    }
    Ok(Some(match frame {
        Frame::Message { envelope: Envelope { channel, kind, .. }, bytes } => {
            PeerEvent::Message { channel: channel.0, kind, bytes }
        }
        Frame::Failed { envelope: Envelope { channel, kind, .. }, failure } => {
            PeerEvent::Refused { channel: channel.0, kind, failure }
        }
        Frame::Begin { stream, envelope: Envelope { channel, kind, .. }, length } => {
            PeerEvent::Begin { stream, channel: channel.0, kind, length }
        }
        Frame::Chunk { stream, bytes } => PeerEvent::Chunk { stream, bytes },
        Frame::End(stream) => PeerEvent::End(stream),
        Frame::Abort { stream, failure } => PeerEvent::Aborted { stream, failure },
        Frame::Stop { stream, failure } => PeerEvent::Stopped { stream, failure },
        Frame::Credit { stream, .. } => PeerEvent::Credit(stream),
        _ => return Ok(None),
    }))
}
