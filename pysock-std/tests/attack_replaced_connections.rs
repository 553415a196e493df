//! A client comes again and again under one key and leaves every connection that was replaced lying.

mod common;

use common::{
    client_config, connect_with,
    raw::{Heard, Raw, random_secret},
    serve, server_config, until_connected, within,
};
use pysock_std::{
    Server,
    config::NamePolicy,
    proto::{CloseReason, Envelope, Kind, Limits, SecretKey},
};

/// One more connection of this key, which answers nothing unless it is read.
async fn again(server: &Server, key: &SecretKey) -> Raw {
    Raw::enter_with(server.address(), (key.clone(), "again"), Limits::DESKTOP).await
}

#[tokio::test]
async fn they_take_no_place_in_the_house() {
    let mut config = server_config();
    config.max_clients = 2;
    let server = serve(config).await;
    let key = random_secret();
    let mut left = vec![];
    for _ in 0..3 {
        left.push(again(&server, &key).await);
    }
    let _other = connect_with(client_config("other"), &server).await.unwrap();
    assert_eq!(server.clients().len(), 2);
    // The house is full now, and only now.
    assert!(connect_with(client_config("third"), &server).await.is_err());
    for replaced in &mut left[..2] {
        let told = replaced.until(|heard| matches!(heard, Heard::Closed(_))).await;
        assert_eq!(told, Ok(Heard::Closed(CloseReason::Replaced)), "it hears why all the same");
    }
}

#[tokio::test]
async fn of_one_key_no_more_than_two_are_kept() {
    let server = serve(server_config()).await;
    let key = random_secret();
    let mut left = vec![again(&server, &key).await];
    // Much sooner than one after the other would be given up.
    within(async {
        for _ in 0..20 {
            left.push(again(&server, &key).await);
            until_connected(&server, 2).await;
        }
    })
    .await;
}

#[tokio::test]
async fn none_is_kept_for_a_client_that_has_left() {
    let mut config = server_config();
    // Whoever likes has any number of keys.
    config.names = NamePolicy::Open;
    let server = serve(config).await;
    let mut left = vec![];
    within(async {
        for _ in 0..20 {
            let key = random_secret();
            left.push(again(&server, &key).await);
            drop(again(&server, &key).await);
            until_connected(&server, 0).await;
        }
    })
    .await;
}

#[tokio::test]
async fn one_that_ends_loses_no_request_to_the_newer_one() {
    let server = serve(server_config()).await;
    let _up = server.create_channel("test").unwrap();
    let key = random_secret();
    let old = again(&server, &key).await;
    let mut new = again(&server, &key).await;
    new.open("test").await;
    let responder = async {
        let Heard::Message(request, _) = new.next_but_other().await else { panic!("no request") };
        let Kind::Request(id) = request.kind else { panic!("{request:?}") };
        drop(old);
        until_connected(&server, 1).await;
        let reply = Envelope { kind: Kind::Reply(id), ..request };
        new.say(|conn, tx| conn.send(tx, &reply, b"done")).await.unwrap();
        new.settle().await;
    };
    let (reply, ()) =
        within(async { tokio::join!(server.request("test", "again", "work"), responder) }).await;
    assert_eq!(reply.unwrap().text().unwrap(), "done");
}
