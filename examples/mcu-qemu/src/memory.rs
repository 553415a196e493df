//! Static memory that is handed out once.

use core::{
    cell::UnsafeCell,
    sync::atomic::{AtomicBool, Ordering},
};

/// A static value whose first taker has it for good. Unlike what is built on the stack and moved, it costs no stack,
/// and as zeros no flash.
pub struct Lend<T> {
    value: UnsafeCell<T>,
    taken: AtomicBool,
}

// SAFETY: `taken` lets exactly one caller reach the value, whatever its context, and gives it away for good; that is a
// transfer, hence `T: Send`.
unsafe impl<T: Send> Sync for Lend<T> {}

impl<T> Lend<T> {
    /// For a static.
    pub const fn new(value: T) -> Self {
        Lend { value: UnsafeCell::new(value), taken: AtomicBool::new(false) }
    }

    /// The value, for the first who asks.
    #[expect(clippy::mut_from_ref, reason = "handed out once")]
    pub fn take(&'static self) -> Option<&'static mut T> {
        if self.taken.swap(true, Ordering::Relaxed) {
            return None;
        }
        // SAFETY: only the first caller comes here, so this is the only reference that ever exists; a static lives on.
        Some(unsafe { &mut *self.value.get() })
    }
}
