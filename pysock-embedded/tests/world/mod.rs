//! A world for clients of microcontrollers: links in memory, a virtual clock, and a server that a test has in its hand.
//! Bytes arrive in pieces of any size. Every loop is bounded, and a client that spins instead of waiting fails its test.
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "every test file uses its own part of this module"
)]

pub mod server;

use std::hash::{DefaultHasher, Hash, Hasher};

pub use pysock_embedded::{
    Address, Channel, Client, Entropy, Event, Memory, Message, NoEntropy, Setup, Target,
    client::{Ended, OnEvent, Stream, Why},
    proto::{
        CloseReason, Failure, Identity, Instant, Kind, PeerRefusal, PublicKey, Refusal, SendError,
        peer::PeerEvent,
    },
};
use server::{Key, Server, keypair};

/// Randomness that never ends, or ends after so many draws.
pub struct Dice {
    seed: u64,
    pub left: usize,
    pub stuck: bool,
}

impl Dice {
    pub fn new(seed: u64) -> Self {
        Dice { seed, left: usize::MAX, stuck: false }
    }

    pub fn next(&mut self) -> u64 {
        // SplitMix64.
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl Entropy for Dice {
    fn fill(&mut self, bytes: &mut [u8; 32]) -> Result<(), NoEntropy> {
        self.left = self.left.checked_sub(1).ok_or(NoEntropy)?;
        for eight in bytes.chunks_mut(8) {
            eight.copy_from_slice(&self.next().to_be_bytes());
        }
        if self.stuck {
            *bytes = [7; 32];
        }
        Ok(())
    }
}

/// What one device is made of, apart from its memory.
pub struct Device {
    pub key: Key,
    pub dice: Dice,
}

impl Device {
    pub fn new(seed: u8) -> Self {
        Device { key: keypair(seed), dice: Dice::new(u64::from(seed) << 32) }
    }

    pub fn setup(&mut self, name: &str, server: Option<PublicKey>) -> Setup<'_> {
        let name = name.parse().unwrap();
        Setup { name, identity: &self.key, entropy: &mut self.dice, server, psk: None }
    }
}

pub type React = for<'a, 'm, 'e> fn(&mut Program, &'a mut Client<'m>, &'a Event<'e>);

/// The program of a device: what it has heard, and how it decides.
pub struct Program {
    pub heard: Vec<String>,
    /// Takes the server's key on first contact.
    pub trusts: bool,
    /// Answers greetings, and accepts keys of other clients.
    pub answers: bool,
    pub accepts: bool,
    /// Says no instead of nothing.
    pub refuses: bool,
    /// Answers requests with the same in capitals.
    pub replies: bool,
    pub react: React,
    /// What is open of streams, and a hash of what is complete.
    pub taken: Vec<(Stream, Vec<u8>)>,
    pub whole: Vec<u64>,
    /// What is to be sent in a stream, and how much is on its way.
    pub sending: Option<(Stream, Vec<u8>, usize)>,
}

impl Default for Program {
    fn default() -> Self {
        Program {
            heard: vec![],
            trusts: true,
            answers: true,
            accepts: true,
            refuses: false,
            replies: true,
            react: |_, _, _| {},
            taken: vec![],
            whole: vec![],
            sending: None,
        }
    }
}

pub fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

/// Bytes that are unlike each other.
pub fn noise(len: usize) -> Vec<u8> {
    let mut dice = Dice::new(len as u64);
    (0..len).map(|_| dice.next() as u8).collect()
}

impl Program {
    pub fn new(react: React) -> Self {
        Program { react, ..Program::default() }
    }

    /// What was heard since the last call.
    pub fn take(&mut self) -> Vec<String> {
        std::mem::take(&mut self.heard)
    }

    pub fn has_heard(&self, what: &str) -> bool {
        self.heard.iter().any(|heard| heard == what)
    }

    /// Begins a large message.
    pub fn stream(&mut self, client: &mut Client<'_>, to: impl Into<Address>, bytes: Vec<u8>) {
        let stream = client.begin_stream(to, Kind::Message, Some(bytes.len() as u64)).unwrap();
        self.sending = Some((stream, bytes, 0));
        self.go_on(client);
    }

