//! A server and two clients in one program, over real sockets, with fresh keys in a temporary folder.
//!
//! It ends by itself, and successfully only if every line of the dialogue was really spoken and heard.
#![allow(clippy::print_stdout, reason = "it is what this program is for")]

use std::{error::Error, path::Path, time::Duration};

use pysock_std::{Client, Message, Server, client::Channel, proto::Fingerprint, proto::RustCrypto};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Result<()> {
    let folder = tempfile::tempdir()?;
    tokio::time::timeout(Duration::from_secs(20), dialogue(folder.path())).await?
}

async fn dialogue(folder: &Path) -> Result<()> {
    // The YAML files are created here, each with a key of its own.
    let server = Server::from_yaml(folder.join("server.yaml"))?.bind("127.0.0.1:0").await?;
    let mut test = server.create_channel("test")?;
    println!("server     {}", server.public_key());

    let (shikhar, mut shikhars_test) = join(folder, "shikhar", &server).await?;
    let (asha, mut ashas_test) = join(folder, "asha", &server).await?;

    println!("\nThe dialogue");
    for (client, channel) in [(&shikhar, &mut shikhars_test), (&asha, &mut ashas_test)] {
        channel.send("Hello, World!").await?;
        let heard = hear(test.listen().await, "server", "Hello, World!")?;
        same(heard.sender().key(), &client.public_key(), "the key of the sender")?;
        same(&heard.sender().to_string(), &client.name().to_string(), "the name of the sender")?;
        server.send("test", heard.sender(), "Hello From Server").await?;
        let answer = hear(channel.listen().await, client.name().as_str(), "Hello From Server")?;
        same(answer.sender().key(), &server.public_key(), "the key of the server")?;
    }
    shikhars_test.send_to("asha", "Hello, Asha!").await?;
    let heard = hear(ashas_test.listen().await, "asha", "Hello, Asha!")?;
    same(heard.sender().key(), &shikhar.public_key(), "the key of the sender")?;

    end_to_end(&shikhar, &asha).await?;

    println!("\nA second visit, and an impostor");
    shikhar.close().await?;
    let (shikhar, _) = join(folder, "shikhar", &server).await?;
    same(&shikhar.server_key(), &Some(server.public_key()), "the remembered key")?;
    // Another key under a name that is taken.
    let impostor = Client::from_yaml(folder.join("impostor.yaml"))?.name("shikhar")?;
    match impostor.connect(&server.address().to_string()).await {
        Ok(_) => return Err("a name was given to another key".into()),
        Err(refused @ pysock_std::Error::Refused { .. }) => println!("impostor   {refused}"),
        Err(other) => return Err(other.into()),
    }

    let suite = shikhar.suite();
    shikhar.close().await?;
    asha.close().await?;
    let left = server.shutdown().await;
    same(&left, &0, "the number of clients that did not confirm the end")?;

    println!("\nWhat was protected, and how");
    println!(
        "- Everything behind the first 16 bytes of a connection, between each client and the server:"
    );
    println!("  Noise XX on the first visit, XK on the second (X25519, {suite:?}, BLAKE2s).");
    println!(
        "- Clients remember the server's key from the first visit and take no other from then on."
    );
    println!("- The server bound each name to the first key that used it.");
    println!(
        "- Between shikhar and asha, end to end: the same once more, with keys that only they have."
    );
    println!(
        "- Not protected from the server: what goes through a channel, which it reads; and that"
    );
    println!("  shikhar talks with asha, when, and how much.");
    Ok(())
}

/// What the two say to each other, the server passes on and cannot read.
async fn end_to_end(shikhar: &Client, asha: &Client) -> Result<()> {
    println!("\nEnd to end");
    let (mut shikhar_hears, mut asha_hears) = (shikhar.listen_peers()?, asha.listen_peers()?);
    let peer = shikhar.handshake("asha").await?;
    same(&peer.key, &asha.public_key(), "the key of the other side")?;
    println!("shikhar    has a session with asha, whose fingerprint is");
    println!("           {}", Fingerprint::of::<RustCrypto>(&peer.key));
    shikhar.send_to_client("asha", "Nobody else reads this").await?;
    let heard = hear(asha_hears.listen().await, "asha", "Nobody else reads this")?;
    same(heard.sender().key(), &shikhar.public_key(), "the key of the sender")?;
    same(&heard.sender().is_proven(), &true, "that the sender has proven it")?;
    asha.send_to_client(heard.sender(), "Nor this").await?;
    hear(shikhar_hears.listen().await, "shikhar", "Nor this")?;
    Ok(())
}

/// A client with the configuration `name.yaml`, on the channel.
async fn join(folder: &Path, name: &str, server: &Server) -> Result<(Client, Channel)> {
    let client = Client::from_yaml(folder.join(name).with_extension("yaml"))?.name(name)?;
    let client = client.connect(&server.address().to_string()).await?;
    same(&client.server_key(), &Some(server.public_key()), "the key of the server")?;
    println!("{name:<10} {}", client.public_key());
    println!("           trusts {}", Fingerprint::of::<RustCrypto>(&server.public_key()));
    let channel = client.create_channel("test").await?;
    Ok((client, channel))
}

/// The message, if it is there and says what it should.
fn hear(message: Option<Message>, by: &str, expected: &str) -> Result<Message> {
    let message = message.ok_or_else(|| format!("{by} heard nothing"))?;
    same(&message.text()?, &expected, "the message")?;
    let way = match message.sender().is_proven() {
        true => "end to end".to_owned(),
        false => format!("on {}", message.channel()),
    };
    println!("{by:<10} heard {expected:?} from {} {way}", message.sender());
    Ok(message)
}

fn same<T: PartialEq + std::fmt::Debug>(is: &T, should_be: &T, what: &str) -> Result<()> {
    if is == should_be {
        return Ok(());
    }
    Err(format!("{what} is {is:?} and should be {should_be:?}").into())
}
