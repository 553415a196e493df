//! pysock on microcontrollers: a client, or a small server, without an operating system or a heap.
//!
//! | | |
//! |---|---|
//! | [`Client`], in [`Memory`] sized at one spot | channels, requests, typed messages, large messages in parts, sessions end to end; comes back by itself |
//! | [`blocking`], [`io_async`], `smoltcp` (a feature) | its drivers: over a stream of `embedded-io`, of `embedded-io-async`, over a TCP socket of smoltcp |
//! | [`keys`] | identity, servers and peers in flash, safe against power loss; damaged is not empty |
//! | [`Entropy`], [`Clock`], [`AsyncClock`] | what a chip has to bring along |
//! | [`server`] | a server for a few clients on the microcontroller itself |
//! | [`proto`] | the protocol below all that, for who wants to drive it alone |
//!
//! # A client
//!
//! ```
//! use pysock_embedded::{Address, Client, Event, Memory, Setup, proto::{Kind, peer::PeerEvent}};
//! # use pysock_embedded::{Entropy, NoEntropy, proto::{Keypair, Name, PublicKey, RustCrypto, SecretKey}};
//!
//! /// What the program does with an event, whatever drives the client.
//! fn on_event(client: &mut Client<'_>, event: Event<'_>, owner: &PublicKey) {
//!     match event {
//!         // First contact: is it the right server? Dropping the decision says no.
//!         Event::Verify(verify) => {
//!             let _ = client.accept(verify);
//!         }
//!         Event::Channel { channel, result: Ok(()) } => {
//!             let _ = client.send(channel, b"21.5");
//!         }
//!         Event::Message(message) => match (message.from, message.kind) {
//!             // End to end: nobody on the way could read it, and its sender is certain.
//!             (Address::Peer(_), Kind::Request(_)) => {
//!                 let _ = client.reply(&message, b"done");
//!             }
//!             // Through the server, which says who sent it.
//!             (_, Kind::Request(_)) => {
//!                 let _ = client.reply(&message, b"celsius");
//!             }
//!             _ => {}
//!         },
//!         // Another client wants a session.
//!         Event::Peer { event: PeerEvent::Greeting(greeting), .. } if greeting.key() == owner => {
//!             let _ = client.answer(greeting);
//!         }
//!         Event::Peer { event: PeerEvent::Verify(verify), .. } if verify.key() == owner => {
//!             let _ = client.accept_peer(verify);
//!         }
//!         _ => {}
//!     }
//! }
//!
//! # struct Rng;
//! # impl Entropy for Rng { fn fill(&mut self, _: &mut [u8; 32]) -> Result<(), NoEntropy> { Err(NoEntropy) } }
//! # let (mut rng, key) = (Rng, Keypair::<RustCrypto>::new(SecretKey::from_bytes([1; 32])));
//! // In a firmware a `static`, and key and name from `keys`.
//! let mut memory = Memory::<514, 1024, 4, 2>::new();
//! let mut client = memory.client(Setup {
//!     name: Name::new("thermometer")?,
//!     identity: &key,
//!     entropy: &mut rng,
//!     server: None,
//!     psk: None,
//! });
//! let readings = client.create_channel("readings")?;
//! // And now a driver: `blocking::listen`, `io_async::listen`, or `TcpClient::turn` in a bare loop.
//! # let _ = (readings, on_event);
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
//!
//! # What holds
//!
//! - Nothing allocates, nothing panics at what comes from the network, and nothing waits but a driver: the work of one step is
//!   bounded by the receive buffer.
//! - A failure of the random generator is fatal, and [`NoEntropy`] says so everywhere.
//! - Whatever ends a connection without proof is reported and tried again, later each time, and changes no pin. Only the server itself,
//!   authenticated, can tell a client to stay away.
//! - A decision that is dropped is a no.
//!
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic
    )
)]

pub mod blocking;
pub mod client;
mod clock;
pub mod entropy;
pub mod io_async;
pub mod keys;
mod link;
pub mod server;
#[cfg(feature = "smoltcp")]
pub mod smoltcp;
mod value;

pub use client::{Address, Channel, Client, Event, Memory, Message, Setup, Target};
pub use clock::{AsyncClock, Clock};
pub use entropy::{Entropy, NoEntropy};
pub use pysock_proto as proto;
