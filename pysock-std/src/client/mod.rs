//! The client: one name, one key, one server; connected again whenever the connection breaks.

mod channel;
mod channels;
mod connect;
mod finds;
pub mod groups;
mod peers;
mod send;
mod session;
mod shared;
mod suites;

use std::{
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use pysock_proto::{
    ChannelName, Failure, Find, Identity, Name, Party, PeerId, PeerInfo, PublicKey,
};
use tokio::{sync::watch, task::JoinHandle};

pub use channel::{Channel, PrefixChannel};
use channels::Opening;
pub use peers::{AskPeer, PeerListener, PeerNews, PeerPrefixListener};
use shared::Shared;
pub use shared::Status;

use crate::{
    Data, Error, Message, Target,
    config::ClientConfig,
    listen,
    message::Address,
    server::{REPLY_WITHIN, Stats},
    state::StateFile,
};

/// Decides about a server of which nothing is known: its address and its key.
pub type Ask = dyn Fn(&str, &PublicKey) -> bool + Send + Sync;

/// A client that is configured and not yet connected.
pub struct ClientBuilder {
    config: ClientConfig,
    ask: Option<Arc<Ask>>,
    ask_peer: Option<Arc<AskPeer>>,
}

/// A client of a server. Dropping it sends what is queued and closes, in the background;
/// [`close`](Self::close) waits for that.
pub struct Client {
    shared: Arc<Shared>,
    task: Option<JoinHandle<session::Ended>>,
}

/// A message that did not get through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undelivered {
    /// The channel.
    pub channel: Option<ChannelName>,
    /// Whom it was for.
    pub to: Party,
    /// Why.
    pub why: Failure,
}

impl Client {
    /// Reads configuration and identity from a YAML file, which is created with a fresh key if there is none.
    ///
    /// # Errors
    /// [`Error::Config`] points at the mistake.
    pub fn from_yaml(path: impl AsRef<Path>) -> Result<ClientBuilder, Error> {
        Ok(Self::from_config(ClientConfig::load(path)?))
    }

    /// Takes its configuration from the program.
    pub fn from_config(config: ClientConfig) -> ClientBuilder {
        ClientBuilder { config, ask: None, ask_peer: None }
    }

    /// What it is called.
    pub fn name(&self) -> &Name {
        &self.shared.name
    }

    /// Its identity.
    pub fn public_key(&self) -> PublicKey {
        self.shared.identity.public()
    }

    /// The identity of its server.
    pub fn server_key(&self) -> Option<PublicKey> {
        self.shared.pinned()
    }

    /// The cipher suite of its latest connection: the best that both sides have, unless [`ClientConfig::suite`] names one or
    /// somebody on the path has refused it in the server's name. All are equally strong.
    pub fn suite(&self) -> pysock_proto::Suite {
        self.shared.suites.used()
    }

