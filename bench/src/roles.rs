//! The two sides of a measurement, each in a process of its own: this program again, with another first argument.

use std::{
    io::{self, Read as _, Write as _},
    time::Duration,
};

use clap::Args;

use crate::{
    expert::{self, Files},
    meter,
    outcome::{Outcome, Stopwatch},
    peer::Peer,
    product, pysock,
    work::{Mode, Row, Work, find},
};

/// What both sides have to know.
#[derive(Args)]
pub(crate) struct Side {
    #[arg(long)]
    peer: Peer,
    #[arg(long)]
    row: String,
    /// Where keys and certificates are.
    #[arg(long)]
    folder: std::path::PathBuf,
    /// Client: where the server listens.
    #[arg(long, default_value = "")]
    address: String,
    /// Client: the server's key, if it has one. Z85, libzmq's text form of keys, may begin with a hyphen.
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    key: String,
    /// Client: the server's process.
    #[arg(long, default_value_t = 0)]
    server: u32,
    /// Client: how long to measure.
    #[arg(long, default_value_t = 1000)]
    millis: u64,
}

/// What a client does, and whereto.
#[derive(Clone)]
pub(crate) struct Job {
    pub(crate) work: Work,
    pub(crate) mode: Mode,
    pub(crate) address: String,
    pub(crate) key: String,
    server: u32,
    duration: Duration,
}

impl Job {
    pub(crate) fn start(&self) -> Stopwatch {
        Stopwatch::start(self.server, self.duration)
    }

    /// Opens connections, lets them rest, and sees how much larger the server has become.
    pub(crate) async fn idle<T>(
        &self,
        count: usize,
        mut open: impl AsyncFnMut() -> io::Result<T>,
    ) -> io::Result<Outcome> {
        // The first connection makes what all share.
        let _first = open().await?;
        tokio::time::sleep(Duration::from_millis(100)).await;
        let before = meter::rss(self.server)?;
        let mut open_ones = Vec::with_capacity(count);
        for _ in 0..count {
            open_ones.push(open().await?);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        let watch = self.start();
        tokio::time::sleep(self.duration).await;
        let grown = meter::rss(self.server)? - before;
        Ok(Outcome { count: grown / count as f64, ..watch.stop(1)? })
    }
}

fn row(side: &Side) -> io::Result<&'static Row> {
    find(&side.row).ok_or_else(|| io::Error::other("there is no such row"))
}

fn runtime(peer: Peer) -> io::Result<tokio::runtime::Runtime> {
    let mut builder = match peer {
        Peer::PysockThreads => tokio::runtime::Builder::new_multi_thread(),
        _ => tokio::runtime::Builder::new_current_thread(),
    };
    builder.enable_all().build()
}

fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// Serves until standard input ends, so that no server outlives whoever started it.
pub(crate) fn server(side: &Side) -> io::Result<()> {
    meter::raise_file_limit()?;
    let Row { work, mode, .. } = *row(side)?;
    std::thread::spawn(|| {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    #[cfg(feature = "zmq")]
    if side.peer == Peer::Zmq {
        return crate::zeromq::server(work, |address, key| say(&format!("READY {address} {key}")));
    }
    let runtime = runtime(side.peer)?;
    if side.peer.is_pysock() {
        let ready = |address: &str, key: &str| say(&format!("READY {address} {key}"));
        return runtime.block_on(pysock::server(side.peer, work, mode, ready));
    }
    let files = Files(side.folder.clone());
    let ready = |address: &str| {
        // Without a listener there is nobody to serve.
        let _ = say(&format!("READY {address}"));
    };
    runtime.block_on(expert::server(side.peer, &files, ready))
}

/// Does the work once and says what it found.
pub(crate) fn client(side: &Side) -> io::Result<()> {
    meter::raise_file_limit()?;
    let Row { work, mode, .. } = *row(side)?;
    let job = Job {
        work,
        mode,
        address: side.address.clone(),
        key: side.key.clone(),
        server: side.server,
        duration: Duration::from_millis(side.millis),
    };
    let (peer, files) = (side.peer, Files(side.folder.clone()));
    #[cfg(feature = "zmq")]
    if peer == Peer::Zmq {
        let outcome = crate::zeromq::client(&job)?;
        return say(&outcome.line());
    }
    let outcome = runtime(peer)?.block_on(async {
        match peer {
            peer if peer.is_pysock() => pysock::client(peer, &job).await,
            peer if peer.is_expert() => expert::client(peer, &files, &job).await,
            peer => product::client(peer, &files, &job).await,
        }
    })?;
    say(&outcome.line())
}
