//! The time of a chip.

use core::hint;

use crate::proto::Instant;

/// A chip's clock, and how it waits.
pub trait Clock {
    /// Milliseconds since some fixed moment, usually the reset. Never runs backwards.
    fn now(&mut self) -> Instant;

    /// Waits for an interrupt, or until `until`; may come back at any time before. As it stands it does not sleep at all:
    /// put the core's way of waiting for an interrupt here.
    fn idle(&mut self, until: Option<Instant>) {
        let _ = until;
        hint::spin_loop();
    }
}

/// A clock that an executor can wait for.
#[expect(
    async_fn_in_trait,
    reason = "executors of microcontrollers do not move tasks between threads"
)]
pub trait AsyncClock {
    /// As [`Clock::now`].
    fn now(&mut self) -> Instant;

    /// Is done when `until` has come. Dropping it has no effect.
    async fn sleep_until(&mut self, until: Instant);
}
