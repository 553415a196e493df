//! The clients of a broker.

use std::{io, sync::Arc};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::protocol::{Packet, Protocol};
use crate::{
    expert::{Files, server_name, tls_connector},
    outcome::{Outcome, Stopwatch},
    peer::Peer,
    roles::Job,
    work::{BURST, CONNECTING, END, Work},
};

/// Written and read at a time.
const CHUNK: usize = 64 << 10;
/// What all receivers listen to.
const TOPIC: &str = "all";

/// How to reach the broker.
#[derive(Clone)]
struct Way {
    tls: TlsConnector,
    protocol: Protocol,
    address: String,
}

struct Conn {
    stream: TlsStream<TcpStream>,
    protocol: Protocol,
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    out: Vec<u8>,
}

/// Does the work once.
pub(crate) async fn run(peer: Peer, files: &Files, job: &Job) -> io::Result<Outcome> {
    let protocol = if peer == Peer::Nats { Protocol::Nats } else { Protocol::Mqtt };
    let tls = tls_connector(files, Peer::TlsAes)?;
    let way = Way { tls, protocol, address: job.address.clone() };
    match job.work {
        Work::Echo { clients, window, size } => echo(&way, job, clients, window, size).await,
        Work::Clients { count } => round(&way, job, count).await,
        Work::Stream { size } => stream(&way, job, size).await,
        Work::FanOut { receivers, size } => fan_out(&way, job, receivers, size).await,
        Work::Connect => connect(&way, job).await,
        Work::Idle { connections } => {
            let mut number = 0;
            let open = async || {
                number += 1;
                way.open(number).await
            };
            job.idle(connections, open).await
        }
        Work::Channels { .. } | Work::Beside { .. } => {
            Err(io::Error::other("that is for pysock alone"))
        }
    }
}

impl Way {
    async fn open(&self, number: usize) -> io::Result<Conn> {
        let mut socket = TcpStream::connect(&self.address).await?;
        socket.set_nodelay(true)?;
        if self.protocol == Protocol::Nats {
            // NATS introduces itself before TLS begins: one line, at most a few kilobytes.
            for _ in 0..CHUNK {
                if socket.read_u8().await? == b'\n' {
                    break;
                }
            }
        }
        let stream = self.tls.connect(server_name()?, socket).await?;
        let (bytes, out) = (Vec::new(), Vec::new());
        let mut conn = Conn { stream, protocol: self.protocol, bytes, start: 0, end: 0, out };
        self.protocol.hello(&mut conn.out, number);
        conn.answered().await?;
        Ok(conn)
    }

    async fn subscribed(&self, number: usize, topic: &str) -> io::Result<Conn> {
        let mut conn = self.open(number).await?;
        self.protocol.subscribe(&mut conn.out, topic);
        conn.answered().await?;
        Ok(conn)
    }
}

impl Conn {
    async fn flush(&mut self) -> io::Result<()> {
        if !self.out.is_empty() {
            self.stream.write_all(&self.out).await?;
            self.stream.flush().await?;
            self.out.clear();
        }
        Ok(())
    }

    fn publish(&mut self, topic: &str, payload: &[u8]) {
        self.protocol.publish(&mut self.out, topic, payload);
    }

    async fn read(&mut self) -> io::Result<()> {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.bytes.len() < self.end + CHUNK {
            self.bytes.resize(self.end + CHUNK, 0);
        }
        match self.stream.read(&mut self.bytes[self.end..]).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                self.end += count;
                Ok(())
            }
        }
    }

    fn next(&mut self) -> io::Result<Option<(Packet, &[u8])>> {
        let bytes = &self.bytes[self.start..self.end];
        let Some((packet, length)) = self.protocol.parse(bytes)? else { return Ok(None) };
        self.start += length;
        let payload = match &packet {
            Packet::Message(range) => &bytes[range.clone()],
            _ => &[],
        };
        Ok(Some((packet, payload)))
    }

    /// Sends what there is and waits for its answer.
    async fn answered(&mut self) -> io::Result<()> {
        self.flush().await?;
        loop {
            while let Some((packet, _)) = self.next()? {
                if packet == Packet::Answer {
                    return Ok(());
                }
            }
            self.read().await?;
        }
    }

    /// Counts messages of one read; `None` if the last of all was among them.
    async fn messages(&mut self) -> io::Result<(u64, bool)> {
        self.read().await?;
        let mut count = 0;
        while let Some((packet, payload)) = self.next()? {
            if payload == END {
                return Ok((count, true));
            }
            count += u64::from(packet != Packet::Other);
        }
        Ok((count, false))
    }
}

