//! A client: its connection, its channels and requests, and its sessions with others. It is an honest program; what it
//! asks for is drawn by lot.

mod acts;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use pysock_proto::{
    ChannelId, ClientSetup, CloseReason, Connection, Env, Envelope, Ephemeral, Expect, Failure,
    Identity, Instant, Keypair, Kind, Limits, Name, Party, PeerId, PeerInfo, PublicKey, RequestId,
    SecretKey, SendError, StreamId, Suite, crypto::Crypto, peer::FixedPeers,
};

use super::{
    CHANNELS, NAMES, Shared,
    accounts::{EVERYONE, SERVER},
    end::{End, Got},
    link::UP,
    server::Server,
};

pub struct Client<K: Crypto> {
    pub at: usize,
    pub key: Keypair<K>,
    name: Name,
    pub limits: Limits,
    transmit: usize,
    pub end: Option<End<K>>,
    /// Kept in a file, so that it outlives restarts; like the keys of friends.
    pin: Option<PublicKey>,
    pub accepted: BTreeSet<usize>,
    ephemerals: u64,
    /// The name that it asks for on this connection belongs to somebody else.
    asks_for_anothers: bool,
    bound: bool,
    /// Its own number on this connection.
    id: Option<PeerId>,
    pub welcome: bool,
    closing: bool,
    /// By their number: which it is, and whether this side is on it.
    pub channels: Vec<(usize, Option<bool>)>,
    announced: VecDeque<PeerInfo>,
    /// By client: as the server has found it on this connection.
    pub found: BTreeMap<usize, PeerInfo>,
    questions: u8,
    requests: BTreeMap<u32, (Party, ChannelId)>,
    next_request: u32,
    /// A large message to the server: number, channel, text, how much of it has left.
    streams: Vec<(StreamId, ChannelId, Vec<u8>, usize)>,
    pub peers: FixedPeers<K, 12, 4>,
    /// With whom it has an open session, as its events say.
    pub shut: BTreeSet<usize>,
    pub friends: BTreeSet<usize>,
    pub connect_at: Option<u64>,
    pub act_at: u64,
    /// The latest attempts at peace with each friend.
    pub called: BTreeMap<usize, u64>,
}

pub fn keypair<K: Crypto>(at: usize) -> Keypair<K> {
    Keypair::new(SecretKey::from_bytes([10 + at as u8; 32]))
}

impl<K: Crypto> Client<K> {
    pub fn new(at: usize, sh: &mut Shared, streams: bool) -> Self {
        let limits = Limits {
            record: [256, 512, 1024][sh.chance.below(3)],
            idle_secs: 4 + sh.chance.below(36) as u16,
            window: [512, 4096][sh.chance.below(2)],
            streams: if streams { sh.chance.below(5) as u8 } else { 0 },
            peers: [1, 2, 64][sh.chance.below(3)],
        };
        let name: Name = NAMES[at].parse().unwrap();
        let transmit = [pysock_proto::MIN_TRANSMIT, 1_000, 4_000][sh.chance.below(3)];
        Client {
            at,
            key: keypair(at),
            name,
            limits,
            transmit,
            end: None,
            pin: None,
            accepted: BTreeSet::new(),
            ephemerals: 0,
            asks_for_anothers: false,
            bound: false,
            id: None,
            welcome: false,
            closing: false,
            channels: vec![],
            announced: VecDeque::new(),
            found: BTreeMap::new(),
            questions: 0,
            requests: BTreeMap::new(),
            next_request: 0,
            streams: vec![],
            peers: FixedPeers::new(name, limits, Default::default(), Default::default()),
            shut: BTreeSet::new(),
            friends: BTreeSet::new(),
            connect_at: Some(sh.chance.below(500) as u64),
            act_at: 0,
            called: BTreeMap::new(),
        }
    }

