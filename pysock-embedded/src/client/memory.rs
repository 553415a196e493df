//! The memory of a client, sized at one spot.

use core::mem::MaybeUninit;

use super::{Client, SENDERS, Setup, channels::Slot, requests::Requests, search::Search};
use crate::proto::{
    Connection, MIN_RECORD, MIN_TRANSMIT, PeerInfo, RustCrypto,
    peer::{HalfOpen, Peer},
    store::{Fixed, Store},
};

/// All memory that a client ever uses: put it into a `static`.
///
/// | | |
/// |---|---|
/// | `RX` | bytes for receiving: the longest record that others may send here, and two. 514 is usual, 258 the least |
/// | `TX` | bytes for sending: at least [`MIN_TRANSMIT`]. The longest message that is sent at once is a little shorter |
/// | `CHANNELS` | named channels that it may be on |
/// | `SESSIONS` | other clients that it may talk with end to end. About 1 KiB each, most of which is for the handshake |
///
/// ```
/// use pysock_embedded::Memory;
///
/// // About 5 KiB: messages of up to 490 bytes, four channels, two sessions.
/// static mut MEMORY: Memory<514, 1024, 4, 2> = Memory::new();
/// # let _ = &raw mut MEMORY;
/// ```
/// How to hand out a `static` once and soundly is what the crate `static_cell` is for. Anything else that lives as long as
/// the client will do as well.
pub struct Memory<const RX: usize, const TX: usize, const CHANNELS: usize, const SESSIONS: usize> {
    rx: [u8; RX],
    tx: [u8; TX],
    /// Written when there is a client: until then it is zeros, and takes no flash.
    state: MaybeUninit<State>,
    channels: heapless::Vec<Slot, CHANNELS>,
    sessions: Fixed<Peer, SESSIONS>,
    handshakes: Fixed<HalfOpen, SESSIONS>,
    contacts: heapless::Vec<PeerInfo, SESSIONS>,
    searches: heapless::Vec<Search, SESSIONS>,
}

/// What has the same size in every client, and is better not on a stack.
pub(super) struct State {
    pub(super) conn: Option<Connection<RustCrypto>>,
    /// Whom the last announcements of the server were about; the oldest goes first.
    pub(super) senders: heapless::Deque<PeerInfo, SENDERS>,
    pub(super) requests: Requests,
}

impl State {
    fn new() -> Self {
        State { conn: None, senders: heapless::Deque::new(), requests: Requests::new() }
    }
}

/// What a client is lent of it.
pub(super) struct Parts<'m> {
    pub(super) rx: &'m mut [u8],
    pub(super) tx: &'m mut [u8],
    pub(super) state: &'m mut State,
    pub(super) channels: &'m mut heapless::VecView<Slot>,
    pub(super) sessions: super::Sessions<'m>,
    pub(super) contacts: &'m mut heapless::VecView<PeerInfo>,
    pub(super) searches: &'m mut heapless::VecView<Search>,
}

impl<const RX: usize, const TX: usize, const CHANNELS: usize, const SESSIONS: usize>
    Memory<RX, TX, CHANNELS, SESSIONS>
{
    /// Unused memory. Sizes that cannot work do not compile.
    #[expect(clippy::new_without_default, reason = "it is for a static, and large")]
    pub const fn new() -> Self {
        const {
            assert!(
                RX >= MIN_RECORD as usize + 2,
                "a client receives records of at least 256 bytes"
            );
            assert!(RX <= u16::MAX as usize + 2, "no record is longer than 65 535 bytes");
            assert!(TX >= MIN_TRANSMIT, "a client needs MIN_TRANSMIT bytes for sending");
            assert!(CHANNELS <= 64 && SESSIONS <= 64, "this is meant for small clients");
        }
        Memory {
            rx: [0; RX],
            tx: [0; TX],
            state: MaybeUninit::uninit(),
            channels: heapless::Vec::new(),
            sessions: Fixed::new(),
            handshakes: Fixed::new(),
            contacts: heapless::Vec::new(),
            searches: heapless::Vec::new(),
        }
    }

    /// A client in this memory. What an earlier one has left there is given up.
    // Apart, or what it moves into place would stay on the caller's stack, which is that of the main loop.
    #[inline(never)]
    pub fn client<'m>(&'m mut self, setup: Setup<'m>) -> Client<'m> {
        self.channels.clear();
        self.contacts.clear();
        self.searches.clear();
        self.sessions.retain(|_| false);
        self.handshakes.retain(|_| false);
        let limits = setup.limits(RX);
        let sessions =
            super::Sessions::new(setup.name, limits, self.sessions.lend(), self.handshakes.lend());
        let parts = Parts {
            rx: &mut self.rx,
            tx: &mut self.tx,
            state: self.state.write(State::new()),
            channels: self.channels.as_mut_view(),
            sessions,
            contacts: self.contacts.as_mut_view(),
            searches: self.searches.as_mut_view(),
        };
        Client::new(parts, setup, limits)
    }
}
