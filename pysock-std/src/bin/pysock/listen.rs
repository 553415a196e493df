//! `pysock listen`: what arrives end to end, and on a channel.

use pysock_std::{
    Data, Message,
    client::{Channel, PeerNews},
};

use crate::{
    args::{Answer, Global, Listen},
    exit::Stop,
    join::{self, Stay},
    news::tell_news,
    print::{self, tell},
    raw,
    status::{Ending, tell_status},
};

pub(crate) async fn listen(global: &Global, options: Listen) -> Result<(), Stop> {
    if options.raw {
        return raw::listen(global, options).await;
    }
    let mut ending = Ending::new()?;
    let client = join::connect(global, &options.to, Stay::Reconnect).await?;
    let mut status = client.status();
    let mut peers = client.listen_peers()?;
    let mut channel = None;
    if let Some(name) = &options.channel {
        channel = match client.create_channel(name.as_str()).await {
            Ok(channel) => Some(channel),
            Err(error) => return Err(join::give_up(client, error, "the server").await),
        };
    }
    let place = options.channel.map(|channel| format!(" on {channel}")).unwrap_or_default();
    tell(&format!("{} is listening{place}", client.name()));
    let mut left = options.count;
    while left != Some(0) {
        let message = tokio::select! {
            message = hear(&mut channel) => message,
            news = peers.next() => match news {
                Some(PeerNews::Message(message)) => Some(message),
                Some(news) => {
                    tell_news(&news);
                    continue;
                }
                None => None,
            },
            Ok(()) = status.changed() => {
                tell_status(&status.borrow_and_update());
                continue;
            }
            () = ending.wait() => {
                // Asked to stop: how the connection ends is of no interest.
                let _ = client.close().await;
                return Ok(());
            }
        };
        let Some(mut message) = message else { break };
        print::message(&message, global.json)?;
        answer(&mut message, &options.answer).await;
        left = left.map(|left| left - 1);
    }
    Ok(client.close().await?)
}

/// The next message on the channel, if there is one.
async fn hear(channel: &mut Option<Channel>) -> Option<Message> {
    match channel {
        Some(channel) => channel.listen().await,
        None => std::future::pending().await,
    }
}

/// Answers a request as the command line says.
pub(crate) async fn answer(message: &mut Message, answer: &Answer) {
    if !message.is_request() {
        return;
    }
    let data: Data = match answer {
        Answer { echo: true, .. } => message.data().clone().into(),
        Answer { reply: Some(text), .. } => text.into(),
        // As the message is dropped, the asker hears that nobody answers here.
        _ => return,
    };
    if let Err(error) = message.reply(data).await {
        tell(&format!("no reply to {}: {error}", message.sender()));
    }
}
