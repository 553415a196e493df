//! Lent buffers: memory that the caller owns, with a mark beside it that says what is in it.
//!
//! The mark stays with the *memory*, never with the connection: a server lends one receive buffer to
//! whichever connection is readable, and a connection without unfinished bytes owns no memory at all. An
//! event borrows the lent view ([`Rx`]), so it lives as long as the buffer and independently of the connection.
//!
//! ```
//! use pysock_proto::{RxBuf, TxBuf};
//! let mut rx = RxBuf::new([0; 1024]);
//! let n = 3; // bytes that a socket wrote to the front of `rx.space()`
//! rx.space()[..n].copy_from_slice(b"PYS");
//! rx.filled(n);
//! assert_eq!(rx.pending(), 3);
//! let tx = TxBuf::new(vec![0; 1024]);
//! assert!(tx.sealed().is_empty());
//! ```

use crate::{crypto::TAG, error::Error};

/// What a receive buffer holds: `head..filled`; its first `open` bytes are authenticated plain text that
/// belongs to the connection `owner`, followed by the tag that vouched for them.
#[derive(Default, Clone, Copy)]
struct RxMark {
    head: usize,
    filled: usize,
    open: usize,
    owner: u32,
}

/// What a transmit buffer holds: `start..end` is sealed and may be written; behind it, with room for a
/// record header in between, lie `body` plain bytes of a record that is still open. All of it belongs to `owner`.
#[derive(Default, Clone, Copy)]
struct TxMark {
    start: usize,
    end: usize,
    body: usize,
    owner: u32,
}

/// Memory for receiving. `B` is anything that is a slice of bytes: an array, a `Vec`, `&'static mut [u8]`.
pub struct RxBuf<B> {
    memory: B,
    mark: RxMark,
}

/// Memory for sending.
pub struct TxBuf<B> {
    memory: B,
    mark: TxMark,
}

/// A receive buffer, lent to [`Connection::receive`](crate::Connection::receive). Events borrow from it.
pub struct Rx<'b> {
    bytes: &'b mut [u8],
    mark: &'b mut RxMark,
    capacity: usize,
}

/// A transmit buffer, lent to the operations that send.
pub struct Tx<'t> {
    memory: &'t mut [u8],
    mark: &'t mut TxMark,
}

impl<B: AsMut<[u8]>> RxBuf<B> {
    /// An empty buffer over `memory`. It has to hold the longest record announced, plus its two bytes of length.
    pub const fn new(memory: B) -> Self {
        RxBuf { memory, mark: RxMark { head: 0, filled: 0, open: 0, owner: 0 } }
    }

    /// Room to read into. Moves what is left to the front first; no event can be alive then.
    pub fn space(&mut self) -> &mut [u8] {
        let (mark, memory) = (&mut self.mark, self.memory.as_mut());
        if mark.head > 0 {
            memory.copy_within(mark.head..mark.filled, 0);
            (mark.head, mark.filled) = (0, mark.filled.saturating_sub(mark.head));
        }
        memory.get_mut(mark.filled..).unwrap_or_default()
    }

    /// Says that `n` bytes were read into the front of [`space`](Self::space).
    pub fn filled(&mut self, n: usize) {
        self.mark.filled = self.mark.filled.saturating_add(n).min(self.memory.as_mut().len());
    }

