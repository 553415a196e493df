//! Hole 10 of the seed: a header split over two reads, or a message of 100 kB, broke the stream.

mod common;

use common::{client, proxy::Proxy, serve, server_config, within};

async fn echo_through(piece: usize, sizes: &[usize]) {
    let server = serve(server_config()).await;
    let mut up = server.create_channel("test").unwrap();
    let proxy = Proxy::in_pieces(server.address(), piece).await;
    let a = client("a").connect(&proxy.address.to_string()).await.unwrap();
    let mut channel = a.create_channel("test").await.unwrap();
    for &size in sizes {
        let data: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
        channel.send(data.clone()).await.unwrap();
        assert_eq!(within(up.listen()).await.unwrap().data(), &data);
        server.send("test", "a", data.clone()).await.unwrap();
        assert_eq!(within(channel.listen()).await.unwrap().data(), &data);
    }
    within(a.close()).await.unwrap();
}

#[tokio::test]
async fn one_byte_at_a_time() {
    echo_through(1, &[0, 1, 2, 255, 256, 1_000, 17_000]).await;
}

#[tokio::test]
async fn odd_pieces_and_large_messages() {
    echo_through(4_093, &[0, 16_300, 16_384, 65_535, 65_536, 100_000, 1_000_000]).await;
}

#[tokio::test]
async fn many_small_messages_in_one_go_stay_apart_and_in_order() {
    let server = serve(server_config()).await;
    let mut up = server.create_channel("test").unwrap();
    let proxy = Proxy::in_pieces(server.address(), 7).await;
    let a = client("a").connect(&proxy.address.to_string()).await.unwrap();
    let channel = a.create_channel("test").await.unwrap();
    for n in 0..2_000u32 {
        channel.send(n.to_string()).await.unwrap();
    }
    for n in 0..2_000u32 {
        assert_eq!(within(up.listen()).await.unwrap().text().unwrap(), n.to_string());
    }
}
