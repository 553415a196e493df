//! pysock on the desktop (being built).
#![forbid(unsafe_code)]

pub mod blocking;
pub mod client;
pub mod config;
mod error;
mod file;
mod grow;
mod link;
mod listen;
mod message;
mod outbox;
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
pub use message::{Data, Message, Sender, Target};
pub use server::Server;
pub use transfer::StreamWriter;

/// The protocol core, for its types.
pub use pysock_proto as proto;
