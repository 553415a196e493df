//! Who may come in, under which name, and that names outlive the server.

mod common;

use common::{client_config, connect, connect_with, serve, server_config, until_connected, within};
use pysock_std::{
    Error, Server,
    config::NamePolicy,
    proto::{Failure, Refusal},
    state::StateFile,
};

fn refusal<T: std::fmt::Debug>(result: Result<T, Error>) -> Refusal {
    match result {
        Err(Error::Refused { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_allow_list_lets_in_exactly_its_keys_under_their_names() {
    let (guest, stranger) = (client_config("guest"), client_config("guest"));
    let mut config = server_config();
    config.names = NamePolicy::AllowList;
    config.allow.insert("guest".parse().unwrap(), guest.public_key());
    let server = serve(config).await;
    let mut other_name = guest.clone();
    other_name.name = Some("other".parse().unwrap());
    let unknown = client_config("unknown");
    assert_eq!(refusal(connect_with(stranger, &server).await), Refusal::NotAllowed);
    assert_eq!(refusal(connect_with(unknown, &server).await), Refusal::NotAllowed);
    assert_eq!(refusal(connect_with(other_name, &server).await), Refusal::KeyHasName);
    connect_with(guest, &server).await.unwrap();
}

#[tokio::test]
async fn a_claimed_name_outlives_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = server_config();
    config.state = Some(folder.path().join("server.state"));
    let owner = client_config("owner");
    for _ in 0..2 {
        let server = serve(config.clone()).await;
        let client = connect_with(owner.clone(), &server).await.unwrap();
        let state = StateFile::open(folder.path().join("server.state")).unwrap().read().unwrap();
        assert_eq!(state.names[&"owner".parse().unwrap()].key, owner.public_key());
        within(client.close()).await.unwrap();
        let thief = connect_with(client_config("owner"), &server).await;
        assert_eq!(refusal(thief), Refusal::NameTaken);
        within(server.shutdown()).await;
    }
}

#[tokio::test]
async fn a_name_that_cannot_be_stored_is_not_given() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("state");
    std::fs::create_dir(&inner).unwrap();
    let mut config = server_config();
    config.state = Some(inner.join("server.state"));
    let server = serve(config).await;
    // The folder is gone, so not even root can write there.
    std::fs::remove_dir_all(&inner).unwrap();
    let first = client_config("first");
    let result = connect_with(first.clone(), &server).await;
    assert_eq!(refusal(result), Refusal::Trouble);
    assert!(Refusal::Trouble.is_temporary());
    assert!(server.clients().is_empty());
    // It is not claimed in memory either.
    std::fs::create_dir(&inner).unwrap();
    let mut second = client_config("first");
    second.reconnect = false;
    connect_with(second, &server).await.unwrap();
    assert_eq!(refusal(connect_with(first, &server).await), Refusal::NameTaken);
}

#[tokio::test]
async fn there_is_room_for_max_clients_even_when_all_come_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = server_config();
    config.max_clients = 3;
    config.state = Some(folder.path().join("server.state"));
    let server = serve(config).await;
    let mut coming = tokio::task::JoinSet::new();
    let address = server.address().to_string();
    for n in 0..10 {
        let (builder, address) = (common::client(&format!("c{n}")), address.clone());
        coming.spawn(async move { builder.connect(&address).await });
    }
    let all = within(coming.join_all()).await;
    let (inside, outside): (Vec<_>, Vec<_>) = all.into_iter().partition(Result::is_ok);
    assert_eq!(inside.len(), 3);
    for result in outside {
        assert_eq!(refusal(result), Refusal::Full);
    }
    drop(inside);
    until_connected(&server, 0).await;
    connect("c-late", &server).await;
}

#[tokio::test]
async fn a_known_key_replaces_itself_in_a_full_house() {
    let mut config = server_config();
    config.max_clients = 1;
    let server = serve(config).await;
    let me = client_config("me");
    let _first = connect_with(me.clone(), &server).await.unwrap();
    assert_eq!(refusal(connect_with(client_config("b"), &server).await), Refusal::Full);
    connect_with(me, &server).await.unwrap();
}

#[tokio::test]
async fn without_a_directory_clients_find_nobody_and_the_server_still_knows_them() {
    let mut config = server_config();
    config.directory = false;
    let server = serve(config).await;
    let _up = server.create_channel("test").unwrap();
    let (a, b) = (connect("a", &server).await, connect("b", &server).await);
    let channel = a.create_channel("test").await.unwrap();
    let mut hears = b.create_channel("test").await.unwrap();
    assert!(within(a.clients()).await.unwrap().is_empty());
    assert_eq!(within(a.find("b")).await.unwrap(), None);
    let lost = within(channel.send_to("b", "x")).await;
    assert!(matches!(lost, Err(Error::Failed { failure: Failure::NoPeer, .. })), "{lost:?}");
    server.send("test", "b", "hello").await.unwrap();
    assert_eq!(within(hears.listen()).await.unwrap().text().unwrap(), "hello");
}

#[tokio::test]
async fn a_shutdown_sends_everyone_what_is_queued_and_a_close_confirms() {
    let server = serve(server_config()).await;
    let mut up = server.create_channel("test").unwrap();
    let mut reading = vec![];
    for n in 0..5 {
        let mut config = client_config(&format!("c{n}"));
        config.reconnect = false;
        let client = connect_with(config, &server).await.unwrap();
        let mut channel = client.create_channel("test").await.unwrap();
        reading.push(tokio::spawn(async move {
            let mut sizes = vec![];
            while let Some(message) = channel.listen().await {
                sizes.push(message.data().len());
            }
            drop(client);
            sizes
        }));
    }
    for _ in 0..20 {
        server.publish("test", vec![0; 10_000]).await.unwrap();
    }
    server.publish("test", vec![0; 300_000]).await.unwrap();
    assert_eq!(within(server.shutdown()).await, 0, "all confirmed");
    for client in reading {
        let sizes = within(client).await.unwrap();
        assert_eq!(sizes, [vec![10_000; 20], vec![300_000]].concat());
    }
    drop(up.listen());
}

#[tokio::test]
async fn close_returns_when_the_server_has_read_everything() {
    let server = serve(server_config()).await;
    let mut up = server.create_channel("test").unwrap();
    let a = connect("a", &server).await;
    let channel = a.create_channel("test").await.unwrap();
    for _ in 0..50 {
        channel.send(vec![0; 10_000]).await.unwrap();
    }
    within(a.close()).await.unwrap();
    assert!(channel.send("too late").await.is_err());
    // Everything is in the listener's queue: none of it needs the network any more.
    within(server.shutdown()).await;
    for _ in 0..50 {
        assert_eq!(within(up.listen()).await.unwrap().data().len(), 10_000);
    }
}

#[tokio::test]
async fn listen_with_calls_the_function_in_order() {
    let server: Server = serve(server_config()).await;
    let mut up = server.create_channel("test").unwrap();
    let a = connect("a", &server).await;
    let mut channel = a.create_channel("test").await.unwrap();
    tokio::spawn(async move {
        up.listen_with(async |mut message| {
            let text = message.text().unwrap().to_uppercase();
            message.reply(text).await.unwrap();
        })
        .await;
    });
    for (text, loud) in [("a", "A"), ("b", "B")] {
        assert_eq!(within(channel.request(text)).await.unwrap().text().unwrap(), loud);
    }
    let mut heard = vec![];
    for text in ["1", "2", "3"] {
        server.send("test", "a", text).await.unwrap();
    }
    tokio::spawn(async move { drop(a.close().await) });
    within(channel.listen_with(async |message| heard.push(message.text().unwrap().to_owned())))
        .await;
    assert!(["1", "2", "3"].starts_with(&heard.iter().map(String::as_str).collect::<Vec<_>>()));
}
