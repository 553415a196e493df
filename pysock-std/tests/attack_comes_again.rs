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
    proto::{Envelope, Kind, Limits, SecretKey},
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
