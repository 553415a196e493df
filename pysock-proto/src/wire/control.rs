//! Frames of which speed does not matter. Their bodies are what postcard makes of a struct: numbers as
//! variable-length integers, texts with their length in front, an option or a choice as one leading byte. Bytes that
//! follow the known fields are ignored, so that later versions can append some.
//!
//! Written by hand, since deserializing in general would cost a microcontroller 3 KiB of flash; the tests hold it to the
//! postcard crate.

use super::{Reader, Writer};
use crate::{
    directory::{Find, PeerInfo},
    error::FrameError,
    id::{ChannelId, ChannelName, Name, PeerId},
    key::PublicKey,
};

/// Longest body of a control frame: a question's number (3), a tag, and a peer with its number (5), key (32) and
/// name (33).
pub(crate) const MAX: usize = 80;
/// Most suites that a `Welcome` can name.
pub(crate) const MAX_SUITES: usize = 16;

type Body = Writer<MAX>;

impl Body {
    /// Seven bits a byte, low ones first; bit 7 says that more follow.
    fn varint(&mut self, number: u32) -> &mut Self {
        let mut rest = number;
        while rest >= 0x80 {
            self.put(&[rest as u8 | 0x80]);
            rest >>= 7;
        }
        self.put(&[rest as u8])
    }

    fn text(&mut self, text: &[u8]) -> &mut Self {
        // Names and lists of suites are far shorter.
        self.varint(text.len() as u32).put(text)
    }

    fn peer(&mut self, peer: &PeerInfo) -> &mut Self {
        self.varint(peer.id.0).put(&peer.key.0).text(peer.name.as_bytes())
    }
}

impl<'b> Reader<'b> {
    /// A number of at most `bits` bits in its shortest encoding.
    fn varint(&mut self, bits: u32) -> Option<u32> {
        let (mut number, mut shift) = (0u64, 0u32);
        loop {
            let byte = self.u8()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                let shortest = byte != 0 || shift == 0;
                return u32::try_from(number)
                    .ok()
                    .filter(|n| shortest && n.leading_zeros() >= 32u32.saturating_sub(bits));
            }
            shift = shift.saturating_add(7);
            if shift >= 35 {
                return None;
            }
        }
    }

    fn number16(&mut self) -> Option<u16> {
        self.varint(16).and_then(|n| u16::try_from(n).ok())
    }

    fn text(&mut self) -> Option<&'b [u8]> {
        let len = self.varint(32)?;
        self.bytes(usize::try_from(len).ok()?)
    }

    fn name(&mut self) -> Option<Name> {
        Name::from_bytes(self.text()?).ok()
    }

    fn peer(&mut self) -> Option<PeerInfo> {
        let id = self.varint(32).filter(|id| !matches!(*id, 0 | u32::MAX))?;
        Some(PeerInfo { id: PeerId(id), key: PublicKey(self.array()?), name: self.name()? })
    }
}

/// What a decoder found, or that the body breaks the rules.
fn found<T>(value: Option<T>) -> Result<T, FrameError> {
    value.ok_or(FrameError::Body)
}

/// `Welcome`: the client is in, `id` is its own number, and the server supports `suites`.
pub(crate) fn encode_welcome(id: PeerId, suites: &[u8]) -> Body {
    let mut body = Body::new();
    body.varint(id.0).text(suites);
    body
}

pub(crate) fn decode_welcome(body: &[u8]) -> Result<(u32, &[u8]), FrameError> {
    let mut from = Reader(body);
    found(from.varint(32).and_then(|id| Some((id, from.text()?))))
}

/// `Open`: the client will call the channel `name` by the number `id`.
pub(crate) fn encode_open(id: ChannelId, name: &ChannelName) -> Body {
    let mut body = Body::new();
    body.varint(id.0.into()).text(name.as_bytes());
    body
}

