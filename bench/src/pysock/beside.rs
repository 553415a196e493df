//! How long polite clients wait, perhaps beside one that floods the server.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use pysock_std::client::Channel;
use tokio::task::JoinSet;

use super::{
    FLOOD,
    client::{Job, gone, join, join_all, key, send_all},
    failed,
};
use crate::outcome::{Outcome, Stopwatch};

/// Clients that ask.
const POLITE: usize = 10;
/// How often each of them does.
const EVERY: Duration = Duration::from_millis(2);
/// Bytes of each message.
const SIZE: usize = 64;

/// The time within which 99 of 100 questions were answered, in microseconds.
pub(super) async fn run(job: &Job, flooded: bool) -> io::Result<Outcome> {
    let channels = join_all(job, POLITE).await?;
    let watch = Arc::new(job.start());
    // In a thread of its own, so that the others wait for the server and not for it.
    let flooding = flooded.then(|| {
        let (job, watch) = (job.clone(), watch.clone());
        std::thread::spawn(move || flood(&job, &watch))
    });
    let mut asking = JoinSet::new();
    for (client, channel) in channels {
        let watch = watch.clone();
        asking.spawn(async move {
            let _client = client;
            ask(channel, &watch).await
        });
    }
    let mut waits = Vec::new();
    while let Some(done) = asking.join_next().await {
        waits.append(&mut done.map_err(io::Error::other)??);
    }
    if let Some(flooding) = flooding {
        flooding.join().map_err(|_| io::Error::other("the flood has ended by itself"))??;
    }
    waits.sort_unstable();
    let p99 = waits.get(waits.len() * 99 / 100).ok_or_else(gone)?;
    Ok(Outcome { count: p99.as_secs_f64() * 1e6, ..watch.stop(waits.len() as u64)? })
}

async fn ask(mut channel: Channel, watch: &Stopwatch) -> io::Result<Vec<Duration>> {
    let mut waits = Vec::new();
    while !watch.is_over() {
        tokio::time::sleep(EVERY).await;
        let asked = Instant::now();
        channel.send(vec![7; SIZE]).await.map_err(failed)?;
        channel.listen().await.ok_or_else(gone)?;
        waits.push(asked.elapsed());
    }
    Ok(waits)
}

fn flood(job: &Job, watch: &Stopwatch) -> io::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let client = join(job, "flooder", key()?).await?;
        let channel = client.create_channel(FLOOD).await.map_err(failed)?;
        send_all(watch, SIZE, async |messages| channel.send_many(messages).await).await
    })
}
