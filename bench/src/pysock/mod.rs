//! pysock by its public API, as its own examples use it: named clients, channels, a sender on every message.

mod client;
mod server;

use std::io;

pub(crate) use client::run as client;
pub(crate) use server::run as server;

/// The channel, when there is one.
const CHANNEL: &str = "bench";

/// The name of one of many.
fn numbered(what: &str, number: usize) -> String {
    format!("{what}-{number}")
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::other(error)
}
