//! The client of the dialogue without async.
#![allow(clippy::print_stdout, reason = "it is what this program is for")]

use std::time::Duration;

use pysock_std::{Error, blocking::Client};

fn main() -> Result<(), Error> {
    let client = Client::from_yaml("client.yaml")?.name("shikhar")?;
    let client = client.timeout(Duration::from_secs(10)).connect("localhost:1234")?;
    let mut test = client.create_channel("test")?;
    test.send("Hello, World!")?;
    if let Some(message) = test.listen() {
        println!("{} on {}: {:?}", message.sender(), message.channel(), message.data());
    }
    client.close()
}
