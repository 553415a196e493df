//! Network controllers.

#[cfg(feature = "mps2-an385")]
mod lan9118;
#[cfg(feature = "lm3s6965evb")]
mod stellaris;

#[cfg(feature = "mps2-an385")]
pub(crate) use lan9118::Lan9118 as Chip;
#[cfg(feature = "lm3s6965evb")]
pub(crate) use stellaris::Stellaris as Chip;

use cortex_m::interrupt::InterruptNumber;

/// The longest Ethernet frame, without its checksum. QEMU's network ignores the segment size that a guest asks for,
/// so smaller buffers would not do.
pub const FRAME: usize = 1514;

/// The address of the board on its network, from the range for local use.
pub(crate) const MAC: [u8; 6] = [0x02, 0x00, 0x00, 0x70, 0x79, 0x01];

/// What a network controller does.
pub(crate) trait Nic {
    /// Its interrupt: pending while a frame has arrived since [`arm`](Self::arm).
    const INTERRUPT: Interrupt;

    /// Fetches one frame, if one waits. Frames that are damaged or too long are dropped.
    fn receive(&mut self, space: &mut [u8; FRAME]) -> Option<usize>;

    /// Whether it takes a frame of any length now.
    fn can_send(&mut self) -> bool;

    /// Sends a frame of at most [`FRAME`] bytes.
    fn send(&mut self, frame: &[u8]);

    /// Forgets the interrupt that was, and says whether a frame waits all the same. In this order no frame can come
    /// unnoticed in between.
    fn arm(&mut self) -> bool;
}

/// The number of an interrupt.
#[derive(Clone, Copy)]
pub(crate) struct Interrupt(u16);

// SAFETY: the numbers are those of the controllers below, constants that exist on the board.
unsafe impl InterruptNumber for Interrupt {
    fn number(self) -> u16 {
        self.0
    }
}

/// The words of a frame, the last one filled up with zeros.
fn words(bytes: &[u8]) -> impl Iterator<Item = u32> {
    bytes.chunks(4).map(|chunk| {
        let mut word = [0; 4];
        word.iter_mut().zip(chunk).for_each(|(to, from)| *to = *from);
        u32::from_le_bytes(word)
    })
}
