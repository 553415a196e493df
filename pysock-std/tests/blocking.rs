//! The verbs without async, over real sockets.

mod common;

use std::{
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use common::{WHERE, client_config, server_config};
use pysock_std::{
    Data, Error,
    blocking::{Client, Messages, PeerNews, Server, ServerChannel, TimedOut},
    client::{self, Status},
    config::Trust,
    proto::Failure,
};

fn serve() -> Server {
    Server::from_config(server_config()).bind(WHERE).unwrap()
}

fn connect(name: &str, server: &Server) -> Client {
    let address = server.address().to_string();
    Client::from_config(client_config(name)).connect(&address).unwrap()
}

/// Answers everything on a channel, in a thread of its own.
fn echo(mut channel: ServerChannel) {
    thread::spawn(move || {
        channel.listen_with(|mut message| {
            let data = message.data().clone();
            message.reply(data).unwrap();
        });
    });
}

#[test]
fn the_seeds_dialogue() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::from_yaml(folder.path().join("server.yaml")).unwrap();
    let server = server.bind(WHERE).unwrap();
    let mut test = server.create_channel("test").unwrap();
    let client = Client::from_yaml(folder.path().join("client.yaml")).unwrap();
    let client = client.name("shikhar").unwrap().timeout(Duration::from_secs(10));
    let client = client.connect(&server.address().to_string()).unwrap();
    let mut heard = client.create_channel("test").unwrap();
    heard.send("Hello, World!").unwrap();
    let message = (&mut test).into_iter().next().unwrap();
    assert_eq!(message.sender().to_string(), "shikhar");
    assert_eq!(message.sender().key(), &client.public_key());
    assert_eq!(message.channel().as_str(), "test");
    assert_eq!(message.text().unwrap(), "Hello, World!");
    server.send("test", message.sender(), "Hello From Server").unwrap();
    let answer = heard.listen().unwrap();
    assert!(answer.sender().is_server());
    assert_eq!(answer.text().unwrap(), "Hello From Server");
    assert_eq!(heard.listen_timeout(Duration::from_millis(20)).unwrap_err(), TimedOut);
    assert!(matches!(client.status(), Status::Connected));
    client.close().unwrap();
    assert!(heard.listen().is_none());
    assert!(heard.listen_timeout(Duration::from_secs(9)).unwrap().is_none());
    assert_eq!(server.shutdown(), 0);
}

#[test]
fn requests_go_both_ways_and_fail_clearly() {
    let server = serve();
    echo(server.create_channel("sums").unwrap());
    let (a, b) = (connect("a", &server), connect("b", &server));
    let ask = a.create_channel("sums").unwrap();
    let mut answer = b.create_channel("sums").unwrap();
    assert_eq!(ask.request("2 + 3").unwrap().text().unwrap(), "2 + 3");
    assert_eq!(a.request("sums", "by name").unwrap().text().unwrap(), "by name");
    let answering = thread::spawn(move || {
        for reply in ["to a", "to the server"] {
            answer.listen().unwrap().reply(reply).unwrap();
        }
        let mut message = answer.listen().unwrap();
        assert!(matches!(message.reply("nobody asked"), Err(Error::NoRequest)));
        answer
    });
    assert_eq!(ask.request_from("b", "?").unwrap().text().unwrap(), "to a");
    assert_eq!(server.request("sums", "b", "?").unwrap().text().unwrap(), "to the server");
    ask.send_to("b", "no request").unwrap();
    let mut answer = answering.join().unwrap();
    let late = ask.request_within(Duration::from_millis(50), "b", "?");
    assert!(matches!(late, Err(Error::NoReply { .. })), "{late:?}");
    let nobody = ask.request_from("nobody", "?");
    assert!(matches!(nobody, Err(Error::Failed { failure: Failure::NoPeer, .. })), "{nobody:?}");
    assert_eq!(a.clients().unwrap().len(), 2);
    assert_eq!(a.find("b").unwrap().unwrap().key, b.public_key());
    server.kick("b").unwrap();
    assert_eq!((&mut answer).into_iter().count(), 1, "the request that came late, then the end");
    assert!(matches!(b.status(), Status::Ended(_)));
    assert!(matches!(b.close(), Err(Error::Closed(_))));
    a.close().unwrap();
    server.shutdown();
}

