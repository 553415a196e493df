//! Memory in which messages are packed: each thread keeps some for the next time, since large pieces are dear to get from
//! the system again and again.

use std::cell::RefCell;

use bytes::Bytes;

/// Size of a piece: all messages of the longest record, each behind its length, which is shorter than a frame's header.
pub(super) const SIZE: usize = 64 * 1024;
/// Pieces that a thread keeps.
const KEPT: usize = 16;

thread_local! {
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// An empty piece.
pub(super) fn take() -> Vec<u8> {
    let spare = SPARE.try_with(|spare| spare.borrow_mut().pop()).ok().flatten();
    spare.unwrap_or_else(|| Vec::with_capacity(SIZE))
}

fn give(mut piece: Vec<u8>) {
    if piece.capacity() == SIZE {
        piece.clear();
        // A thread that ends keeps nothing.
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < KEPT {
                spare.push(piece);
            }
        });
    }
}

/// A piece with something in it, back with a thread once nobody needs it.
struct Piece(Vec<u8>);

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        give(std::mem::take(&mut self.0));
    }
}

/// What is in `piece`, which may wait for long and counts only what is in it: a little is copied out.
pub(super) fn share(piece: Vec<u8>) -> Bytes {
    if piece.capacity() != SIZE {
        return piece.into();
    }
    if piece.len() >= SIZE / 2 {
        return Bytes::from_owner(Piece(piece));
    }
    let bytes = Bytes::copy_from_slice(&piece);
    give(piece);
    bytes
}
