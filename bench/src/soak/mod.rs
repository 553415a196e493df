//! A long mixture of everything: is anything lost, doubled, altered or put out of order, and does memory stay flat?
//!
//! One process is the server and another one all clients. They exchange one-way messages, requests, large messages,
//! publish on some channels, relay to clients by name, and some pairs talk end to end; some clients leave cleanly and
//! come back, over and over. A ledger says what everybody has to have.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is what this program is for")]

mod client;
mod clients;
mod ledger;
mod memory;
mod process;
mod server;
mod stamp;

use std::{
    io::{self, Read as _, Write as _},
    process::ExitCode,
    time::Duration,
};

use clap::Args;
use pysock_std::Sender;

use crate::meter;

const ONE_WAY: &str = "one-way";
const LARGE: &str = "large";
const ASK: &str = "ask";
const RELAY: &str = "relay";
/// A question about what the server has got.
const LEDGER: &[u8] = b"ledger";
/// Channels on which clients publish.
const TOPICS: u32 = 5;

/// What a soak is like.
#[derive(Args, Clone)]
pub(crate) struct Soak {
    /// How long.
    #[arg(long, default_value_t = 20.0)]
    minutes: f64,
    /// How many clients.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(20..=15_000))]
    clients: u32,
    /// What each client does in a second.
    #[arg(long, default_value_t = 5.0)]
    rate: f64,
}

/// One side of a soak.
#[derive(Args)]
pub(crate) struct Part {
    #[command(flatten)]
    soak: Soak,
    #[arg(long, default_value = "")]
    address: String,
    #[arg(long, default_value = "")]
    key: String,
}

/// Soaks, and says whether all was well.
pub(crate) fn run(soak: &Soak) -> io::Result<ExitCode> {
    process::run(soak)
}

/// The server's process: serves until standard input ends.
pub(crate) fn server(part: &Part) -> io::Result<()> {
    meter::raise_file_limit()?;
    std::thread::spawn(|| {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let ready = |address: &str, key: &str| say(&format!("READY {address} {key}"));
    runtime()?.block_on(server::run(part.soak.clients, ready))
}

/// The clients' process.
pub(crate) fn clients(part: &Part) -> io::Result<()> {
    meter::raise_file_limit()?;
    runtime()?.block_on(clients::run(part))
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

impl Soak {
    fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.minutes.max(0.0) * 60.0)
    }
}

/// The name of a client; they are counted from 1.
fn client_name(number: u32) -> String {
    format!("client-{number}")
}

fn number_of(sender: &Sender) -> Option<u32> {
    sender.name()?.as_str().strip_prefix("client-")?.parse().ok()
}

fn topic_name(topic: u32) -> String {
    format!("news-{topic}")
}

/// The channel to which a client listens.
fn topic_of(client: u32) -> u32 {
    client % TOPICS
}

/// Whether a client leaves and comes back, over and over.
fn restless(client: u32) -> bool {
    client % 10 == 3
}

/// Whether a client publishes; some of those who come and go do.
fn publishes(client: u32) -> bool {
    client % 10 == 5 || client % 20 == 3
}

/// With whom a client talks end to end.
fn partner(client: u32, clients: u32) -> Option<u32> {
    match client % 10 {
        7 if client < clients => Some(client + 1),
        8 => Some(client - 1),
        _ => None,
    }
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::other(error)
}
