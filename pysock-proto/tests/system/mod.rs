//! A whole system on a virtual clock: one server, its clients, and links that do to bytes what networks do. One seed
//! draws everything, so that it happens again the same way.
//!
//! Nothing moves but by an event: bytes that arrive, room to write, a deadline, an act. Between two events nothing is
//! due, which is checked by waking machines in between; at a deadline something is, which is checked as well.
#![allow(unreachable_pub, reason = "a test has no public API")]
#![allow(clippy::print_stderr, reason = "a seed that is replayed tells its story")]

pub mod accounts;
pub mod cheap;
pub mod client;
pub mod end;
pub mod link;
pub mod server;
pub mod sessions;

use std::collections::BTreeMap;

use pysock_proto::{Name, PublicKey, crypto::Crypto};

use crate::{ledger::Ledger, sim::chance::Chance};
use accounts::Accounts;
use client::Client;
use link::{DOWN, Link, UP};
use server::Server;

pub const CHANNELS: [&str; 3] = ["one", "three", "two"];
pub const NAMES: [&str; 12] = [
    "alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy", "karl",
    "lena",
];

/// How long everything may take to heal, and to end, in milliseconds.
const HEALS: u64 = 600_000;
const ENDS: u64 = 60_000;

/// What all have in common.
pub struct Shared {
    pub now: u64,
    pub n: usize,
    pub chance: Chance,
    pub links: BTreeMap<u32, Link>,
    next_link: u32,
    pub accounts: Accounts,
    pub ledger: Ledger,
    pub keys: Vec<PublicKey>,
    /// Of each client: the link it is open on, and its channels.
    pub presence: Vec<(Option<u32>, [bool; 3])>,
    /// Links fail in this system.
    pub rough: bool,
    /// Nothing goes wrong any more.
    pub healing: bool,
    /// No new connections any more.
    pub over: bool,
    /// Some request got no answer, for want of room to say even that.
    pub unanswered: bool,
    /// Connections that were replaced by an older one of the same client.
    pub replaced: u64,
    pub verbose: bool,
    hash: u64,
    pub count: [u64; 8],
}

impl Shared {
    /// Folds what happens into the trace.
    pub fn note(&mut self, what: &str, a: u64, b: u64) {
        for word in [self.now, what.len() as u64, a, b, self.chance.0] {
            self.hash = (self.hash ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
        }
        if self.verbose && (what, b) != ("writes", 0) {
            eprintln!("{:>8} {what} {a} {b}", self.now);
        }
    }

    pub fn link(&mut self, link: u32) -> &mut Link {
        self.links.get_mut(&link).unwrap()
    }

    pub fn is_cut(&self, link: u32) -> bool {
        self.links.get(&link).is_none_or(|link| link.cut)
    }

    pub fn new_link(&mut self) -> u32 {
        let link = Link::new(&mut self.chance);
        self.links.insert(self.next_link, link);
        self.next_link += 1;
        self.next_link - 1
    }

    pub fn client(&self, key: &PublicKey) -> usize {
        self.keys.iter().position(|known| known == key).expect("the key of a client")
    }

    pub fn name(&self, client: usize) -> Name {
        NAMES[client].parse().unwrap()
    }

    /// What is sent to a client on this channel now has to arrive.
    pub fn present(&self, client: usize, channel: usize) -> bool {
        let (link, on) = &self.presence[client];
        link.is_some_and(|link| !self.is_cut(link)) && on[channel]
    }
}

/// What came of a system.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outcome {
    pub hash: u64,
    pub delivered: u64,
    pub failed: u64,
    pub excused: u64,
    /// Messages in sessions, sessions, pieces of streams, reports of Lost, Undelivered and Unknown.
    pub heard: [u64; 6],
    pub events: u64,
}

struct System<K: Crypto> {
    sh: Shared,
    server: Server<K>,
    clients: Vec<Client<K>>,
    events: u64,
    /// Events in a row at the same moment.
    still: u64,
    /// How many acts in a thousand are faults.
    evil: usize,
}

