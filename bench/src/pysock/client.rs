//! The clients' programs.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use pysock_std::{
    Client, Target,
    client::{Channel, PeerListener},
    config::{ClientConfig, new_secret_key},
    proto::SecretKey,
};
use tokio::task::JoinSet;

use super::{CHANNEL, beside, client_mode, failed, numbered, suite};
use crate::{
    outcome::{Outcome, Stopwatch},
    peer::Peer,
    roles,
    work::{BURST, CHANNELS_EACH, CONNECTING, END, Work},
};

/// Bytes of messages that are sent together, between two looks at the clock.
const TOGETHER: usize = 16 << 10;
/// Identities that connect by turns: none replaces its own connection that is still being closed.
const IDENTITIES: usize = 512;
/// How long the answer to all that was sent may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is to be done, and by which of the peers that are pysock.
#[derive(Clone)]
pub(super) struct Job {
    of: roles::Job,
    peer: Peer,
}

impl std::ops::Deref for Job {
    type Target = roles::Job;
    fn deref(&self) -> &roles::Job {
        &self.of
    }
}

/// Does the work once.
pub(crate) async fn run(peer: Peer, of: &roles::Job) -> io::Result<Outcome> {
    let job = &Job { of: of.clone(), peer };
    match job.work {
        Work::Echo { clients, window, size } => echo(job, clients, window, size).await,
        Work::Clients { count } => {
            let clients = join_all(job, count).await?;
            in_turns(job, clients).await
        }
        Work::Channels { count } => many_channels(job, count).await,
        Work::Beside { flooded } => beside::run(job, flooded).await,
        Work::Stream { size } => stream(job, size).await,
        Work::FanOut { size, .. } if peer == Peer::PysockEndToEnd => end_to_end(job, size).await,
        Work::FanOut { receivers, size } => fan_out(job, receivers, size).await,
        Work::Connect => connect(job).await,
        Work::Idle { connections } => {
            let mut number = 0;
            let open = async || {
                number += 1;
                join(job, &numbered("client", number), key()?).await
            };
            job.idle(connections, open).await
        }
    }
}

pub(super) fn key() -> io::Result<SecretKey> {
    new_secret_key().map_err(failed)
}

/// A client that knows its server's key, with the suite that its peer is measured with.
pub(super) async fn join(job: &Job, name: &str, key: SecretKey) -> io::Result<Client> {
    let mut config = ClientConfig::new(key);
    config.server_key = Some(job.key.parse().map_err(failed)?);
    let suite = suite(job.peer);
    if job.peer == Peer::PysockChacha {
        config.suite = Some(suite);
    }
    client_mode(&mut config, job.mode);
    let builder = Client::from_config(config).name(name).map_err(failed)?;
    let client = builder.connect(&job.address).await.map_err(failed)?;
    if client.suite() != suite {
        let used = client.suite();
        return Err(io::Error::other(format!("the cipher suite is {used:?}, not {suite:?}")));
    }
    Ok(client)
}

/// Clients with their channel.
pub(super) async fn join_all(job: &Job, count: usize) -> io::Result<Vec<(Client, Channel)>> {
    let mut all = Vec::with_capacity(count);
    for number in 0..count {
        let client = join(job, &numbered("client", number), key()?).await?;
        let channel = client.create_channel(CHANNEL).await.map_err(failed)?;
        all.push((client, channel));
    }
    Ok(all)
}

async fn sum(mut tasks: JoinSet<io::Result<u64>>) -> io::Result<u64> {
    let mut count = 0;
    while let Some(done) = tasks.join_next().await {
        count += done.map_err(io::Error::other)??;
    }
    Ok(count)
}

pub(super) fn gone() -> io::Error {
    io::Error::other("the client is over")
}

async fn echo(job: &Job, clients: usize, window: usize, size: usize) -> io::Result<Outcome> {
    let channels = join_all(job, clients).await?;
    let payload = Bytes::from(vec![7; size]);
    let watch = Arc::new(job.start());
    let mut tasks = JoinSet::new();
    for (client, channel) in channels {
        let (watch, payload) = (watch.clone(), payload.clone());
        tasks.spawn(async move {
            let _client = client;
            echoes(channel, &watch, window, &payload).await
        });
    }
    watch.stop(sum(tasks).await?)
}

/// Keeps `window` messages on their way.
async fn echoes(
    mut channel: Channel,
    watch: &Stopwatch,
    window: usize,
    payload: &Bytes,
) -> io::Result<u64> {
    channel.send_many(std::iter::repeat_n(payload, window)).await.map_err(failed)?;
    let (mut count, mut under_way) = (0, window);
    while under_way > 0 {
        let back = channel.listen_many().await.ok_or_else(gone)?.len();
        count += back as u64;
        if watch.is_over() {
            under_way -= back;
        } else {
            channel.send_many(std::iter::repeat_n(payload, back)).await.map_err(failed)?;
        }
    }
    Ok(count)
}

