//! A world of clients that talk to each other through a server of the test's own making: real connections, real
//! sessions, and an adversary who decides about every unit.

use super::{C, End, Setup, agree, keypair};
use pysock_proto::{
    CloseReason, Env, Ephemeral, Event, Instant, Kind, Limits, PeerError, PeerId, PeerInfo,
    PublicKey, Unit,
    peer::{Acquaintance, FixedPeers, PeerEvent, PeerVerify},
};

/// A unit on its way: from which client, to which, and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parcel {
    pub from: usize,
    pub to: usize,
    pub unit: Unit,
    pub bytes: Vec<u8>,
}

/// What a client has heard, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    Greeted { proven: bool },
    Verify(PublicKey),
    Offered(PublicKey),
    Open { fresh: bool },
    Wanted,
    Patience,
    Failed(PeerError),
    OtherKey(PublicKey),
    Message(u16, Kind, Vec<u8>),
    Refused(u16, Kind),
    Stream(String),
    Reset,
    Lost(u32),
    Undelivered(u32),
    Unknown(u32),
    Closed(CloseReason),
    Unanswered,
}

pub struct Client {
    pub end: End,
    server: End,
    pub peers: FixedPeers<C, 8, 4>,
    pub info: PeerInfo,
    /// From whom, and what.
    pub heard: Vec<(usize, Heard)>,
    /// What the chunks among it said.
    pub chunks: std::collections::VecDeque<Vec<u8>>,
    seed: u32,
    /// Ephemeral secrets to take first, one after the other.
    pub ephemerals: Vec<[u8; 32]>,
    /// Whether it answers greetings, and accepts keys.
    pub answers: bool,
    pub accepts: bool,
    /// Whether a person is asked about keys, and what about.
    pub hesitates: bool,
    undecided: Option<PeerVerify>,
    /// Whether it grants wishes for new handshakes.
    pub renews: bool,
}

pub struct World {
    pub clients: Vec<Client>,
    pub now: Instant,
    /// What the server says of each client; a lie is one of the tests.
    pub directory: Vec<PeerInfo>,
    pub limits: Limits,
    /// Bytes of each transmit buffer.
    transmit: usize,
    /// Every unit that the server has seen.
    pub seen: Vec<Parcel>,
}

const NAMES: [&str; 8] = ["alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi"];

impl Client {
    fn new(at: usize, limits: Limits, transmit: usize, now: Instant) -> Self {
        let info = PeerInfo {
            id: PeerId(at as u32 + 1),
            key: pysock_proto::Identity::public(&keypair(50 + at as u8)),
            name: NAMES[at].parse().unwrap(),
        };
        let peers = FixedPeers::new(info.name, limits, Default::default(), Default::default());
        let (end, server) = connect(at, limits, transmit, now);
        Client {
            end,
            server,
            peers,
            info,
            heard: vec![],
            chunks: Default::default(),
            seed: 0,
            ephemerals: vec![],
            answers: true,
            accepts: true,
            hesitates: false,
            undecided: None,
            renews: true,
        }
    }

    fn ephemeral(&mut self) -> Ephemeral {
        if !self.ephemerals.is_empty() {
            return Ephemeral::new::<C>(self.ephemerals.remove(0));
        }
        self.seed += 1;
        let PublicKey(mut bytes) = self.info.key;
        for (byte, seed) in bytes.iter_mut().zip(self.seed.to_be_bytes()) {
            *byte ^= seed;
        }
        bytes[4] ^= 0x5a;
        Ephemeral::new::<C>(bytes)
    }

    pub fn handshake(
        &mut self,
        peer: &PeerInfo,
        acquaintance: Acquaintance,
    ) -> Result<(), PeerError> {
        let e = self.ephemeral();
        let env = Env { now: self.end.now, identity: &self.end.key };
        let by = self.end.now.after_millis(3_000);
        self.peers.handshake(peer, acquaintance, e, by, &env)
    }

    pub fn send(&mut self, to: &PeerInfo, bytes: &[u8]) -> Result<(), pysock_proto::SendError> {
        let mut tx = self.end.tx.lend();
        self.end.conn.to_peer(&mut tx, &mut self.peers, &to.key)?.send(0, Kind::Message, bytes)
    }

