//! A client that comes again and again, and leaves its old connections open: they cost nobody a place, and what they end
//! with concerns nobody else.

mod common;

use std::{sync::Arc, time::Duration};

use common::{
    client_config, connect_with,
    raw::{Heard, Raw, random_secret},
    serve, server_config, until_connected, within,
};
use pysock_std::{
    Server,
    config::WhenFull,
    proto::{ChannelId, Envelope, Failure, Kind, Limits, Party, SecretKey},
};

async fn again(server: &Server, secret: &SecretKey) -> Raw {
    let secret = SecretKey::from_bytes(*secret.expose());
    Raw::enter_with(server.address(), (secret, "raw"), Limits::DESKTOP).await
}

#[tokio::test]
async fn replaced_connections_take_no_place_and_are_two_at_most() {
    let mut config = server_config();
    config.max_clients = 2;
    let server = serve(config).await;
    let secret = random_secret();
    let mut connections = Vec::new();
    for _ in 0..5 {
        // None of them answers the close.
        connections.push(again(&server, &secret).await);
    }
    let other = connect_with(client_config("other"), &server).await.unwrap();
    let third = connect_with(client_config("third"), &server).await;
    assert!(third.is_err(), "two clients are in");
    assert_eq!(server.clients().len(), 2);
    // Long before the server would give up waiting for answers.
    let few = |connections: &usize| *connections <= 3;
    let soon = tokio::time::timeout(Duration::from_secs(3), async {
        server.population().wait_for(few).await.map(drop)
    });
    soon.await.expect("they are kept").unwrap();
    drop(other);
}

#[tokio::test]
async fn the_end_of_an_old_connection_fails_no_request_on_the_new_one() {
    let server = Arc::new(serve(server_config()).await);
    let _up = server.create_channel("test").unwrap();
    let secret = random_secret();
    let old = again(&server, &secret).await;
    let mut new = again(&server, &secret).await;
    new.open("test").await;
    let asking = server.clone();
    let asking = tokio::spawn(async move { asking.request("test", "raw", "how?").await });
    let is_request =
        |heard: &Heard| matches!(heard, Heard::Message(e, _) if matches!(e.kind, Kind::Request(_)));
    let asked = new.until(is_request).await.unwrap();
    drop(old);
    until_connected(&server, 1).await;
    let Heard::Message(Envelope { channel, party, kind: Kind::Request(id) }, _) = asked else {
        panic!("{asked:?}")
    };
    let envelope = Envelope { channel, party, kind: Kind::Reply(id) };
    new.say(|conn, tx| conn.send(tx, &envelope, b"so")).await.unwrap();
    let reply = within(asking).await.unwrap().unwrap();
    assert_eq!(reply.text().unwrap(), "so");
}

/// Whoever gives up answering while there is no room for the answer has not answered: the requester hears that.
#[tokio::test]
async fn a_reply_given_up_for_want_of_room_is_a_failure_and_not_silence() {
    let mut config = server_config();
    (config.queue.bytes, config.queue.full) = (1_024, WhenFull::Block);
    let server = serve(config).await;
    let mut up = server.create_channel("test").unwrap();
    let mut raw = Raw::enter_narrow(server.address(), (random_secret(), "raw")).await;
    let channel: ChannelId = raw.open("test").await;
    let kind = Kind::Request(pysock_std::proto::RequestId(7));
    let request = Envelope { channel, party: Party::Server, kind };
    raw.say(|conn, tx| conn.send(tx, &request, b"how?")).await.unwrap();
    let mut asked = within(up.listen()).await.unwrap();
    // It reads nothing, until its queue is full.
    let full = async {
        loop {
            server.publish("test", vec![0; 60_000]).await.unwrap();
        }
    };
    let until_full = async {
        while server.clients()[0].waiting < 1_024 {
            tokio::task::yield_now().await;
        }
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! { () = full => {}, () = until_full => {} }
    {
        let reply = asked.reply(vec![1; 60_000]);
        tokio::pin!(reply);
        assert!(poll_once(reply.as_mut()).await.is_pending(), "there is room");
    }
    let failed = raw.until(|heard| matches!(heard, Heard::Failed(..))).await.unwrap();
    assert_eq!(failed, Heard::Failed(request, Failure::NoResponder));
}

/// Polls once.
async fn poll_once<F: Future>(mut future: std::pin::Pin<&mut F>) -> std::task::Poll<F::Output> {
    std::future::poll_fn(|cx| std::task::Poll::Ready(future.as_mut().poll(cx))).await
}
