//! A client that uses everything a client can do: both handshakes, a pre-shared key, channels, whole and streamed
//! messages in both directions, the directory, keep-alives and the close. What else it does is an [`Extra`].

use core::hint::black_box;

use pysock_proto::{
    ChannelId, ChannelName, ClientSetup, CloseReason, Connection, Env, Envelope, Ephemeral, Error,
    Event, Expect, Failure, Find, Keypair, Kind, Limits, MIN_TRANSMIT, Name, Party, Psk, PublicKey,
    RequestId, RustCrypto, RxBuf, SecretKey, SendError, StreamId, Suite, Tx, TxBuf,
};

use crate as board;
use crate::{Register, Slot};

/// The primitives.
pub type C = RustCrypto;

/// What the client announces.
pub const LIMITS: Limits = Limits::SMALL;
const RECEIVE: usize = LIMITS.record as usize + 2;

static CONNECTION: Slot<Connection<C>> = Slot::new();
static KEY: Slot<Keypair<C>> = Slot::new();
static RX: Slot<RxBuf<[u8; RECEIVE]>> = Slot::new();
static TX: Slot<TxBuf<[u8; MIN_TRANSMIT]>> = Slot::new();

/// What a client does beside talking to its server.
pub trait Extra {
    /// Begins, under this name.
    fn new(name: Name) -> Option<Self>
    where
        Self: Sized;

    /// Something has arrived that is not the server's.
    fn on_event(&mut self, event: Event<'_>, env: &Env<'_>);

    /// What the user wants, and what is due.
    fn on_wish(
        &mut self,
        conn: &mut Connection<C>,
        tx: &mut Tx<'_>,
        env: &Env<'_>,
    ) -> Result<(), SendError>;
}

/// Nothing else.
impl Extra for () {
    fn new(_: Name) -> Option<Self> {
        Some(())
    }

    fn on_event(&mut self, event: Event<'_>, _: &Env<'_>) {
        // Whatever it carries counts as used.
        black_box(&event);
    }

    fn on_wish(
        &mut self,
        _: &mut Connection<C>,
        _: &mut Tx<'_>,
        _: &Env<'_>,
    ) -> Result<(), SendError> {
        Ok(())
    }
}

/// Runs the client until its connection is over.
///
/// # Errors
/// Whatever ends the connection.
pub fn run<E: Extra>() -> Result<(), Error> {
    let stored = SecretKey::from_bytes(board::bytes(Register::Stored));
    let Some(key) = KEY.fill(Keypair::new(stored)) else { return Ok(()) };
    let name = board::bytes::<8>(Register::Stored);
    let Ok(name) = Name::from_bytes(&name) else { return Ok(()) };
    let pin = PublicKey(board::bytes(Register::Stored));
    let psk = Psk::new(board::bytes(Register::Stored), board::bytes(Register::Stored));
    let setup = ClientSetup {
        name: &name,
        limits: LIMITS,
        expect: match board::read(Register::Wish) {
            0 => Expect::Unknown,
            1 => Expect::Pinned(&pin),
            _ => Expect::Diagnose,
        },
        psk: (board::read(Register::Wish) == 1).then_some(&psk),
        suite: Suite::ChaChaPoly,
    };
    let ephemeral = Ephemeral::new::<C>(board::bytes(Register::Random));
    let by = board::now().after_millis(30_000);
    let Some(conn) = CONNECTION.fill(Connection::client(&setup, ephemeral, by)) else {
        return Ok(());
    };
    let Some(rx) = RX.fill(RxBuf::new([0; RECEIVE])) else { return Ok(()) };
    let Some(tx) = TX.fill(TxBuf::new([0; MIN_TRANSMIT])) else { return Ok(()) };
    let Some(mut extra) = E::new(name) else { return Ok(()) };
    let mut program = Program { channel: ChannelId(0), stream: StreamId(0), begun: StreamId(0) };
    while !conn.is_over() {
        let env = Env { now: board::now(), identity: key };
        let n = board::receive(rx.space());
        rx.filled(n);
        let mut view = rx.lend();
        let outcome = loop {
            match conn.receive(&mut view, &env) {
                Ok(Some(event)) => {
                    program.on_event(conn, &mut tx.lend(), event, (&mut extra, &env))?
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        let wished = program.on_wish(conn, &mut tx.lend());
        if wished.and_then(|()| extra.on_wish(conn, &mut tx.lend(), &env)).is_err() {
            board::show(b"not now");
        }
        conn.flush(&mut tx.lend(), &env)?;
        let n = board::send(tx.sealed());
        tx.written(n);
        outcome?;
        board::sleep(conn.deadline());
    }
    conn.end_of_input()
}

struct Program {
    channel: ChannelId,
    /// What it sends.
    stream: StreamId,
    /// What it receives.
    begun: StreamId,
}

impl Program {
    fn on_event<E: Extra>(
        &mut self,
        conn: &mut Connection<C>,
        tx: &mut Tx<'_>,
        event: Event<'_>,
        (extra, env): (&mut E, &Env<'_>),
    ) -> Result<(), Error> {
        match event {
            Event::Verify(verify) => {
                board::show(verify.key().as_bytes());
                if board::read(Register::Wish) == 1 {
                    conn.accept(verify)?;
                }
            }
            Event::Opened { id, result: Ok(()) } => self.channel = id,
            Event::Message { envelope, bytes } => {
                board::show(bytes);
                if let Kind::Request(id) = envelope.kind {
                    let answer = Envelope { kind: Kind::Reply(id), ..envelope };
                    if conn.send(tx, &answer, bytes).is_err() {
                        let _ = conn.send_failed(tx, &envelope, Failure::Busy);
                    }
                }
            }
            Event::Begin { stream, .. } => self.begun = stream,
            Event::Chunk { stream, bytes } => {
                board::show(bytes);
                conn.consumed(stream, bytes.len());
            }
            other => extra.on_event(other, env),
        }
        Ok(())
    }

    fn on_wish(&mut self, conn: &mut Connection<C>, tx: &mut Tx<'_>) -> Result<(), SendError> {
        let wish = board::read(Register::Wish);
        let text = board::bytes::<64>(Register::Stored);
        let to = |party, kind| Envelope { channel: self.channel, party, kind };
        match wish {
            1 => {
                let name = ChannelName::new("test").map_err(|_| SendError::Channels)?;
                self.channel = conn.open_channel(tx, &name)?;
            }
            2 => conn.send(tx, &to(Party::Server, Kind::Message), &text)?,
            3 => conn.send(tx, &to(Party::Everyone, Kind::Request(RequestId(wish))), &text)?,
            4 => self.stream = conn.begin(tx, &to(Party::Everyone, Kind::Message), Some(64))?,
            5 => {
                board::write(Register::Show, conn.chunk(tx, self.stream, &text)? as u32);
            }
            6 => conn.end(tx, self.stream)?,
            7 => conn.abort(tx, self.stream, Failure::Cancelled)?,
            8 => conn.stop(self.begun, Failure::TooLarge),
            9 => conn.find(tx, 1, &Find::Key(PublicKey(board::bytes(Register::Stored))))?,
            10 => conn.leave_channel(tx, self.channel)?,
            11 => conn.close(CloseReason::Done),
            _ => {}
        }
        Ok(())
    }
}
