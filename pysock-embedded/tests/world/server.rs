//! A server of the tests' own making: it admits, answers and passes on, or does what a test tells it to.

use std::{collections::VecDeque, rc::Rc};

use pysock_embedded::proto::{
    Admission, ChannelId, CloseReason, Connection, Env, Envelope, Ephemeral, Error, Event, Failure,
    Find, Identity, Instant, Keypair, Kind, Limits, Party, PeerId, PeerInfo, PublicKey, Refusal,
    RustCrypto, RxBuf, SecretKey, ServerSetup, StreamId, TxBuf, Unit,
};

pub type Key = Keypair<RustCrypto>;

pub fn keypair(seed: u8) -> Key {
    Key::new(SecretKey::from_bytes([seed; 32]))
}

/// What the server does, beside its duty.
#[derive(Clone)]
pub struct Manner {
    pub limits: Limits,
    /// Turns clients away.
    pub refuses: Option<Refusal>,
    /// Says nothing after so many bytes of a connection.
    pub silent_after: usize,
    /// Leaves requests without a reply.
    pub mute: bool,
    pub directory: bool,
    pub admits: bool,
}

impl Default for Manner {
    fn default() -> Self {
        Manner {
            limits: Limits { record: 4096, ..Limits::DESKTOP },
            refuses: None,
            silent_after: usize::MAX,
            mute: false,
            directory: true,
            admits: true,
        }
    }
}

/// The server's end of one link.
pub struct Line {
    pub conn: Connection<RustCrypto>,
    rx: RxBuf<Vec<u8>>,
    tx: TxBuf<Vec<u8>>,
    pub id: PeerId,
    pub info: Option<PeerInfo>,
    /// Whom the client remembers.
    announced: VecDeque<PeerId>,
    /// The wire, either way.
    pub to_client: VecDeque<u8>,
    pub to_server: VecDeque<u8>,
    pub said: usize,
    /// Neither side reads what the other writes from now on, and both notice.
    pub cut: bool,
    pub ended: Option<Error>,
    /// Large messages that are being sent back: what, and how much of it is on its way.
    echo: Vec<(StreamId, Vec<u8>)>,
    sending: Option<(StreamId, Vec<u8>, usize)>,
    /// Somebody thinks about whether the client may come in.
    undecided: Option<Admission>,
}

pub struct Server {
    pub key: Rc<Key>,
    pub manner: Manner,
    pub lines: Vec<Line>,
    /// What its program has heard.
    pub heard: Vec<(PublicKey, Envelope, Vec<u8>)>,
    /// Requests without a reply so far.
    pub asked: Vec<(usize, Envelope, Vec<u8>)>,
    /// Units that passed.
    pub relayed: usize,
    seed: u64,
}

impl Server {
    pub fn new(key: u8) -> Self {
        let (lines, heard, asked) = (vec![], vec![], vec![]);
        let manner = Manner::default();
        Server { key: keypair(key).into(), manner, lines, heard, asked, relayed: 0, seed: 0 }
    }

    /// All connections are gone, and so is all that was known of them.
    pub fn restart(&mut self) {
        for line in &mut self.lines {
            line.cut = true;
            line.info = None;
        }
    }

    pub fn connect(&mut self, now: Instant) -> usize {
        self.seed += 1;
        let mut random = [0x5a; 32];
        random[..8].copy_from_slice(&self.seed.to_be_bytes());
        let setup = ServerSetup { limits: self.manner.limits, psk_required: false };
        let ephemeral = Ephemeral::new::<RustCrypto>(random);
        self.lines.push(Line {
            conn: Connection::server(&setup, ephemeral, now.after_millis(60_000)),
            rx: RxBuf::new(vec![0; usize::from(self.manner.limits.record) + 2]),
            tx: TxBuf::new(vec![0; 1 << 18]),
            id: PeerId(self.lines.len() as u32 + 1),
            info: None,
            announced: VecDeque::new(),
            to_client: VecDeque::new(),
            to_server: VecDeque::new(),
            said: 0,
            cut: false,
            ended: None,
            echo: vec![],
            sending: None,
            undecided: None,
        });
        self.lines.len() - 1
    }

