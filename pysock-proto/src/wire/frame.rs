//! Frames: what records carry, several in one.
//!
//! ```text
//! | type | length of the body (u16) | body |
//! ```
//! A frame whose type has bit 7 set is skipped when unknown; any other unknown type is fatal.

use super::{Reader, Writer, control};
use crate::{
    directory::PeerInfo,
    error::{CloseReason, Failure, FrameError, Refusal},
    id::{ChannelId, PeerId, RequestId, StreamId},
    message::{Envelope, Kind, Party, Unit},
};

/// Length of a frame's header.
pub(crate) const HEADER: usize = 3;
/// Longest header of a message: channel, party, request.
pub(crate) const ENVELOPE_MAX: usize = 2 + 4 + 4;

/// Frame types. Reserved for what comes later, all fatal today: 0x33–0x37 relays between clients, 0x38–0x3b
/// session resumption, 0x3c–0x3f mail, 0x0c–0x0f presence, moved servers and wildcards.
pub(crate) mod types {
    pub(crate) const WELCOME: u8 = 0x01;
    pub(crate) const REFUSED: u8 = 0x02;
    pub(crate) const CLOSE: u8 = 0x03;
    pub(crate) const PING: u8 = 0x04;
    pub(crate) const PONG: u8 = 0x05;
    pub(crate) const OPEN: u8 = 0x06;
    pub(crate) const OPENED: u8 = 0x07;
    pub(crate) const LEAVE: u8 = 0x08;
    pub(crate) const FIND: u8 = 0x09;
    pub(crate) const FOUND: u8 = 0x0a;
    pub(crate) const PEER: u8 = 0x0b;
    /// Bits 0–1 are the kind (0 message, 1 request, 2 reply), bit 2 says that a party follows.
    pub(crate) const MESSAGE: u8 = 0x10;
    pub(crate) const FAILED: u8 = 0x18;
    pub(crate) const BEGIN: u8 = 0x20;
    pub(crate) const CHUNK: u8 = 0x21;
    pub(crate) const END: u8 = 0x22;
    pub(crate) const ABORT: u8 = 0x23;
    pub(crate) const STOP: u8 = 0x24;
    pub(crate) const CREDIT: u8 = 0x25;
    pub(crate) const DONE: u8 = 0x26;
    pub(crate) const RELAY_HANDSHAKE: u8 = 0x30;
    pub(crate) const RELAY_RECORD: u8 = 0x31;
    pub(crate) const RELAY_FAILED: u8 = 0x32;
    /// This bit says: skip me if you do not know me.
    pub(crate) const IGNORABLE: u8 = 0x80;
}

const KIND_REQUEST: u8 = 1;
const KIND_REPLY: u8 = 2;
const PARTY_FOLLOWS: u8 = 4;

/// A frame that decodes. It can hold no illegal value; whether it is allowed now is for the connection to say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Frame<'b> {
    Welcome {
        id: u32,
        suites: &'b [u8],
    },
    Refused(Refusal),
    Close(CloseReason),
    Ping([u8; 4]),
    Pong,
    Opened {
        id: ChannelId,
        result: Result<(), Failure>,
    },
    Found {
        query: u16,
        peer: Option<PeerInfo>,
    },
    Peer(PeerInfo),
    Message {
        envelope: Envelope,
        bytes: &'b [u8],
    },
    Failed {
        envelope: Envelope,
        failure: Failure,
    },
    Begin {
        stream: StreamId,
        envelope: Envelope,
        length: Option<u64>,
    },
    Chunk {
        stream: StreamId,
        bytes: &'b [u8],
    },
    End(StreamId),
    Abort {
        stream: StreamId,
        failure: Failure,
    },
    Stop {
        stream: StreamId,
        failure: Failure,
    },
    Credit {
        stream: StreamId,
        bytes: u32,
    },
    Done(StreamId),
    RelayFailed {
        peer: PeerId,
        failure: Failure,
    },
    /// Unknown and ignorable.
    Skipped,
}

