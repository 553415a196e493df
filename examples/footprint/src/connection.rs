//! One connection on the board, with its memory and the loop that carries it: the same for a client and a server.

use pysock_proto::{
    Connection, Env, Envelope, Error, Event, Failure, Keypair, Kind, Limits, MIN_TRANSMIT,
    RustCrypto, RxBuf, SecretKey, SendError, Tx, TxBuf,
};

use crate as board;
use crate::{Register, Slot};

/// The primitives.
pub type C = RustCrypto;

/// What this side announces.
pub const LIMITS: Limits = Limits::SMALL;
const RECEIVE: usize = LIMITS.record as usize + 2;

static CONNECTION: Slot<Connection<C>> = Slot::new();
static KEY: Slot<Keypair<C>> = Slot::new();
static RX: Slot<RxBuf<[u8; RECEIVE]>> = Slot::new();
static TX: Slot<TxBuf<[u8; MIN_TRANSMIT]>> = Slot::new();

/// What a program does with its connection.
pub trait Program {
    /// Something has arrived.
    ///
    /// # Errors
    /// Whatever ends the connection.
    fn on_event(
        &mut self,
        conn: &mut Connection<C>,
        tx: &mut Tx<'_>,
        event: Event<'_>,
        env: &Env<'_>,
    ) -> Result<(), Error>;

    /// What the user wants, and what is due.
    ///
    /// # Errors
    /// What cannot be sent now.
    fn on_wish(
        &mut self,
        conn: &mut Connection<C>,
        tx: &mut Tx<'_>,
        env: &Env<'_>,
    ) -> Result<(), SendError>;
}

/// Runs a connection until it is over.
///
/// # Errors
/// Whatever ends the connection.
pub fn run(conn: Connection<C>, program: &mut impl Program) -> Result<(), Error> {
    let stored = SecretKey::from_bytes(board::bytes(Register::Stored));
    let Some(key) = KEY.fill(Keypair::new(stored)) else { return Ok(()) };
    let Some(conn) = CONNECTION.fill(conn) else { return Ok(()) };
    let Some(rx) = RX.fill(RxBuf::new([0; RECEIVE])) else { return Ok(()) };
    let Some(tx) = TX.fill(TxBuf::new([0; MIN_TRANSMIT])) else { return Ok(()) };
    while !conn.is_over() {
        let env = Env { now: board::now(), identity: key };
        let n = board::receive(rx.space());
        rx.filled(n);
        let mut view = rx.lend();
        let outcome = loop {
            match conn.receive(&mut view, &env) {
                Ok(Some(event)) => program.on_event(conn, &mut tx.lend(), event, &env)?,
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        if program.on_wish(conn, &mut tx.lend(), &env).is_err() {
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

/// Shows a message, and sends a request back as its answer.
pub fn answer(conn: &mut Connection<C>, tx: &mut Tx<'_>, envelope: Envelope, bytes: &[u8]) {
    board::show(bytes);
    if let Kind::Request(id) = envelope.kind {
        let answer = Envelope { kind: Kind::Reply(id), ..envelope };
        if conn.send(tx, &answer, bytes).is_err() {
            let _ = conn.send_failed(tx, &envelope, Failure::Busy);
        }
    }
}
