//! Holes 16 and 17 of the seed: a timeout in seconds that was one in minutes, and `debug` that changed the wire identity.

mod common;

use std::time::{Duration, Instant};

use common::{client_config, connect_with, proxy::Proxy, serve, server_config, within};
use pysock_std::{Client, Error};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

async fn times_out(address: &str) {
    let mut config = client_config("a");
    config.timeout = Duration::from_secs(1);
    let begun = Instant::now();
    let error = within(Client::from_config(config).connect(address)).await.unwrap_err();
    let took = begun.elapsed();
    assert!(matches!(error, Error::Timeout { .. } | Error::Handshake { .. }), "{error}");
    assert!(error.is_temporary());
    assert!(took >= Duration::from_millis(900) && took < Duration::from_secs(4), "{took:?}");
}

#[tokio::test]
async fn it_covers_a_server_that_accepts_and_says_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    times_out(&listener.local_addr().unwrap().to_string()).await;
}

#[tokio::test]
async fn it_covers_a_server_that_does_not_even_accept() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = vec![];
    // Until the backlog is full.
    while let Ok(socket) =
        tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(address)).await
    {
        waiting.push(socket.unwrap());
        assert!(waiting.len() < 100, "the backlog is never full");
    }
    times_out(&address.to_string()).await;
}

#[tokio::test]
async fn debug_changes_nothing_on_the_wire() {
    let mut said = vec![];
    for debug in [false, true] {
        let mut config = server_config();
        config.debug = debug;
        let server = serve(config).await;
        let mut up = server.create_channel("test").unwrap();
        let proxy = Proxy::to(server.address()).await;
        let mut config = client_config("a");
        config.debug = debug;
        let key = config.public_key();
        let address = proxy.address.to_string();
        let a = within(Client::from_config(config).connect(&address)).await.unwrap();
        let channel = a.create_channel("test").await.unwrap();
        channel.send("the same").await.unwrap();
        let message = within(up.listen()).await.unwrap();
        assert_eq!((message.sender().to_string().as_str(), message.sender().key()), ("a", &key));
        drop(channel);
        within(a.close()).await.unwrap();
        let bytes = proxy.take_said();
        said.push((bytes.len(), bytes[..16].to_vec()));
    }
    assert_eq!(said[0], said[1], "as many bytes, and the same prelude");
}

#[tokio::test]
async fn a_debugging_client_and_one_that_does_not_are_the_same_to_the_server() {
    let server = serve(server_config()).await;
    let mut config = client_config("a");
    within(connect_with(config.clone(), &server).await.unwrap().close()).await.unwrap();
    config.debug = true;
    within(connect_with(config, &server).await.unwrap().close()).await.unwrap();
}
