//! A client and a server in one thread, without a socket. Everything random is the same each time.

use pysock_proto::{
    ChannelId, ClientSetup, Connection, Crypto, Env, Envelope, Ephemeral, Event, Expect, Instant,
    Keypair, Kind, Limits, Name, Party, PeerId, PublicKey, RxBuf, ServerSetup, Suite, TxBuf,
};

/// Room for all that is packed into one record.
const LIMITS: Limits = Limits { record: 32_768, ..Limits::DESKTOP };
const NOW: Instant = Instant::from_millis(0);
const BY: Instant = Instant::from_millis(10_000);
const MESSAGE: Envelope =
    Envelope { channel: ChannelId(1), party: Party::Server, kind: Kind::Message };

pub(crate) struct Side<C> {
    conn: Connection<C>,
    rx: RxBuf<Vec<u8>>,
    tx: TxBuf<Vec<u8>>,
    key: Keypair<C>,
}

impl<C: Crypto> Side<C> {
    fn new(conn: Connection<C>, key: Keypair<C>) -> Self {
        let memory = || vec![0; 2 * usize::from(LIMITS.record)];
        Side { conn, rx: RxBuf::new(memory()), tx: TxBuf::new(memory()), key }
    }

    /// Deals with everything that has arrived, and says how many messages it was.
    fn receive(&mut self) -> usize {
        let env = Env { now: NOW, identity: &self.key };
        let mut view = self.rx.lend();
        let mut messages = 0;
        while let Some(event) = self.conn.receive(&mut view, &env).expect("nobody interferes") {
            match event {
                Event::Verify(verify) => self.conn.accept(verify).expect("its own decision"),
                Event::Admission(admission) => {
                    self.conn.admit(admission, PeerId(1), &env).expect("its own decision");
                }
                Event::Message { .. } => messages += 1,
                _ => {}
            }
        }
        messages
    }

    fn flush(&mut self) {
        let env = Env { now: NOW, identity: &self.key };
        self.conn.flush(&mut self.tx.lend(), &env).expect("there is room and time");
    }
}

pub(crate) struct Pair<C> {
    client: Side<C>,
    server: Side<C>,
}

impl<C: Crypto> Pair<C> {
    /// Both sides before the first byte.
    pub(crate) fn new(
        suite: Suite,
        [client, server]: [Keypair<C>; 2],
        pin: Option<&PublicKey>,
    ) -> Self {
        let name = Name::new("client").expect("a name");
        let expect = pin.map_or(Expect::Unknown, Expect::Pinned);
        let setup = ClientSetup { name: &name, limits: LIMITS, expect, psk: None, suite };
        let conn = Connection::client(&setup, Ephemeral::new::<C>([3; 32]), BY);
        let client = Side::new(conn, client);
        let setup = ServerSetup { limits: LIMITS, psk_required: false };
        let conn = Connection::server(&setup, Ephemeral::new::<C>([4; 32]), BY);
        Pair { client, server: Side::new(conn, server) }
    }

    /// Until both sides are open.
    pub(crate) fn shake_hands(&mut self) {
        for _ in 0..2 {
            self.client.flush();
            carry(&mut self.client, &mut self.server);
            self.server.receive();
            self.server.flush();
            carry(&mut self.server, &mut self.client);
            self.client.receive();
        }
        assert!(self.client.conn.is_open() && self.server.conn.is_open());
    }

    /// So many messages of the client, in one record.
    pub(crate) fn send(&mut self, count: usize, bytes: &[u8]) {
        for _ in 0..count {
            self.client.conn.send(&mut self.client.tx.lend(), &MESSAGE, bytes).expect("room");
        }
        self.client.flush();
    }

    /// What the network does.
    pub(crate) fn carry(&mut self) {
        carry(&mut self.client, &mut self.server);
    }

    /// How many messages the server gets.
    pub(crate) fn receive(&mut self) -> usize {
        self.server.receive()
    }
}

fn carry<C>(from: &mut Side<C>, to: &mut Side<C>) {
    let n = from.tx.sealed().len();
    to.rx.space()[..n].copy_from_slice(from.tx.sealed());
    to.rx.filled(n);
    from.tx.written(n);
}
