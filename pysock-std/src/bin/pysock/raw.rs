//! `pysock listen --raw`: messages of any size into a pipe or file, in memory that does not grow with them.

use std::io::IsTerminal;

use pysock_std::PrefixMessage;

use crate::{
    args::{Global, Listen},
    exit::{Exit, Stop},
    join::{self, Stay},
    print::{self, tell},
    status::{Ending, tell_status},
};

pub(crate) async fn listen(global: &Global, options: Listen) -> Result<(), Stop> {
    if std::io::stdout().is_terminal() {
        return Err(Stop::usage(
            "--raw is not for a terminal, which would obey what others send: write it to a file or pipe",
        ));
    }
    let mut ending = Ending::new()?;
    let client = join::connect(global, &options.to, Stay::Reconnect).await?;
    let mut status = client.status();
    let mut channel = match client.create_prefix_channel(options.channel.as_str()).await {
        Ok(channel) => channel,
        Err(error) => return Err(join::give_up(client, error, "the server").await),
    };
    tell(&format!("{} is listening on {}", client.name(), options.channel));
    let mut left = options.count;
    while left != Some(0) {
        tokio::select! {
            message = channel.listen() => {
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
