//! Time since the reset, from SysTick alone: no wake-ups but those that are asked for, and one per 2^24 ticks.

use core::cell::Cell;

use cortex_m::{
    interrupt::{self, CriticalSection, Mutex},
    peripheral::{SCB, SYST, syst::SystClkSource},
};
use cortex_m_rt::exception;
use pysock_proto::Instant;

/// Ticks per second.
#[cfg(feature = "mps2-an385")]
pub const HERTZ: u32 = 25_000_000;
/// Ticks per second: the emulated chip starts with 200 MHz divided by 16, the real one with about 12 MHz.
#[cfg(feature = "lm3s6965evb")]
pub const HERTZ: u32 = 12_500_000;

const PER_MILLI: u64 = HERTZ as u64 / 1_000;

/// As long as a period can be.
const LONGEST: u32 = 1 << 24;

/// The shortest period has to leave time to set up the next.
const SHORTEST: u64 = 64;

#[derive(Clone, Copy)]
struct Count {
    /// Ticks before the present period.
    before: u64,
    /// Ticks of the present period.
    period: u32,
}

static COUNT: Mutex<Cell<Count>> = Mutex::new(Cell::new(Count { before: 0, period: LONGEST }));

/// A period is over.
#[exception]
fn SysTick() {
    interrupt::free(|section| {
        let cell = COUNT.borrow(section);
        let Count { before, period } = cell.get();
        cell.set(Count { before: before + u64::from(period), period });
    });
}

/// Ticks since the reset.
pub fn ticks() -> u64 {
    interrupt::free(ticks_within)
}

fn ticks_within(section: &CriticalSection) -> u64 {
    let Count { before, period } = COUNT.borrow(section).get();
    let early = SYST::get_current();
    // A period can be over that the handler, which has to wait, has not counted yet. In this order: if it ended after
    // the first look, what the first look saw belongs to it.
    let (over, left) =
        if SCB::is_pendst_pending() { (period, SYST::get_current()) } else { (0, early) };
    // It begins at zero, and only then is set to the period less one to count down.
    let gone = if left == 0 { 0 } else { period - left };
    before + u64::from(over) + u64::from(gone)
}

/// Instructions in so many ticks, where one instruction takes 1 ns: under the emulator's `-icount shift=0`, nowhere
/// else. True to the instructions of one tick.
pub const fn instructions(ticks: u64) -> u64 {
    ticks * (1_000_000_000 / HERTZ as u64)
}

/// The clock of the board.
pub struct Clock {
    timer: SYST,
}

impl Clock {
    /// Starts it.
    pub(crate) fn new(mut timer: SYST) -> Self {
        timer.set_clock_source(SystClkSource::Core);
        timer.set_reload(LONGEST - 1);
        timer.clear_current();
        timer.enable_interrupt();
        timer.enable_counter();
        Clock { timer }
    }

    /// Milliseconds since the reset.
    pub fn now(&self) -> Instant {
        Instant::from_millis(ticks() / PER_MILLI)
    }

    /// Begins a period that ends at `until`, and so wakes the processor then; or one of the longest, if that is
    /// earlier. False: `until` is past. Costs less than two ticks that are not counted.
    ///
    /// It begins one even where the present period would do. To QEMU, setting a timer is an occasion to look after its
    /// network: what was sent before would otherwise lie there until the end of the present period, if no frame comes.
    pub(crate) fn aim(&mut self, until: Option<Instant>, section: &CriticalSection) -> bool {
        let left = until.map_or(u64::MAX, |at| {
            at.as_millis().saturating_mul(PER_MILLI).saturating_sub(ticks_within(section))
        });
        // Too long for the type is too long for the timer.
        let period = u32::try_from(left.max(SHORTEST)).unwrap_or(LONGEST).min(LONGEST);
        if left > 0 {
            self.restart(period, section);
        }
        left > 0
    }

    /// Back to the longest periods.
    pub(crate) fn relax(&mut self) {
        interrupt::free(|section| {
            if COUNT.borrow(section).get().period != LONGEST {
                self.restart(LONGEST, section);
            }
        });
    }

    fn restart(&mut self, period: u32, section: &CriticalSection) {
        let before = ticks_within(section);
        self.timer.set_reload(period - 1);
        self.timer.clear_current();
        // If a period was over, it has just been counted.
        SCB::clear_pendst();
        COUNT.borrow(section).set(Count { before, period });
    }
}
