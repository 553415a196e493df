//! A firmware, with a computer in the place of the board: `FileFlash`, `Module`, `System` and `Uptime` stand for the chip's
//! flash, its Wi-Fi module, its random generator and its clock. Start the example `server` first; another server's address goes
//! on the command line.
#![allow(clippy::print_stdout, reason = "it is what this program is for")]

use std::{env, error::Error, net::TcpStream};

use pysock_embedded::{
    Client, Clock, Event, Memory, Setup, blocking,
    keys::KeyStore,
    proto::{Keypair, Name, RustCrypto},
};
use pysock_examples::{FileFlash, Module, System, Uptime};

fn main() -> Result<(), Box<dyn Error>> {
    let name = Name::new("thermometer")?;
    // The first start makes a key. Damaged flash is an error, not a first start.
    let flash = FileFlash::open("thermometer.flash")?;
    let mut keys = KeyStore::open_or_provision(flash, 0..8192, &mut System, Some(&name))?;
    let identity = Keypair::<RustCrypto>::new(keys.identity()?);
    let server = keys.server(0)?.map(|known| known.key);

    // All memory there is: on a board, put it into a `static`.
    let mut memory = Memory::<514, 1024, 4, 2>::new();
    let entropy = &mut System;
    let mut client = memory.client(Setup { name, identity: &identity, entropy, server, psk: None });
    client.create_channel("test")?;

    let mut on_event = |client: &mut Client<'_>, event: Event<'_>| match event {
        // First contact. Without `accept`, this server is refused; and a later one with another key is, in any case.
        Event::Verify(verify) => {
            let pinned = keys.pin_server(0, *verify.key(), &[]);
            let accepted = pinned.is_ok() && client.accept(verify).is_ok();
            println!("first contact: {accepted}");
        }
        Event::Channel { channel, result: Ok(()) } => {
            let sent = client.send(channel, b"21.5");
            println!("sent: {sent:?}");
        }
        Event::Message(message) => {
            println!("heard {:?}", message.text());
            client.close();
        }
        Event::Disconnected { why, again } => println!("over: {why:?}, again: {again}"),
        _ => {}
    };

    let address = env::args().nth(1).unwrap_or("localhost:1234".into());
    let mut clock = Uptime::default();
    // Until it is closed or told to stay away; what breaks is tried again, later each time.
    while let Some(at) = client.connect_at() {
        while clock.now() < at {
            clock.idle(Some(at));
        }
        match TcpStream::connect(&address) {
            Ok(socket) => {
                blocking::listen(
                    &mut client,
                    &mut Module::new(socket)?,
                    &mut clock,
                    &mut on_event,
                )?;
            }
            Err(_) => client.unreachable(clock.now(), &mut on_event),
        }
    }
    Ok(())
}
