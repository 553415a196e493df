//! Hole 11 of the seed: a known client that reconnects hangs for ever.

mod common;

use std::{sync::Arc, time::Duration};

use common::{
    client_config, connect, connect_with, proxy::Proxy, serve, server_config, until_connected,
    until_status, within,
};
use pysock_std::{
    Client, Error, Server,
    client::{PeerNews, Status},
    config::{ServerConfig, new_secret_key},
    proto::{CloseReason, Failure, Refusal},
};

fn reconnecting(status: &Status) -> bool {
    matches!(status, Status::Reconnecting(_))
}

fn connected(status: &Status) -> bool {
    matches!(status, Status::Connected)
}

async fn restart(config: &ServerConfig, server: Server) -> Server {
    let address = server.address();
    server.shutdown().await;
    Server::from_config(config.clone()).bind(address).await.unwrap()
}

#[tokio::test]
async fn a_known_client_comes_again_and_is_recognised() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(server_config()).await;
    let mut up = server.create_channel("test").unwrap();
    let mut config = client_config("shikhar");
    config.state = Some(folder.path().join("client.state"));
    let key = config.public_key();
    for round in 0..3 {
        let client = connect_with(config.clone(), &server).await.unwrap();
        let channel = client.create_channel("test").await.unwrap();
        channel.send(format!("round {round}")).await.unwrap();
        let message = within(up.listen()).await.unwrap();
        assert_eq!(message.text().unwrap(), format!("round {round}"));
        assert_eq!(
            (message.sender().to_string().as_str(), message.sender().key()),
            ("shikhar", &key)
        );
        within(client.close()).await.unwrap();
    }
}

#[tokio::test]
async fn a_restarted_server_gets_its_clients_back() {
    let config = server_config();
    let server = serve(config.clone()).await;
    let mut up = server.create_channel("test").unwrap();
    let client = connect("a", &server).await;
    let mut channel = client.create_channel("test").await.unwrap();
    channel.send("before").await.unwrap();
    assert_eq!(within(up.listen()).await.unwrap().text().unwrap(), "before");
    let address = server.address();
    // An orderly shutdown is a temporary close: the client comes back by itself.
    within(server.shutdown()).await;
    until_status(&client, reconnecting).await;
    // What is sent meanwhile waits.
    within(channel.send("between")).await.unwrap();
    let server = Server::from_config(config).bind(address).await.unwrap();
    let mut up = server.create_channel("test").unwrap();
    until_status(&client, connected).await;
    assert_eq!(within(up.listen()).await.unwrap().text().unwrap(), "between");
    channel.send("after").await.unwrap();
    assert_eq!(within(up.listen()).await.unwrap().text().unwrap(), "after");
    server.send("test", "a", "hello again").await.unwrap();
    assert_eq!(within(channel.listen()).await.unwrap().text().unwrap(), "hello again");
    within(client.close()).await.unwrap();
}

#[tokio::test]
async fn a_server_without_clients_frees_its_port_at_once() {
    let config = server_config();
    let server = serve(config.clone()).await;
    let server = restart(&config, server).await;
    restart(&config, server).await;
}

#[tokio::test]
async fn a_cut_connection_is_made_again_with_its_channels() {
    let server = serve(server_config()).await;
    let (mut one, mut two) =
        (server.create_channel("one").unwrap(), server.create_channel("two").unwrap());
    let proxy = Proxy::to(server.address()).await;
    let client = common::client("a").connect(&proxy.address.to_string()).await.unwrap();
    let first = client.create_channel("one").await.unwrap();
    // A channel that was given up in between must not confuse the numbers.
    drop(client.create_channel("two").await.unwrap());
    let mut second = within(client.create_channel("two")).await.unwrap();
    for round in 0..3 {
        proxy.cut();
        until_status(&client, reconnecting).await;
        until_status(&client, connected).await;
        assert_eq!(proxy.connections(), round + 2);
        within(first.send("1")).await.unwrap();
        within(second.send("2")).await.unwrap();
        assert_eq!(within(one.listen()).await.unwrap().text().unwrap(), "1");
        assert_eq!(within(two.listen()).await.unwrap().text().unwrap(), "2");
        server.send("two", "a", "back").await.unwrap();
        assert_eq!(within(second.listen()).await.unwrap().text().unwrap(), "back");
    }
    assert_eq!(server.clients().len(), 1);
}

#[tokio::test]
async fn a_dropped_channel_can_be_created_again_and_hears_nothing_meanwhile() {
    let server = serve(server_config()).await;
    let mut up = server.create_channel("test").unwrap();
    let _other = server.create_channel("other").unwrap();
    let client = connect("a", &server).await;
    let mut other = client.create_channel("other").await.unwrap();
    drop(client.create_channel("test").await.unwrap());
    assert_eq!(server.publish("test", "nobody listens").await.unwrap(), 1);
    // What comes behind it has arrived, so it has, too.
    server.send("other", "a", "behind").await.unwrap();
    assert_eq!(within(other.listen()).await.unwrap().text().unwrap(), "behind");
    // Sending by name needs no listener.
    client.send("test", "still here").await.unwrap();
    assert_eq!(within(up.listen()).await.unwrap().text().unwrap(), "still here");
    let mut channel = within(client.create_channel("test")).await.unwrap();
    assert_eq!(server.publish("test", "heard").await.unwrap(), 1);
    assert_eq!(within(channel.listen()).await.unwrap().text().unwrap(), "heard");
    let twice = client.create_channel("test").await;
    assert!(matches!(twice, Err(Error::ChannelExists(_))), "{twice:?}");
}

