//! A client that also has end-to-end sessions with other clients, and does in them whatever can be done.
#![no_std]
#![no_main]

use core::hint::black_box;

use board::{
    Register, Size,
    client::Extra,
    connection::{C, LIMITS},
    sizes,
};
use pysock_proto::{
    CloseReason, Connection, Env, Ephemeral, Event, Failure, Kind, Name, PeerId, PeerInfo,
    PeerRefusal, PublicKey, SendError, StreamId, Tx,
    peer::{Acquaintance, FixedPeers, HalfOpen, Peer, PeerEvent, Peers},
};

/// Room for the sessions and handshakes of a small board.
type Sessions = FixedPeers<C, 4, 2>;

// SAFETY: the section exists for this table alone; it is kept in the file and never loaded.
#[unsafe(link_section = ".pysock_sizes")]
#[used]
static SIZES: [Size; 4] = sizes! {
    "Peer" Peer,
    "HalfOpen" HalfOpen,
    "Peers without its storage" Peers<C, (), ()>,
    "PeerEvent" PeerEvent<'static>,
};

struct Talk {
    peers: Sessions,
    /// Whom it talks to.
    with: PeerInfo,
    stream: StreamId,
    begun: StreamId,
}

impl Extra for Talk {
    fn new(name: Name) -> Option<Self> {
        let peers = Sessions::new(name, LIMITS, Default::default(), Default::default());
        let with = PeerInfo { id: PeerId(1), key: PublicKey([0; 32]), name };
        Some(Talk { peers, with, stream: StreamId(0), begun: StreamId(0) })
    }

    fn on_event(&mut self, event: Event<'_>, env: &Env<'_>) {
        match event {
            Event::Peer(peer) => {
                self.peers.named(&peer);
                self.with = peer;
            }
            Event::Relay { unit, bytes, .. } => {
                let mut incoming = self.peers.receive(&self.with, unit, bytes, env);
                while let Some(event) = self.peers.next(&mut incoming) {
                    self.hear(event, env);
                }
            }
            Event::RelayFailed { peer, failure } => {
                black_box(self.peers.unreachable(peer, failure));
            }
            Event::Welcome { .. } => self.peers.reconnected(),
            other => {
                black_box(&other);
            }
        }
    }

    fn on_wish(
        &mut self,
        conn: &mut Connection<C>,
        tx: &mut Tx<'_>,
        env: &Env<'_>,
    ) -> Result<(), SendError> {
        while let Some((_, event)) = self.peers.poll(env.now) {
            self.hear(event, env);
        }
        let wish = board::read(Register::Wish);
        let key = self.with.key;
        match wish {
            20 => self.call(Acquaintance::New, env),
            21 => self.call(Acquaintance::Known, env),
            22 => self.call(Acquaintance::Diagnose, env),
            23 => self.peers.close(&key, CloseReason::Done, env),
            24 => self.peers.forget(&key),
            25 => self.peers.stop(&key, self.begun, Failure::TooLarge),
            26..40 => self.send(wish, conn, tx)?,
            _ => {}
        }
        conn.flush_peers(tx, &mut self.peers, env)?;
        board::sleep(self.peers.deadline());
        Ok(())
    }
}

impl Talk {
    fn call(&mut self, acquaintance: Acquaintance, env: &Env<'_>) {
        let ephemeral = Ephemeral::new::<C>(board::bytes(Register::Random));
        let by = env.now.after_millis(3_000);
        black_box(self.peers.handshake(&self.with, acquaintance, ephemeral, by, env)).ok();
    }

    fn hear(&mut self, event: PeerEvent<'_>, env: &Env<'_>) {
        let yes = board::read(Register::Wish) == 1;
        match event {
            PeerEvent::Greeting(greeting) if yes => {
                let ephemeral = Ephemeral::new::<C>(board::bytes(Register::Random));
                let by = env.now.after_millis(3_000);
                black_box(self.peers.answer(greeting, ephemeral, by)).ok();
            }
            PeerEvent::Greeting(greeting) => {
                self.peers.refuse(greeting, PeerRefusal::NotTrusted, env);
            }
            PeerEvent::Verify(verify) if yes => {
                black_box(self.peers.accept(verify, env)).ok();
            }
            PeerEvent::Verify(verify) => self.peers.deny(verify, PeerRefusal::NotTrusted, env),
            PeerEvent::Wanted => self.call(Acquaintance::Known, env),
            PeerEvent::Message { bytes, .. } => board::show(bytes),
            PeerEvent::Begin { stream, .. } => self.begun = stream,
            PeerEvent::Chunk { stream, bytes } => {
                board::show(bytes);
                self.peers.consumed(&self.with.key, stream, bytes.len());
            }
            other => {
                black_box(&other);
            }
        }
    }

    fn send(
        &mut self,
        wish: u32,
        conn: &mut Connection<C>,
        tx: &mut Tx<'_>,
    ) -> Result<(), SendError> {
        let text = board::bytes::<64>(Register::Stored);
        let mut to = conn.to_peer(tx, &mut self.peers, &self.with.key)?;
        match wish {
            26 => to.send(0, Kind::Message, &text),
            27 => to.send_failed(0, Kind::Message, Failure::Busy),
            28 => to.begin(0, Kind::Message, Some(64)).map(|stream| self.stream = stream),
            29 => to.chunk(self.stream, &text).map(|n| board::write(Register::Show, n as u32)),
            30 => to.end(self.stream),
            _ => to.abort(self.stream, Failure::Cancelled),
        }
    }
}

// SAFETY: the only `main` in the program; the reset code expects exactly this signature.
#[unsafe(no_mangle)]
extern "C" fn main() -> ! {
    if let Err(error) = board::client::run::<Talk>() {
        black_box(error);
    }
    board::halt()
}
