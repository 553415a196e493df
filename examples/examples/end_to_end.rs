//! Two clients make a session through a server, which passes on what it cannot read: the seed's `HANDSHAKE` and
//! `SEND_TO_CLIENT`. A client is its function below; the rest brings them together in one program.
#![allow(clippy::print_stdout, reason = "it is what this program is for")]

use std::{path::PathBuf, time::Duration};

use pysock_std::{Client, Error, Server, client::PeerListener};

async fn shikhar(yaml: PathBuf, server: &str) -> Result<(), Error> {
    let client = Client::from_yaml(yaml)?.name("shikhar")?.connect(server).await?;
    let mut heard = client.listen_peers()?;
    let peer = client.handshake("swat").await?;
    println!("shikhar has a session with {}, whose key is {}", peer.name, peer.key);
    client.send_to_client("swat", "Hello, swat!").await?;
    hear("shikhar", &mut heard).await;
    client.close().await
}

async fn swat(client: Client, mut heard: PeerListener) -> Result<(), Error> {
    hear("swat", &mut heard).await;
    client.send_to_client("shikhar", "Hello, shikhar!").await?;
    client.close().await
}

async fn hear(who: &str, heard: &mut PeerListener) {
    if let Some(message) = heard.listen().await {
        println!("{who} heard {:?} from {}", message.data(), message.sender());
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let yaml = |name| folder.path().join(name).with_extension("yaml");
    let server = Server::from_yaml(yaml("server"))?.bind("127.0.0.1:0").await?;
    let address = server.address().to_string();
    // Listening comes first: what arrives while nobody listens is thrown away.
    let client = Client::from_yaml(yaml("swat"))?.name("swat")?.connect(&address).await?;
    let listener = client.listen_peers()?;
    let both =
        async { tokio::try_join!(shikhar(yaml("shikhar"), &address), swat(client, listener)) };
    tokio::time::timeout(Duration::from_secs(20), both).await??;
    server.shutdown().await;
    Ok(())
}
