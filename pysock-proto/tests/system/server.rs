//! A server of the core's parts: registry, router, and a connection for each client with a queue in front of it.

mod outgoing;
mod relaying;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    rc::Rc,
};

use pysock_proto::{
    CloseReason, Connection, Env, Envelope, Ephemeral, Failure, Find, Identity, Instant, Keypair,
    Kind, Limits, Name, Party, PeerId, PeerInfo, PublicKey, Refusal, RequestId, SecretKey,
    SendError, ServerSetup, StreamId,
    crypto::Crypto,
    registry::{Claim, Entry, FixedRegistry, Policy, Registry, Slot},
    router::{FixedRouter, Route, Router, Sender},
    store::Fixed,
};

use super::{
    CHANNELS, Shared,
    accounts::{EVERYONE, SERVER},
    end::{End, Got},
    link::DOWN,
};
use outgoing::Out;

/// Entries in a connection's queue from which on its senders have to wait, and the most handshakes in theirs.
const LONG: usize = 12;
const HANDSHAKES: usize = 4;

/// Requester, responder, channel and number.
type Asked = (u32, u32, u32, u32);

pub struct Conn<K: Crypto> {
    pub end: End<K>,
    /// Waits for the disk, until then.
    admission: Option<(pysock_proto::Admission, Claim, u64)>,
    pub sender: Option<(Sender, PeerInfo)>,
    announced: VecDeque<PeerId>,
    outbox: VecDeque<Out>,
    handshakes: VecDeque<Out>,
    partners: BTreeSet<u32>,
    /// When each RelayFailed was said last.
    said: BTreeMap<(u32, u8), u64>,
    streams: BTreeMap<u8, (Envelope, Vec<u8>)>,
    /// Whose queue it waits for.
    waits_for: Option<u32>,
}

pub struct Server<K: Crypto> {
    key: Keypair<K>,
    pub limits: Limits,
    registry: FixedRegistry<16>,
    router: FixedRouter<3, 64>,
    pub conns: BTreeMap<u32, Conn<K>>,
    next_slot: u32,
    ephemerals: u64,
    /// Requests without an answer.
    pending: BTreeSet<Asked>,
    policy: Policy,
    disk: Vec<(PublicKey, Name)>,
    /// It repeats and forgets sealed units now and then, which is nobody's loss but its own.
    sloppy: bool,
    /// Units for a full queue are dropped; otherwise their sender waits.
    drops: bool,
}

fn registry(policy: Policy) -> FixedRegistry<16> {
    Registry::new(policy, Fixed::new(), Fixed::new(), Fixed::new())
}

fn router() -> FixedRouter<3, 64> {
    let mut router = Router::new(3, Fixed::new(), Fixed::new(), Fixed::new());
    for name in CHANNELS {
        router.create(&name.parse().unwrap()).unwrap();
    }
    router
}

fn info(entry: &Entry) -> PeerInfo {
    PeerInfo { id: entry.peer(), key: *entry.key(), name: *entry.name() }
}

impl<K: Crypto> Server<K> {
    pub fn new(sh: &mut Shared) -> Self {
        let policy = [Policy::Open, Policy::ClaimOnce { quota: 12 }][sh.chance.below(2)];
        let limits = Limits {
            record: [256, 512, 2048][sh.chance.below(3)],
            idle_secs: 5 + sh.chance.below(40) as u16,
            window: [512, 4096][sh.chance.below(2)],
            streams: sh.chance.below(5) as u8,
            peers: 1,
        };
        Server {
            key: Keypair::new(SecretKey::from_bytes([99; 32])),
            limits,
            registry: registry(policy),
            router: router(),
            conns: BTreeMap::new(),
            next_slot: 0,
            ephemerals: 0,
            pending: BTreeSet::new(),
            policy,
            disk: vec![],
            sloppy: sh.rough && sh.chance.one_in(2),
            drops: sh.chance.one_in(2),
        }
    }

    pub fn key(&self) -> PublicKey {
        self.key.public()
    }

    /// Names are bound on its disk.
    pub fn keeps_names(&self) -> bool {
        self.policy != Policy::Open
    }

    pub fn connected(&mut self, link: u32, sh: &Shared) {
        self.ephemerals += 1;
        let mut secret = [77; 32];
        secret[..8].copy_from_slice(&self.ephemerals.to_le_bytes());
        let setup = ServerSetup { limits: self.limits, psk_required: false };
        let by = Instant::from_millis(sh.now + 10_000);
        let conn = Connection::server(&setup, Ephemeral::new::<K>(secret), by);
        let conn = Conn {
            end: End::new(conn, self.limits, 3_000, link, DOWN),
            admission: None,
            sender: None,
            announced: VecDeque::new(),
            outbox: VecDeque::new(),
            handshakes: VecDeque::new(),
            partners: BTreeSet::new(),
            said: BTreeMap::new(),
            streams: BTreeMap::new(),
            waits_for: None,
        };
        self.conns.insert(self.next_slot, conn);
        self.next_slot += 1;
    }