    /// Sends through a closure, all in one record if it fits.
    pub fn with_peer<R>(
        &mut self,
        to: &PeerInfo,
        f: impl FnOnce(&mut pysock_proto::PeerTx<'_, '_, C>) -> R,
    ) -> R {
        let mut tx = self.end.tx.lend();
        f(&mut self.end.conn.to_peer(&mut tx, &mut self.peers, &to.key).unwrap())
    }

    fn hear(&mut self, from: usize, event: PeerEvent<'_>, key: &PublicKey) {
        let env_now = self.end.now;
        let by = env_now.after_millis(3_000);
        let heard = match event {
            PeerEvent::Greeting(greeting) => {
                let proven = greeting.is_proven();
                assert_eq!(greeting.key(), key);
                if self.answers {
                    let e = self.ephemeral();
                    self.peers.answer(greeting, e, by).unwrap();
                } else {
                    let env = Env { now: env_now, identity: &self.end.key };
                    self.peers.refuse(greeting, pysock_proto::PeerRefusal::NotTrusted, &env);
                }
                Heard::Greeted { proven }
            }
            PeerEvent::Verify(verify) => {
                let key = *verify.key();
                let env = Env { now: env_now, identity: &self.end.key };
                if self.hesitates {
                    self.peers.hold_verify(&verify, env_now.after_millis(100_000), &env);
                    self.undecided = Some(verify);
                } else if self.accepts {
                    self.peers.accept(verify, &env).unwrap();
                } else {
                    self.peers.deny(verify, pysock_proto::PeerRefusal::NotTrusted, &env);
                }
                Heard::Verify(key)
            }
            PeerEvent::Offered(key) => Heard::Offered(key),
            PeerEvent::Open { fresh } => Heard::Open { fresh },
            PeerEvent::Wanted => {
                if self.renews {
                    let id = self.peers.get(key).unwrap().id().unwrap();
                    let name = NAMES[from].parse().unwrap();
                    let info = PeerInfo { id, key: *key, name };
                    // There may be no room just now; it is wanted again.
                    let _ = self.handshake(&info, Acquaintance::Known);
                }
                Heard::Wanted
            }
            PeerEvent::Failed(why) => Heard::Failed(why),
            PeerEvent::OtherKey(key) => Heard::OtherKey(key),
            PeerEvent::Message { channel, kind, bytes } => {
                Heard::Message(channel, kind, bytes.to_vec())
            }
            PeerEvent::Refused { channel, kind, .. } => Heard::Refused(channel, kind),
            PeerEvent::Chunk { stream, bytes } => {
                self.peers.consumed(key, stream, bytes.len());
                self.chunks.push_back(bytes.to_vec());
                Heard::Stream(format!("Chunk {stream} {}", bytes.len()))
            }
            PeerEvent::Patience => Heard::Patience,
            PeerEvent::Reset => Heard::Reset,
            PeerEvent::Lost(n) => Heard::Lost(n),
            PeerEvent::Undelivered(n) => Heard::Undelivered(n),
            PeerEvent::Unknown(n) => Heard::Unknown(n),
            PeerEvent::Closed(why) => Heard::Closed(why),
            PeerEvent::Unanswered => Heard::Unanswered,
            other => Heard::Stream(format!("{other:?}")),
        };
        self.heard.push((from, heard));
    }

    /// The person has decided about the key.
    pub fn decide(&mut self, yes: bool) -> Result<(), PeerError> {
        let verify = self.undecided.take().expect("a question");
        let env = Env { now: self.end.now, identity: &self.end.key };
        if yes {
            return self.peers.accept(verify, &env);
        }
        self.peers.deny(verify, pysock_proto::PeerRefusal::NotTrusted, &env);
        Ok(())
    }

    /// Everything heard since the last call.
    pub fn take(&mut self) -> Vec<Heard> {
        std::mem::take(&mut self.heard).into_iter().map(|(_, heard)| heard).collect()
    }

    /// The messages among what was heard since the last call.
    pub fn messages(&mut self) -> Vec<Vec<u8>> {
        let messages = self.take().into_iter().filter_map(|heard| match heard {
            Heard::Message(_, _, bytes) => Some(bytes),
            _ => None,
        });
        messages.collect()
    }
}

