//! Records: a `u16` length and an AEAD ciphertext with several frames in it.
//!
//! Frames collect as plain text in an open record of the transmit buffer, so that many small messages cost
//! one AEAD operation; the record is sealed when it is full or flushed.

use crate::{
    buffer::{Rx, Tx},
    crypto::{Crypto, Suite, TAG},
    error::{Error, SendError},
    noise::CipherState,
    wire::{
        block::{self, Block},
        frame::HEADER,
    },
};

/// Length of a record's own header.
pub(crate) const LENGTH: usize = 2;
/// Room in the transmit buffer that frames of the application never take: a record with every reply that
/// a connection can owe at once (see `connection::owed`).
pub(crate) const CONTROL_ROOM: usize = 160;
/// Shortest record: one empty frame and a tag.
const SHORTEST: usize = HEADER + TAG;

/// The sending half of an open connection.
pub(crate) struct Sealer {
    pub(crate) cipher: CipherState,
    pub(crate) suite: Suite,
    /// The receiver's announced limit, in bytes of ciphertext.
    pub(crate) limit: u16,
    /// Marks the buffers of this connection: the first bytes of its handshake hash.
    pub(crate) owner: u32,
}

impl Sealer {
    /// Longest body of one frame that the receiver takes and `tx` could ever hold.
    pub(crate) fn longest_body(&self, tx: &Tx<'_>, keep: usize) -> usize {
        let buffer = tx.capacity().saturating_sub(LENGTH.saturating_add(keep));
        usize::from(self.limit).min(buffer).saturating_sub(SHORTEST)
    }

    /// Longest body of one frame that fits `tx` now, beside what is already in it.
    pub(crate) fn room(&self, tx: &mut Tx<'_>, keep: usize) -> usize {
        tx.compact();
        let (limit, body) = (usize::from(self.limit), tx.body());
        let fits = |before: usize, in_record: usize| {
            let used = before.saturating_add(SHORTEST);
            let free = tx.free().saturating_sub(used.saturating_add(keep));
            free.min(limit.saturating_sub(in_record.saturating_add(SHORTEST)))
        };
        // In the open record, or behind it in one of its own.
        let joining = LENGTH.saturating_add(body);
        fits(joining, body).max(fits(joining.saturating_add(TAG + LENGTH), 0))
    }

    /// Makes room for a frame with a body of `body` bytes, sealing the open record if the frame needs a
    /// new one. Looks before it acts: an error leaves everything as it was.
    pub(crate) fn reserve<C: Crypto>(
        &mut self,
        tx: &mut Tx<'_>,
        body: usize,
        keep: usize,
    ) -> Result<(), SendError> {
        let longest = self.longest_body(tx, keep);
        if body > longest {
            return Err(SendError::TooLong(u16::try_from(longest).unwrap_or(u16::MAX)));
        }
        self.check_owner(tx)?;
        let frame = body.saturating_add(HEADER);
        let joins = tx.body().saturating_add(frame).saturating_add(TAG) <= usize::from(self.limit);
        let behind = if joins { 0 } else { TAG + LENGTH };
        let before = LENGTH.saturating_add(tx.body()).saturating_add(behind);
        let need = before.saturating_add(frame).saturating_add(TAG).saturating_add(keep);
        if need > tx.free() {
            tx.compact();
        }
        if let Some(missing) = need.checked_sub(tx.free())
            && missing > 0
        {
            return Err(SendError::Full(u16::try_from(missing).unwrap_or(u16::MAX)));
        }
        if !joins {
            self.seal::<C>(tx)?;
        }
        Ok(())
    }

