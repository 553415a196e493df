//! A server that has made two clients known to each other says again and again, and falsely, that one of them is not there:
//! so that the other looks for it without end.

mod common;

use std::net::SocketAddr;

use common::{client_config, raw::C, within};
use pysock_std::{
    Client,
    client::PeerNews,
    config::new_secret_key,
    proto::{
        ChannelId, Connection, Env, Envelope, Ephemeral, Event, Failure, Instant, Keypair, Kind,
        Limits, Party, PeerId, PeerInfo, RxBuf, SendError, ServerSetup, Suite, Tx, TxBuf, Unit,
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::Handle,
    sync::oneshot,
};

const LIES: usize = 10_000;
const NOW: Instant = Instant::from_millis(0);

/// What a client wants of the server.
enum Wish {
    Channel(ChannelId),
    Find(u16),
    Relay(Unit, Vec<u8>),
}

/// The server's end of a connection.
struct Side {
    socket: TcpStream,
    key: Keypair<C>,
    conn: Connection<C>,
    rx: RxBuf<Vec<u8>>,
    tx: TxBuf<Vec<u8>>,
    peer: Option<PeerInfo>,
}

impl Side {
    /// A client that is let in under the number `id`.
    async fn admit(socket: TcpStream, id: PeerId) -> Side {
        let setup = ServerSetup { limits: Limits::DESKTOP, psk_required: false };
        let ephemeral = Ephemeral::new::<C>(*new_secret_key().unwrap().expose());
        let mut side = Side {
            socket,
            key: Keypair::new(new_secret_key().unwrap()),
            conn: Connection::server(&setup, ephemeral, Instant::from_millis(1000)),
            rx: RxBuf::new(vec![0; 70_000]),
            tx: TxBuf::new(vec![0; 140_000]),
            peer: None,
        };
        while side.peer.is_none() {
            assert!(side.wishes(id).is_empty());
            side.flush().await;
            if side.peer.is_none() {
                side.read().await;
            }
        }
        side
    }

    fn peer(&self) -> PeerInfo {
        self.peer.unwrap()
    }

    async fn read(&mut self) {
        let n = self.socket.read(self.rx.space()).await.unwrap();
        assert!(n > 0, "the client has left");
        self.rx.filled(n);
    }

    fn wishes(&mut self, id: PeerId) -> Vec<Wish> {
        let env = Env { now: NOW, identity: &self.key };
        let mut wishes = Vec::new();
        while let Some(event) = self.conn.receive(&mut self.rx.lend(), &env).unwrap() {
            match event {
                Event::Admission(it) => {
                    self.peer = Some(PeerInfo { id, name: *it.name(), key: *it.key() });
                    self.conn.admit(it, id, &env).unwrap();
                }
                Event::Open { id, .. } => wishes.push(Wish::Channel(id)),
                Event::Find { query, .. } => wishes.push(Wish::Find(query)),
                Event::Relay { unit, bytes, .. } => wishes.push(Wish::Relay(unit, bytes.to_vec())),
                _ => {}
            }
        }
        wishes
    }

    async fn flush(&mut self) {
        let env = Env { now: NOW, identity: &self.key };
        self.conn.flush(&mut self.tx.lend(), &env).unwrap();
        self.socket.write_all(self.tx.sealed()).await.unwrap();
        self.tx.written(self.tx.sealed().len());
    }

    async fn say(
        &mut self,
        mut say: impl FnMut(&mut Connection<C>, &mut Tx<'_>) -> Result<(), SendError>,
    ) {
        while let Err(error) = say(&mut self.conn, &mut self.tx.lend()) {
            assert!(matches!(error, SendError::Full(_)), "{error}");
            self.flush().await;
        }
    }
}

/// Serves two clients honestly, but for `lie`.
async fn serve(listener: TcpListener, mut lie: oneshot::Receiver<()>) {
    let mut sides = Vec::new();
    for id in [PeerId(1), PeerId(2)] {
        sides.push(Side::admit(listener.accept().await.unwrap().0, id).await);
    }
    let Ok([mut a, mut b]) = <[Side; 2]>::try_from(sides) else { unreachable!() };
    let mut lied = false;
    loop {
        tokio::select! {
            () = a.read() => {}
            () = b.read() => {}
            _ = &mut lie, if !lied => {
                lied = true;
                let gone = b.peer().id;
                for _ in 0..LIES {
                    a.say(|conn, tx| conn.relay_failed(tx, gone, Failure::NoPeer)).await;
                }
                let (channel, party, kind) = (ChannelId(0), Party::Server, Kind::Message);
                let over = Envelope { channel, party, kind };
                a.say(|conn, tx| conn.send(tx, &over, b"over")).await;
            }
        }
        for _ in 0..2 {
            let (from, to) = (a.peer(), b.peer());
            for wish in a.wishes(from.id) {
                match wish {
                    Wish::Channel(id) => a.say(|conn, tx| conn.answer_open(tx, id, Ok(()))).await,
                    Wish::Find(query) => {
                        a.say(|conn, tx| conn.answer_find(tx, query, Some(&to))).await;
                    }
                    Wish::Relay(unit, bytes) => {
                        b.say(|conn, tx| conn.announce(tx, &from)).await;
                        b.say(|conn, tx| conn.relay(tx, from.id, unit, &bytes)).await;
                    }
                }
            }
            std::mem::swap(&mut a, &mut b);
        }
        a.flush().await;
        b.flush().await;
    }
}

async fn connect(name: &str, server: SocketAddr) -> Client {
    let mut config = client_config(name);
    config.suite = Some(Suite::ChaChaPoly);
    within(Client::from_config(config).connect(&server.to_string())).await.unwrap()
}

#[tokio::test]
async fn a_client_that_is_said_to_be_away_is_looked_for_once() {
    let listener = TcpListener::bind(common::WHERE).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (lie, lying) = oneshot::channel();
    let serving = tokio::spawn(serve(listener, lying));
    let a = connect("a", address).await;
    let b = connect("b", address).await;
    let mut heard = b.listen_peers().unwrap();
    let mut channel = within(a.create_channel("test")).await.unwrap();
    within(a.handshake("b")).await.unwrap();
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    lie.send(()).unwrap();
    assert_eq!(within(channel.listen()).await.unwrap().text().unwrap(), "over");
    let more = tasks().saturating_sub(before);
    assert!(more < 10, "{more} more tasks after {LIES} lies");
    // And it is found.
    within(a.send_to_client("b", "still there?")).await.unwrap();
    let text = async {
        loop {
            if let PeerNews::Message(message) = heard.next().await.unwrap() {
                break message.text().unwrap().to_owned();
            }
        }
    };
    assert_eq!(within(text).await, "still there?");
    serving.abort();
}
