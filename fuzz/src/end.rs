//! One end of a link: a connection with its key, its memory and its time.

use pysock_proto::{
    ClientSetup, Connection, Crypto, Env, Ephemeral, Error, Event, Expect, Identity, Instant,
    Keypair, Limits, Name, PeerId, Psk, PublicKey, RxBuf, SecretKey, ServerSetup, Suite, Tx, TxBuf,
};

/// The end of every handshake.
const HANDSHAKE_BY: Instant = Instant::from_millis(10_000);

/// How a pair of ends is made.
pub struct Setup {
    /// What the client takes.
    pub client: Limits,
    /// What the server takes.
    pub server: Limits,
    /// Bytes of each transmit buffer.
    pub transmit: usize,
    /// The suite that the client asks for.
    pub suite: Suite,
    /// The client knows the server's key.
    pub pinned: bool,
    /// The client only wants to know which key answers.
    pub diagnoses: bool,
    /// The client's pre-shared key.
    pub psk: Option<Psk>,
    /// The server wants one.
    pub psk_required: bool,
}

impl Setup {
    /// Both sides alike.
    pub fn new(limits: Limits) -> Self {
        let (client, server, transmit) = (limits, limits, 2 * usize::from(limits.record));
        let suite = Suite::ChaChaPoly;
        let [pinned, diagnoses, psk_required] = [false; 3];
        Setup { client, server, transmit, suite, pinned, diagnoses, psk: None, psk_required }
    }

    /// The client's end before the first byte.
    pub fn client<C: Crypto>(&self) -> End<C> {
        let pin = server_key::<C>();
        let setup = ClientSetup {
            name: &name("fuzz"),
            limits: self.client,
            expect: match (self.pinned, self.diagnoses) {
                (true, _) => Expect::Pinned(&pin),
                (false, true) => Expect::Diagnose,
                (false, false) => Expect::Unknown,
            },
            psk: self.psk.as_ref(),
            suite: self.suite,
        };
        let conn = Connection::client(&setup, Ephemeral::new::<C>([4; 32]), HANDSHAKE_BY);
        End::new(conn, [2; 32], self.client, self.transmit)
    }

    /// The server's end before the first byte.
    pub fn server<C: Crypto>(&self) -> End<C> {
        let setup = ServerSetup { limits: self.server, psk_required: self.psk_required };
        let conn = Connection::server(&setup, Ephemeral::new::<C>([3; 32]), HANDSHAKE_BY);
        End::new(conn, [1; 32], self.server, self.transmit)
    }

    /// Both ends, open.
    pub fn open<C: Crypto>(&self) -> (End<C>, End<C>) {
        let (mut client, mut server) = (self.client(), self.server());
        let decisions = Decisions::default();
        for _ in 0..3 {
            let flight = client.flushed().expect("an honest handshake");
            server.feed(&flight, |event, half| decisions.take(event, half)).expect("likewise");
            let reply = server.flushed().expect("likewise");
            client.feed(&reply, |event, half| decisions.take(event, half)).expect("likewise");
        }
        assert!(client.conn.is_open() && server.conn.is_open(), "the handshake did not complete");
        (client, server)
    }
}

/// The key of every server.
pub fn server_key<C: Crypto>() -> PublicKey {
    Keypair::<C>::new(SecretKey::from_bytes([1; 32])).public()
}

/// A name that is one.
pub fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

/// What is answered when a connection asks.
pub struct Decisions {
    /// The server lets clients in.
    pub admits: bool,
    /// The client takes a key that it does not know.
    pub accepts: bool,
    /// What the server has for whatever hint.
    pub psk: Option<Psk>,
}

impl Default for Decisions {
    fn default() -> Self {
        Decisions { admits: true, accepts: true, psk: None }
    }
}

impl Decisions {
    /// Answers if the event asks. What it says of the connection, the next call will say too.
    pub fn take<C: Crypto>(&self, event: Event<'_>, half: &mut Half<'_, C>) {
        let env = half.env;
        let _ = match event {
            Event::Verify(verify) if self.accepts => half.conn.accept(verify),
            Event::PskWanted(request) => {
                let known = self.psk.as_ref().filter(|psk| psk.hint() == request.hint());
                half.conn.provide_psk(request, known, &env)
            }
            Event::Admission(admission) if self.admits => {
                half.conn.admit(admission, PeerId(1), &env)
            }
            Event::Admission(admission) => {
                half.conn.refuse(admission, pysock_proto::Refusal::NotAllowed, &env)
            }
            _ => Ok(()),
        };
    }
}