pub(crate) fn decode_open(body: &[u8]) -> Result<(ChannelId, ChannelName), FrameError> {
    let mut from = Reader(body);
    let id = found(from.number16())?;
    let name = found(from.text())?;
    Ok((ChannelId(id), ChannelName::from_bytes(name).map_err(|_| FrameError::Body)?))
}

/// `Opened`: the answer to `Open`; 0, or the code of a [`Failure`](crate::Failure).
pub(crate) fn encode_opened(id: ChannelId, failure: u8) -> Body {
    let mut body = Body::new();
    body.varint(id.0.into()).put(&[failure]);
    body
}

pub(crate) fn decode_opened(body: &[u8]) -> Result<(ChannelId, u8), FrameError> {
    let mut from = Reader(body);
    found(from.number16().and_then(|id| Some((ChannelId(id), from.u8()?))))
}

/// `Leave`: the client does not want the channel any more.
pub(crate) fn encode_leave(id: ChannelId) -> Body {
    let mut body = Body::new();
    body.varint(id.0.into());
    body
}

pub(crate) fn decode_leave(body: &[u8]) -> Result<ChannelId, FrameError> {
    found(Reader(body).number16()).map(ChannelId)
}

/// `Find`: asks for a connected client.
pub(crate) fn encode_find(query: u16, find: &Find) -> Body {
    let mut body = Body::new();
    body.varint(query.into());
    match find {
        Find::Name(name) => body.put(&[0]).text(name.as_bytes()),
        Find::Key(key) => body.put(&[1]).put(&key.0),
        Find::After(PeerId(id)) => body.put(&[2]).varint(*id),
    };
    body
}

pub(crate) fn decode_find(body: &[u8]) -> Result<(u16, Find), FrameError> {
    let mut from = Reader(body);
    let query = found(from.number16())?;
    let find = match from.u8() {
        Some(0) => from.name().map(Find::Name),
        Some(1) => from.array().map(|key| Find::Key(PublicKey(key))),
        Some(2) => from.varint(32).map(|id| Find::After(PeerId(id))),
        _ => None,
    };
    Ok((query, found(find)?))
}

/// `Found`: the answer to `Find`.
pub(crate) fn encode_found(query: u16, peer: Option<&PeerInfo>) -> Body {
    let mut body = Body::new();
    body.varint(query.into()).put(&[u8::from(peer.is_some())]);
    if let Some(peer) = peer {
        body.peer(peer);
    }
    body
}

pub(crate) fn decode_found(body: &[u8]) -> Result<(u16, Option<PeerInfo>), FrameError> {
    let mut from = Reader(body);
    let query = found(from.number16())?;
    match from.u8() {
        Some(0) => Ok((query, None)),
        Some(1) => Ok((query, Some(found(from.peer())?))),
        _ => Err(FrameError::Body),
    }
}

/// `Peer`: whom a number stands for.
pub(crate) fn encode_peer(peer: &PeerInfo) -> Body {
    let mut body = Body::new();
    body.peer(peer);
    body
}

