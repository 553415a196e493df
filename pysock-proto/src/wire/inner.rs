//! Units: what two clients send each other through a server that cannot read them.
//!
//! ```text
//! handshake   | step | attempt (4)     | Noise message                    |
//! notice      | step | attempt (4)     | code |
//! record      | label | counter (u24)  | ciphertext                 | tag |
//! inside it                            | number | [records] | frames… |
//! ```
//! A record's counter is its nonce. `number` counts the messages that its sender began before it; `records`, only
//! in the first record of a session, those of the session before.

use super::{Reader, Writer};
use crate::{
    id::{MAX_NAME, Name},
    limits::{Limits, MAX_STREAMS, MIN_RECORD},
};

/// What begins the prologue of every handshake between clients; suite and pattern follow.
pub(crate) const PROLOGUE: &[u8] = b"pysock/1 inner";

/// Length of what stands in front of a handshake message.
pub(crate) const STEP_HEADER: usize = 1 + 4;
/// Length of what stands in clear text in front of a record.
pub(crate) const RECORD_HEADER: usize = 1 + 3;
/// What an outer record costs a unit in it: tag, frame header, the peer's number.
const AROUND: u16 = 16 + 3 + 4;

/// What an attempt is called: the first bytes of its initiator's ephemeral key.
pub(crate) type Attempt = [u8; 4];

/// First byte of a handshake unit.
pub(crate) mod step {
    pub(crate) const KK_1: u8 = 0x01;
    pub(crate) const KK_2: u8 = 0x02;
    pub(crate) const XX_1: u8 = 0x11;
    pub(crate) const XX_2: u8 = 0x12;
    pub(crate) const XX_3: u8 = 0x13;
    // Notices. Nothing proves them. In place of the attempt stand the first bytes of the handshake hash once the
    // third message of XX has arrived.
    /// The first message did not verify here: one of the two keys is not what the initiator takes it for.
    pub(crate) const NEED_XX: u8 = 0x20;
    /// There will be no session; a code follows.
    pub(crate) const REFUSED: u8 = 0x21;
    /// Somebody has to be asked; that may take a while.
    pub(crate) const PATIENCE: u8 = 0x22;
    /// There is no session here for a record; its header stands in place of the attempt.
    pub(crate) const NO_SESSION: u8 = 0x23;
}

/// Frames of inner records beside those of messages and streams.
pub(crate) mod types {
    pub(crate) const CLOSE: u8 = 0x03;
    pub(crate) const RECEIVED: u8 = 0x40;
}

/// Longest unit that a client with these limits takes, in bytes.
pub(crate) fn longest_unit(limits: &Limits) -> u16 {
    limits.record.max(MIN_RECORD).saturating_sub(AROUND)
}

/// What one side of a session takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Takes {
    /// Longest unit, in bytes.
    pub(crate) unit: u16,
    /// Credit of each stream.
    pub(crate) window: u32,
    pub(crate) streams: u8,
}

/// What one side of a session takes, and how it knows the session before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Terms {
    pub(crate) takes: Takes,
    /// What the other side shall call this session.
    pub(crate) label: u8,
    /// Whether streams under way go on: nothing is known to be lost.
    pub(crate) continues: bool,
    /// Whether it can seal records with AES-GCM, and would rather.
    pub(crate) aes: bool,
    /// The session that this one follows; zeros if there is none.
    pub(crate) previous: [u8; 8],
}

/// What a handshake message carries, beside no data of the application.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Hello {
    pub(crate) terms: Terms,
    /// What its sender is called.
    pub(crate) name: Name,
    /// What its sender believes the receiver to be called.
    pub(crate) expected: Name,
}

/// Length of the longest hello.
pub(crate) const HELLO_MAX: usize = 2 + 4 + 1 + 1 + 1 + 8 + 2 * (1 + MAX_NAME);
const CONTINUES: u8 = 0x01;
const AES: u8 = 0x02;

