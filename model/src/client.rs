//! One client: the real machine, and the least program around it that does what the protocol asks of programs.

use std::hash::{DefaultHasher, Hash, Hasher};

use pysock_proto::{
    CloseReason, Env, Ephemeral, Failure, Instant, Keypair, Kind, Name, PeerId, PeerInfo,
    PublicKey, SecretKey, Unit,
    crypto::Crypto,
    peer::{Acquaintance, FixedPeers, PeerEvent},
};

use crate::{
    pipe::{LIMITS, Pipe},
    rules::{Crossing, Rules},
};

/// How long an attempt may take, in milliseconds.
const ATTEMPT_MILLIS: u64 = 3_000;

/// What a client has heard that matters to the model.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub(crate) enum Heard {
    Open { fresh: bool },
    Wanted,
    Failed,
    Message(Vec<u8>),
    Lost(u32),
    Undelivered(u32),
    Unknown(u32),
    Protocol,
    Closed,
}

/// One of two clients.
pub(crate) struct Client<C: Crypto> {
    pub(crate) at: usize,
    pub(crate) info: PeerInfo,
    key: Keypair<C>,
    pipe: Pipe<C>,
    peers: FixedPeers<C, 2, 2>,
    /// The other client, as the server has named it last.
    other: PeerInfo,
    /// The other client's key is known: it was pinned or accepted. Outlives restarts.
    pinned: bool,
    /// Which part of the order its ephemeral keys come from.
    rank: u8,
    restarts: u8,
    drawn: u8,
    rules: Rules,
    pub(crate) heard: Vec<Heard>,
    /// Everything that the machine was given since it began. It is deterministic, so this stands for its state.
    history: DefaultHasher,
}

/// A client as everybody knows it.
pub(crate) fn info(at: usize) -> PeerInfo {
    let name = Name::new(["alice", "bob"][at]).expect("a name");
    PeerInfo { id: PeerId(at as u32 + 1), key: PublicKey(secret(at)), name }
}

/// In this model a public key is its secret.
fn secret(at: usize) -> [u8; 32] {
    [50 + at as u8; 32]
}

impl<C: Crypto> Client<C> {
    pub(crate) fn new(at: usize, rules: Rules, now: Instant) -> Self {
        let info = info(at);
        Client {
            at,
            info,
            key: Keypair::new(SecretKey::from_bytes(secret(at))),
            pipe: Pipe::new(&info.name, secret(at), now),
            peers: FixedPeers::new(info.name, LIMITS, Default::default(), Default::default()),
            other: self::info(1 - at),
            pinned: rules.pinned[at],
            rank: u8::from((at == 0) != rules.first_is_smaller),
            restarts: 0,
            drawn: 0,
            rules,
            heard: vec![],
            history: DefaultHasher::new(),
        }
    }

    fn note(&mut self, what: impl Hash, now: Instant) {
        (what, now.as_millis()).hash(&mut self.history);
    }

    /// Stands for the state of the machine and of the program around it.
    pub(crate) fn fingerprint(&self) -> u64 {
        let mut hasher = self.history.clone();
        (self.pinned, self.restarts, self.info.id, self.other.id).hash(&mut hasher);
        hasher.finish()
    }

    fn ephemeral(&mut self) -> Ephemeral {
        self.drawn += 1;
        Ephemeral::new::<C>(bytes(self.rank, self.at as u8, self.restarts, self.drawn))
    }

    /// A session, or a new one.
    pub(crate) fn open(&mut self, now: Instant) -> bool {
        let how = if self.pinned { Acquaintance::Known } else { Acquaintance::New };
        let e = self.ephemeral();
        let env = Env { now, identity: &self.key };
        let by = now.after_millis(ATTEMPT_MILLIS);
        let begun = self.peers.handshake(&self.other, how, e, by, &env).is_ok();
        self.note("open", now);
        begun
    }

    /// Sends a message in the open session.
    pub(crate) fn send(&mut self, text: &[u8], now: Instant) -> bool {
        if !self.is_open() {
            return false;
        }
        let mut mouth = self.pipe.mouth();
        mouth
            .conn
            .to_peer(&mut mouth.tx, &mut self.peers, &self.other.key)
            .and_then(|mut to| to.send(0, Kind::Message, text))
            .expect("room for a message");
        self.note(("send", text), now);
        true
    }

    pub(crate) fn close(&mut self, now: Instant) {
        let env = Env { now, identity: &self.key };
        self.peers.close(&self.other.key, CloseReason::Done, &env);
        self.note("close", now);
    }

    /// A unit has come, with this stamp.
    pub(crate) fn receive(&mut self, from: &PeerInfo, unit: Unit, bytes: &[u8], now: Instant) {
        self.note((from.id, unit == Unit::Record, bytes), now);
        if self.rules.broken_by(unit, bytes, &self.peers, &from.key) {
            match self.rules.crossing {
                Crossing::NeitherYields => return,
                Crossing::BothYield => self.peers.forget(&from.key),
                Crossing::Smaller => {}
            }
        }
        let mut bytes = bytes.to_vec();
        let env = Env { now, identity: &Keypair::<C>::new(SecretKey::from_bytes(secret(self.at))) };
        let mut incoming = self.peers.receive(from, unit, &mut bytes, &env);
        while let Some(event) = self.peers.next(&mut incoming) {
            self.hear(event, now);
        }
        self.other.id = from.id;
    }