    pub fn deadline(&self) -> Option<Instant> {
        let alive = self.lines.iter().filter(|line| !line.cut);
        alive.filter_map(|line| line.conn.deadline()).min()
    }

    /// The line of the client that is called so.
    pub fn line(&mut self, name: &str) -> &mut Line {
        let is_it = |line: &&mut Line| line.info.is_some_and(|info| info.name.as_str() == name);
        self.lines.iter_mut().rev().find(is_it).expect("it is connected")
    }

    /// A message of the server's program, on the client's first channel.
    pub fn send(&mut self, name: &str, kind: Kind, bytes: &[u8]) {
        let envelope = Envelope { channel: ChannelId(0), party: Party::Server, kind };
        let line = self.line(name);
        line.conn.send(&mut line.tx.lend(), &envelope, bytes).unwrap();
    }

    pub fn reply(&mut self, at: usize, envelope: &Envelope, bytes: &[u8]) {
        let Kind::Request(id) = envelope.kind else { panic!("no request") };
        let line = &mut self.lines[at];
        let envelope = Envelope { kind: Kind::Reply(id), ..*envelope };
        line.conn.send(&mut line.tx.lend(), &envelope, bytes).unwrap();
    }

    pub fn fail(&mut self, at: usize, envelope: &Envelope, why: Failure) {
        let line = &mut self.lines[at];
        line.conn.send_failed(&mut line.tx.lend(), envelope, why).unwrap();
    }

    pub fn close(&mut self, name: &str, why: CloseReason) {
        self.line(name).conn.close(why);
    }

    /// Begins a large message on the client's first channel.
    pub fn stream(&mut self, name: &str, bytes: Vec<u8>) {
        let (channel, party, kind) = (ChannelId(0), Party::Server, Kind::Message);
        let line = self.line(name);
        let envelope = Envelope { channel, party, kind };
        let length = Some(bytes.len() as u64);
        let id = line.conn.begin(&mut line.tx.lend(), &envelope, length).unwrap();
        line.sending = Some((id, bytes, 0));
    }

    /// Reads at most `n` bytes from each wire, acts, writes at most `n`. Says whether anything moved.
    pub fn step(&mut self, now: Instant, n: usize) -> bool {
        (0..self.lines.len()).fold(false, |moved, at| self.serve(at, now, n) | moved)
    }

    fn serve(&mut self, at: usize, now: Instant, n: usize) -> bool {
        let line = &mut self.lines[at];
        if line.cut {
            return false;
        }
        let space = line.rx.space();
        let read = n.min(space.len()).min(line.to_server.len());
        for (to, from) in space.iter_mut().zip(line.to_server.drain(..read)) {
            *to = from;
        }
        line.rx.filled(read);
        let key = self.key.clone();
        let env = Env { now, identity: &*key };
        let mut rx = std::mem::replace(&mut line.rx, RxBuf::new(vec![]));
        let mut view = rx.lend();
        loop {
            let line = &mut self.lines[at];
            if line.conn.is_over() || line.undecided.is_some() {
                break;
            }
            match line.conn.receive(&mut view, &env) {
                Ok(Some(event)) => self.hear(at, event, &env),
                Ok(None) => break,
                Err(why) => line.ended = line.ended.or(Some(why)),
            }
        }
        let line = &mut self.lines[at];
        line.rx = rx;
        line.go_on();
        if let Err(why) = line.conn.flush(&mut line.tx.lend(), &env) {
            line.ended = line.ended.or(Some(why));
        }
        let sealed = line.tx.sealed();
        let written = n.min(sealed.len());
        let heard = written.min(self.manner.silent_after.saturating_sub(line.said));
        line.to_client.extend(&sealed[..heard]);
        line.said += heard;
        line.tx.written(written);
        // What is not heard is not seen to end either.
        let is_heard = line.said < self.manner.silent_after;
        if line.conn.is_over() && line.tx.is_empty() && is_heard {
            line.cut = true;
            return true;
        }
        read > 0 || written > 0
    }

