//! `pysock request` and `pysock clients`: questions and their answers.

use pysock_std::{Client, Error, Message, Target};
use serde_json::json;

use crate::{
    args::{Global, Request, To, Way},
    exit::{Exit, Stop},
    input::Input,
    join::{self, Stay},
    print,
};

/// The longest question, in bytes. Unlike a message it is sent in one piece.
const LONGEST: usize = 16 << 20;

pub(crate) async fn request(global: &Global, options: Request) -> Result<(), Stop> {
    let (way, data) = options.words.split()?;
    let mut input = Input::of(data)?;
    let to = match &way {
        Way::EndToEnd(client) | Way::Channel(_, Some(client)) => client.clone(),
        Way::Channel(_, None) => "the server".to_owned(),
    };
    let client = join::connect(global, &options.server, Stay::Once).await?;
    let question = input.next(LONGEST).await?;
    if question.len() >= LONGEST {
        let limit = LONGEST >> 20;
        return Err(Stop::new(
            Exit::Undelivered,
            format!("a request has to be shorter than {limit} MiB; `pysock send` takes more"),
        ));
    }
    let reply = match ask(&client, way, question.into(), options.timeout).await {
        Ok(reply) => reply,
        Err(error) => return Err(join::give_up(client, error, &to).await),
    };
    print::reply(&reply, global.json)?;
    // The reply is there; how the connection ends after it changes nothing.
    let _ = client.close().await;
    Ok(())
}

async fn ask(
    client: &Client,
    way: Way,
    question: pysock_std::Data,
    timeout: std::time::Duration,
) -> Result<Message, Error> {
    let (name, to) = match way {
        Way::EndToEnd(peer) => {
            return client.request_client_within(timeout, peer.as_str(), question).await;
        }
        Way::Channel(name, to) => (name, to),
    };
    let target = to.map_or(Target::SERVER, |client| client.as_str().into());
    let mut channel = client.create_channel(name.as_str()).await?;
    // What others send on the channel must not pile up before the reply.
    let others = tokio::spawn(async move { while channel.listen().await.is_some() {} });
    let reply = client.request_within(timeout, name.as_str(), target, question).await;
    others.abort();
    reply
}

pub(crate) async fn clients(global: &Global, to: &To) -> Result<(), Stop> {
    let client = join::connect(global, to, Stay::Once).await?;
    let everyone = match client.clients().await {
        Ok(everyone) => everyone,
        Err(error) => return Err(join::give_up(client, error, "the server").await),
    };
    let own = client.public_key();
    if everyone.is_empty() {
        print::tell("the server does not say who is connected (`directory: false`)");
    }
    for peer in &everyone {
        let (name, key, this) = (peer.name.as_str(), peer.key, peer.key == own);
        match global.json {
            true => {
                print::out_json(&json!({ "name": name, "key": key.to_string(), "self": this }))?
            }
            false => {
                let note = if this { "  (this program)" } else { "" };
                print::out_line(&format!("{name:<32}  {key}{note}"))?;
            }
        }
    }
    let _ = client.close().await;
    Ok(())
}
