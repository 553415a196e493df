//! What the device does, whatever it runs on.

use board::{flash::HostFlash, println};
use pysock_embedded::{
    Address, Channel, Client, Event, Message,
    client::Stream,
    keys::KeyStore,
    proto::{
        Failure, Instant, Kind, Name, PeerInfo, PeerRefusal, PublicKey,
        peer::{Greeting, PeerEvent, PeerVerify},
    },
};

/// The flash of this device.
pub type Flash = HostFlash<8192>;

/// Between two readings, in milliseconds.
const EVERY: u64 = 1_000;
/// Under this label the owner's key is pinned.
const OWNER: &str = "owner";

/// What the main loop is to do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Next {
    Go,
    Reset,
    Quit,
}

/// A large message under way: what is kept of it.
struct Upload {
    stream: Stream,
    bytes: usize,
    /// Of Fletcher's kind: tells whether every byte came, and in order.
    sum: (u32, u32),
}

pub struct Thermometer {
    store: KeyStore<Flash>,
    readings: Channel,
    /// Whether the server has let it on the channel.
    is_on: bool,
    next_reading: Instant,
    count: u32,
    upload: Option<Upload>,
    next: Next,
}

impl Thermometer {
    pub fn new(mut store: KeyStore<Flash>, client: &mut Client<'_>) -> Self {
        match owner(&mut store) {
            Some(key) => println!("remembers owner {key}"),
            None => println!("remembers no owner"),
        }
        let Ok(readings) = client.create_channel("readings") else { panic!("there is room") };
        Thermometer {
            store,
            readings,
            is_on: false,
            next_reading: Instant::default(),
            count: 0,
            upload: None,
            next: Next::Go,
        }
    }

    pub fn next(&self) -> Next {
        self.next
    }

    /// When it wants to send a reading.
    pub fn deadline(&self, client: &Client<'_>) -> Option<Instant> {
        (self.is_on && client.is_connected()).then_some(self.next_reading)
    }

    /// Sends a reading if it is time.
    pub fn tick(&mut self, client: &mut Client<'_>, now: Instant) {
        if self.deadline(client).is_none_or(|at| now < at) {
            return;
        }
        self.next_reading = now.after_millis(EVERY);
        self.count += 1;
        let mut text = heapless::String::<32>::new();
        let _ = core::fmt::write(
            &mut text,
            format_args!("reading {}: {}.{} C", self.count, 20 + self.count % 3, self.count % 10),
        );
        if let Err(error) = client.send(self.readings, text.as_bytes()) {
            println!("reading {} is lost: {error}", self.count);
        }
    }

    pub fn on_event(&mut self, client: &mut Client<'_>, event: Event<'_>) {
        match event {
            // The first server ever: from now on no other will do.
            Event::Verify(verify) => {
                let key = *verify.key();
                match self.store.pin_server(0, key, &[]) {
                    Ok(()) => println!("pinned server {key}"),
                    // Dropping the decision says no.
                    Err(error) => return println!("not pinned: {error}"),
                }
                if let Err(error) = client.accept(verify) {
                    println!("not accepted: {error}");
                }
            }
            Event::Connected { server, .. } => println!("connected, authenticated {server}"),
            Event::Disconnected { why, again } => {
                self.is_on = false;
                println!("disconnected: {why:?}, again: {again}");
            }
            Event::Channel { result, .. } => {
                self.is_on = result.is_ok();
                println!("channel: {result:?}");
            }
            Event::Message(message) => self.on_message(client, &message),
            Event::Begin { stream, from: Address::Peer(_), length, .. } => {
                println!("upload of {length:?} bytes begins");
                self.upload = Some(Upload { stream, bytes: 0, sum: (0, 0) });
            }
            Event::Begin { stream, .. } => client.stop(stream, Failure::TooLarge),
            Event::Chunk { stream, bytes } => self.on_chunk(stream, bytes),
            Event::End(stream) => {
                if let Some(upload) = self.upload.take_if(|upload| upload.stream == stream) {
                    let (a, b) = upload.sum;
                    println!("upload of {} bytes, sum {:08x}", upload.bytes, b << 16 | a);
                }
            }
            Event::Aborted { stream, failure } => {
                self.upload.take_if(|upload| upload.stream == stream);
                println!("upload aborted: {failure}");
            }
            Event::Failed { why, .. } => println!("did not get through: {why:?}"),
            Event::Peer { peer, event } => self.on_peer(client, &peer, event),
            _ => {}
        }
    }