#[test]
fn two_clients_talk_end_to_end() {
    let server = serve();
    let (a, b) = (connect("a", &server), connect("b", &server));
    let mut heard = b.listen_peers().unwrap();
    assert!(matches!(b.listen_peers(), Err(Error::ChannelExists(_))));
    assert_eq!(a.handshake("b").unwrap().key, b.public_key());
    assert_eq!(a.peers().len(), 1);
    let news = heard.next_news().unwrap();
    assert!(matches!(news, PeerNews::Session(client::PeerNews::Opened { .. })), "{news:?}");
    a.send_to_client("b", "Hello, b!").unwrap();
    let message = heard.listen().unwrap();
    assert_eq!((message.text().unwrap(), message.sender().key()), ("Hello, b!", &a.public_key()));
    assert!(message.sender().is_proven());
    let answering = thread::spawn(move || {
        for mut question in (&mut heard).into_iter().take(2) {
            let sum: u32 = question.value::<(u32, u32)>().map(|(a, b)| a + b).unwrap();
            question.reply(Data::value(&sum).unwrap()).unwrap();
        }
        heard
    });
    for n in 0..2u32 {
        let reply = a.request_client("b", Data::value(&(n, 40u32)).unwrap()).unwrap();
        assert_eq!(reply.value::<u32>().unwrap(), 40 + n);
    }
    let mut heard = answering.join().unwrap();
    a.send_to_client("b", "bye").unwrap();
    let news = heard.next_news().unwrap();
    assert!(matches!(&news, PeerNews::Message(bye) if bye.text().unwrap() == "bye"), "{news:?}");
    assert_eq!(heard.listen_timeout(Duration::from_millis(20)).unwrap_err(), TimedOut);
    let nobody = a.send_to_client("nobody", "?");
    assert!(matches!(nobody, Err(Error::Failed { failure: Failure::NoPeer, .. })), "{nobody:?}");
    a.close().unwrap();
    let news = heard.next_news().unwrap();
    assert!(matches!(news, PeerNews::Session(client::PeerNews::Closed { .. })), "{news:?}");
    b.close().unwrap();
    assert_eq!((&mut heard).into_iter().count(), 0);
}

#[test]
fn a_program_is_asked_about_other_clients() {
    let server = serve();
    let a = connect("a", &server);
    let mut config = client_config("b");
    config.peers = Trust::Ask;
    let (said, asked) = mpsc::channel();
    let b = Client::from_config(config).ask_peer(move |name, key| {
        said.send((*name, *key)).unwrap();
        false
    });
    let b = b.connect(&server.address().to_string()).unwrap();
    let refused = b.handshake("a");
    assert!(matches!(refused, Err(Error::UnknownPeer { .. })), "{refused:?}");
    assert_eq!(asked.recv().unwrap(), (*a.name(), a.public_key()));
}

#[test]
fn threads_share_a_client_and_wait_for_themselves_only() {
    let server = serve();
    echo(server.create_channel("work").unwrap());
    let client = Arc::new(connect("busy", &server));
    let mut channel = client.create_channel("work").unwrap();
    // One thread listens to what never comes, while others ask.
    let (done, is_done) = mpsc::channel();
    let waiting = thread::spawn(move || {
        let heard = channel.listen();
        done.send(()).unwrap();
        heard.is_none()
    });
    let asking: Vec<_> = (0..4)
        .map(|thread| {
            let client = client.clone();
            thread::spawn(move || {
                for n in 0..50 {
                    let text = format!("{thread}.{n}");
                    let reply = client.request("work", &text).unwrap();
                    assert_eq!(reply.text().unwrap(), text);
                }
            })
        })
        .collect();
    for thread in asking {
        thread.join().unwrap();
    }
    assert!(is_done.try_recv().is_err());
    Arc::into_inner(client).unwrap().close().unwrap();
    assert!(waiting.join().unwrap());
    server.shutdown();
}

#[test]
fn publishing_reaches_every_other_client() {
    let server = serve();
    let _chat = server.create_channel("chat").unwrap();
    let clients = ["a", "b", "c"].map(|name| connect(name, &server));
    let mut channels = clients.each_ref().map(|client| client.create_channel("chat").unwrap());
    clients[0].publish("chat", "from a").unwrap();
    for channel in &mut channels[1..] {
        assert_eq!(channel.listen().unwrap().text().unwrap(), "from a");
    }
    assert_eq!(server.publish("chat", "from the server").unwrap(), 3);
    for channel in &mut channels {
        assert_eq!(channel.listen().unwrap().text().unwrap(), "from the server");
    }
}

