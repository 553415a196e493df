//! The microcontroller's client over real sockets: the server restarts, sessions go on, and large and typed messages pass.

use std::{net::TcpStream, thread, time::Duration};

use pysock_embedded::{
    Address, Client, Event, Memory, Setup, blocking,
    client::Stream,
    proto::{Identity, Keypair, Kind, PublicKey, RustCrypto, SecretKey, peer::PeerEvent},
};
use pysock_examples::{Module, System, Uptime};
use pysock_std::{
    Data, Server,
    config::{ClientConfig, ServerConfig, new_secret_key},
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Number of the sensor, and degrees Celsius.
type Reading = (u8, f32);

/// A sensor that takes the owner's word, and sends everything large back. Says what happens to it.
#[derive(Default)]
struct Sensor {
    taken: Vec<u8>,
    back: Option<(Stream, usize)>,
}

impl Sensor {
    fn hear(
        &mut self,
        client: &mut Client<'_>,
        event: Event<'_>,
        owner: PublicKey,
    ) -> Option<String> {
        match event {
            Event::Verify(verify) => {
                client.accept(verify).unwrap();
                return Some("asked about the server".into());
            }
            Event::Connected { .. } => return Some("connected".into()),
            Event::Disconnected { again, .. } => return Some(format!("over, again: {again}")),
            Event::Channel { channel, result: Ok(()) } => {
                client.send_value(channel, &(7_u8, 21.5_f32)).unwrap();
            }
            Event::Message(message) if message.from == Address::Peer(owner) => match message.kind {
                Kind::Request(_) => {
                    let mut reading: Reading = message.value().unwrap();
                    reading.1 += 1.0;
                    client.reply_value(&message, &reading).unwrap();
                }
                _ if message.bytes == b"off" => client.close(),
                _ => {
                    let reading: Reading = message.value().unwrap();
                    client.send_value(owner, &reading).unwrap();
                }
            },
            Event::Chunk { bytes, .. } => self.taken.extend_from_slice(bytes),
            Event::End(_) => {
                let length = Some(self.taken.len() as u64);
                self.back = Some((client.begin_stream(owner, Kind::Message, length).unwrap(), 0));
                self.go_on(client);
            }
            Event::Credit(_) | Event::Room => self.go_on(client),
            Event::Peer { event: PeerEvent::Greeting(greeting), .. }
                if *greeting.key() == owner =>
            {
                client.answer(greeting).unwrap();
                return Some("greeted".into());
            }
            Event::Peer { event: PeerEvent::Verify(verify), .. } if *verify.key() == owner => {
                client.accept_peer(verify).unwrap();
            }
            Event::Peer { event: PeerEvent::Open { fresh }, .. } => {
                return Some(format!("session, fresh: {fresh}"));
            }
            _ => {}
        }
        None
    }

    fn go_on(&mut self, client: &mut Client<'_>) {
        let Some((stream, sent)) = &mut self.back else { return };
        while let Some(rest) = self.taken.get(*sent..).filter(|rest| !rest.is_empty()) {
            let Ok(n) = client.chunk(*stream, rest) else { return };
            *sent += n;
        }
        if client.end(*stream).is_ok() {
            self.back = None;
        }
    }
}

fn run(
    address: &str,
    owner: PublicKey,
    key: &Keypair<RustCrypto>,
    report: &UnboundedSender<String>,
) {
    let mut memory = Memory::<514, 1024, 4, 2>::new();
    let mut entropy = System;
    let mut client = memory.client(Setup {
        name: "sensor".parse().unwrap(),
        identity: key,
        entropy: &mut entropy,
        server: None,
        psk: None,
    });
    client.create_channel("readings").unwrap();
    let (mut clock, mut sensor) = (Uptime::default(), Sensor::default());
    let mut on_event = |client: &mut Client<'_>, event: Event<'_>| {
        if let Some(news) = sensor.hear(client, event, owner) {
            report.send(news).unwrap();
        }
    };
    while let Some(at) = client.connect_at() {
        use pysock_embedded::Clock;
        while clock.now() < at {
            client.process(clock.now(), &mut on_event).unwrap();
            clock.idle(client.deadline());
        }
        match TcpStream::connect(address) {
            Ok(socket) => {
                let mut socket = Module::new(socket).unwrap();
                blocking::listen(&mut client, &mut socket, &mut clock, &mut on_event).unwrap();
            }
            Err(_) => {
                client.begin(clock.now()).unwrap();
                client.unreachable(clock.now(), &mut on_event);
            }
        }
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("took too long")
}

/// Waits until the device has said this; what it says before has to be of other things.
async fn until(reports: &mut UnboundedReceiver<String>, news: &str) -> Vec<String> {
    let mut before = vec![];
    loop {
        let next = within(reports.recv()).await.expect("the device is on");
        if next == news {
            return before;
        }
        before.push(next);
    }
}

fn server(secret: [u8; 32]) -> ServerConfig {
    let mut config = ServerConfig::new(SecretKey::from_bytes(secret));
    config.directory = true;
    config
}

#[tokio::test]
async fn sessions_survive_a_restart_of_the_server_and_large_and_typed_messages_pass() {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).unwrap();
    let first = Server::from_config(server(secret)).bind("127.0.0.1:0").await.unwrap();
    let mut readings = first.create_channel("readings").unwrap();
    let address = first.address().to_string();
    let mut config = ClientConfig::new(new_secret_key().unwrap());
    config.name = Some("owner".parse().unwrap());
    let owner = pysock_std::Client::from_config(config).connect(&address).await.unwrap();
    let mut heard = owner.listen_peers().unwrap();

    let (report, mut reports) = unbounded_channel();
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).unwrap();
    let key = Keypair::<RustCrypto>::new(SecretKey::from_bytes(bytes));
    let (owner_key, device_key, to) = (owner.public_key(), key.public(), address.clone());
    let chip = thread::spawn(move || run(&to, owner_key, &key, &report));
    assert_eq!(until(&mut reports, "connected").await, ["asked about the server"]);
    let reading = within(readings.listen()).await.unwrap();
    let expected = (7_u8, 21.5_f32);
    assert_eq!(reading.value::<Reading>().unwrap(), expected);

    assert_eq!(within(owner.handshake("sensor")).await.unwrap().key, device_key);
    until(&mut reports, "session, fresh: true").await;
    within(first.shutdown()).await;

    // Another process with the same key: nobody is asked about it, and the session goes on by itself.
    let second = within(Server::from_config(server(secret)).bind(&address)).await.unwrap();
    let _readings = second.create_channel("readings").unwrap();
    let before = until(&mut reports, "session, fresh: false").await;
    assert!(!before.iter().any(|news| news == "asked about the server"), "{before:?}");
    assert!(!before.iter().any(|news| news == "greeted"), "it was accepted before: {before:?}");

    // Typed, both ways.
    let asked = (1_u8, 20.0_f32);
    let reply = within(owner.request_client("sensor", Data::value(&asked).unwrap())).await.unwrap();
    assert_eq!(reply.value::<Reading>().unwrap(), (1_u8, 21.0_f32));
    within(owner.send_to_client("sensor", Data::value(&expected).unwrap())).await.unwrap();
    let message = within(heard.listen()).await.unwrap();
    assert_eq!(message.value::<Reading>().unwrap(), expected);
    assert!(message.sender().is_proven() && *message.sender().key() == device_key);

    // A hundred times what the device can hold in one piece.
    let mut large = vec![0; 65_536];
    getrandom::fill(&mut large).unwrap();
    within(owner.send_to_client("sensor", large.clone())).await.unwrap();
    let back = within(heard.listen()).await.unwrap();
    assert!(back.data()[..] == large[..], "it comes back as it was sent");

    owner.send_to_client("sensor", "off").await.unwrap();
    until(&mut reports, "over, again: false").await;
    chip.join().unwrap();
}
