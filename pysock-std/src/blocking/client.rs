//! The client without `async`.

use std::{path::Path, thread, time::Duration};

use pysock_proto::{ChannelName, Name, PeerInfo, PublicKey};
use tokio::sync::watch;

use super::{
    Listening, Message, Messages, TimedOut, listen_timeout, listening, runtime, wait, waiting,
};
use crate::{
    Data, Error, Target,
    client::{self, Status, Undelivered},
    config::ClientConfig,
    server::Stats,
};

/// How long a client that is dropped without [`Client::close`] waits for its last messages to go out.
const FAREWELL: Duration = Duration::from_secs(2);

/// A client that is configured and not yet connected.
#[derive(Debug)]
pub struct ClientBuilder {
    inner: client::ClientBuilder,
}

/// A client of a server; see [`crate::Client`]. Dropping it sends what is queued and closes, and waits two seconds
/// for that at most, so that a program which sends and ends loses nothing; [`close`](Self::close) says how it went.
#[derive(Debug)]
pub struct Client {
    // Dropped first, which begins the farewell that the other then waits for.
    pub(super) inner: client::Client,
    farewell: Farewell,
}

#[derive(Debug)]
struct Farewell(watch::Receiver<Status>);

impl Drop for Farewell {
    fn drop(&mut self) {
        if thread::panicking() {
            return;
        }
        let ended = self.0.wait_for(|status| matches!(status, Status::Ended(_)));
        let _ = wait(async { tokio::time::timeout(FAREWELL, ended).await.map(drop) });
    }
}

/// A channel of a client, with its listener.
#[derive(Debug)]
pub struct Channel {
    inner: client::Channel,
}

impl Client {
    /// Reads configuration and identity from a YAML file, which is created with a fresh key if there is none.
    ///
    /// # Errors
    /// [`Error::Config`] points at the mistake.
    pub fn from_yaml(path: impl AsRef<Path>) -> Result<ClientBuilder, Error> {
        Ok(ClientBuilder { inner: client::Client::from_yaml(path)? })
    }

    /// Takes its configuration from the program.
    pub fn from_config(config: ClientConfig) -> ClientBuilder {
        ClientBuilder { inner: client::Client::from_config(config) }
    }

    /// What it is called.
    pub fn name(&self) -> &Name {
        self.inner.name()
    }

    /// Its identity.
    pub fn public_key(&self) -> PublicKey {
        self.inner.public_key()
    }

    /// The identity of its server.
    pub fn server_key(&self) -> Option<PublicKey> {
        self.inner.server_key()
    }

    /// How it is doing.
    pub fn status(&self) -> Status {
        self.farewell.0.borrow().clone()
    }

    /// Opens a channel that the server has, and listens to it. It stays open through reconnects.
    ///
    /// # Errors
    /// [`Error::NoChannel`] if the server does not have it; [`Error::ChannelExists`]; [`Error::Name`].
    pub fn create_channel(&self, name: &str) -> Result<Channel, Error> {
        wait(self.inner.create_channel(name)).map(|inner| Channel { inner })
    }

    waiting! {
        /// As [`Channel::send`] on the channel of that name.
        ///
        /// # Errors
        /// [`Error::NoChannel`] if it was not created; [`Error::Disconnected`].
        fn send(channel: &str, data: impl Into<Data>) -> Result<(), Error>;

        /// As [`Channel::send_to`] on the channel of that name.
        ///
        /// # Errors
        /// [`Error::NoChannel`] if it was not created; [`Error::Failed`].
        fn send_to(channel: &str, client: impl Into<Target>, data: impl Into<Data>) -> Result<(), Error>;

        /// As [`Channel::publish`] on the channel of that name.
        ///
        /// # Errors
        /// [`Error::NoChannel`] if it was not created; [`Error::Disconnected`].
        fn publish(channel: &str, data: impl Into<Data>) -> Result<(), Error>;

        /// The connected client of that name or key, as the server says.
        ///
        /// # Errors
        /// [`Error::Name`]; [`Error::NoReply`] without an answer within `timeout`; [`Error::Disconnected`] if the client is over.
        fn find(client: impl Into<Target>) -> Result<Option<PeerInfo>, Error>;

        /// Who is connected, in the order of arrival, as the server says. This client is among them.
        ///
        /// # Errors
        /// As [`find`](Self::find).
        fn clients() -> Result<Vec<PeerInfo>, Error>;
    }

    /// As [`Channel::request`] on the channel of that name.
    ///
    /// # Errors
    /// [`Error::NoChannel`] if it was not created; [`Error::Failed`], [`Error::NoReply`],
    /// [`Error::OutcomeUnknown`].
    pub fn request(&self, channel: &str, data: impl Into<Data>) -> Result<Message, Error> {
        wait(self.inner.request(channel, data)).map(Message)
    }

    /// Messages that did not get through since the last call; the latest 64 are kept.
    pub fn failures(&self) -> Vec<Undelivered> {
        self.inner.failures()
    }

    /// What it has counted.
    pub fn stats(&self) -> Stats {
        self.inner.stats()
    }

    /// Sends what is queued, closes, and waits until the server has confirmed that it has read everything.
    ///
    /// # Errors
    /// [`Error::Failed`] with the first message that did not get through;
    /// whatever ended the client before, or [`Error::Disconnected`] without a confirmation.
    pub fn close(self) -> Result<(), Error> {
        wait(self.inner.close())
    }
}

