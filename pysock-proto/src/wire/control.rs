//! Frames of which speed does not matter: their bodies are postcard, and bytes that follow the known
//! fields are ignored, so that later versions can append some.

use serde::{Deserialize, Serialize};

use super::Writer;
use crate::{
    directory::{Find, PeerInfo},
    error::FrameError,
    id::{ChannelId, ChannelName, Name, PeerId},
    key::PublicKey,
};

/// Longest body of a control frame: a peer with its id (5), key (32) and name (33).
pub(crate) const MAX: usize = 80;
/// Most suites that a `Welcome` can name.
pub(crate) const MAX_SUITES: usize = 16;

/// `Welcome`: the client is in, `id` is its own number, and the server supports `suites`.
#[derive(Serialize, Deserialize)]
pub(crate) struct Welcome<'b> {
    pub(crate) id: u32,
    pub(crate) suites: &'b [u8],
}

/// `Open`: the client will call the channel `name` by the number `id`.
#[derive(Serialize, Deserialize)]
struct Open<'b> {
    id: u16,
    name: &'b str,
}

/// `Opened`: the answer to `Open`; 0, or the code of a [`Failure`](crate::Failure).
#[derive(Serialize, Deserialize)]
pub(crate) struct Opened {
    pub(crate) id: u16,
    pub(crate) failure: u8,
}

/// `Leave`: the client does not want the channel any more.
#[derive(Serialize, Deserialize)]
pub(crate) struct Leave {
    pub(crate) id: u16,
}

/// `Find`: asks for a connected client.
#[derive(Serialize, Deserialize)]
struct FindBody<'b> {
    query: u16,
    #[serde(borrow)]
    what: What<'b>,
}

#[derive(Serialize, Deserialize)]
enum What<'b> {
    Name(&'b str),
    Key([u8; 32]),
    After(u32),
}

#[derive(Serialize, Deserialize)]
struct PeerBody<'b> {
    id: u32,
    key: [u8; 32],
    name: &'b str,
}

/// `Found`: the answer to `Find`.
#[derive(Serialize, Deserialize)]
struct FoundBody<'b> {
    query: u16,
    #[serde(borrow)]
    peer: Option<PeerBody<'b>>,
}

impl<'b> From<&'b PeerInfo> for PeerBody<'b> {
    fn from(peer: &'b PeerInfo) -> Self {
        PeerBody { id: peer.id.0, key: peer.key.0, name: peer.name.as_str() }
    }
}

impl TryFrom<PeerBody<'_>> for PeerInfo {
    type Error = FrameError;

    fn try_from(body: PeerBody<'_>) -> Result<Self, FrameError> {
        let name = Name::new(body.name).map_err(|_| FrameError::Body)?;
        if matches!(body.id, 0 | u32::MAX) {
            return Err(FrameError::Body);
        }
        Ok(PeerInfo { id: PeerId(body.id), key: PublicKey(body.key), name })
    }
}

/// Encodes a body. Cannot fail: [`MAX`] is chosen for the longest, which the tests check.
pub(crate) fn encode(body: &impl Serialize) -> Writer<MAX> {
    let (mut out, mut bytes) = (Writer::new(), [0; MAX]);
    if let Ok(used) = postcard::to_slice(body, &mut bytes) {
        out.put(used);
    }
    out
}

/// Decodes a body and ignores what follows it.
pub(crate) fn decode<'b, T: Deserialize<'b>>(body: &'b [u8]) -> Result<T, FrameError> {
    postcard::take_from_bytes(body).map(|(value, _)| value).map_err(|_| FrameError::Body)
}

pub(crate) fn encode_open(id: ChannelId, name: &ChannelName) -> Writer<MAX> {
    encode(&Open { id: id.0, name: name.as_str() })
}

pub(crate) fn decode_open(body: &[u8]) -> Result<(ChannelId, ChannelName), FrameError> {
    let Open { id, name } = decode(body)?;
    Ok((ChannelId(id), ChannelName::new(name).map_err(|_| FrameError::Body)?))
}

pub(crate) fn encode_find(query: u16, find: &Find) -> Writer<MAX> {
    let what = match find {
        Find::Name(name) => What::Name(name.as_str()),
        Find::Key(key) => What::Key(key.0),
        Find::After(PeerId(id)) => What::After(*id),
    };
    encode(&FindBody { query, what })
}

pub(crate) fn decode_find(body: &[u8]) -> Result<(u16, Find), FrameError> {
    let FindBody { query, what } = decode(body)?;
    let find = match what {
        What::Name(name) => Find::Name(Name::new(name).map_err(|_| FrameError::Body)?),
        What::Key(key) => Find::Key(PublicKey(key)),
        What::After(id) => Find::After(PeerId(id)),
    };
    Ok((query, find))
}

pub(crate) fn encode_found(query: u16, peer: Option<&PeerInfo>) -> Writer<MAX> {
    encode(&FoundBody { query, peer: peer.map(PeerBody::from) })
}

pub(crate) fn decode_found(body: &[u8]) -> Result<(u16, Option<PeerInfo>), FrameError> {
    let FoundBody { query, peer } = decode(body)?;
    Ok((query, peer.map(PeerInfo::try_from).transpose()?))
}

pub(crate) fn encode_peer(peer: &PeerInfo) -> Writer<MAX> {
    encode(&PeerBody::from(peer))
}

pub(crate) fn decode_peer(body: &[u8]) -> Result<PeerInfo, FrameError> {
    decode::<PeerBody<'_>>(body)?.try_into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_bodies_fit() {
        let (name, channel) = ("n".repeat(32), "c".repeat(64));
        let peer = PeerInfo {
            id: PeerId(u32::MAX - 1),
            key: PublicKey([9; 32]),
            name: Name::new(&name).unwrap(),
        };
        let channel = ChannelName::new(&channel).unwrap();
        let longest = ChannelId(u16::MAX);
        assert_eq!(decode_peer(encode_peer(&peer).as_slice()), Ok(peer));
        assert_eq!(
            decode_found(encode_found(u16::MAX, Some(&peer)).as_slice()),
            Ok((u16::MAX, Some(peer)))
        );
        assert_eq!(decode_open(encode_open(longest, &channel).as_slice()), Ok((longest, channel)));
        for find in [Find::Name(peer.name), Find::Key(peer.key), Find::After(peer.id)] {
            assert_eq!(decode_find(encode_find(u16::MAX, &find).as_slice()), Ok((u16::MAX, find)));
        }
        let suites = [1; MAX_SUITES];
        let welcome = encode(&Welcome { id: u32::MAX - 1, suites: &suites });
        assert_eq!(decode::<Welcome<'_>>(welcome.as_slice()).unwrap().suites, suites);
    }

    #[test]
    fn a_number_that_is_no_peer_is_refused() {
        let name = Name::new("n").unwrap();
        for id in [0, u32::MAX] {
            let peer = PeerInfo { id: PeerId(id), key: PublicKey([9; 32]), name };
            assert_eq!(decode_peer(encode_peer(&peer).as_slice()), Err(FrameError::Body));
        }
    }

    #[test]
    fn a_name_that_breaks_the_rules_is_refused() {
        let body = encode(&Open { id: 1, name: "not a name" });
        assert_eq!(decode_open(body.as_slice()), Err(FrameError::Body));
    }
}