    fn on_message(&mut self, client: &mut Client<'_>, message: &Message<'_>) {
        let text = message.text().unwrap_or("?");
        let answer = match (message.from, message.kind) {
            // Through a session, so from the owner: nobody else has one.
            (Address::Peer(_), Kind::Request(_)) => {
                println!("command end to end: {text}");
                match text {
                    "reset" => self.next = Next::Reset,
                    "quit" => self.next = Next::Quit,
                    _ => {}
                }
                "done"
            }
            // Through the server, so from anybody.
            (_, Kind::Request(_)) if text == "unit" => "celsius",
            (_, Kind::Request(_)) => "what?",
            _ => return println!("heard: {text}"),
        };
        if let Err(error) = client.reply(message, answer.as_bytes()) {
            println!("no reply: {error}");
        }
        if self.next != Next::Go {
            // After the reply.
            client.close();
        }
    }

    fn on_chunk(&mut self, stream: Stream, bytes: &[u8]) {
        let Some(upload) = self.upload.as_mut().filter(|upload| upload.stream == stream) else {
            return;
        };
        upload.bytes += bytes.len();
        for byte in bytes {
            upload.sum.0 = (upload.sum.0 + u32::from(*byte)) % 65_535;
            upload.sum.1 = (upload.sum.1 + upload.sum.0) % 65_535;
        }
    }

    fn on_peer(&mut self, client: &mut Client<'_>, peer: &PeerInfo, event: PeerEvent<'_>) {
        match event {
            PeerEvent::Greeting(greeting) => self.greeted(client, greeting),
            PeerEvent::Verify(verify) => self.verify(client, verify),
            PeerEvent::Open { .. } => println!("session with {} ({})", peer.name, peer.key),
            PeerEvent::Failed(why) => println!("no session with {}: {why}", peer.name),
            PeerEvent::Lost(n) => println!("{n} messages of {} were lost", peer.name),
            PeerEvent::Undelivered(n) => println!("{n} messages to {} were lost", peer.name),
            _ => {}
        }
    }

    fn greeted(&mut self, client: &mut Client<'_>, greeting: Greeting) {
        let key = *greeting.key();
        // What was proven is accepted by the answer. What was not proven yet comes back as a decision about the key.
        let welcome = match owner(&mut self.store) {
            Some(owner) => owner == key,
            None => !greeting.is_proven(),
        };
        if !welcome {
            println!("refused {}, whose key is {key}", greeting.name());
            return client.refuse(greeting, PeerRefusal::NotTrusted);
        }
        if let Err(error) = client.answer(greeting) {
            println!("no answer: {error}");
        }
    }

    /// The first to introduce itself is the owner, from then on.
    fn verify(&mut self, client: &mut Client<'_>, verify: PeerVerify) {
        let (key, label) = (*verify.key(), Name::new(OWNER));
        let accepted = match (owner(&mut self.store), label) {
            (Some(owner), _) => owner == key,
            (None, Ok(label)) => self.store.pin_peer(&label, key).is_ok(),
            (None, Err(_)) => false,
        };
        if !accepted {
            println!("refused key {key}");
            return client.deny_peer(verify, PeerRefusal::NotTrusted);
        }
        println!("pinned owner {key}");
        if let Err(error) = client.accept_peer(verify) {
            println!("not accepted: {error}");
        }
    }
}

fn owner(store: &mut KeyStore<Flash>) -> Option<PublicKey> {
    store.peer(&Name::new(OWNER).ok()?).ok()?
}
