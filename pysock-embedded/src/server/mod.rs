//! A server for a few clients, on the microcontroller itself.
//!
//! It admits clients, has channels, gives their messages to the program or passes them on to each other, and passes on what
//! two of them say end to end, which it cannot read. It moves no bytes itself: a driver gives it those of each link, at one
//! *place* for each, and takes what it wants to send there:
//!
//! ```text
//!            ┌───────────────────────────────────────────────────────────────────────────────┐
//!            ▼                                              for each place `at`, in turn      │
//!   somebody is there: knock(at, now)                has said nothing for long: is_overdue(at) ─┤
//!   the first bytes are there: begin(at, now)                                                   │
//!   read into buffers(at).0, filled(at, n)           the end of the link: lost(at, now, …) ─────┤
//!   process(at, now, on_event)                       at most what `filled` has brought          │
//!   write buffers(at).1, written(at, n)              is_over(at) and nothing to write: lost ────┤
//!   the link is closed: vacate(at)                                                              │
//!   wait for a link or deadline() ◀─────────────────────────────────────────────────────────────┘
//! ```
//! `smoltcp::TcpServer`, with the feature of that name, is such a driver.
//!
//! # What bounds it
//!
//! - **Memory** is [`ServerMemory`], sized at one spot; nothing grows.
//! - **Work**: a step of a place reads once, as much as its receive buffer holds, so that who floods the server has one turn
//!   in each round, like everybody else.
//! - **A receiver that is slow**: what finds no room in its transmit buffer *now* is not kept for it. Its sender is told
//!   [`Failure::Busy`], except for messages to everyone; [`Server::dropped`] counts both.
//!   Nobody waits for anybody else. One client may fill half of that memory, all clients together three quarters: the rest
//!   is for the program and its replies.
//! - **A client that does not take its answers** (failures, opened channels, who was found) is not read before it has.
//! - **Large messages** (streams) go to the program, in parts. From one client to another, outside of their session, they
//!   are stopped with [`Failure::TooLarge`]: to pass them on, the server would have to hold parts of them. Inside of a
//!   session of two clients they are units like all others.
//! - **Strangers** have ten seconds to be admitted, and one place is never a client's. While every place is taken, the oldest
//!   stranger has to go after three seconds. Nothing is computed for a stranger before its first byte.
//!
//! # Example
//!
//! How it is driven and what a program does is shown at `smoltcp::TcpServer`. Where the server comes from:
//!
//! ```
//! use pysock_embedded::{
//!     Entropy, NoEntropy,
//!     proto::{Keypair, RustCrypto, SecretKey},
//!     server::{Admit, Server, ServerMemory, Setup},
//! };
//!
//! /// Four clients.
//! type Memory<'m> = ServerMemory<'m, 5, 514, 1024, 2, 10, 8>;
//!
//! fn server<'m>(
//!     memory: &'m mut Memory<'m>,
//!     identity: &'m Keypair<RustCrypto>,
//!     entropy: &'m mut dyn Entropy,
//! ) -> Server<'m> {
//!     let setup = Setup { identity, entropy, psk: None, admit: Admit::Open, directory: true };
//!     // Only a list of clients can be wrong.
//!     memory.server(setup).unwrap()
//! }
//! # struct Chip;
//! # impl Entropy for Chip {
//! #     fn fill(&mut self, bytes: &mut [u8; 32]) -> Result<(), NoEntropy> { *bytes = [9; 32]; Ok(()) }
//! # }
//! # let (mut memory, mut chip) = (Memory::new(), Chip);
//! # let identity = Keypair::new(SecretKey::from_bytes([1; 32]));
//! # assert!(server(&mut memory, &identity, &mut chip).create_channel("test").is_ok());
//! ```

mod event;
mod memory;
mod place;
mod process;
mod route;
mod setup;
mod verbs;

pub use event::{Asked, Event, Message, Stream};
pub use memory::ServerMemory;
pub use setup::{Admit, Setup, SetupError};

pub use crate::{proto::router::Channel, value::ValueError};

use core::fmt;

