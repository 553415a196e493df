//! A client without manners: the protocol core over a socket, driven by hand, so that a test decides what is sent,
//! read and granted.

use std::net::SocketAddr;

use pysock_std::proto::{
    ChannelId, ClientSetup, CloseReason, Connection, Env, Envelope, Ephemeral, Error, Event,
    Expect, Failure, Find, Identity, Instant, Keypair, Limits, Name, PeerId, Psk, PublicKey,
    RustCrypto, RxBuf, SecretKey, SendError, StreamId, Suite, Tx, TxBuf, Unit,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

pub type C = RustCrypto;

pub struct Raw {
    pub socket: TcpStream,
    pub conn: Connection<C>,
    pub id: PeerId,
    rx: RxBuf<Vec<u8>>,
    tx: TxBuf<Vec<u8>>,
    key: Keypair<C>,
}

/// What was heard, without what it borrows.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    Welcome(PeerId),
    Refused(pysock_std::proto::Refusal),
    Opened(Result<(), Failure>),
    Found(Option<PeerId>),
    Peer(PeerId, Name),
    Message(Envelope, Vec<u8>),
    Failed(Envelope, Failure),
    Begin(StreamId, Option<u64>),
    Chunk(StreamId, usize),
    End(StreamId),
    Aborted(StreamId, Failure),
    Stopped(StreamId, Failure),
    Relay(PeerId, Unit, Vec<u8>),
    RelayFailed(PeerId, Failure),
    Closed(CloseReason),
    Other,
}

fn heard(event: Event<'_>, conn: &mut Connection<C>) -> Heard {
    match event {
        Event::Verify(verify) => {
            conn.accept(verify).unwrap();
            Heard::Other
        }
        Event::Welcome { id, .. } => Heard::Welcome(id),
        Event::Refused(why) => Heard::Refused(why),
        Event::Opened { result, .. } => Heard::Opened(result),
        Event::Found { peer, .. } => Heard::Found(peer.map(|peer| peer.id)),
        Event::Peer(peer) => Heard::Peer(peer.id, peer.name),
        Event::Message { envelope, bytes } => Heard::Message(envelope, bytes.to_vec()),
        Event::Failed { envelope, failure } => Heard::Failed(envelope, failure),
        Event::Begin { stream, length, .. } => Heard::Begin(stream, length),
        Event::Chunk { stream, bytes } => Heard::Chunk(stream, bytes.len()),
        Event::End(stream) => Heard::End(stream),
        Event::Aborted { stream, failure } => Heard::Aborted(stream, failure),
        Event::Stopped { stream, failure } => Heard::Stopped(stream, failure),
        Event::Relay { peer, unit, bytes } => Heard::Relay(peer, unit, bytes.to_vec()),
        Event::RelayFailed { peer, failure } => Heard::RelayFailed(peer, failure),
        Event::Closed(why) => Heard::Closed(why),
        _ => Heard::Other,
    }
}

pub fn random_secret() -> SecretKey {
    pysock_std::config::new_secret_key().unwrap()
}