    /// Appends a frame whose body is `parts` one after the other.
    pub(crate) fn frame<C: Crypto>(
        &mut self,
        tx: &mut Tx<'_>,
        kind: u8,
        parts: [&[u8]; 2],
        keep: usize,
    ) -> Result<(), SendError> {
        let [first, second] = parts;
        let body = first.len().saturating_add(second.len());
        self.reserve::<C>(tx, body, keep)?;
        let full = SendError::Full(0);
        let to = tx.extend(HEADER.saturating_add(body), self.owner).ok_or(full)?;
        // `reserve` has checked that the body fits a record, and so a u16.
        let [a, b] = u16::try_from(body).unwrap_or(u16::MAX).to_be_bytes();
        let (header, to) = to.split_first_chunk_mut::<HEADER>().ok_or(full)?;
        *header = [kind, a, b];
        let (to_first, to_second) = to.split_at_mut_checked(first.len()).ok_or(full)?;
        to_first.copy_from_slice(first);
        to_second.copy_from_slice(second);
        Ok(())
    }

    /// Appends the messages of a block to the open record as long as they fit it, each with this type and header, and
    /// returns how many, and what is left. It never begins or seals a record: the first that does not fit is for [`frame`](Self::frame).
    pub(crate) fn join<'m>(
        &self,
        tx: &mut Tx<'_>,
        (kind, header): (u8, &[u8]),
        block: Block<'m>,
        keep: usize,
    ) -> (usize, Block<'m>) {
        if tx.body() == 0 || header.len() != block.header() || self.check_owner(tx).is_err() {
            return (0, block);
        }
        let in_record = usize::from(self.limit).saturating_sub(tx.body().saturating_add(TAG));
        let before = LENGTH.saturating_add(tx.body()).saturating_add(TAG).saturating_add(keep);
        let (count, len) = block.fitting(in_record.min(tx.free().saturating_sub(before)));
        let Some((frames, rest)) = block.bytes().split_at_checked(len) else { return (0, block) };
        let Some(to) = tx.extend(len, self.owner) else { return (0, block) };
        to.copy_from_slice(frames);
        block::stamp(to, kind, header);
        (count, Block::new(rest, block.header()))
    }

    /// Seals the open record, if there is one.
    pub(crate) fn seal<C: Crypto>(&mut self, tx: &mut Tx<'_>) -> Result<(), SendError> {
        if tx.body() == 0 {
            return Ok(());
        }
        self.check_owner(tx)?;
        let (full, len) = (SendError::Full(0), tx.body().saturating_add(TAG));
        let record = tx.behind(len.saturating_add(LENGTH)).ok_or(full)?;
        let (head, rest) = record.split_first_chunk_mut::<LENGTH>().ok_or(full)?;
        let (text, tag) = rest.split_last_chunk_mut::<TAG>().ok_or(full)?;
        *head = u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes();
        *tag = self.cipher.seal::<C>(self.suite, text);
        tx.sealed_more(len.saturating_add(LENGTH));
        Ok(())
    }

    pub(crate) fn check_owner(&self, tx: &Tx<'_>) -> Result<(), SendError> {
        if tx.is_foreign(self.owner) { Err(SendError::WrongBuffer) } else { Ok(()) }
    }
}

/// Decrypts the record at the front of `rx` in place, once it is complete. `false`: more bytes are needed.
pub(crate) fn open<C: Crypto>(
    cipher: &mut CipherState,
    suite: Suite,
    rx: &mut Rx<'_>,
    limit: u16,
    owner: u32,
) -> Result<bool, Error> {
    let Some((len, complete)) = rx.announced() else { return Ok(false) };
    if len > limit || usize::from(len) < SHORTEST {
        return Err(Error::RecordLength(len));
    }
    rx.can_hold(len)?;
    if !complete {
        return Ok(false);
    }
    rx.take(LENGTH);
    let record = rx.bytes_mut().get_mut(..usize::from(len)).ok_or(Error::WrongBuffer)?;
    let (text, tag) = record.split_last_chunk_mut::<TAG>().ok_or(Error::RecordLength(len))?;
    cipher.open::<C>(suite, text, tag).map_err(|_| Error::Tag)?;
    let len = text.len();
    rx.set_open(len, owner);
    Ok(true)
}