use self::{
    place::{Place, Seat, Stage},
    verbs::Pending,
};
use crate::{
    client::{ChannelError, Ended},
    entropy::{NoEntropy, draw},
    proto::{
        self, ChannelId, ChannelName, CloseReason, Connection, Env, Ephemeral, Failure, Instant,
        Limits, Name, PeerId, PeerInfo, PublicKey, RequestId, RustCrypto, ServerSetup,
        registry::{BindError, Entry, Registry, Slot},
        router::{ChannelEntry, CreateError, Membership, Router},
        store::Lent,
    },
};

type Names<'m> = Registry<Lent<'m, Entry>, Lent<'m, PeerId>>;
type Channels<'m> = Router<Lent<'m, ChannelEntry>, Lent<'m, Membership>>;

/// What a program does with an event. It is called with the server, so it can answer at once.
pub type OnEvent<'h, 'm> = dyn FnMut(&mut Server<'m>, Event<'_>) + 'h;

/// How long a stranger has from its first packet to its admission: chips are slow, and networks far.
const HANDSHAKE_MILLIS: u64 = 10_000;
/// How long it has while others find every place taken.
const PRESSED_MILLIS: u64 = 3_000;
/// How long a link may take to close after its connection is over.
const LEAVING_MILLIS: u64 = 2_000;
/// Requests of the program that may be unanswered at once.
const REQUESTS: usize = 4;

/// A server on a microcontroller, in [`ServerMemory`] of the program. See the [module](self) for how it is driven, and
/// [`Event`] for what it tells.
pub struct Server<'m> {
    setup: Setup<'m>,
    limits: Limits,
    places: &'m mut [Seat<'m>],
    names: Names<'m>,
    channels: Channels<'m>,
    /// The number of the last connection.
    last_slot: u32,
    pending: heapless::Vec<Pending, REQUESTS>,
    last_request: u32,
    /// The request that the program is being told of, unless it is answered.
    asked_now: Option<(Slot, ChannelId, RequestId)>,
    /// Why the program has not answered it.
    unanswered: Option<Failure>,
    /// The time of the last step.
    now: Instant,
    is_closing: bool,
    dropped: u32,
}

