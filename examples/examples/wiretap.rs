//! A server that logs everything it can see: what is left of a conversation for somebody who runs the server.
//!
//! It is built on the protocol core, with one task and one socket for each client. It lets everybody in, says who is
//! there, and passes on what clients send each other: messages on channels, which it reads, and sealed units, of
//! which it sees who, to whom, when and how long.
//!
//! `cargo run --example wiretap -- [ADDRESS [UNITS]]` ends after so many units, or with Ctrl-C. Try it in three terminals:
//!
//! ```text
//! cargo run --example wiretap -- localhost:1235
//! pysock listen --name swat --config swat.yaml --server localhost:1235
//! pysock chat swat localhost:1235 --name shikhar --config shikhar.yaml
//! ```
//!
//! It has another key each time, so that clients which remember the one before refuse it: `pysock forget localhost:1235`.
#![allow(clippy::print_stdout, reason = "it is what this program is for")]

use std::{
    collections::HashMap,
    error::Error,
    fmt::Write as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{self, Duration},
};

use pysock_proto::{
    ChannelId, ChannelName, CloseReason, Connection, Env, Envelope, Ephemeral, Event, Failure,
    Find, Instant, Keypair, Kind, Limits, Party, PeerId, PeerInfo, Refusal, RustCrypto, RxBuf,
    SecretKey, ServerSetup, Tx, TxBuf, Unit,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const LIMITS: Limits = Limits::DESKTOP;
/// The longest record, and its two bytes of length.
const RECEIVE: usize = LIMITS.record as usize + 2;
/// Room for several of them.
const TRANSMIT: usize = 4 * RECEIVE;

/// What one client sends another.
struct Parcel {
    from: PeerInfo,
    what: What,
    bytes: Vec<u8>,
}

enum What {
    Sealed(Unit),
    OnChannel(ChannelName, Kind),
}

struct Guest {
    info: PeerInfo,
    inbox: mpsc::UnboundedSender<Parcel>,
}

/// What all tasks share.
struct Exchange {
    key: Keypair<RustCrypto>,
    began: time::Instant,
    guests: Mutex<Vec<Guest>>,
    last: Mutex<u32>,
    /// How many units were logged.
    seen: watch::Sender<u64>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Exchange {
    fn env(&self) -> Env<'_> {
        let now = Instant::from_millis(self.began.elapsed().as_millis() as u64);
        Env { now, identity: &self.key }
    }

    fn find(&self, wanted: &Find) -> Option<PeerInfo> {
        let guests = locked(&self.guests);
        let mut all = guests.iter().map(|guest| guest.info);
        all.find(|info| match wanted {
            Find::Name(name) => info.name == *name,
            Find::Key(key) => info.key == *key,
            // They are in the order of their numbers.
            Find::After(id) => info.id > *id,
        })
    }

    /// Writes a parcel into the log, and puts it where its receiver finds it.
    fn pass_on(&self, to: PeerId, parcel: Parcel) -> bool {
        let guests = locked(&self.guests);
        let Some(guest) = guests.iter().find(|guest| guest.info.id == to) else { return false };
        self.log(guest.info.name.as_str(), &parcel);
        guest.inbox.send(parcel).is_ok()
    }

    fn log(&self, to: &str, parcel: &Parcel) {
        let Parcel { from, what, bytes } = parcel;
        let what = match what {
            What::Sealed(Unit::Handshake) => "handshake".to_owned(),
            What::Sealed(Unit::Record) => "record".to_owned(),
            What::OnChannel(name, kind) => format!("{kind:?} on {name}"),
        };
        let mut text = format!("{} -> {to}: {what}, {} bytes\n", from.name, bytes.len());
        for (line, part) in bytes.chunks(16).enumerate() {
            let hex: Vec<String> = part.iter().map(|byte| format!("{byte:02x}")).collect();
            let shown = |byte: &u8| if (32..127).contains(byte) { char::from(*byte) } else { '.' };
            let ascii: String = part.iter().map(shown).collect();
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  {:06x}  {:<47}  |{ascii}|", line * 16, hex.join(" "));
        }
        print!("{text}");
        self.seen.send_modify(|seen| *seen += 1);
    }
}

/// One client: its socket, its connection, and who it is once it is in.
struct Session {
    exchange: Arc<Exchange>,
    conn: Connection<RustCrypto>,
    tx: TxBuf<Vec<u8>>,
    info: Option<PeerInfo>,
    channels: HashMap<ChannelId, ChannelName>,
    /// Given to the exchange at admission.
    inbox: mpsc::UnboundedSender<Parcel>,
}

impl Session {
    async fn run(mut self, mut socket: TcpStream, mut arrived: Inbox) -> Result<()> {
        let served = self.serve(&mut socket, &mut arrived).await;
        // After an error, too, there may be a last word: that a cipher suite is not known here, for one.
        self.write(&mut socket).await?;
        served
    }

    /// Writes what is due.
    async fn write(&mut self, socket: &mut TcpStream) -> Result<()> {
        self.conn.flush(&mut self.tx.lend(), &self.exchange.env())?;
        while !self.tx.sealed().is_empty() {
            let n = socket.write(self.tx.sealed()).await?;
            self.tx.written(n);
        }
        Ok(())
    }

    async fn serve(&mut self, socket: &mut TcpStream, arrived: &mut Inbox) -> Result<()> {
        let mut rx = RxBuf::new(vec![0; RECEIVE]);
        loop {
            let exchange = self.exchange.clone();
            self.write(socket).await?;
            if self.conn.is_over() {
                return Ok(());
            }
            let now = exchange.env().now;
            let left = self.conn.deadline().map_or(u64::MAX >> 1, |at| at.millis_since(now));
            tokio::select! {
                read = socket.read(rx.space()) => match read? {
                    0 => self.conn.end_of_input()?,
                    n => rx.filled(n),
                },
                Some(parcel) = arrived.recv() => self.deliver(&parcel)?,
                () = tokio::time::sleep(Duration::from_millis(left)) => {}
            }
            let mut view = rx.lend();
            while !self.conn.is_over() {
                let Some(event) = self.conn.receive(&mut view, &exchange.env())? else { break };
                self.act(event)?;
            }
        }
    }

    fn act(&mut self, event: Event<'_>) -> Result<()> {
        let exchange = self.exchange.clone();
        let tx = &mut self.tx.lend();
        match (event, self.info) {
            (Event::Admission(admission), _) => {
                let (key, name) = (*admission.key(), *admission.name());
                let mut guests = locked(&exchange.guests);
                // The newest connection of a key is the one that counts.
                guests.retain(|guest| guest.info.key != key);
                if guests.iter().any(|guest| guest.info.name == name) {
                    return Ok(self.conn.refuse(admission, Refusal::NameInUse, &exchange.env())?);
                }
                let mut last = locked(&exchange.last);
                *last += 1;
                let info = PeerInfo { id: PeerId(*last), key, name };
                self.conn.admit(admission, info.id, &exchange.env())?;
                println!("{name} is here, with the key {key}");
                guests.push(Guest { info, inbox: self.inbox.clone() });
                self.info = Some(info);
            }
            (Event::Find { query, find }, Some(_)) => {
                self.conn.answer_find(tx, query, exchange.find(&find).as_ref())?;
            }
            (Event::Open { id, name }, Some(_)) => {
                self.channels.insert(id, name);
                self.conn.answer_open(tx, id, Ok(()))?;
            }
            (Event::Relay { peer, unit, bytes }, Some(from)) => {
                let parcel = Parcel { from, what: What::Sealed(unit), bytes: bytes.to_vec() };
                if !exchange.pass_on(peer, parcel) {
                    self.conn.relay_failed(tx, peer, Failure::NoPeer)?;
                }
            }
            (Event::Message { envelope, bytes }, Some(from)) => {
                let Some(name) = self.channels.get(&envelope.channel) else { return Ok(()) };
                let what = What::OnChannel(*name, envelope.kind);
                let parcel = Parcel { from, what, bytes: bytes.to_vec() };
                match envelope.party {
                    Party::Peer(peer) if exchange.pass_on(peer, parcel) => {}
                    // This server has nothing to say itself.
                    _ => self.conn.send_failed(tx, &envelope, Failure::NoPeer)?,
                }
            }
            (Event::Closed(_), _) => self.conn.close(CloseReason::Done),
            _ => {}
        }
        Ok(())
    }

    /// What another client has sent goes out, behind the words that say who that is.
    fn deliver(&mut self, parcel: &Parcel) -> Result<()> {
        let Parcel { from, what, bytes } = parcel;
        let tx: &mut Tx<'_> = &mut self.tx.lend();
        self.conn.announce(tx, from)?;
        match what {
            What::Sealed(unit) => self.conn.relay(tx, from.id, *unit, bytes)?,
            What::OnChannel(name, kind) => {
                let opened = self.channels.iter().find(|(_, opened)| *opened == name);
                let Some((&channel, _)) = opened else { return Ok(()) };
                let envelope = Envelope { channel, party: Party::Peer(from.id), kind: *kind };
                self.conn.send(tx, &envelope, bytes)?;
            }
        }
        Ok(())
    }
}

type Inbox = mpsc::UnboundedReceiver<Parcel>;

/// 32 bytes that nobody can guess.
fn random() -> Result<[u8; 32]> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}

