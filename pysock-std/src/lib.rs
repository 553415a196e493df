//! Encrypted messages between named programs, through one server: the desktop side of pysock.
//!
//! ```no_run
//! use pysock_std::{Error, Server};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Error> {
//!     let server = Server::from_yaml("server.yaml")?.bind("localhost:1234").await?;
//!     let mut test = server.create_channel("test")?;
//!     while let Some(message) = test.listen().await {
//!         println!("{} on {}: {:?}", message.sender(), message.channel(), message.data());
//!         let sent = server.send("test", message.sender(), "Hello From Server").await;
//!         sent.unwrap_or_else(|error| println!("{error}"));
//!     }
//!     Ok(())
//! }
//! ```
//!
//! A [`Server`] has channels; a [`Client`] opens those it wants, and sends to the server, to one client or to
//! all on the channel. Every [`Message`] carries its sender, a name and the key it is bound to. A message that is a
//! request gets one reply or a failure, never silence without an end. The connection between each client and the
//! server is encrypted and mutually authenticated; **the server reads what it passes on** from channel to channel.
//!
//! What it passes on from one client to another it cannot read: [`Client::handshake`] makes an end-to-end session with
//! another client, [`Client::send_to_client`] and [`Client::request_client`] use it, [`Client::listen_peers`] hears
//! what comes by it. The other side is known by its key, which is pinned at first contact; a changed one is refused. The
//! server still sees who talks to whom, when, and how much.
//!
//! ```no_run
//! # async fn run() -> Result<(), pysock_std::Error> {
//! use pysock_std::Client;
//!
//! let client = Client::from_yaml("shikhar.yaml")?.connect("localhost:1234").await?;
//! let swat = client.handshake("swat").await?;
//! client.send_to_client(&swat, "for your eyes only").await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Layers
//!
//! | | |
//! |---|---|
//! | [`blocking`] | the same verbs without `async` |
//! | [`Server`], [`Client`] | what programs use: channels, requests, reconnecting, queues with bounds |
//! | [`config`], [`state`] | one YAML file that people write, one state file that the program writes |
//! | the driver (private) | sockets, deadlines and buffers for one connection |
//! | [`proto`] | the protocol, which does no I/O |
//!
//! A task for each connection moves its bytes; a program never holds a connection, only queues to and from it.
//! Futures of this crate can be dropped at any time: none holds bytes that would be lost with it. They need a tokio
//! runtime with network and time switched on.
//!
//! # Features
//!
//! Both are on by default. `cli` is the `pysock` program; libraries switch it off. `aws-lc` takes AES, ChaCha20 and X25519 from
//! AWS-LC, which needs a C compiler to build; without it everything is Rust, and slower.
//!
//! # Errors
//!
//! There is one [`Error`] for programs, in sentences that say what to do. The configuration's ([`config::ConfigError`])
//! show the place in the YAML. Whether a failed connection may succeed later is [`Error::is_temporary`]; a
//! changed server key is [`Error::ServerKeyChanged`] and stays refused until a person acts. What goes wrong after a
//! message was queued is in [`Client::failures`]. Delivery is at most once.
#![forbid(unsafe_code)]

pub mod blocking;
pub mod client;
pub mod config;
pub mod crypto;
mod error;
mod file;
mod grow;
mod line;
mod link;
mod listen;
mod message;
mod outbox;
mod payload;
mod relay;
mod reply;
pub mod server;
pub mod state;
mod transfer;
mod wait;

pub use bytes::Bytes;
pub use client::Client;
pub use error::Error;
pub use file::FileError;
pub use listen::PrefixMessage;
pub use message::{Data, Message, Messages, Sender, Target};
pub use server::Server;
pub use transfer::StreamWriter;

/// The protocol core, for its types.
pub use pysock_proto as proto;

/// The README's programs are compiled.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
