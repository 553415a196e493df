//! Blocks: messages with the same envelope as they lie in a record, one behind the other.

use super::frame::{self, HEADER};
use crate::message::{Envelope, Kind};

/// One-way messages with the same envelope, one behind the other, each with room for the header of its frame. What is
/// sent on or kept as a block is moved in one go, and not message by message.
///
/// ```text
/// | 1 byte | length (u16) of what follows | header bytes | message |  | 1 byte | …
/// ```
/// Only lengths and messages count; what stands in the other places is overwritten when the block is sent.
#[derive(Clone, Copy, Debug)]
pub struct Block<'b> {
    bytes: &'b [u8],
    header: usize,
}

impl<'b> Block<'b> {
    /// The block that `bytes` holds, whose messages have `header` bytes before them. What is no whole message in it, at
    /// its end, is left out.
    pub const fn new(bytes: &'b [u8], header: usize) -> Self {
        Block { bytes, header }
    }

    /// How many header bytes a message with this envelope has in its frame.
    pub fn header_of(envelope: &Envelope) -> usize {
        frame::message_header(envelope).1.as_slice().len()
    }

    /// The block itself.
    pub const fn bytes(&self) -> &'b [u8] {
        self.bytes
    }

    /// Header bytes before each message.
    pub const fn header(&self) -> usize {
        self.header
    }

    /// The messages.
    pub fn iter(&self) -> impl Iterator<Item = &'b [u8]> + Clone + use<'b> {
        let (mut rest, header) = (self.bytes, self.header);
        core::iter::from_fn(move || {
            let (body, behind) = split(rest)?;
            rest = behind;
            body.get(header..)
        })
    }

    /// What is left behind the first `n` messages.
    pub fn skip(self, n: usize) -> Self {
        let mut rest = self.bytes;
        for _ in 0..n {
            rest = split(rest).map_or(&[], |(_, behind)| behind);
        }
        Block { bytes: rest, ..self }
    }

    /// Begins a message in a block: what stands before its bytes. `None` if it is too long for a frame.
    pub fn begin(
        header: usize,
        message: &[u8],
    ) -> Option<([u8; HEADER + frame::ENVELOPE_MAX], usize)> {
        let [a, b] = u16::try_from(message.len().checked_add(header)?).ok()?.to_be_bytes();
        let mut start = [0; HEADER + frame::ENVELOPE_MAX];
        (start[1], start[2]) = (a, b);
        (header <= frame::ENVELOPE_MAX).then_some((start, HEADER.saturating_add(header)))
    }

    /// How many messages at its front have `room` bytes together, and how many bytes that is.
    pub(crate) fn fitting(&self, room: usize) -> (usize, usize) {
        let (mut rest, mut count, mut len) = (self.bytes, 0_usize, 0_usize);
        while let Some((body, behind)) = split(rest) {
            let with = len.saturating_add(HEADER).saturating_add(body.len());
            if with > room {
                break;
            }
            (rest, len, count) = (behind, with, count.saturating_add(1));
        }
        (count, len)
    }

    /// The messages at the front of `record` that look like this one, as a block, with their number.
    pub(crate) fn alike(record: &'b [u8], envelope: &Envelope) -> (Self, usize) {
        let (kind, header) = frame::message_header(envelope);
        let header = header.as_slice();
        let (mut rest, mut count, mut len) = (record, 0_usize, 0_usize);
        while envelope.kind == Kind::Message
            && let Some((body, behind)) = split(rest)
            && rest.first() == Some(&kind)
            && header.len() <= body.len()
            // A few bytes: a loop over them is faster than a call.
            && body.iter().zip(header).all(|(a, b)| a == b)
        {
            len = len.saturating_add(HEADER).saturating_add(body.len());
            (rest, count) = (behind, count.saturating_add(1));
        }
        (Block { bytes: record.get(..len).unwrap_or_default(), header: header.len() }, count)
    }
}

/// Writes type and header into every frame of `frames`, which has room for them.
pub(crate) fn stamp(mut frames: &mut [u8], kind: u8, header: &[u8]) {
    while let [first, a, b, rest @ ..] = frames {
        let len = usize::from(u16::from_be_bytes([*a, *b]));
        *first = kind;
        let Some((body, behind)) = rest.split_at_mut_checked(len) else { return };
        for (to, from) in body.iter_mut().zip(header) {
            *to = *from;
        }
        frames = behind;
    }
}

/// The first frame's body, and what follows.
fn split(frames: &[u8]) -> Option<(&[u8], &[u8])> {
    let [_, a, b, rest @ ..] = frames else { return None };
    rest.split_at_checked(usize::from(u16::from_be_bytes([*a, *b])))
}
