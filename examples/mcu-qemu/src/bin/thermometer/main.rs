//! A thermometer with 64 KiB of memory as a full client: it sends readings on a channel, answers questions there, and takes
//! commands from its owner end to end, through a server that cannot read them. Its identity, its server and its owner are
//! in flash.
//!
//! On the command line: `port=` of the server, which is on the host; `seed=` for the test randomness.
#![no_std]
#![no_main]

mod device;

use board::{
    Board, entry,
    memory::Lend,
    net::{HOST, Net},
    println, semihosting,
    smoltcp::{iface::SocketStorage, wire::IpEndpoint},
    stack,
};
use pysock_embedded::{
    Client, Event, Memory, NoEntropy, Setup,
    keys::KeyStore,
    proto::{Identity, Keypair, Name, RustCrypto},
    smoltcp::TcpClient,
};

use crate::device::{Flash, Next, Thermometer};

/// Of the flash, from its beginning, for keys.
const KEYS: core::ops::Range<u32> = 0..8192;

/// All memory of the client: messages of up to 490 bytes, two channels, two sessions.
static MEMORY: Lend<Memory<514, 1024, 2, 2>> = Lend::new(Memory::new());
static SOCKETS: Lend<[SocketStorage<'static>; 1]> = Lend::new([SocketStorage::EMPTY]);
static RECEIVED: Lend<[u8; 2048]> = Lend::new([0; 2048]);
static TO_SEND: Lend<[u8; 2048]> = Lend::new([0; 2048]);

#[entry]
fn main() -> ! {
    let Board { args, mut device, mut clock, mut entropy } = Board::take();
    let (Some(memory), Some(sockets), Some(received), Some(to_send)) =
        (MEMORY.take(), SOCKETS.take(), RECEIVED.take(), TO_SEND.take())
    else {
        panic!("main runs once");
    };
    let port = args.number("port").and_then(|port| u16::try_from(port).ok());
    let Some(port) = port else { panic!("say which port: port=…") };
    let Ok(name) = Name::new("thermometer") else { panic!("that is a name") };

    // A store that is damaged is not an empty one: rather stop than become somebody else.
    let opened = match Flash::open("flash.bin") {
        Ok(flash) => KeyStore::open_or_provision(flash, KEYS, &mut entropy, Some(&name)),
        Err(error) => panic!("no flash: {error:?}"),
    };
    let mut store = match opened {
        Ok(store) => store,
        Err(error) => stop(&error),
    };
    let (secret, server) = match (store.identity(), store.server(0)) {
        (Ok(secret), Ok(server)) => (secret, server),
        (Err(error), _) | (_, Err(error)) => stop(&error),
    };
    let key = Keypair::<RustCrypto>::new(secret);
    println!("identity {}", key.public());
    match &server {
        Some(known) => println!("remembers server {}", known.key),
        None => println!("remembers no server"),
    }

    let random = entropy.number();
    let mut net = Net::new(&mut device, sockets, random, clock.now());
    let socket = net.add_tcp(received, to_send);
    let mut link = TcpClient::new(IpEndpoint::new(HOST.into(), port), random as u16);
    let mut client = memory.client(Setup {
        name,
        identity: &key,
        entropy: &mut entropy,
        server: server.map(|known| known.key),
        psk: None,
    });
    let mut thermometer = Thermometer::new(store, &mut client);
    loop {
        let now = clock.now();
        net.poll(&mut device, now);
        thermometer.tick(&mut client, now);
        let mut on_event = |client: &mut Client<'_>, event: Event<'_>| {
            thermometer.on_event(client, event);
        };
        let Net { interface, sockets } = &mut net;
        let tcp = sockets.get_mut(socket);
        let moved = match link.turn(&mut client, tcp, interface.context(), now, &mut on_event) {
            Ok(moved) => moved,
            Err(NoEntropy) => stop(&NoEntropy),
        };
        match thermometer.next() {
            Next::Go if moved => {}
            Next::Go => {
                let of_network = net.deadline(now);
                let deadlines = [of_network, client.deadline(), thermometer.deadline(&client)];
                board::sleep(&mut clock, &mut device, deadlines.into_iter().flatten().min());
            }
            // After the goodbye: the close was answered.
            Next::Reset if !client.is_active() => board::reset(),
            Next::Quit if !client.is_active() => {
                println!("peak stack {} of {} bytes", stack::peak(), stack::size());
                semihosting::exit(0)
            }
            Next::Reset | Next::Quit => {}
        }
    }
}

/// What cannot go on says why and stays off the network.
fn stop(why: &dyn core::fmt::Display) -> ! {
    println!("stopped: {why}");
    semihosting::exit(1)
}
