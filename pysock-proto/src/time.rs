//! Time as the caller tells it. The core has no clock: every operation that depends on time takes an [`Instant`].

use core::fmt;

/// A moment on the caller's monotonic clock, in milliseconds since an origin of the caller's choice.
///
/// Only differences matter, so a microcontroller may count from its reset and a desktop from process
/// start. The clock must never run backwards; if it does, deadlines are late, nothing else breaks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Instant(u64);

impl Instant {
    /// The moment `millis` milliseconds after the clock's origin.
    pub const fn from_millis(millis: u64) -> Self {
        Instant(millis)
    }

    /// Milliseconds since the clock's origin.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// The moment `millis` later; stays at the end of time instead of wrapping round.
    pub const fn after_millis(self, millis: u64) -> Self {
        Instant(self.0.saturating_add(millis))
    }

    /// Milliseconds from `earlier` to this moment, 0 if `earlier` is later.
    pub const fn millis_since(self, earlier: Instant) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.0)
    }
}
