//! Whatever bytes arrive, and in whatever pieces, a server never panics, never hangs, and stays over once it is over.
#![no_main]

use libfuzzer_sys::{
    arbitrary::{self, Arbitrary},
    fuzz_target,
};
use pysock_proto::{
    ClientSetup, Connection, Env, Ephemeral, Error, Event, Expect, Instant, Keypair, Limits, Name,
    PeerId, Psk, Refusal, RustCrypto, RxBuf, SecretKey, ServerSetup, Suite, TxBuf,
};

type C = RustCrypto;

const HANDSHAKE_BY: Instant = Instant::from_millis(10_000);

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    /// Flights of an honest client before the junk: none, prelude and message 1, or also message 3.
    honest: u8,
    with_psk: bool,
    pinned: bool,
    psk_required: bool,
    admits: bool,
    /// Lengths of the pieces, and milliseconds between them.
    pieces: Vec<(u8, u16)>,
    junk: &'a [u8],
}

struct End {
    conn: Connection<C>,
    key: Keypair<C>,
    rx: RxBuf<Vec<u8>>,
    tx: TxBuf<Vec<u8>>,
    now: Instant,
}

impl End {
    fn new(conn: Connection<C>, seed: u8) -> Self {
        let key = Keypair::new(SecretKey::from_bytes([seed; 32]));
        let record = usize::from(Limits::SMALL.record);
        let (rx, tx) = (RxBuf::new(vec![0; record + 2]), TxBuf::new(vec![0; record]));
        End { conn, key, rx, tx, now: Instant::from_millis(0) }
    }

    /// Feeds one piece, takes every decision, and gives what there is to send.
    fn turn(&mut self, mut piece: &[u8], psk: &Psk, admits: bool) -> Result<Vec<u8>, Error> {
        let (mut sent, mut outcome) = (vec![], Ok(()));
        loop {
            let env = Env { now: self.now, identity: &self.key };
            let space = self.rx.space();
            let n = piece.len().min(space.len());
            space[..n].copy_from_slice(&piece[..n]);
            piece = &piece[n..];
            self.rx.filled(n);
            let mut rx = self.rx.lend();
            while outcome.is_ok() {
                outcome = match self.conn.receive(&mut rx, &env) {
                    Ok(None) => break,
                    Ok(Some(Event::Verify(verify))) => self.conn.accept(verify),
                    Ok(Some(Event::PskWanted(request))) => {
                        let known = (request.hint() == psk.hint()).then_some(psk);
                        self.conn.provide_psk(request, known, &env)
                    }
                    Ok(Some(Event::Admission(admission))) if admits => {
                        self.conn.admit(admission, PeerId(1), &env)
                    }
                    Ok(Some(Event::Admission(admission))) => {
                        self.conn.refuse(admission, Refusal::NotAllowed, &env)
                    }
                    Ok(Some(_)) => Ok(()),
                    Err(error) => Err(error),
                };
            }
            let flushed = self.conn.flush(&mut self.tx.lend(), &env);
            sent.extend(self.tx.sealed());
            self.tx.written(usize::MAX);
            outcome = outcome.and(flushed);
            if outcome.is_err() || piece.is_empty() || n == 0 {
                return outcome.map(|()| sent);
            }
        }
    }
}

fuzz_target!(|input: Input<'_>| {
    let psk = Psk::new([7; 8], [8; 32]);
    let setup = ServerSetup { limits: Limits::SMALL, psk_required: input.psk_required };
    let ephemeral = Ephemeral::new::<C>([3; 32]);
    let mut server = End::new(Connection::server(&setup, ephemeral, HANDSHAKE_BY), 1);
    let pin = pysock_proto::Identity::public(&server.key);
    let setup = ClientSetup {
        name: &Name::new("fuzz").unwrap(),
        limits: Limits::SMALL,
        expect: if input.pinned { Expect::Pinned(&pin) } else { Expect::Unknown },
        psk: input.with_psk.then_some(&psk),
        suite: Suite::ChaChaPoly,
    };
    let ephemeral = Ephemeral::new::<C>([4; 32]);
    let mut client = End::new(Connection::client(&setup, ephemeral, HANDSHAKE_BY), 2);

    let mut answer = vec![];
    for _ in 0..input.honest % 3 {
        let Ok(flight) = client.turn(&answer, &psk, true) else { return };
        let Ok(reply) = server.turn(&flight, &psk, input.admits) else { return };
        answer = reply;
    }

    let (mut junk, mut pieces) = (input.junk, input.pieces.iter());
    while !junk.is_empty() {
        let (n, pause) = pieces.next().copied().unwrap_or((u8::MAX, 0));
        let (piece, rest) = junk.split_at(junk.len().min(usize::from(n).max(1)));
        junk = rest;
        server.now = server.now.after_millis(pause.into());
        if server.turn(piece, &psk, input.admits).is_err() {
            break;
        }
    }
    let _ = server.conn.end_of_input();
    let env = Env { now: server.now, identity: &server.key };
    if server.conn.is_over() {
        assert!(!server.conn.is_open() && server.conn.deadline().is_none());
        assert!(matches!(server.conn.receive(&mut server.rx.lend(), &env), Err(Error::Ended)));
    }
});