    /// Sends on what is begun, as far as there are credit and room.
    pub fn go_on(&mut self, client: &mut Client<'_>) {
        let Some((stream, bytes, sent)) = &mut self.sending else { return };
        while *sent < bytes.len() {
            match client.chunk(*stream, &bytes[*sent..]) {
                Ok(n) => *sent += n,
                Err(SendError::Full(_) | SendError::NoCredit) => return,
                Err(why) => panic!("{why}"),
            }
        }
        if client.end(*stream).is_ok() {
            self.sending = None;
        }
    }

    pub fn hear<'m>(&mut self, client: &mut Client<'m>, event: Event<'_>) {
        let react = self.react;
        react(self, client, &event);
        let heard = match event {
            Event::Verify(verify) => {
                if self.trusts {
                    client.accept(verify).unwrap();
                }
                "verify".into()
            }
            Event::Connected { .. } => "connected".into(),
            Event::Disconnected { why, again } => format!("over: {why:?}, again: {again}"),
            Event::Channel { channel, result } => {
                format!("channel {:?}: {result:?}", client.channel_name(channel).unwrap().as_str())
            }
            Event::Message(message) => {
                if let (true, Kind::Request(_)) = (self.replies, message.kind) {
                    client.reply(&message, &message.bytes.to_ascii_uppercase()).unwrap();
                }
                let from = if let Address::Peer(_) = message.from { "peer" } else { "server" };
                let kind = match message.kind {
                    Kind::Message => "message",
                    Kind::Request(_) => "request",
                    Kind::Reply(_) => "reply",
                };
                format!("{kind} of {from}: {}", message.text().unwrap())
            }
            Event::Failed { why, kind, .. } => match kind {
                Kind::Request(_) => format!("request failed: {why:?}"),
                _ => format!("failed: {why:?}"),
            },
            Event::Begin { stream, .. } => {
                self.taken.push((stream, vec![]));
                return;
            }
            Event::Chunk { stream, bytes } => {
                let (_, all) = self.taken.iter_mut().find(|(id, _)| *id == stream).unwrap();
                all.extend_from_slice(bytes);
                return;
            }
            Event::End(stream) => {
                let at = self.taken.iter().position(|(id, _)| *id == stream).unwrap();
                self.whole.push(hash(&self.taken.remove(at).1));
                "whole".into()
            }
            Event::Credit(stream) => {
                // It has to be the name by which this side has begun it.
                assert!(self.sending.as_ref().is_none_or(|(sending, ..)| *sending == stream));
                self.go_on(client);
                return;
            }
            Event::Peer { peer, event } => match event {
                PeerEvent::Greeting(greeting) => {
                    if self.answers {
                        client.answer(greeting).unwrap();
                    } else if self.refuses {
                        client.refuse(greeting, PeerRefusal::NotTrusted);
                    }
                    format!("greeting of {}", peer.name)
                }
                PeerEvent::Verify(verify) => {
                    if self.accepts {
                        client.accept_peer(verify).unwrap();
                    } else if self.refuses {
                        client.deny_peer(verify, PeerRefusal::NotTrusted);
                    }
                    format!("verify {}", peer.name)
                }
                event => format!("{}: {event:?}", peer.name),
            },
            Event::Room => return self.go_on(client),
            Event::NoPeer(_) => "no peer".into(),
            other => format!("{other:?}"),
        };
        self.heard.push(heard);
    }
}

/// A device at work.
pub struct Board<'w, 'm> {
    pub client: &'w mut Client<'m>,
    pub program: &'w mut Program,
    pub line: Option<usize>,
}

impl<'w, 'm> Board<'w, 'm> {
    pub fn new(client: &'w mut Client<'m>, program: &'w mut Program) -> Self {
        Board { client, program, line: None }
    }
}