/// A connection of a client to the server, open.
fn connect(at: usize, limits: Limits, transmit: usize, now: Instant) -> (End, End) {
    let setup = Setup {
        client_limits: limits,
        server_limits: limits,
        name: NAMES[at].parse().unwrap(),
        transmit,
        ..Setup::default()
    };
    let (mut client, mut server) = (setup.client(), setup.server());
    (client.now, server.now) = (Instant::from_millis(0), Instant::from_millis(0));
    client.key = keypair(50 + at as u8);
    for _ in 0..3 {
        client.pump(&mut server, usize::MAX, agree).unwrap();
        server.pump(&mut client, usize::MAX, agree).unwrap();
    }
    assert!(client.conn.is_open() && server.conn.is_open());
    for end in [&mut client, &mut server] {
        end.now = now;
        end.conn.not_reading(now);
    }
    (client, server)
}

impl World {
    pub fn new(n: usize) -> Self {
        Self::with(n, Limits { record: 1024, idle_secs: u16::MAX, ..Limits::DESKTOP })
    }

    pub fn with(n: usize, limits: Limits) -> Self {
        Self::with_room(n, limits, 8192)
    }

    pub fn with_room(n: usize, limits: Limits, transmit: usize) -> Self {
        let now = Instant::from_millis(1_000);
        let clients: Vec<_> = (0..n).map(|at| Client::new(at, limits, transmit, now)).collect();
        let directory = clients.iter().map(|client| client.info).collect();
        World { clients, now, directory, limits, transmit, seen: vec![] }
    }

    pub fn advance(&mut self, millis: u64) {
        self.now = self.now.after_millis(millis);
        for client in &mut self.clients {
            for end in [&mut client.end, &mut client.server] {
                end.now = self.now;
                end.conn.not_reading(self.now);
            }
        }
    }

    /// Tells a client so that it asks for wishes and news.
    pub fn poll(&mut self, at: usize) {
        let client = &mut self.clients[at];
        while let Some((key, event)) = client.peers.poll(client.end.now) {
            let from = self.directory.iter().position(|info| info.key == key).unwrap_or(usize::MAX);
            client.hear(from, event, &key);
        }
    }

    /// What a client sends now, as the server gets it.
    pub fn collect(&mut self, at: usize) -> Vec<Parcel> {
        self.poll(at);
        let client = &mut self.clients[at];
        let mut parcels = vec![];
        for _ in 0..100 {
            let env = Env { now: client.end.now, identity: &client.end.key };
            let mut tx = client.end.tx.lend();
            let _ = client.end.conn.flush_peers(&mut tx, &mut client.peers, &env);
            client.end.flush().unwrap();
            let wire = client.end.wire();
            if wire.is_empty() {
                break;
            }
            let to_parcel = |event: Event<'_>, _: &mut super::Half<'_>| {
                if let Event::Relay { peer, unit, bytes } = event {
                    let to = peer.0 as usize - 1;
                    parcels.push(Parcel { from: at, to, unit, bytes: bytes.to_vec() });
                }
            };
            client.server.feed(&wire, usize::MAX, to_parcel).unwrap();
        }
        self.seen.extend(parcels.iter().cloned());
        parcels
    }

    /// Brings a parcel to its receiver, stamped as the parcel says.
    pub fn deliver(&mut self, parcel: &Parcel) {
        let stamp = self.directory[parcel.from];
        let client = &mut self.clients[parcel.to];
        let mut tx = client.server.tx.lend();
        client.server.conn.relay(&mut tx, stamp.id, parcel.unit, &parcel.bytes).unwrap();
        let wire = client.server.flushed().unwrap();
        // The events are kept until the connection is free again.
        let mut units = vec![];
        let take = |event: Event<'_>, _: &mut super::Half<'_>| {
            if let Event::Relay { unit, bytes, .. } = event {
                units.push((unit, bytes.to_vec()));
            }
        };
        client.end.feed(&wire, usize::MAX, take).unwrap();
        for (unit, mut bytes) in units {
            let env = Env { now: client.end.now, identity: &client.end.key };
            let mut incoming = client.peers.receive(&stamp, unit, &mut bytes, &env);
            while let Some(event) = client.peers.next(&mut incoming) {
                client.hear(parcel.from, event, &stamp.key);
            }
        }
    }

