//! Real servers and clients on loopback, with fresh keys.
#![allow(dead_code, unreachable_pub, reason = "every test file uses its own part of this module")]

pub mod proxy;
pub mod raw;

use pysock_std::{
    Client, Error, Server,
    client::{ClientBuilder, Status},
    config::{ClientConfig, ServerConfig, new_secret_key},
};

pub const WHERE: &str = "127.0.0.1:0";

/// A server configuration with a fresh key that remembers nothing on disk.
pub fn server_config() -> ServerConfig {
    ServerConfig::new(new_secret_key().unwrap())
}

/// A client configuration with a fresh key that remembers nothing on disk.
pub fn client_config(name: &str) -> ClientConfig {
    let mut config = ClientConfig::new(new_secret_key().unwrap());
    config.name = Some(name.parse().unwrap());
    config
}

pub async fn serve(config: ServerConfig) -> Server {
    Server::from_config(config).bind(WHERE).await.unwrap()
}

pub fn client(name: &str) -> ClientBuilder {
    Client::from_config(client_config(name))
}

pub async fn connect(name: &str, server: &Server) -> Client {
    connect_at(name, server.address()).await
}

/// Connects to what listens there: a server, or a proxy before it.
pub async fn connect_at(name: &str, address: std::net::SocketAddr) -> Client {
    client(name).connect(&address.to_string()).await.unwrap()
}

/// A server, and two of its clients.
pub async fn two_clients(a: &str, b: &str) -> (Server, Client, Client) {
    let server = serve(server_config()).await;
    let (a, b) = (connect(a, &server).await, connect(b, &server).await);
    (server, a, b)
}

/// No test waits for ever.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(std::time::Duration::from_secs(20), future).await.expect("took too long")
}

pub async fn connect_with(config: ClientConfig, server: &Server) -> Result<Client, Error> {
    within(Client::from_config(config).connect(&server.address().to_string())).await
}

/// Waits until the server knows exactly so many clients.
pub async fn until_connected(server: &Server, count: usize) {
    within(server.population().wait_for(|population| *population == count)).await.unwrap();
}

/// Waits for a status.
pub async fn until_status(client: &Client, wanted: impl FnMut(&Status) -> bool) -> Status {
    let mut status = client.status();
    within(status.wait_for(wanted)).await.expect("the client's task is gone").clone()
}
