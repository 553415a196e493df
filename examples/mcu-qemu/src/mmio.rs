//! Device registers.

use core::ptr;

/// How far the registers of one device reach.
const SPAN: usize = 0x1000;

/// The registers of one device.
pub(crate) struct Registers(usize);

impl Registers {
    /// The device at `base`.
    ///
    /// # Safety
    /// From `base` on there are 4 KiB of device registers, and whatever is written to them changes no memory.
    pub(crate) const unsafe fn new(base: usize) -> Self {
        Registers(base)
    }

    /// Reads the register at `offset`.
    pub(crate) fn read(&self, offset: usize) -> u32 {
        let at = ptr::with_exposed_provenance::<u32>(self.0 + offset % SPAN / 4 * 4);
        // SAFETY: aligned, and inside the device, as `new` was promised; no Rust object lives there.
        unsafe { at.read_volatile() }
    }

    /// Writes the register at `offset`.
    pub(crate) fn write(&self, offset: usize, value: u32) {
        let at = ptr::with_exposed_provenance_mut::<u32>(self.0 + offset % SPAN / 4 * 4);
        // SAFETY: aligned, and inside the device, as `new` was promised; no Rust object lives there.
        unsafe { at.write_volatile(value) }
    }
}