/// Bursts on one channel after the other, each with what keeps it open.
async fn in_turns<K>(job: &Job, mut channels: Vec<(K, Channel)>) -> io::Result<Outcome> {
    let payload = Bytes::from(vec![7; 64]);
    let (watch, mut count) = (job.start(), 0);
    loop {
        for (_, channel) in &mut channels {
            if watch.is_over() {
                return watch.stop(count);
            }
            channel.send_many(std::iter::repeat_n(&payload, BURST)).await.map_err(failed)?;
            let mut under_way = BURST;
            while under_way > 0 {
                under_way -= channel.listen_many().await.ok_or_else(gone)?.len();
            }
            count += BURST as u64;
        }
    }
}

async fn many_channels(job: &Job, count: usize) -> io::Result<Outcome> {
    let mut channels = Vec::with_capacity(count);
    for number in 0..count.div_ceil(CHANNELS_EACH) {
        let client = Arc::new(join(job, &numbered("client", number), key()?).await?);
        for channel in 0..CHANNELS_EACH.min(count - number * CHANNELS_EACH) {
            let name = numbered(CHANNEL, channel);
            let channel = client.create_channel(&name).await.map_err(failed)?;
            channels.push((client.clone(), channel));
        }
    }
    in_turns(job, channels).await
}

/// Calls `send` with messages until the time is over.
pub(super) async fn send_all(
    watch: &Stopwatch,
    size: usize,
    mut send: impl AsyncFnMut(&[Bytes]) -> Result<(), pysock_std::Error>,
) -> io::Result<()> {
    let messages = vec![Bytes::from(vec![7; size]); (TOGETHER / size).max(1)];
    while !watch.is_over() {
        send(&messages).await.map_err(failed)?;
    }
    Ok(())
}

async fn stream(job: &Job, size: usize) -> io::Result<Outcome> {
    let client = join(job, "streamer", key()?).await?;
    let channel = client.create_channel(CHANNEL).await.map_err(failed)?;
    let watch = job.start();
    send_all(&watch, size, async |messages| match messages {
        [large] => channel.send(large.clone()).await,
        small => channel.send_many(small).await,
    })
    .await?;
    let answer = channel.request_within(PATIENCE, Target::SERVER, &[]).await.map_err(failed)?;
    let count = answer.data().first_chunk().copied().map(u64::from_le_bytes);
    watch.stop(count.unwrap_or(0))
}

/// To one receiver by name, or to all on the channel.
async fn fan_out(job: &Job, receivers: usize, size: usize) -> io::Result<Outcome> {
    let mut tasks = JoinSet::new();
    for (client, channel) in join_all(job, receivers).await? {
        tasks.spawn(receive(client, channel));
    }
    let client = join(job, "publisher", key()?).await?;
    let channel = client.create_channel(CHANNEL).await.map_err(failed)?;
    let watch = job.start();
    if receivers == 1 {
        let to = Target::from(numbered("client", 0).as_str());
        let send = async |messages: &[Bytes]| channel.send_many_to(to.clone(), messages).await;
        send_all(&watch, size, send).await?;
        channel.send_to(to, END).await.map_err(failed)?;
    } else {
        send_all(&watch, size, async |messages| channel.publish_many(messages).await).await?;
        channel.publish(END).await.map_err(failed)?;
    }
    watch.stop(sum(tasks).await?)
}

/// Counts until the end.
async fn receive(client: Client, mut channel: Channel) -> io::Result<u64> {
    let (_client, mut count) = (client, 0);
    while let Some(messages) = channel.listen_many().await {
        for message in messages.iter() {
            if message == END {
                return Ok(count);
            }
            count += 1;
        }
    }
    Err(gone())
}

/// From one client to another, sealed for it.
async fn end_to_end(job: &Job, size: usize) -> io::Result<Outcome> {
    let receiver = join(job, "receiver", key()?).await?;
    let mut heard: PeerListener = receiver.listen_peers().map_err(failed)?;
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let (_receiver, mut count) = (receiver, 0);
        while let Some(messages) = heard.listen_many().await {
            for message in messages.iter() {
                if message == END {
                    return Ok(count);
                }
                count += 1;
            }
        }
        Err(gone())
    });
    let client = join(job, "sender", key()?).await?;
    let to = Target::from(&client.handshake("receiver").await.map_err(failed)?);
    let watch = job.start();
    let send = async |messages: &[Bytes]| client.send_many_to_client(to.clone(), messages).await;
    send_all(&watch, size, send).await?;
    client.send_to_client(to, END).await.map_err(failed)?;
    watch.stop(sum(tasks).await?)
}

async fn connect(job: &Job) -> io::Result<Outcome> {
    let each = IDENTITIES / CONNECTING;
    let mut keys = Vec::with_capacity(IDENTITIES);
    for number in 0..IDENTITIES {
        keys.push((numbered("client", number), key()?));
    }
    let watch = Arc::new(job.start());
    let job = Arc::new(job.clone());
    let mut tasks = JoinSet::new();
    for chunk in keys.chunks(each) {
        let (watch, job, mine) = (watch.clone(), job.clone(), chunk.to_vec());
        tasks.spawn(async move {
            let mut count = 0;
            while !watch.is_over() {
                let (name, key) = &mine[count as usize % mine.len()];
                // Dropped, it closes in the background.
                join(&job, name, key.clone()).await?;
                count += 1;
            }
            Ok(count)
        });
    }
    watch.stop(sum(tasks).await?)
}
