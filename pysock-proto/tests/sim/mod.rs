//! A small world for protocol scenarios: ends with their own buffers and keys, a virtual clock, and a link that
//! delivers bytes in pieces of any size.
#![allow(dead_code, unreachable_pub, reason = "every test file uses its own part of this module")]

pub mod chance;
pub mod hostile;
pub mod peers;
pub mod rogue;

use pysock_proto::{
    ChannelId, ClientSetup, Connection, Env, Envelope, Ephemeral, Error, Event, Expect, Identity,
    Instant, Keypair, Kind, Limits, Name, Party, PeerId, Psk, PublicKey, RustCrypto, RxBuf,
    SecretKey, ServerSetup, Suite, TxBuf, crypto::Crypto,
};

pub type C = RustCrypto;

/// The end of every handshake in these tests, in milliseconds.
pub const HANDSHAKE_BY: u64 = 10_000;

/// One end of a link: a connection with its key and memory.
pub struct End<K: Crypto = C> {
    pub conn: Connection<K>,
    pub rx: RxBuf<Vec<u8>>,
    pub tx: TxBuf<Vec<u8>>,
    pub key: Keypair<C>,
    pub now: Instant,
}

/// How ends are made; change what a test is about.
#[derive(Clone)]
pub struct Setup {
    pub client_limits: Limits,
    pub server_limits: Limits,
    pub pinned: bool,
    pub psk: Option<Psk>,
    pub psk_required: bool,
    pub name: Name,
    pub transmit: usize,
    pub suite: Suite,
}

impl Default for Setup {
    fn default() -> Self {
        Setup {
            client_limits: Limits { record: 1024, ..Limits::DESKTOP },
            server_limits: Limits { record: 1024, ..Limits::DESKTOP },
            pinned: false,
            psk: None,
            psk_required: false,
            name: Name::new("shikhar").unwrap(),
            transmit: 4096,
            suite: Suite::ChaChaPoly,
        }
    }
}

/// A one-way message to (or from) the server's own program.
pub fn to_server(channel: u16) -> Envelope {
    Envelope { channel: ChannelId(channel), party: Party::Server, kind: Kind::Message }
}

pub fn keypair(seed: u8) -> Keypair<C> {
    Keypair::new(SecretKey::from_bytes([seed; 32]))
}

pub fn server_key() -> PublicKey {
    keypair(2).public()
}

pub fn client_key() -> PublicKey {
    keypair(1).public()
}

impl Setup {
    pub fn client(&self) -> End {
        let key = server_key();
        let expect = if self.pinned { Expect::Pinned(&key) } else { Expect::Unknown };
        self.client_expecting(expect)
    }

    pub fn client_expecting(&self, expect: Expect<'_>) -> End {
        self.client_with(expect)
    }

    /// A client with primitives of its own.
    pub fn client_with<K: Crypto>(&self, expect: Expect<'_>) -> End<K> {
        let setup = ClientSetup {
            name: &self.name,
            limits: self.client_limits,
            expect,
            psk: self.psk.as_ref(),
            suite: self.suite,
        };
        let by = Instant::from_millis(HANDSHAKE_BY);
        let conn = Connection::client(&setup, Ephemeral::new::<C>([101; 32]), by);
        End::new(conn, keypair(1), self.client_limits, self.transmit)
    }

    pub fn server(&self) -> End {
        self.server_with()
    }

    /// A server with primitives of its own.
    pub fn server_with<K: Crypto>(&self) -> End<K> {
        let setup = ServerSetup { limits: self.server_limits, psk_required: self.psk_required };
        let by = Instant::from_millis(HANDSHAKE_BY);
        let conn = Connection::server(&setup, Ephemeral::new::<C>([102; 32]), by);
        End::new(conn, keypair(2), self.server_limits, self.transmit)
    }

    /// Both ends, through the handshake, admitted and open.
    pub fn open(&self) -> (End, End) {
        let (mut client, mut server) = (self.client(), self.server());
        for _ in 0..3 {
            client.pump(&mut server, usize::MAX, agree).unwrap();
            server.pump(&mut client, usize::MAX, agree).unwrap();
        }
        assert!(client.conn.is_open() && server.conn.is_open(), "the handshake did not complete");
        (client, server)
    }
}

