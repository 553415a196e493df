//! The server: a task for each connection, one thread.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex, MutexGuard},
};

use bytes::Bytes;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Notify,
};

use super::{
    frame::{self, Inbox},
    role,
    tls::Files,
    wire::{Kind, Wire},
};
use crate::peer::Peer;

/// What may wait for one receiver, in bytes, before the publisher is held up.
const WAITING: usize = 1 << 20;

#[derive(Default)]
struct Receiver {
    queue: Mutex<(VecDeque<Bytes>, usize)>,
    more: Notify,
    room: Notify,
}

type Receivers = Arc<Mutex<Vec<Arc<Receiver>>>>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Serves until the process ends. `ready` is told the address.
pub(crate) async fn run(peer: Peer, files: &Files, ready: impl FnOnce(&str)) -> io::Result<()> {
    let kind = Arc::new(Kind::server(peer, files)?);
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.bind(([127, 0, 0, 1], 0).into())?;
    let listener: TcpListener = socket.listen(4096)?;
    ready(&listener.local_addr()?.to_string());
    let receivers = Receivers::default();
    loop {
        let (socket, _) = listener.accept().await?;
        let (kind, receivers) = (kind.clone(), receivers.clone());
        // How a connection ends is the client's business: it notices what is missing.
        tokio::spawn(async move { serve(&kind, socket, receivers).await });
    }
}

async fn serve(kind: &Kind, socket: TcpStream, receivers: Receivers) -> io::Result<()> {
    let mut wire = kind.accept(socket).await?;
    let mut inbox = Inbox::new();
    let is = wire.receive(&mut inbox).await?.first().copied();
    let mut welcome = Vec::new();
    frame::push(&mut welcome, b"welcome");
    wire.write(&welcome).await?;
    // Nothing is left in the first one: clients wait for the welcome.
    inbox = Inbox::new();
    if is != Some(role::RECEIVE) {
        wire.rest().await?;
    }
    match is {
        Some(role::ECHO) => echo(wire, inbox).await,
        Some(role::COUNT) => count(wire, inbox).await,
        Some(role::PUBLISH) => publish(wire, inbox, &receivers).await,
        Some(role::RECEIVE) => {
            let receiver = Arc::new(Receiver::default());
            lock(&receivers).push(receiver.clone());
            receive(wire, &receiver).await
        }
        _ => Err(io::Error::other("an unknown role")),
    }
}

/// Sends back every message of a read, in one write.
async fn echo(mut wire: Wire, mut inbox: Inbox) -> io::Result<()> {
    while wire.read(&mut inbox).await? {
        let (batch, count) = inbox.batch()?;
        if count > 0 {
            wire.write(batch).await?;
        }
    }
    Ok(())
}

/// Counts messages, and says how many there were when an empty one comes.
async fn count(mut wire: Wire, mut inbox: Inbox) -> io::Result<()> {
    let mut count: u64 = 0;
    while wire.read(&mut inbox).await? {
        while let Some(message) = inbox.next()? {
            if message.is_empty() {
                let mut out = Vec::new();
                frame::push(&mut out, &count.to_le_bytes());
                wire.write(&out).await?;
            } else {
                count += 1;
            }
        }
    }
    Ok(())
}

/// Passes the messages of a read on to every receiver, sharing the memory.
async fn publish(mut wire: Wire, mut inbox: Inbox, receivers: &Receivers) -> io::Result<()> {
    let receivers = lock(receivers).clone();
    while wire.read(&mut inbox).await? {
        let (batch, count) = inbox.batch()?;
        if count == 0 {
            continue;
        }
        let batch = Bytes::copy_from_slice(batch);
        for receiver in &receivers {
            loop {
                let room = receiver.room.notified();
                {
                    let mut queue = lock(&receiver.queue);
                    if queue.1 < WAITING {
                        queue.1 += batch.len();
                        queue.0.push_back(batch.clone());
                        break;
                    }
                }
                room.await;
            }
            receiver.more.notify_one();
        }
    }
    Ok(())
}

/// Writes what is published, with one wake-up for all that waits.
async fn receive(mut wire: Wire, receiver: &Receiver) -> io::Result<()> {
    let mut out = Vec::new();
    loop {
        receiver.more.notified().await;
        loop {
            let Some(first) = pop(receiver) else { break };
            let Some(second) = pop(receiver) else {
                wire.write(&first).await?;
                continue;
            };
            // Small pieces go together.
            out.clear();
            out.extend_from_slice(&first);
            out.extend_from_slice(&second);
            while out.len() < frame::CHUNK
                && let Some(more) = pop(receiver)
            {
                out.extend_from_slice(&more);
            }
            wire.write(&out).await?;
        }
    }
}

fn pop(receiver: &Receiver) -> Option<Bytes> {
    let mut queue = lock(&receiver.queue);
    let bytes = queue.0.pop_front()?;
    queue.1 -= bytes.len();
    drop(queue);
    // Kept for a publisher that is about to wait.
    receiver.room.notify_one();
    Some(bytes)
}
