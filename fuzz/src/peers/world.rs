//! Clients with real connections and sessions. The server only hands out what it sees.

use pysock_proto::{
    Env, Ephemeral, Event, Instant, Limits, Name, PeerError, PeerId, PeerInfo, PublicKey,
    SendError, StreamId, Unit,
    peer::{Acquaintance, FixedPeers, PeerEvent},
};
use pysock_proto::{Identity, Keypair, SecretKey};

use super::{KIND, ledger::Ledger};
use crate::{
    crypto::Toy,
    end::{End, Setup, name},
};

/// A unit on its way.
#[derive(Clone)]
pub(super) struct Parcel {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) unit: Unit,
    pub(super) bytes: Vec<u8>,
}

pub(super) struct Client {
    pub(super) end: End<Toy>,
    server: End<Toy>,
    pub(super) peers: FixedPeers<Toy, 4, 4>,
    pub(super) info: PeerInfo,
    /// Large messages under way: to whom, where, what, and how much of it is sent.
    streams: Vec<(usize, StreamId, Vec<u8>, usize)>,
}

pub(super) struct World {
    pub(super) clients: Vec<Client>,
    /// What the server has seen, up to some number.
    pub(super) seen: Vec<Parcel>,
    ledger: Ledger,
    limits: Limits,
    now: Instant,
    ephemerals: u32,
}

fn name_of(at: usize) -> Name {
    name(["alice", "bob", "carol"][at])
}

fn key(at: usize) -> Keypair<Toy> {
    Keypair::new(SecretKey::from_bytes([50 + at as u8; 32]))
}

fn connect(at: usize, limits: Limits, now: Instant) -> [End<Toy>; 2] {
    let setup = Setup { transmit: 4_096, ..Setup::new(limits) };
    let (client, server) = setup.open::<Toy>();
    let mut ends = [client, server];
    for end in &mut ends {
        end.now = now;
        end.conn.not_reading(now);
    }
    ends[0].key = key(at);
    ends
}

fn client(at: usize, limits: Limits, now: Instant) -> Client {
    let [end, server] = connect(at, limits, now);
    let info = PeerInfo { id: PeerId(at as u32 + 1), key: key(at).public(), name: name_of(at) };
    let peers = FixedPeers::new(info.name, limits, Default::default(), Default::default());
    Client { end, server, peers, info, streams: vec![] }
}

impl World {
    pub(super) fn new(n: usize, limits: Limits) -> Self {
        let now = Instant::from_millis(1_000);
        let clients = (0..n).map(|at| client(at, limits, now)).collect();
        World { clients, seen: vec![], ledger: Ledger::default(), limits, now, ephemerals: 0 }
    }

    pub(super) fn later(&mut self, millis: u64) {
        self.now = self.now.after_millis(millis);
        for client in &mut self.clients {
            for end in [&mut client.end, &mut client.server] {
                end.now = self.now;
                end.conn.not_reading(self.now);
            }
        }
    }

    fn ephemeral(&mut self) -> Ephemeral {
        self.ephemerals += 1;
        let mut random = [77; 32];
        random[..4].copy_from_slice(&self.ephemerals.to_be_bytes());
        Ephemeral::new::<Toy>(random)
    }

    pub(super) fn calls(&mut self, a: usize, b: usize, how: Acquaintance) {
        let (e, by, peer) = (self.ephemeral(), self.now.after_millis(3_000), self.clients[b].info);
        let client = &mut self.clients[a];
        let env = Env { now: client.end.now, identity: &client.end.key };
        // There may be one under way, or no room just now.
        let _ = client.peers.handshake(&peer, how, e, by, &env);
    }

    pub(super) fn is_open(&self, a: usize, b: usize) -> bool {
        let key = self.clients[b].info.key;
        self.clients[a].peers.get(&key).is_some_and(|peer| peer.is_open())
    }

    pub(super) fn sends(&mut self, a: usize, b: usize, len: usize) {
        let message = self.ledger.message((a, b), len);
        let key = self.clients[b].info.key;
        let Client { end, peers, .. } = &mut self.clients[a];
        let mut tx = end.tx.lend();
        let Ok(mut to) = end.conn.to_peer(&mut tx, peers, &key) else { return };
        match to.send(0, KIND, &message) {
            Ok(()) | Err(SendError::NotOpen | SendError::Full(_) | SendError::TooLong(_)) => {}
            Err(why) => panic!("{why}"),
        }
    }

