//! pysock by its public API, as its own examples use it: named clients, channels, a sender on every message.

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

/// The name of one of many.
fn numbered(what: &str, number: usize) -> String {
    format!("{what}-{number}")
}

/// Whether pysock has this mode; if not, why there is nothing to measure.
pub(crate) fn can(mode: Mode) -> io::Result<()> {
    match mode {
        Mode::Parking => Ok(()),
        // `LOW_LATENCY` is all there is to change.
        Mode::LowLatency if LOW_LATENCY => Ok(()),
        Mode::LowLatency => Err(io::Error::other("not built: pysock has no low-latency mode yet")),
    }
}

/// Whether both configurations have `low_latency`; then the two lines below come to life.
const LOW_LATENCY: bool = false;

fn client_mode(_config: &mut ClientConfig, _mode: Mode) {
    // _config.low_latency = _mode == Mode::LowLatency;
}

fn server_mode(_config: &mut ServerConfig, _mode: Mode) {
    // _config.low_latency = _mode == Mode::LowLatency;
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
