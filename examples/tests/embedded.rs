//! The microcontroller's client against a real server and a real desktop client, over real sockets.

use std::{net::TcpStream, thread, time::Duration};

use pysock_embedded::{
    Address, Client, Event, Memory, Setup, blocking,
    proto::{Identity, Keypair, Kind, PublicKey, RustCrypto, SecretKey, peer::PeerEvent},
};
use pysock_examples::{Module, System, Uptime};
use pysock_std::{
    Server,
    config::{ClientConfig, ServerConfig, new_secret_key},
};

type Key = Keypair<RustCrypto>;

fn key() -> Key {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).unwrap();
    Key::new(SecretKey::from_bytes(bytes))
}

/// What a test of a microcontroller's program reports.
type Report = tokio::sync::mpsc::UnboundedSender<String>;

/// A thermometer: sends readings, answers requests, obeys whoever holds `owner` end to end. Runs until it is closed.
fn thermometer(address: String, owner: PublicKey, key: &Key, report: &Report) {
    let mut memory = Memory::<514, 1024, 4, 2>::new();
    let mut entropy = System;
    let mut client = memory.client(Setup {
        name: "thermometer".parse().unwrap(),
        identity: key,
        entropy: &mut entropy,
        server: None,
        psk: None,
    });
    client.create_channel("readings").unwrap();
    let mut clock = Uptime::default();
    let say = |text: String| report.send(text).unwrap();
    while client.connect_at().is_some() {
        let mut on_event = |client: &mut Client<'_>, event: Event<'_>| match event {
            Event::Verify(verify) => client.accept(verify).unwrap(),
            Event::Connected { .. } => say("connected".into()),
            Event::Channel { channel, result: Ok(()) } => {
                client.send(channel, b"21.5").unwrap();
            }
            Event::Message(message) => {
                let text = message.text().unwrap();
                match (message.from, message.kind) {
                    (Address::Server(_), Kind::Request(_)) => {
                        client.reply(&message, text.to_uppercase().as_bytes()).unwrap();
                    }
                    (Address::Peer(_), Kind::Request(_)) => {
                        say(format!("command: {text}"));
                        client.reply(&message, b"done").unwrap();
                    }
                    (Address::Peer(_), Kind::Message) if text == "off" => client.close(),
                    _ => say(format!("heard: {text}")),
                }
            }
            Event::Peer { event: PeerEvent::Greeting(greeting), .. }
                if *greeting.key() == owner =>
            {
                client.answer(greeting).unwrap();
            }
            Event::Peer { event: PeerEvent::Verify(verify), .. } if *verify.key() == owner => {
                client.accept_peer(verify).unwrap();
            }
            Event::Peer { event: PeerEvent::Open { .. }, .. } => say("session".into()),
            Event::Disconnected { why, .. } => say(format!("over: {why:?}")),
            _ => {}
        };
        let mut socket = Module::new(TcpStream::connect(&address).unwrap()).unwrap();
        blocking::listen(&mut client, &mut socket, &mut clock, &mut on_event).unwrap();
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("took too long")
}

#[tokio::test]
async fn readings_requests_and_commands_end_to_end() {
    let server = Server::from_config(ServerConfig::new(new_secret_key().unwrap()));
    let server = server.bind("127.0.0.1:0").await.unwrap();
    let mut readings = server.create_channel("readings").unwrap();
    let mut config = ClientConfig::new(new_secret_key().unwrap());
    config.name = Some("owner".parse().unwrap());
    let owner = pysock_std::Client::from_config(config);
    let owner = owner.connect(&server.address().to_string()).await.unwrap();

    let (report, mut reports) = tokio::sync::mpsc::unbounded_channel();
    let (address, owner_key, device) = (server.address().to_string(), owner.public_key(), key());
    let device_key = device.public();
    let chip = thread::spawn(move || thermometer(address, owner_key, &device, &report));
    assert_eq!(within(reports.recv()).await.unwrap(), "connected");

    let reading = within(readings.listen()).await.unwrap();
    assert_eq!(reading.text().unwrap(), "21.5");
    assert_eq!(*reading.sender().key(), device_key);
    let reply = server.request("readings", "thermometer", "unit?").await.unwrap();
    assert_eq!(reply.text().unwrap(), "UNIT?");

    let peer = within(owner.handshake("thermometer")).await.unwrap();
    assert_eq!(peer.key, device_key);
    assert_eq!(within(reports.recv()).await.unwrap(), "session");
    let reply = within(owner.request_client("thermometer", "window open")).await.unwrap();
    assert_eq!(reply.text().unwrap(), "done");
    assert_eq!(within(reports.recv()).await.unwrap(), "command: window open");
    owner.send_to_client("thermometer", "off").await.unwrap();
    assert_eq!(within(reports.recv()).await.unwrap(), "over: Closed(Answered)");
    chip.join().unwrap();
}
