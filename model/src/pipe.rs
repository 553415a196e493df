//! A client's connection to the server: real, and here only the way by which units leave.

use pysock_proto::{
    ClientSetup, Connection, Env, Ephemeral, Event, Expect, Identity, Instant, Keypair, Limits,
    Name, PeerId, RxBuf, SecretKey, ServerSetup, Suite, TxBuf, Unit, crypto::Crypto,
};

/// Of both ends; streams are not part of the model.
pub(crate) const LIMITS: Limits =
    Limits { record: 512, idle_secs: u16::MAX, window: 0, streams: 0, peers: 4 };

const ROOM: usize = 2048;

struct End<C: Crypto> {
    conn: Connection<C>,
    rx: RxBuf<Box<[u8]>>,
    tx: TxBuf<Box<[u8]>>,
    key: Keypair<C>,
}

/// Both ends of one connection, open.
pub(crate) struct Pipe<C: Crypto> {
    client: End<C>,
    server: End<C>,
}

/// The buffers and the connection of the client's end, to write to.
pub(crate) struct Mouth<'a, C: Crypto> {
    pub(crate) conn: &'a mut Connection<C>,
    pub(crate) tx: pysock_proto::Tx<'a>,
}

impl<C: Crypto> End<C> {
    fn new(conn: Connection<C>, secret: [u8; 32]) -> Self {
        let rx = RxBuf::new(vec![0; usize::from(LIMITS.record) + 2].into_boxed_slice());
        let tx = TxBuf::new(vec![0; ROOM].into_boxed_slice());
        End { conn, rx, tx, key: Keypair::new(SecretKey::from_bytes(secret)) }
    }

    fn flush(&mut self, now: Instant) {
        let env = Env { now, identity: &self.key };
        self.conn.flush(&mut self.tx.lend(), &env).expect("a connection that works");
    }

    /// Takes what the other end has written. Says yes to everything, and gives what is to be passed on.
    fn take(&mut self, from: &mut Self, now: Instant, units: &mut Vec<(PeerId, Unit, Vec<u8>)>) {
        loop {
            let space = self.rx.space();
            let sealed = from.tx.sealed();
            let n = sealed.len().min(space.len());
            if n == 0 {
                return;
            }
            space[..n].copy_from_slice(&sealed[..n]);
            from.tx.written(n);
            self.rx.filled(n);
            let env = Env { now, identity: &self.key };
            let mut rx = self.rx.lend();
            while let Some(event) =
                self.conn.receive(&mut rx, &env).expect("nobody breaks a rule of the connection")
            {
                match event {
                    Event::Verify(verify) => self.conn.accept(verify).expect("a handshake"),
                    Event::Admission(admission) => {
                        self.conn.admit(admission, PeerId(7), &env).expect("a handshake");
                    }
                    Event::Relay { peer, unit, bytes } => units.push((peer, unit, bytes.to_vec())),
                    _ => {}
                }
            }
        }
    }
}

impl<C: Crypto> Pipe<C> {
    /// A new connection of the client that has this key and this name.
    pub(crate) fn new(name: &Name, secret: [u8; 32], now: Instant) -> Self {
        let server = Keypair::<C>::new(SecretKey::from_bytes([9; 32]));
        let pinned = server.public();
        let setup = ClientSetup {
            name,
            limits: LIMITS,
            expect: Expect::Pinned(&pinned),
            psk: None,
            suite: Suite::ChaChaPoly,
        };
        let by = now.after_millis(10_000);
        let conn = Connection::client(&setup, Ephemeral::new::<C>([3; 32]), by);
        let client = End::new(conn, secret);
        let setup = ServerSetup { limits: LIMITS, psk_required: false };
        let conn = Connection::server(&setup, Ephemeral::new::<C>([4; 32]), by);
        let mut pipe = Pipe { client, server: End::new(conn, [9; 32]) };
        for _ in 0..3 {
            assert!(pipe.drain(now).is_empty());
            pipe.server.flush(now);
            pipe.client.take(&mut pipe.server, now, &mut vec![]);
        }
        assert!(pipe.client.conn.is_open() && pipe.server.conn.is_open());
        pipe
    }

    /// To write to, for the client.
    pub(crate) fn mouth(&mut self) -> Mouth<'_, C> {
        Mouth { conn: &mut self.client.conn, tx: self.client.tx.lend() }
    }

    /// What the client has written since the last call: to whom, and what.
    pub(crate) fn drain(&mut self, now: Instant) -> Vec<(PeerId, Unit, Vec<u8>)> {
        let mut units = vec![];
        self.client.flush(now);
        self.server.take(&mut self.client, now, &mut units);
        units
    }
}