async fn sum(mut tasks: JoinSet<io::Result<u64>>) -> io::Result<u64> {
    let mut count = 0;
    while let Some(done) = tasks.join_next().await {
        count += done.map_err(io::Error::other)??;
    }
    Ok(count)
}

async fn echo_clients(way: &Way, count: usize) -> io::Result<Vec<(String, Conn)>> {
    let mut all = Vec::with_capacity(count);
    for number in 0..count {
        let topic = format!("c{number}");
        let conn = way.subscribed(number, &topic).await?;
        all.push((topic, conn));
    }
    Ok(all)
}

async fn echo(
    way: &Way,
    job: &Job,
    clients: usize,
    window: usize,
    size: usize,
) -> io::Result<Outcome> {
    let clients = echo_clients(way, clients).await?;
    let watch = Arc::new(job.start());
    let mut tasks = JoinSet::new();
    for (topic, mut conn) in clients {
        let watch = watch.clone();
        tasks.spawn(async move {
            let payload = vec![7; size];
            let (mut count, mut under_way) = (0, window as u64);
            for _ in 0..window {
                conn.publish(&topic, &payload);
            }
            while under_way > 0 {
                conn.flush().await?;
                let (came, _) = conn.messages().await?;
                count += came;
                if watch.is_over() {
                    under_way -= came;
                    continue;
                }
                for _ in 0..came {
                    conn.publish(&topic, &payload);
                }
            }
            Ok(count)
        });
    }
    watch.stop(sum(tasks).await?)
}

/// Bursts of one client after the other.
async fn round(way: &Way, job: &Job, clients: usize) -> io::Result<Outcome> {
    let mut clients = echo_clients(way, clients).await?;
    let watch = job.start();
    let mut count = 0;
    loop {
        for (topic, conn) in &mut clients {
            if watch.is_over() {
                return watch.stop(count);
            }
            for _ in 0..BURST {
                conn.publish(topic, &[7; 64]);
            }
            conn.flush().await?;
            let mut came = 0;
            while came < BURST as u64 {
                came += conn.messages().await?.0;
            }
            count += came;
        }
    }
}

/// Publishes until the time is over.
async fn send_all(conn: &mut Conn, watch: &Stopwatch, size: usize) -> io::Result<u64> {
    let payload = vec![7; size];
    let (mut sent, often) = (0_u64, (CHUNK / size).max(1) as u64);
    while !sent.is_multiple_of(often) || !watch.is_over() {
        conn.publish(TOPIC, &payload);
        sent += 1;
        if conn.out.len() >= CHUNK {
            conn.flush().await?;
        }
    }
    Ok(sent)
}

async fn stream(way: &Way, job: &Job, size: usize) -> io::Result<Outcome> {
    let mut conn = way.open(0).await?;
    let watch = job.start();
    let sent = send_all(&mut conn, &watch, size).await?;
    let protocol = conn.protocol;
    protocol.ping(&mut conn.out);
    conn.answered().await?;
    watch.stop(sent)
}

async fn fan_out(way: &Way, job: &Job, receivers: usize, size: usize) -> io::Result<Outcome> {
    let mut tasks = JoinSet::new();
    for number in 0..receivers {
        let mut conn = way.subscribed(number, TOPIC).await?;
        tasks.spawn(async move {
            let mut count = 0;
            loop {
                let (came, over) = conn.messages().await?;
                count += came;
                if over {
                    return Ok(count);
                }
            }
        });
    }
    let mut publisher = way.open(receivers).await?;
    let watch = job.start();
    send_all(&mut publisher, &watch, size).await?;
    publisher.publish(TOPIC, END);
    publisher.flush().await?;
    watch.stop(sum(tasks).await?)
}

async fn connect(way: &Way, job: &Job) -> io::Result<Outcome> {
    let watch = Arc::new(job.start());
    let mut tasks = JoinSet::new();
    for number in 0..CONNECTING {
        let (way, watch) = (way.clone(), watch.clone());
        tasks.spawn(async move {
            let mut count = 0;
            while !watch.is_over() {
                way.open(number).await?;
                count += 1;
            }
            Ok(count)
        });
    }
    watch.stop(sum(tasks).await?)
}