    pub fn ephemeral(&mut self) -> Ephemeral {
        self.ephemerals += 1;
        let mut secret = [100 + self.at as u8; 32];
        secret[..8].copy_from_slice(&self.ephemerals.to_le_bytes());
        secret[8..16].copy_from_slice(&(self.ephemerals << 17).to_le_bytes());
        Ephemeral::new::<K>(secret)
    }

    pub fn connect(&mut self, server: &mut Server<K>, sh: &mut Shared) {
        assert!(self.end.is_none());
        self.connect_at = None;
        let link = sh.new_link();
        server.connected(link, sh);
        let others = self.bound && server.keeps_names() && sh.rough && sh.chance.one_in(10);
        self.asks_for_anothers = others;
        let name: Name =
            if others { NAMES[(self.at + 1) % sh.n].parse().unwrap() } else { self.name };
        let expect = self.pin.as_ref().map_or(Expect::Unknown, Expect::Pinned);
        let (limits, suite) = (self.limits, Suite::ChaChaPoly);
        let setup = ClientSetup { name: &name, limits, expect, psk: None, suite };
        let by = Instant::from_millis(sh.now + 10_000);
        self.ephemerals += 1;
        let mut secret = [200 + self.at as u8; 32];
        secret[..8].copy_from_slice(&self.ephemerals.to_le_bytes());
        let conn = Connection::client(&setup, Ephemeral::new::<K>(secret), by);
        self.end = Some(End::new(conn, self.limits, self.transmit, link, UP));
        (self.welcome, self.closing, self.questions) = (false, false, 0);
        self.channels.clear();
        self.announced.clear();
        self.found.clear();
        self.requests.clear();
        self.streams.clear();
        self.peers.reconnected();
        sh.presence[self.at] = (None, [false; 3]);
    }

    pub fn deadline(&self) -> Option<u64> {
        let own = self.end.as_ref().and_then(End::deadline);
        let peers = self.peers.deadline().map(|at| at.as_millis());
        own.into_iter().chain(peers).min()
    }

    /// Does what there is to do.
    pub fn drive(&mut self, server: &Server<K>, sh: &mut Shared) {
        let now = Instant::from_millis(sh.now);
        loop {
            self.work(sh);
            let Some(end) = &mut self.end else { return };
            let env = Env { now, identity: &self.key };
            let Some(got) = end.next(&env, sh) else { break };
            self.got(got, server, sh);
        }
        self.work(sh);
        let end = self.end.as_ref().unwrap();
        if end.is_done(sh.now) {
            self.ends(sh);
        }
    }

    /// Asks what the time brings, and writes what is due.
    fn work(&mut self, sh: &mut Shared) {
        let now = Instant::from_millis(sh.now);
        loop {
            self.poll(sh);
            let Some(end) = &mut self.end else { return };
            self.streams.retain_mut(|(stream, _, text, at)| {
                let (conn, tx) = (&mut end.conn, &mut end.tx);
                while *at < text.len() {
                    match conn.chunk(&mut tx.lend(), *stream, &text[*at..]) {
                        Ok(n) => *at += n,
                        Err(SendError::NoCredit | SendError::Full(_)) => return true,
                        Err(SendError::NotOpen) => return false,
                        Err(why) => panic!("{why}"),
                    }
                }
                matches!(conn.end(&mut tx.lend(), *stream), Err(SendError::Full(_)))
            });
            let env = Env { now, identity: &self.key };
            match end.conn.flush_peers(&mut end.tx.lend(), &mut self.peers, &env) {
                Ok(()) | Err(SendError::NotOpen | SendError::Full(_)) => {}
                Err(why) => panic!("{why}"),
            }
            if end.push(&env, sh) == 0 {
                return;
            }
        }
    }

