//! A peer without manners: an independent Noise implementation (snow) that says whatever a test wants said, over a
//! handshake and with seals that are valid.
#![allow(dead_code, unreachable_pub, reason = "every test file uses its own part of this module")]

use super::{End, Setup, agree, server_key};
use pysock_proto::{Event, Limits, RxBuf};

/// The keys of `sim::keypair(1)` and `sim::keypair(2)`.
const CLIENT_SECRET: [u8; 32] = [1; 32];
const SERVER_SECRET: [u8; 32] = [2; 32];

/// Frame types, as the protocol document numbers them.
pub mod kind {
    pub const WELCOME: u8 = 0x01;
    pub const REFUSED: u8 = 0x02;
    pub const CLOSE: u8 = 0x03;
    pub const PING: u8 = 0x04;
    pub const PONG: u8 = 0x05;
    pub const OPEN: u8 = 0x06;
    pub const OPENED: u8 = 0x07;
    pub const LEAVE: u8 = 0x08;
    pub const FIND: u8 = 0x09;
    pub const FOUND: u8 = 0x0a;
    pub const PEER: u8 = 0x0b;
    pub const MESSAGE: u8 = 0x10;
    pub const FAILED: u8 = 0x18;
    pub const BEGIN: u8 = 0x20;
    pub const CHUNK: u8 = 0x21;
    pub const END: u8 = 0x22;
    pub const ABORT: u8 = 0x23;
    pub const STOP: u8 = 0x24;
    pub const CREDIT: u8 = 0x25;
    pub const DONE: u8 = 0x26;
    pub const RELAY_HANDSHAKE: u8 = 0x30;
    pub const RELAY_RECORD: u8 = 0x31;
}

/// One frame by hand: type, length of the body, body.
pub fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let len = u16::try_from(body.len()).unwrap();
    [&[kind], &len.to_be_bytes()[..], body].concat()
}

/// `Begin` of a one-way message to or from the server.
pub fn begin(stream: u8, length: u64) -> Vec<u8> {
    let envelope = [0; 11];
    frame(kind::BEGIN, &[&[stream], &envelope[..], &length.to_be_bytes()].concat())
}

/// `Welcome` with number 7 and one suite, in postcard.
pub fn welcome() -> Vec<u8> {
    frame(kind::WELCOME, &[7, 1, 1])
}

pub fn framed(message: &[u8]) -> Vec<u8> {
    [&u16::try_from(message.len()).unwrap().to_be_bytes(), message].concat()
}

/// Takes the first length-prefixed message off `wire`.
pub fn unframed<'w>(wire: &mut &'w [u8]) -> &'w [u8] {
    let len = usize::from(u16::from_be_bytes([wire[0], wire[1]]));
    let (message, rest) = wire[2..].split_at(len);
    *wire = rest;
    message
}

/// The prelude by hand. Pattern 1 is XX, 2 is XK.
pub fn prelude(pattern: u8, psk_hint: Option<[u8; 8]>) -> Vec<u8> {
    let flags = u8::from(psk_hint.is_some());
    [&b"PYSK"[..], &[1, 1, pattern, flags], &psk_hint.unwrap_or_default()].concat()
}

/// What handshake messages 2 and 3 carry.
pub fn hello(limits: &Limits, name: Option<&str>) -> Vec<u8> {
    let mut out = limits.record.to_be_bytes().to_vec();
    out.extend(limits.idle_secs.to_be_bytes());
    out.extend(limits.window.to_be_bytes());
    out.extend([limits.streams, limits.peers, 0, 0]);
    if let Some(name) = name {
        out.push(name.len() as u8);
        out.extend(name.as_bytes());
    }
    out
}

/// The raw peer's handshake.
pub struct Raw(pub snow::HandshakeState);

