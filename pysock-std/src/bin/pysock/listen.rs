//! `pysock listen`: what arrives on a channel.

use pysock_std::{Data, Message};

use crate::{
    args::{Answer, Global, Listen},
    exit::Stop,
    join::{self, Stay},
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
    let mut channel = match client.create_channel(options.channel.as_str()).await {
        Ok(channel) => channel,
        Err(error) => return Err(join::give_up(client, error, "the server").await),
    };
    tell(&format!("{} is listening on {}", client.name(), options.channel));
    let mut left = options.count;
    while left != Some(0) {
        tokio::select! {
            message = channel.listen() => match message {
                Some(mut message) => {
                    print::message(&message, global.json)?;
                    answer(&mut message, &options.answer).await;
                    left = left.map(|left| left - 1);
                }
                None => return Ok(client.close().await?),
            },
            Ok(()) = status.changed() => tell_status(&status.borrow_and_update()),
            () = ending.wait() => {
                // Asked to stop: how the connection ends is of no interest.
                let _ = client.close().await;
                return Ok(());
            }
        }
    }
    Ok(client.close().await?)
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
