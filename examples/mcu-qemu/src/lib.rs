//! What a firmware for the emulated boards needs: network, clock, console, flash, and ends that tell what went wrong.
//!
//! ```ignore
//! #[entry]
//! fn main() -> ! {
//!     let Board { args, mut device, mut clock, mut entropy } = Board::take();
//!     let mut net = Net::new(&mut device, SOCKETS.take().unwrap(), entropy.number(), clock.now());
//!     loop {
//!         net.poll(&mut device, clock.now());
//!         // Whatever the firmware does, until no socket has anything left to read: nothing wakes it for that.
//!         let deadline = net.deadline(clock.now());
//!         board::sleep(&mut clock, &mut device, deadline);
//!     }
//! }
//! ```
#![no_std]

#[cfg(all(feature = "mps2-an385", feature = "lm3s6965evb"))]
compile_error!("one board at a time: either feature mps2-an385 or feature lm3s6965evb");
#[cfg(not(any(feature = "mps2-an385", feature = "lm3s6965evb")))]
compile_error!("choose a board: --features mps2-an385 or --features lm3s6965evb");

pub mod args;
pub mod clock;
pub mod device;
pub mod entropy;
pub mod fault;
pub mod flash;
mod guard;
pub mod memory;
pub mod meter;
mod mmio;
pub mod net;
mod nic;
pub mod semihosting;
pub mod stack;

pub use cortex_m_rt::entry;
pub use smoltcp;

use cortex_m::{
    interrupt,
    peripheral::{NVIC, SCB},
};
use pysock_proto::Instant;

use crate::{args::Args, clock::Clock, device::Device, entropy::TestEntropy, nic::Nic};

/// The board, running.
pub struct Board {
    /// The command line. `seed` is taken: it seeds `entropy`. `guard=off` lets the emulator ignore
    /// accesses to nothing.
    pub args: Args,
    /// The network.
    pub device: Device,
    /// The time.
    pub clock: Clock,
    /// What passes for randomness here.
    pub entropy: TestEntropy,
}

impl Board {
    /// Starts the board. Panics a second time.
    pub fn take() -> Self {
        let parts = cortex_m::Peripherals::take().and_then(|peripherals| {
            let args = Args::take()?;
            if args.get("guard") != Some("off") {
                guard::set(&peripherals.MPU);
            }
            let clock = Clock::new(peripherals.SYST);
            Some(Board {
                args,
                clock,
                device: Device::take()?,
                entropy: TestEntropy::new(args.number("seed").unwrap_or(0)),
            })
        });
        let Some(board) = parts else { panic!("the board is taken already") };
        board
    }

    /// Milliseconds since the reset.
    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    /// Sleeps until a frame has arrived, or until `deadline`.
    pub fn sleep(&mut self, deadline: Option<Instant>) {
        sleep(&mut self.clock, &mut self.device, deadline);
    }
}

/// Sleeps until a frame has arrived, or until `deadline`. For those who have taken the board apart.
pub fn sleep(clock: &mut Clock, device: &mut Device, deadline: Option<Instant>) {
    let line = <nic::Chip as Nic>::INTERRUPT;
    let mut awake = false;
    while !awake {
        // Whatever happens from here on stays pending, and what is pending ends `wfi` at once, though no handler runs
        // before the end of the section: no wake-up is lost between the look and the sleep.
        interrupt::free(|section| {
            awake = !clock.aim(deadline, section) || device.chip.arm();
            if awake {
                return;
            }
            // SAFETY: enabled only inside this section, so it never preempts anything.
            unsafe { NVIC::unmask(line) };
            cortex_m::asm::wfi();
            NVIC::mask(line);
            NVIC::unpend(line);
        });
    }
    clock.relax();
}

/// Starts over, as after a loss of power.
pub fn reset() -> ! {
    SCB::sys_reset()
}
