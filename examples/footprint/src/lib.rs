//! The smallest board that lets a program start: reset, a few registers, memory handed out once, a panic
//! handler. Every program links it, so it cancels out of the figures.
//!
//! The registers belong to no real chip. What matters is that the optimizer knows nothing of them: it can
//! neither guess what comes from the network nor drop what goes there.
#![no_std]

pub mod client;
pub mod connection;
mod sizes;

pub use sizes::{Size, padded};

use core::{
    arch::global_asm,
    cell::UnsafeCell,
    mem::MaybeUninit,
    panic::PanicInfo,
    ptr,
    sync::atomic::{AtomicBool, Ordering},
};

use pysock_proto::Instant;

// Before memory is initialized, only assembly can run soundly.
global_asm!(
    ".section .vectors, \"a\", %progbits",
    ".global vectors",
    "vectors:",
    ".word __stack_top",
    ".word reset",
    ".rept 14",
    ".word halt",
    ".endr",
    ".section .text.reset, \"ax\", %progbits",
    ".thumb",
    ".global reset",
    ".type reset, %function",
    ".thumb_func",
    "reset:",
    "ldr r0, =__data_start",
    "ldr r1, =__data_end",
    "ldr r2, =__data_load",
    "1: cmp r0, r1",
    "beq 2f",
    "ldr r3, [r2], #4",
    "str r3, [r0], #4",
    "b 1b",
    "2: ldr r0, =__bss_start",
    "ldr r1, =__bss_end",
    "movs r2, #0",
    "3: cmp r0, r1",
    "beq 4f",
    "str r2, [r0], #4",
    "b 3b",
    "4: bl main",
    ".type halt, %function",
    ".thumb_func",
    "halt: b halt",
    ".ltorg",
);

/// The device's registers, one word each.
#[derive(Clone, Copy)]
#[repr(usize)]
pub enum Register {
    /// How many bytes have arrived and wait.
    Arrived,
    /// The next byte that arrived.
    Receive,
    /// How many bytes can be taken for sending.
    Room,
    /// Takes a byte for sending.
    Send,
    /// Milliseconds since the reset, lower half.
    ClockLow,
    /// Milliseconds since the reset, upper half.
    ClockHigh,
    /// When to wake up at the latest, lower half; writing it sleeps.
    Wake,
    /// Random words.
    Random,
    /// Words of what is stored: keys, names.
    Stored,
    /// What the user wants next.
    Wish,
    /// What the user is shown.
    Show,
}

/// The peripheral region of ARMv7-M.
const BASE: usize = 0x4000_0000;

/// Reads a register.
pub fn read(register: Register) -> u32 {
    let at = ptr::with_exposed_provenance::<u32>(BASE + 4 * register as usize);
    // SAFETY: aligned and inside the device region, where no Rust object lives; reading has no effect on memory.
    unsafe { at.read_volatile() }
}

/// Writes a register.
pub fn write(register: Register, value: u32) {
    let at = ptr::with_exposed_provenance_mut::<u32>(BASE + 4 * register as usize);
    // SAFETY: aligned and inside the device region, where no Rust object lives; the device changes no memory.
    unsafe { at.write_volatile(value) }
}

/// `N` bytes from a register.
pub fn bytes<const N: usize>(from: Register) -> [u8; N] {
    let mut to = [0; N];
    to.fill_with(|| read(from) as u8);
    to
}

/// Moves what has arrived to `space`, as far as it fits, and says how much that was.
pub fn receive(space: &mut [u8]) -> usize {
    let n = space.len().min(read(Register::Arrived) as usize);
    space.iter_mut().take(n).for_each(|to| *to = read(Register::Receive) as u8);
    n
}

/// Sends as much of `bytes` as the device takes, and says how much that was.
pub fn send(bytes: &[u8]) -> usize {
    let n = bytes.len().min(read(Register::Room) as usize);
    bytes.iter().take(n).for_each(|byte| write(Register::Send, u32::from(*byte)));
    n
}

/// Now.
pub fn now() -> Instant {
    let (low, high) = (read(Register::ClockLow), read(Register::ClockHigh));
    Instant::from_millis(u64::from(high) << 32 | u64::from(low))
}

/// Sleeps until a byte comes or goes, or until `deadline`.
pub fn sleep(deadline: Option<Instant>) {
    write(Register::Wake, deadline.map_or(u32::MAX, |at| at.as_millis() as u32));
}

/// Shows bytes to the user.
pub fn show(bytes: &[u8]) {
    bytes.iter().for_each(|byte| write(Register::Show, u32::from(*byte)));
}

/// Static memory for one `T`, handed out once.
pub struct Slot<T> {
    memory: UnsafeCell<MaybeUninit<T>>,
    taken: AtomicBool,
}

// SAFETY: `taken` lets exactly one caller reach the memory, whatever its thread, and gives it `T` for good; that
// is a transfer, hence `T: Send`.
unsafe impl<T: Send> Sync for Slot<T> {}

impl<T> Slot<T> {
    /// Memory for one `T`.
    #[expect(clippy::new_without_default, reason = "only ever a static")]
    pub const fn new() -> Self {
        Slot { memory: UnsafeCell::new(MaybeUninit::uninit()), taken: AtomicBool::new(false) }
    }

    /// Puts `value` there for good. A second time there is nothing left to give.
    #[expect(clippy::mut_from_ref, reason = "handed out once")]
    pub fn fill(&'static self, value: T) -> Option<&'static mut T> {
        if self.taken.swap(true, Ordering::Relaxed) {
            return None;
        }
        // SAFETY: only the first caller comes here, so this is the only reference that ever exists; the memory is
        // static, and `write` initializes it.
        Some(unsafe { (*self.memory.get()).write(value) })
    }
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    halt()
}

/// The end of the program.
pub fn halt() -> ! {
    loop {
        sleep(None);
    }
}