#[test]
fn many_at_once_arrive_in_order_wherever_they_go() {
    let server = serve();
    let mut up = server.create_channel("many").unwrap();
    let (a, b) = (connect("a", &server), connect("b", &server));
    let mut a_many = a.create_channel("many").unwrap();
    let mut b_many = b.create_channel("many").unwrap();
    let mut b_peers = b.listen_peers().unwrap();
    let sent: Vec<Vec<u8>> =
        (0..1_000u32).map(|n| n.to_le_bytes().repeat(1 + n as usize % 50)).collect();
    // In a thread of its own, as a sender waits while the queue of a slow listener is full.
    let arrive =
        |way: &str, send: &(dyn Fn() + Sync), listen: &mut dyn FnMut() -> Option<Messages>| {
            thread::scope(|scope| {
                scope.spawn(send);
                let mut got: Vec<Vec<u8>> = vec![];
                while got.len() < sent.len() {
                    let messages = listen().unwrap();
                    assert_eq!(messages.len(), messages.iter().len());
                    got.extend(messages.iter().map(<[u8]>::to_vec));
                }
                assert!(got == sent, "{way}");
            });
        };
    let send = || a_many.send_many(&sent).unwrap();
    arrive("client to server", &send, &mut || up.listen_many());
    let send = || a_many.send_many_to("b", &sent).unwrap();
    arrive("client to client", &send, &mut || b_many.listen_many());
    let send = || a_many.publish_many(&sent).unwrap();
    arrive("client to all", &send, &mut || b_many.listen_many());
    let send = || a.send_many_to_client("b", &sent).unwrap();
    arrive("end to end", &send, &mut || b_peers.listen_many());
    let send = || up.send_many("a", &sent).unwrap();
    arrive("server to client", &send, &mut || a_many.listen_many());
    let send = || assert_eq!(up.publish_many(&sent).unwrap(), 2);
    arrive("server to all", &send, &mut || b_many.listen_many());
    let nobody = a_many.send_many_to("nobody", &sent);
    assert!(matches!(nobody, Err(Error::Failed { failure: Failure::NoPeer, .. })), "{nobody:?}");
}

#[test]
fn a_request_among_many_can_be_answered() {
    let server = serve();
    let mut up = server.create_channel("many").unwrap();
    let client = connect("a", &server);
    let channel = client.create_channel("many").unwrap();
    let answering = thread::spawn(move || {
        let mut asked = up.listen_many().unwrap();
        assert!(asked.is_request());
        assert_eq!(asked.sender().to_string(), "a");
        asked.next().unwrap().reply("that").unwrap();
        assert!(asked.next().is_none());
        up
    });
    assert_eq!(channel.request("what?").unwrap().text().unwrap(), "that");
    let mut up = answering.join().unwrap();
    channel.send_many(["one", "two"]).unwrap();
    let mut both = up.listen_many().unwrap();
    assert_eq!((both.len(), both.next().unwrap().text().unwrap()), (2, "one"));
    client.close().unwrap();
    server.shutdown();
    assert_eq!(both.next().unwrap().text().unwrap(), "two");
    assert!(up.listen_many().is_none());
}

#[test]
fn what_a_dropped_client_has_sent_still_arrives() {
    let server = serve();
    let mut test = server.create_channel("test").unwrap();
    let client = connect("brief", &server);
    let channel = client.create_channel("test").unwrap();
    let sent = 200;
    for _ in 0..sent {
        channel.send("Hello, World!").unwrap();
    }
    drop((channel, client));
    for _ in 0..sent {
        test.listen_timeout(Duration::from_secs(5)).unwrap().unwrap();
    }
}

#[test]
fn mistakes_are_errors_and_no_panics() {
    let server = serve();
    let _test = server.create_channel("test").unwrap();
    assert!(matches!(server.create_channel("test"), Err(Error::ChannelExists(_))));
    assert!(matches!(server.send("test", "nobody", "?"), Err(Error::Failed { .. })));
    let client = connect("a", &server);
    assert!(matches!(client.create_channel("none"), Err(Error::NoChannel(_))));
    assert!(matches!(client.send("none", "?"), Err(Error::NoChannel(_))));
    let address = server.address();
    let taken = Server::from_config(server_config()).bind(address);
    assert!(matches!(taken, Err(Error::Bind { .. })), "{taken:?}");
    server.shutdown();
    let began = Instant::now();
    let nobody = Client::from_config(client_config("b")).timeout(Duration::from_secs(1));
    let nobody = nobody.connect(&address.to_string());
    assert!(matches!(nobody, Err(Error::Connect { .. })), "{nobody:?}");
    assert!(began.elapsed() < Duration::from_secs(5));
}

/// In a task, tokio counts what is done and makes it wait: a call that blocks would then wait for ever.
#[tokio::test]
async fn calls_from_inside_a_runtime_work() {
    let server = serve();
    let mut test = server.create_channel("test").unwrap();
    let client = connect("inside", &server);
    let mut channel = client.create_channel("test").unwrap();
    for _ in 0..500 {
        channel.send("Hello, World!").unwrap();
    }
    for message in (&mut test).into_iter().take(500) {
        server.send("test", message.sender(), "Hello From Server").unwrap();
    }
    for _ in 0..500 {
        channel.listen().unwrap();
    }
    let _ = tokio::task::spawn_blocking(move || client.close().unwrap()).await;
    assert_eq!(server.shutdown(), 0);
}
