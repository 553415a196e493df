//! The server of one client: it takes part, and nothing of it is counted.

use pysock_proto::{
    Connection, Env, Envelope, Ephemeral, Event, Instant, Keypair, Limits, PeerId, PeerInfo,
    RustCrypto, RxBuf, SecretKey, ServerSetup, StreamId, TxBuf, Unit,
};

use board::entropy::TestEntropy;

pub(crate) type C = RustCrypto;

/// Time stands still.
pub(crate) const NOW: Instant = Instant::from_millis(1_000);
/// Until when handshakes have to be done.
pub(crate) const BY: Instant = Instant::from_millis(11_000);

pub(crate) type Receive = RxBuf<[u8; Limits::SMALL.record as usize + 2]>;
pub(crate) type Transmit = TxBuf<[u8; 1024]>;

/// A unit on its way from one client to another.
pub(crate) struct Parcel {
    pub(crate) unit: Unit,
    bytes: [u8; Limits::SMALL.record as usize],
    len: usize,
}

impl Parcel {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

pub(crate) struct Server {
    pub(crate) key: Keypair<C>,
    pub(crate) conn: Connection<C>,
    pub(crate) rx: &'static mut Receive,
    pub(crate) tx: &'static mut Transmit,
    id: PeerId,
    /// What the client has sent to it, all messages and streams together.
    pub(crate) bytes: usize,
    /// Where the last of it belongs.
    pub(crate) envelope: Option<Envelope>,
}

impl Server {
    pub(crate) fn new(
        rx: &'static mut Receive,
        tx: &'static mut Transmit,
        id: PeerId,
        entropy: &mut TestEntropy,
    ) -> Self {
        let key = Keypair::new(SecretKey::from_bytes(entropy.bytes()));
        let conn = connection(entropy);
        Server { key, conn, rx, tx, id, bytes: 0, envelope: None }
    }

    /// As new, for another connection of the client.
    pub(crate) fn again(&mut self, entropy: &mut TestEntropy) {
        self.conn = connection(entropy);
    }

    /// Deals with what has arrived, up to the first unit for another client, which it hands back.
    pub(crate) fn step(&mut self) -> Option<Parcel> {
        let env = Env { now: NOW, identity: &self.key };
        let mut view = self.rx.lend();
        let mut parcel = None;
        while let Some(event) = self.conn.receive(&mut view, &env).expect("an honest client") {
            match event {
                Event::Admission(admission) => {
                    self.conn.admit(admission, self.id, &env).expect("in time");
                }
                Event::Open { id, .. } => {
                    self.conn.answer_open(&mut self.tx.lend(), id, Ok(())).expect("room");
                }
                Event::Message { envelope, bytes } => {
                    (self.bytes, self.envelope) = (self.bytes + bytes.len(), Some(envelope));
                }
                Event::Chunk { stream, bytes } => {
                    self.bytes += bytes.len();
                    self.conn.consumed(stream, bytes.len());
                }
                Event::Relay { unit, bytes, .. } => {
                    let mut copy = Parcel { unit, bytes: [0; _], len: bytes.len() };
                    copy.bytes[..bytes.len()].copy_from_slice(bytes);
                    parcel = Some(copy);
                    break;
                }
                _ => {}
            }
        }
        self.conn.flush(&mut self.tx.lend(), &env).expect("in time");
        parcel
    }

    /// Passes a unit on to its client.
    pub(crate) fn pass_on(&mut self, from: &PeerInfo, parcel: &Parcel) {
        let tx = &mut self.tx.lend();
        self.conn.announce(tx, from).expect("room");
        self.conn.relay(tx, from.id, parcel.unit, parcel.bytes()).expect("room");
        self.flush();
    }

    /// Sends a message of `len` bytes.
    pub(crate) fn send(&mut self, len: usize) {
        let envelope = self.envelope.expect("the client has sent one");
        self.conn.send(&mut self.tx.lend(), &envelope, &[b'x'; 256][..len]).expect("room");
        self.flush();
    }

    /// Begins to send `len` bytes in a stream.
    pub(crate) fn begin(&mut self, len: usize) -> StreamId {
        let envelope = self.envelope.expect("the client has sent one");
        self.conn.begin(&mut self.tx.lend(), &envelope, Some(len as u64)).expect("room")
    }

    pub(crate) fn flush(&mut self) {
        let env = Env { now: NOW, identity: &self.key };
        self.conn.flush(&mut self.tx.lend(), &env).expect("in time");
    }
}

fn connection(entropy: &mut TestEntropy) -> Connection<C> {
    let setup = ServerSetup { limits: Limits::SMALL, psk_required: false };
    Connection::server(&setup, Ephemeral::new::<C>(entropy.bytes()), BY)
}

/// The wire: as much as fits. Whether there was anything.
pub(crate) fn carry(from: &mut Transmit, to: &mut Receive) -> bool {
    let space = to.space();
    let n = from.sealed().len().min(space.len());
    space[..n].copy_from_slice(&from.sealed()[..n]);
    to.filled(n);
    from.written(n);
    n > 0
}
