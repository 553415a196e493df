//! Hole 1 of the seed: a stranger who connects and leaves, or sends five junk bytes, stopped the whole server.

mod common;

use std::time::Duration;

use common::{connect, raw::Raw, raw::random_secret, serve, server_config, within};
use pysock_std::{
    Client, Error, Server,
    proto::{Alert, Error as Ended, Limits},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// The server still answers a client that was there before.
async fn alive(asker: &pysock_std::client::Channel) {
    let reply = within(asker.request("still there?")).await.unwrap();
    assert_eq!(reply.text().unwrap(), "yes");
}

async fn answering(server: &Server) -> (Client, pysock_std::client::Channel) {
    let mut channel = server.create_channel("alive").unwrap();
    tokio::spawn(async move {
        while let Some(mut message) = channel.listen().await {
            message.reply("yes").await.unwrap();
        }
    });
    let client = connect("witness", server).await;
    let asker = client.create_channel("alive").await.unwrap();
    (client, asker)
}

#[tokio::test]
async fn strangers_who_leave_or_babble_harm_nobody() {
    let server = serve(server_config()).await;
    let (_client, asker) = answering(&server).await;
    let prelude = b"PYSK\x01\x01\x01\x00\0\0\0\0\0\0\0\0";
    let long = vec![b'x'; 100_000];
    let get = b"GET / HTTP/1.1\r\nHost: pysock\r\n\r\n";
    let babble: [&[u8]; 9] = [
        b"",
        b"\0\xff\x01AB",
        b"hello",
        b"PYSK\x01",
        b"PYSK\x02\x01\x01\x00\0\0\0\0\0\0\0\0",
        get,
        &long,
        prelude,
        &[&prelude[..], &[0xff; 300]].concat(),
    ];
    for junk in babble {
        let mut leaves = TcpStream::connect(server.address()).await.unwrap();
        let _ = leaves.write_all(junk).await;
        drop(leaves);
        let mut stays = TcpStream::connect(server.address()).await.unwrap();
        let _ = stays.write_all(junk).await;
        alive(&asker).await;
    }
    let late = connect("late", &server).await;
    assert_eq!(server.clients().len(), 2);
    late.close().await.unwrap();
}

#[tokio::test]
async fn wrong_first_bytes_are_turned_away_at_once() {
    // The handshake's deadline is far away: only the bytes can be the reason.
    let server = serve(server_config()).await;
    for junk in [&b"hello"[..], b"GET / HTTP/1.1\r\n", b"\x16\x03\x01\x02\x00"] {
        let mut stranger = TcpStream::connect(server.address()).await.unwrap();
        stranger.write_all(junk).await.unwrap();
        let mut answer = vec![];
        let _ = within(stranger.read_to_end(&mut answer)).await;
        assert!(answer.len() <= 3, "a stranger learns next to nothing: {answer:?}");
    }
}

#[tokio::test]
async fn the_silent_are_shown_out_at_the_deadline() {
    let mut config = server_config();
    config.handshake_timeout = Duration::from_secs(1);
    let server = serve(config).await;
    for part in [&b""[..], b"PYSK", b"PYSK\x01\x01\x01\x00\0\0\0\0\0\0\0\0\x00\x20half"] {
        let mut stranger = TcpStream::connect(server.address()).await.unwrap();
        stranger.write_all(part).await.unwrap();
        let begun = std::time::Instant::now();
        let mut answer = vec![];
        let _ = within(stranger.read_to_end(&mut answer)).await;
        assert!(begun.elapsed() >= Duration::from_millis(500), "not before: {answer:?}");
    }
}

#[tokio::test]
async fn thousands_of_silent_connections_take_only_their_own_places() {
    const CROWD: usize = 2000;
    let mut config = server_config();
    config.max_unauthenticated_per_address = 16;
    let server = serve(config).await;
    let (_client, asker) = answering(&server).await;
    let mut crowd = vec![];
    for _ in 0..CROWD {
        crowd.push(TcpStream::connect(server.address()).await.unwrap());
    }
    // Everybody but the first 16 is told so and shown out.
    let mut inside = vec![];
    for mut stranger in crowd {
        let mut answer = vec![];
        match tokio::time::timeout(Duration::from_millis(300), stranger.read_to_end(&mut answer))
            .await
        {
            Ok(_) => assert_eq!(answer, [0, 1, Alert::Busy.code()]),
            Err(_) => inside.push(stranger),
        }
    }
    assert_eq!(inside.len(), 16);
    alive(&asker).await;
    let address = server.address().to_string();
    let turned_away = common::client("new").connect(&address).await;
    assert!(
        matches!(
            &turned_away,
            Err(Error::Handshake { source: Ended::Alert(Alert::Busy) | Ended::Truncated, .. })
        ),
        "{turned_away:?}"
    );
    assert!(turned_away.unwrap_err().is_temporary());
    // Another address has places of its own.
    let who = (random_secret(), "elsewhere");
    let mut other = Raw::dial("127.0.0.2", server.address(), who, Limits::DESKTOP, None).await;
    other.until(|heard| matches!(heard, common::raw::Heard::Welcome(_))).await.unwrap();
    // Places come back when the silent leave.
    drop(inside);
    within(async {
        while common::client("new").connect(&address).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn the_limit_in_all_holds_and_the_admitted_do_not_count() {
    let mut config = server_config();
    (config.max_unauthenticated, config.max_unauthenticated_per_address) = (2, 2);
    let server = serve(config).await;
    let mut clients = vec![];
    for n in 0..8 {
        clients.push(connect(&format!("c{n}"), &server).await);
    }
    let mut all = vec![];
    for source in ["127.0.0.1", "127.0.0.2", "127.0.0.3"] {
        let who = (random_secret(), "silent");
        all.push(Raw::dial(source, server.address(), who, Limits::DESKTOP, None).await);
    }
    let mut answer = vec![];
    within(all[2].socket.read_to_end(&mut answer)).await.unwrap();
    assert_eq!(answer, [0, 1, Alert::Busy.code()]);
    all[1].until(|heard| matches!(heard, common::raw::Heard::Welcome(_))).await.unwrap();
    assert_eq!(server.clients().len(), 9);
}
