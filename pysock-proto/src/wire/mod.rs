//! Bytes on the wire: every layout of the protocol, and nothing but layouts.
//!
//! `prelude` is what a client sends in clear text, `hello` what handshake messages carry, `frame` what
//! records carry, `control` the frames of which speed does not matter.

pub(crate) mod block;
pub(crate) mod control;
pub(crate) mod frame;
pub(crate) mod hello;
pub(crate) mod inner;
pub(crate) mod prelude;

/// Reads big-endian numbers off the front of a slice.
pub(crate) struct Reader<'b>(pub(crate) &'b [u8]);

impl<'b> Reader<'b> {
    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Option<&'b [u8]> {
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head)
    }
}

/// Collects up to `N` bytes of a header or a small body.
pub(crate) struct Writer<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Writer<N> {
    pub(crate) const fn new() -> Self {
        Writer { bytes: [0; N], len: 0 }
    }

    /// Appends. `N` is chosen for the longest body, so nothing is ever cut; see the tests.
    pub(crate) fn put(&mut self, part: &[u8]) -> &mut Self {
        let end = self.len.saturating_add(part.len());
        debug_assert!(end <= N, "a body of {end} bytes does not fit {N}");
        if let Some(to) = self.bytes.get_mut(self.len..end) {
            to.copy_from_slice(part);
            self.len = end;
        }
        self
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}
