//! Real servers and clients on loopback, with fresh keys.
#![allow(dead_code, unreachable_pub, reason = "every test file uses its own part of this module")]

use pysock_std::{
    Client, Server,
    client::ClientBuilder,
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
    client(name).connect(&server.address().to_string()).await.unwrap()
}
