//! The client of the dialogue. It wants the server to be running: `cargo run --example server`.
#![allow(clippy::print_stdout, reason = "it is what this program is for")]

use std::time::Duration;

use pysock_std::{Client, Error};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let mut client = Client::from_yaml("client.yaml")?.name("shikhar")?;
    client.config_mut().remember_server = true;
    let client = client.timeout(Duration::from_secs(10)).connect("localhost:1234").await?;
    let mut test = client.create_channel("test").await?;
    test.send("Hello, World!").await?;
    if let Some(message) = test.listen().await {
        println!("{} on {}: {:?}", message.sender(), message.channel(), message.data());
    }
    client.close().await
}
