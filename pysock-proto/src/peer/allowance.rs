//! How often something may happen: a few times at once, then at a steady pace.

use crate::time::Instant;

/// What may happen at once.
const BURST: u8 = 8;
/// Milliseconds after which it may happen once more.
const PACE_MILLIS: u64 = 125;

pub(super) struct Allowance {
    left: u8,
    since: Instant,
}

impl Allowance {
    pub(super) const fn new() -> Self {
        Allowance { left: BURST, since: Instant::from_millis(0) }
    }

    /// Whether it may happen now.
    pub(super) fn allows(&mut self, now: Instant) -> bool {
        let more = now.millis_since(self.since) / PACE_MILLIS;
        if more > 0 {
            let left = u64::from(self.left).saturating_add(more).min(BURST.into());
            (self.left, self.since) = (left as u8, now);
        }
        self.left > 0
    }

    /// It has happened.
    pub(super) fn take(&mut self) {
        self.left = self.left.saturating_sub(1);
    }
}
