//! Where connections run: on the program's own runtime, or shared out over threads with one runtime each.

use std::{future::Future, io, net::SocketAddr, pin::Pin, thread};

use tokio::{net::TcpStream, runtime::Builder, sync::mpsc, task::JoinSet};

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The threads that connections are shared out over. Dropped, it takes no more of them; each thread ends with the last
/// connection that it has.
pub(super) struct Shards {
    /// None: everything runs on the program's own runtime.
    threads: Vec<mpsc::UnboundedSender<Task>>,
    next: usize,
}

impl Shards {
    /// Starts `count` threads; 0 stands for the program's own runtime.
    pub(super) fn start(count: usize) -> io::Result<Self> {
        let threads = (0..count).map(|_| shard()).collect::<io::Result<_>>()?;
        Ok(Shards { threads, next: 0 })
    }

    /// Runs `serve` with the connection until it is over. Each thread gets one in turn: nothing is known about a connection
    /// as it comes, and to move one later would cost the others more than it gains.
    pub(super) fn run<S, F>(&mut self, socket: TcpStream, address: SocketAddr, serve: S)
    where
        S: FnOnce(TcpStream) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let Some(thread) = self.threads.get(self.next) else {
            tokio::spawn(serve(socket));
            return;
        };
        self.next = (self.next + 1) % self.threads.len();
        let lost = move |error| tracing::warn!(%address, %error, "a connection was lost");
        // The thread that serves a socket also has to be the one that looks at it.
        match socket.into_std() {
            Ok(socket) => {
                let task = Box::pin(async move {
                    match TcpStream::from_std(socket) {
                        Ok(socket) => serve(socket).await,
                        Err(error) => lost(error),
                    }
                });
                // It is received: a thread ends only after this has been dropped.
                let _ = thread.send(task);
            }
            Err(error) => lost(error),
        }
    }
}

/// One thread, which serves what it is sent.
fn shard() -> io::Result<mpsc::UnboundedSender<Task>> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (to, mut tasks) = mpsc::unbounded_channel();
    thread::Builder::new().name("pysock-server".into()).spawn(move || {
        runtime.block_on(async {
            let mut serving = JoinSet::new();
            loop {
                tokio::select! {
                    task = tasks.recv() => match task {
                        Some(task) => {
                            serving.spawn(task);
                        }
                        None => break,
                    },
                    Some(_) = serving.join_next() => {}
                }
            }
            while serving.join_next().await.is_some() {}
        });
    })?;
    Ok(to)
}