    pub(super) fn begins(&mut self, a: usize, b: usize, len: usize, declared: bool) {
        let message = self.ledger.message((a, b), len);
        let key = self.clients[b].info.key;
        let Client { end, peers, streams, .. } = &mut self.clients[a];
        let mut tx = end.tx.lend();
        let Ok(mut to) = end.conn.to_peer(&mut tx, peers, &key) else { return };
        match to.begin(0, KIND, declared.then_some(message.len() as u64)) {
            Ok(stream) => streams.push((b, stream, message, 0)),
            Err(SendError::Streams | SendError::Full(_) | SendError::NotOpen) => {}
            Err(why) => panic!("{why}"),
        }
    }

    /// Sends on what is under way.
    pub(super) fn goes_on(&mut self, a: usize, b: usize) {
        let key = self.clients[b].info.key;
        let Client { end, peers, streams, .. } = &mut self.clients[a];
        let mut tx = end.tx.lend();
        let Ok(mut to) = end.conn.to_peer(&mut tx, peers, &key) else { return };
        streams.retain_mut(|(with, stream, message, at)| {
            if *with != b {
                return true;
            }
            let rest = &message[*at..];
            if rest.is_empty() {
                return to.end(*stream).is_err();
            }
            match to.chunk(*stream, rest) {
                Ok(n) => *at += n,
                Err(SendError::NoCredit | SendError::Full(_) | SendError::NotOpen) => {}
                Err(why) => panic!("{why}"),
            }
            true
        });
    }

    /// News that come without a unit.
    fn poll(&mut self, at: usize) {
        while let Some((key, event)) = self.clients[at].peers.poll(self.now) {
            let from = self.clients.iter().position(|client| client.info.key == key);
            self.hears(at, from.expect("a client"), event, &key);
        }
    }

    /// What a client sends now, as the server gets it.
    pub(super) fn collect(&mut self, at: usize) -> Vec<Parcel> {
        self.poll(at);
        let n = self.clients.len();
        let Client { end, server, peers, .. } = &mut self.clients[at];
        let mut parcels = vec![];
        for round in 0.. {
            assert!(round < 1_000, "a client never stops sending");
            let env = Env { now: end.now, identity: &end.key };
            let _ = end.conn.flush_peers(&mut end.tx.lend(), peers, &env);
            end.flush().expect("time stands still");
            let wire = end.wire();
            if wire.is_empty() {
                break;
            }
            let fed = server.feed(&wire, |event, _| {
                if let Event::Relay { peer, unit, bytes } = event {
                    let to = (peer.0 as usize).wrapping_sub(1);
                    assert!(to < n, "a unit for {peer}, whom nobody has named");
                    parcels.push(Parcel { from: at, to, unit, bytes: bytes.to_vec() });
                }
            });
            fed.expect("an honest client");
        }
        let kept = 256 - self.seen.len().min(256);
        self.seen.extend(parcels.iter().take(kept).cloned());
        parcels
    }

    /// Brings a unit, stamped as the parcel says.
    pub(super) fn deliver(&mut self, parcel: &Parcel) {
        let stamp = self.clients[parcel.from].info;
        let mut bytes = parcel.bytes.clone();
        let client = &mut self.clients[parcel.to];
        let env = Env { now: client.end.now, identity: &client.end.key };
        let mut incoming = client.peers.receive(&stamp, parcel.unit, &mut bytes, &env);
        while let Some(event) = self.clients[parcel.to].peers.next(&mut incoming) {
            self.hears(parcel.to, parcel.from, event, &stamp.key);
        }
    }

