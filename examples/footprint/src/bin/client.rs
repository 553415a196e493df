//! A client that uses everything a client can do: both handshakes, a pre-shared key, channels, whole and streamed
//! messages in both directions, the directory, keep-alives and the close.
#![no_std]
#![no_main]

use core::hint::black_box;

use board::{Register, Slot};
use pysock_proto::{
    Admission, ChannelId, ChannelName, ClientSetup, CloseReason, Connection, Env, Envelope,
    Ephemeral, Error, Event, Expect, Failure, Find, Keypair, Kind, Limits, MIN_TRANSMIT, Name,
    Party, PeerInfo, Psk, PublicKey, RequestId, RustCrypto, RxBuf, SecretKey, SendError, StreamId,
    Suite, Tx, TxBuf, Verify,
};

type C = RustCrypto;

const LIMITS: Limits = Limits::SMALL;
const RECEIVE: usize = LIMITS.record as usize + 2;

static CONNECTION: Slot<Connection<C>> = Slot::new();
static KEY: Slot<Keypair<C>> = Slot::new();
static RX: Slot<RxBuf<[u8; RECEIVE]>> = Slot::new();
static TX: Slot<TxBuf<[u8; MIN_TRANSMIT]>> = Slot::new();

/// The size of a type on this target, for the report.
#[repr(C)]
struct Size([u8; 28], u32);

macro_rules! sizes {
    ($($name:literal $type:ty,)+) => {
        [$(Size(padded($name), size_of::<$type>() as u32)),+]
    };
}

const fn padded(name: &str) -> [u8; 28] {
    let (mut to, from, mut i) = ([b' '; 28], name.as_bytes(), 0);
    while i < from.len() {
        to[i] = from[i];
        i += 1;
    }
    to
}

// SAFETY: the section exists for this table alone; it is kept in the file and never loaded.
#[unsafe(link_section = ".pysock_sizes")]
#[used]
static SIZES: [Size; 12] = sizes! {
    "Connection" Connection<C>,
    "Event" Event<'static>,
    "Result<Option<Event>, Error>" Result<Option<Event<'static>>, Error>,
    "Verify" Verify,
    "Admission" Admission,
    "Envelope" Envelope,
    "Error" Error,
    "SendError" SendError,
    "PeerInfo" PeerInfo,
    "Keypair" Keypair<C>,
    "RxBuf beside its memory" RxBuf<[u8; 0]>,
    "TxBuf beside its memory" TxBuf<[u8; 0]>,
};

// SAFETY: the only `main` in the program; the reset code expects exactly this signature.
#[unsafe(no_mangle)]
extern "C" fn main() -> ! {
    if let Err(error) = run() {
        black_box(error);
    }
    board::halt()
}

fn run() -> Result<(), Error> {
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
    let mut program = Program { channel: ChannelId(0), stream: StreamId(0), begun: StreamId(0) };
    while !conn.is_over() {
        let env = Env { now: board::now(), identity: key };
        let n = board::receive(rx.space());
        rx.filled(n);
        let mut view = rx.lend();
        let outcome = loop {
            match conn.receive(&mut view, &env) {
                Ok(Some(event)) => program.on_event(conn, &mut tx.lend(), event)?,
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        if program.on_wish(conn, &mut tx.lend()).is_err() {
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
    fn on_event(
        &mut self,
        conn: &mut Connection<C>,
        tx: &mut Tx<'_>,
        event: Event<'_>,
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
            // Whatever it carries counts as used.
            other => {
                black_box(&other);
            }
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
