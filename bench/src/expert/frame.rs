//! Length-prefixed frames in one buffer.

use std::{io, ops::Range};

/// Read at a time, unless a frame is larger.
pub(super) const CHUNK: usize = 64 << 10;
/// The longest frame that is believed.
const LONGEST: usize = 16 << 20;

/// Bytes that arrived, and the frames in them.
pub(super) struct Inbox {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Inbox {
    pub(super) fn new() -> Self {
        // Idle connections own nothing.
        Inbox { bytes: Vec::new(), start: 0, end: 0 }
    }

    /// The next whole frame: its payload.
    pub(super) fn next(&mut self) -> io::Result<Option<&[u8]>> {
        let Some(range) = self.frame(self.start)? else { return Ok(None) };
        self.start = range.end;
        Ok(self.bytes.get(range))
    }

    /// All whole frames that are there, as they came, and how many.
    pub(super) fn batch(&mut self) -> io::Result<(&[u8], usize)> {
        let (begin, mut count) = (self.start, 0);
        while let Some(range) = self.frame(self.start)? {
            self.start = range.end;
            count += 1;
        }
        Ok((&self.bytes[begin..self.start], count))
    }

    fn frame(&self, at: usize) -> io::Result<Option<Range<usize>>> {
        let Some(head) = self.bytes[at..self.end].first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_le_bytes(*head) as usize;
        if length > LONGEST {
            return Err(io::Error::other("a frame is too long"));
        }
        let payload = at + 4..at + 4 + length;
        Ok((payload.end <= self.end).then_some(payload))
    }

    /// Room for more, for the rest of a large frame if that is what is missing.
    pub(super) fn space(&mut self) -> &mut [u8] {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let head = self.bytes[..self.end].first_chunk::<4>();
        let needed = head.map_or(0, |head| u32::from_le_bytes(*head) as usize + 4).min(LONGEST + 4);
        let size = needed.max(self.end + CHUNK);
        if self.bytes.len() < size {
            self.bytes.resize(size, 0);
        }
        &mut self.bytes[self.end..]
    }

    pub(super) fn filled(&mut self, count: usize) {
        self.end += count;
    }
}

/// Adds a frame.
pub(super) fn push(out: &mut Vec<u8>, payload: &[u8]) {
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(payload);
}
