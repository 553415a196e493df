//! The server: any number of named clients, channels, and the program that listens to them.

mod asked;
mod channel;
mod doorman;
mod hub;
mod relay;
mod send;
mod session;
mod shards;

use std::{
    io,
    net::SocketAddr,
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use pysock_proto::{ChannelName, Identity, Name, PublicKey};
use tokio::{
    net::{TcpListener, TcpStream, ToSocketAddrs},
    sync::watch,
};

pub use channel::{Channel, PrefixChannel};
use doorman::Doorman;
use hub::{Hub, Session};
use shards::Shards;

use crate::{
    Data, Error, Message, StreamWriter, Target, config::ServerConfig, listen, state::StateFile,
};

/// How long a program waits for the reply to a request unless it says otherwise.
pub(crate) const REPLY_WITHIN: Duration = Duration::from_secs(10);
/// How long a shutdown waits for clients to take what is queued for them.
const SHUTDOWN: Duration = Duration::from_secs(8);
/// Connections that the operating system queues before they are accepted.
const BACKLOG: i32 = 4096;

/// A server that is configured and not yet listening.
#[derive(Debug)]
pub struct ServerBuilder {
    config: ServerConfig,
}

/// A server that is listening. Dropping it sends every client what is queued and closes, in the background;
/// [`shutdown`](Self::shutdown) waits for that.
pub struct Server {
    hub: Arc<Hub>,
    address: SocketAddr,
    door: tokio::task::JoinHandle<()>,
}

/// A client that is connected, as its server knows it.
#[derive(Clone, Debug)]
pub struct Client {
    /// What it is called.
    pub name: Name,
    /// Its identity.
    pub key: PublicKey,
    /// Where it connected from.
    pub address: SocketAddr,
    /// Bytes that wait to be sent to it.
    pub waiting: usize,
    /// Messages that were thrown away because it read too slowly.
    pub dropped: u64,
}

/// What a server has counted since it started.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Messages received, whole ones and large ones that were delivered whole.
    pub received: u64,
    /// Times that the task of any connection was woken.
    pub wakeups: u64,
}

impl Client {
    fn of(session: &Session) -> Self {
        Client {
            name: session.peer.name,
            key: session.peer.key,
            address: session.address,
            waiting: session.outbox.waiting(),
            dropped: session.outbox.dropped(),
        }
    }
}

impl Server {
    /// Reads configuration and identity from a YAML file, which is created with a fresh key if there is none.
    ///
    /// # Errors
    /// [`Error::Config`] points at the mistake.
    pub fn from_yaml(path: impl AsRef<Path>) -> Result<ServerBuilder, Error> {
        Ok(Self::from_config(ServerConfig::load(path)?))
    }

