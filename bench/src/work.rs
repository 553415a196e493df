//! The rows: what is to be done, in words that every peer understands.

use crate::peer::Peer;

/// Messages on their way at a time in the rows that grow: sent together, answered before the next ones. So as many
/// share a record with one client as with ten thousand, and what grows is what the number costs.
pub(crate) const BURST: usize = 64;
/// Channels that one pysock client opens in the rows that grow.
pub(crate) const CHANNELS_EACH: usize = 1000;
/// Connections being made at a time.
pub(crate) const CONNECTING: usize = 16;
/// The last message of a stream, longer than none and shorter than any that counts.
pub(crate) const END: &[u8] = b"end";

/// A job.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Work {
    /// Every client sends `window` messages, and a new one for each that came back.
    Echo { clients: usize, window: usize, size: usize },
    /// One client sends as fast as the server takes it; the server says how many came.
    Stream { size: usize },
    /// One client sends to the server, which passes it to every other client.
    FanOut { receivers: usize, size: usize },
    /// A client connects, both sides prove who they are, the server says welcome.
    Connect,
    /// Connections that do nothing.
    Idle { connections: usize },
    /// Clients that each ask now and then, and how long they wait for the answer; perhaps beside one that sends as much as
    /// it can.
    Beside { flooded: bool },
    /// `BURST` messages on their way, all of one client, going round over that many clients.
    Clients { count: usize },
    /// The same, going round over so many channels of a few clients.
    Channels { count: usize },
}

/// How whoever waits for a message does so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    /// It sleeps until the kernel wakes it.
    Parking,
    /// pysock polls for a while before it sleeps; all others sleep.
    LowLatency,
}

/// A line of the table.
pub(crate) struct Row {
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    pub(crate) work: Work,
    /// Both sides on one core.
    pub(crate) pinned: bool,
    pub(crate) mode: Mode,
    /// Takes long, and only runs when it is named, or with `--long`.
    pub(crate) long: bool,
}

/// What a figure counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unit {
    PerSecond,
    Megabytes,
    /// Memory for each connection, in KiB.
    Kibibytes,
    /// How long all but one of a hundred waited at most.
    Microseconds,
}

impl Unit {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Unit::PerSecond => "/s",
            Unit::Megabytes => "MB/s",
            Unit::Kibibytes => "KiB",
            Unit::Microseconds => "µs",
        }
    }

    /// Not so much a second, but a size.
    pub(crate) fn less_is_better(self) -> bool {
        matches!(self, Unit::Kibibytes | Unit::Microseconds)
    }
}

impl Work {
    pub(crate) fn unit(self) -> Unit {
        match self {
            Work::Stream { size } if size >= 1024 => Unit::Megabytes,
            Work::Idle { .. } => Unit::Kibibytes,
            Work::Beside { .. } => Unit::Microseconds,
            _ => Unit::PerSecond,
        }
    }

    /// How many connections there are at a time, where that is what it is about.
    pub(crate) fn connections(self) -> usize {
        match self {
            Work::Idle { connections: count } | Work::Clients { count } => count,
            _ => 0,
        }
    }

    /// Whether a peer can do it at all.
    pub(crate) fn suits(self, peer: Peer) -> bool {
        match self {
            // Nobody else has channels of this kind.
            Work::Channels { .. } => peer == Peer::Pysock,
            // A goal of pysock's own server.
            Work::Beside { .. } => matches!(peer, Peer::Pysock | Peer::PysockShards),
            // Only pysock has a layer that the server cannot read.
            Work::FanOut { receivers, .. } => receivers == 1 || peer != Peer::PysockEndToEnd,
            _ => peer != Peer::PysockEndToEnd,
        }
    }
}

const fn row(id: &'static str, title: &'static str, work: Work) -> Row {
    Row { id, title, work, pinned: false, mode: Mode::Parking, long: false }
}

const fn echo(clients: usize, window: usize) -> Work {
    Work::Echo { clients, window, size: 64 }
}

/// All of them, in the order of the table.
pub(crate) const ROWS: &[Row] = &[
    row("echo", "echo 64 B, one client", echo(1, 1)),
    Row { pinned: true, ..row("echo-pinned", "echo 64 B, pinned to one core", echo(1, 1)) },
    Row {
        mode: Mode::LowLatency,
        ..row("echo-low-latency", "echo 64 B, pysock in low-latency mode", echo(1, 1))
    },
    row("stream-64", "stream 64 B", Work::Stream { size: 64 }),
    row("stream-1k", "stream 1 KiB", Work::Stream { size: 1024 }),
    row("stream-16k", "stream 16 KiB", Work::Stream { size: 16 << 10 }),
    row("stream-1m", "stream 1 MiB", Work::Stream { size: 1 << 20 }),
    row("hundred-1", "100 clients echo 64 B, window 1", echo(100, 1)),
    row("hundred-64", "100 clients echo 64 B, window 64", echo(100, 64)),
    row("fan-out-64", "fan-out 1 → 100, 64 B", Work::FanOut { receivers: 100, size: 64 }),
    row("fan-out-1k", "fan-out 1 → 100, 1 KiB", Work::FanOut { receivers: 100, size: 1024 }),
    row("relay-64", "relay client → client 64 B", Work::FanOut { receivers: 1, size: 64 }),
    row("relay-1k", "relay client → client 1 KiB", Work::FanOut { receivers: 1, size: 1024 }),
    row("beside-none", "p99 of ten clients that ask now and then", Work::Beside { flooded: false }),
    row("beside-flood", "the same beside a flooding client", Work::Beside { flooded: true }),
    row("connect", "new authenticated connections", Work::Connect),
    row("idle-1000", "server RSS per idle connection, of 1 000", Work::Idle { connections: 1000 }),
    Row {
        long: true,
        ..row(
            "idle-10000",
            "server RSS per idle connection, of 10 000",
            Work::Idle { connections: 10_000 },
        )
    },
    row("clients-1", "bursts of 64 over 1 client", Work::Clients { count: 1 }),
    row("clients-10", "bursts of 64 over 10 clients", Work::Clients { count: 10 }),
    row("clients-100", "bursts of 64 over 100 clients", Work::Clients { count: 100 }),
    row("clients-1000", "bursts of 64 over 1 000 clients", Work::Clients { count: 1000 }),
    Row {
        long: true,
        ..row("clients-10000", "bursts of 64 over 10 000 clients", Work::Clients { count: 10_000 })
    },
    row("channels-1", "bursts of 64 over 1 channel", Work::Channels { count: 1 }),
    row("channels-10", "bursts of 64 over 10 channels", Work::Channels { count: 10 }),
    row("channels-100", "bursts of 64 over 100 channels", Work::Channels { count: 100 }),
    row("channels-1000", "bursts of 64 over 1 000 channels", Work::Channels { count: 1000 }),
    row("channels-10000", "bursts of 64 over 10 000 channels", Work::Channels { count: 10_000 }),
];

/// The row of that name.
pub(crate) fn find(id: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.id == id)
}
