//! The server's options.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use pysock_proto::{ChannelName, Identity, Keypair, Name, Psk, PublicKey, RustCrypto, SecretKey};

use super::{
    ConfigError, Queue,
    load::{self, File},
    rule::{FilePath, Flag, Host, Keys, ListOf, Maybe, OneOf, Parsed, Seconds, Whole},
    table::{Section, Table, table},
};

/// How clients come by their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamePolicy {
    /// The first key to use a name owns it for good.
    ClaimOnce,
    /// A name is free whenever nobody connected uses it.
    Open,
    /// Only the keys in [`ServerConfig::allow`] come in, each under its name.
    AllowList,
}

table! {
    /// Everything a server needs to know.
    pub struct ServerConfig from new(key: SecretKey) {
        /// The server's identity.
        key: SecretKey = key, load::SECRET_KEY;
        /// If set, only clients that have it can finish a handshake.
        psk: Option<Psk> = None, Maybe(load::PSK);
        /// The host name or IP address to listen on. Default `localhost`.
        address: String = "localhost".to_owned(), Host;
        /// The TCP port to listen on. Default 1234.
        port: u16 = 1234, Whole { min: 1, max: u16::MAX };
        /// Channels that exist from the start.
        channels: Vec<ChannelName> = Vec::new(), ListOf(Parsed::<ChannelName>::new(
            "a channel name of 1 to 64 characters, such as `test` or `house/kitchen`",
        ));
        /// How clients come by their names. Default: the first key to use a name owns it.
        names: NamePolicy = NamePolicy::ClaimOnce, OneOf(&[
            ("claim-once", NamePolicy::ClaimOnce),
            ("open", NamePolicy::Open),
            ("allow-list", NamePolicy::AllowList),
        ]);
        /// The clients of [`NamePolicy::AllowList`]. No key has two names.
        allow: BTreeMap<Name, PublicKey> = BTreeMap::new(), Keys;
        /// How many clients may be connected. Default 1000.
        max_clients: usize = 1000, Whole { min: 1, max: 1_000_000 };
        /// How many connections may be in a handshake at a time. Default 256.
        max_unauthenticated: usize = 256, Whole { min: 1, max: 1_000_000 };
        /// How many of them from one address. Default 16.
        max_unauthenticated_per_address: usize = 16, Whole { min: 1, max: 1_000_000 };
        /// How long a handshake may take. Default 10 s.
        handshake_timeout: Duration = Duration::from_secs(10), Seconds;
        /// After how many seconds of silence a client counts as gone. Default 60.
        idle_timeout: u16 = 60, Whole { min: 1, max: u16::MAX };
        /// The longest record to receive, in bytes with its tag. Default 65535.
        record_limit: u16 = 65_535, Whole { min: 256, max: u16::MAX };
        /// The longest message to receive as a whole, in bytes. Default 16 MiB.
        max_message: usize = 16 << 20, Whole { min: 256, max: 1 << 30 };
        /// What waits to be sent to one client.
        queue: Queue = Queue::new(), Section::<Queue>::new();
        /// How many names may be claimed. Default 10000.
        max_names: usize = 10_000, Whole { min: 1, max: 1_000_000 };
        /// Whether clients may list and find each other. Default true.
        directory: bool = true, Flag;
        /// The file in which the server remembers names; `None`: only as long as it runs.
        /// [`ServerConfig::load`] sets it to `server.state` beside `server.yaml`.
        state: Option<PathBuf> = None, Maybe(FilePath);
        /// Over how many threads connections are shared out, each with a runtime of its own. 0: they run on the runtime that
        /// called [`bind`](crate::server::ServerBuilder::bind), together with everything else there. Default 0.
        threads: usize = 0, Whole { min: 0, max: 1024 };
        /// Whether connections stay awake for a tenth of a millisecond after each message, in case an answer or the next
        /// one follows at once: it saves the time to be woken, and costs processor time. Default false.
        low_latency: bool = false, Flag;
        /// Whether the `pysock` program logs more; other programs set up `tracing` as they like. Changes nothing else.
        debug: bool = false, Flag;
    }
}

impl ServerConfig {
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
        if (self.names == NamePolicy::AllowList) == self.allow.is_empty() {
            return Err(ConfigError::Option {
                option: "allow",
                expected: "at least one client with `names: allow-list`, and none without it"
                    .to_owned(),
            });
        }
        Ok(())
    }

    /// The public half of the key: what clients pin.
    pub fn public_key(&self) -> PublicKey {
        Keypair::<RustCrypto>::new(self.key.clone()).public()
    }
}

impl File for ServerConfig {
    const TEMPLATE: &'static str = include_str!("server.yaml");

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
