//! The client's options.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use pysock_proto::{Crypto, Identity, Keypair, Name, Psk, PublicKey, RustCrypto, SecretKey, Suite};

use super::{
    ConfigError,
    load::{self, File},
    rule::{FilePath, Flag, Host, Maybe, NAME, OneOf, PUBLIC_KEY, Seconds, Whole},
    table::{Table, table},
};
use crate::crypto::Native;

/// What a client does about a server or a peer whose key it does not know. A *changed* key is always refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Refuse it: the key must be configured or remembered.
    Pin,
    /// Accept it, and from then on only this key: trust on first use. A server is remembered if
    /// [`ClientConfig::remember_server`] says so.
    AcceptNew,
    /// Ask the program.
    Ask,
}

/// The cipher suites as a configuration says them.
const SUITE: OneOf<Suite> =
    OneOf(&[("aes-gcm", Suite::AesGcm), ("chacha-poly", Suite::ChaChaPoly)]);

/// The policies as a configuration says them.
const TRUST: OneOf<Trust> =
    OneOf(&[("pin", Trust::Pin), ("accept-new", Trust::AcceptNew), ("ask", Trust::Ask)]);

table! {
    /// Everything a client needs to know.
    pub struct ClientConfig from new(key: SecretKey) {
        /// The client's identity.
        key: SecretKey = key, load::SECRET_KEY;
        /// The server's pre-shared key, or an invitation.
        psk: Option<Psk> = None, Maybe(load::PSK);
        /// The name to go under. Without one, the client is known by its key alone.
        name: Option<Name> = None, Maybe(NAME);
        /// The server's host name or IP address.
        server: Option<String> = None, Maybe(Host);
        /// The server's TCP port. Default 1234.
        port: u16 = 1234, Whole { min: 1, max: u16::MAX };
        /// What to do about a server that is not known yet. Default: accept it.
        trust: Trust = Trust::AcceptNew, TRUST;
        /// The server's key, if it is known beforehand. No other one is then accepted.
        server_key: Option<PublicKey> = None, Maybe(PUBLIC_KEY);
        /// Whether to remember the key of an accepted server. Default true.
        remember_server: bool = true, Flag;
        /// The one cipher suite to use with the server. Without it, the best that both sides have; all are equally strong.
        suite: Option<Suite> = None, Maybe(SUITE);
        /// What to do about another client that is not known yet, before anything is encrypted for it alone.
        /// Default: accept it, and pin its key.
        peers: Trust = Trust::AcceptNew, TRUST;
        /// How long TCP connect and handshake may take together. Default 10 s.
        timeout: Duration = Duration::from_secs(10), Seconds;
        /// Whether to connect again when a connection breaks. Default true.
        reconnect: bool = true, Flag;
        /// After how many seconds of silence the server counts as gone. Default 60.
        idle_timeout: u16 = 60, Whole { min: 1, max: u16::MAX };
        /// The longest record to receive, in bytes with its tag. Default 65535.
        record_limit: u16 = 65_535, Whole { min: 256, max: u16::MAX };
        /// The longest message to receive as a whole, in bytes. Default 16 MiB.
        max_message: usize = 16 << 20, Whole { min: 256, max: 1 << 30 };
        /// How much may wait to be sent to the server, in bytes; then sending waits. Default 1 MiB.
        queue_bytes: usize = 1 << 20, Whole { min: 1024, max: 1 << 30 };
        /// The file in which the client remembers servers and peers; `None`: only as long as it runs.
        /// [`ClientConfig::load`] sets it to `client.state` beside `client.yaml`.
        state: Option<PathBuf> = None, Maybe(FilePath);
        /// Whether connections stay awake for a tenth of a millisecond after each message, in case an answer or the next
        /// one follows at once: it saves the time to be woken, and costs processor time. Default false.
        low_latency: bool = false, Flag;
        /// Whether the `pysock` program logs more; other programs set up `tracing` as they like. Changes nothing else.
        debug: bool = false, Flag;
    }
}

impl ClientConfig {
    /// Reads the YAML file at `path`, or creates it with a fresh key if there is nothing by that name.
    ///
    /// Does blocking I/O. A relative `state:` is relative to the folder of the YAML.
    ///
    /// # Errors
    /// Says what is wrong, where, and what to do about it.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        load::load(path.as_ref())
    }

    /// Applies the rules of the YAML to values that were set in code.
    ///
    /// # Errors
    /// [`ConfigError::Option`] names the first option that is wrong.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.hold()?;
        if self.suite.is_some_and(|suite| !Native::suites().contains(&(suite as u8))) {
            return Err(ConfigError::Option {
                option: "suite",
                expected:
                    "a cipher suite that this machine has: `chacha-poly`, or `~` for the best"
                        .to_owned(),
            });
        }
        Ok(())
    }

    /// The public half of the key: what a server's allow-list needs.
    pub fn public_key(&self) -> PublicKey {
        Keypair::<RustCrypto>::new(self.key.clone()).public()
    }
}

impl File for ClientConfig {
    const TEMPLATE: &'static str = include_str!("client.yaml");

    fn start(key: SecretKey) -> Self {
        Self::new(key)
    }
    fn key(&mut self) -> &mut SecretKey {
        &mut self.key
    }
    fn state(&mut self) -> &mut Option<PathBuf> {
        &mut self.state
    }
    fn check(&self) -> Result<(), ConfigError> {
        self.check()
    }
}