impl Frame<'_> {
    /// Which message it is, or belongs to, if it says so itself.
    pub(crate) fn envelope(&self) -> Option<&Envelope> {
        match self {
            Frame::Message { envelope, .. }
            | Frame::Failed { envelope, .. }
            | Frame::Begin { envelope, .. } => Some(envelope),
            _ => None,
        }
    }
}

/// Type byte and header of a message.
pub(crate) fn message_header(envelope: &Envelope) -> (u8, Writer<ENVELOPE_MAX>) {
    let mut out = Writer::new();
    out.put(&envelope.channel.0.to_be_bytes());
    let mut kind = types::MESSAGE;
    if envelope.party != Party::Server {
        kind |= PARTY_FOLLOWS;
        out.put(&envelope.party.to_wire().to_be_bytes());
    }
    match envelope.kind {
        Kind::Message => {}
        Kind::Request(id) => {
            kind |= KIND_REQUEST;
            out.put(&id.0.to_be_bytes());
        }
        Kind::Reply(id) => {
            kind |= KIND_REPLY;
            out.put(&id.0.to_be_bytes());
        }
    }
    (kind, out)
}

/// An envelope with all fields: type bits, channel, party, request. For frames that are rare.
fn put_envelope<const N: usize>(out: &mut Writer<N>, envelope: &Envelope) {
    let (kind, id) = match envelope.kind {
        Kind::Message => (0, 0),
        Kind::Request(id) => (KIND_REQUEST, id.0),
        Kind::Reply(id) => (KIND_REPLY, id.0),
    };
    out.put(&[kind])
        .put(&envelope.channel.0.to_be_bytes())
        .put(&envelope.party.to_wire().to_be_bytes())
        .put(&id.to_be_bytes());
}

fn take_envelope(from: &mut Reader<'_>) -> Option<Envelope> {
    let (kind, channel, party, id) = (from.u8()?, from.u16()?, from.u32()?, RequestId(from.u32()?));
    let kind = match kind {
        0 => Kind::Message,
        KIND_REQUEST => Kind::Request(id),
        KIND_REPLY => Kind::Reply(id),
        _ => return None,
    };
    Some(Envelope { channel: ChannelId(channel), party: Party::from_wire(party), kind })
}

pub(crate) fn failed(envelope: &Envelope, failure: Failure) -> Writer<12> {
    let mut out = Writer::new();
    put_envelope(&mut out, envelope);
    out.put(&[failure.code()]);
    out
}

/// A length that is not known beforehand travels as 2^64 - 1.
const UNKNOWN_LENGTH: u64 = u64::MAX;

pub(crate) fn begin(stream: StreamId, envelope: &Envelope, length: Option<u64>) -> Writer<20> {
    let mut out = Writer::new();
    out.put(&[stream.0]);
    put_envelope(&mut out, envelope);
    out.put(&length.unwrap_or(UNKNOWN_LENGTH).to_be_bytes());
    out
}

/// What kind of sealed unit a frame of this type passes on.
pub(crate) fn relayed(kind: u8) -> Option<Unit> {
    match kind {
        types::RELAY_HANDSHAKE => Some(Unit::Handshake),
        types::RELAY_RECORD => Some(Unit::Record),
        _ => None,
    }
}

/// The type of the frame that passes on such a unit.
pub(crate) fn relay_kind(unit: Unit) -> u8 {
    match unit {
        Unit::Handshake => types::RELAY_HANDSHAKE,
        Unit::Record => types::RELAY_RECORD,
    }
}

/// Splits the peer off a relayed unit, which stays as it is: only the peer can read it.
pub(crate) fn decode_relay(body: &mut [u8]) -> Result<(PeerId, &mut [u8]), FrameError> {
    let (number, unit) = body.split_first_chunk_mut::<4>().ok_or(FrameError::Body)?;
    if unit.is_empty() {
        return Err(FrameError::Body);
    }
    Ok((peer(u32::from_be_bytes(*number))?, unit))
}

fn peer(number: u32) -> Result<PeerId, FrameError> {
    match Party::from_wire(number) {
        Party::Peer(peer) => Ok(peer),
        _ => Err(FrameError::Body),
    }
}