    /// It begins anew: what is on its disk is left, and numbers stand for others.
    pub fn restarts(&mut self, sh: &mut Shared) {
        for conn in std::mem::take(&mut self.conns).into_values() {
            let now = sh.now;
            sh.link(conn.end.link).leave(DOWN, now);
        }
        (self.registry, self.router) = (registry(self.policy), router());
        self.pending.clear();
        let first = sh.chance.below(self.disk.len().max(1));
        for at in 0..self.disk.len() {
            let (key, name) = self.disk[(at + first) % self.disk.len()];
            self.registry.bind(&key, &name).unwrap();
        }
    }

    pub fn deadline(&self, slot: u32) -> Option<u64> {
        let conn = &self.conns[&slot];
        let disk = conn.admission.as_ref().map(|(_, _, at)| *at);
        disk.into_iter().chain(conn.end.deadline()).min()
    }

    pub fn reads(&self, slot: u32) -> bool {
        let conn = &self.conns[&slot];
        conn.admission.is_none() && conn.waits_for.is_none() && conn.end.reads()
    }

    /// Does what there is to do on one connection; the others that have something to do now.
    pub fn drive(&mut self, slot: u32, sh: &mut Shared) -> Vec<u32> {
        let mut others = BTreeSet::new();
        let now = Instant::from_millis(sh.now);
        let Some(conn) = self.conns.get_mut(&slot) else { return vec![] };
        let env = Env { now, identity: &self.key };
        if conn.end.conn.deadline().is_some_and(|at| at <= now) {
            conn.end.push(&env, sh);
            if conn.waits_for.is_some() {
                conn.end.conn.not_reading(now);
            }
        }
        if conn.admission.as_ref().is_some_and(|(_, _, at)| *at <= sh.now) {
            self.admit(slot, sh, &mut others);
        }
        loop {
            self.pump(slot, sh);
            let waits = self.conns[&slot].waits_for.and_then(|other| self.conns.get(&other));
            let goes_on = waits.is_none_or(|other| other.outbox.len() < LONG / 2);
            let conn = self.conns.get_mut(&slot).unwrap();
            if goes_on {
                conn.waits_for = None;
            }
            if conn.waits_for.is_some() || conn.admission.is_some() {
                break;
            }
            let env = Env { now, identity: &self.key };
            let Some(got) = conn.end.next(&env, sh) else { break };
            self.got(slot, got, sh, &mut others);
        }
        self.pump(slot, sh);
        let waiting = self.conns.iter().filter(|(_, conn)| {
            let other = conn.waits_for.map(|other| self.conns.get(&other));
            other.is_some_and(|other| other.is_none_or(|other| other.outbox.len() < LONG / 2))
        });
        others.extend(waiting.map(|(slot, _)| *slot));
        if self.conns[&slot].end.is_done(sh.now) {
            self.ends(slot, sh, &mut others);
        }
        others.remove(&slot);
        others.into_iter().collect()
    }

    fn admit(&mut self, slot: u32, sh: &mut Shared, others: &mut BTreeSet<u32>) {
        let conn = self.conns.get_mut(&slot).unwrap();
        let Some((admission, claim, _)) = conn.admission.take() else { return };
        if conn.end.failed.is_some() || conn.end.conn.is_over() {
            return self.registry.withdraw(claim);
        }
        let (key, name) = (*admission.key(), *admission.name());
        if claim.must_persist() && !self.disk.contains(&(key, name)) {
            self.disk.push((key, name));
        }
        let env = Env { now: Instant::from_millis(sh.now), identity: &self.key };
        let admitted = match self.registry.confirm(claim, Slot(slot)) {
            Ok(admitted) => admitted,
            Err(why) => {
                assert_eq!(why, Refusal::Replaced);
                sh.note("too late", slot.into(), 0);
                return conn.end.conn.refuse(admission, why, &env).unwrap();
            }
        };
        conn.end.conn.admit(admission, admitted.peer, &env).unwrap();
        let peer = PeerInfo { id: admitted.peer, key, name };
        conn.sender = Some((Sender { slot: Slot(slot), peer: admitted.peer }, peer));
        if let Some(Slot(older)) = admitted.replaced {
            self.router.drop_slot(Slot(older));
            // What was on its way there is lost with it.
            let who = sh.client(&key);
            let link = self.conns[&older].end.link;
            let link = sh.link(link);
            (link.faulty, link.cut) = (true, true);
            sh.accounts.disconnected(who);
            self.conns.get_mut(&older).unwrap().end.conn.close(CloseReason::Replaced);
            others.insert(older);
        }
    }

