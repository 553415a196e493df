//! What somebody who knows tokio well writes by hand when only speed counts.
//!
//! Frames of a 4-byte length and a payload; a current-thread runtime; one read of up to 64 KiB for many messages, one
//! write for all that they cause, one record for many messages where records are encrypted; large payloads are written
//! from where they are. There are no names, no routes and no sender on a message: a connection says once what it is.

mod client;
mod frame;
mod noise;
mod server;
mod tls;
mod wire;

pub(crate) use client::run as client;
pub(crate) use server::run as server;
pub(crate) use tls::{Files, connector as tls_connector, name as server_name};

/// What a connection is there for: its first message.
mod role {
    /// Everything is sent back.
    pub(super) const ECHO: u8 = b'e';
    /// Everything is counted.
    pub(super) const COUNT: u8 = b'c';
    /// Everything goes to those that receive.
    pub(super) const PUBLISH: u8 = b'p';
    /// Gets what is published.
    pub(super) const RECEIVE: u8 = b'r';
}
