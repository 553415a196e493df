//! What is no memory is a fault.
//!
//! On real chips the bus sees to that, but QEMU ignores most such accesses: on the LM3S all of them, on the MPS2 those
//! below its RAM, where a stack runs over to. And the code of the MPS2 is in RAM that anybody can write. So the MPU has
//! the map, which both boards obey.

use cortex_m::peripheral::MPU;

/// Binary logarithms of the sizes in the memory map, of code and RAM.
#[cfg(feature = "mps2-an385")]
const SIZES: (u32, u32) = (22, 22);
/// Binary logarithms of the sizes in the memory map, of code and RAM.
#[cfg(feature = "lm3s6965evb")]
const SIZES: (u32, u32) = (18, 16);

/// Where RAM begins.
const RAM: u32 = 0x2000_0000;

const NO_ACCESS: u32 = 0;
const READ_WRITE: u32 = 0b011 << 24;
const READ_ONLY: u32 = 0b110 << 24;
const EXECUTE_NEVER: u32 = 1 << 28;

/// Start, binary logarithm of the size, and rights; where they overlap, the last one holds.
const REGIONS: [(u32, u32, u32); 3] = [
    // Below the peripherals.
    (0, 30, NO_ACCESS | EXECUTE_NEVER),
    (0, SIZES.0, READ_ONLY),
    (RAM, SIZES.1, READ_WRITE | EXECUTE_NEVER),
];

/// From now on, an access to what is no memory is a fault, as is a write to the code.
pub(crate) fn set(mpu: &MPU) {
    const ENABLE: u32 = 1;
    const SELECT: u32 = 1 << 4;
    const DEFAULT_MAP_ELSEWHERE: u32 = 1 << 2;
    for (number, (start, log2_size, rights)) in (0..).zip(REGIONS) {
        // SAFETY: all code, statics and stack keep the rights that they need, and nothing else is there.
        unsafe {
            mpu.rbar.write(start | SELECT | number);
            mpu.rasr.write(rights | (log2_size - 1) << 1 | ENABLE);
        }
    }
    // SAFETY: as above.
    unsafe { mpu.ctrl.write(DEFAULT_MAP_ELSEWHERE | ENABLE) };
    cortex_m::asm::dsb();
    cortex_m::asm::isb();
}