    fn hears(&mut self, at: usize, from: usize, event: PeerEvent<'_>, key: &PublicKey) {
        let (pair, by, e) = ((from, at), self.now.after_millis(3_000), self.ephemeral());
        let ledger = &mut self.ledger;
        let client = &mut self.clients[at];
        let env = Env { now: client.end.now, identity: &client.end.key };
        let mine = |streams: &mut Vec<(usize, StreamId, Vec<u8>, usize)>| {
            streams.retain(|(to, ..)| *to != from);
        };
        match event {
            PeerEvent::Greeting(greeting) => {
                assert_eq!(greeting.key(), key);
                let _ = client.peers.answer(greeting, e, by);
            }
            PeerEvent::Verify(verify) => {
                assert_eq!(verify.key(), key, "to be accepted is who is named");
                let _ = client.peers.accept(verify, &env);
            }
            PeerEvent::Wanted => self.calls(at, from, Acquaintance::Known),
            PeerEvent::Message { bytes, .. } => ledger.hears(pair, bytes),
            PeerEvent::Begin { stream, .. } => ledger.begins(pair, stream.0),
            PeerEvent::Chunk { stream, bytes } => {
                ledger.chunk(pair, stream.0, bytes);
                client.peers.consumed(key, stream, bytes.len());
            }
            PeerEvent::End(stream) => ledger.ends(pair, stream.0),
            PeerEvent::Aborted { stream, .. } => ledger.aborts(pair, stream.0),
            PeerEvent::Reset | PeerEvent::Open { fresh: true } => {
                ledger.resets(pair);
                mine(&mut client.streams);
            }
            PeerEvent::Closed(_) | PeerEvent::Unanswered => {
                ledger.resets(pair);
                mine(&mut client.streams);
            }
            PeerEvent::Stopped { .. } | PeerEvent::Refused { .. } => {
                panic!("nobody says so: {event:?}")
            }
            PeerEvent::Failed(PeerError::Protocol(..)) => {
                panic!("{at} blames {from}, who is honest: {event:?}")
            }
            _ => {}
        }
    }

    pub(super) fn reconnects(&mut self, at: usize) {
        let infos: Vec<PeerInfo> = self.clients.iter().map(|client| client.info).collect();
        let [end, server] = connect(at, self.limits, self.now);
        let client = &mut self.clients[at];
        (client.end, client.server) = (end, server);
        client.peers.reconnected();
        infos.iter().for_each(|info| client.peers.named(info));
    }

    /// A client starts anew, and remembers nothing.
    pub(super) fn restarts(&mut self, at: usize) {
        self.clients[at] = client(at, self.limits, self.now);
        for other in 0..self.clients.len() {
            self.ledger.resets((other, at));
        }
    }

    /// An honest server, until nothing more is said.
    pub(super) fn settle(&mut self) {
        for _ in 0..200 {
            let mut quiet = true;
            for at in 0..self.clients.len() {
                for parcel in self.collect(at) {
                    quiet = false;
                    self.deliver(&parcel);
                }
            }
            if quiet {
                return;
            }
        }
        panic!("the clients never come to rest");
    }

    fn pairs(&self) -> Vec<(usize, usize)> {
        let n = self.clients.len();
        (0..n).flat_map(|a| (0..n).map(move |b| (a, b))).filter(|(a, b)| a != b).collect()
    }

    /// An honest server, and time, until all have sessions.
    fn opens(&mut self) {
        for round in 0..100 {
            self.settle();
            let mut shut = self.pairs();
            shut.retain(|&(a, b)| !self.is_open(a, b));
            if shut.is_empty() {
                return;
            }
            for (a, b) in shut {
                if self.clients[a].peers.get(&self.clients[b].info.key).is_none() {
                    self.calls(a, b, Acquaintance::Known);
                }
            }
            self.later(2_000 + round * 77);
        }
        panic!("sessions that never open again");
    }

    /// The server is honest from now on, and everybody hears everybody.
    pub(super) fn heals(&mut self) {
        self.opens();
        // One side may have lost a session, and the other learns of it only by talking.
        for _ in 0..3 {
            for (a, b) in self.pairs() {
                self.sends(a, b, 5);
            }
            self.settle();
            self.opens();
        }
        for pair in self.pairs() {
            self.sends(pair.0, pair.1, 5);
            self.settle();
            let (made, heard) = (self.ledger.made(pair), self.ledger.last(pair));
            assert_eq!(made, heard, "{pair:?} do not hear each other");
        }
    }
}
