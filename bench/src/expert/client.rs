//! The clients: as many as the work wants, in one process, on one thread.

use std::{io, sync::Arc};

use tokio::task::JoinSet;

use super::{
    frame::{self, Inbox},
    role,
    tls::Files,
    wire::{Kind, Wire},
};
use crate::{
    outcome::{Outcome, Stopwatch},
    peer::Peer,
    roles::Job,
    work::{BURST, CONNECTING, END, Work},
};

/// Does the work once.
pub(crate) async fn run(peer: Peer, files: &Files, job: &Job) -> io::Result<Outcome> {
    let kind = Arc::new(Kind::client(peer, files)?);
    match job.work {
        Work::Echo { clients, window, size } => echo(&kind, job, clients, window, size).await,
        Work::Clients { count } => round(&kind, job, count).await,
        Work::Stream { size } => stream(&kind, job, size).await,
        Work::FanOut { receivers, size } => fan_out(&kind, job, receivers, size).await,
        Work::Connect => connect(&kind, job).await,
        Work::Idle { connections } => {
            job.idle(connections, || open(&kind, &job.address, role::COUNT)).await
        }
        Work::Channels { .. } | Work::Beside { .. } => {
            Err(io::Error::other("that is for pysock alone"))
        }
    }
}

/// Connects, says what it is for, and hears the server's welcome.
async fn open(kind: &Kind, address: &str, is: u8) -> io::Result<Wire> {
    let mut wire = kind.connect(address).await?;
    let mut out = Vec::new();
    frame::push(&mut out, &[is]);
    wire.write(&out).await?;
    wire.receive(&mut Inbox::new()).await?;
    Ok(wire)
}

async fn open_all(kind: &Kind, job: &Job, count: usize, is: u8) -> io::Result<Vec<Wire>> {
    let mut wires = Vec::with_capacity(count);
    for _ in 0..count {
        wires.push(open(kind, &job.address, is).await?);
    }
    Ok(wires)
}

async fn echo(
    kind: &Kind,
    job: &Job,
    clients: usize,
    window: usize,
    size: usize,
) -> io::Result<Outcome> {
    let wires = open_all(kind, job, clients, role::ECHO).await?;
    let watch = Arc::new(job.start());
    let mut tasks = JoinSet::new();
    for wire in wires {
        tasks.spawn(echoes(wire, watch.clone(), window, size));
    }
    let mut count = 0;
    while let Some(done) = tasks.join_next().await {
        count += done.map_err(io::Error::other)??;
    }
    watch.stop(count)
}

/// Keeps `window` messages on their way: answers all that a read brings with one write.
async fn echoes(
    mut wire: Wire,
    watch: Arc<Stopwatch>,
    window: usize,
    size: usize,
) -> io::Result<u64> {
    let payload = vec![7; size];
    let (mut inbox, mut out) = (Inbox::new(), Vec::new());
    for _ in 0..window {
        frame::push(&mut out, &payload);
    }
    wire.write(&out).await?;
    let (mut count, mut under_way) = (0, window);
    while under_way > 0 {
        if !wire.read(&mut inbox).await? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let over = watch.is_over();
        out.clear();
        while inbox.next()?.is_some() {
            count += 1;
            if over {
                under_way -= 1;
            } else {
                frame::push(&mut out, &payload);
            }
        }
        wire.flush(&mut out).await?;
    }
    Ok(count)
}

/// Bursts of one client after the other.
async fn round(kind: &Kind, job: &Job, clients: usize) -> io::Result<Outcome> {
    let mut wires = open_all(kind, job, clients, role::ECHO).await?;
    let mut burst = Vec::new();
    for _ in 0..BURST {
        frame::push(&mut burst, &[7; 64]);
    }
    let (mut inbox, mut count) = (Inbox::new(), 0);
    let watch = job.start();
    loop {
        for wire in &mut wires {
            if watch.is_over() {
                return watch.stop(count);
            }
            wire.write(&burst).await?;
            let mut under_way = BURST;
            while under_way > 0 {
                if !wire.read(&mut inbox).await? {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                while inbox.next()?.is_some() {
                    under_way -= 1;
                    count += 1;
                }
            }
        }
    }
}

/// Sends until the time is over.
async fn send_all(wire: &mut Wire, watch: &Stopwatch, size: usize, end: &[u8]) -> io::Result<()> {
    let (payload, mut out) = (vec![7; size], Vec::with_capacity(2 * frame::CHUNK));
    let mut sent = 0_u32;
    // The clock is looked at about once for each write.
    let often = (frame::CHUNK / size).max(1) as u32;
    while !sent.is_multiple_of(often) || !watch.is_over() {
        wire.message(&mut out, &payload).await?;
        sent = sent.wrapping_add(1);
    }
    wire.message(&mut out, end).await?;
    wire.flush(&mut out).await
}

async fn stream(kind: &Kind, job: &Job, size: usize) -> io::Result<Outcome> {
    let mut wire = open(kind, &job.address, role::COUNT).await?;
    let watch = job.start();
    send_all(&mut wire, &watch, size, &[]).await?;
    let answer = wire.receive(&mut Inbox::new()).await?;
    let count = answer.first_chunk().copied().map(u64::from_le_bytes);
    watch.stop(count.unwrap_or(0))
}

async fn fan_out(kind: &Kind, job: &Job, receivers: usize, size: usize) -> io::Result<Outcome> {
    let wires = open_all(kind, job, receivers, role::RECEIVE).await?;
    let mut publisher = open(kind, &job.address, role::PUBLISH).await?;
    let mut tasks = JoinSet::new();
    for wire in wires {
        tasks.spawn(receive(wire));
    }
    let watch = job.start();
    send_all(&mut publisher, &watch, size, END).await?;
    let mut count = 0;
    while let Some(done) = tasks.join_next().await {
        count += done.map_err(io::Error::other)??;
    }
    watch.stop(count)
}

/// Counts until the end.
async fn receive(mut wire: Wire) -> io::Result<u64> {
    let (mut inbox, mut count) = (Inbox::new(), 0);
    while wire.read(&mut inbox).await? {
        while let Some(message) = inbox.next()? {
            if message == END {
                return Ok(count);
            }
            count += 1;
        }
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}

async fn connect(kind: &Arc<Kind>, job: &Job) -> io::Result<Outcome> {
    let watch = Arc::new(job.start());
    let mut tasks = JoinSet::new();
    for _ in 0..CONNECTING {
        let (kind, watch, address) = (kind.clone(), watch.clone(), job.address.clone());
        tasks.spawn(async move {
            let mut count = 0;
            while !watch.is_over() {
                open(&kind, &address, role::COUNT).await?;
                count += 1;
            }
            Ok::<u64, io::Error>(count)
        });
    }
    let mut count = 0;
    while let Some(done) = tasks.join_next().await {
        count += done.map_err(io::Error::other)??;
    }
    watch.stop(count)
}
