//! The server of the dialogue, in a dozen lines. Start it, then `cargo run --example client`.
#![allow(clippy::print_stdout, reason = "it is what this program is for")]

use pysock_std::{Error, Server};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let server = Server::from_yaml("server.yaml")?.bind("localhost:1234").await?;
    let mut test = server.create_channel("test")?;
    while let Some(message) = test.listen().await {
        println!("{} on {}: {:?}", message.sender(), message.channel(), message.data());
        let sent = server.send("test", message.sender(), "Hello From Server").await;
        sent.unwrap_or_else(|error| println!("{error}"));
    }
    Ok(())
}
