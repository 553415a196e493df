//! Buffers shared by all connections of a thread: lent for a burst, given back when empty.

use std::cell::RefCell;

use pysock_proto::{RxBuf, TxBuf};

/// Size of a shared buffer: the longest record with its length, and room for a second one to be packed.
const SIZE: usize = 2 * (65_535 + 2);
/// Buffers that a thread keeps for later.
const KEPT: usize = 8;

thread_local! {
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

fn take() -> Vec<u8> {
    SPARE.with_borrow_mut(Vec::pop).unwrap_or_else(|| vec![0; SIZE])
}

fn give(buffer: Vec<u8>) {
    SPARE.with_borrow_mut(|spare| {
        if buffer.len() == SIZE && spare.len() < KEPT {
            spare.push(buffer);
        }
    });
}

/// Makes sure that there is room to read into.
pub(super) fn borrow_rx(rx: &mut RxBuf<Vec<u8>>) {
    if rx.capacity() < SIZE
        && let Ok(large) = rx.move_to(take())
    {
        *rx = large;
    }
}

/// Keeps only what is unfinished, in memory of its own size.
pub(super) fn return_rx(rx: &mut RxBuf<Vec<u8>>) {
    if rx.capacity() == SIZE
        && let Ok(small) = rx.move_to(vec![0; rx.pending()])
    {
        give(std::mem::replace(rx, small).into_inner());
    }
}

pub(super) fn borrow_tx(tx: &mut TxBuf<Vec<u8>>) {
    if tx.capacity() == 0 {
        *tx = TxBuf::new(take());
    }
}

pub(super) fn return_tx(tx: &mut TxBuf<Vec<u8>>) {
    if tx.is_empty() && tx.capacity() > 0 {
        give(std::mem::replace(tx, TxBuf::new(Vec::new())).into_inner());
    }
}
