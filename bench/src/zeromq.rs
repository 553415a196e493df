//! libzmq with CURVE, its own threads and its own batching: DEALER to ROUTER, PUSH to PULL and PUB to SUB.
//!
//! A context has room for about a thousand sockets, so the rows with more are skipped. Only the server's key is checked; a check of the clients' (ZAP) would cost once for each connection.

use std::io;

use zmq::{Context, CurveKeyPair, Message, PollItem, Socket, SocketType};

use crate::{
    outcome::Outcome,
    roles::Job,
    work::{BURST, END, Work},
};

/// What a call of libzmq may wait, in milliseconds.
const PATIENCE: i32 = 20_000;

fn bound(context: &Context, kind: SocketType, keys: &CurveKeyPair) -> zmq::Result<Socket> {
    let socket = context.socket(kind)?;
    socket.set_curve_server(true)?;
    socket.set_curve_secretkey(&keys.secret_key)?;
    socket.set_linger(0)?;
    if kind == SocketType::PUB {
        // Nothing is dropped.
        socket.set_sndhwm(0)?;
    }
    socket.bind("tcp://127.0.0.1:*")?;
    Ok(socket)
}

fn address(socket: &Socket) -> io::Result<String> {
    socket.get_last_endpoint()?.map_err(|_| io::Error::other("an address that is no text"))
}

/// Serves until the process ends. `ready` is told two addresses and the key.
pub(crate) fn server(
    work: Work,
    ready: impl FnOnce(&str, &str) -> io::Result<()>,
) -> io::Result<()> {
    let context = Context::new();
    let keys = CurveKeyPair::new()?;
    let (into, out) = match work {
        Work::FanOut { receivers: 1, .. } => (SocketType::PULL, SocketType::PUSH),
        Work::FanOut { .. } => (SocketType::PULL, SocketType::PUB),
        _ => (SocketType::ROUTER, SocketType::PUB),
    };
    let (into, out) = (bound(&context, into, &keys)?, bound(&context, out, &keys)?);
    let key = zmq::z85_encode(&keys.public_key).map_err(io::Error::other)?;
    // The key may hold anything but a space.
    ready(&format!("{},{}", address(&into)?, address(&out)?), &key)?;
    let mut count = 0_u64;
    loop {
        match work {
            Work::FanOut { .. } => {
                out.send(into.recv_msg(0)?, 0)?;
            }
            Work::Stream { .. } => {
                let (sender, message) = (into.recv_msg(0)?, into.recv_msg(0)?);
                if *message == *END {
                    into.send(sender, zmq::SNDMORE)?;
                    into.send(&count.to_le_bytes()[..], 0)?;
                }
                count += 1;
            }
            _ => {
                // Moved, not copied.
                let (sender, message) = (into.recv_msg(0)?, into.recv_msg(0)?);
                into.send(sender, zmq::SNDMORE)?;
                into.send(message, 0)?;
            }
        }
    }
}

/// Connects, and is there at once; CURVE shakes hands in the background.
fn connected(context: &Context, kind: SocketType, job: &Job, second: bool) -> io::Result<Socket> {
    let socket = context.socket(kind)?;
    let own = CurveKeyPair::new()?;
    socket.set_curve_serverkey(&zmq::z85_decode(&job.key).map_err(io::Error::other)?)?;
    socket.set_curve_publickey(&own.public_key)?;
    socket.set_curve_secretkey(&own.secret_key)?;
    socket.set_rcvtimeo(PATIENCE)?;
    socket.set_sndtimeo(PATIENCE)?;
    socket.set_linger(0)?;
    if kind == SocketType::SUB {
        socket.set_rcvhwm(0)?;
        socket.set_subscribe(b"")?;
    }
    let (first, other) = job.address.split_once(',').unwrap_or_default();
    socket.connect(if second { other } else { first })?;
    Ok(socket)
}

fn dealers(context: &Context, job: &Job, count: usize) -> io::Result<Vec<Socket>> {
    (0..count)
        .map(|_| {
            let socket = connected(context, SocketType::DEALER, job, false)?;
            // Only then is it really connected.
            socket.send(&[7; 64][..], 0)?;
            socket.recv_msg(0)?;
            Ok(socket)
        })
        .collect()
}

