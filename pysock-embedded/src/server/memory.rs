//! The memory of a server, sized at one spot.

use super::{
    Server, Setup, SetupError,
    place::{Announced, MOST_PLACES, Place, Seat},
    setup::Admit,
};
use crate::proto::{
    Limits, MIN_RECORD, MIN_TRANSMIT, PeerId, RxBuf, TxBuf,
    registry::{Entry, Policy, Registry},
    router::{ChannelEntry, Membership, Router},
    store::Fixed,
};

/// All memory that a server ever uses: put it into a `static`.
///
/// | | |
/// |---|---|
/// | `PLACES` | connections at once: one more than the clients that may be in, so that there is a door to knock at. 2–32 |
/// | `RX` | bytes for receiving, for each place: the longest record that clients may send, and two. 514 is usual, 258 the least |
/// | `TX` | bytes for sending, for each place: at least [`MIN_TRANSMIT`]. What does not fit a client's is not sent to it |
/// | `CHANNELS` | named channels |
/// | `MEMBERS` | how many clients may be on how many channels, all together; each client has an equal share. `PLACES` × `CHANNELS` is enough for everything |
/// | `NAMES` | identities known at once: at least `PLACES`, and all that are on a list or have claimed a name |
///
/// ```
/// use pysock_embedded::server::ServerMemory;
///
/// // Four clients, about 14 KiB: messages of up to 490 bytes, two channels, eight names.
/// static mut MEMORY: ServerMemory<'static, 5, 514, 1024, 2, 10, 8> = ServerMemory::new();
/// # let _ = &raw mut MEMORY;
/// ```
/// How to hand out a `static` once and soundly is what the crate `static_cell` is for. Anything else that lives as long as
/// the server will do as well.
pub struct ServerMemory<
    'm,
    const PLACES: usize,
    const RX: usize,
    const TX: usize,
    const CHANNELS: usize,
    const MEMBERS: usize,
    const NAMES: usize,
> {
    rx: [[u8; RX]; PLACES],
    tx: [[u8; TX]; PLACES],
    announced: [heapless::Vec<Announced, NAMES>; PLACES],
    /// They borrow from the three above.
    places: [Seat<'m>; PLACES],
    entries: Fixed<Entry, NAMES>,
    by_key: Fixed<PeerId, NAMES>,
    by_name: Fixed<PeerId, NAMES>,
    channels: Fixed<ChannelEntry, CHANNELS>,
    by_place: Fixed<Membership, MEMBERS>,
    by_channel: Fixed<Membership, MEMBERS>,
}

impl<
    'm,
    const PLACES: usize,
    const RX: usize,
    const TX: usize,
    const CHANNELS: usize,
    const MEMBERS: usize,
    const NAMES: usize,
> ServerMemory<'m, PLACES, RX, TX, CHANNELS, MEMBERS, NAMES>
{
    /// Unused memory. Sizes that cannot work do not compile.
    #[expect(clippy::new_without_default, reason = "it is for a static, and large")]
    pub const fn new() -> Self {
        const {
            assert!(PLACES >= 2, "a server needs a place for a client, and one at the door");
            assert!(PLACES <= MOST_PLACES, "this is meant for small servers");
            assert!(
                RX >= MIN_RECORD as usize + 2,
                "a server receives records of at least 256 bytes"
            );
            assert!(RX <= u16::MAX as usize + 2, "no record is longer than 65 535 bytes");
            assert!(TX >= MIN_TRANSMIT, "a server needs MIN_TRANSMIT bytes for sending");
            assert!(MEMBERS >= PLACES, "each client has to find room on one channel at least");
            assert!(NAMES >= PLACES, "each client has to find room for its name");
        }
        ServerMemory {
            rx: [[0; RX]; PLACES],
            tx: [[0; TX]; PLACES],
            announced: [const { heapless::Vec::new() }; PLACES],
            places: [const { Seat::Empty }; PLACES],
            entries: Fixed::new(),
            by_key: Fixed::new(),
            by_name: Fixed::new(),
            channels: Fixed::new(),
            by_place: Fixed::new(),
            by_channel: Fixed::new(),
        }
    }

    /// A server in this memory, for as long as the memory lives.
    ///
    /// # Errors
    /// The list of clients is too long for `NAMES`, or has a key or a name twice.
    pub fn server(&'m mut self, setup: Setup<'m>) -> Result<Server<'m>, SetupError> {
        let buffers = self.rx.iter_mut().zip(&mut self.tx).zip(&mut self.announced);
        for (seat, ((rx, tx), announced)) in self.places.iter_mut().zip(buffers) {
            let (rx, tx) = (RxBuf::new(&mut rx[..]), TxBuf::new(&mut tx[..]));
            *seat = Seat::Ready(Place::new(rx, tx, announced));
        }
        // The sizes were checked above.
        let record = u16::try_from(RX.saturating_sub(2)).unwrap_or(u16::MAX);
        // Parts of large messages are dealt with as they come.
        let limits = Limits { record, window: record.into(), ..Limits::SMALL };
        let policy = match setup.admit {
            Admit::Open => Policy::Open,
            Admit::ClaimOnce => Policy::ClaimOnce { quota: u32::try_from(NAMES).unwrap_or(0) },
            Admit::List(_) => Policy::AllowList,
        };
        let mut names =
            Registry::new(policy, self.entries.lend(), self.by_key.lend(), self.by_name.lend());
        if let Admit::List(list) = setup.admit {
            for (name, key) in list {
                names.bind(key, name).map_err(SetupError)?;
            }
        }
        let share = MEMBERS.checked_div(PLACES).and_then(|share| u16::try_from(share).ok());
        let channels = Router::new(
            share.unwrap_or(u16::MAX),
            self.channels.lend(),
            self.by_place.lend(),
            self.by_channel.lend(),
        );
        Ok(Server::new(setup, limits, &mut self.places, names, channels))
    }
}
