//! pysock protocol core (being built).
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

mod buffer;
mod connection;
pub mod crypto;
mod directory;
pub mod error;
pub mod id;
pub mod key;
mod limits;
pub mod message;
mod noise;
mod record;
pub mod registry;
pub mod router;
pub mod store;
mod stream;
pub mod time;
mod wire;

pub use buffer::{Rx, RxBuf, Tx, TxBuf};
pub use connection::{
    Admission, ClientSetup, Connection, Env, Event, Expect, MIN_TRANSMIT, PskRequest, ServerSetup,
    Verify,
};
pub use crypto::{Crypto, Ephemeral, Fingerprint, Identity, Keypair, RustCrypto, Suite};
pub use directory::{Find, PeerInfo};
pub use error::{
    Alert, CloseReason, Error, Failure, FrameError, KeyError, NameError, Refusal, SendError,
};
pub use id::{ChannelId, ChannelName, Name, PeerId, RequestId, StreamId};
pub use key::{Psk, PublicKey, SecretKey};
pub use limits::{Limits, MAX_QUESTIONS, MAX_STREAMS, MIN_RECORD};
pub use message::{Envelope, Kind, Party};
pub use time::Instant;