/// Takes every decision in the other side's favour.
pub fn agree<K: Crypto>(event: Event<'_>, end: &mut Half<'_, K>) {
    let env = end.env;
    match event {
        Event::Verify(verify) => end.conn.accept(verify).unwrap(),
        Event::Closed(_) => end.conn.close(pysock_proto::CloseReason::Done),
        Event::Admission(admission) => end.conn.admit(admission, PeerId(7), &env).unwrap(),
        _ => {}
    }
}

/// What a handler may use while it holds an event: everything but the receive buffer.
pub struct Half<'a, K: Crypto = C> {
    pub conn: &'a mut Connection<K>,
    pub tx: pysock_proto::Tx<'a>,
    pub env: Env<'a>,
}

impl<K: Crypto> End<K> {
    pub fn new(conn: Connection<K>, key: Keypair<C>, limits: Limits, transmit: usize) -> Self {
        let (rx, tx) = (vec![0; usize::from(limits.record) + 2], vec![0; transmit]);
        End { conn, rx: RxBuf::new(rx), tx: TxBuf::new(tx), key, now: Instant::from_millis(0) }
    }

    pub fn flush(&mut self) -> Result<(), Error> {
        let env = Env { now: self.now, identity: &self.key };
        self.conn.flush(&mut self.tx.lend(), &env)
    }

    /// Everything that is sealed, taken off the buffer.
    pub fn wire(&mut self) -> Vec<u8> {
        let wire = self.tx.sealed().to_vec();
        self.tx.written(wire.len());
        wire
    }

    /// Flushes until nothing more comes, and gives all of it.
    pub fn flushed(&mut self) -> Result<Vec<u8>, Error> {
        let mut all = vec![];
        loop {
            self.flush()?;
            let wire = self.wire();
            if wire.is_empty() {
                return Ok(all);
            }
            all.extend(wire);
        }
    }

    /// Feeds bytes in pieces of at most `chunk`; `handle` sees every event.
    pub fn feed(
        &mut self,
        mut wire: &[u8],
        chunk: usize,
        mut handle: impl FnMut(Event<'_>, &mut Half<'_, K>),
    ) -> Result<(), Error> {
        loop {
            let space = self.rx.space();
            let n = wire.len().min(chunk).min(space.len());
            space[..n].copy_from_slice(&wire[..n]);
            wire = &wire[n..];
            self.rx.filled(n);
            let env = Env { now: self.now, identity: &self.key };
            let mut rx = self.rx.lend();
            let mut half = Half { conn: &mut self.conn, tx: self.tx.lend(), env };
            while let Some(event) = half.conn.receive(&mut rx, &env)? {
                handle(event, &mut half);
            }
            if wire.is_empty() {
                return Ok(());
            }
            if n == 0 {
                // It is our turn to write before more can be read.
                self.conn.flush(&mut self.tx.lend(), &env)?;
                if self.conn.is_over() {
                    // It closed; nobody reads what comes behind that.
                    return Ok(());
                }
                assert!(!self.rx.space().is_empty(), "stuck with a full buffer");
            }
        }
    }

    /// Feeds bytes and takes one event at most, as a caller does that waits for a decision.
    pub fn feed_once(
        &mut self,
        wire: &[u8],
        handle: impl FnOnce(Event<'_>, &mut Half<'_, K>),
    ) -> Result<(), Error> {
        self.rx.space()[..wire.len()].copy_from_slice(wire);
        self.rx.filled(wire.len());
        let env = Env { now: self.now, identity: &self.key };
        let mut rx = self.rx.lend();
        let mut half = Half { conn: &mut self.conn, tx: self.tx.lend(), env };
        if let Some(event) = half.conn.receive(&mut rx, &env)? {
            handle(event, &mut half);
        }
        Ok(())
    }

    /// Flushes, and feeds everything to `to`.
    pub fn pump<O: Crypto>(
        &mut self,
        to: &mut End<O>,
        chunk: usize,
        handle: impl FnMut(Event<'_>, &mut Half<'_, O>),
    ) -> Result<(), Error> {
        let wire = self.flushed()?;
        to.feed(&wire, chunk, handle)
    }
}
