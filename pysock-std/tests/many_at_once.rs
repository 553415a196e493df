//! Many small messages at a time: in order, once, to the right ones, whatever they meet on the way.

mod common;

use std::time::Duration;

use common::{client_config, connect, connect_with, serve, server_config, until_connected, within};
use pysock_std::{Messages, server::Channel};

fn numbered(count: usize) -> Vec<Vec<u8>> {
    // Some are too large to be packed, and some for a record.
    let size = |n: usize| if n.is_multiple_of(97) { 70_000 } else { n % 300 };
    (0..count).map(|n| [&(n as u32).to_le_bytes()[..], &vec![n as u8; size(n)]].concat()).collect()
}

/// Takes as many messages as were sent, as they come.
async fn heard(count: usize, mut listen: impl AsyncFnMut() -> Option<Messages>) -> Vec<Vec<u8>> {
    let mut all = vec![];
    while all.len() < count {
        let messages = within(listen()).await.unwrap();
        assert_eq!(messages.len(), messages.iter().len());
        assert!(messages.len() > 0, "nothing is no news");
        all.extend(messages.iter().map(<[u8]>::to_vec));
    }
    all
}

#[tokio::test]
async fn they_arrive_in_order_wherever_they_go() {
    let server = serve(server_config()).await;
    let mut up: Channel = server.create_channel("many").unwrap();
    let (a, b) = (connect("a", &server).await, connect("b", &server).await);
    let mut a_many = a.create_channel("many").await.unwrap();
    let mut b_many = b.create_channel("many").await.unwrap();
    let mut b_peers = b.listen_peers().unwrap();
    let sent = numbered(1_000);
    // Large ones take turns with each other, so the small ones of a channel wait for them, and all stay in order.
    let (to_server, got) =
        tokio::join!(a_many.send_many(&sent), heard(sent.len(), async || up.listen_many().await));
    to_server.unwrap();
    assert!(got == sent, "client to server");
    let (to_peer, got) = tokio::join!(
        a_many.send_many_to("b", &sent),
        heard(sent.len(), async || b_many.listen_many().await)
    );
    to_peer.unwrap();
    assert!(got == sent, "client to client");
    let (published, got) = tokio::join!(
        a_many.publish_many(&sent),
        heard(sent.len(), async || b_many.listen_many().await)
    );
    published.unwrap();
    assert!(got == sent, "client to all");
    let (end_to_end, got) = tokio::join!(
        a.send_many_to_client("b", &sent),
        heard(sent.len(), async || b_peers.listen_many().await)
    );
    end_to_end.unwrap();
    assert!(got == sent, "end to end");
    let (down, got) = tokio::join!(
        up.send_many("a", &sent),
        heard(sent.len(), async || a_many.listen_many().await)
    );
    down.unwrap();
    assert!(got == sent, "server to client");
    let (down, got) = tokio::join!(
        up.publish_many(&sent),
        heard(sent.len(), async || b_many.listen_many().await)
    );
    assert_eq!(down.unwrap(), 2);
    assert!(got == sent, "server to all");
}

#[tokio::test]
async fn a_receiver_with_short_records_gets_each_in_its_own_way() {
    let server = serve(server_config()).await;
    let _up = server.create_channel("many").unwrap();
    let a = connect("a", &server).await;
    let mut config = client_config("b");
    config.record_limit = 256;
    let b = connect_with(config, &server).await.unwrap();
    let a_many = a.create_channel("many").await.unwrap();
    let mut b_many = b.create_channel("many").await.unwrap();
    let sent: Vec<Vec<u8>> = (0..500).map(|n| vec![n as u8; n]).collect();
    let (published, got) = tokio::join!(
        a_many.publish_many(&sent),
        heard(sent.len(), async || b_many.listen_many().await)
    );
    published.unwrap();
    assert!(got == sent);
}

#[tokio::test]
async fn one_by_one_and_many_at_once_are_the_same_to_a_listener() {
    let server = serve(server_config()).await;
    let mut up = server.create_channel("many").unwrap();
    let a = connect("a", &server).await;
    let a_many = a.create_channel("many").await.unwrap();
    a_many.send_many(["one", "two", "three", "four"]).await.unwrap();
    a_many.send("five").await.unwrap();
    assert_eq!(within(up.listen()).await.unwrap().text().unwrap(), "one");
    let mut rest = within(up.listen_many()).await.unwrap();
    assert_eq!((rest.sender().to_string().as_str(), rest.is_request()), ("a", false));
    assert_eq!(rest.next().unwrap().text().unwrap(), "two");
    let left: Vec<_> = rest.map(|message| message.text().unwrap().to_owned()).collect();
    assert_eq!(left[..2], ["three", "four"]);
    if left.len() == 2 {
        assert_eq!(within(up.listen()).await.unwrap().text().unwrap(), "five");
    }
    let (asked, answered) = tokio::join!(a_many.request("what?"), async {
        let mut question = within(up.listen_many()).await.unwrap();
        assert!(question.is_request() && question.len() == 1);
        question.next().unwrap().reply("that").await
    });
    answered.unwrap();
    assert_eq!(asked.unwrap().text().unwrap(), "that");
}

/// Awake for a moment after each message, and asleep after that.
#[tokio::test]
async fn low_latency_does_not_keep_anybody_awake() {
    let mut config = server_config();
    config.low_latency = true;
    let server = serve(config).await;
    let mut up = server.create_channel("many").unwrap();
    let mut config = client_config("a");
    config.low_latency = true;
    let a = connect_with(config, &server).await.unwrap();
    let mut a_many = a.create_channel("many").await.unwrap();
    until_connected(&server, 1).await;
    for _ in 0..20 {
        a_many.send("ping").await.unwrap();
        let message = within(up.listen()).await.unwrap();
        up.send(message.sender(), "pong").await.unwrap();
        assert_eq!(within(a_many.listen()).await.unwrap().text().unwrap(), "pong");
    }
    // The clock stands still from here on, and runs by itself only while everybody sleeps.
    tokio::time::pause();
    let before = (server.stats().wakeups, a.stats().wakeups);
    tokio::time::sleep(Duration::from_secs(20)).await;
    let woken = (server.stats().wakeups - before.0, a.stats().wakeups - before.1);
    assert!(woken.0 <= 2 && woken.1 <= 2, "{woken:?}");
}