impl ClientBuilder {
    /// The configuration, to be changed.
    pub fn config_mut(&mut self) -> &mut ClientConfig {
        self.inner.config_mut()
    }

    /// What it would like to be called.
    ///
    /// # Errors
    /// [`Error::Name`].
    pub fn name(self, name: &str) -> Result<Self, Error> {
        Ok(ClientBuilder { inner: self.inner.name(name)? })
    }

    /// How long connecting and the handshake may take together.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        ClientBuilder { inner: self.inner.timeout(timeout) }
    }

    /// Asks `ask` about another client of which nothing is known, if the configuration says `peers: ask`. It may take
    /// its time, as it runs on a thread of its own.
    #[must_use]
    pub fn ask_peer(self, ask: impl Fn(&Name, &PublicKey) -> bool + Send + Sync + 'static) -> Self {
        ClientBuilder { inner: self.inner.ask_peer(ask) }
    }

    /// Asks `ask` about a server of which nothing is known, if the configuration says `trust: ask`.
    #[must_use]
    pub fn ask(self, ask: impl Fn(&str, &PublicKey) -> bool + Send + Sync + 'static) -> Self {
        ClientBuilder { inner: self.inner.ask(ask) }
    }

    /// Connects to the server that the configuration names.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub fn start(self) -> Result<Client, Error> {
        no_thread(runtime::start())?;
        wait(self.inner.start()).map(Client::new)
    }

    /// Connects to `address`, such as `"localhost:1234"`; without a port, the configured one.
    ///
    /// # Errors
    /// Says precisely what failed: the network, the handshake, the server's identity, or its decision.
    pub fn connect(self, address: &str) -> Result<Client, Error> {
        no_thread(runtime::start())?;
        wait(self.inner.connect(address)).map(Client::new)
    }
}

impl Client {
    fn new(inner: client::Client) -> Self {
        let farewell = Farewell(inner.status());
        Client { inner, farewell }
    }
}

fn no_thread(started: std::io::Result<()>) -> Result<(), Error> {
    started.map_err(|source| Error::Connect { address: "any server".into(), source })
}

impl Channel {
    /// Its name.
    pub fn name(&self) -> &ChannelName {
        self.inner.name()
    }

    waiting! {
        /// Sends to the server. Waits while the queue is full, and through a reconnect.
        ///
        /// Delivery is at most once: what was under way when a connection broke is lost.
        ///
        /// # Errors
        /// [`Error::Disconnected`] if the client is over.
        fn send(data: impl Into<Data>) -> Result<(), Error>;

        /// Sends to another client on the channel, through the server, which can read it.
        ///
        /// # Errors
        /// [`Error::Failed`] if there is no such client. What goes wrong later is in [`Client::failures`].
        fn send_to(client: impl Into<Target>, data: impl Into<Data>) -> Result<(), Error>;

        /// Sends to every other client on the channel. The server's own listener is not among them.
        ///
        /// # Errors
        /// [`Error::Disconnected`] if the client is over.
        fn publish(data: impl Into<Data>) -> Result<(), Error>;

        /// As [`send`](Self::send) for each of `messages`, in order, and much cheaper where they are small and many.
        ///
        /// # Errors
        /// [`Error::Disconnected`] if the client is over. Those before may have been sent.
        fn send_many(messages: impl IntoIterator<Item: AsRef<[u8]>>) -> Result<(), Error>;

        /// As [`send_to`](Self::send_to) for each of `messages`, in order, and much cheaper where they are small and
        /// many.
        ///
        /// # Errors
        /// As [`send_to`](Self::send_to). Those before may have been sent.
        fn send_many_to(client: impl Into<Target>, messages: impl IntoIterator<Item: AsRef<[u8]>>) -> Result<(), Error>;

        /// As [`publish`](Self::publish) for each of `messages`, in order, and much cheaper where they are small and many.
        ///
        /// # Errors
        /// [`Error::Disconnected`] if the client is over. Those before may have been sent.
        fn publish_many(messages: impl IntoIterator<Item: AsRef<[u8]>>) -> Result<(), Error>;
    }

    /// Asks the server and waits for its reply, 10 seconds at most.
    ///
    /// # Errors
    /// [`Error::Failed`], [`Error::NoReply`], [`Error::OutcomeUnknown`].
    pub fn request(&self, data: impl Into<Data>) -> Result<Message, Error> {
        wait(self.inner.request(data)).map(Message)
    }

    /// Asks another client and waits for its reply, 10 seconds at most.
    ///
    /// # Errors
    /// [`Error::Failed`], [`Error::NoReply`], [`Error::OutcomeUnknown`].
    pub fn request_from(
        &self,
        client: impl Into<Target>,
        data: impl Into<Data>,
    ) -> Result<Message, Error> {
        wait(self.inner.request_from(client, data)).map(Message)
    }

    /// Asks the server or another client and waits for the reply.
    ///
    /// # Errors
    /// [`Error::Failed`], [`Error::NoReply`], [`Error::OutcomeUnknown`].
    pub fn request_within(
        &self,
        timeout: Duration,
        target: impl Into<Target>,
        data: impl Into<Data>,
    ) -> Result<Message, Error> {
        wait(self.inner.request_within(timeout, target, data)).map(Message)
    }
}

listening!(Channel, "the client is over");