/// Does the work once.
pub(crate) fn client(job: &Job) -> io::Result<Outcome> {
    let context = Context::new();
    match job.work {
        Work::Echo { clients, window, size } => {
            echo(&dealers(&context, job, clients)?, job, window, size)
        }
        Work::Clients { count } => round(&dealers(&context, job, count)?, job),
        Work::Stream { size } => {
            let socket = connected(&context, SocketType::DEALER, job, false)?;
            let watch = job.start();
            let payload = vec![7; size];
            while !watch.is_over() {
                socket.send(&payload, 0)?;
            }
            socket.send(END, 0)?;
            let answer = socket.recv_msg(0)?;
            watch.stop(answer.first_chunk().copied().map_or(0, u64::from_le_bytes))
        }
        Work::FanOut { receivers, size } => fan_out(&context, job, receivers, size),
        Work::Connect => {
            let (watch, mut count) = (job.start(), 0);
            while !watch.is_over() {
                // As many at a time as the others make.
                let sockets: Vec<_> = (0..crate::work::CONNECTING)
                    .map(|_| connected(&context, SocketType::DEALER, job, false))
                    .collect::<Result<_, _>>()?;
                for socket in &sockets {
                    socket.send(&[7; 64][..], 0)?;
                }
                for socket in &sockets {
                    socket.recv_msg(0)?;
                    count += 1;
                }
            }
            watch.stop(count)
        }
        Work::Idle { connections } => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
            let open = async || dealers(&context, job, 1);
            runtime.block_on(job.idle(connections, open))
        }
        Work::Channels { .. } | Work::Beside { .. } => {
            Err(io::Error::other("that is for pysock alone"))
        }
    }
}

fn echo(sockets: &[Socket], job: &Job, window: usize, size: usize) -> io::Result<Outcome> {
    let payload = vec![7; size];
    let watch = job.start();
    for _ in 0..window {
        for socket in sockets {
            socket.send(&payload, 0)?;
        }
    }
    let (mut count, mut under_way) = (0, window * sockets.len());
    let mut items: Vec<PollItem<'_>> =
        sockets.iter().map(|socket| socket.as_poll_item(zmq::POLLIN)).collect();
    let mut message = Message::new();
    while under_way > 0 {
        if zmq::poll(&mut items, i64::from(PATIENCE))? == 0 {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let over = watch.is_over();
        for (socket, _) in sockets.iter().zip(&items).filter(|(_, item)| item.is_readable()) {
            while socket.recv(&mut message, zmq::DONTWAIT).is_ok() {
                count += 1;
                if over {
                    under_way -= 1;
                } else {
                    socket.send(&payload, 0)?;
                }
            }
        }
    }
    watch.stop(count)
}

/// Bursts of one client after the other.
fn round(sockets: &[Socket], job: &Job) -> io::Result<Outcome> {
    let watch = job.start();
    let (mut message, mut count) = (Message::new(), 0);
    loop {
        for socket in sockets {
            if watch.is_over() {
                return watch.stop(count);
            }
            for _ in 0..BURST {
                socket.send(&[7; 64][..], 0)?;
            }
            for _ in 0..BURST {
                socket.recv(&mut message, 0)?;
                count += 1;
            }
        }
    }
}

fn fan_out(context: &Context, job: &Job, receivers: usize, size: usize) -> io::Result<Outcome> {
    let kind = if receivers == 1 { SocketType::PULL } else { SocketType::SUB };
    let sockets: Vec<_> =
        (0..receivers).map(|_| connected(context, kind, job, true)).collect::<Result<_, _>>()?;
    // There is no word for it when a subscription has arrived.
    std::thread::sleep(std::time::Duration::from_millis(1000));
    let publisher = connected(context, SocketType::PUSH, job, false)?;
    let watch = job.start();
    std::thread::scope(|scope| {
        let receiving = scope.spawn(move || receive(&sockets));
        let payload = vec![7; size];
        while !watch.is_over() {
            publisher.send(&payload, 0)?;
        }
        publisher.send(END, 0)?;
        let count = receiving.join().map_err(|_| io::Error::other("a receiver failed"))??;
        watch.stop(count)
    })
}

/// Counts until all have reached the end.
fn receive(sockets: &[Socket]) -> io::Result<u64> {
    let (mut count, mut left) = (0, sockets.len());
    let mut items: Vec<PollItem<'_>> =
        sockets.iter().map(|socket| socket.as_poll_item(zmq::POLLIN)).collect();
    let mut message = Message::new();
    while left > 0 {
        if zmq::poll(&mut items, i64::from(PATIENCE))? == 0 {
            return Err(io::ErrorKind::TimedOut.into());
        }
        for (socket, _) in sockets.iter().zip(&items).filter(|(_, item)| item.is_readable()) {
            while socket.recv(&mut message, zmq::DONTWAIT).is_ok() {
                if *message == *END {
                    left -= 1;
                } else {
                    count += 1;
                }
            }
        }
    }
    Ok(count)
}