/// The network, the clock and the server.
pub struct World {
    pub now: u64,
    pub server: Server,
    pub up: bool,
    pub dice: Dice,
    /// The most bytes that move at once.
    pub piece: usize,
    /// The wire to the next connection's client breaks after so many bytes, or that from it.
    pub cut_down: usize,
    pub cut_up: usize,
    /// Nothing leaves the client any more, and nobody says so.
    pub blocked: bool,
    /// When connections were begun.
    pub begun: Vec<u64>,
    /// Bytes that clients have written.
    pub up_bytes: usize,
}

impl World {
    pub fn new(seed: u64) -> Self {
        World {
            now: 1_000,
            server: Server::new(200),
            up: true,
            dice: Dice::new(seed),
            piece: 700,
            cut_down: usize::MAX,
            cut_up: usize::MAX,
            blocked: false,
            begun: vec![],
            up_bytes: 0,
        }
    }

    pub fn key(&self) -> PublicKey {
        self.server.key.public()
    }

    /// Runs for so many milliseconds of the virtual clock.
    pub fn run(&mut self, boards: &mut [Board<'_, '_>], millis: u64) {
        let until = self.now + millis;
        let mut idle = 0;
        for _ in 0..400_000 {
            let mut moved = false;
            for board in boards.iter_mut() {
                moved |= self.drive(board);
            }
            let n = 1 + self.dice.next() as usize % self.piece;
            moved |= self.server.step(Instant::from_millis(self.now), n);
            if moved {
                idle = 0;
                continue;
            }
            let clients = boards.iter().filter_map(|board| board.client.deadline());
            let next = clients.chain(self.server.deadline()).map(Instant::as_millis).min();
            let next = next.unwrap_or(u64::MAX).max(self.now).min(until);
            idle = if next == self.now { idle + 1 } else { 0 };
            assert!(idle < 4, "somebody is due for ever: {:?}", boards[0].client.deadline());
            if self.now == until {
                return;
            }
            self.now = next;
        }
        panic!("it does not come to rest");
    }

    /// Runs until a program has heard this, a minute at most.
    pub fn run_until(&mut self, boards: &mut [Board<'_, '_>], at: usize, what: &str) {
        for _ in 0..600 {
            if boards[at].program.has_heard(what) {
                return;
            }
            self.run(boards, 100);
        }
        panic!("{what:?} is not among {:?}", boards[at].program.heard);
    }

    fn drive(&mut self, board: &mut Board<'_, '_>) -> bool {
        let now = Instant::from_millis(self.now);
        let Board { client, program, line } = board;
        if !client.is_active() {
            client.process(now, &mut |client, event| program.hear(client, event)).unwrap();
            if client.connect_at().is_none_or(|at| now < at) {
                return false;
            }
            client.begin(now).unwrap();
            self.begun.push(self.now);
            if !self.up {
                client.unreachable(now, &mut |client, event| program.hear(client, event));
                return true;
            }
            *line = Some(self.server.connect(now));
            return true;
        }
        let wire = &mut self.server.lines[line.expect("it is active")];
        let n = 1 + self.dice.next() as usize % self.piece;
        let (space, _) = client.buffers();
        let read = n.min(space.len()).min(wire.to_client.len()).min(self.cut_down);
        for (to, from) in space.iter_mut().zip(wire.to_client.drain(..read)) {
            *to = from;
        }
        client.filled(read);
        self.cut_down -= if self.cut_down == usize::MAX { 0 } else { read };
        client.process(now, &mut |client, event| program.hear(client, event)).unwrap();
        let (_, bytes) = client.buffers();
        let due = bytes.len();
        let written = if self.blocked { 0 } else { n.min(due).min(self.cut_up) };
        wire.to_server.extend(&bytes[..written]);
        self.cut_up -= if self.cut_up == usize::MAX { 0 } else { written };
        client.written(written);
        self.up_bytes += written;
        let broken = self.cut_down == 0 || self.cut_up == 0;
        let end = (wire.cut && wire.to_client.is_empty()) || broken;
        if client.is_over() && written == due || end {
            (self.cut_down, self.cut_up) = match broken {
                true => (usize::MAX, usize::MAX),
                false => (self.cut_down, self.cut_up),
            };
            wire.cut = true;
            *line = None;
            client.lost(now, &mut |client, event| program.hear(client, event));
            return true;
        }
        read > 0 || written > 0
    }
}
