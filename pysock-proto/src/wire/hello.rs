//! What handshake messages 2 and 3 carry: the sender's limits, and in message 3 the client's name.
//!
//! ```text
//! 0        2          4        8         9       10      12
//! | record | idle (s) | window | streams | peers | flags | length and text of the name (message 3) |
//! ```
//! Receivers ignore flags they do not know and bytes that follow.

use super::{Reader, Writer};
use crate::{error::Error, id::Name, limits::Limits};

/// Longest payload: limits, and a name with its length.
pub(crate) const MAX: usize = 12 + 1 + 32;

pub(crate) fn encode(limits: &Limits, name: Option<&Name>) -> Writer<MAX> {
    let mut out = Writer::new();
    out.put(&limits.record.to_be_bytes())
        .put(&limits.idle_secs.to_be_bytes())
        .put(&limits.window.to_be_bytes())
        .put(&[limits.streams, limits.peers, 0, 0]);
    if let Some(name) = name {
        let text = name.as_bytes();
        // A name has at most 32 bytes.
        out.put(&[text.len() as u8]).put(text);
    }
    out
}

/// Reads the limits and leaves `from` at what follows them.
fn limits(from: &mut Reader<'_>) -> Option<Limits> {
    let limits = Limits {
        record: from.u16()?,
        idle_secs: from.u16()?,
        window: from.u32()?,
        streams: from.u8()?,
        peers: from.u8()?,
    };
    let _flags = from.u16()?;
    limits.is_valid().then_some(limits)
}

/// The payload of message 2.
pub(crate) fn of_server(payload: &[u8]) -> Result<Limits, Error> {
    limits(&mut Reader(payload)).ok_or(Error::Hello)
}

/// The payload of message 3.
pub(crate) fn of_client(payload: &[u8]) -> Result<(Limits, Name), Error> {
    let mut from = Reader(payload);
    let limits = limits(&mut from).ok_or(Error::Hello)?;
    let len = from.u8().ok_or(Error::Hello)?;
    let text = from.bytes(len.into()).ok_or(Error::Hello)?;
    let name = Name::from_bytes(text).map_err(|_| Error::Hello)?;
    Ok((limits, name))
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    #[test]
    fn it_round_trips_and_ignores_what_follows() {
        let name = Name::new(&"n".repeat(32)).unwrap();
        let mut bytes = encode(&Limits::SMALL, Some(&name)).as_slice().to_vec();
        assert_eq!(bytes.len(), MAX);
        assert_eq!(of_client(&bytes), Ok((Limits::SMALL, name)));
        bytes.extend(b"from the future");
        assert_eq!(of_client(&bytes), Ok((Limits::SMALL, name)));
        assert_eq!(of_server(encode(&Limits::DESKTOP, None).as_slice()), Ok(Limits::DESKTOP));
    }

    #[test]
    fn cut_short_or_out_of_range_is_refused() {
        let name = Name::new("n").unwrap();
        let good: Vec<u8> = encode(&Limits::DESKTOP, Some(&name)).as_slice().to_vec();
        for len in 0..good.len() {
            assert_eq!(of_client(&good[..len]), Err(Error::Hello), "{len}");
        }
        for (at, byte) in [(0, 0), (9, 0), (13, b' '), (13, 0xff)] {
            let mut bad = good.clone();
            bad[at] = byte;
            assert_eq!(of_client(&bad), Err(Error::Hello), "{at}");
        }
    }
}
