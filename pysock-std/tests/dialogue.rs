//! The seed's dialogue, and everything a client can send, over real sockets.

mod common;

use common::{connect, serve, server_config};
use pysock_std::{Data, Error, proto::Failure};

#[tokio::test]
async fn the_seeds_dialogue() {
    let server = serve(server_config()).await;
    let mut test = server.create_channel("test").unwrap();
    let client = connect("shikhar", &server).await;
    let mut heard = client.create_channel("test").await.unwrap();
    heard.send("Hello, World!").await.unwrap();
    let message = test.listen().await.unwrap();
    assert_eq!(message.sender().to_string(), "shikhar");
    assert_eq!(message.sender().key(), &client.public_key());
    assert_eq!(message.channel().as_str(), "test");
    assert_eq!(message.text().unwrap(), "Hello, World!");
    server.send("test", message.sender(), "Hello From Server").await.unwrap();
    let answer = heard.listen().await.unwrap();
    assert!(answer.sender().is_server());
    assert_eq!(answer.sender().key(), &server.public_key());
    assert_eq!(answer.text().unwrap(), "Hello From Server");
    client.close().await.unwrap();
    assert_eq!(server.shutdown().await, 0);
}

#[tokio::test]
async fn clients_reach_each_other_by_name_and_by_key_and_all_at_once() {
    let server = serve(server_config()).await;
    let _chat = server.create_channel("chat").unwrap();
    let (a, b, c) =
        (connect("a", &server).await, connect("b", &server).await, connect("c", &server).await);
    let a_chat = a.create_channel("chat").await.unwrap();
    let mut b_chat = b.create_channel("chat").await.unwrap();
    let mut c_chat = c.create_channel("chat").await.unwrap();
    a_chat.send_to("b", "by name").await.unwrap();
    a_chat.send_to(c.public_key(), "by key").await.unwrap();
    a_chat.publish("to all").await.unwrap();
    for (chat, direct) in [(&mut b_chat, "by name"), (&mut c_chat, "by key")] {
        for text in [direct, "to all"] {
            let message = chat.listen().await.unwrap();
            assert_eq!(message.text().unwrap(), text);
            assert_eq!(message.sender().key(), &a.public_key());
            assert_eq!(message.sender().name().unwrap().as_str(), "a");
        }
    }
    let nobody = a_chat.send_to("nobody", "?").await;
    assert!(matches!(nobody, Err(Error::Failed { failure: Failure::NoPeer, .. })), "{nobody:?}");
    let names: Vec<_> = a.clients().await.unwrap().iter().map(|c| c.name.to_string()).collect();
    assert_eq!(names, ["a", "b", "c"]);
}

#[tokio::test]
async fn requests_get_one_reply_from_whom_they_asked() {
    let server = serve(server_config()).await;
    let mut sums = server.create_channel("sums").unwrap();
    let (asker, adder) = (connect("asker", &server).await, connect("adder", &server).await);
    let ask = asker.create_channel("sums").await.unwrap();
    let mut add = adder.create_channel("sums").await.unwrap();
    let serving = tokio::spawn(async move {
        let mut message = sums.listen().await.unwrap();
        let (a, b): (u32, u32) = message.value().unwrap();
        message.reply(Data::value(&(a + b)).unwrap()).await.unwrap();
        assert!(matches!(message.reply("again").await, Err(Error::NoRequest)));
        // The next one is dropped without an answer.
        drop(sums.listen().await.unwrap());
        sums
    });
    let reply = ask.request(Data::value(&(2u32, 3u32)).unwrap()).await.unwrap();
    assert_eq!(reply.value::<u32>().unwrap(), 5);
    let refused = ask.request("anybody?").await;
    assert!(matches!(refused, Err(Error::Failed { failure: Failure::NoResponder, .. })));
    let _sums = serving.await.unwrap();
    let adding = tokio::spawn(async move {
        let mut message = add.listen().await.unwrap();
        assert_eq!(message.sender().to_string(), "asker");
        message.reply("from the adder").await.unwrap();
        let mut message = add.listen().await.unwrap();
        assert!(message.sender().is_server());
        message.reply("to the server").await.unwrap();
        // Leaves without an answer.
        let message = add.listen().await.unwrap();
        adder.close().await.unwrap();
        drop(message);
    });
    let reply = ask.request_from("adder", "you?").await.unwrap();
    assert_eq!(reply.text().unwrap(), "from the adder");
    assert_eq!(reply.sender().to_string(), "adder");
    let reply = server.request("sums", "adder", "and you?").await.unwrap();
    assert_eq!(reply.text().unwrap(), "to the server");
    let gone = ask.request_from("adder", "still there?").await;
    assert!(matches!(gone, Err(Error::OutcomeUnknown { .. })), "{gone:?}");
    adding.await.unwrap();
}

#[tokio::test]
async fn large_messages_arrive_whole_everywhere() {
    let server = serve(server_config()).await;
    let mut up = server.create_channel("big").unwrap();
    let (a, b) = (connect("a", &server).await, connect("b", &server).await);
    let mut a_big = a.create_channel("big").await.unwrap();
    let mut b_big = b.create_channel("big").await.unwrap();
    let big: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    a_big.send(big.clone()).await.unwrap();
    a_big.send("after").await.unwrap();
    assert_eq!(up.listen().await.unwrap().data(), &big);
    assert_eq!(up.listen().await.unwrap().text().unwrap(), "after", "order holds");
    a_big.send_to("b", big.clone()).await.unwrap();
    assert_eq!(b_big.listen().await.unwrap().data(), &big);
    server.send("big", "a", big.clone()).await.unwrap();
    assert_eq!(a_big.listen().await.unwrap().data(), &big);
    b_big.publish(big.clone()).await.unwrap();
    assert_eq!(a_big.listen().await.unwrap().data(), &big);
}

#[tokio::test]
async fn listening_ends_with_the_server_behind_everything_that_arrived() {
    let server = serve(server_config()).await;
    let mut test = server.create_channel("test").unwrap();
    let client = connect("a", &server).await;
    let channel = client.create_channel("test").await.unwrap();
    channel.send("before").await.unwrap();
    client.close().await.unwrap();
    assert_eq!(server.shutdown().await, 0);
    assert_eq!(test.listen().await.unwrap().text().unwrap(), "before");
    assert!(test.listen().await.is_none());
    let server = serve(server_config()).await;
    let mut test = server.create_channel("test").unwrap();
    drop(server);
    assert!(test.listen().await.is_none());
}