impl<'m> Server<'m> {
    fn new(
        setup: Setup<'m>,
        limits: Limits,
        places: &'m mut [Seat<'m>],
        names: Names<'m>,
        channels: Channels<'m>,
    ) -> Self {
        Server {
            setup,
            limits,
            places,
            names,
            channels,
            last_slot: 0,
            pending: heapless::Vec::new(),
            last_request: 0,
            asked_now: None,
            unanswered: None,
            now: Instant::default(),
            is_closing: false,
            dropped: 0,
        }
    }

    /// Makes a channel that clients can open. The same name gives the same channel.
    ///
    /// # Errors
    /// The name breaks the rules, or there is no room.
    pub fn create_channel(&mut self, name: &str) -> Result<Channel, ChannelError> {
        let name = ChannelName::new(name).map_err(ChannelError::Name)?;
        match self.channels.create(&name) {
            Ok(channel) | Err(CreateError::Exists(channel)) => Ok(channel),
            Err(_) => Err(ChannelError::Full),
        }
    }

    /// The name of a channel.
    pub fn channel_name(&self, channel: Channel) -> Option<&ChannelName> {
        let entry = self.channels.channels().iter().find(|entry| entry.channel() == channel);
        entry.map(ChannelEntry::name)
    }

    /// This key is called so from now on, and nobody else: what was claimed before a reset.
    ///
    /// # Errors
    /// The key has another name, the name another key, or there is no room.
    pub fn bind(&mut self, name: &Name, key: &PublicKey) -> Result<PeerId, BindError> {
        self.names.bind(key, name)
    }

    /// The clients that are in.
    pub fn clients(&self) -> impl Iterator<Item = PeerInfo> + '_ {
        self.names.online_after(PeerId(0)).map(process::info)
    }

    /// How many messages and sealed units found no room in the memory of their receivers.
    pub fn dropped(&self) -> u32 {
        self.dropped
    }

    /// Its key, which clients pin.
    pub fn key(&self) -> PublicKey {
        self.setup.identity.public()
    }

    /// Ends the connection of a client, after what was sent to it. `false`: it is not in.
    pub fn kick(&mut self, peer: PeerId) -> bool {
        let slot = self.names.get(peer).and_then(Entry::slot);
        let Some(at) = slot.and_then(|slot| self.at(slot)) else { return false };
        let place = self.place(at);
        let conn = place.and_then(|place| {
            place.ends(Ended::Closed(CloseReason::Kicked));
            place.conn.as_mut()
        });
        conn.map(|conn| conn.close(CloseReason::Kicked)).is_some()
    }

    /// Asks every client to go, after what was sent to it, and lets nobody in any more.
    pub fn close(&mut self) {
        self.is_closing = true;
        for conn in self
            .places
            .iter_mut()
            .filter_map(Seat::place_mut)
            .filter_map(|place| place.conn.as_mut())
        {
            conn.close(CloseReason::ShuttingDown);
        }
    }

    /// How many links it can serve at once.
    pub fn places(&self) -> usize {
        self.places.len()
    }

    /// Driver: whether there is a connection at this place, so that it is to be read, processed and written.
    pub fn is_active(&self, at: usize) -> bool {
        matches!(self.stage(at), Stage::Connected(_))
    }

    /// Driver: whether the connection at this place is over, and only its link has still to close.
    pub fn is_leaving(&self, at: usize) -> bool {
        matches!(self.stage(at), Stage::Leaving(_))
    }

    /// Driver: a link is coming about at this place. May be said again. From now on its time runs.
    pub fn knock(&mut self, at: usize, now: Instant) {
        if let Some(place) = self.place(at).filter(|place| place.stage == Stage::Free) {
            place.stage = Stage::Knocking(now);
        }
    }

    /// Driver: the link at this place has brought its first bytes. The connection begins.
    ///
    /// # Errors
    /// There is no randomness. That is fatal: do not go on with this server.
    pub fn begin(&mut self, at: usize, now: Instant) -> Result<(), NoEntropy> {
        self.now = now;
        self.knock(at, now);
        let Stage::Knocking(since) = self.stage(at) else { return Ok(()) };
        let random = draw(&mut *self.setup.entropy)?;
        let setup = ServerSetup { limits: self.limits, psk_required: self.setup.psk.is_some() };
        // Not before four thousand million connections does a number come back.
        self.last_slot = self.last_slot.wrapping_add(1);
        let slot = Slot(self.last_slot);
        let Some(place) = self.place(at) else { return Ok(()) };
        place.clear();
        let by = since.after_millis(HANDSHAKE_MILLIS);
        let ephemeral = Ephemeral::new::<RustCrypto>(*random);
        place.conn = Some(Connection::server(&setup, ephemeral, by));
        (place.slot, place.stage) = (slot, Stage::Connected(since));
        Ok(())
    }

    /// Driver: space to read into, and bytes to write.
    pub fn buffers(&mut self, at: usize) -> (&mut [u8], &[u8]) {
        match self.place(at) {
            Some(place) => (place.rx.space(), place.tx.sealed()),
            None => (&mut [], &[]),
        }
    }

    /// Driver: so many bytes were read into the front of the space.
    pub fn filled(&mut self, at: usize, n: usize) {
        if let Some(place) = self.place(at) {
            place.rx.filled(n);
        }
    }

    /// Driver: so many of the bytes to write were written.
    pub fn written(&mut self, at: usize, n: usize) {
        if let Some(place) = self.place(at) {
            place.written(n);
        }
    }

    /// Driver: whether the connection is over. What is still to write is a word of farewell; close the link after it, and
    /// say so with [`lost`](Self::lost).
    pub fn is_over(&self, at: usize) -> bool {
        let place = self.places.get(at).and_then(Seat::place);
        place.and_then(|place| place.conn.as_ref()).is_some_and(Connection::is_over)
    }

    /// Driver: the link at this place has come to its end, or is being closed.
    pub fn lost(&mut self, at: usize, now: Instant, on_event: &mut OnEvent<'_, 'm>) {
        self.now = now;
        let Some(place) = self.place(at) else { return };
        if place.stage != Stage::Free {
            place.stage = Stage::Leaving(now);
        }
        let Some(conn) = &mut place.conn else { return };
        let cut = conn.end_of_input();
        // Dropped where it is: moved away, it would leave a copy of its secrets behind.
        place.conn = None;
        let why = match (place.ended.take(), cut) {
            (Some(why), _) => why,
            (None, Err(why)) => Ended::Failed(why),
            (None, Ok(())) => Ended::Failed(proto::Error::Truncated),
        };
        let (slot, client, stream) = (place.slot, place.client, place.stream.take());
        self.channels.drop_slot(slot);
        if let Some(id) = stream {
            let (stream, failure) = (Stream { slot, id }, Failure::Incomplete);
            on_event(self, Event::Aborted { stream, failure });
        }
        if let Some(client) = client {
            let is_offline = self.names.offline(client.id, slot);
            self.part(at, slot, &client, is_offline);
            self.lose_requests(slot, on_event);
            if is_offline {
                on_event(self, Event::Left { peer: client, why });
            }
        }
        if let Some(place) = self.place(at) {
            place.clear();
        }
    }

    /// Driver: there is no link at this place any more.
    pub fn vacate(&mut self, at: usize) {
        if let Some(place) = self.place(at).filter(|place| place.conn.is_none()) {
            place.stage = Stage::Free;
        }
    }

    /// Driver: whether the link at this place is to be cut: a stranger that takes too long, the oldest one if there is no
    /// place left, or a connection that is over and whose link does not close.
    pub fn is_overdue(&self, at: usize, now: Instant) -> bool {
        self.place_deadline(at).is_some_and(|by| now >= by)
    }

    /// When [`process`](Self::process) has to be called for every place although nothing arrives.
    pub fn deadline(&self) -> Option<Instant> {
        let conns =
            self.places.iter().filter_map(Seat::place).filter_map(|place| place.conn.as_ref());
        let conns = conns.filter_map(Connection::deadline);
        let places = (0..self.places.len()).filter_map(|at| self.place_deadline(at));
        conns.chain(places).chain(self.requests_deadline()).min()
    }

    fn place_deadline(&self, at: usize) -> Option<Instant> {
        if let Stage::Leaving(since) = self.stage(at) {
            return Some(since.after_millis(LEAVING_MILLIS));
        }
        let since = self.stranger(at)?;
        let is_pressed = (0..self.places.len()).all(|at| self.stage(at) != Stage::Free);
        let is_oldest =
            || (0..self.places.len()).filter_map(|at| self.stranger(at)).all(|it| it >= since);
        let millis = if is_pressed && is_oldest() { PRESSED_MILLIS } else { HANDSHAKE_MILLIS };
        Some(since.after_millis(millis))
    }

    /// Since when there is a stranger at this place, if there is one.
    fn stranger(&self, at: usize) -> Option<Instant> {
        let place = self.places.get(at)?.place()?;
        match place.stage {
            Stage::Knocking(since) | Stage::Connected(since) if place.client.is_none() => {
                Some(since)
            }
            _ => None,
        }
    }

    fn stage(&self, at: usize) -> Stage {
        self.places.get(at).and_then(Seat::place).map_or(Stage::Free, |place| place.stage)
    }

    fn place(&mut self, at: usize) -> Option<&mut Place<'m>> {
        self.places.get_mut(at).and_then(Seat::place_mut)
    }

    /// The place that a connection has.
    fn at(&self, slot: Slot) -> Option<usize> {
        let is_it = |seat: &Seat<'m>| {
            seat.place().is_some_and(|place| place.slot == slot && place.conn.is_some())
        };
        self.places.iter().position(is_it)
    }

    fn count_dropped(&mut self, n: usize) {
        self.dropped = self.dropped.saturating_add(u32::try_from(n).unwrap_or(u32::MAX));
    }

    fn env(&self) -> Env<'m> {
        Env { now: self.now, identity: self.setup.identity }
    }
}

impl fmt::Debug for Server<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("clients", &self.names.count_online())
            .field("places", &self.places.len())
            .finish_non_exhaustive()
    }
}
