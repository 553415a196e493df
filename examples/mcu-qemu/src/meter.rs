//! What calls cost.

use crate::{clock, stack};

/// Adds up what several calls cost.
#[derive(Clone, Copy, Default)]
pub struct Meter {
    /// Time spent in them, together.
    pub ticks: u64,
    /// The deepest stack of any of them, in bytes below the caller's.
    pub stack: usize,
}

impl Meter {
    /// Makes a call and adds what it costs.
    pub fn run<R>(&mut self, call: impl FnOnce() -> R) -> R {
        let before = stack::paint();
        let begun = clock::ticks();
        let result = apart(call);
        self.ticks += clock::ticks() - begun;
        self.stack = self.stack.max(stack::peak().saturating_sub(before));
        result
    }

    /// What it has added up, and starts over.
    pub fn take(&mut self) -> Meter {
        core::mem::take(self)
    }
}

/// A frame of its own: inlined, the call would have its variables in a frame that counts as the caller's.
#[inline(never)]
fn apart<R>(call: impl FnOnce() -> R) -> R {
    call()
}
