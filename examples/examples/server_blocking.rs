//! The server of the dialogue without async.
#![allow(clippy::print_stdout, reason = "it is what this program is for")]

use pysock_std::{Error, blocking::Server};

fn main() -> Result<(), Error> {
    let server = Server::from_yaml("server.yaml")?.bind("localhost:1234")?;
    let mut test = server.create_channel("test")?;
    for message in &mut test {
        println!("{} on {}: {:?}", message.sender(), message.channel(), message.data());
        let sent = server.send("test", message.sender(), "Hello From Server");
        sent.unwrap_or_else(|error| println!("{error}"));
    }
    Ok(())
}