    /// Takes its configuration from the program.
    pub fn from_config(config: ServerConfig) -> ServerBuilder {
        ServerBuilder { config }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its identity: what clients pin.
    pub fn public_key(&self) -> PublicKey {
        self.hub.identity.public()
    }

    /// Creates a channel, and listens to what clients send the server by it.
    ///
    /// # Errors
    /// [`Error::Name`]; [`Error::ChannelExists`].
    pub fn create_channel(&self, name: &str) -> Result<Channel, Error> {
        let name = channel_name(name)?;
        let (sink, queue) = listen::whole(self.hub.config.queue.bytes);
        self.hub.create_channel(&name, sink)?;
        Ok(Channel::new(name, self.hub.clone(), queue))
    }

    /// Like [`create_channel`](Self::create_channel), but messages are handed on while they arrive, in memory that
    /// does not grow with their size.
    ///
    /// # Errors
    /// [`Error::Name`]; [`Error::ChannelExists`].
    pub fn create_prefix_channel(&self, name: &str) -> Result<PrefixChannel, Error> {
        let name = channel_name(name)?;
        let (sink, queue) = listen::prefixes(self.hub.config.queue.bytes);
        self.hub.create_channel(&name, sink)?;
        Ok(PrefixChannel::new(name, queue))
    }

    /// Sends to one client that is on the channel. Waits while its queue is full, as the configuration says.
    ///
    /// # Errors
    /// [`Error::Failed`] if it is not connected or not on the channel.
    pub async fn send(
        &self,
        channel: &str,
        client: impl Into<Target>,
        data: impl Into<Data>,
    ) -> Result<(), Error> {
        self.hub.send(&channel_name(channel)?, &client.into(), data.into()).await
    }

    /// Sends to every client on the channel. Returns how many there are.
    ///
    /// # Errors
    /// [`Error::NoChannel`].
    pub async fn publish(&self, channel: &str, data: impl Into<Data>) -> Result<usize, Error> {
        self.hub.publish(&channel_name(channel)?, data.into()).await
    }

    /// Asks one client and waits for its reply, 10 seconds at most.
    ///
    /// # Errors
    /// [`Error::Failed`], [`Error::NoReply`], [`Error::OutcomeUnknown`].
    pub async fn request(
        &self,
        channel: &str,
        client: impl Into<Target>,
        data: impl Into<Data>,
    ) -> Result<Message, Error> {
        self.request_within(REPLY_WITHIN, channel, client, data).await
    }

    /// Asks one client and waits for its reply.
    ///
    /// # Errors
    /// [`Error::Failed`], [`Error::NoReply`], [`Error::OutcomeUnknown`].
    pub async fn request_within(
        &self,
        timeout: Duration,
        channel: &str,
        client: impl Into<Target>,
        data: impl Into<Data>,
    ) -> Result<Message, Error> {
        self.hub.request(timeout, &channel_name(channel)?, &client.into(), data.into()).await
    }

    /// Begins a message to one client that is written bit by bit; `length` in bytes if it is known.
    ///
    /// # Errors
    /// [`Error::Failed`] if it is not connected or not on the channel.
    pub async fn stream(
        &self,
        channel: &str,
        client: impl Into<Target>,
        length: Option<u64>,
    ) -> Result<StreamWriter, Error> {
        self.hub.stream(&channel_name(channel)?, &client.into(), length).await
    }

    /// Who is connected, in the order of arrival.
    pub fn clients(&self) -> Vec<Client> {
        self.hub.clients()
    }

    /// How many connections are in, now and whenever that changes.
    pub fn population(&self) -> watch::Receiver<usize> {
        self.hub.population.subscribe()
    }

    /// Disconnects a client. It does not come back by itself.
    ///
    /// # Errors
    /// [`Error::Failed`] if it is not connected.
    pub fn kick(&self, client: impl Into<Target>) -> Result<(), Error> {
        session::kick(&self.hub, &client.into())
    }

    /// What it has counted.
    pub fn stats(&self) -> Stats {
        let counters = &self.hub.counters;
        Stats {
            received: counters.received.load(Ordering::Relaxed),
            wakeups: counters.wakeups.load(Ordering::Relaxed),
        }
    }

    /// Lets nobody in any more, sends every client what is queued for it, closes, and waits until all are gone, some
    /// seconds at most. Returns how many did not confirm in time.
    pub async fn shutdown(mut self) -> usize {
        self.door.abort();
        // From here on the port is free.
        let _ = (&mut self.door).await;
        self.hub.begin_shutdown();
        let mut population = self.population();
        let all_gone = population.wait_for(|count| *count == 0);
        let _ = tokio::time::timeout(SHUTDOWN, all_gone).await;
        self.hub.stop_listening();
        self.hub.tables().sessions.len()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.door.abort();
        self.hub.begin_shutdown();
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (address, key) = (self.address, self.public_key());
        f.debug_struct("Server")
            .field("address", &address)
            .field("key", &key)
            .finish_non_exhaustive()
    }
}

impl ServerBuilder {
    /// The configuration, to be changed.
    pub fn config_mut(&mut self) -> &mut ServerConfig {
        &mut self.config
    }

    /// Listens where the configuration says.
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    pub async fn start(self) -> Result<Server, Error> {
        let (host, port) = (self.config.address.clone(), self.config.port);
        self.bind((host.as_str(), port)).await
    }