pub(crate) fn relay_failed(peer: PeerId, failure: Failure) -> Writer<5> {
    let mut out = Writer::new();
    out.put(&peer.0.to_be_bytes()).put(&[failure.code()]);
    out
}

/// Splits the first frame off `record`: its type, its body, and what follows.
pub(crate) fn split(record: &[u8]) -> Result<(u8, usize), FrameError> {
    let [kind, a, b, rest @ ..] = record else { return Err(FrameError::Length) };
    let len = usize::from(u16::from_be_bytes([*a, *b]));
    if len > rest.len() { Err(FrameError::Length) } else { Ok((*kind, len)) }
}

/// Whether `record` begins with a frame of this type whose body begins with `header`: then the length of its body.
pub(crate) fn is_alike(record: &[u8], kind: u8, header: &[u8]) -> Option<usize> {
    let (found, len) = split(record).ok()?;
    let body = record.get(HEADER..)?.get(..len)?;
    (found == kind && body.starts_with(header)).then_some(len)
}

fn message<'b>(kind: u8, mut from: Reader<'b>) -> Option<Frame<'b>> {
    let channel = ChannelId(from.u16()?);
    let party = match kind & PARTY_FOLLOWS {
        0 => Party::Server,
        // One encoding for each message: the server is meant by saying nothing.
        _ => match Party::from_wire(from.u32()?) {
            Party::Server => return None,
            party => party,
        },
    };
    let kind = match kind & !(types::MESSAGE | PARTY_FOLLOWS) {
        0 => Kind::Message,
        KIND_REQUEST => Kind::Request(RequestId(from.u32()?)),
        _ => Kind::Reply(RequestId(from.u32()?)),
    };
    Some(Frame::Message { envelope: Envelope { channel, party, kind }, bytes: from.0 })
}

/// Frames of streams; `None` if the body has a wrong length.
fn stream<'b>(kind: u8, mut from: Reader<'b>) -> Option<Frame<'b>> {
    let stream = StreamId(from.u8()?);
    let frame = match kind {
        types::BEGIN => {
            let envelope = take_envelope(&mut from)?;
            let length = Some(from.u64()?).filter(|&n| n != UNKNOWN_LENGTH);
            Frame::Begin { stream, envelope, length }
        }
        types::CHUNK => {
            return (!from.0.is_empty()).then_some(Frame::Chunk { stream, bytes: from.0 });
        }
        types::END => Frame::End(stream),
        types::ABORT => Frame::Abort { stream, failure: Failure::from_code(from.u8()?) },
        types::STOP => Frame::Stop { stream, failure: Failure::from_code(from.u8()?) },
        types::CREDIT => Frame::Credit { stream, bytes: from.u32()? },
        _ => Frame::Done(stream),
    };
    from.0.is_empty().then_some(frame)
}

/// Whether only a client sends frames of this type. A server decodes them on its own.
pub(crate) fn is_clients(kind: u8) -> bool {
    matches!(kind, types::OPEN | types::LEAVE | types::FIND)
}

