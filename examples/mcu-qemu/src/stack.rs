//! How deep the stack was used.
//!
//! The memory map puts the stack at the very start of the memory, so it grows out of the memory and not into the
//! statics. What is below is no memory, and so the first access there is a fault: see `guard.rs`.

use core::{arch::asm, ptr};

unsafe extern "C" {
    // Addresses from the memory map; there is nothing behind the names.
    static _stack_start: u32;
    static _stack_end: u32;
}

/// What memory is painted with that was not used yet; the same as what cortex-m-rt paints before `main`.
const PAINT: u32 = 0xCCCC_CCCC;

/// Where the stack begins: the highest address, not part of it.
pub(crate) fn top() -> usize {
    &raw const _stack_start as usize
}

/// Where it ends: the lowest address.
pub(crate) fn bottom() -> usize {
    &raw const _stack_end as usize
}

/// How many bytes it has.
pub fn size() -> usize {
    top() - bottom()
}

/// Forgets how deep the stack was used, and says how deep it is now.
#[inline(never)]
pub fn paint() -> usize {
    let now: usize;
    // SAFETY: writes only from the end of the stack to the stack pointer, where nothing lives; an interrupt in between
    // is over before it goes on. Uses no stack itself.
    unsafe {
        asm!(
            "mov {now}, sp",
            "2: cmp {at}, {now}",
            "bhs 3f",
            "str {paint}, [{at}], #4",
            "b 2b",
            "3:",
            at = inout(reg) bottom() => _,
            now = out(reg) now,
            paint = in(reg) PAINT,
            options(nostack),
        );
    }
    top() - now
}

/// How many bytes of it were in use at most, since the reset or the last [`paint`]. Finds what has written something
/// other than the paint; a frame that reserves room and leaves it alone can be a little deeper.
pub fn peak() -> usize {
    let mut at = bottom();
    // SAFETY: aligned and inside the stack, which is memory; below the stack pointer it belongs to no object, and what
    // is there is only compared.
    while at < top() && unsafe { ptr::with_exposed_provenance::<u32>(at).read_volatile() } == PAINT
    {
        at += 4;
    }
    top() - at
}
