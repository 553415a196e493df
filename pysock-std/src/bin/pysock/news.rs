//! What became of sessions with other clients, in sentences.

use pysock_std::client::PeerNews;

use crate::print::{fingerprint, tell};

/// Says everything but messages. Returns whether something is lost that this side had sent.
pub(crate) fn tell_news(news: &PeerNews) -> bool {
    let (text, lost) = match news {
        PeerNews::Opened { peer, fresh: true } => {
            let print = fingerprint(&peer.key);
            (format!("end to end with {}, fingerprint {print}", peer.name), false)
        }
        PeerNews::Closed { peer, why } => {
            (format!("{} has ended the session: {why}", peer.name), false)
        }
        PeerNews::TurnedAway { peer, why } => (format!("turned {} away: {why}", peer.name), false),
        PeerNews::Lost { from, messages } => {
            (format!("{} of {from} did not arrive", count(*messages)), false)
        }
        PeerNews::Undelivered { to, messages } => {
            (format!("the last {} to {} did not arrive", count(*messages), to.name), true)
        }
        PeerNews::Unknown { to, messages } => {
            let (name, these) = (to.name, count(*messages));
            (format!("nobody knows whether {name} got the last {these}"), true)
        }
        // Messages, sessions that go on as they were, and what later versions may tell.
        _ => return false,
    };
    tell(&text);
    lost
}

fn count(messages: u32) -> String {
    match messages {
        1 => "1 message".into(),
        n => format!("{n} messages"),
    }
}
