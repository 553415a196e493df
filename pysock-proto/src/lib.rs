//! The pysock protocol as a state machine. It does no I/O: a [`Connection`] is lent bytes and told the time, and gives
//! back bytes, events and the next deadline.
//!
//! # The loop
//!
//! ```text
//!            ┌──────────────────────────────────────────────────────────────────────┐
//!            ▼                                                                      │
//!   read into rx.space(), rx.filled(n)          n = 0 at the end: end_of_input()    │
//!   while let Some(event) = conn.receive(rx)?   act on it, send into tx             │
//!   conn.flush(tx)?                             what is owed, then seals            │
//!   write tx.sealed(), tx.written(n)            until is_over()                     │
//!   wait for the socket or conn.deadline() ─────────────────────────────────────────┘
//! ```
//!
//! What holds, always:
//!
//! - `receive` does at most one record of work in a call. `None` means: flush, then bring more bytes.
//! - **While a decision is pending, do not call `receive`: it rejects.** [`Event::PskWanted`], [`Event::Verify`] and
//!   [`Event::Admission`] carry a value that has to come back to the connection. It may travel or wait, within the
//!   deadline of the handshake. Dropping it, or receiving on without giving it back, is a no.
//! - An event borrows the receive buffer, not the connection: answer while you hold it.
//! - Receiving never needs room to send. What the core owes (pongs, the close, credit) waits as bounded state for `flush`,
//!   in room that messages cannot take.
//! - Nothing leaves before `flush`, so that many messages share one record.
//! - [`Error`] ends the connection: flush and write once more, then drop it. [`SendError`] changes nothing.
//! - [`Connection::deadline`] is exact. No earlier call is needed, and `flush` is what to call then.
//! - What a buffer holds is noted beside its memory. While [`RxBuf::pending`] is 0 and [`TxBuf::is_empty`], both may
//!   serve another connection.
//!
//! # Two connections in memory
//!
//! ```
//! use pysock_proto::{
//!     ClientSetup, CloseReason, Connection, Env, Envelope, Ephemeral, Event, Expect,
//!     Identity, Instant, Keypair, Kind, Limits, Party, PeerId, RustCrypto, RxBuf, SecretKey,
//!     ServerSetup, Suite, TxBuf,
//! };
//!
//! // In earnest, each of these comes from 32 random bytes of its own.
//! let server_key = Keypair::<RustCrypto>::new(SecretKey::from_bytes([1; 32]));
//! let client_key = Keypair::<RustCrypto>::new(SecretKey::from_bytes([2; 32]));
//! let (for_client, for_server) = ([3; 32], [4; 32]);
//!
//! let by = Instant::from_millis(10_000);
//! let setup = ClientSetup {
//!     name: &"shikhar".parse()?,
//!     limits: Limits::SMALL,
//!     expect: Expect::Unknown,
//!     psk: None,
//!     suite: Suite::ChaChaPoly,
//! };
//! let ephemeral = Ephemeral::new::<RustCrypto>(for_client);
//! let mut client = Connection::<RustCrypto>::client(&setup, ephemeral, by);
//! let setup = ServerSetup { limits: Limits::SMALL, psk_required: false };
//! let ephemeral = Ephemeral::new::<RustCrypto>(for_server);
//! let mut server = Connection::<RustCrypto>::server(&setup, ephemeral, by);
//!
//! // Memory for both, and the time, which stands still here.
//! let (mut client_rx, mut client_tx) = (RxBuf::new([0; 514]), TxBuf::new([0; 1024]));
//! let (mut server_rx, mut server_tx) = (RxBuf::new([0; 514]), TxBuf::new([0; 1024]));
//! let now = Instant::from_millis(0);
//! let client_env = Env { now, identity: &client_key };
//! let server_env = Env { now, identity: &server_key };
//!
//! let mut heard = Vec::new();
//! while !(client.is_over() && server.is_over()) {
//!     // The client's turn.
//!     let mut view = client_rx.lend();
//!     while !client.is_over() {
//!         let Some(event) = client.receive(&mut view, &client_env)? else { break };
//!         match event {
//!             // First contact: is it the right server?
//!             Event::Verify(verify) if *verify.key() == server_key.public() => client.accept(verify)?,
//!             Event::Welcome { .. } => {
//!                 client.open_channel(&mut client_tx.lend(), &"test".parse()?)?;
//!             }
//!             Event::Opened { id, result: Ok(()) } => {
//!                 let to = Envelope { channel: id, party: Party::Server, kind: Kind::Message };
//!                 client.send(&mut client_tx.lend(), &to, b"Hello, World!")?;
//!             }
//!             Event::Message { bytes, .. } => {
//!                 heard.push(bytes.to_vec());
//!                 client.close(CloseReason::Done);
//!             }
//!             _ => {}
//!         }
//!     }
//!     client.flush(&mut client_tx.lend(), &client_env)?;
//!     // The wire, one way.
//!     let n = client_tx.sealed().len();
//!     server_rx.space()[..n].copy_from_slice(client_tx.sealed());
//!     server_rx.filled(n);
//!     client_tx.written(n);
//!
//!     // The server's turn.
//!     let mut view = server_rx.lend();
//!     while !server.is_over() {
//!         let Some(event) = server.receive(&mut view, &server_env)? else { break };
//!         match event {
//!             // Decide by the key; the name is what the client would like to be called.
//!             Event::Admission(admission) if *admission.key() == client_key.public() => {
//!                 server.admit(admission, PeerId(1), &server_env)?;
//!             }
//!             Event::Open { id, .. } => server.answer_open(&mut server_tx.lend(), id, Ok(()))?,
//!             Event::Message { envelope, bytes } => {
//!                 heard.push(bytes.to_vec());
//!                 server.send(&mut server_tx.lend(), &envelope, b"Hello From Server")?;
//!             }
//!             Event::Closed(_) => server.close(CloseReason::Done),
//!             _ => {}
//!         }
//!     }
//!     server.flush(&mut server_tx.lend(), &server_env)?;
//!     // The wire, the other way.
//!     let n = server_tx.sealed().len();
//!     client_rx.space()[..n].copy_from_slice(server_tx.sealed());
//!     client_rx.filled(n);
//!     server_tx.written(n);
//! }
//! assert_eq!(heard, [&b"Hello, World!"[..], b"Hello From Server"]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Modules
//!
//! Each uses only those to its left; a test holds them to it.
//!
//! ```text
//! time error store ◀ id ◀ key ◀ crypto flash ◀ limits message directory ◀ noise ◀ wire buffer ◀ record group
//!                  ◀ stream ◀ peer ◀ connection
//!
//! registry ◀ router        beside it, for servers: they see store, id, key, error, message and directory
//! ```
//!
//! | | |
//! |---|---|
//! | [`Connection`] | one side of one link, from the first byte to the authenticated close |
//! | [`RxBuf`], [`TxBuf`] | the memory that is lent to it |
//! | [`crypto`] | the primitives behind one trait; [`RustCrypto`] are the portable ones |
//! | [`key`], [`id`] | keys, names and numbers, and their texts |
//! | [`error`] | what can go wrong, one small enum for each kind of mistake |
//! | [`registry`], [`router`] | for servers: who may be called what, and where a message goes |
//! | [`peer`] | sessions between two clients, end to end, through a server that cannot read them |
//! | [`group`] | groups of clients above those sessions: who is in, and what may be said to whom |
//! | [`store`] | the memory of those four |
//! | [`flash`] | the keys of a device in flash: the format, and how it is read and changed |
//!
//! # What it never does
//!
//! It reads no clock, takes no randomness but the [`Ephemeral`] given at the beginning, allocates nothing, opens
//! nothing, logs nothing, calls nothing back, and panics at no input.
//!
//! # Threats
//!
//! - Whoever controls the path can end a connection and delay it, and sees sizes and times. What ended without an
//!   authenticated [`Event::Refused`] or [`Event::Closed`] proves nothing: report it, try again, change no pin because of it.
//! - On first contact the handshake proves that the other side holds *a* key. Whether it is the right one is the
//!   decision in [`Event::Verify`], taken before this side's key is revealed.
//! - A client's name is a wish. Decide about admission by its key.
//! - The server reads what it passes on from channel to channel, and the party of such a message is what the server says
//!   it is. What two clients say in a session of their own ([`peer`]) it can only drop or delay.
//! - A nonce is a counter of the connection: connections are not `Clone`, and an [`Ephemeral`] must never be made twice from
//!   the same bytes.
//! - Secrets are wiped when they are dropped, on a best effort; what the caller's buffers hold is the caller's.
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

