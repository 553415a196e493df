//! One YAML file holds configuration and identity.
//!
//! [`ServerConfig::load`] and [`ClientConfig::load`] read it, and create it when there is none: with a
//! fresh secret key, every option explained, and readable by its owner alone. An empty file is enough,
//! too; as a user's YAML is never rewritten, the key then goes to a file of its own beside it
//! (`server.key` for `server.yaml`). Whatever is wrong is an error that shows the place and says what
//! to write instead, and never a secret.
//!
//! Programs without a file start from [`ServerConfig::new`] or [`ClientConfig::new`] and set the public
//! fields; [`ServerConfig::check`] applies the rules of the YAML to them.
//!
//! ```
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("server.yaml");
//! use pysock_std::config::ServerConfig;
//! let config = ServerConfig::load(&path)?; // creates server.yaml
//! assert_eq!(config.public_key(), ServerConfig::load(&path)?.public_key());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod client;
mod load;
mod rule;
mod server;
mod table;
mod yaml;

use std::{path::PathBuf, time::Duration};

use pysock_proto::SecretKey;

use self::rule::{OneOf, Seconds, Whole};
pub use self::{
    client::{ClientConfig, Trust},
    server::{NamePolicy, ServerConfig},
};
use crate::file::FileError;

/// What happens when a receiver's queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// The sender waits as long as it takes. A client that reads nothing then holds up whoever sends to it.
    Block,
    /// The oldest message waiting is dropped.
    DropOldest,
    /// The sender waits; a receiver that does not take at least 1/64 of the queue per [`Queue::patience`] is too slow
    /// and is disconnected.
    Disconnect,
}

table::table! {
    /// What waits to be sent to one receiver.
    pub struct Queue from new() {
        /// How much may wait, in bytes. Default 1 MiB.
        bytes: usize = 1 << 20, Whole { min: 1024, max: 1 << 30 };
        /// What happens when more would. Default: the receiver is disconnected.
        full: WhenFull = WhenFull::Disconnect, OneOf(&[
            ("block", WhenFull::Block),
            ("drop-oldest", WhenFull::DropOldest),
            ("disconnect", WhenFull::Disconnect),
        ]);
        /// How long it may stay full. Default 1 s.
        patience: Duration = Duration::from_secs(1), Seconds;
    }
}

impl Default for Queue {
    fn default() -> Self {
        Queue::new()
    }
}

/// Why there is no configuration. Every message says where, what, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file itself is the trouble.
    #[error(transparent)]
    File(#[from] FileError),
    /// Something in the YAML.
    #[error("the configuration is wrong: {report}")]
    Yaml {
        /// The file.
        path: PathBuf,
        /// The line, from 1; 0 if the mistake has no place.
        line: u64,
        /// The column, from 1; 0 if the mistake has no place.
        column: u64,
        /// What is wrong and what to write instead, the path, and the place shown. Secrets are starred out.
        report: String,
    },
    /// Options that do not go together, or a value set in code that the YAML would not take.
    #[error("the option `{option}` is wrong: expected {expected}")]
    Option {
        /// The option.
        option: &'static str,
        /// What belongs there.
        expected: String,
    },
    /// The key file beside the YAML is not one.
    #[error(
        "the key file {} is wrong: {what}. Restore it from a backup; or, for a new identity, remove it",
        path.display()
    )]
    KeyFile {
        /// The key file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Two identities.
    #[error(
        "{} has a `key:`, and {} holds another one: remove the one that is not wanted",
        yaml.display(),
        key_file.display()
    )]
    TwoKeys {
        /// The configuration.
        yaml: PathBuf,
        /// The key file beside it.
        key_file: PathBuf,
    },
    /// The name is that of a file which belongs to the configuration.
    #[error(
        "{} cannot be the configuration: its name ends like that of a key or state file; \
         call it something like server.yaml",
        path.display()
    )]
    FileName {
        /// The name that was given.
        path: PathBuf,
    },
    /// The operating system has no random numbers, so there is no new key.
    #[error("no random numbers for a new secret key: {reason}; try again later")]
    NoEntropy {
        /// What the operating system said.
        reason: String,
    },
}

/// A fresh secret key from the operating system's random numbers.
///
/// # Errors
/// [`ConfigError::NoEntropy`] if it has none.
pub fn new_secret_key() -> Result<SecretKey, ConfigError> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(|e| ConfigError::NoEntropy { reason: e.to_string() })?;
    Ok(SecretKey::from_bytes(random))
}

#[cfg(test)]
mod tests;