    fn got(&mut self, got: Got, server: &Server<K>, sh: &mut Shared) {
        let end = self.end.as_mut().unwrap();
        match got {
            Got::Verify(verify) => {
                assert_eq!(*verify.key(), server.key());
                end.conn.accept(verify).unwrap();
            }
            Got::Welcome(id) => {
                self.id = Some(id);
                assert!(!self.asks_for_anothers, "{} got a name that is another's", self.at);
                (self.welcome, self.bound, self.pin) = (true, true, Some(server.key()));
                sh.presence[self.at].0 = (!self.closing).then_some(end.link);
                sh.note("welcome", self.at as u64, 0);
                for _ in 0..2 {
                    self.open(sh);
                }
            }
            Got::Refused(why) => {
                // A client that has restarted may be admitted twice at once.
                assert!(
                    Server::<K>::may_refuse(why) && self.asks_for_anothers,
                    "{}: {why}",
                    self.at
                );
            }
            Got::Opened(id, result) => {
                self.questions -= 1;
                let (which, on) = &mut self.channels[usize::from(id.0)];
                if on.is_none() {
                    *on = Some(result.is_ok());
                    sh.presence[self.at].1[*which] = result.is_ok();
                }
            }
            Got::Found(query, found) => {
                self.questions -= 1;
                if let Some(info) = found {
                    let who = sh.client(&info.key);
                    assert_eq!(who, usize::from(query), "another than was looked for");
                    assert!(who == self.at || Some(info.id) != self.id, "a number for two");
                    self.peers.named(&info);
                    self.found.insert(who, info);
                }
            }
            Got::Peer(info) => {
                self.peers.named(&info);
                self.announced.push_back(info);
                if self.announced.len() > usize::from(self.limits.peers) {
                    self.announced.pop_front();
                }
            }
            Got::Message(envelope, bytes) => self.message(envelope, &bytes, sh),
            Got::Failed(envelope, failure) => self.failed(envelope, failure, sh),
            Got::Relay(peer, unit, mut bytes) => {
                let from = self.source(peer);
                self.session(&from, unit, &mut bytes, sh);
            }
            Got::RelayFailed(peer, failure) => {
                if let Some((key, why)) = self.peers.unreachable(peer, failure) {
                    let from = sh.client(&key);
                    let heard = crate::sim::peers::Heard::Failed(why);
                    self.ledger(from, heard, None, sh);
                }
            }
            Got::Closed(why) => {
                sh.note("closed", self.at as u64, 0);
                // A connection that it has given up may be admitted after the one that took its place.
                let overtaken = why == CloseReason::Replaced && sh.rough;
                assert!(self.closing || overtaken, "closed by the server: {why:?}");
                sh.replaced += u64::from(overtaken);
                self.end.as_mut().unwrap().conn.close(CloseReason::Done);
                let complete = why != CloseReason::Answered || sh.accounts.is_complete(self.at);
                assert!(complete, "{}: the answer came, and not everything had arrived", self.at);
            }
            Got::Nothing => {}
            _ => panic!("no server says that"),
        }
    }

    /// Whom a number stands for: by the rules of announcements, it has to be known.
    fn source(&self, id: PeerId) -> PeerInfo {
        *self.announced.iter().rfind(|info| info.id == id).expect("a source that nobody announced")
    }

    fn message(&mut self, envelope: Envelope, bytes: &[u8], sh: &mut Shared) {
        let from = match envelope.party {
            Party::Server => SERVER,
            Party::Peer(id) => sh.client(&self.source(id).key),
            Party::Everyone => panic!("not a source"),
        };
        let (which, on) = self.channels[usize::from(envelope.channel.0)];
        if on != Some(false) {
            sh.accounts.got(self.at, from, which, bytes);
            sh.note("message", self.at as u64, bytes.len() as u64);
        }
        match envelope.kind {
            Kind::Message => {}
            Kind::Request(_) => self.answer(envelope, from, which, sh),
            Kind::Reply(RequestId(id)) => {
                let asked = self.requests.remove(&id);
                let same = asked == Some((envelope.party, envelope.channel));
                assert!(same, "{}: a reply to nothing that it has asked", self.at);
            }
        }
    }

