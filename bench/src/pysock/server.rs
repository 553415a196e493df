//! The server's program.

use std::io;

use pysock_std::{
    Server,
    config::{NamePolicy, ServerConfig, new_secret_key},
    server::Channel,
};

use super::{CHANNEL, FLOOD, failed, numbered, server_mode};
use crate::{
    peer::Peer,
    work::{CHANNELS_EACH, Mode, Work},
};

/// Clients of one benchmark, and some to spare for those that are on their way out.
const CLIENTS: usize = 30_000;

/// Serves until the process ends. `ready` is told the address and the server's key.
pub(crate) async fn run(
    peer: Peer,
    work: Work,
    mode: Mode,
    ready: impl FnOnce(&str, &str) -> io::Result<()>,
) -> io::Result<()> {
    let mut config = ServerConfig::new(new_secret_key().map_err(failed)?);
    server_mode(&mut config, peer, mode);
    config.names = NamePolicy::Open;
    config.max_clients = CLIENTS;
    // All clients come from one address.
    config.max_unauthenticated = CLIENTS;
    config.max_unauthenticated_per_address = CLIENTS;
    // To this one only clients listen, unless a program does, below.
    config.channels = vec![CHANNEL.parse().map_err(failed)?];
    let server = Server::from_config(config).bind("127.0.0.1:0").await.map_err(failed)?;
    let (address, key) = (server.address().to_string(), server.public_key().to_string());
    match work {
        Work::Echo { .. } | Work::Clients { .. } => {
            let channel = server.create_channel(CHANNEL).map_err(failed)?;
            ready(&address, &key)?;
            tokio::spawn(echo(channel)).await?
        }
        Work::Beside { .. } => {
            let channel = server.create_channel(CHANNEL).map_err(failed)?;
            let flood = server.create_channel(FLOOD).map_err(failed)?;
            ready(&address, &key)?;
            tokio::spawn(count(flood));
            tokio::spawn(echo(channel)).await?
        }
        Work::Channels { count } => {
            for number in 0..count.min(CHANNELS_EACH) {
                let name = numbered(CHANNEL, number);
                let channel = server.create_channel(&name).map_err(failed)?;
                tokio::spawn(echo(channel));
            }
            ready(&address, &key)?;
            std::future::pending().await
        }
        Work::Stream { .. } => {
            let channel = server.create_channel(CHANNEL).map_err(failed)?;
            ready(&address, &key)?;
            tokio::spawn(count(channel)).await?
        }
        // Its clients talk to each other, or not at all.
        Work::FanOut { .. } | Work::Connect | Work::Idle { .. } => {
            ready(&address, &key)?;
            std::future::pending().await
        }
    }
}

async fn echo(mut channel: Channel) -> io::Result<()> {
    while let Some(messages) = channel.listen_many().await {
        // A client that has gone meanwhile does not wait for it.
        let _ = channel.send_many(messages.sender(), messages.iter()).await;
    }
    Ok(())
}

/// Counts messages, and answers whoever asks how many there were.
async fn count(mut channel: Channel) -> io::Result<()> {
    let mut count: u64 = 0;
    while let Some(mut messages) = channel.listen_many().await {
        if !messages.is_request() {
            count += messages.len() as u64;
        } else if let Some(mut question) = messages.next() {
            question.reply(&count.to_le_bytes()).await.map_err(failed)?;
        }
    }
    Ok(())
}