    /// Lends what is in the buffer.
    pub fn lend(&mut self) -> Rx<'_> {
        let (mark, memory) = (&mut self.mark, self.memory.as_mut());
        let capacity = memory.len();
        let bytes = memory.get_mut(mark.head..mark.filled).unwrap_or_default();
        Rx { bytes, mark, capacity }
    }

    /// Bytes received and not yet consumed. While 0, the memory can serve another connection.
    pub fn pending(&self) -> usize {
        self.mark.filled.saturating_sub(self.mark.head)
    }

    /// Bytes of memory.
    pub fn capacity(&mut self) -> usize {
        self.memory.as_mut().len()
    }

    /// Moves the bytes not yet consumed to other memory, such as a small owned remainder or a larger
    /// buffer, and leaves this one empty.
    ///
    /// # Errors
    /// Gives `memory` back if it is too small.
    pub fn move_to<D: AsMut<[u8]>>(&mut self, mut memory: D) -> Result<RxBuf<D>, D> {
        let n = self.pending();
        let from = self.memory.as_mut().get(self.mark.head..self.mark.filled).unwrap_or_default();
        match memory.as_mut().get_mut(..n) {
            Some(to) => to.copy_from_slice(from),
            None => return Err(memory),
        }
        let mark = RxMark { head: 0, filled: n, ..self.mark };
        self.mark = RxMark::default();
        Ok(RxBuf { memory, mark })
    }

    /// The memory; whatever is in it is given up.
    pub fn into_inner(self) -> B {
        self.memory
    }
}

impl<'b> Rx<'b> {
    /// The bytes not yet consumed.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        self.bytes
    }

    /// Takes `n` bytes off the front, for as long as the buffer is lent.
    pub(crate) fn take(&mut self, n: usize) -> Option<&'b mut [u8]> {
        let taken = self.bytes.split_off_mut(..n)?;
        self.mark.head = self.mark.head.saturating_add(n);
        Some(taken)
    }

    /// The length announced at the front, judged before the rest has arrived, and whether all of it is there.
    pub(crate) fn announced(&self) -> Option<(u16, bool)> {
        let [a, b, rest @ ..] = &*self.bytes else { return None };
        let len = u16::from_be_bytes([*a, *b]);
        Some((len, rest.len() >= usize::from(len)))
    }

    /// Refuses a record that can never be complete in this buffer.
    pub(crate) fn can_hold(&self, len: u16) -> Result<(), Error> {
        if usize::from(len).saturating_add(2) > self.capacity {
            return Err(Error::BufferTooSmall(len.saturating_add(2)));
        }
        Ok(())
    }

    /// Says that the record at the front is decrypted: `len` bytes of plain text, then its tag.
    pub(crate) fn set_open(&mut self, len: usize, owner: u32) {
        (self.mark.open, self.mark.owner) = (len, owner);
    }

    /// Plain text still to be read from the record at the front.
    pub(crate) fn open(&self, owner: u32) -> Result<&[u8], Error> {
        if self.mark.open == 0 {
            return Ok(&[]);
        }
        let all = self.bytes.get(..self.mark.open.saturating_add(TAG));
        if self.mark.owner != owner || all.is_none() {
            return Err(Error::WrongBuffer);
        }
        Ok(self.bytes.get(..self.mark.open).unwrap_or_default())
    }

    /// Throws away whatever is left: nobody will read it any more.
    pub(crate) fn clear(&mut self) {
        self.take(self.bytes.len());
        self.mark.open = 0;
    }

    /// Takes a frame of `header` + `body` bytes off the open record and returns its body. With the last frame
    /// goes the tag.
    pub(crate) fn take_frame(&mut self, header: usize, body: usize) -> Option<&'b mut [u8]> {
        self.take(header)?;
        let bytes = self.take(body)?;
        self.mark.open = self.mark.open.checked_sub(header.checked_add(body)?)?;
        if self.mark.open == 0 {
            self.take(TAG)?;
        }
        Some(bytes)
    }
}

impl<B: AsMut<[u8]> + AsRef<[u8]>> TxBuf<B> {
    /// An empty buffer over `memory`: at least [`MIN_TRANSMIT`](crate::MIN_TRANSMIT) bytes.
    pub const fn new(memory: B) -> Self {
        TxBuf { memory, mark: TxMark { start: 0, end: 0, body: 0, owner: 0 } }
    }