impl<K: Crypto> System<K> {
    fn new(seed: u64, verbose: bool) -> Self {
        let mut chance = Chance(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 0x5eed);
        let n = [2, 2, 3, 3, 4, 5, 7, 12][chance.below(8)];
        let evil = [0, 4, 20, 60][chance.below(4)];
        let streams = chance.one_in(2);
        let mut sh = Shared {
            now: 1_000,
            n,
            chance,
            links: BTreeMap::new(),
            next_link: 0,
            accounts: Accounts::default(),
            ledger: Ledger::new(streams),
            keys: vec![],
            presence: vec![(None, [false; 3]); n],
            rough: evil > 0,
            healing: false,
            over: false,
            unanswered: false,
            replaced: 0,
            verbose,
            hash: seed,
            count: [0; 8],
        };
        let server = Server::new(&mut sh);
        let mut clients: Vec<Client<K>> =
            (0..n).map(|at| Client::new(at, &mut sh, streams)).collect();
        sh.keys = clients.iter().map(Client::public).collect();
        for a in 0..n {
            for b in a + 1..n {
                if n <= 3 || sh.chance.one_in(n / 2) {
                    clients[a].friends.insert(b);
                    clients[b].friends.insert(a);
                }
            }
        }
        System { sh, server, clients, events: 0, still: 0, evil }
    }

    fn drive_client(&mut self, at: usize) {
        let due = self.clients[at].deadline().is_some_and(|by| by <= self.sh.now);
        let before = self.clients[at].state();
        self.clients[at].drive(&self.server, &mut self.sh);
        self.sh.note("client", at as u64, 0);
        if due {
            let left = self.clients[at].deadline();
            assert!(left.is_none_or(|by| by > self.sh.now), "client {at} is due at once again");
            assert_ne!(before, self.clients[at].state(), "client {at} was woken for nothing");
        }
    }

    fn drive_server(&mut self, slot: u32) {
        let mut todo = vec![slot];
        let mut rounds = 0;
        while let Some(slot) = todo.pop() {
            if !self.server.conns.contains_key(&slot) {
                continue;
            }
            let due = self.server.deadline(slot).is_some_and(|by| by <= self.sh.now);
            let before = self.server.state(slot);
            let others = self.server.drive(slot, &mut self.sh);
            if due && self.server.conns.contains_key(&slot) {
                let left = self.server.deadline(slot);
                assert!(left.is_none_or(|by| by > self.sh.now), "connection {slot} is due again");
                assert_ne!(
                    before,
                    self.server.state(slot),
                    "connection {slot} was woken for nothing"
                );
            }
            todo.extend(others);
            rounds += 1;
            assert!(rounds < 10_000, "the server never rests");
        }
    }

    /// When there is something to do next.
    fn next(&self) -> Option<u64> {
        let mut first: Option<u64> = None;
        let mut also = |at: Option<u64>| {
            if let Some(at) = at {
                first = Some(first.map_or(at, |first| first.min(at)));
            }
        };
        for client in &self.clients {
            also(client.deadline());
            also(client.connect_at.filter(|_| !self.sh.over));
            also((!self.sh.over && client.act_at > 0).then_some(client.act_at));
            if let Some(end) = &client.end {
                also(self.sh.links[&end.link].next(DOWN, end.reads()));
            }
        }
        for (slot, conn) in &self.server.conns {
            also(self.server.deadline(*slot));
            also(self.sh.links[&conn.end.link].next(UP, self.server.reads(*slot)));
        }
        first
    }

    /// All that is to be done at this moment.
    fn turn(&mut self, acts: bool) {
        let now = self.sh.now;
        for at in 0..self.clients.len() {
            if self.clients[at].connect_at.is_some_and(|by| by <= now) && !self.sh.over {
                self.clients[at].connect(&mut self.server, &mut self.sh);
                self.drive_client(at);
            }
            if self.clients[at].act_at <= now && !self.sh.over {
                self.clients[at].act_at = now + 1 + self.sh.chance.below(100) as u64;
                self.act(at, acts);
                self.drive_client(at);
            }
            let Some(end) = &self.clients[at].end else {
                if self.clients[at].deadline().is_some_and(|by| by <= now) {
                    self.drive_client(at);
                }
                continue;
            };
            let (link, reads) = (end.link, end.reads());
            let link = self.sh.link(link);
            let more = link.takes_more(UP) | link.next(DOWN, reads).is_some_and(|by| by <= now);
            if more || self.clients[at].deadline().is_some_and(|by| by <= now) {
                self.drive_client(at);
            }
        }
        let slots: Vec<u32> = self.server.conns.keys().copied().collect();
        for slot in slots {
            let Some(conn) = self.server.conns.get(&slot) else { continue };
            let link = conn.end.link;
            let reads = self.server.reads(slot);
            let link = self.sh.link(link);
            let more = link.takes_more(DOWN) | link.next(UP, reads).is_some_and(|by| by <= now);
            if more || self.server.deadline(slot).is_some_and(|by| by <= now) {
                self.drive_server(slot);
            }
        }
        self.sh.links.retain(|_, link| link.left != [true; 2]);
    }