#[tokio::test]
async fn what_was_sent_to_a_peer_of_an_earlier_connection_never_reaches_another() {
    let mut config = server_config();
    config.names = pysock_std::config::NamePolicy::Open;
    let server = serve(config).await;
    let _up = server.create_channel("test").unwrap();
    let proxy = Proxy::to(server.address()).await;
    let a = common::client("a").connect(&proxy.address.to_string()).await.unwrap();
    let b = connect("b", &server).await;
    let to = a.create_channel("test").await.unwrap();
    let mut b_test = b.create_channel("test").await.unwrap();
    to.send_to("b", "one").await.unwrap();
    assert_eq!(within(b_test.listen()).await.unwrap().text().unwrap(), "one");
    proxy.cut();
    until_status(&a, reconnecting).await;
    within(b.close()).await.unwrap();
    let other = connect("c", &server).await;
    let mut c_test = other.create_channel("test").await.unwrap();
    until_status(&a, connected).await;
    let lost = within(to.send_to(b_test_key(&b_test), "two")).await;
    assert!(matches!(lost, Err(Error::Failed { failure: Failure::NoPeer, .. })), "{lost:?}");
    to.send_to("c", "three").await.unwrap();
    assert_eq!(within(c_test.listen()).await.unwrap().text().unwrap(), "three");
}

#[tokio::test]
async fn a_question_outlives_its_connection() {
    let server = serve(server_config()).await;
    let _up = server.create_channel("test").unwrap();
    let proxy = Proxy::to(server.address()).await;
    let a = common::client("a").connect(&proxy.address.to_string()).await.unwrap();
    let to = a.create_channel("test").await.unwrap();
    let b = connect("b", &server).await;
    let mut b_test = b.create_channel("test").await.unwrap();
    let mut b_news = b.listen_peers().unwrap();
    // The server is away as they are asked, and comes back while they wait.
    proxy.lead_to("127.0.0.1:1".parse().unwrap());
    proxy.cut();
    until_status(&a, reconnecting).await;
    let back = async { proxy.lead_to(server.address()) };
    let all = async {
        tokio::join!(
            a.find("b"),
            a.find("nobody"),
            to.send_to("b", "x"),
            a.send_to_client("b", "y"),
            back
        )
    };
    let (found, nobody, sent, sent_to_client, ()) = within(all).await;
    assert_eq!(found.unwrap().unwrap().name.as_str(), "b");
    assert!(nobody.unwrap().is_none());
    sent.unwrap();
    sent_to_client.unwrap();
    assert_eq!(within(b_test.listen()).await.unwrap().text().unwrap(), "x");
    loop {
        if let PeerNews::Message(message) = within(b_news.next()).await.unwrap() {
            assert_eq!(message.text().unwrap(), "y");
            break;
        }
    }
    // Asked before the cut is noticed, and perhaps answered or not.
    let cut = async { proxy.cut() };
    let (found, ()) = within(async { tokio::join!(a.find("b"), cut) }).await;
    assert_eq!(found.unwrap().unwrap().name.as_str(), "b");
    // Nobody is asked once the client is over.
    assert!(within(b.find("b")).await.unwrap().is_some());
    server.kick("b").unwrap();
    until_status(&b, |status| matches!(status, Status::Ended(_))).await;
    let over = within(b.find("b")).await;
    assert!(matches!(over, Err(Error::Disconnected)), "{over:?}");
}

fn b_test_key(_: &pysock_std::client::Channel) -> &'static str {
    "b"
}

#[tokio::test]
async fn a_kick_and_a_refusal_stop_for_good() {
    let server = serve(server_config()).await;
    let proxy = Proxy::to(server.address()).await;
    let a = common::client("a").connect(&proxy.address.to_string()).await.unwrap();
    until_connected(&server, 1).await;
    server.kick("a").unwrap();
    let ended = until_status(&a, |status| matches!(status, Status::Ended(_))).await;
    let Status::Ended(why) = ended else { unreachable!() };
    assert!(why.contains(&CloseReason::Kicked.to_string()), "{why}");
    assert_eq!(proxy.connections(), 1, "it did not try again");
    until_connected(&server, 0).await;
    assert!(matches!(server.kick("a"), Err(Error::Failed { failure: Failure::NoPeer, .. })));
    let closed = within(a.close()).await;
    assert!(matches!(closed, Err(Error::Closed(CloseReason::Kicked))), "{closed:?}");
}

