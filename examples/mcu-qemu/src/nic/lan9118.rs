//! The LAN9118 on the MPS2 boards.

use super::{FRAME, Interrupt, MAC, Nic, words};
use crate::mmio::Registers;

// SAFETY: 0x4020_0000 is where the AN385 image has the controller, with 64 KiB of address space; it has no access to
// memory.
const DEVICE: Registers = unsafe { Registers::new(0x4020_0000) };

const RX_DATA: usize = 0x00;
const TX_DATA: usize = 0x20;
const RX_STATUS: usize = 0x40;
const TX_STATUS: usize = 0x48;
const IRQ_CFG: usize = 0x54;
const INT_STS: usize = 0x58;
const INT_EN: usize = 0x5C;
const BYTE_TEST: usize = 0x64;
const TX_CFG: usize = 0x70;
const HW_CFG: usize = 0x74;
const RX_FIFO_INF: usize = 0x7C;
const TX_FIFO_INF: usize = 0x80;
const MAC_CSR_CMD: usize = 0xA4;
const MAC_CSR_DATA: usize = 0xA8;

/// More frames have arrived than the level in FIFO_INT, which is 0 after reset.
const RSFL: u32 = 1 << 3;

/// The checksum that comes with a frame.
const CHECKSUM: usize = 4;

/// The controller.
pub(crate) struct Lan9118(());

impl Lan9118 {
    /// Starts it.
    pub(crate) fn new() -> Self {
        wait(BYTE_TEST, |word| word == 0x8765_4321);
        DEVICE.write(HW_CFG, 1);
        wait(HW_CFG, |word| word & 1 == 0);
        // Whole frames only, and 5 KiB of the buffer for sending.
        DEVICE.write(HW_CFG, 1 << 20 | 5 << 16);
        let [a, b, c, d, e, f] = MAC;
        set_mac(2, u32::from_le_bytes([e, f, 0, 0]));
        set_mac(3, u32::from_le_bytes([a, b, c, d]));
        // Full duplex, sending and receiving.
        set_mac(1, 1 << 20 | 1 << 3 | 1 << 2);
        DEVICE.write(TX_CFG, 1 << 1);
        // Enabled, active high, push-pull: anything else comes out inverted.
        DEVICE.write(IRQ_CFG, 1 << 8 | 1 << 4 | 1);
        DEVICE.write(INT_EN, RSFL);
        Lan9118(())
    }
}

/// Waits until a register satisfies `done`, and panics if that never happens.
fn wait(offset: usize, done: impl Fn(u32) -> bool) {
    // Far longer than it takes.
    let in_time = (0..1_000_000).any(|_| done(DEVICE.read(offset)));
    assert!(in_time, "the controller does not answer");
}

/// Sets a register of the MAC, which are reached through a mailbox.
fn set_mac(index: u32, value: u32) {
    const BUSY: u32 = 1 << 31;
    DEVICE.write(MAC_CSR_DATA, value);
    DEVICE.write(MAC_CSR_CMD, BUSY | index);
    wait(MAC_CSR_CMD, |word| word & BUSY == 0);
}

impl Nic for Lan9118 {
    const INTERRUPT: Interrupt = Interrupt(13);

    fn receive(&mut self, space: &mut [u8; FRAME]) -> Option<usize> {
        if frames_waiting() == 0 {
            return None;
        }
        let status = DEVICE.read(RX_STATUS);
        let total = (status >> 16 & 0x3FFF) as usize;
        let len = total.saturating_sub(CHECKSUM);
        for at in (0..total).step_by(4) {
            let word = DEVICE.read(RX_DATA).to_le_bytes();
            space.iter_mut().skip(at).zip(word).for_each(|(to, from)| *to = from);
        }
        const ERROR: u32 = 1 << 15;
        (status & ERROR == 0 && len <= FRAME).then_some(len)
    }

    fn can_send(&mut self) -> bool {
        let state = DEVICE.read(TX_FIFO_INF);
        // Each frame leaves a status behind; nothing is sent any more once there is no room for them.
        for _ in 0..state >> 16 & 0xFF {
            DEVICE.read(TX_STATUS);
        }
        // With the two words in front, and the last word filled up.
        (state & 0xFFFF) as usize >= FRAME + 12
    }

    fn send(&mut self, frame: &[u8]) {
        const FIRST_AND_LAST: u32 = 1 << 13 | 1 << 12;
        let len = frame.len() as u32;
        DEVICE.write(TX_DATA, FIRST_AND_LAST | len);
        DEVICE.write(TX_DATA, len);
        words(frame).for_each(|word| DEVICE.write(TX_DATA, word));
    }

    fn arm(&mut self) -> bool {
        DEVICE.write(INT_STS, RSFL);
        frames_waiting() > 0
    }
}

fn frames_waiting() -> u32 {
    DEVICE.read(RX_FIFO_INF) >> 16 & 0xFF
}