impl Raw {
    /// A connection from `source`, before the handshake.
    pub async fn dial(
        source: &str,
        server: SocketAddr,
        who: (SecretKey, &str),
        limits: Limits,
        psk: Option<&Psk>,
    ) -> Raw {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(source.parse().unwrap(), 0)).unwrap();
        Self::over(socket.connect(server).await.unwrap(), who, limits, psk)
    }

    /// A connection over a socket, before the handshake.
    fn over(
        socket: TcpStream,
        (key, name): (SecretKey, &str),
        limits: Limits,
        psk: Option<&Psk>,
    ) -> Raw {
        // What is said leaves at once.
        socket.set_nodelay(true).unwrap();
        let name: Name = name.parse().unwrap();
        let expect = Expect::Unknown;
        let setup = ClientSetup { name: &name, limits, expect, psk, suite: Suite::ChaChaPoly };
        let ephemeral = Ephemeral::new::<C>(*random_secret().expose());
        let conn = Connection::client(&setup, ephemeral, Instant::from_millis(60_000));
        let (rx, tx) = (RxBuf::new(vec![0; 70_000]), TxBuf::new(vec![0; 140_000]));
        Raw { socket, conn, id: PeerId(0), rx, tx, key: Keypair::new(key) }
    }

    /// A client that is in.
    pub async fn enter(server: SocketAddr, name: &str) -> Raw {
        Self::enter_with(server, (random_secret(), name), Limits::DESKTOP).await
    }

    pub async fn enter_with(server: SocketAddr, who: (SecretKey, &str), limits: Limits) -> Raw {
        Self::dial("127.0.0.1", server, who, limits, None).await.welcomed().await
    }

    /// A client for which the kernel holds little while it does not read.
    pub async fn enter_narrow(server: SocketAddr, who: (SecretKey, &str)) -> Raw {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(65_536).unwrap();
        let socket = socket.connect(server).await.unwrap();
        Self::over(socket, who, Limits::DESKTOP, None).welcomed().await
    }

    async fn welcomed(mut self) -> Raw {
        let welcome = self.until(|heard| matches!(heard, Heard::Welcome(_))).await.unwrap();
        let Heard::Welcome(id) = welcome else { unreachable!() };
        self.id = id;
        self
    }

    pub fn public_key(&self) -> PublicKey {
        self.key.public()
    }

    /// Puts frames together and writes them.
    pub async fn say<T>(
        &mut self,
        say: impl FnOnce(&mut Connection<C>, &mut Tx<'_>) -> Result<T, SendError>,
    ) -> Result<T, SendError> {
        let said = say(&mut self.conn, &mut self.tx.lend());
        self.flush().await.unwrap();
        said
    }

    pub async fn open(&mut self, channel: &str) -> ChannelId {
        let name = channel.parse().unwrap();
        let id = self.say(|conn, tx| conn.open_channel(tx, &name)).await.unwrap();
        let opened = self.until(|heard| matches!(heard, Heard::Opened(_))).await.unwrap();
        assert_eq!(opened, Heard::Opened(Ok(())));
        id
    }

    /// Sends a sealed unit; what seals it is up to the test.
    pub async fn relay(&mut self, peer: PeerId, unit: Unit, bytes: &[u8]) {
        self.say(|conn, tx| conn.relay(tx, peer, unit, bytes)).await.unwrap();
    }

    /// Until the server has dealt with everything said before and has sent what there was to say. Gives what it said.
    pub async fn settle(&mut self) -> Vec<Heard> {
        let mut before = vec![];
        // The first answer may overtake what was caused by what came before its question.
        for query in 0..2 {
            let find = Find::After(PeerId(u32::MAX - 1));
            self.say(|conn, tx| conn.find(tx, query, &find)).await.unwrap();
            loop {
                match self.next_but_other().await {
                    Heard::Found(None) => break,
                    heard => before.push(heard),
                }
            }
        }
        before
    }

    pub async fn flush(&mut self) -> Result<(), Error> {
        let env = Env { now: Instant::from_millis(0), identity: &self.key };
        self.conn.flush(&mut self.tx.lend(), &env)?;
        while !self.tx.sealed().is_empty() {
            let n = self.socket.write(self.tx.sealed()).await.map_err(|_| Error::Truncated)?;
            self.tx.written(n);
        }
        Ok(())
    }

    /// The next thing heard.
    pub async fn next(&mut self) -> Result<Heard, Error> {
        loop {
            let env = Env { now: Instant::from_millis(0), identity: &self.key };
            let event = self.conn.receive(&mut self.rx.lend(), &env)?;
            if let Some(event) = event.map(|event| heard(event, &mut self.conn)) {
                return Ok(event);
            }
            self.flush().await?;
            let n = super::within(self.socket.read(self.rx.space())).await;
            match n.map_err(|_| Error::Truncated)? {
                0 => return Err(self.conn.end_of_input().err().unwrap_or(Error::Ended)),
                n => self.rx.filled(n),
            }
        }
    }

    /// The next thing worth hearing.
    pub async fn next_but_other(&mut self) -> Heard {
        self.until(|heard| *heard != Heard::Other).await.unwrap()
    }

    /// Skips what is not wanted.
    pub async fn until(&mut self, mut wanted: impl FnMut(&Heard) -> bool) -> Result<Heard, Error> {
        loop {
            let heard = self.next().await?;
            if wanted(&heard) {
                return Ok(heard);
            }
        }
    }
}