    fn answer(&mut self, envelope: Envelope, to: usize, which: usize, sh: &mut Shared) {
        let end = self.end.as_mut().unwrap();
        let Envelope { channel, party, kind } = envelope;
        let Kind::Request(id) = kind else { return };
        let tx = &mut end.tx.lend();
        let sent = if sh.chance.one_in(4) {
            end.conn.send_failed(tx, &envelope, Failure::NoResponder)
        } else {
            let message = sh.accounts.message(self.at, to, which, 9);
            let reply = Envelope { channel, party, kind: Kind::Reply(id) };
            // What it sends behind its large message would overtake it.
            let held = self.streams.iter().any(|(_, on, ..)| *on == channel);
            let sent =
                if held { Err(SendError::Streams) } else { end.conn.send(tx, &reply, &message) };
            if sent.is_ok() {
                let sure = sh.present(to, which) && !sh.is_cut(end.link);
                let to = if sure { Some(to) } else { None };
                sh.accounts.sent(self.at, which, to.into_iter().collect());
            }
            sent
        };
        if let Err(SendError::Full(_) | SendError::Streams) = sent {
            // A program would queue it; this one declines later, when it closes.
            let sent = end.conn.send_failed(&mut end.tx.lend(), &envelope, Failure::Busy);
            if sent.is_err() {
                sh.unanswered = true;
            }
        }
    }

    fn failed(&mut self, envelope: Envelope, _: Failure, sh: &mut Shared) {
        let link = self.end.as_ref().unwrap().link;
        match envelope.kind {
            Kind::Request(RequestId(id)) => {
                let asked = self.requests.remove(&id);
                assert_eq!(asked, Some((envelope.party, envelope.channel)), "answered twice");
            }
            Kind::Message if !sh.is_cut(link) && !self.closing => sh.accounts.reported(self.at),
            _ => {}
        }
    }

    /// The connection is over, or torn away.
    pub fn ends(&mut self, sh: &mut Shared) {
        let Some(end) = self.end.take() else { return };
        let now = sh.now;
        let peace = self.closing && end.failed.is_none() && end.deaf;
        sh.link(end.link).leave(UP, now);
        if !peace {
            let link = sh.link(end.link);
            (link.faulty, link.cut) = (true, true);
            sh.accounts.disconnected(self.at);
        }
        sh.presence[self.at] = (None, [false; 3]);
        sh.note("ends", self.at as u64, u64::from(peace));
        self.requests.clear();
        self.streams.clear();
        if !sh.over {
            self.connect_at = Some(now + 100 + sh.chance.below(2_000) as u64);
        }
    }

    /// It loses what is in memory.
    pub fn restart(&mut self, sh: &mut Shared) {
        self.ends(sh);
        self.peers =
            FixedPeers::new(self.name, self.limits, Default::default(), Default::default());
        self.shut.clear();
        for other in 0..sh.n {
            sh.ledger.forget(self.at, other);
        }
    }

    pub fn probe(&mut self, now: u64) {
        let now = Instant::from_millis(now);
        let before = self.peers.deadline();
        assert!(self.peers.poll(now).is_none(), "news before the deadline {before:?}");
        assert_eq!(self.peers.deadline(), before, "the deadline moves by itself");
        if let Some(end) = &mut self.end {
            end.probe(&Env { now, identity: &self.key });
        }
    }

    /// Nothing is asked and not answered.
    pub fn settle(&self) {
        assert!(self.requests.is_empty(), "{} waits for answers: {:?}", self.at, self.requests);
    }

    /// What a deadline has to change: something leaves, ends, or is due at another time.
    pub fn state(&self) -> impl PartialEq + std::fmt::Debug + use<K> {
        let end = self
            .end
            .as_ref()
            .map(|end| (end.written, end.tx.sealed().len(), end.is_over(), end.conn.deadline()));
        (end, self.peers.deadline(), self.ephemerals)
    }

    pub fn public(&self) -> PublicKey {
        self.key.public()
    }
}