    /// Runs until then, or until nothing is left to do.
    fn run(&mut self, until: u64, acts: bool) {
        while let Some(next) = self.next() {
            let next = next.max(self.sh.now);
            if next > until {
                break;
            }
            if next > self.sh.now + 1 && self.sh.chance.one_in(3) {
                self.probe(next);
            }
            self.events += 1;
            let again = next == self.sh.now;
            self.still = if again { self.still + 1 } else { 0 };
            assert!(self.still < 20_000, "time stands still");
            self.sh.now = next;
            self.turn(acts);
        }
        self.sh.now = self.sh.now.max(until);
    }

    /// Wakes somebody although nothing has happened and nothing is due.
    fn probe(&mut self, next: u64) {
        let (now, chance) = (self.sh.now, &mut self.sh.chance);
        let at = if chance.one_in(2) {
            next - 1
        } else {
            now + chance.below((next - now) as usize) as u64
        };
        let at_client = chance.below(self.clients.len());
        self.clients[at_client].probe(at);
        let slots: Vec<u32> = self.server.conns.keys().copied().collect();
        if !slots.is_empty() {
            self.server.probe(slots[self.sh.chance.below(slots.len())], at);
        }
        self.sh.now = at;
    }

    fn friend(&mut self, at: usize) -> Option<usize> {
        let friends = &self.clients[at].friends;
        let which = self.sh.chance.below(friends.len().max(1));
        friends.iter().nth(which).copied()
    }

    fn act(&mut self, at: usize, all: bool) {
        let friend = self.friend(at);
        let client = &mut self.clients[at];
        if let Some(friend) = friend {
            client.go_on(friend, &mut self.sh);
            // Sessions find their way back by themselves; only the first one, or one after an end, is called for.
            let called = client.called.entry(friend).or_default();
            if self.sh.now >= *called + 1_500 {
                *called = self.sh.now;
                client.befriend(friend, &self.sh);
            }
        }
        if !all {
            return;
        }
        if self.sh.chance.below(1_000) < self.evil {
            return self.fault(at);
        }
        let sh = &mut self.sh;
        match sh.chance.below(100) {
            0..50 => client.act(sh),
            50..90 => {
                if let Some(friend) = friend {
                    let len = [0, 1, 20, 120, 400][sh.chance.below(5)];
                    client.say_to(friend, len, sh);
                }
            }
            90..95 => {
                if let Some(friend) = friend {
                    let len = sh.chance.below(2_500);
                    client.stream_to(friend, len, sh);
                }
            }
            95 if sh.chance.one_in(4) => {
                if let Some(friend) = friend {
                    client.close_session(friend, sh);
                }
            }
            96 if sh.chance.one_in(4) => client.close(sh),
            97 => {
                if let Some(friend) = friend {
                    client.renew(friend, sh);
                }
            }
            _ => {}
        }
    }

    fn fault(&mut self, at: usize) {
        let (now, link) = (self.sh.now, self.clients[at].end.as_ref().map(|end| end.link));
        let kind = self.sh.chance.below(12);
        self.sh.note("fault", at as u64, kind as u64);
        let sh = &mut self.sh;
        match (kind, link) {
            (0..6, Some(link)) => {
                let told = [[true, true], [true, false], [false, true], [false, false]];
                let told = told[sh.chance.below(4)];
                let Shared { links, chance, .. } = sh;
                links.get_mut(&link).unwrap().cut(told, now, chance);
                sh.accounts.disconnected(at);
            }
            (6 | 7, Some(link)) => {
                let until = now + 100 + sh.chance.below(12_000) as u64;
                sh.link(link).stands_still(until);
            }
            (8, Some(link)) => {
                let way = sh.chance.below(2);
                let Shared { links, chance, .. } = sh;
                let link = links.get_mut(&link).unwrap();
                if link.alter(way, chance) {
                    // Whatever comes behind it is lost with it.
                    link.cut = true;
                    sh.accounts.disconnected(at);
                }
            }
            (9 | 10, _) => self.clients[at].restart(sh),
            (11, _) if sh.chance.one_in(3) => {
                for link in sh.links.values_mut() {
                    (link.faulty, link.cut) = (true, true);
                }
                (0..sh.n).for_each(|at| sh.accounts.disconnected(at));
                self.server.restarts(sh);
            }
            _ => {}
        }
    }

