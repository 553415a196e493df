//! A client, whose calls are counted.

use board::{entropy::TestEntropy, meter::Meter};
use pysock_proto::{
    ChannelId, ClientSetup, Connection, Env, Envelope, Ephemeral, Event, Expect, Keypair, Kind,
    Limits, Name, Party, PeerId, PeerInfo, PublicKey, RxBuf, SecretKey, SendError, Suite, TxBuf,
    peer::{Acquaintance, FixedPeers, PeerEvent, channel},
};

use crate::server::{BY, C, NOW, Parcel, Receive, Server, Transmit, carry};

/// The buffers of a client and its server, beside the stack.
pub(crate) struct Memory {
    rx: [Receive; 2],
    tx: [Transmit; 2],
}

impl Memory {
    pub(crate) const fn new() -> Self {
        Memory { rx: [const { RxBuf::new([0; _]) }; 2], tx: [const { TxBuf::new([0; _]) }; 2] }
    }
}

pub(crate) struct Client {
    pub(crate) meter: Meter,
    key: Keypair<C>,
    info: PeerInfo,
    conn: Connection<C>,
    rx: &'static mut Receive,
    tx: &'static mut Transmit,
    peers: FixedPeers<C, 4, 2>,
    server: Server,
    channel: ChannelId,
    /// Whom the last unit was from.
    from: Option<PeerInfo>,
    is_on: bool,
    /// What it has received from its server or its peer, all together.
    bytes: usize,
    /// Random bytes for the next answer to a peer.
    random: [u8; 32],
}

impl Client {
    pub(crate) fn new(
        memory: &'static mut Memory,
        id: PeerId,
        name: &str,
        entropy: &mut TestEntropy,
    ) -> Self {
        let Memory { rx: [rx, servers_rx], tx: [tx, servers_tx] } = memory;
        let name: Name = name.parse().expect("a name");
        let key = Keypair::new(SecretKey::from_bytes(entropy.bytes()));
        Client {
            meter: Meter::default(),
            info: PeerInfo { id, key: pysock_proto::Identity::public(&key), name },
            conn: connection(&name, Expect::Unknown, entropy.bytes()),
            key,
            rx,
            tx,
            peers: FixedPeers::new(name, Limits::SMALL, Default::default(), Default::default()),
            server: Server::new(servers_rx, servers_tx, id, entropy),
            channel: ChannelId(0),
            from: None,
            is_on: false,
            bytes: 0,
            random: entropy.bytes(),
        }
    }

    /// Connects to its server, and says what that costs up to the admission.
    pub(crate) fn connect(&mut self, pinned: bool, entropy: &mut TestEntropy) -> Meter {
        self.server.again(entropy);
        self.is_on = false;
        let pin = pysock_proto::Identity::public(&self.server.key);
        let expect = if pinned { Expect::Pinned(&pin) } else { Expect::Unknown };
        let (name, random) = (self.info.name, entropy.bytes());
        self.meter.take();
        self.conn = self.meter.run(|| connection(&name, expect, random));
        self.flush();
        self.settle(&pin);
        let cost = self.meter.take();
        assert!(self.conn.is_open());
        let test = "test".parse().expect("a name");
        self.channel = self.conn.open_channel(&mut self.tx.lend(), &test).expect("room");
        self.flush();
        self.settle(&pin);
        assert!(self.is_on);
        cost
    }

    /// A message to the server and one back, and what they cost.
    pub(crate) fn exchange(&mut self, len: usize) -> (Meter, Meter) {
        (self.server.bytes, self.bytes) = (0, 0);
        self.meter.take();
        let to = self.envelope();
        let Client { conn, tx, meter, .. } = self;
        let text = [b'x'; 256];
        meter.run(|| conn.send(&mut tx.lend(), &to, &text[..len])).expect("room");
        self.flush();
        let sent = self.meter.take();
        self.settle_open();
        self.meter.take();
        self.server.send(len);
        self.settle_open();
        assert!(self.server.bytes == len && self.bytes == len);
        (sent, self.meter.take())
    }

    /// A stream to the server and one back, and what they cost, with the credit that has to flow.
    pub(crate) fn stream(&mut self, len: usize) -> (Meter, Meter) {
        (self.server.bytes, self.bytes) = (0, 0);
        self.meter.take();
        let to = self.envelope();
        let text = [b'x'; 256];
        let Client { conn, tx, meter, .. } = self;
        let begun = meter.run(|| conn.begin(&mut tx.lend(), &to, Some(len as u64)));
        let stream = begun.expect("room");
        let mut gone = 0;
        while gone < len {
            let piece = &text[..text.len().min(len - gone)];
            let Client { conn, tx, meter, .. } = self;
            match meter.run(|| conn.chunk(&mut tx.lend(), stream, piece)) {
                Ok(n) => gone += n,
                Err(SendError::Full(_) | SendError::NoCredit) => {
                    self.flush();
                    self.settle_open();
                }
                Err(error) => panic!("{error:?}"),
            }
        }
        while !{
            let Client { conn, tx, meter, .. } = self;
            meter.run(|| conn.end(&mut tx.lend(), stream)).is_ok()
        } {
            self.flush();
            self.settle_open();
        }
        self.flush();
        self.settle_open();
        let sent = self.meter.take();

        let stream = self.server.begin(len);
        gone = 0;
        while gone < len {
            let piece = &text[..text.len().min(len - gone)];
            let Server { conn, tx, .. } = &mut self.server;
            match conn.chunk(&mut tx.lend(), stream, piece) {
                Ok(n) => gone += n,
                Err(_) => {
                    self.server.flush();
                    self.settle_open();
                }
            }
        }
        self.server.flush();
        self.settle_open();
        let Server { conn, tx, .. } = &mut self.server;
        conn.end(&mut tx.lend(), stream).expect("room");
        self.server.flush();
        self.settle_open();
        assert!(self.server.bytes == len && self.bytes == len);
        (sent, self.meter.take())
    }

