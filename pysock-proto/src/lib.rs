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

pub mod crypto;
pub mod error;
pub mod id;
pub mod key;
pub mod message;
pub mod registry;
pub mod router;
pub mod store;
pub mod time;

pub use crypto::{Crypto, Ephemeral, Fingerprint, Identity, Keypair, RustCrypto, Suite};
pub use error::{
    Alert, CloseReason, Error, Failure, FrameError, KeyError, NameError, Refusal, SendError,
};
pub use id::{ChannelId, ChannelName, Name, PeerId, RequestId, StreamId};
pub use key::{Psk, PublicKey, SecretKey};
pub use time::Instant;
