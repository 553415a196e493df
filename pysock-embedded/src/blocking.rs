//! A client over a stream of `embedded-io`, polled: a socket of a modem or a Wi-Fi module, a serial line.
//!
//! ```no_run
//! use embedded_io::{Read, ReadReady, Write, WriteReady};
//! use pysock_embedded::{Client, Clock, Event, NoEntropy, blocking};
//!
//! /// `connect` opens the way to the server, as the driver of the module does it.
//! fn run<'m, T: Read + ReadReady + Write + WriteReady>(
//!     mut connect: impl FnMut() -> Option<T>,
//!     client: &mut Client<'m>,
//!     clock: &mut impl Clock,
//! ) -> Result<(), NoEntropy> {
//!     while let Some(at) = client.connect_at() {
//!         let mut on_event = |client: &mut Client<'m>, event: Event<'_>| {
//!             if let Event::Message(message) = event {
//!                 // Without room, the one who asked hears nothing, and has a deadline.
//!                 let _ = client.reply(&message, b"21.5");
//!             }
//!         };
//!         while clock.now() < at {
//!             // Requests in sessions wait for their replies meanwhile.
//!             client.process(clock.now(), &mut on_event)?;
//!             clock.idle(client.deadline());
//!         }
//!         match connect() {
//!             Some(mut socket) => blocking::listen(client, &mut socket, clock, &mut on_event)?,
//!             None => client.unreachable(clock.now(), &mut on_event),
//!         }
//!     }
//!     Ok(())
//! }
//! ```

use embedded_io::{Read, ReadReady, Write, WriteReady};

use crate::{
    client::{Client, OnEvent},
    clock::Clock,
    entropy::NoEntropy,
    link::{Cut, Link, Step, step},
    proto::Instant,
};

/// What came of a [`turn`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Turn {
    /// There may be more to do at once.
    Again,
    /// There is nothing to do before bytes arrive, or [`Client::deadline`].
    Idle,
    /// The connection is over, and the handler has heard why. Close the stream.
    Over,
}

/// Serves a client over a stream that was just opened, until the connection is over; the handler has heard why. The stream
/// has to send what is written without being flushed: flushing waits.
///
/// # Errors
/// There is no randomness. That is fatal: do not go on with this client.
pub fn listen<'m, T: Read + ReadReady + Write + WriteReady>(
    client: &mut Client<'m>,
    io: &mut T,
    clock: &mut impl Clock,
    on_event: &mut OnEvent<'_, 'm>,
) -> Result<(), NoEntropy> {
    client.begin(clock.now())?;
    loop {
        match turn(client, io, clock.now(), on_event)? {
            Turn::Again => {}
            Turn::Idle => clock.idle(client.deadline()),
            Turn::Over => return Ok(()),
        }
    }
}

/// One step, for a loop that has other things to do as well: reads once, deals with it, writes once, waits for nothing. Call
/// [`Client::begin`] first.
///
/// # Errors
/// There is no randomness. That is fatal: do not go on with this client.
pub fn turn<'m, T: Read + ReadReady + Write + WriteReady>(
    client: &mut Client<'m>,
    io: &mut T,
    now: Instant,
    on_event: &mut OnEvent<'_, 'm>,
) -> Result<Turn, NoEntropy> {
    Ok(match step(client, &mut Polled(io), now, on_event)? {
        Step::Moved => Turn::Again,
        Step::Idle => Turn::Idle,
        Step::Over => {
            client.lost(now, on_event);
            Turn::Over
        }
    })
}

/// Asks before it reads or writes, so that neither waits.
struct Polled<'t, T>(&'t mut T);

impl<T: Read + ReadReady + Write + WriteReady> Link for Polled<'_, T> {
    fn read(&mut self, space: &mut [u8]) -> Result<usize, Cut> {
        if space.is_empty() || !self.0.read_ready().map_err(|_| Cut)? {
            return Ok(0);
        }
        match self.0.read(space) {
            Ok(0) | Err(_) => Err(Cut),
            Ok(n) => Ok(n),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<usize, Cut> {
        if bytes.is_empty() || !self.0.write_ready().map_err(|_| Cut)? {
            return Ok(0);
        }
        self.0.write(bytes).map_err(|_| Cut)
    }
}
