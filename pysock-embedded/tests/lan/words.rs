//! What happens, in words.

use pysock_embedded::{Client, Event, server};

fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.len() <= 40 => text.to_owned(),
        _ => format!("{} bytes", bytes.len()),
    }
}

/// An event of a client, for the record.
pub(super) fn heard(event: &Event<'_>) -> String {
    use pysock_embedded::proto::peer::PeerEvent;
    match event {
        Event::Verify(_) => "verify".into(),
        Event::Connected { .. } => "connected".into(),
        Event::Disconnected { why, .. } => format!("disconnected {why:?}"),
        Event::Channel { result: Ok(()), .. } => "channel ok".into(),
        Event::Channel { result: Err(why), .. } => format!("channel {why:?}"),
        Event::Message(message) => {
            let from = message.sender.map_or("server".into(), |it| it.name.as_str().to_owned());
            let sealed = matches!(message.from, pysock_embedded::Address::Peer(_));
            let sealed = if sealed { "sealed " } else { "" };
            let kind = match message.kind {
                pysock_embedded::proto::Kind::Message => "",
                pysock_embedded::proto::Kind::Request(_) => "? ",
                pysock_embedded::proto::Kind::Reply(_) => "= ",
            };
            format!("{sealed}{from}: {kind}{}", text(message.bytes))
        }
        Event::Failed { why, .. } => format!("failed {why:?}"),
        Event::Stopped { failure, .. } => format!("stopped {failure:?}"),
        Event::Peer { peer, event: PeerEvent::Open { .. } } => format!("open {}", peer.name),
        Event::Peer { peer, event: PeerEvent::Lost(n) } => format!("lost {} {n}", peer.name),
        Event::Peer { peer, event: PeerEvent::Failed(why) } => {
            format!("peer {} failed {why:?}", peer.name)
        }
        other => format!("{other:?}"),
    }
}

/// In these tests, every key is the right one.
pub(super) fn decide(client: &mut Client<'static>, event: Event<'_>) {
    use pysock_embedded::proto::peer::PeerEvent;
    match event {
        Event::Verify(verify) => client.accept(verify).unwrap(),
        Event::Peer { event: PeerEvent::Greeting(greeting), .. } => {
            client.answer(greeting).unwrap();
        }
        Event::Peer { event: PeerEvent::Verify(verify), .. } => {
            client.accept_peer(verify).unwrap();
        }
        _ => {}
    }
}

/// An event of the server, for the record.
pub(super) fn told(event: &server::Event<'_>) -> String {
    match event {
        server::Event::Joined { peer, again, .. } => {
            format!("joined {}{}", peer.name, if *again { " again" } else { "" })
        }
        server::Event::Left { peer, why } => format!("left {} {why:?}", peer.name),
        server::Event::TurnedAway { why, .. } => format!("away {why:?}"),
        server::Event::OnChannel { peer, .. } => format!("channel {}", peer.name),
        server::Event::Message(message) => {
            format!("{}: {}", message.sender.name, text(message.bytes))
        }
        server::Event::Failed { why, .. } => format!("failed {why:?}"),
        server::Event::Begin { sender, length, .. } => format!("begin {} {length:?}", sender.name),
        server::Event::Chunk { bytes, .. } => format!("chunk {}", bytes.len()),
        server::Event::End(_) => "end".into(),
        server::Event::Aborted { failure, .. } => format!("aborted {failure:?}"),
        other => format!("{other:?}"),
    }
}