    /// Runs until nothing more is sent; `adversary` says what becomes of each parcel.
    pub fn run_with(&mut self, mut adversary: impl FnMut(Parcel) -> Vec<Parcel>) {
        for _ in 0..200 {
            let mut quiet = true;
            for at in 0..self.clients.len() {
                for parcel in self.collect(at) {
                    quiet = false;
                    for parcel in adversary(parcel) {
                        self.deliver(&parcel);
                    }
                }
            }
            if quiet {
                return;
            }
        }
        panic!("the clients never stop talking");
    }

    /// Runs with an honest server until nothing more is sent.
    pub fn run(&mut self) {
        self.run_with(|parcel| vec![parcel]);
    }

    pub fn handshake(&mut self, from: usize, to: usize, acquaintance: Acquaintance) {
        let peer = self.directory[to];
        self.clients[from].handshake(&peer, acquaintance).unwrap();
    }

    pub fn send(&mut self, from: usize, to: usize, text: &[u8]) {
        let peer = self.directory[to];
        self.clients[from].send(&peer, text).unwrap();
    }

    /// Two clients with an open session.
    pub fn pair(&mut self, a: usize, b: usize) {
        self.handshake(a, b, Acquaintance::New);
        self.run();
        for (at, other) in [(a, b), (b, a)] {
            let key = self.clients[other].info.key;
            let peer = self.clients[at].peers.get(&key).expect("a session");
            assert!(peer.is_open(), "{at} with {other}: {:?}", self.clients[at].heard);
            self.clients[at].take();
        }
        self.seen.clear();
    }

    /// Each says something to the other, and that is what arrives.
    pub fn talk(&mut self, a: usize, b: usize) {
        self.send(a, b, b"a to b");
        self.send(b, a, b"b to a");
        self.run();
        assert_eq!(self.clients[b].messages(), [b"a to b"]);
        assert_eq!(self.clients[a].messages(), [b"b to a"]);
    }

    /// Brings the first that a client has to send, and nothing else.
    pub fn pass_first(&mut self, from: usize) -> Parcel {
        let first = self.collect(from).remove(0);
        self.deliver(&first);
        first
    }

    /// The connection of a client breaks, and it gets another one.
    pub fn reconnect(&mut self, at: usize) {
        let (end, server) = connect(at, self.limits, self.transmit, self.now);
        let client = &mut self.clients[at];
        (client.end, client.server) = (end, server);
        client.peers.reconnected();
        for info in &self.directory {
            client.peers.named(info);
        }
    }

    /// A client starts anew and remembers nothing.
    pub fn restart(&mut self, at: usize) {
        let seed = self.clients[at].seed;
        self.clients[at] = Client::new(at, self.limits, self.transmit, self.now);
        self.clients[at].seed = seed + 1;
    }

    /// The server is honest again, and time passes: both have a session, and messages flow.
    pub fn heals(&mut self, a: usize, b: usize) {
        for round in 0..60 {
            self.run();
            if self.is_open(a, b) && self.is_open(b, a) {
                self.clients[a].take();
                self.clients[b].take();
                self.send(a, b, b"a to b");
                self.send(b, a, b"b to a");
                self.run();
                if self.is_open(a, b) && self.is_open(b, a) {
                    assert_eq!(self.clients[b].messages(), [b"a to b"]);
                    assert_eq!(self.clients[a].messages(), [b"b to a"]);
                    return;
                }
            }
            self.advance(2_000 + 77 * round);
            let (key, other) = (self.clients[b].info.key, self.clients[a].info.key);
            if self.clients[a].peers.get(&key).is_none() && round % 2 == 0 {
                let _ = self.clients[a].handshake(&self.directory[b], Acquaintance::Known);
            } else if self.clients[b].peers.get(&other).is_none() && round % 2 == 1 {
                let _ = self.clients[b].handshake(&self.directory[a], Acquaintance::Known);
            }
        }
        panic!("no session: {:?} {:?}", self.clients[a].heard, self.clients[b].heard);
    }

    pub fn is_open(&self, at: usize, with: usize) -> bool {
        let key = self.clients[with].info.key;
        self.clients[at].peers.get(&key).is_some_and(|peer| peer.is_open())
    }
}
