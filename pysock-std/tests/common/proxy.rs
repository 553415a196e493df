//! Somebody on the path: passes bytes on, keeps what a client says, cuts when told.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

pub struct Proxy {
    pub address: SocketAddr,
    state: Arc<State>,
    door: tokio::task::JoinHandle<()>,
}

struct State {
    target: Mutex<SocketAddr>,
    said: Mutex<Vec<u8>>,
    heard: AtomicUsize,
    connections: AtomicUsize,
    cut: watch::Sender<u64>,
    /// Bytes passed on at a time.
    piece: usize,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.door.abort();
    }
}

impl Proxy {
    pub async fn to(target: SocketAddr) -> Proxy {
        Self::in_pieces(target, 65_536).await
    }

    pub async fn in_pieces(target: SocketAddr, piece: usize) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            target: Mutex::new(target),
            said: Mutex::default(),
            heard: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            cut: watch::Sender::new(0),
            piece,
        });
        let shared = state.clone();
        let door = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(pass(client, shared.clone()));
            }
        });
        Proxy { address, state, door }
    }

    /// Breaks every connection.
    pub fn cut(&self) {
        self.state.cut.send_modify(|n| *n += 1);
    }

    /// The next connections go there.
    pub fn lead_to(&self, target: SocketAddr) {
        *self.state.target.lock().unwrap() = target;
    }

    /// All that clients have said so far; begins anew.
    pub fn take_said(&self) -> Vec<u8> {
        std::mem::take(&mut self.state.said.lock().unwrap())
    }

    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }
}

async fn pass(client: TcpStream, state: Arc<State>) {
    let mut cut = state.cut.subscribe();
    state.connections.fetch_add(1, Ordering::SeqCst);
    let target = *state.target.lock().unwrap();
    let Ok(server) = TcpStream::connect(target).await else { return };
    for socket in [&client, &server] {
        socket.set_nodelay(true).unwrap();
    }
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let piece = state.piece;
    let up = async {
        let mut buffer = vec![0; piece];
        while let Ok(n @ 1..) = from_client.read(&mut buffer).await {
            state.said.lock().unwrap().extend(&buffer[..n]);
            if to_server.write_all(&buffer[..n]).await.is_err() {
                break;
            }
        }
        let _ = to_server.shutdown().await;
    };
    let down = async {
        let mut buffer = vec![0; piece];
        while let Ok(n @ 1..) = from_server.read(&mut buffer).await {
            state.heard.fetch_add(n, Ordering::SeqCst);
            if to_client.write_all(&buffer[..n]).await.is_err() {
                break;
            }
        }
        let _ = to_client.shutdown().await;
    };
    tokio::select! {
        _ = async { tokio::join!(up, down) } => {}
        _ = cut.changed() => {}
    }
}
