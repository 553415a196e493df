//! The microcontroller's client as `examples/mcu-embassy` drives it: sending in between by dropping `listen`, trusting whom it
//! does not know while a button is held; against a real server and a real desktop client.

use std::{cell::Cell, io, time::Duration};

use embedded_io_async::{ErrorType, Read, Write};
use pysock_embedded::{
    AsyncClock, Client, Clock, Event, Memory, NoEntropy, Setup, io_async,
    proto::{
        Identity, Instant, Keypair, Kind, PeerRefusal, PublicKey, RustCrypto, SecretKey,
        peer::PeerEvent,
    },
};
use pysock_examples::{System, Uptime};
use pysock_std::{
    Error, Server,
    config::{ClientConfig, ServerConfig, new_secret_key},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{Notify, Semaphore, mpsc, watch},
    task::LocalSet,
    time,
};

/// One half of a socket of tokio, as a socket of `embassy-net` gives them.
struct Half<T>(T);

impl<T> ErrorType for Half<T> {
    type Error = embedded_io_async::ErrorKind;
}

impl<T: tokio::io::AsyncRead + Unpin> Read for Half<T> {
    async fn read(&mut self, space: &mut [u8]) -> Result<usize, Self::Error> {
        self.0.read(space).await.map_err(kind)
    }
}

impl<T: tokio::io::AsyncWrite + Unpin> Write for Half<T> {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Self::Error> {
        self.0.write(bytes).await.map_err(kind)
    }

    async fn flush(&mut self) -> Result<(), Self::Error> {
        self.0.flush().await.map_err(kind)
    }
}

fn kind(error: io::Error) -> embedded_io_async::ErrorKind {
    error.kind().into()
}

/// Like that of Embassy, it does not bear the end of time.
#[derive(Default)]
struct Ticks(Uptime);

impl AsyncClock for Ticks {
    fn now(&mut self) -> Instant {
        self.0.now()
    }

    async fn sleep_until(&mut self, until: Instant) {
        let millis = until.millis_since(self.now());
        assert!(millis < 1 << 40, "the clock is asked for {millis} ms");
        time::sleep(Duration::from_millis(millis)).await;
    }
}

/// What the device has been told, and the outside sees.
#[derive(Default)]
struct Panel {
    button: Cell<bool>,
    pinned: Cell<Option<PublicKey>>,
    refused: Cell<u32>,
    lamp: Cell<bool>,
    is_open: Cell<bool>,
    changed: Notify,
}

impl Panel {
    fn lets_in(&self, key: &PublicKey) -> bool {
        self.pinned.get() == Some(*key) || self.button.get()
    }

    /// Waits until that can be seen.
    async fn until(&self, is_so: impl Fn(&Self) -> bool) {
        while !is_so(self) {
            self.changed.notified().await;
        }
    }

    fn hear(&self, client: &mut Client<'_>, event: Event<'_>) {
        match event {
            Event::Verify(verify) => client.accept(verify).unwrap(),
            Event::Channel { result, .. } => self.is_open.set(result.is_ok()),
            Event::Message(message) => match message.kind {
                Kind::Request(_) => client.reply_value(&message, &215_i32).unwrap(),
                _ => self.lamp.set(message.bytes == b"on"),
            },
            Event::Peer { peer, event } => match event {
                PeerEvent::Greeting(it) if self.lets_in(it.key()) => client.answer(it).unwrap(),
                PeerEvent::Greeting(it) => {
                    self.refused.set(self.refused.get() + 1);
                    client.refuse(it, PeerRefusal::NotTrusted);
                }
                PeerEvent::Verify(it) if self.lets_in(it.key()) => client.accept_peer(it).unwrap(),
                PeerEvent::Open { .. } => self.pinned.set(Some(peer.key)),
                _ => {}
            },
            _ => {}
        }
        self.changed.notify_waiters();
    }
}