/// Decodes one frame of any other type.
#[inline(never)] // Called once, and smaller for a microcontroller on its own.
pub(crate) fn decode(kind: u8, body: &[u8]) -> Result<Frame<'_>, FrameError> {
    let code = || body.first().copied().ok_or(FrameError::Body);
    Ok(match kind {
        0x10..=0x12 | 0x14..=0x16 => message(kind, Reader(body)).ok_or(FrameError::Body)?,
        types::BEGIN..=types::DONE => stream(kind, Reader(body)).ok_or(FrameError::Body)?,
        types::FAILED => {
            let mut from = Reader(body);
            let envelope = take_envelope(&mut from).ok_or(FrameError::Body)?;
            Frame::Failed {
                envelope,
                failure: Failure::from_code(from.u8().ok_or(FrameError::Body)?),
            }
        }
        types::RELAY_FAILED => {
            let mut from = Reader(body);
            let number = from.u32().ok_or(FrameError::Body)?;
            let failure = Failure::from_code(from.u8().ok_or(FrameError::Body)?);
            Frame::RelayFailed { peer: peer(number)?, failure }
        }
        types::WELCOME => {
            let (id, suites) = control::decode_welcome(body)?;
            if matches!(id, 0 | u32::MAX) {
                return Err(FrameError::Body);
            }
            Frame::Welcome { id, suites }
        }
        types::REFUSED => Frame::Refused(Refusal::from_code(code()?)),
        types::CLOSE => Frame::Close(CloseReason::from_code(code()?)),
        types::PING => Frame::Ping(Reader(body).array().ok_or(FrameError::Body)?),
        types::PONG => Frame::Pong,
        types::OPENED => {
            let (id, failure) = control::decode_opened(body)?;
            let result = if failure == 0 { Ok(()) } else { Err(Failure::from_code(failure)) };
            Frame::Opened { id, result }
        }
        types::FOUND => {
            let (query, peer) = control::decode_found(body)?;
            Frame::Found { query, peer }
        }
        types::PEER => Frame::Peer(control::decode_peer(body)?),
        clients if is_clients(clients) => return Err(FrameError::Role),
        unknown if unknown & types::IGNORABLE != 0 => Frame::Skipped,
        _ => return Err(FrameError::Unknown),
    })
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::id::PeerId;
    use std::vec::Vec;

    fn envelopes() -> Vec<Envelope> {
        let id = RequestId(0x0102_0304);
        let parties = [Party::Server, Party::Everyone, Party::Peer(PeerId(77))];
        let kinds = [Kind::Message, Kind::Request(id), Kind::Reply(id)];
        let pairs = parties.into_iter().flat_map(|p| kinds.map(|k| (p, k)));
        pairs.map(|(party, kind)| Envelope { channel: ChannelId(0x0506), party, kind }).collect()
    }

    #[test]
    fn messages_round_trip_with_short_headers() {
        for envelope in envelopes() {
            let (kind, head) = message_header(&envelope);
            let bytes = [head.as_slice(), b"hello"].concat();
            assert_eq!(decode(kind, &bytes), Ok(Frame::Message { envelope, bytes: b"hello" }));
            for len in 0..head.as_slice().len() {
                assert_eq!(decode(kind, &bytes[..len]), Err(FrameError::Body), "cut at {len}");
            }
        }
        let to_server = envelopes()[0];
        assert_eq!(HEADER + message_header(&to_server).1.as_slice().len(), 5);
    }

    #[test]
    fn rare_frames_round_trip() {
        let stream = StreamId(3);
        for envelope in envelopes() {
            let failure = Failure::TooLarge;
            let body = failed(&envelope, failure);
            assert_eq!(
                decode(types::FAILED, body.as_slice()),
                Ok(Frame::Failed { envelope, failure })
            );
            for length in [None, Some(0), Some(u64::MAX - 1)] {
                let body = begin(stream, &envelope, length);
                let begin = Frame::Begin { stream, envelope, length };
                assert_eq!(decode(types::BEGIN, body.as_slice()), Ok(begin));
            }
        }
        assert_eq!(decode(types::END, &[3]), Ok(Frame::End(stream)));
        assert_eq!(decode(types::END, &[3, 0]), Err(FrameError::Body));
        assert_eq!(decode(types::CHUNK, &[3]), Err(FrameError::Body), "a chunk carries something");
    }

    #[test]
    fn unknown_types_are_fatal_unless_ignorable() {
        for kind in 0..=255u8 {
            let unknown = decode(kind, &[0; 40]);
            match kind {
                0x80.. => assert_eq!(unknown, Ok(Frame::Skipped)),
                0x00 | 0x0c..=0x0f | 0x13 | 0x17 | 0x19..=0x1f | 0x27..=0x31 | 0x33..=0x7f => {
                    assert_eq!(unknown, Err(FrameError::Unknown), "{kind:#x}");
                }
                _ => assert_ne!(unknown, Err(FrameError::Unknown), "{kind:#x}"),
            }
        }
    }

    #[test]
    fn a_frame_longer_than_its_record_is_refused() {
        assert_eq!(split(&[1, 0]), Err(FrameError::Length));
        assert_eq!(split(&[1, 0, 1]), Err(FrameError::Length));
        assert_eq!(split(&[1, 0, 1, 9]), Ok((1, 1)));
    }
}
