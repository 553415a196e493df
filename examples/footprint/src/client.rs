//! A client that uses everything a client can do: both handshakes, a pre-shared key, channels, whole and streamed
//! messages in both directions, the directory, keep-alives and the close. What else it does is an [`Extra`].

use core::hint::black_box;

use pysock_proto::{
    ChannelId, ChannelName, ClientSetup, CloseReason, Connection, Env, Envelope, Ephemeral, Error,
    Event, Expect, Failure, Find, Kind, Name, Party, Psk, PublicKey, RequestId, SendError,
    StreamId, Suite, Tx,
};

use crate as board;
use crate::{
    Register,
    connection::{self, C, LIMITS, Program},
};

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
    let conn = Connection::client(&setup, ephemeral, by);
    let Some(extra) = E::new(name) else { return Ok(()) };
    let (channel, stream, begun) = (ChannelId(0), StreamId(0), StreamId(0));
    connection::run(conn, &mut Client { channel, stream, begun, extra })
}

struct Client<E> {
    channel: ChannelId,
    /// What it sends.
    stream: StreamId,
    /// What it receives.
    begun: StreamId,
    extra: E,
}

impl<E: Extra> Program for Client<E> {
    fn on_event(
        &mut self,
        conn: &mut Connection<C>,
        tx: &mut Tx<'_>,
        event: Event<'_>,
        env: &Env<'_>,
    ) -> Result<(), Error> {
        match event {
            Event::Verify(verify) => {
                board::show(verify.key().as_bytes());
                if board::read(Register::Wish) == 1 {
                    conn.accept(verify)?;
                }
            }
            Event::Opened { id, result: Ok(()) } => self.channel = id,
            Event::Message { envelope, bytes } => connection::answer(conn, tx, envelope, bytes),
            Event::Begin { stream, .. } => self.begun = stream,
            Event::Chunk { stream, bytes } => {
                board::show(bytes);
                conn.consumed(stream, bytes.len());
            }
            other => self.extra.on_event(other, env),
        }
        Ok(())
    }

    // On its own, so that the figures do not hang on what is folded into the loop.
    #[inline(never)]
    fn on_wish(
        &mut self,
        conn: &mut Connection<C>,
        tx: &mut Tx<'_>,
        env: &Env<'_>,
    ) -> Result<(), SendError> {
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
        self.extra.on_wish(conn, tx, env)
    }
}