async fn device(
    address: &str,
    key: &Keypair<RustCrypto>,
    panel: &Panel,
    readings: &mut mpsc::Receiver<i32>,
) -> Result<(), NoEntropy> {
    let (mut memory, mut entropy) = (Memory::<514, 1024, 1, 2>::new(), System);
    let name = "thermometer".parse().unwrap();
    let setup = Setup { name, identity: key, entropy: &mut entropy, server: None, psk: None };
    let mut client = memory.client(setup);
    let channel = client.create_channel("readings").unwrap();
    let mut clock = Ticks::default();
    while let Some(at) = client.connect_at() {
        clock.sleep_until(at).await;
        client.begin(clock.now())?;
        let (from, to) = TcpStream::connect(address).await.unwrap().into_split();
        let (mut from, mut to) = (Half(from), Half(to));
        loop {
            let mut on_event =
                |client: &mut Client<'_>, event: Event<'_>| panel.hear(client, event);
            tokio::select! {
                over = io_async::listen(&mut client, &mut from, &mut to, &mut clock, &mut on_event) => {
                    break over?;
                }
                Some(reading) = readings.recv() => {
                    client.send_value(channel, &reading).unwrap();
                }
            }
        }
    }
    Ok(())
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    time::timeout(Duration::from_secs(20), future).await.expect("took too long")
}

#[tokio::test]
async fn readings_go_out_in_between_and_a_button_pairs() {
    let server = Server::from_config(ServerConfig::new(new_secret_key().unwrap()));
    let server = server.bind("127.0.0.1:0").await.unwrap();
    let mut heard = server.create_channel("readings").unwrap();
    let address = server.address().to_string();
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).unwrap();
    let key = Keypair::<RustCrypto>::new(SecretKey::from_bytes(bytes));
    let panel = Panel::default();
    let (measured, mut readings) = mpsc::channel(4);
    // So many readings at most are under way: each finds room in the device's memory, and none waits for a clock.
    let under_way = Semaphore::new(3);
    let (count, mut counted) = watch::channel(0);

    let people = async {
        let measuring = async {
            panel.until(|panel| panel.is_open.get()).await;
            for reading in 0.. {
                under_way.acquire().await.unwrap().forget();
                measured.send(reading).await.unwrap();
            }
        };
        let hearing = async {
            // None is lost, however often `listen` was dropped.
            for next in 0.. {
                let reading = heard.listen().await.unwrap();
                assert_eq!(reading.value::<i32>().unwrap(), next);
                under_way.add_permits(1);
                count.send_replace(next);
            }
        };
        let asking = async {
            let mut config = ClientConfig::new(new_secret_key().unwrap());
            config.name = Some("owner".parse().unwrap());
            let owner = pysock_std::Client::from_config(config);
            let owner = owner.connect(&address).await.unwrap();
            panel.until(|panel| panel.is_open.get()).await;
            let refused = owner.handshake("thermometer").await;
            assert!(matches!(refused, Err(Error::Peer { .. })), "{refused:?}");
            assert_eq!(panel.refused.get(), 1);
            assert!(panel.pinned.get().is_none(), "nobody holds the button");
            panel.button.set(true);
            let peer = owner.handshake("thermometer").await.unwrap();
            panel.button.set(false);
            assert_eq!(peer.key, key.public());
            let reply = owner.request_client("thermometer", "how warm?").await.unwrap();
            assert_eq!(reply.value::<i32>().unwrap(), 215);
            assert_eq!(panel.pinned.get(), Some(owner.public_key()));
            owner.send_to_client("thermometer", "on").await.unwrap();
            panel.until(|panel| panel.lamp.get()).await;
            counted.wait_for(|count| *count >= 100).await.unwrap();
        };
        tokio::select! {
            () = measuring => {}
            () = hearing => {}
            () = within(asking) => {}
        }
    };
    let local = LocalSet::new();
    local
        .run_until(async {
            tokio::select! {
                over = device(&address, &key, &panel, &mut readings) => panic!("{over:?}"),
                () = people => {}
            }
        })
        .await;
}