    /// No faults any more: every friend has an open session with every other.
    fn heals(&mut self) {
        let by = self.sh.now + HEALS;
        loop {
            self.run(self.sh.now + 3_000, false);
            let shut = self.clients.iter().flat_map(|c| {
                let open = |friend: &&usize| !c.is_open(**friend, &self.sh);
                c.friends.iter().filter(open).map(|friend| (c.at, *friend))
            });
            let shut: Vec<_> = shut.collect();
            // Who is cut off may take its idle time to learn of it.
            let well =
                |link: &u32| !self.sh.is_cut(*link) && self.sh.links[link].moves(self.sh.now);
            let link = |c: &Client<K>| c.end.as_ref().map(|end| end.link);
            let out =
                self.clients.iter().any(|c| !c.welcome || !link(c).as_ref().is_some_and(well));
            if shut.is_empty() && !out {
                return;
            }
            assert!(self.sh.now < by, "still shut: {shut:?}");
        }
    }

    fn settles(&mut self) {
        self.sh.healing = true;
        self.heals();
        // One side may have lost the session and not know it yet.
        for _ in 0..3 {
            for at in 0..self.clients.len() {
                for friend in self.clients[at].friends.clone() {
                    self.clients[at].say_to(friend, 5, &mut self.sh);
                }
                self.drive_client(at);
            }
            self.run(self.sh.now + 3_000, false);
            self.heals();
        }
        for at in 0..self.clients.len() {
            for friend in self.clients[at].friends.clone() {
                self.sh.ledger.balance(at, friend);
            }
            if !self.sh.unanswered {
                self.clients[at].settle();
            }
        }
        self.sh.accounts.settle();
    }

    /// All close in peace, sessions first, and nothing is left.
    fn ends(&mut self) {
        self.sh.over = true;
        for at in 0..self.clients.len() {
            for friend in self.clients[at].friends.clone() {
                self.clients[at].close_session(friend, &mut self.sh);
            }
            self.drive_client(at);
        }
        self.run(self.sh.now + 6_000, false);
        for at in 0..self.clients.len() {
            assert!(self.clients[at].peers.sessions().is_empty(), "a session outlives its end");
            self.clients[at].close(&mut self.sh);
            self.drive_client(at);
        }
        let by = self.sh.now + ENDS;
        self.run(by, false);
        assert_eq!(self.next(), None, "something never ends");
        assert!(self.clients.iter().all(|client| client.end.is_none()));
        assert!(self.server.is_empty(), "something is left of those who have gone");
        assert!(self.sh.links.is_empty());
    }
}

/// Lives through one system.
pub fn play<K: Crypto>(seed: u64, verbose: bool) -> Outcome {
    let mut system = System::<K>::new(seed, verbose);
    let length = [5_000, 20_000, 40_000][system.sh.chance.below(3)] * 2 / system.sh.n as u64;
    system.run(1_000 + length, true);
    if system.sh.chance.one_in(4) {
        // Long silence, in which only signs of life travel.
        (0..system.sh.n).for_each(|at| system.clients[at].act_at += 50_000);
        system.run(system.sh.now + 50_000, true);
        system.run(system.sh.now + 3_000, true);
    }
    system.settles();
    system.ends();
    let (sh, count) = (&system.sh, system.sh.count);
    Outcome {
        hash: sh.hash,
        delivered: sh.accounts.delivered,
        failed: sh.accounts.failed,
        excused: sh.accounts.excused,
        heard: [count[1], count[2], count[3], count[4], count[5], count[6]],
        events: system.events,
    }
}