impl Hello {
    pub(crate) fn encode(&self) -> Writer<HELLO_MAX> {
        let Terms { takes: Takes { unit, window, streams }, label, continues, aes, previous } =
            self.terms;
        let flags = if continues { CONTINUES } else { 0 } | if aes { AES } else { 0 };
        let mut out = Writer::new();
        out.put(&unit.to_be_bytes()).put(&window.to_be_bytes());
        out.put(&[streams, label, flags]).put(&previous);
        for name in [&self.name, &self.expected] {
            let text = name.as_bytes();
            // A name has at most 32 bytes.
            out.put(&[text.len() as u8]).put(text);
        }
        out
    }

    /// Unknown flags and what follows are ignored.
    pub(crate) fn decode(payload: &[u8]) -> Option<Self> {
        let mut from = Reader(payload);
        let (unit, window) = (from.u16()?, from.u32()?);
        let (streams, label, flags) = (from.u8()?.min(MAX_STREAMS), from.u8()?, from.u8()?);
        let previous = from.array()?;
        let mut name = || {
            let len = from.u8()?;
            Name::from_bytes(from.bytes(len.into())?).ok()
        };
        let (name, expected) = (name()?, name()?);
        let fits = unit >= MIN_RECORD - AROUND && (streams == 0 || window >= MIN_RECORD.into());
        let (continues, aes) = (flags & CONTINUES != 0, flags & AES != 0);
        let takes = Takes { unit, window, streams };
        let terms = Terms { takes, label, continues, aes, previous };
        fits.then_some(Hello { terms, name, expected })
    }
}

/// The clear header of a record as one number, most significant byte first: label, then counter.
pub(crate) fn record_header(label: u8, counter: u32) -> [u8; RECORD_HEADER] {
    let [_, a, b, c] = counter.to_be_bytes();
    [label, a, b, c]
}

/// Label and counter.
pub(crate) fn decode_record_header([label, a, b, c]: [u8; RECORD_HEADER]) -> (u8, u32) {
    (label, u32::from_be_bytes([0, a, b, c]))
}

/// How far a receiver has come: the number of the message it expects next, and how many it has missed in all.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Received {
    pub(crate) next: u32,
    pub(crate) missed: u32,
}

impl Received {
    pub(crate) fn encode(self) -> [u8; 8] {
        let ([a, b, c, d], [e, f, g, h]) = (self.next.to_be_bytes(), self.missed.to_be_bytes());
        [a, b, c, d, e, f, g, h]
    }

    pub(crate) fn take(from: &mut Reader<'_>) -> Option<Self> {
        Some(Received { next: from.u32()?, missed: from.u32()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hello_round_trips_and_cut_short_is_none() {
        let name = Name::new(core::str::from_utf8(&[b'n'; 32]).unwrap()).unwrap();
        let takes = Takes { unit: 489, window: 1024, streams: 1 };
        let terms = Terms { takes, label: 7, continues: true, aes: true, previous: [9; 8] };
        let hello = Hello { terms, name, expected: name };
        let bytes = hello.encode();
        assert_eq!(bytes.as_slice().len(), HELLO_MAX);
        assert_eq!(Hello::decode(bytes.as_slice()), Some(hello));
        for len in 0..HELLO_MAX {
            assert_eq!(Hello::decode(&bytes.as_slice()[..len]), None, "{len}");
        }
    }

    #[test]
    fn the_longest_handshake_unit_fits_the_smallest_record() {
        // XX message 2: ephemeral, static with tag, payload with tag.
        let longest = STEP_HEADER + 32 + 48 + HELLO_MAX + 16;
        assert!(longest <= usize::from(MIN_RECORD - AROUND));
    }

    #[test]
    fn a_header_is_a_label_and_24_bits() {
        assert_eq!(record_header(5, 0x01_02_03), [5, 1, 2, 3]);
        assert_eq!(decode_record_header([5, 1, 2, 3]), (5, 0x01_02_03));
    }
}