    /// How it is doing, now and whenever that changes.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.shared.status.subscribe()
    }

    /// Opens a channel that the server has, and listens to it. It stays open through reconnects: a server that began anew
    /// and does not have it yet is asked again and again.
    ///
    /// # Errors
    /// [`Error::NoChannel`] if the server does not have it; [`Error::ChannelExists`]; [`Error::Name`];
    /// [`Error::Disconnected`] if the client is over.
    pub async fn create_channel(&self, name: &str) -> Result<Channel, Error> {
        let name = channel_name(name)?;
        let (sink, queue) = listen::whole(self.shared.config.queue_bytes);
        let (number, opened) = self.shared.add_channel(name, sink)?;
        let channel = Channel { name, number, shared: self.shared.clone(), queue };
        opening(&name, opened).await?;
        Ok(channel)
    }

    /// Like [`create_channel`](Self::create_channel), but messages are handed on while they arrive, in memory that
    /// does not grow with their size.
    ///
    /// # Errors
    /// As `create_channel`.
    pub async fn create_prefix_channel(&self, name: &str) -> Result<PrefixChannel, Error> {
        let name = channel_name(name)?;
        let (sink, queue) = listen::prefixes(self.shared.config.queue_bytes);
        let (number, opened) = self.shared.add_channel(name, sink)?;
        let channel = PrefixChannel { name, number, shared: self.shared.clone(), queue };
        opening(&name, opened).await?;
        Ok(channel)
    }

    /// As [`Channel::send`] on the channel of that name.
    ///
    /// # Errors
    /// [`Error::NoChannel`] if it was not created; [`Error::Disconnected`].
    pub async fn send(&self, channel: &str, data: impl Into<Data>) -> Result<(), Error> {
        self.send_to(channel, Target(Address::Server), data).await
    }

    /// As [`Channel::send_to`] on the channel of that name.
    ///
    /// # Errors
    /// [`Error::NoChannel`] if it was not created; [`Error::Failed`].
    pub async fn send_to(
        &self,
        channel: &str,
        client: impl Into<Target>,
        data: impl Into<Data>,
    ) -> Result<(), Error> {
        let channel = self.shared.channels.find(&channel_name(channel)?)?;
        self.shared.send(channel, &client.into(), data.into()).await
    }

    /// As [`Channel::publish`] on the channel of that name.
    ///
    /// # Errors
    /// [`Error::NoChannel`] if it was not created; [`Error::Disconnected`].
    pub async fn publish(&self, channel: &str, data: impl Into<Data>) -> Result<(), Error> {
        let channel = self.shared.channels.find(&channel_name(channel)?)?;
        self.shared.publish(channel, data.into()).await
    }

    /// As [`Channel::request`] on the channel of that name.
    ///
    /// # Errors
    /// [`Error::NoChannel`] if it was not created; [`Error::Failed`], [`Error::NoReply`],
    /// [`Error::OutcomeUnknown`].
    pub async fn request(&self, channel: &str, data: impl Into<Data>) -> Result<Message, Error> {
        let channel = self.shared.channels.find(&channel_name(channel)?)?;
        self.shared.request(REPLY_WITHIN, channel, &Target(Address::Server), data.into()).await
    }

    /// As [`Channel::request_within`] on the channel of that name.
    ///
    /// # Errors
    /// [`Error::NoChannel`] if it was not created; [`Error::Failed`], [`Error::NoReply`],
    /// [`Error::OutcomeUnknown`].
    pub async fn request_within(
        &self,
        timeout: Duration,
        channel: &str,
        target: impl Into<Target>,
        data: impl Into<Data>,
    ) -> Result<Message, Error> {
        let channel = self.shared.channels.find(&channel_name(channel)?)?;
        self.shared.request(timeout, channel, &target.into(), data.into()).await
    }

    /// The connected client of that name or key, as the server says. If the connection is lost meanwhile, the next one is asked.
    ///
    /// # Errors
    /// [`Error::Name`]; [`Error::NoReply`] without an answer within `timeout`; [`Error::Disconnected`] if this client is over.
    pub async fn find(&self, client: impl Into<Target>) -> Result<Option<PeerInfo>, Error> {
        let target = client.into();
        let find = match &target.0 {
            Address::Peer(peer) => Find::Key(peer.key),
            Address::Key(key) => Find::Key(*key),
            Address::Text(text) => match text.parse() {
                Ok(name) => Find::Name(name),
                Err(source) => return Err(Error::Name { name: text.clone(), source }),
            },
            Address::Server => return Ok(None),
        };
        Ok(self.shared.find(find).await?.peer)
    }

    /// Who is connected, in the order of arrival, as the server says. This client is among them.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub async fn clients(&self) -> Result<Vec<PeerInfo>, Error> {
        let (mut all, mut last) = (Vec::new(), PeerId(0));
        while let Some(peer) = self.shared.find(Find::After(last)).await?.peer {
            // A server that does not count upwards would keep us asking for ever.
            if peer.id <= last {
                break;
            }
            last = peer.id;
            all.push(peer);
        }
        Ok(all)
    }

    /// Messages that did not get through since the last call; the latest 64 are kept.
    pub fn failures(&self) -> Vec<Undelivered> {
        self.shared.take_failures()
    }

    /// What it has counted.
    pub fn stats(&self) -> Stats {
        let counters = &self.shared.counters;
        Stats {
            received: counters.received.load(Ordering::Relaxed),
            wakeups: counters.wakeups.load(Ordering::Relaxed),
        }
    }

    /// Sends what is queued, closes, and waits until the server has confirmed that it has read everything.
    ///
    /// # Errors
    /// [`Error::Failed`] with the first message that did not get through;
    /// whatever ended the client before, or [`Error::Disconnected`] without a confirmation.
    pub async fn close(mut self) -> Result<(), Error> {
        self.shared.outbox.end(pysock_proto::CloseReason::Done, true);
        if let Some(task) = self.task.take() {
            task.await.map_err(|_| Error::Disconnected)??;
        }
        match self.shared.take_failures().first() {
            None => Ok(()),
            Some(Undelivered { to, why, .. }) => {
                let to = match to {
                    Party::Server => "the server".into(),
                    Party::Everyone => "everyone".into(),
                    Party::Peer(id) => format!("client {id}"),
                };
                Err(Error::Failed { to, failure: *why })
            }
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.shared.outbox.end(pysock_proto::CloseReason::Done, true);
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("name", self.name())
            .field("key", &self.public_key())
            .finish_non_exhaustive()
    }
}

