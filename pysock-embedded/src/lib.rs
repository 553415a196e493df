//! pysock on microcontrollers.
//!
//! The protocol itself is in [`proto`]: a state machine that needs no operating system, allocator, clock or random
//! generator. A firmware can drive it directly today, from any source of bytes; [`proto::Connection`] shows the
//! loop that does it. What a chip has to bring along:
//!
//! - two byte arrays: for receiving as long as the record limit it announces plus two bytes
//!   ([`proto::Limits::SMALL`] announces 512), for sending at least [`proto::MIN_TRANSMIT`] bytes;
//! - milliseconds since its reset, as a [`proto::Instant`];
//! - 32 bytes of true randomness per connection, for a [`proto::Ephemeral`], which may be made ahead of time;
//! - a long-term key of its own, behind [`proto::Identity`]: in memory, or inside a secure element.
//!
//! This crate holds what lies between that and real hardware. So far:
//!
//! - [`entropy`]: what a chip's random generator has to do.
//! - [`keys`]: keys and pins in flash, safe against power loss; a damaged store refuses to start instead of starting anew.
//! - [`server`]: a server for a few clients, on the microcontroller itself; `smoltcp::TcpServer` drives it over TCP.
//!
//! To come:
//!
//! - drivers over the traits of `embedded-io` and `embedded-io-async`, blocking and async, sharing one body;
//! - a client over a TCP socket of `smoltcp`.
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

pub use client::{Address, Channel, Client, Event, Memory, Message, Setup, Target};
pub use clock::{AsyncClock, Clock};
pub use entropy::{Entropy, NoEntropy};
pub use pysock_proto as proto;