impl Raw {
    pub fn new(initiator: bool, pattern: u8, psk: Option<([u8; 8], [u8; 32])>) -> Raw {
        let name = match (pattern, psk.is_some()) {
            (1, false) => "XX",
            (1, true) => "XXpsk0",
            (_, false) => "XK",
            (_, true) => "XKpsk0",
        };
        let params = format!("Noise_{name}_25519_ChaChaPoly_BLAKE2s").parse().unwrap();
        let prologue = [&b"pysock/1 outer"[..], &prelude(pattern, psk.map(|p| p.0))].concat();
        let server = server_key();
        let mut builder = snow::Builder::new(params)
            .prologue(&prologue)
            .unwrap()
            .local_private_key(if initiator { &CLIENT_SECRET } else { &SERVER_SECRET })
            .unwrap()
            .fixed_ephemeral_key_for_testing_only(&[55; 32]);
        if let Some((_, secret)) = &psk {
            builder = builder.psk(0, secret).unwrap();
        }
        if initiator && pattern == 2 {
            builder = builder.remote_public_key(server.as_bytes()).unwrap();
        }
        Raw(if initiator { builder.build_initiator() } else { builder.build_responder() }.unwrap())
    }

    /// The next handshake message, with its length in front.
    pub fn message(&mut self, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![0; 1024];
        let n = self.0.write_message(payload, &mut out).unwrap();
        framed(&out[..n])
    }

    /// Takes the next handshake message off `wire` and gives its payload.
    pub fn read(&mut self, wire: &mut &[u8]) -> Vec<u8> {
        let mut out = vec![0; 1024];
        let n = self.0.read_message(unframed(wire), &mut out).unwrap();
        out.truncate(n);
        out
    }

    pub fn open(self) -> Hostile {
        Hostile(self.0.into_transport_mode().unwrap())
    }
}

/// Diffie-Hellman that is real but for one lie: the static public key it shows.
struct Lying {
    inner: Box<dyn snow::types::Dh>,
    lie: [u8; 32],
    lies: bool,
}

impl snow::types::Dh for Lying {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn pub_len(&self) -> usize {
        self.inner.pub_len()
    }

    fn priv_len(&self) -> usize {
        self.inner.priv_len()
    }

    fn set(&mut self, privkey: &[u8]) {
        // Only the static keys of this module are told apart from the ephemeral one.
        self.lies = privkey == CLIENT_SECRET || privkey == SERVER_SECRET;
        self.inner.set(privkey);
    }

    fn generate(&mut self, rng: &mut dyn snow::types::Random) -> Result<(), snow::Error> {
        self.inner.generate(rng)
    }

    fn pubkey(&self) -> &[u8] {
        if self.lies { &self.lie } else { self.inner.pubkey() }
    }

    fn privkey(&self) -> &[u8] {
        self.inner.privkey()
    }

    fn dh(&self, pubkey: &[u8], out: &mut [u8]) -> Result<(), snow::Error> {
        self.inner.dh(pubkey, out)
    }
}

struct LyingResolver([u8; 32]);

impl snow::resolvers::CryptoResolver for LyingResolver {
    fn resolve_rng(&self) -> Option<Box<dyn snow::types::Random>> {
        snow::resolvers::DefaultResolver.resolve_rng()
    }

    fn resolve_dh(&self, choice: &snow::params::DHChoice) -> Option<Box<dyn snow::types::Dh>> {
        let inner = snow::resolvers::DefaultResolver.resolve_dh(choice)?;
        Some(Box::new(Lying { inner, lie: self.0, lies: false }))
    }

    fn resolve_hash(
        &self,
        choice: &snow::params::HashChoice,
    ) -> Option<Box<dyn snow::types::Hash>> {
        snow::resolvers::DefaultResolver.resolve_hash(choice)
    }

    fn resolve_cipher(
        &self,
        choice: &snow::params::CipherChoice,
    ) -> Option<Box<dyn snow::types::Cipher>> {
        snow::resolvers::DefaultResolver.resolve_cipher(choice)
    }
}

impl Raw {
    /// A peer in XX that shows `lie` as its static key, sealed as it should be.
    pub fn lying(initiator: bool, lie: [u8; 32]) -> Raw {
        let params = "Noise_XX_25519_ChaChaPoly_BLAKE2s".parse().unwrap();
        let prologue = [&b"pysock/1 outer"[..], &prelude(1, None)].concat();
        let builder = snow::Builder::with_resolver(params, Box::new(LyingResolver(lie)))
            .prologue(&prologue)
            .unwrap()
            .local_private_key(if initiator { &CLIENT_SECRET } else { &SERVER_SECRET })
            .unwrap()
            .fixed_ephemeral_key_for_testing_only(&[55; 32]);
        Raw(if initiator { builder.build_initiator() } else { builder.build_responder() }.unwrap())
    }
}

