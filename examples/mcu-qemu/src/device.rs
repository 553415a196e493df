//! The network controller as smoltcp wants it.

use smoltcp::{
    phy::{self, DeviceCapabilities, Medium},
    time::Instant,
};

use crate::{
    memory::Lend,
    nic::{Chip, FRAME, Nic},
};

static RECEIVED: Lend<[u8; FRAME]> = Lend::new([0; FRAME]);
static SENT: Lend<[u8; FRAME]> = Lend::new([0; FRAME]);

/// The network controller, with memory for one frame each way.
pub struct Device {
    pub(crate) chip: Chip,
    received: &'static mut [u8; FRAME],
    sent: &'static mut [u8; FRAME],
}

impl Device {
    /// Starts the controller, the first time.
    pub(crate) fn take() -> Option<Self> {
        Some(Device { received: RECEIVED.take()?, sent: SENT.take()?, chip: Chip::new() })
    }
}

impl phy::Device for Device {
    type RxToken<'a> = RxToken<'a>;
    type TxToken<'a> = TxToken<'a>;

    fn receive(&mut self, _: Instant) -> Option<(RxToken<'_>, TxToken<'_>)> {
        // An answer may be due at once. Until there is room for it, the frame waits in the controller.
        if !self.chip.can_send() {
            return None;
        }
        let len = self.chip.receive(self.received)?;
        let frame = self.received.get(..len)?;
        Some((RxToken(frame), TxToken { chip: &mut self.chip, space: self.sent }))
    }

    fn transmit(&mut self, _: Instant) -> Option<TxToken<'_>> {
        let ready = self.chip.can_send();
        ready.then_some(TxToken { chip: &mut self.chip, space: self.sent })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = FRAME;
        // A limit here would shrink the TCP window, and QEMU's network sends more than such a window allows.
        capabilities.max_burst_size = None;
        capabilities
    }
}

/// A frame that has arrived.
pub struct RxToken<'a>(&'a [u8]);

impl phy::RxToken for RxToken<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(self.0)
    }
}

/// Room for a frame to send.
pub struct TxToken<'a> {
    chip: &'a mut Chip,
    space: &'a mut [u8; FRAME],
}

impl phy::TxToken for TxToken<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write: F) -> R {
        // smoltcp sends nothing longer than the capabilities say.
        let frame = &mut self.space[..len];
        let result = write(frame);
        self.chip.send(frame);
        result
    }
}
