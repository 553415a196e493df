//! pysock by its public API, as its own examples use it: named clients, channels, a sender on every message.

mod beside;
mod client;
mod server;

use std::io;

use pysock_std::{
    config::{ClientConfig, ServerConfig},
    proto::Suite,
};

pub(crate) use client::run as client;
pub(crate) use server::run as server;

use crate::{peer::Peer, work::Mode};

/// The channel, when there is one.
const CHANNEL: &str = "bench";
/// Where one client floods the server.
const FLOOD: &str = "flood";

/// The name of one of many.
fn numbered(what: &str, number: usize) -> String {
    format!("{what}-{number}")
}

fn client_mode(config: &mut ClientConfig, mode: Mode) {
    config.low_latency = mode == Mode::LowLatency;
}

fn server_mode(config: &mut ServerConfig, peer: Peer, mode: Mode) {
    config.low_latency = mode == Mode::LowLatency;
    config.threads = if peer == Peer::PysockShards { 2 } else { 0 };
}

/// The suite that a peer must be measured with: two desktops with AES agree on it by themselves, unless told otherwise.
fn suite(peer: Peer) -> Suite {
    match peer {
        Peer::PysockChacha => Suite::ChaChaPoly,
        _ => Suite::AesGcm,
    }
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::other(error)
}