    fn got(&mut self, slot: u32, got: Got, sh: &mut Shared, others: &mut BTreeSet<u32>) {
        let conn = self.conns.get_mut(&slot).unwrap();
        let env = Env { now: Instant::from_millis(sh.now), identity: &self.key };
        match got {
            Got::Admission(admission) => {
                match self.registry.claim(admission.key(), admission.name()) {
                    Ok(claim) => {
                        let at = sh.now + sh.chance.below(60) as u64;
                        conn.admission = Some((admission, claim, at));
                    }
                    Err(why) => conn.end.conn.refuse(admission, why, &env).unwrap(),
                }
            }
            Got::Open(id, name) => {
                let joined = self.router.join(Slot(slot), id, &name);
                // Who was replaced gets in nowhere; it will hear so soon.
                let current = conn.sender.is_some_and(|(sender, _)| {
                    self.registry.get(sender.peer).and_then(Entry::slot) == Some(Slot(slot))
                });
                if !current {
                    self.router.drop_slot(Slot(slot));
                }
                let result = joined.map(drop).map_err(|_| Failure::NoChannel);
                conn.outbox.push_back(Out::Opened(id, result));
            }
            Got::Left(id) => {
                if let Some(channel) = self.router.leave(Slot(slot), id) {
                    let who = |key: &Asked| key.1 == slot && key.2 == channel.0;
                    let own = self.conns[&slot].sender.unwrap().0.peer;
                    self.forgets(own, who, Failure::NotOnChannel, others);
                }
            }
            Got::Find(query, find) => {
                let found = match find {
                    Find::Key(key) => self.registry.by_key(&key).filter(|e| e.slot().is_some()),
                    Find::Name(name) => self.registry.by_name(&name).filter(|e| e.slot().is_some()),
                    Find::After(id) => self.registry.next_online_after(id),
                };
                conn.outbox.push_back(Out::Found(query, found.map(info)));
            }
            Got::Message(envelope, bytes) => self.message(slot, envelope, bytes, sh, others),
            Got::Begin(stream, envelope) => {
                conn.streams.insert(stream.0, (envelope, vec![]));
            }
            Got::Chunk(StreamId(stream), bytes) => {
                conn.streams.get_mut(&stream).unwrap().1.extend(&bytes);
                conn.end.conn.consumed(StreamId(stream), bytes.len());
            }
            Got::End(stream) => {
                let (envelope, bytes) = conn.streams.remove(&stream.0).unwrap();
                self.message(slot, envelope, bytes, sh, others);
            }
            Got::Failed(envelope, failure) => self.declined(slot, envelope, failure, others),
            Got::Relay(peer, unit, bytes) => self.relay(slot, peer, unit, bytes, sh, others),
            Got::Closed(_) => {
                self.pump(slot, sh);
                let conn = self.conns.get_mut(&slot).unwrap();
                conn.outbox.clear();
                conn.end.conn.close(CloseReason::Done);
            }
            Got::Nothing => {}
            _ => panic!("no client says that"),
        }
    }

    fn client(&self, slot: u32, sh: &Shared) -> usize {
        sh.client(&self.conns[&slot].sender.unwrap().1.key)
    }