    fn envelope(&self) -> Envelope {
        Envelope { channel: self.channel, party: Party::Server, kind: Kind::Message }
    }

    /// Writes what is due.
    fn flush(&mut self) {
        let Client { meter, conn, tx, peers, key, .. } = self;
        let env = Env { now: NOW, identity: key };
        meter
            .run(|| {
                let tx = &mut tx.lend();
                // Before the connection is open nothing is due to peers.
                let _ = conn.flush_peers(tx, peers, &env);
                conn.flush(tx, &env)
            })
            .expect("in time");
    }

    /// Until the wire to and from its server is silent, or something for another client comes out.
    fn settle(&mut self, pin: &PublicKey) -> Option<Parcel> {
        loop {
            let up = carry(self.tx, self.server.rx);
            if let Some(parcel) = self.server.step() {
                return Some(parcel);
            }
            let down = carry(self.server.tx, self.rx);
            if !up && !down {
                return None;
            }
            if down {
                self.receive(pin);
                self.flush();
            }
        }
    }

    fn settle_open(&mut self) -> Option<Parcel> {
        let pin = pysock_proto::Identity::public(&self.server.key);
        self.settle(&pin)
    }

    /// Deals with what has arrived.
    fn receive(&mut self, pin: &PublicKey) {
        let Client { meter, conn, rx, peers, key, random, from, bytes: total, .. } = self;
        let env = Env { now: NOW, identity: key };
        let mut view = rx.lend();
        while let Some(event) =
            meter.run(|| conn.receive(&mut view, &env)).expect("an honest server")
        {
            match event {
                Event::Verify(verify) => {
                    assert!(verify.key() == pin);
                    meter.run(|| conn.accept(verify)).expect("in time");
                }
                Event::Opened { result: Ok(()), .. } => self.is_on = true,
                Event::Message { bytes, .. } => *total += bytes.len(),
                Event::Chunk { stream, bytes } => {
                    *total += bytes.len();
                    meter.run(|| conn.consumed(stream, bytes.len()));
                }
                Event::Peer(peer) => {
                    meter.run(|| peers.named(&peer));
                    *from = Some(peer);
                }
                Event::Relay { unit, bytes, .. } => {
                    let from = from.as_ref().expect("the server names them first");
                    let mut incoming = meter.run(|| peers.receive(from, unit, bytes, &env));
                    while let Some(event) = meter.run(|| peers.next(&mut incoming)) {
                        match event {
                            PeerEvent::Greeting(greeting) => {
                                let random = *random;
                                let answer =
                                    || peers.answer(greeting, Ephemeral::new::<C>(random), BY);
                                meter.run(answer).expect("in time");
                            }
                            PeerEvent::Verify(verify) => {
                                assert!(*verify.key() == from.key);
                                meter.run(|| peers.accept(verify, &env)).expect("in time");
                            }
                            PeerEvent::Message { bytes, .. } => *total += bytes.len(),
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
    }
}

/// One handshake between two clients, both of whom have forgotten what was. The costs are in the meters.
pub(crate) fn meet(
    a: &mut Client,
    b: &mut Client,
    acquaintance: Acquaintance,
    entropy: &mut TestEntropy,
) {
    a.peers.forget(&b.info.key);
    b.peers.forget(&a.info.key);
    b.random = entropy.bytes();
    let (to, random) = (b.info, entropy.bytes());
    a.meter.take();
    b.meter.take();
    let Client { meter, peers, key, .. } = a;
    let env = Env { now: NOW, identity: key };
    meter
        .run(|| peers.handshake(&to, acquaintance, Ephemeral::new::<C>(random), BY, &env))
        .expect("room");
    a.flush();
    settle(a, b);
    let is_open = |client: &Client, to: &Client| {
        client.peers.get(&to.info.key).is_some_and(|peer| peer.is_open())
    };
    assert!(is_open(a, b) && is_open(b, a));
}

/// A message from `a` to `b`: what it costs the one to send it, and the other to receive it.
pub(crate) fn talk(a: &mut Client, b: &mut Client, len: usize) -> (Meter, Meter) {
    a.meter.take();
    b.meter.take();
    b.bytes = 0;
    let Client { meter, conn, tx, peers, .. } = a;
    let text = [b'x'; 256];
    meter
        .run(|| {
            let tx = &mut tx.lend();
            let mut to = conn.to_peer(tx, peers, &b.info.key)?;
            to.send(channel::DIRECT, Kind::Message, &text[..len])
        })
        .expect("room");
    a.flush();
    let sent = a.meter.take();
    settle(a, b);
    assert!(b.bytes == len);
    (sent, b.meter.take())
}

/// Passes on what the one has for the other, until both are silent.
fn settle(a: &mut Client, b: &mut Client) {
    let mut idle = false;
    while !idle {
        idle = true;
        if let Some(parcel) = a.settle_open() {
            b.server.pass_on(&a.info, &parcel);
            idle = false;
        }
        if let Some(parcel) = b.settle_open() {
            a.server.pass_on(&b.info, &parcel);
            idle = false;
        }
    }
}

fn connection(name: &Name, expect: Expect<'_>, random: [u8; 32]) -> Connection<C> {
    let setup =
        ClientSetup { name, limits: Limits::SMALL, expect, psk: None, suite: Suite::ChaChaPoly };
    Connection::client(&setup, Ephemeral::new::<C>(random), BY)
}