/// The raw peer once the handshake is complete.
pub struct Hostile(pub snow::TransportState);

impl Hostile {
    /// A valid record around any plain text.
    pub fn record(&mut self, text: &[u8]) -> Vec<u8> {
        let mut out = vec![0; text.len() + 16];
        let n = self.0.write_message(text, &mut out).unwrap();
        framed(&out[..n])
    }

    /// The frames of all records in `wire`.
    pub fn frames(&mut self, mut wire: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let mut all = vec![];
        while !wire.is_empty() {
            let record = unframed(&mut wire);
            let mut text = vec![0; record.len()];
            let n = self.0.read_message(record, &mut text).unwrap();
            let mut rest = &text[..n];
            while let [kind, a, b, body @ ..] = rest {
                let (body, next) = body.split_at(usize::from(u16::from_be_bytes([*a, *b])));
                all.push((*kind, body.to_vec()));
                rest = next;
            }
        }
        all
    }
}

impl Setup {
    fn pattern(&self) -> u8 {
        if self.pinned { 2 } else { 1 }
    }

    fn raw_psk(&self) -> Option<([u8; 8], [u8; 32])> {
        self.psk.as_ref().map(|psk| (psk.hint(), *psk.expose()))
    }

    /// The bytes of a hostile client up to the server's message 2, and the server.
    pub fn raw_client(&self) -> (Raw, End) {
        let mut server = self.server();
        let mut raw = Raw::new(true, self.pattern(), self.raw_psk());
        let psk = self.psk.clone();
        let first =
            [prelude(self.pattern(), psk.as_ref().map(|p| p.hint())), raw.message(&[])].concat();
        server
            .feed(&first, usize::MAX, |event, end| {
                if let Event::PskWanted(request) = event {
                    let env = end.env;
                    end.conn.provide_psk(request, psk.as_ref(), &env).unwrap();
                }
            })
            .unwrap();
        let wire = server.flushed().unwrap();
        raw.read(&mut &wire[..]);
        (raw, server)
    }

    /// A hostile client that was admitted, and the server. The server's `Welcome` has been read.
    pub fn hostile_client(&self) -> (Hostile, End) {
        let (mut raw, mut server) = self.raw_client();
        let third = raw.message(&hello(&self.client_limits, Some(self.name.as_str())));
        server.feed(&third, usize::MAX, agree).unwrap();
        let mut hostile = raw.open();
        let frames = hostile.frames(&server.flushed().unwrap());
        assert_eq!(frames[0].0, kind::WELCOME);
        (hostile, server)
    }

    /// A hostile server before message 2 is out, and the client.
    pub fn raw_server(&self) -> (Raw, End) {
        let mut client = self.client();
        let mut raw = Raw::new(false, self.pattern(), self.raw_psk());
        let wire = client.flushed().unwrap();
        raw.read(&mut &wire[16..]);
        (raw, client)
    }

    /// A hostile server that owes its admission, and the client.
    pub fn hostile_server(&self) -> (Hostile, End) {
        let (mut raw, mut client) = self.raw_server();
        let second = raw.message(&hello(&self.server_limits, None));
        client.feed(&second, usize::MAX, agree).unwrap();
        let wire = client.flushed().unwrap();
        raw.read(&mut &wire[..]);
        (raw.open(), client)
    }

    /// A hostile server that has said welcome, and the client.
    pub fn hostile_server_welcomed(&self) -> (Hostile, End) {
        let (mut hostile, mut client) = self.hostile_server();
        let record = hostile.record(&welcome());
        client.feed(&record, usize::MAX, |_, _| ()).unwrap();
        assert!(client.conn.is_open());
        (hostile, client)
    }
}

/// Empties the receive buffer without a look, so that an end can be fed again after a half record.
pub fn buffer(limits: &Limits) -> RxBuf<Vec<u8>> {
    RxBuf::new(vec![0; usize::from(limits.record) + 2])
}
