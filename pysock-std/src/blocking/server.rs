//! The server without `async`.

use std::{net::SocketAddr, path::Path, time::Duration};

use pysock_proto::{ChannelName, PublicKey};
use tokio::net::ToSocketAddrs;

use super::{
    Listening, Message, Messages, TimedOut, listen_timeout, listening, runtime, wait, waiting,
};
use crate::{
    Data, Error, Target,
    config::ServerConfig,
    server::{self, Stats},
};

/// A server that is configured and not yet listening.
#[derive(Debug)]
pub struct ServerBuilder {
    inner: server::ServerBuilder,
}

/// A server that is listening; see [`crate::Server`]. Dropping it disconnects everyone at once;
/// [`shutdown`](Self::shutdown) is polite.
#[derive(Debug)]
pub struct Server {
    inner: server::Server,
}

/// A channel of a server, with its listener.
#[derive(Debug)]
pub struct Channel {
    inner: server::Channel,
}

impl Server {
    /// Reads configuration and identity from a YAML file, which is created with a fresh key if there is none.
    ///
    /// # Errors
    /// [`Error::Config`] points at the mistake.
    pub fn from_yaml(path: impl AsRef<Path>) -> Result<ServerBuilder, Error> {
        Ok(ServerBuilder { inner: server::Server::from_yaml(path)? })
    }

    /// Takes its configuration from the program.
    pub fn from_config(config: ServerConfig) -> ServerBuilder {
        ServerBuilder { inner: server::Server::from_config(config) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.inner.address()
    }

    /// Its identity: what clients pin.
    pub fn public_key(&self) -> PublicKey {
        self.inner.public_key()
    }

    /// Creates a channel, and listens to what clients send the server by it.
    ///
    /// # Errors
    /// [`Error::Name`]; [`Error::ChannelExists`].
    pub fn create_channel(&self, name: &str) -> Result<Channel, Error> {
        Ok(Channel { inner: self.inner.create_channel(name)? })
    }

    waiting! {
        /// Sends to one client that is on the channel. Waits while its queue is full, as the configuration says.
        ///
        /// # Errors
        /// [`Error::Failed`] if it is not connected or not on the channel.
        fn send(channel: &str, client: impl Into<Target>, data: impl Into<Data>) -> Result<(), Error>;

        /// Sends to every client on the channel. Returns how many there are.
        ///
        /// # Errors
        /// [`Error::NoChannel`].
        fn publish(channel: &str, data: impl Into<Data>) -> Result<usize, Error>;
    }

    /// Asks one client and waits for its reply, 10 seconds at most.
    ///
    /// # Errors
    /// [`Error::Failed`], [`Error::NoReply`], [`Error::OutcomeUnknown`].
    pub fn request(
        &self,
        channel: &str,
        client: impl Into<Target>,
        data: impl Into<Data>,
    ) -> Result<Message, Error> {
        wait(self.inner.request(channel, client, data)).map(Message)
    }

    /// Asks one client and waits for its reply.
    ///
    /// # Errors
    /// [`Error::Failed`], [`Error::NoReply`], [`Error::OutcomeUnknown`].
    pub fn request_within(
        &self,
        timeout: Duration,
        channel: &str,
        client: impl Into<Target>,
        data: impl Into<Data>,
    ) -> Result<Message, Error> {
        wait(self.inner.request_within(timeout, channel, client, data)).map(Message)
    }

    /// Who is connected, in the order of arrival.
    pub fn clients(&self) -> Vec<server::Client> {
        self.inner.clients()
    }

    /// Disconnects a client. It does not come back by itself.
    ///
    /// # Errors
    /// [`Error::Failed`] if it is not connected.
    pub fn kick(&self, client: impl Into<Target>) -> Result<(), Error> {
        self.inner.kick(client)
    }

    /// What it has counted.
    pub fn stats(&self) -> Stats {
        self.inner.stats()
    }

    /// Lets nobody in any more, sends every client what is queued for it, closes, and waits until all are gone, some
    /// seconds at most. Returns how many did not confirm in time.
    pub fn shutdown(self) -> usize {
        wait(self.inner.shutdown())
    }
}

impl ServerBuilder {
    /// The configuration, to be changed.
    pub fn config_mut(&mut self) -> &mut ServerConfig {
        self.inner.config_mut()
    }

    /// Listens where the configuration says.
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    pub fn start(self) -> Result<Server, Error> {
        no_thread(runtime::start())?;
        wait(self.inner.start()).map(|inner| Server { inner })
    }

    /// Listens on `address`, such as `"localhost:1234"`; port 0 lets the system choose one.
    ///
    /// # Errors
    /// [`Error::Config`], [`Error::State`] if what is remembered cannot be read, [`Error::Bind`].
    pub fn bind(self, address: impl ToSocketAddrs) -> Result<Server, Error> {
        no_thread(runtime::start())?;
        wait(self.inner.bind(address)).map(|inner| Server { inner })
    }
}

fn no_thread(started: std::io::Result<()>) -> Result<(), Error> {
    started.map_err(|source| Error::Bind { address: "any address".into(), source })
}

impl Channel {
    /// Its name.
    pub fn name(&self) -> &ChannelName {
        self.inner.name()
    }

    waiting! {
        /// As [`Server::send`] on this channel.
        ///
        /// # Errors
        /// [`Error::Failed`] if the client is not connected or not on the channel.
        fn send(client: impl Into<Target>, data: impl Into<Data>) -> Result<(), Error>;

        /// As [`Server::publish`] on this channel.
        ///
        /// # Errors
        /// None while the server is there.
        fn publish(data: impl Into<Data>) -> Result<usize, Error>;

        /// As [`send`](Self::send) for each of `messages`, in order, and much cheaper where they are small and many.
        ///
        /// # Errors
        /// As [`send`](Self::send). Those before may have been sent.
        fn send_many(client: impl Into<Target>, messages: impl IntoIterator<Item: AsRef<[u8]>>) -> Result<(), Error>;

        /// As [`publish`](Self::publish) for each of `messages`, in order, and much cheaper where they are small and many.
        ///
        /// # Errors
        /// None while the server is there.
        fn publish_many(messages: impl IntoIterator<Item: AsRef<[u8]>>) -> Result<usize, Error>;
    }
}

listening!(Channel, "the server is gone");
