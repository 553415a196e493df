//! The Ethernet controller inside the LM3S6965.

use super::{FRAME, Interrupt, MAC, Nic, words};
use crate::mmio::Registers;

// SAFETY: 0x4004_8000 is where the chip has the controller, alone in its 4 KiB; it has no access to memory.
const DEVICE: Registers = unsafe { Registers::new(0x4004_8000) };

// SAFETY: 0x400F_E000 is where the chip has system control, alone in its 4 KiB; of that only the clocks of the
// controller are changed here.
const SYSTEM: Registers = unsafe { Registers::new(0x400F_E000) };

/// In system control: which peripherals have a clock.
const RCGC2: usize = 0x108;

/// What has happened; writing acknowledges.
const RIS: usize = 0x00;
/// What interrupts.
const IM: usize = 0x04;
const RCTL: usize = 0x08;
const TCTL: usize = 0x0C;
const DATA: usize = 0x10;
const IA0: usize = 0x14;
const IA1: usize = 0x18;
const THR: usize = 0x1C;
/// Frames that wait.
const NP: usize = 0x34;
/// Starts sending, and is 0 again when it is done.
const TR: usize = 0x38;

/// A frame has arrived.
const RXINT: u32 = 1;

/// The length that comes in front of a frame, and the checksum behind it.
const AROUND: usize = 2 + 4;

/// The controller.
pub(crate) struct Stellaris(());

impl Stellaris {
    /// Starts it.
    pub(crate) fn new() -> Self {
        // The MAC and its PHY.
        SYSTEM.write(RCGC2, SYSTEM.read(RCGC2) | 1 << 30 | 1 << 28);
        DEVICE.write(IM, 0);
        const RESET_FIFO: u32 = 1 << 4;
        DEVICE.write(RCTL, RESET_FIFO);
        DEVICE.write(RIS, DEVICE.read(RIS));
        let [a, b, c, d, e, f] = MAC;
        DEVICE.write(IA0, u32::from_le_bytes([a, b, c, d]));
        DEVICE.write(IA1, u32::from_le_bytes([e, f, 0, 0]));
        // Send when told to, not when enough is there.
        DEVICE.write(THR, 0x3F);
        // Full duplex, with checksum and padding, enabled.
        DEVICE.write(TCTL, 1 << 4 | 1 << 2 | 1 << 1 | 1);
        // Damaged frames dropped, enabled.
        DEVICE.write(RCTL, 1 << 3 | 1);
        DEVICE.write(IM, RXINT);
        Stellaris(())
    }
}

impl Nic for Stellaris {
    const INTERRUPT: Interrupt = Interrupt(42);

    fn receive(&mut self, space: &mut [u8; FRAME]) -> Option<usize> {
        if DEVICE.read(NP) == 0 {
            return None;
        }
        let [low, high, first @ ..] = DEVICE.read(DATA).to_le_bytes();
        let total = usize::from(u16::from_le_bytes([low, high]));
        let len = total.saturating_sub(AROUND);
        space.iter_mut().zip(first).for_each(|(to, from)| *to = from);
        // As many words as the length says, or the next frame would be out of step.
        for at in (2..total.saturating_sub(2)).step_by(4) {
            let word = DEVICE.read(DATA).to_le_bytes();
            space.iter_mut().skip(at).zip(word).for_each(|(to, from)| *to = from);
        }
        (len <= FRAME).then_some(len)
    }

    fn can_send(&mut self) -> bool {
        DEVICE.read(TR) & 1 == 0
    }

    fn send(&mut self, frame: &[u8]) {
        /// The header is not part of the length.
        const HEADER: usize = 14;
        let Some(([a, b], rest)) = frame.split_first_chunk() else { return };
        let [low, high] = (frame.len().saturating_sub(HEADER) as u16).to_le_bytes();
        DEVICE.write(DATA, u32::from_le_bytes([low, high, *a, *b]));
        words(rest).for_each(|word| DEVICE.write(DATA, word));
        DEVICE.write(TR, 1);
    }

    fn arm(&mut self) -> bool {
        DEVICE.write(RIS, RXINT);
        DEVICE.read(NP) != 0
    }
}
