//! `pysock send`: one message, small or endless, in memory that does not grow with it.

use std::io::{IsTerminal, Write};

use pysock_std::{Client, Data, Error, StreamWriter, Target};

use crate::{
    args::{Global, Send},
    exit::Stop,
    input::Input,
    join::{self, Stay},
    print::tell,
};

/// What is not longer is sent in one piece, in bytes; what is longer is streamed in pieces of this size.
const PIECE: usize = 64 << 10;

/// Who gets the message.
enum Receiver {
    One(Target),
    All,
}

pub(crate) async fn send(global: &Global, options: Send) -> Result<(), Stop> {
    let mut input = Input::of(options.data)?;
    let (receiver, to) = match options.to {
        Some(client) => (Receiver::One(client.as_str().into()), client),
        None if options.all => (Receiver::All, "everyone".to_owned()),
        None => (Receiver::One(Target::SERVER), "the server".to_owned()),
    };
    let client = join::connect(global, &options.server, Stay::Once).await?;
    let channel = options.channel.as_str();
    let sent = match deliver(&client, channel, receiver, &mut input).await {
        Ok(sent) => sent,
        Err(Trouble::Here(stop)) => return Err(stop),
        Err(Trouble::There(error)) => return Err(join::give_up(client, error, &to).await),
    };
    client.close().await.map_err(|error| join::named(error, &to))?;
    if global.json {
        crate::print::out_json(&serde_json::json!({ "sent": sent, "to": to }))
    } else {
        tell(&format!("sent {sent} bytes to {to}; the server has confirmed it"));
        Ok(())
    }
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
async fn deliver(
    client: &Client,
    name: &str,
    receiver: Receiver,
    input: &mut Input,
) -> Result<u64, Trouble> {
    let channel = client.create_channel(name).await?;
    let first = input.next(PIECE).await?;
    if first.len() < PIECE {
        // Nobody listens here: what others send on the channel must not pile up.
        drop(channel);
        let bytes = first.len() as u64;
        match receiver {
            Receiver::One(target) => client.send_to(name, target, first).await?,
            Receiver::All => client.publish(name, first).await?,
        }
        return Ok(bytes);
    }
    let writer = match receiver {
        Receiver::One(target) => channel.stream_to(target, None).await?,
        Receiver::All => channel.publish_stream(None).await?,
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