    /// Lends the buffer.
    pub fn lend(&mut self) -> Tx<'_> {
        Tx { memory: self.memory.as_mut(), mark: &mut self.mark }
    }

    /// What may be written to the socket now.
    pub fn sealed(&self) -> &[u8] {
        self.memory.as_ref().get(self.mark.start..self.mark.end).unwrap_or_default()
    }

    /// Says that the first `n` bytes of [`sealed`](Self::sealed) were written.
    pub fn written(&mut self, n: usize) {
        self.lend().written(n);
    }

    /// Bytes of memory.
    pub fn capacity(&self) -> usize {
        self.memory.as_ref().len()
    }

    /// Whether neither sealed nor unsealed bytes are in it: the memory can serve another connection.
    pub fn is_empty(&self) -> bool {
        self.mark.start == self.mark.end && self.mark.body == 0
    }

    /// The memory; whatever is in it is given up.
    pub fn into_inner(self) -> B {
        self.memory
    }
}

impl Tx<'_> {
    /// What may be written to the socket now.
    pub fn sealed(&self) -> &[u8] {
        self.memory.get(self.mark.start..self.mark.end).unwrap_or_default()
    }

    /// Says that the first `n` bytes of [`sealed`](Self::sealed) were written.
    pub fn written(&mut self, n: usize) {
        let mark = &mut *self.mark;
        mark.start = mark.start.saturating_add(n).min(mark.end);
        if mark.start == mark.end && mark.body == 0 {
            *mark = TxMark::default();
        }
    }

    /// Whether nothing is waiting in it, sealed or not.
    pub fn is_empty(&self) -> bool {
        self.mark.start == self.mark.end && self.mark.body == 0
    }

    pub(crate) fn capacity(&self) -> usize {
        self.memory.len()
    }

    /// Bytes free behind what is sealed.
    pub(crate) fn free(&self) -> usize {
        self.memory.len().saturating_sub(self.mark.end)
    }

    /// Plain bytes in the open record.
    pub(crate) fn body(&self) -> usize {
        self.mark.body
    }

    /// Whether what is in the buffer, sealed or open, belongs to another connection than `owner`. Handshakes have
    /// no number yet and count as 0.
    pub(crate) fn is_foreign(&self, owner: u32) -> bool {
        !self.is_empty() && self.mark.owner != 0 && self.mark.owner != owner
    }

    /// Moves what is sealed and open to the front if sending has freed room there.
    pub(crate) fn compact(&mut self) {
        let mark = &mut *self.mark;
        if mark.start == 0 {
            return;
        }
        let open = if mark.body == 0 { 0 } else { mark.body.saturating_add(2) };
        let end = mark.end.saturating_add(open).min(self.memory.len());
        self.memory.copy_within(mark.start..end, 0);
        (mark.start, mark.end) = (0, mark.end.saturating_sub(mark.start));
    }

    /// `n` bytes behind what is sealed, to be filled and then sealed by [`sealed_more`](Self::sealed_more).
    pub(crate) fn behind(&mut self, n: usize) -> Option<&mut [u8]> {
        self.memory.get_mut(self.mark.end..)?.get_mut(..n)
    }

    /// Says that `n` more bytes are ready to be written, and that no record is open.
    pub(crate) fn sealed_more(&mut self, n: usize) {
        self.mark.end = self.mark.end.saturating_add(n).min(self.memory.len());
        self.mark.body = 0;
    }

    /// Memory behind the open record, which counts only once the record is extended over it.
    pub(crate) fn beyond(&mut self) -> &mut [u8] {
        let at = self.mark.end.saturating_add(2).saturating_add(self.mark.body);
        self.memory.get_mut(at..).unwrap_or_default()
    }

    /// `n` plain bytes at the end of the open record of `owner`, for the caller to fill.
    pub(crate) fn extend(&mut self, n: usize, owner: u32) -> Option<&mut [u8]> {
        let at = self.mark.end.checked_add(2)?.checked_add(self.mark.body)?;
        let to = self.memory.get_mut(at..)?.get_mut(..n)?;
        self.mark.body = self.mark.body.saturating_add(n);
        self.mark.owner = owner;
        Some(to)
    }
}