async fn serve(socket: TcpStream, exchange: Arc<Exchange>) -> Result<()> {
    let setup = ServerSetup { limits: LIMITS, psk_required: false };
    let handshake_by = exchange.env().now.after_millis(10_000);
    let ephemeral = Ephemeral::new::<RustCrypto>(random()?);
    let (inbox, arrived) = mpsc::unbounded_channel();
    let session = Session {
        exchange: exchange.clone(),
        conn: Connection::server(&setup, ephemeral, handshake_by),
        tx: TxBuf::new(vec![0; TRANSMIT]),
        info: None,
        channels: HashMap::new(),
        inbox: inbox.clone(),
    };
    let end = session.run(socket, arrived).await;
    locked(&exchange.guests).retain(|guest| !guest.inbox.same_channel(&inbox));
    end
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let address = args.next().unwrap_or_else(|| "localhost:1234".into());
    let units: u64 = args.next().map_or(Ok(u64::MAX), |units| units.parse())?;
    let listener = TcpListener::bind(&address).await?;
    println!("listening on {}", listener.local_addr()?);
    let exchange = Arc::new(Exchange {
        key: Keypair::new(SecretKey::from_bytes(random()?)),
        began: time::Instant::now(),
        guests: Mutex::default(),
        last: Mutex::default(),
        seen: watch::Sender::new(0),
    });
    let mut seen = exchange.seen.subscribe();
    let accept = async {
        loop {
            let (socket, _) = listener.accept().await?;
            socket.set_nodelay(true)?;
            let exchange = exchange.clone();
            tokio::spawn(async move {
                if let Err(error) = serve(socket, exchange).await {
                    println!("a connection has ended: {error}");
                }
            });
        }
    };
    tokio::select! {
        failed = accept => failed,
        _ = seen.wait_for(|seen| *seen >= units) => Ok(()),
    }
}
