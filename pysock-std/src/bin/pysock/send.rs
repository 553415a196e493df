//! `pysock send`: one message, small or endless, in memory that does not grow with it.

use std::io::{IsTerminal, Write};

use pysock_std::{Client, Data, Error, StreamWriter, Target, proto::ChannelName};

use crate::{
    args::{Global, Send, Way},
    exit::{Exit, Stop},
    input::Input,
    join::{self, Stay},
    print::tell,
};

/// What is not longer is sent in one piece, in bytes; what is longer is streamed in pieces of this size.
const PIECE: usize = 64 << 10;

/// Who gets the message, and how.
enum Receiver {
    /// End to end.
    Peer(Target),
    /// On a channel, which the server can read; to everyone there without a target.
    Channel(ChannelName, Option<Target>),
}

pub(crate) async fn send(global: &Global, options: Send) -> Result<(), Stop> {
    let (way, data) = options.words.split()?;
    let (receiver, to) = match way {
        Way::EndToEnd(_) if options.all => return Err(Stop::usage("--all goes to a channel")),
        Way::EndToEnd(client) => (Receiver::Peer(client.as_str().into()), client),
        Way::Channel(name, _) if options.all => (Receiver::Channel(name, None), "everyone".into()),
        Way::Channel(name, Some(client)) => {
            (Receiver::Channel(name, Some(client.as_str().into())), client)
        }
        Way::Channel(name, None) => {
            (Receiver::Channel(name, Some(Target::SERVER)), "the server".into())
        }
    };
    let mut input = Input::of(data)?;
    let end_to_end = matches!(receiver, Receiver::Peer(_));
    let client = join::connect(global, &options.server, Stay::Once).await?;
    let sent = match deliver(&client, receiver, &mut input).await {
        Ok(sent) => sent,
        Err(Trouble::Here(stop)) => return Err(stop),
        Err(Trouble::There(error)) => return Err(join::give_up(client, error, &to).await),
    };
    client.close().await.map_err(|error| match error {
        // Be it the server or the other client that keeps silent.
        Error::Disconnected if end_to_end => Stop::new(
            Exit::Undelivered,
            format!("{to} has not confirmed it; whether it got everything is unknown"),
        ),
        error => join::named(error, &to),
    })?;
    if global.json {
        let report = serde_json::json!({ "sent": sent, "to": to, "end_to_end": end_to_end });
        return crate::print::out_json(&report);
    }
    tell(&match end_to_end {
        true => format!("sent {sent} bytes to {to}, end to end; it has confirmed them"),
        false => format!("sent {sent} bytes to {to}; the server has confirmed it"),
    });
    Ok(())
}

/// Which side has failed.
enum Trouble {
    Here(Stop),
    There(Error),
}

impl From<Stop> for Trouble {
    fn from(stop: Stop) -> Self {
        Trouble::Here(stop)
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Trouble::There(error)
    }
}

/// Sends all of `input`, and returns how many bytes that were.
async fn deliver(client: &Client, to: Receiver, input: &mut Input) -> Result<u64, Trouble> {
    match to {
        Receiver::Peer(peer) => to_peer(client, peer, input).await,
        Receiver::Channel(name, target) => on_channel(client, name.as_str(), target, input).await,
    }
}

async fn to_peer(client: &Client, peer: Target, input: &mut Input) -> Result<u64, Trouble> {
    // Before anything is read: whoever waits for input should know that it has somewhere to go.
    let peer = client.handshake(peer).await?.key;
    let first = input.next(PIECE).await?;
    if first.len() < PIECE {
        let bytes = first.len() as u64;
        client.send_to_client(peer, first).await?;
        return Ok(bytes);
    }
    let writer = client.stream_to_client(peer, None).await?;
    stream(writer, first.into(), input).await
}

async fn on_channel(
    client: &Client,
    name: &str,
    target: Option<Target>,
    input: &mut Input,
) -> Result<u64, Trouble> {
    let channel = client.create_channel(name).await?;
    let first = input.next(PIECE).await?;
    if first.len() < PIECE {
        // Nobody listens here: what others send on the channel must not pile up.
        drop(channel);
        let bytes = first.len() as u64;
        match target {
            Some(target) => client.send_to(name, target, first).await?,
            None => client.publish(name, first).await?,
        }
        return Ok(bytes);
    }
    let writer = match target {
        Some(target) => channel.stream_to(target, None).await?,
        None => channel.publish_stream(None).await?,
    };
    drop(channel);
    stream(writer, first.into(), input).await
}

async fn stream(mut writer: StreamWriter, first: Data, input: &mut Input) -> Result<u64, Trouble> {
    writer.write(first).await?;
    let mut progress = Progress::start(PIECE as u64);
    loop {
        let piece = input.next(PIECE).await?;
        let bytes = piece.len();
        if bytes > 0 {
            writer.write(piece).await?;
            progress.more(bytes as u64);
        }
        if bytes < PIECE {
            break;
        }
    }
    writer.finish().await?;
    progress.end();
    Ok(progress.sent)
}

/// How far it has come, for a person who waits.
struct Progress {
    shown: bool,
    sent: u64,
    last: std::time::Instant,
}

impl Progress {
    fn start(sent: u64) -> Self {
        let shown = std::io::stderr().is_terminal();
        Progress { shown, sent, last: std::time::Instant::now() }
    }

    fn more(&mut self, bytes: u64) {
        self.sent += bytes;
        if self.shown && self.last.elapsed().as_millis() >= 100 {
            self.last = std::time::Instant::now();
            let _ = write!(std::io::stderr(), "\r{:.1} MB ", self.sent as f64 / 1e6);
        }
    }

    fn end(&self) {
        if self.shown {
            let _ = write!(std::io::stderr(), "\r");
        }
    }
}