    /// The server could not pass something on.
    pub(crate) fn unreachable(&mut self, id: PeerId, now: Instant) {
        self.note(("unreachable", id), now);
        if self.peers.unreachable(id, Failure::NoPeer).is_some() {
            self.heard.push(Heard::Failed);
        }
    }

    /// The server says what the other client's number is.
    pub(crate) fn named(&mut self, other: &PeerInfo, now: Instant) {
        self.note(("named", other.id), now);
        self.other = *other;
        self.peers.named(other);
    }

    /// The connection broke, and there is another one.
    pub(crate) fn reconnect(&mut self, id: PeerId, other: &PeerInfo, now: Instant) {
        self.note("reconnect", now);
        self.info.id = id;
        self.pipe = Pipe::new(&self.info.name, secret(self.at), now);
        self.peers.reconnected();
        self.named(other, now);
    }

    /// The program starts anew. It has its key and its pin; all else is gone.
    pub(crate) fn restart(&mut self, id: PeerId, other: &PeerInfo, now: Instant) {
        let (restarts, pinned) = (self.restarts + 1, self.pinned);
        *self = Client { restarts, pinned, ..Client::new(self.at, self.rules, now) };
        self.info.id = id;
        self.other = *other;
    }

    /// Asks for news, does what is wished for, and gives what leaves because of it.
    pub(crate) fn turn(&mut self, now: Instant) -> Vec<(PeerId, Unit, Vec<u8>)> {
        let mut units = vec![];
        for _ in 0..100 {
            while let Some((_, event)) = self.peers.poll(now) {
                self.hear(event, now);
            }
            let env =
                Env { now, identity: &Keypair::<C>::new(SecretKey::from_bytes(secret(self.at))) };
            let mut mouth = self.pipe.mouth();
            mouth.conn.flush_peers(&mut mouth.tx, &mut self.peers, &env).expect("room");
            let out = self.pipe.drain(now);
            if out.is_empty() {
                return units;
            }
            units.extend(out);
        }
        panic!("it never stops talking");
    }

    /// Time has come to a deadline.
    pub(crate) fn wakes(&mut self, now: Instant) {
        self.note("wakes", now);
    }

    fn hear(&mut self, event: PeerEvent<'_>, now: Instant) {
        let by = now.after_millis(ATTEMPT_MILLIS);
        let heard = match event {
            PeerEvent::Greeting(greeting) => {
                let e = self.ephemeral();
                self.peers.answer(greeting, e, by).expect("a fresh greeting");
                return;
            }
            PeerEvent::Verify(verify) => {
                let is_it = *verify.key() == self.other.key;
                assert!(is_it, "the server of this model does not lie about keys");
                self.pinned = true;
                let env = Env { now, identity: &self.key };
                self.peers.accept(verify, &env).expect("a fresh decision");
                return;
            }
            PeerEvent::Wanted => {
                let e = self.ephemeral();
                let env = Env { now, identity: &self.key };
                let id = self.peers.get(&self.other.key).and_then(|peer| peer.id());
                let other = PeerInfo { id: id.expect("a number"), ..self.other };
                let how = Acquaintance::Known;
                self.peers.handshake(&other, how, e, by, &env).expect("wanted, so there is room");
                Heard::Wanted
            }
            PeerEvent::Open { fresh } => Heard::Open { fresh },
            PeerEvent::Message { bytes, .. } => Heard::Message(bytes.to_vec()),
            PeerEvent::Lost(n) => Heard::Lost(n),
            PeerEvent::Undelivered(n) => Heard::Undelivered(n),
            PeerEvent::Unknown(n) => Heard::Unknown(n),
            PeerEvent::Failed(pysock_proto::PeerError::Protocol(..)) => Heard::Protocol,
            PeerEvent::Failed(_) => Heard::Failed,
            PeerEvent::Closed(_) | PeerEvent::Unanswered => Heard::Closed,
            PeerEvent::Reset => return,
            other => panic!("nothing in this model leads to {other:?}"),
        };
        self.heard.push(heard);
    }

    pub(crate) fn is_open(&self) -> bool {
        self.peers.get(&self.other.key).is_some_and(|peer| peer.is_open())
    }

    pub(crate) fn has_session(&self) -> bool {
        self.peers.get(&self.other.key).is_some()
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.peers.deadline()
    }
}

/// 32 bytes that name where they come from, and whose order is that of `rank`.
fn bytes(rank: u8, at: u8, restarts: u8, drawn: u8) -> [u8; 32] {
    let mut bytes = [1; 32];
    bytes[..4].copy_from_slice(&[rank, at, restarts, drawn]);
    bytes
}
