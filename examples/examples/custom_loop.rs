//! An event loop of one's own: server and client in one thread, driven by the protocol core directly.
//!
//! The core does no I/O and knows no clock. This program brings both, with nothing but `std::net`: sockets that do
//! not block, and one loop that gives each side its turn. A loop over epoll, io_uring or a microcontroller's network
//! stack has the same shape; only the waiting is better there.
#![allow(clippy::print_stdout, reason = "it is what this program is for")]

use std::{
    error::Error,
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::{self, Duration},
};

use pysock_proto::{
    ChannelId, ClientSetup, CloseReason, Connection, Env, Envelope, Ephemeral, Event, Expect,
    Identity, Instant, Keypair, Kind, Limits, Party, PeerId, RustCrypto, RxBuf, SecretKey,
    ServerSetup, Suite, Tx, TxBuf,
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;
type Conn = Connection<RustCrypto>;

/// What this end takes. A microcontroller could afford it: the buffers below are its largest part.
const LIMITS: Limits = Limits::SMALL;
/// The longest record, and its two bytes of length.
const RECEIVE: usize = 512 + 2;
const TRANSMIT: usize = 1024;

/// One end of the link: the connection, and what it is lent.
struct End {
    socket: TcpStream,
    conn: Conn,
    key: Keypair<RustCrypto>,
    rx: RxBuf<[u8; RECEIVE]>,
    tx: TxBuf<[u8; TRANSMIT]>,
}

impl End {
    fn new(socket: TcpStream, conn: Conn, key: Keypair<RustCrypto>) -> Result<Self> {
        socket.set_nonblocking(true)?;
        socket.set_nodelay(true)?;
        Ok(End { socket, conn, key, rx: RxBuf::new([0; RECEIVE]), tx: TxBuf::new([0; TRANSMIT]) })
    }

    /// Reads, acts, writes, as far as it goes without waiting. Returns whether anything moved.
    fn turn(
        &mut self,
        now: Instant,
        mut act: impl FnMut(Event<'_>, &mut Conn, &mut Tx<'_>, &Env<'_>) -> Result<()>,
    ) -> Result<bool> {
        let env = Env { now, identity: &self.key };
        // A full buffer leaves no space, and reading nothing would look like the end.
        let space = self.rx.space();
        let mut read = 0;
        if !space.is_empty() && !self.conn.is_over() {
            match self.socket.read(space) {
                Ok(0) => self.conn.end_of_input()?,
                Ok(n) => read = n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.rx.filled(read);
        let mut view = self.rx.lend();
        // A connection that is over has nothing more to say.
        let mut failed = None;
        while !self.conn.is_over() {
            match self.conn.receive(&mut view, &env) {
                Ok(Some(event)) => act(event, &mut self.conn, &mut self.tx.lend(), &env)?,
                Ok(None) => break,
                Err(error) => failed = Some(error),
            }
        }
        // After an error, too: it may leave a last word for the other side.
        self.conn.flush(&mut self.tx.lend(), &env)?;
        let mut written = 0;
        if !self.tx.sealed().is_empty() {
            match self.socket.write(self.tx.sealed()) {
                Ok(n) => written = n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.tx.written(written);
        match failed {
            Some(error) => Err(error.into()),
            None => Ok(read + written > 0),
        }
    }
}

/// 32 bytes that nobody can guess: a long-term key, or the only entropy that a connection wants.
fn random() -> Result<[u8; 32]> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}

fn to_server(channel: ChannelId) -> Envelope {
    Envelope { channel, party: Party::Server, kind: Kind::Message }
}

fn main() -> Result<()> {
    let server_key = Keypair::<RustCrypto>::new(SecretKey::from_bytes(random()?));
    let client_key = Keypair::<RustCrypto>::new(SecretKey::from_bytes(random()?));
    // What a person would have compared or typed in. With `Expect::Pinned` no decision would be left.
    let trusted = server_key.public();

    let listener = TcpListener::bind("127.0.0.1:0")?;
    let socket = TcpStream::connect(listener.local_addr()?)?;
    let began = time::Instant::now();
    let handshake_by = Instant::from_millis(10_000);

    let setup = ClientSetup {
        name: &"shikhar".parse()?,
        limits: LIMITS,
        expect: Expect::Unknown,
        psk: None,
        suite: Suite::ChaChaPoly,
    };
    let conn = Connection::client(&setup, Ephemeral::new::<RustCrypto>(random()?), handshake_by);
    let mut client = End::new(socket, conn, client_key)?;
    let setup = ServerSetup { limits: LIMITS, psk_required: false };
    let conn = Connection::server(&setup, Ephemeral::new::<RustCrypto>(random()?), handshake_by);
    let mut server = End::new(listener.accept()?.0, conn, server_key)?;

    let mut answered = false;
    while !(client.conn.is_over() && server.conn.is_over()) {
        let now = Instant::from_millis(began.elapsed().as_millis() as u64);
        let client_moved = client.turn(now, |event, conn, tx, _| {
            match event {
                Event::Verify(verify) if *verify.key() == trusted => {
                    println!("client: the server proved {}", verify.key());
                    conn.accept(verify)?;
                }
                // Dropped, the decision is a no.
                Event::Verify(_) => return Err("another server answers".into()),
                Event::Welcome { id, .. } => {
                    println!("client: admitted as number {id}");
                    conn.open_channel(tx, &"test".parse()?)?;
                }
                Event::Opened { id, result } => {
                    result.map_err(|why| why.to_string())?;
                    conn.send(tx, &to_server(id), b"Hello, World!")?;
                }
                Event::Message { bytes, .. } => {
                    println!("client: {:?}", str::from_utf8(bytes)?);
                    answered = bytes == b"Hello From Server";
                    conn.close(CloseReason::Done);
                }
                _ => {}
            }
            Ok(())
        })?;
        let server_moved = server.turn(now, |event, conn, tx, env| {
            match event {
                Event::Admission(admission) => {
                    println!("server: {} proved {}", admission.name(), admission.key());
                    conn.admit(admission, PeerId(1), env)?;
                }
                Event::Open { id, name } => {
                    println!("server: opens channel {name}");
                    conn.answer_open(tx, id, Ok(()))?;
                }
                Event::Message { envelope, bytes } => {
                    println!("server: {:?}", str::from_utf8(bytes)?);
                    // To whom it came from: on a server's connection, that is its client.
                    conn.send(tx, &envelope, b"Hello From Server")?;
                }
                Event::Closed(why) => {
                    println!("server: the client closed, {why}");
                    conn.close(CloseReason::Done);
                }
                _ => {}
            }
            Ok(())
        })?;
        if !client_moved && !server_moved {
            // A real loop sleeps until a socket is ready or the nearer of both deadlines has come. Without a way
            // to wait for two sockets, this one looks again after a moment.
            let deadline = [client.conn.deadline(), server.conn.deadline()].into_iter().flatten();
            let left = deadline.map(|at| at.millis_since(now)).min().unwrap_or(0);
            thread::sleep(Duration::from_millis(left.min(1)));
        }
    }
    if answered { Ok(()) } else { Err("no answer came".into()) }
}
