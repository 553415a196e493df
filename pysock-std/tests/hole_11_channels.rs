//! Hole 11 of the seed, for channels: what was open is open again after a reconnect, and who waits for what will not come is
//! told.

mod common;

use common::{
    client, client_config, connect, proxy::Proxy, serve, server_config, until_connected,
    until_status, within,
};
use pysock_std::{
    Client, Error, Server,
    client::{Channel, Status},
};

async fn reconnected(client: &Client, lose: impl FnOnce()) {
    let mut status = client.status();
    status.mark_unchanged();
    lose();
    within(status.wait_for(|status| matches!(status, Status::Reconnecting(_)))).await.unwrap();
    until_status(client, |status| matches!(status, Status::Connected)).await;
}

/// The server has the channel in the end, and both hear each other by it.
async fn works(server: &Server, channel: &mut Channel, up: &mut pysock_std::server::Channel) {
    // What is said before the server knows that the client is on it is nobody's.
    let said = async {
        while server.send("x", "a", "down").await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    within(said).await;
    assert_eq!(within(channel.listen()).await.unwrap().text().unwrap(), "down");
    channel.send("up").await.unwrap();
    assert_eq!(within(up.listen()).await.unwrap().text().unwrap(), "up");
}

#[tokio::test]
async fn a_channel_that_was_refused_at_first_is_open_after_a_reconnect() {
    let server = serve(server_config()).await;
    let proxy = Proxy::to(server.address()).await;
    let a = client("a").connect(&proxy.address.to_string()).await.unwrap();
    for _ in 0..3 {
        assert!(matches!(a.create_channel("x").await, Err(Error::NoChannel(_))));
    }
    let mut up = server.create_channel("x").unwrap();
    let mut channel = a.create_channel("x").await.unwrap();
    for _ in 0..2 {
        reconnected(&a, || proxy.cut()).await;
        until_connected(&server, 1).await;
        works(&server, &mut channel, &mut up).await;
    }
}

#[tokio::test]
async fn a_server_that_creates_its_channel_late_gets_its_clients_on_it() {
    let config = server_config();
    let server = serve(config.clone()).await;
    let up = server.create_channel("x").unwrap();
    let a = connect("a", &server).await;
    let mut channel = a.create_channel("x").await.unwrap();
    let address = server.address();
    let mut status = a.status();
    status.mark_unchanged();
    drop(up);
    server.shutdown().await;
    let server = Server::from_config(config).bind(address).await.unwrap();
    until_connected(&server, 1).await;
    // The client has been told that there is no such channel.
    within(async {
        while !matches!(a.send("x", "too early").await, Err(Error::NoChannel(_))) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let mut up = server.create_channel("x").unwrap();
    works(&server, &mut channel, &mut up).await;
    assert!(matches!(a.create_channel("x").await, Err(Error::ChannelExists(_))));
}

#[tokio::test]
async fn who_asks_a_client_that_is_over_is_told() {
    let server = serve(server_config()).await;
    let _up = server.create_channel("x").unwrap();
    let mut config = client_config("a");
    config.reconnect = false;
    let a = Client::from_config(config).connect(&server.address().to_string()).await.unwrap();
    server.kick("a").unwrap();
    until_status(&a, |status| matches!(status, Status::Ended(_))).await;
    assert!(matches!(within(a.create_channel("x")).await, Err(Error::Disconnected)));
    assert!(matches!(within(a.create_prefix_channel("x")).await, Err(Error::Disconnected)));
    assert!(matches!(a.listen_peers(), Err(Error::Disconnected)));
    assert!(matches!(a.listen_peer_prefixes(), Err(Error::Disconnected)));
}

/// More than may be asked for at once: what is queued for the last of them waits until it has been asked for.
#[tokio::test]
async fn what_waits_for_a_connection_waits_for_its_channel_too() {
    const CHANNELS: usize = 20;
    let server = serve(server_config()).await;
    let proxy = Proxy::to(server.address()).await;
    let a = client("a").connect(&proxy.address.to_string()).await.unwrap();
    let (mut ups, mut channels) = (Vec::new(), Vec::new());
    for n in 0..CHANNELS {
        ups.push(server.create_channel(&format!("c{n}")).unwrap());
        channels.push(a.create_channel(&format!("c{n}")).await.unwrap());
    }
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    proxy.lead_to(nowhere);
    let mut status = a.status();
    status.mark_unchanged();
    proxy.cut();
    within(status.wait_for(|status| matches!(status, Status::Reconnecting(_)))).await.unwrap();
    for (n, channel) in channels.iter().enumerate() {
        channel.send(n.to_string()).await.unwrap();
    }
    proxy.lead_to(server.address());
    for (n, up) in ups.iter_mut().enumerate() {
        assert_eq!(within(up.listen()).await.unwrap().text().unwrap(), n.to_string());
    }
    assert!(a.failures().is_empty());
}
