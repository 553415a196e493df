//! A server for one connection that uses everything a server can do: pre-shared keys, admission and refusal,
//! channels, the directory, whole and streamed messages in both directions, keep-alives and the close.
#![no_std]
#![no_main]

use core::hint::black_box;

use board::{
    Register,
    connection::{self, C, LIMITS, Program},
};
use pysock_proto::{
    CloseReason, Connection, Env, Envelope, Ephemeral, Error, Event, Failure, Name, PeerId,
    PeerInfo, Psk, PublicKey, Refusal, SendError, ServerSetup, StreamId, Tx,
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
    let setup = ServerSetup { limits: LIMITS, psk_required: board::read(Register::Wish) == 1 };
    let ephemeral = Ephemeral::new::<C>(board::bytes(Register::Random));
    let by = board::now().after_millis(30_000);
    let conn = Connection::server(&setup, ephemeral, by);
    connection::run(conn, &mut Server { last: None, stream: StreamId(0), begun: StreamId(0) })
}

struct Server {
    /// Where the last message went.
    last: Option<Envelope>,
    /// What it sends.
    stream: StreamId,
    /// What it receives.
    begun: StreamId,
}

impl Program for Server {
    fn on_event(
        &mut self,
        conn: &mut Connection<C>,
        tx: &mut Tx<'_>,
        event: Event<'_>,
        env: &Env<'_>,
    ) -> Result<(), Error> {
        match event {
            Event::PskWanted(request) => {
                let psk = Psk::new(board::bytes(Register::Stored), board::bytes(Register::Stored));
                let known = (psk.hint() == request.hint()).then_some(&psk);
                conn.provide_psk(request, known, env)?;
            }
            Event::Admission(admission) => {
                board::show(admission.key().as_bytes());
                board::show(admission.name().as_str().as_bytes());
                match board::read(Register::Wish) {
                    1 => conn.admit(admission, PeerId(1), env)?,
                    _ => conn.refuse(admission, Refusal::NotAllowed, env)?,
                }
            }
            Event::Open { id, name } => {
                let known = name.as_str() == "test";
                let _ =
                    conn.answer_open(tx, id, if known { Ok(()) } else { Err(Failure::NoChannel) });
            }
            Event::Find { query, find } => {
                black_box(find);
                let _ = conn.answer_find(tx, query, peer().as_ref());
            }
            Event::Message { envelope, bytes } => {
                self.last = Some(envelope);
                connection::answer(conn, tx, envelope, bytes);
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

    // On its own, so that the figures do not hang on what is folded into the loop.
    #[inline(never)]
    fn on_wish(
        &mut self,
        conn: &mut Connection<C>,
        tx: &mut Tx<'_>,
        _: &Env<'_>,
    ) -> Result<(), SendError> {
        let Some(envelope) = self.last else { return Ok(()) };
        let text = board::bytes::<64>(Register::Stored);
        match board::read(Register::Wish) {
            1 => {
                if let Some(peer) = peer() {
                    conn.announce(tx, &peer)?;
                }
            }
            2 => conn.send(tx, &envelope, &text)?,
            3 => self.stream = conn.begin(tx, &envelope, Some(64))?,
            4 => {
                board::write(Register::Show, conn.chunk(tx, self.stream, &text)? as u32);
            }
            5 => conn.end(tx, self.stream)?,
            6 => conn.abort(tx, self.stream, Failure::Cancelled)?,
            7 => conn.stop(self.begun, Failure::TooLarge),
            8 => conn.close(CloseReason::ShuttingDown),
            _ => {}
        }
        Ok(())
    }
}

/// Some client that the server knows.
fn peer() -> Option<PeerInfo> {
    let name = board::bytes::<8>(Register::Stored);
    let name = Name::new(core::str::from_utf8(&name).ok()?).ok()?;
    let key = PublicKey(board::bytes(Register::Stored));
    Some(PeerInfo { id: PeerId(board::read(Register::Stored)), key, name })
}