/// Waits for the server's answer, through reconnects if need be.
async fn opening(name: &ChannelName, mut opened: watch::Receiver<Opening>) -> Result<(), Error> {
    let answer = opened.wait_for(|opening| *opening != Opening::Asked).await;
    match answer.as_deref() {
        Ok(Opening::Refused(Failure::NoChannel)) => Err(Error::NoChannel(name.as_str().into())),
        Ok(Opening::Refused(Failure::NoPeer)) | Err(_) => Err(Error::Disconnected),
        Ok(Opening::Refused(failure)) => {
            Err(Error::Failed { to: format!("channel {name}"), failure: *failure })
        }
        Ok(_) => Ok(()),
    }
}

fn channel_name(name: &str) -> Result<ChannelName, Error> {
    ChannelName::new(name).map_err(|source| Error::Name { name: name.into(), source })
}

impl ClientBuilder {
    /// The configuration, to be changed.
    pub fn config_mut(&mut self) -> &mut ClientConfig {
        &mut self.config
    }

    /// What it would like to be called.
    ///
    /// # Errors
    /// [`Error::Name`].
    pub fn name(mut self, name: &str) -> Result<Self, Error> {
        let parsed = name.parse().map_err(|source| Error::Name { name: name.into(), source })?;
        self.config.name = Some(parsed);
        Ok(self)
    }

    /// How long connecting and the handshake may take together.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.config.timeout = timeout;
        self
    }

    /// Asks `ask` about a server of which nothing is known, if the configuration says `trust: ask`.
    #[must_use]
    pub fn ask(mut self, ask: impl Fn(&str, &PublicKey) -> bool + Send + Sync + 'static) -> Self {
        self.ask = Some(Arc::new(ask));
        self
    }

    /// Asks `ask` about another client of which nothing is known, if the configuration says `peers: ask`.
    #[must_use]
    pub fn ask_peer(
        mut self,
        ask: impl Fn(&Name, &PublicKey) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.ask_peer = Some(Arc::new(ask));
        self
    }

    /// Connects to the server that the configuration names.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn start(self) -> Result<Client, Error> {
        let host = self.config.server.clone().unwrap_or_else(|| "localhost".into());
        let port = self.config.port;
        self.connect_to(host, port).await
    }

    /// Connects to `address`, such as `"localhost:1234"`; without a port, the configured one.
    ///
    /// # Errors
    /// Says precisely what failed: the network, the handshake, the server's identity, or its decision.
    pub async fn connect(self, address: &str) -> Result<Client, Error> {
        let (host, port) = split(address, self.config.port)?;
        self.connect_to(host, port).await
    }

    async fn connect_to(self, host: String, port: u16) -> Result<Client, Error> {
        self.config.check()?;
        let name = match self.config.name {
            Some(name) => name,
            None => name_of(&self.config.public_key())?,
        };
        let (path, at) = (self.config.state.clone(), host.clone());
        let opened = tokio::task::spawn_blocking(move || {
            let Some(path) = path else { return Ok((None, None)) };
            let file = StateFile::open(path)?;
            let known = file.read()?.server(&at, port).cloned();
            Ok::<_, Error>((Some(Arc::new(file)), known))
        });
        let (state, known) = opened.await.map_err(|e| Error::Value(e.to_string()))??;
        let pinned = self.config.server_key.or(known.as_ref().map(|known| known.key));
        // What another server has listed says nothing about this one.
        let suites = known.filter(|known| Some(known.key) == pinned).map(|known| known.suites);
        let pinned = (pinned, suites.unwrap_or_default());
        let asks = (self.ask, self.ask_peer);
        let shared = Shared::new(self.config, name, (host, port), state, pinned, asks)?;
        let shared = Arc::new(shared);
        let link = shared.connect().await?;
        // Before the program can ask anything: a new connection forgets what was asked on the one before.
        shared.begin_connection();
        let task = tokio::spawn(session::drive(shared.clone(), link));
        Ok(Client { shared, task: Some(task) })
    }
}

impl std::fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientBuilder").field("config", &self.config).finish_non_exhaustive()
    }
}

/// A name for a client without one: the beginning of its key.
fn name_of(key: &PublicKey) -> Result<Name, Error> {
    let text = key.to_string();
    let name = format!("key-{}", text.get(7..27).unwrap_or_default());
    name.parse().map_err(|source| Error::Name { name, source })
}

/// Splits `host:port`, `[v6]:port` or a host alone.
fn split(address: &str, port: u16) -> Result<(String, u16), Error> {
    let wrong = || Error::Connect {
        address: address.into(),
        source: std::io::Error::new(
            std::io::ErrorKind::InvalidInput,
            "not an address like host:port",
        ),
    };
    let (host, port) = match address.rsplit_once(':') {
        Some((host, text)) if !host.contains(':') || host.starts_with('[') => {
            (host, text.parse().map_err(|_| wrong())?)
        }
        _ => (address, port),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() { Err(wrong()) } else { Ok((host.into(), port)) }
}