#[tokio::test]
async fn a_refusal_on_the_way_back_is_final_when_it_is_meant_so() {
    let key = new_secret_key().unwrap();
    let mut config = ServerConfig::new(key.clone());
    let server = serve(config.clone()).await;
    let a = connect("a", &server).await;
    let address = server.address();
    within(server.shutdown()).await;
    config.names = pysock_std::config::NamePolicy::AllowList;
    config.allow.insert("other".parse().unwrap(), client_config("other").public_key());
    let _server = Server::from_config(config).bind(address).await.unwrap();
    let ended = within(a.close_when_ended()).await;
    assert!(matches!(ended, Err(Error::Refused { reason: Refusal::NotAllowed, .. })), "{ended:?}");
}

trait CloseWhenEnded {
    async fn close_when_ended(self) -> Result<(), Error>;
}

impl CloseWhenEnded for Client {
    async fn close_when_ended(self) -> Result<(), Error> {
        until_status(&self, |status| matches!(status, Status::Ended(_))).await;
        self.close().await
    }
}

#[tokio::test]
async fn without_reconnect_the_first_loss_is_the_end() {
    let server = serve(server_config()).await;
    let proxy = Proxy::to(server.address()).await;
    let mut config = client_config("a");
    config.reconnect = false;
    let a = Client::from_config(config).connect(&proxy.address.to_string()).await.unwrap();
    let _up = server.create_channel("test").unwrap();
    let mut channel = a.create_channel("test").await.unwrap();
    proxy.cut();
    assert!(within(channel.listen()).await.is_none(), "the listener ends");
    assert!(within(channel.send("x")).await.is_err());
    assert!(within(a.close()).await.is_err());
    assert_eq!(proxy.connections(), 1);
}

#[tokio::test]
async fn a_request_under_way_has_an_unknown_outcome_and_is_never_sent_twice() {
    let server = serve(server_config()).await;
    let mut up = server.create_channel("test").unwrap();
    let proxy = Proxy::to(server.address()).await;
    let a = common::client("a").connect(&proxy.address.to_string()).await.unwrap();
    let channel = Arc::new(a.create_channel("test").await.unwrap());
    let asking = channel.clone();
    let asked = tokio::spawn(async move { asking.request("launch").await });
    let mut launch = within(up.listen()).await.unwrap();
    proxy.cut();
    let outcome = within(asked).await.unwrap();
    assert!(matches!(outcome, Err(Error::OutcomeUnknown { .. })), "{outcome:?}");
    until_status(&a, connected).await;
    // A late reply finds nobody, not even a request that came after it.
    let asking = channel.clone();
    let next = tokio::spawn(async move { asking.request("next").await });
    let mut second = within(up.listen()).await.unwrap();
    assert_eq!(second.text().unwrap(), "next", "the first request was not sent again");
    let _ = launch.reply("launched").await;
    second.reply("the next one").await.unwrap();
    let reply = within(next).await.unwrap().unwrap();
    assert_eq!(reply.text().unwrap(), "the next one");
    // Asked while nobody is there: it is not kept back to surprise the server later.
    proxy.lead_to("127.0.0.1:1".parse().unwrap());
    proxy.cut();
    until_status(&a, reconnecting).await;
    let soon = Duration::from_millis(100);
    for nobody in [pysock_std::Target::from(reply.sender()), "b".into()] {
        let never = within(channel.request_within(soon, nobody, "forgotten")).await;
        assert!(matches!(never, Err(Error::NoReply { .. })), "{never:?}");
    }
    proxy.lead_to(server.address());
    until_status(&a, connected).await;
    channel.send("last").await.unwrap();
    assert_eq!(within(up.listen()).await.unwrap().text().unwrap(), "last");
}

#[tokio::test]
async fn a_late_reply_never_answers_a_request_of_the_next_run() {
    let server = serve(server_config()).await;
    let _up = server.create_channel("test").unwrap();
    let responder = connect("responder", &server).await;
    let mut answers = responder.create_channel("test").await.unwrap();
    let config = client_config("asker");
    let first = connect_with(config.clone(), &server).await.unwrap();
    let channel = first.create_channel("test").await.unwrap();
    let asked = tokio::spawn(async move { channel.request_from("responder", "old").await });
    let mut old = within(answers.listen()).await.unwrap();
    asked.abort();
    within(first.close()).await.unwrap();
    // The same program starts again: the same key, and its counters at the beginning.
    let second = connect_with(config, &server).await.unwrap();
    let channel = second.create_channel("test").await.unwrap();
    let asked = tokio::spawn(async move { channel.request_from("responder", "new").await });
    let mut new = within(answers.listen()).await.unwrap();
    assert_eq!(new.text().unwrap(), "new");
    old.reply("to the old question").await.unwrap();
    new.reply("to the new question").await.unwrap();
    let reply = within(asked).await.unwrap().unwrap();
    assert_eq!(reply.text().unwrap(), "to the new question");
}
