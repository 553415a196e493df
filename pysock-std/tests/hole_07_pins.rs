//! Hole 7 of the seed: no server authentication, nothing is ever pinned.

mod common;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use common::{client_config, proxy::Proxy, serve, server_config, until_status, within};
use pysock_std::{
    Client, Error,
    client::Status,
    config::{ClientConfig, Trust},
    state::StateFile,
};

async fn connect(config: &ClientConfig, proxy: &Proxy) -> Result<Client, Error> {
    within(Client::from_config(config.clone()).connect(&proxy.address.to_string())).await
}

#[tokio::test]
async fn a_remembered_server_is_recognised_and_another_key_is_refused_loudly() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("client.state");
    let (real, evil) = (serve(server_config()).await, serve(server_config()).await);
    let proxy = Proxy::to(real.address()).await;
    let mut config = client_config("a");
    config.state = Some(path.clone());
    let client = connect(&config, &proxy).await.unwrap();
    assert_eq!(client.server_key(), Some(real.public_key()));
    within(client.close()).await.unwrap();
    let remembered = std::fs::read(&path).unwrap();
    let known = StateFile::open(&path).unwrap().read().unwrap();
    let known = known.server("127.0.0.1", proxy.address.port()).unwrap().key;
    assert_eq!(known, real.public_key());

    proxy.lead_to(evil.address());
    proxy.take_said();
    for _ in 0..2 {
        let error = connect(&config, &proxy).await.unwrap_err();
        let text = error.to_string();
        let Error::ServerKeyChanged { expected, offered, .. } = error else { panic!("{text}") };
        assert_eq!((*expected, *offered.unwrap()), (real.public_key(), evil.public_key()));
        for key in [real.public_key(), evil.public_key()] {
            let fingerprint =
                pysock_std::proto::Fingerprint::of::<common::raw::C>(&key).to_string();
            assert!(text.contains(&fingerprint) && text.contains(&key.to_string()), "{text}");
        }
        assert!(text.contains("forget"), "it says what to do: {text}");
        // Two preludes and two first messages, which hold one ephemeral key each and no secret.
        let said = proxy.take_said();
        assert!(said.len() <= 2 * (16 + 2 + 48), "{} bytes were said", said.len());
        let key = config.public_key();
        assert!(!said.windows(32).any(|w| w == key.as_bytes()), "the client's key was shown");
    }
    assert!(evil.clients().is_empty());
    assert_eq!(std::fs::read(&path).unwrap(), remembered, "the pin stays as it was");

    proxy.lead_to(real.address());
    let client = connect(&config, &proxy).await.unwrap();
    within(client.close()).await.unwrap();
}

#[tokio::test]
async fn a_changed_key_on_the_way_back_is_refused_and_the_real_server_is_found_again() {
    let (real, evil) = (serve(server_config()).await, serve(server_config()).await);
    let proxy = Proxy::to(real.address()).await;
    // Nothing is stored, and yet within one run the server stays the same.
    let mut config = client_config("a");
    config.remember_server = false;
    let client = connect(&config, &proxy).await.unwrap();
    proxy.lead_to(evil.address());
    proxy.cut();
    until_status(
        &client,
        |status| matches!(status, Status::Reconnecting(why) if why.contains("HAS CHANGED")),
    )
    .await;
    assert!(evil.clients().is_empty());
    proxy.lead_to(real.address());
    until_status(&client, |status| matches!(status, Status::Connected)).await;
    within(client.close()).await.unwrap();
}

#[tokio::test]
async fn a_configured_key_counts_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (real, evil) = (serve(server_config()).await, serve(server_config()).await);
    let proxy = Proxy::to(evil.address()).await;
    let mut config = client_config("a");
    (config.trust, config.server_key) = (Trust::Pin, Some(real.public_key()));
    config.state = Some(folder.path().join("client.state"));
    let error = connect(&config, &proxy).await.unwrap_err();
    assert!(matches!(error, Error::ServerKeyChanged { .. }), "{error}");
    assert!(error.to_string().contains("server_key"), "{error}");
    proxy.lead_to(real.address());
    connect(&config, &proxy).await.unwrap();
}

#[tokio::test]
async fn trust_pin_refuses_an_unknown_server_before_it_shows_its_own_key() {
    let server = serve(server_config()).await;
    let proxy = Proxy::to(server.address()).await;
    let mut config = client_config("a");
    config.trust = Trust::Pin;
    let error = connect(&config, &proxy).await.unwrap_err();
    let Error::UnknownServer { key, .. } = &error else { panic!("{error}") };
    assert_eq!(**key, server.public_key());
    assert!(!error.is_temporary());
    assert!(proxy.take_said().len() <= 16 + 2 + 48);
    assert!(server.clients().is_empty());
}

#[tokio::test]
async fn trust_ask_does_what_the_person_says_and_asks_once() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(server_config()).await;
    let proxy = Proxy::to(server.address()).await;
    let mut config = client_config("a");
    config.trust = Trust::Ask;
    config.state = Some(folder.path().join("client.state"));
    let asked = Arc::new(AtomicUsize::new(0));
    for (answer, times) in [(false, 1), (true, 2), (false, 2)] {
        let (asking, key, address) = (asked.clone(), server.public_key(), proxy.address);
        let builder = Client::from_config(config.clone()).ask(move |at, shown| {
            assert_eq!((at, shown), (address.to_string().as_str(), &key));
            asking.fetch_add(1, Ordering::SeqCst);
            answer
        });
        let result = within(builder.connect(&proxy.address.to_string())).await;
        assert_eq!(asked.load(Ordering::SeqCst), times);
        match times {
            1 => assert!(matches!(result, Err(Error::UnknownServer { .. })), "{result:?}"),
            _ => within(result.unwrap().close()).await.unwrap(),
        }
    }
    // Nobody to ask: nobody is trusted.
    config.state = None;
    let error = connect(&config, &proxy).await.unwrap_err();
    assert!(matches!(error, Error::UnknownServer { .. }), "{error}");
}
