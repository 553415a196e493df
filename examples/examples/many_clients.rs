//! Several clients at once on one channel. Each publishes one message, and each hears those of all others.
//!
//! Nothing is stored on disk: keys are made on the spot, configuration is in the program.
#![allow(clippy::print_stdout, reason = "it is what this program is for")]

use std::error::Error;

use pysock_std::{
    Client, Server,
    config::{ClientConfig, ServerConfig, new_secret_key},
};

const CLIENTS: usize = 5;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut config = ServerConfig::new(new_secret_key()?);
    config.channels = vec!["chat".parse()?];
    let server = Server::from_config(config).bind("127.0.0.1:0").await?;

    // All of them join before anyone speaks: the server keeps nothing for those who come later.
    let mut clients = Vec::new();
    for number in 1..=CLIENTS {
        let mut config = ClientConfig::new(new_secret_key()?);
        config.server_key = Some(server.public_key());
        let client = Client::from_config(config).name(&format!("client-{number}"))?;
        let client = client.connect(&server.address().to_string()).await?;
        let chat = client.create_channel("chat").await?;
        clients.push((client, chat));
    }
    for client in server.clients() {
        println!("connected: {} {}", client.name, client.key);
    }

    let talks = clients.into_iter().map(|(client, mut chat)| {
        tokio::spawn(async move {
            let name = *client.name();
            chat.publish(format!("hello from {name}")).await?;
            let mut heard = Vec::new();
            while heard.len() < CLIENTS - 1 {
                let Some(message) = chat.listen().await else { break };
                heard.push(message.sender().to_string());
            }
            client.close().await?;
            Ok::<_, pysock_std::Error>((name, heard))
        })
    });
    for talk in talks.collect::<Vec<_>>() {
        let (name, mut heard) = talk.await??;
        heard.sort();
        println!("{name} heard {}", heard.join(", "));
        if heard.len() != CLIENTS - 1 {
            return Err(format!("{name} did not hear everyone").into());
        }
    }
    server.shutdown().await;
    Ok(())
}
