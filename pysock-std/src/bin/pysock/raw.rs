//! `pysock listen --raw`: messages of any size into a pipe or file, in memory that does not grow with them.

use std::io::IsTerminal;

use pysock_std::{
    PrefixMessage,
    client::{PeerPrefixListener, PrefixChannel},
};

use crate::{
    args::{Global, Listen},
    exit::{Exit, Stop},
    join::{self, Stay},
    print::{self, tell},
    status::{Ending, tell_status},
};

/// Where messages come from. Not both at once: in a file nothing would tell them apart.
enum From {
    Channel(PrefixChannel),
    Peers(PeerPrefixListener),
}

impl From {
    async fn listen(&mut self) -> Option<PrefixMessage> {
        match self {
            From::Channel(channel) => channel.listen().await,
            From::Peers(peers) => peers.listen().await,
        }
    }
}

pub(crate) async fn listen(global: &Global, options: Listen) -> Result<(), Stop> {
    if std::io::stdout().is_terminal() {
        return Err(Stop::usage(
            "--raw is not for a terminal, which would obey what others send: write it to a file or pipe",
        ));
    }
    let mut ending = Ending::new()?;
    let client = join::connect(global, &options.to, Stay::Reconnect).await?;
    let mut status = client.status();
    let opened = match &options.channel {
        Some(name) => client.create_prefix_channel(name.as_str()).await.map(From::Channel),
        None => client.listen_peer_prefixes().map(From::Peers),
    };
    let mut from = match opened {
        Ok(from) => from,
        Err(error) => return Err(join::give_up(client, error, "the server").await),
    };
    let place = options.channel.map(|channel| format!(" on {channel}")).unwrap_or_default();
    tell(&format!("{} is listening{place}", client.name()));
    let mut left = options.count;
    while left != Some(0) {
        tokio::select! {
            message = from.listen() => {
                let Some(message) = message else { return Ok(client.close().await?) };
                tokio::select! {
                    written = write(message) => written?,
                    () = ending.wait() => {
                        return Err(Stop::new(Exit::Undelivered, "stopped within a message"));
                    }
                }
                left = left.map(|left| left - 1);
            }
            Ok(()) = status.changed() => tell_status(&status.borrow_and_update()),
            () = ending.wait() => {
                // Asked to stop: how the connection ends is of no interest.
                let _ = client.close().await;
                return Ok(());
            }
        }
    }
    Ok(client.close().await?)
}

/// Writes a message while it arrives.
async fn write(mut message: PrefixMessage) -> Result<(), Stop> {
    let mut bytes = 0;
    loop {
        match message.chunk().await {
            Ok(Some(chunk)) => {
                bytes += chunk.len() as u64;
                tokio::task::block_in_place(|| print::out(&chunk))?;
            }
            Ok(None) => {
                tell(&format!("{bytes} bytes from {}", message.sender()));
                return Ok(());
            }
            Err(error) => {
                let (sender, lost) = (message.sender(), Exit::Undelivered);
                let why =
                    format!("the message from {sender} is cut off after {bytes} bytes: {error}");
                return Err(Stop::new(lost, why));
            }
        }
    }
}