    /// Listens on `address`, such as `"localhost:1234"`; port 0 lets the system choose one.
    ///
    /// # Errors
    /// [`Error::Config`], [`Error::State`] if what is remembered cannot be read, [`Error::Bind`], [`Error::Threads`].
    pub async fn bind(self, address: impl ToSocketAddrs) -> Result<Server, Error> {
        self.config.check()?;
        let hub = self.hub().await?;
        let listener = listen_on(address).await?;
        let address = listener
            .local_addr()
            .map_err(|source| Error::Bind { address: "the chosen address".into(), source })?;
        tracing::info!(%address, key = %hub.identity.public(), "listening");
        let shards = Shards::start(hub.config.threads).map_err(Error::Threads)?;
        let door = tokio::spawn(open_door(hub.clone(), listener, shards));
        Ok(Server { hub, address, door })
    }

    /// The tables, with what is remembered.
    async fn hub(self) -> Result<Arc<Hub>, Error> {
        let path = self.config.state.clone();
        let opened = tokio::task::spawn_blocking(move || {
            let Some(path) = path else { return Ok(None) };
            let file = StateFile::open(path)?;
            let state = file.read()?;
            Ok::<_, Error>(Some((file, state)))
        });
        let opened = opened.await.map_err(|e| Error::Value(e.to_string()))??;
        let (file, state) = opened.map_or((None, None), |(f, s)| (Some(Arc::new(f)), Some(s)));
        let hub = Hub::new(self.config, file);
        let mut tables = hub.tables();
        let claimed = state.iter().flat_map(|state| state.names.iter().map(|(n, b)| (n, &b.key)));
        let bound = match hub.config.names {
            crate::config::NamePolicy::ClaimOnce => claimed.collect::<Vec<_>>(),
            crate::config::NamePolicy::AllowList => hub.config.allow.iter().collect(),
            crate::config::NamePolicy::Open => Vec::new(),
        };
        for (name, key) in bound {
            if let Err(error) = tables.names.bind(key, name) {
                return Err(Error::Value(format!("the name {name} cannot be bound: {error}")));
            }
        }
        drop(tables);
        for name in &hub.config.channels {
            hub.declare_channel(name);
        }
        Ok(Arc::new(hub))
    }
}

/// Listens with a backlog that a burst of clients does not overflow.
async fn listen_on(address: impl ToSocketAddrs) -> Result<TcpListener, Error> {
    let failed = |address: &str, source| Error::Bind { address: address.into(), source };
    let found = tokio::net::lookup_host(address).await;
    let no_address = io::Error::new(io::ErrorKind::AddrNotAvailable, "the name has no address");
    let mut last = failed("that name", no_address);
    for address in found.map_err(|source| failed("that name", source))? {
        let listening = || {
            let domain = socket2::Domain::for_address(address);
            let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
            if cfg!(unix) {
                // A restarted server need not wait for the sockets of its predecessor.
                socket.set_reuse_address(true)?;
            }
            socket.set_nonblocking(true)?;
            socket.bind(&address.into())?;
            socket.listen(BACKLOG)?;
            TcpListener::from_std(socket.into())
        };
        match listening() {
            Ok(listener) => return Ok(listener),
            Err(source) => last = failed(&address.to_string(), source),
        }
    }
    Err(last)
}

/// Lets connections in, as many as there is room for.
async fn open_door(hub: Arc<Hub>, listener: TcpListener, mut shards: Shards) {
    let config = &hub.config;
    let doorman = Doorman::new(config.max_unauthenticated, config.max_unauthenticated_per_address);
    let doorman = Arc::new(doorman);
    loop {
        match listener.accept().await {
            Ok((socket, address)) => match doorman.enter(address.ip()) {
                Some(pass) => {
                    let hub = hub.clone();
                    shards.run(socket, address, move |socket| {
                        session::serve(hub, socket, address, pass)
                    });
                }
                None => turn_away(&socket, address),
            },
            Err(error) => {
                // Out of file descriptors, most likely: those who are connected go on.
                tracing::warn!(%error, "cannot accept connections now");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Says that there is no room, if the socket takes it at once.
fn turn_away(socket: &TcpStream, address: SocketAddr) {
    tracing::debug!(%address, "too many connections that have not proven who they are");
    let _ = socket.try_write(&pysock_proto::Alert::Busy.to_wire());
}

fn channel_name(name: &str) -> Result<ChannelName, Error> {
    ChannelName::new(name).map_err(|source| Error::Name { name: name.into(), source })
}