    fn hear(&mut self, at: usize, event: Event<'_>, env: &Env<'_>) {
        let manner = self.manner.clone();
        let line = &mut self.lines[at];
        let mut tx = line.tx.lend();
        match event {
            Event::Admission(admission) => {
                let (id, key, name) = (line.id, *admission.key(), *admission.name());
                if let Some(why) = manner.refuses {
                    line.conn.refuse(admission, why, env).unwrap();
                } else if manner.admits {
                    line.conn.admit(admission, id, env).unwrap();
                    line.info = Some(PeerInfo { id, key, name });
                } else {
                    line.undecided = Some(admission);
                }
            }
            Event::Open { id, name } => {
                let result =
                    if name.as_str() == "secret" { Err(Failure::NoChannel) } else { Ok(()) };
                line.conn.answer_open(&mut tx, id, result).unwrap();
            }
            Event::Message { envelope, bytes } => {
                let key = line.conn.remote().unwrap();
                self.heard.push((key, envelope, bytes.to_vec()));
                match envelope.kind {
                    Kind::Request(_) if manner.mute => {
                        self.asked.push((at, envelope, bytes.to_vec()));
                    }
                    Kind::Request(_) => self.reply(at, &envelope, &bytes.to_ascii_uppercase()),
                    _ => {}
                }
            }
            Event::Begin { stream, .. } => line.echo.push((stream, vec![])),
            Event::Chunk { stream, bytes } => {
                let (_, all) = line.echo.iter_mut().find(|(id, _)| *id == stream).unwrap();
                all.extend_from_slice(bytes);
                line.conn.consumed(stream, bytes.len());
            }
            Event::End(stream) => {
                let of = line.echo.iter().position(|(id, _)| *id == stream).unwrap();
                let (_, all) = line.echo.remove(of);
                let name = line.info.unwrap().name;
                self.stream(name.as_str(), all);
            }
            Event::Find { query, find } => {
                let known = self.lines.iter().rev().filter(|line| !line.cut);
                let found = known.filter_map(|line| line.info).find(|info| match find {
                    Find::Name(name) => info.name == name,
                    Find::Key(key) => info.key == key,
                    Find::After(_) => false,
                });
                let found = found.filter(|_| manner.directory);
                let line = &mut self.lines[at];
                line.conn.answer_find(&mut line.tx.lend(), query, found.as_ref()).unwrap();
            }
            Event::Relay { peer, unit, bytes } => self.relay(at, peer, unit, bytes),
            Event::Closed(_) => line.conn.close(CloseReason::Done),
            _ => {}
        }
    }

    fn relay(&mut self, at: usize, to: PeerId, unit: Unit, bytes: &[u8]) {
        self.relayed += 1;
        let from = self.lines[at].info.unwrap();
        let is_it = |line: &&mut Line| line.id == to && !line.cut && line.conn.is_open();
        let Some(target) = self.lines.iter_mut().find(is_it) else {
            let line = &mut self.lines[at];
            line.conn.relay_failed(&mut line.tx.lend(), to, Failure::NoPeer).unwrap();
            return;
        };
        let room = usize::from(target.conn.remote_limits().unwrap().peers);
        if !target.announced.contains(&from.id) {
            if target.announced.len() == room {
                target.announced.pop_front();
            }
            target.announced.push_back(from.id);
            target.conn.announce(&mut target.tx.lend(), &from).unwrap();
        }
        target.conn.relay(&mut target.tx.lend(), from.id, unit, bytes).unwrap();
    }
}

impl Line {
    /// The receiver wants no more.
    pub fn give_up(&mut self) {
        self.sending = None;
    }

    /// Sends on what is begun, as far as there is credit.
    fn go_on(&mut self) {
        let Some((stream, bytes, sent)) = &mut self.sending else { return };
        while let Ok(n) = self.conn.chunk(&mut self.tx.lend(), *stream, &bytes[*sent..]) {
            *sent += n;
            if *sent == bytes.len() {
                self.conn.end(&mut self.tx.lend(), *stream).unwrap();
                self.sending = None;
                return;
            }
        }
    }
}