pub(crate) fn decode_peer(body: &[u8]) -> Result<PeerInfo, FrameError> {
    found(Reader(body).peer())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Serialize;

    fn same(ours: &Body, theirs: &impl Serialize) {
        let mut bytes = [0; MAX];
        assert_eq!(ours.as_slice(), postcard::to_slice(theirs, &mut bytes).unwrap());
    }

    #[derive(Serialize)]
    enum What<'a> {
        Name(&'a str),
        Key([u8; 32]),
        After(u32),
    }

    fn peer(id: u32) -> PeerInfo {
        let name = "n".repeat(32);
        PeerInfo { id: PeerId(id), key: PublicKey([9; 32]), name: Name::new(&name).unwrap() }
    }

    #[test]
    fn bodies_are_what_postcard_makes_and_the_longest_fit() {
        for number in [0u16, 1, 0x7f, 0x80, 0x3fff, 0x4000, u16::MAX] {
            let id = ChannelId(number);
            let channel = ChannelName::new(&"c".repeat(64)).unwrap();
            same(&encode_open(id, &channel), &(number, channel.as_str()));
            assert_eq!(decode_open(encode_open(id, &channel).as_slice()), Ok((id, channel)));
            same(&encode_opened(id, 7), &(number, 7u8));
            assert_eq!(decode_opened(encode_opened(id, 7).as_slice()), Ok((id, 7)));
            same(&encode_leave(id), &number);
            assert_eq!(decode_leave(encode_leave(id).as_slice()), Ok(id));
            for wide in [1, 0x80, 0x1f_ffff, 0x20_0000, 0x0fff_ffff, 0x1000_0000, u32::MAX - 1] {
                let peer = peer(wide);
                let tuple = (wide, peer.key.0, peer.name.as_str());
                same(&encode_peer(&peer), &tuple);
                assert_eq!(decode_peer(encode_peer(&peer).as_slice()), Ok(peer));
                same(&encode_found(number, Some(&peer)), &(number, Some(tuple)));
                same(&encode_found(number, None), &(number, None::<u8>));
                for found in [Some(peer), None] {
                    let body = encode_found(number, found.as_ref());
                    assert_eq!(decode_found(body.as_slice()), Ok((number, found)));
                }
                for (find, what) in [
                    (Find::Name(peer.name), What::Name(peer.name.as_str())),
                    (Find::Key(peer.key), What::Key(peer.key.0)),
                    (Find::After(peer.id), What::After(wide)),
                ] {
                    same(&encode_find(number, &find), &(number, what));
                    assert_eq!(
                        decode_find(encode_find(number, &find).as_slice()),
                        Ok((number, find))
                    );
                }
                let suites = [1; MAX_SUITES];
                let welcome = encode_welcome(PeerId(wide), &suites);
                same(&welcome, &(wide, &suites[..]));
                assert_eq!(decode_welcome(welcome.as_slice()), Ok((wide, &suites[..])));
            }
        }
    }

    #[test]
    fn a_body_cut_anywhere_is_refused_and_what_follows_is_ignored() {
        let found = encode_found(300, Some(&peer(70_000)));
        let bytes = found.as_slice();
        for len in 0..bytes.len() {
            assert_eq!(decode_found(&bytes[..len]), Err(FrameError::Body), "{len}");
        }
        let longer = [bytes, b"from the future"].concat();
        assert_eq!(decode_found(&longer), decode_found(bytes));
    }

    #[test]
    fn a_number_has_one_encoding_and_fits_its_type() {
        assert_eq!(decode_leave(&[0x80, 0x00]), Err(FrameError::Body), "longer than need be");
        assert_eq!(decode_leave(&[0xff, 0xff, 0x03]), Ok(ChannelId(u16::MAX)));
        assert_eq!(decode_leave(&[0x80, 0x80, 0x04]), Err(FrameError::Body), "17 bits");
        let after = |id: &[u8]| decode_find(&[&[1, 2][..], id].concat());
        assert!(after(&[0xff, 0xff, 0xff, 0xff, 0x0f]).is_ok());
        assert_eq!(after(&[0xff, 0xff, 0xff, 0xff, 0x1f]), Err(FrameError::Body), "33 bits");
        assert_eq!(after(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x01]), Err(FrameError::Body));
    }

    #[test]
    fn a_number_that_is_no_peer_is_refused() {
        for id in [0, u32::MAX] {
            assert_eq!(decode_peer(encode_peer(&peer(id)).as_slice()), Err(FrameError::Body));
        }
    }

    #[test]
    fn a_name_that_breaks_the_rules_is_refused() {
        assert_eq!(decode_open(b"\x01\x04no no"), Err(FrameError::Body));
        assert_eq!(decode_open(b"\x01\x02\xff\xff"), Err(FrameError::Body));
    }
}
