//! All clients of a soak, and the closing of the books.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{sync::watch, task::JoinSet, time::sleep};

use super::{
    Part,
    client::{Life, Phase, World},
    failed, say, topic_of,
};

/// After so long without any arrival, nothing more is on its way.
const SILENCE: Duration = Duration::from_secs(10);
/// Clients that connect at a time.
const JOINING: u32 = 16;

/// Lives all lives; an error if anything was wrong.
pub(super) async fn run(part: &Part) -> io::Result<()> {
    let clients = part.soak.clients;
    let world = Arc::new(World {
        address: part.address.clone(),
        key: part.key.clone(),
        clients,
        rate: part.soak.rate,
        ledger: super::ledger::Ledger::default(),
        phase: watch::Sender::new(Phase::Joining),
        duration: part.soak.duration(),
        counts: watch::Sender::new((0, 0)),
    });
    let mut counts = world.counts.subscribe();
    let mut lives = JoinSet::new();
    for number in 1..=clients {
        lives.spawn(Life::new(world.clone(), number)?.live());
        wait(&mut counts, &mut lives, |(joined, _)| joined + JOINING > number).await?;
    }
    wait(&mut counts, &mut lives, |(joined, _)| joined == clients).await?;
    say("STARTED")?;
    world.phase.send_replace(Phase::Working);
    wait(&mut counts, &mut lives, |(_, stopped)| stopped == clients).await?;
    settle(&world).await;
    world.phase.send_replace(Phase::Closing);
    while let Some(life) = lives.join_next().await {
        life.map_err(failed)??;
    }
    world.ledger.close(clients, topic_of);
    let totals = world.ledger.totals();
    say(&format!("{totals:#?}"))?;
    match totals.wrong + totals.at_server {
        0 => say("nothing lost, doubled, altered or out of order, but for who was away"),
        wrong => Err(io::Error::other(format!("{wrong} mistakes"))),
    }
}

/// Waits for a count; if a life ends before, with its error.
async fn wait(
    counts: &mut watch::Receiver<(u32, u32)>,
    lives: &mut JoinSet<io::Result<()>>,
    mut enough: impl FnMut((u32, u32)) -> bool,
) -> io::Result<()> {
    tokio::select! {
        reached = counts.wait_for(|counts| enough(*counts)) => reached.map(drop).map_err(failed),
        Some(ended) = lives.join_next() => {
            ended.map_err(failed)??;
            Err(io::Error::other("a client has ended too early"))
        }
    }
}

/// Until all has arrived, or nothing arrives any more.
async fn settle(world: &World) {
    let (mut last, mut since) = (u64::MAX, Instant::now());
    loop {
        let left = world.ledger.under_way(world.clients, topic_of);
        if left == 0 {
            return;
        }
        if left != last {
            (last, since) = (left, Instant::now());
        } else if since.elapsed() >= SILENCE {
            return;
        }
        sleep(Duration::from_millis(200)).await;
    }
}