    fn message(
        &mut self,
        slot: u32,
        envelope: Envelope,
        bytes: Vec<u8>,
        sh: &mut Shared,
        others: &mut BTreeSet<u32>,
    ) {
        let (sender, from) = self.conns[&slot].sender.unwrap();
        let who = self.client(slot, sh);
        let Envelope { channel: local, party, kind } = envelope;
        let channel = self.router.resolve(Slot(slot), local);
        let told = !matches!(kind, Kind::Reply(_));
        let routed = self.router.route(&self.registry, sender, local, party, kind);
        let bytes: Rc<[u8]> = bytes.into();
        let mut to = vec![];
        match routed {
            Ok(Route::Server(on)) => {
                sh.accounts.got(SERVER, who, on.0 as usize, &bytes);
                if let Kind::Request(id) = kind {
                    let message = sh.accounts.message(SERVER, who, on.0 as usize, 5);
                    let receiver = if sh.present(who, on.0 as usize) { Some(who) } else { None };
                    sh.accounts.sent(SERVER, on.0 as usize, receiver.into_iter().collect());
                    let kind = Kind::Reply(id);
                    let reply = Out::Message { from: None, local, kind, bytes: message.into() };
                    self.conns.get_mut(&slot).unwrap().outbox.push_back(reply);
                }
                return;
            }
            Ok(Route::Peer { to: member, .. }) => {
                let (other, on) = (member.slot.0, channel.unwrap().0);
                let may = match kind {
                    Kind::Message => true,
                    Kind::Request(RequestId(id)) => {
                        self.pending.insert((slot, other, on, id));
                        true
                    }
                    Kind::Reply(RequestId(id)) => self.pending.remove(&(other, slot, on, id)),
                };
                if !may {
                    // The connection that has asked is gone: it must not reach a later one.
                    return sh.accounts.gives_up(who, &bytes, usize::from(bytes[1]), false);
                }
                to.push(member);
            }
            Ok(Route::Members(members)) => to.extend(members),
            Err(why) => {
                let peer = match party {
                    Party::Peer(id) => self.registry.get(id).map(|e| sh.client(e.key())),
                    _ => None,
                };
                let active = self.registry.get(sender.peer).and_then(Entry::slot);
                let link = self.conns[&slot].end.link;
                let listens = sh.presence[who].0 == Some(link) && !sh.is_cut(link);
                let sure = active == Some(Slot(slot)) && listens;
                let at = usize::from(bytes[1]);
                assert!(peer.is_none_or(|peer| peer == at || at == EVERYONE));
                let counts = sure && kind == Kind::Message;
                sh.accounts.gives_up(who, &bytes, at, counts);
                if told {
                    let conn = self.conns.get_mut(&slot).unwrap();
                    conn.outbox.push_back(Out::Failed(envelope, why));
                }
                return;
            }
        }
        for member in to {
            let other = self.conns.get_mut(&member.slot.0).unwrap();
            let bytes = bytes.clone();
            let out = Out::Message { from: Some(from), local: member.local, kind, bytes };
            other.outbox.push_back(out);
            // Every sender may come once more before it waits.
            assert!(other.outbox.len() <= 4 * LONG, "a queue without a bound");
            others.insert(member.slot.0);
            if other.outbox.len() >= LONG {
                self.conns.get_mut(&slot).unwrap().waits_for = Some(member.slot.0);
            }
        }
    }

    /// Fills the transmit buffer from the queues, and the link from that.
    fn pump(&mut self, slot: u32, sh: &mut Shared) {
        let env = Env { now: Instant::from_millis(sh.now), identity: &self.key };
        let conn = self.conns.get_mut(&slot).unwrap();
        loop {
            while conn.end.conn.is_open() && conn.sender.is_some() {
                let first = !conn.handshakes.is_empty();
                let queue = if first { &conn.handshakes } else { &conn.outbox };
                let Some(out) = queue.front() else { break };
                match out.put(&mut conn.end, &mut conn.announced) {
                    Err(SendError::Full(_)) => break,
                    sent => sent.unwrap(),
                }
                let queue = if first { &mut conn.handshakes } else { &mut conn.outbox };
                queue.pop_front();
            }
            if conn.end.push(&env, sh) == 0 {
                break;
            }
        }
    }

    fn ends(&mut self, slot: u32, sh: &mut Shared, others: &mut BTreeSet<u32>) {
        let conn = self.conns.remove(&slot).unwrap();
        let now = sh.now;
        sh.link(conn.end.link).leave(DOWN, now);
        if let Some((_, claim, _)) = conn.admission {
            self.registry.withdraw(claim);
        }
        self.router.drop_slot(Slot(slot));
        let Some((sender, _)) = conn.sender else { return };
        let who = |key: &Asked| key.0 == slot || key.1 == slot;
        self.forgets(sender.peer, who, Failure::Unknown, others);
        let gone = self.registry.offline(sender.peer, Slot(slot));
        for other in conn.partners.into_iter().filter(|_| gone) {
            if self.conns.contains_key(&other) {
                self.relay_failed(other, sender.peer, Failure::Gone, sh);
                others.insert(other);
            }
        }
    }

    pub fn probe(&mut self, slot: u32, now: u64) {
        let conn = self.conns.get_mut(&slot).unwrap();
        conn.end.probe(&Env { now: Instant::from_millis(now), identity: &self.key });
    }

    /// What a deadline has to change.
    pub fn state(&self, slot: u32) -> impl PartialEq + std::fmt::Debug + use<K> {
        self.conns.get(&slot).map(|conn| {
            let end = &conn.end;
            let due = end.conn.deadline();
            (end.written, end.tx.sealed().len(), end.is_over(), conn.admission.is_some(), due)
        })
    }

    /// Nobody is connected, and nothing is left of anybody.
    pub fn is_empty(&self) -> bool {
        let on = self
            .router
            .channels()
            .iter()
            .any(|c| self.router.members(c.channel(), None).count() > 0);
        let bound = self.registry.entries().len() == self.registry.count_bound();
        self.conns.is_empty() && !on && bound && self.pending.is_empty()
    }

    /// Whether a refusal is what this name deserves.
    pub fn may_refuse(why: Refusal) -> bool {
        matches!(why, Refusal::NameTaken | Refusal::KeyHasName | Refusal::NameInUse)
    }
}