/// One end.
pub struct End<C: Crypto> {
    /// The connection.
    pub conn: Connection<C>,
    /// Its key.
    pub key: Keypair<C>,
    /// What has arrived.
    pub rx: RxBuf<Vec<u8>>,
    /// What is to be sent.
    pub tx: TxBuf<Vec<u8>>,
    /// Its time.
    pub now: Instant,
}

/// What may be used while an event is held: everything but the receive buffer.
pub struct Half<'a, C: Crypto> {
    /// The connection.
    pub conn: &'a mut Connection<C>,
    /// What is to be sent.
    pub tx: Tx<'a>,
    /// Time and key.
    pub env: Env<'a>,
}

impl<C: Crypto> End<C> {
    fn new(conn: Connection<C>, secret: [u8; 32], limits: Limits, transmit: usize) -> Self {
        let key = Keypair::new(SecretKey::from_bytes(secret));
        let record = usize::from(limits.clamped().record);
        let (rx, tx) = (RxBuf::new(vec![0; record + 2]), TxBuf::new(vec![0; transmit]));
        End { conn, key, rx, tx, now: Instant::from_millis(0) }
    }

    /// Time passes.
    pub fn later(&mut self, millis: u64) {
        self.now = self.now.after_millis(millis);
    }

    /// Writes what is due into the buffer.
    pub fn flush(&mut self) -> Result<(), Error> {
        let env = Env { now: self.now, identity: &self.key };
        self.conn.flush(&mut self.tx.lend(), &env)
    }

    /// Takes what is sealed off the buffer.
    pub fn wire(&mut self) -> Vec<u8> {
        let wire = self.tx.sealed().to_vec();
        self.tx.written(wire.len());
        wire
    }

    /// Flushes until nothing more comes. The last word of a connection that fails here is in the next call.
    pub fn flushed(&mut self) -> Result<Vec<u8>, Error> {
        let mut all = vec![];
        for _ in 0..10_000 {
            self.flush()?;
            let wire = self.wire();
            if wire.is_empty() {
                return Ok(all);
            }
            all.extend(wire);
        }
        panic!("a flush never comes to its end");
    }

    /// Feeds bytes; `handle` sees every event. What cannot be read once the connection is over is thrown away.
    pub fn feed(
        &mut self,
        mut wire: &[u8],
        mut handle: impl FnMut(Event<'_>, &mut Half<'_, C>),
    ) -> Result<(), Error> {
        let mut idle = 0;
        loop {
            let space = self.rx.space();
            let n = wire.len().min(space.len());
            space[..n].copy_from_slice(&wire[..n]);
            wire = &wire[n..];
            self.rx.filled(n);
            let env = Env { now: self.now, identity: &self.key };
            let mut rx = self.rx.lend();
            let mut half = Half { conn: &mut self.conn, tx: self.tx.lend(), env };
            while let Some(event) = half.conn.receive(&mut rx, &env)? {
                handle(event, &mut half);
            }
            if wire.is_empty() || self.conn.is_over() {
                return Ok(());
            }
            idle = if n == 0 { idle + 1 } else { 0 };
            assert!(idle < 3, "stuck: the buffer is full, and nothing is taken from it");
            if n == 0 {
                // A handshake wants its turn to write before it reads on.
                self.flush()?;
            }
        }
    }

    /// Whether what is over stays so: nothing is received, nothing is due, nothing can be sent.
    pub fn assert_stays_over(&mut self) {
        let env = Env { now: self.now, identity: &self.key };
        assert!(self.conn.is_over() && !self.conn.is_open() && self.conn.deadline().is_none());
        let again = self.conn.receive(&mut self.rx.lend(), &env).map(|_| ());
        assert_eq!(again, Err(Error::Ended));
        // A last word, once; then silence.
        let _ = self.flush();
        let _ = self.wire();
        assert_eq!(self.flush(), Ok(()));
        // What a program had put in before the end is given up, unsealed.
        assert!(self.tx.sealed().is_empty() && self.conn.is_over());
        assert!(self.conn.end_of_input().is_ok());
    }
}
