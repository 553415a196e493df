//! A client over the two halves of a stream of `embedded-io-async`, such as a socket of `embassy-net`.
//!
//! ```
//! use embedded_io_async::{Read, Write};
//! use pysock_embedded::{AsyncClock, Client, Event, NoEntropy, io_async};
//!
//! /// Over a socket that was just opened, until the connection is over.
//! async fn serve<'m>(
//!     client: &mut Client<'m>,
//!     mut from_server: impl Read,
//!     mut to_server: impl Write,
//!     mut clock: impl AsyncClock,
//! ) -> Result<(), NoEntropy> {
//!     client.begin(clock.now())?;
//!     let mut on_event = |client: &mut Client<'m>, event: Event<'_>| {
//!         if let Event::Message(message) = event {
//!             let _ = client.reply(&message, b"21.5");
//!         }
//!     };
//!     io_async::listen(client, &mut from_server, &mut to_server, &mut clock, &mut on_event).await
//! }
//! ```
//!
//! # Dropping the future
//!
//! [`listen`] may be dropped at any time, and called again: a `select` between it and the ticker of a sensor is how a
//! program gets to send in between. Every wait in it is for a read into memory of the client, a write of bytes that the
//! client owns, or the clock, and what a read or write has done is noted before anything else is waited for. The halves
//! have to keep their side of that: a read or write that is dropped before it is done has moved nothing. Those of
//! `embassy-net` do.
//!
//! # The end
//!
//! When [`listen`] is done, the last words of the client have been written to the stream, but not flushed: close the socket,
//! and flush it with a time limit, before it is dropped. Otherwise the server may hear of a cut instead of a farewell.
//!
//! `examples/mcu-embassy` is a whole firmware around this.

use embassy_futures::select::{Either3, select3};
use embedded_io_async::{Read, Write};

use crate::{
    client::{Client, OnEvent},
    clock::AsyncClock,
    entropy::NoEntropy,
};

/// Serves a client over a stream until the connection is over; the handler has heard why. Call [`Client::begin`] first.
///
/// # Errors
/// There is no randomness. That is fatal: do not go on with this client.
pub async fn listen<'m>(
    client: &mut Client<'m>,
    from_server: &mut impl Read,
    to_server: &mut impl Write,
    clock: &mut impl AsyncClock,
    on_event: &mut OnEvent<'_, 'm>,
) -> Result<(), NoEntropy> {
    while client.is_active() {
        client.process(clock.now(), on_event)?;
        let (is_over, until) = (client.is_over(), client.deadline());
        let (space, bytes) = client.buffers();
        if is_over && bytes.is_empty() {
            client.lost(clock.now(), on_event);
            break;
        }
        // Nothing more is read from a connection that is over.
        let may_read = !is_over && !space.is_empty();
        let may_write = !bytes.is_empty();
        // Writing comes first: it has an end, and whoever floods this client could otherwise silence it.
        let moved = select3(
            when(may_write, to_server.write(bytes)),
            when(may_read, from_server.read(space)),
            // Without a deadline the clock is not asked: executors count finer than milliseconds, and the end of time would
            // overflow there.
            when(until.is_some(), clock.sleep_until(until.unwrap_or_default())),
        );
        match moved.await {
            Either3::First(Ok(n)) if n > 0 => client.written(n),
            Either3::Second(Ok(n)) if n > 0 => client.filled(n),
            Either3::Third(()) => {}
            // The end of the stream, in either direction.
            Either3::First(_) | Either3::Second(_) => client.lost(clock.now(), on_event),
        }
    }
    Ok(())
}

/// `future`, or for ever nothing.
async fn when<T>(is_wanted: bool, future: impl Future<Output = T>) -> T {
    if is_wanted { future.await } else { core::future::pending().await }
}