// What tests inside share with those beside names the crate from outside.
#[cfg(test)]
extern crate self as pysock_proto;

mod buffer;
mod connection;
pub mod crypto;
mod directory;
pub mod error;
pub mod flash;
pub mod group;
pub mod id;
pub mod key;
mod limits;
pub mod message;
mod noise;
pub mod peer;
mod record;
pub mod registry;
pub mod router;
pub mod store;
mod stream;
pub mod time;
mod wire;

pub use buffer::{Rx, RxBuf, Tx, TxBuf};
pub use connection::{
    Admission, ClientSetup, Connection, Event, Expect, MIN_TRANSMIT, PeerTx, PskRequest,
    ServerSetup, Verify,
};
pub use crypto::{Crypto, Env, Ephemeral, Fingerprint, Identity, Keypair, RustCrypto, Suite};
pub use directory::{Find, PeerInfo};
pub use error::{
    Alert, CloseReason, Error, Failure, FrameError, GroupError, KeyError, NameError, PeerError,
    PeerRefusal, Refusal, SendError,
};
pub use id::{ChannelId, ChannelName, Name, PeerId, RequestId, StreamId};
pub use key::{Psk, PublicKey, SecretKey};
pub use limits::{Limits, MAX_QUESTIONS, MAX_STREAMS, MIN_RECORD};
pub use message::{Envelope, Kind, Party, Unit};
pub use time::Instant;
pub use wire::block::Block;
