//! Clients talk end to end over real sockets, through a server that passes on what it cannot read.

mod common;

use std::time::Duration;

use common::{
    client_config, connect, connect_at, connect_with, proxy::Proxy, serve, server_config,
    two_clients, until_connected, within,
};
use pysock_std::{
    Client, Data, Error,
    client::{PeerListener, PeerNews},
    config::Trust,
    proto::Failure,
};

async fn text(listener: &mut PeerListener) -> (String, String) {
    let message = within(listener.listen()).await.unwrap();
    assert!(message.sender().is_proven());
    (message.sender().to_string(), message.text().unwrap().to_owned())
}

#[tokio::test]
async fn two_clients_shake_hands_and_talk() {
    let (_server, shikhar, swat) = two_clients("shikhar", "swat").await;
    let mut heard = swat.listen_peers().unwrap();
    let mut answers = shikhar.listen_peers().unwrap();
    let peer = within(shikhar.handshake("swat")).await.unwrap();
    assert_eq!(peer.key, swat.public_key());
    within(shikhar.send_to_client("swat", "Hello, swat!")).await.unwrap();
    assert_eq!(text(&mut heard).await, ("shikhar".into(), "Hello, swat!".into()));
    within(swat.send_to_client("shikhar", "Hello, shikhar!")).await.unwrap();
    assert_eq!(text(&mut answers).await, ("swat".into(), "Hello, shikhar!".into()));
    assert_eq!(shikhar.peers()[0].name.as_str(), "swat");
    within(shikhar.close()).await.unwrap();
    loop {
        match within(heard.next()).await.unwrap() {
            PeerNews::Closed { peer, .. } => break assert_eq!(peer.name.as_str(), "shikhar"),
            news => assert!(!matches!(news, PeerNews::Lost { .. }), "{news:?}"),
        }
    }
}

#[tokio::test]
async fn requests_typed_values_and_failures_work_end_to_end() {
    let (_server, asker, adder) = two_clients("asker", "adder").await;
    let nobody_listens = within(asker.request_client("adder", "?")).await;
    let failure = Failure::NoResponder;
    assert!(
        matches!(&nobody_listens, Err(Error::Failed { failure: f, .. }) if *f == failure),
        "{nobody_listens:?}"
    );
    let mut requests = adder.listen_peers().unwrap();
    let serving = tokio::spawn(async move {
        let mut message = requests.listen().await.unwrap();
        let (a, b): (u32, u32) = message.value().unwrap();
        message.reply(Data::value(&(a + b)).unwrap()).await.unwrap();
        requests
    });
    let sum =
        within(asker.request_client("adder", Data::value(&(20u32, 22u32)).unwrap())).await.unwrap();
    assert_eq!(sum.value::<u32>().unwrap(), 42);
    drop(within(serving).await.unwrap());
    let nobody = within(asker.handshake("nobody")).await;
    assert!(matches!(nobody, Err(Error::Failed { failure: Failure::NoPeer, .. })), "{nobody:?}");
    assert!(matches!(within(asker.handshake("asker")).await, Err(Error::Peer { .. })));
}

#[tokio::test]
async fn large_messages_arrive_whole_and_in_order_with_small_ones() {
    let (_server, a, b) = two_clients("a", "b").await;
    let mut heard = b.listen_peers().unwrap();
    let large: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    within(a.send_to_client("b", "before")).await.unwrap();
    within(a.send_to_client("b", large.clone())).await.unwrap();
    within(a.send_to_client("b", "behind")).await.unwrap();
    assert_eq!(text(&mut heard).await.1, "before");
    let message = within(heard.listen()).await.unwrap();
    assert!(message.data()[..] == large[..]);
    // It holds its share of the queue until it is dropped.
    drop(message);
    assert_eq!(text(&mut heard).await.1, "behind");
}

#[tokio::test]
async fn a_stream_is_handed_on_while_it_arrives() {
    let (_server, a, b) = two_clients("a", "b").await;
    let mut heard = b.listen_peer_prefixes().unwrap();
    let mut writer = within(a.stream_to_client("b", None)).await.unwrap();
    writer.write("first").await.unwrap();
    let mut message = within(heard.listen()).await.unwrap();
    assert_eq!(within(message.chunk()).await.unwrap().unwrap(), "first");
    writer.write("second").await.unwrap();
    assert_eq!(within(message.chunk()).await.unwrap().unwrap(), "second");
    within(writer.finish()).await.unwrap();
    assert_eq!(within(message.chunk()).await.unwrap(), None);
}

#[tokio::test]
async fn a_stream_that_its_writer_gives_up_is_never_complete() {
    let (_server, a, b) = two_clients("a", "b").await;
    let mut heard = b.listen_peer_prefixes().unwrap();
    for declared in [None, Some(1_000)] {
        let mut writer = within(a.stream_to_client("b", declared)).await.unwrap();
        writer.write("begun").await.unwrap();
        let mut message = within(heard.listen()).await.unwrap();
        assert_eq!(within(message.chunk()).await.unwrap().unwrap(), "begun");
        drop(writer);
        let error = within(message.chunk()).await.unwrap_err();
        assert!(matches!(error, Error::Failed { failure: Failure::Cancelled, .. }), "{error}");
    }
    within(a.send_to_client("b", "goes on")).await.unwrap();
    let mut message = within(heard.listen()).await.unwrap();
    assert_eq!(within(message.chunk()).await.unwrap().unwrap(), "goes on");
}

#[tokio::test]
async fn a_reader_that_wants_no_more_stops_the_writer_and_the_session_goes_on() {
    let (_server, a, b) = two_clients("a", "b").await;
    let mut heard = b.listen_peer_prefixes().unwrap();
    let mut writer = within(a.stream_to_client("b", None)).await.unwrap();
    writer.write("begun").await.unwrap();
    drop(within(heard.listen()).await.unwrap());
    // More than is under way at a time, so that it has to hear of it.
    let flood = async {
        for _ in 0..1_000 {
            writer.write(vec![7; 1 << 16]).await?;
        }
        writer.finish().await
    };
    let error = within(flood).await.unwrap_err();
    assert!(matches!(error, Error::Failed { failure: Failure::Cancelled, .. }), "{error}");
    within(a.send_to_client("b", "goes on")).await.unwrap();
    let mut message = within(heard.listen()).await.unwrap();
    assert_eq!(within(message.chunk()).await.unwrap().unwrap(), "goes on");
}

#[tokio::test]
async fn sessions_go_on_when_connections_break() {
    let server = serve(server_config()).await;
    let proxy = Proxy::to(server.address()).await;
    let a = connect("a", &server).await;
    let b = connect_at("b", proxy.address).await;
    let (mut a_heard, mut b_heard) = (a.listen_peers().unwrap(), b.listen_peers().unwrap());
    within(a.send_to_client("b", "1")).await.unwrap();
    assert_eq!(text(&mut b_heard).await.1, "1");
    for n in 2..5 {
        let mut status = b.status();
        proxy.cut();
        within(status.changed()).await.unwrap();
        within(b.send_to_client("a", n.to_string().as_str())).await.unwrap();
        assert_eq!(text(&mut a_heard).await.1, n.to_string());
        within(a.send_to_client("b", "again")).await.unwrap();
        assert_eq!(text(&mut b_heard).await.1, "again");
    }
}

#[tokio::test]
async fn sessions_go_on_when_the_server_is_another_process() {
    let config = server_config();
    let server = serve(config.clone()).await;
    let proxy = Proxy::to(server.address()).await;
    let a = connect_at("a", proxy.address).await;
    let b = connect_at("b", proxy.address).await;
    let mut heard = b.listen_peers().unwrap();
    within(a.send_to_client("b", "1")).await.unwrap();
    assert_eq!(text(&mut heard).await.1, "1");
    drop(server);
    let server = serve(config).await;
    proxy.lead_to(server.address());
    proxy.cut();
    until_connected(&server, 2).await;
    within(a.send_to_client("b", "2")).await.unwrap();
    let mut fresh = None;
    loop {
        match within(heard.next()).await.unwrap() {
            PeerNews::Opened { fresh: new, .. } => fresh = Some(new),
            PeerNews::Message(message) => break assert_eq!(message.text().unwrap(), "2"),
            news => panic!("{news:?}"),
        }
    }
    assert_eq!(fresh, Some(false), "neither has forgotten the other");
}

#[tokio::test]
async fn a_pinned_key_that_has_changed_is_refused_with_both_fingerprints() {
    let mut config = server_config();
    config.names = pysock_std::config::NamePolicy::Open;
    let server = serve(config).await;
    let a = connect("a", &server).await;
    let b = connect("b", &server).await;
    let old = b.public_key();
    within(a.handshake("b")).await.unwrap();
    within(b.close()).await.unwrap();
    until_connected(&server, 1).await;
    let b = connect("b", &server).await;
    let changed = within(a.send_to_client("b", "secret")).await;
    let Err(Error::PeerKeyChanged { expected, offered, .. }) = &changed else {
        panic!("{changed:?}")
    };
    assert_eq!((**expected, **offered), (old, b.public_key()));
    // The other way round it is turned away just so.
    let mut news = a.listen_peers().unwrap();
    let refused = within(b.handshake("a")).await;
    assert!(matches!(refused, Err(Error::Peer { .. })), "{refused:?}");
    let turned_away = within(news.next()).await.unwrap();
    let PeerNews::TurnedAway { why, .. } = &turned_away else { panic!("{turned_away:?}") };
    assert!(why.contains(&old.to_string()) && why.contains(&b.public_key().to_string()), "{why}");
}

/// A client that is trusted goes under the name of another one, by the server's leave.
#[tokio::test]
async fn a_trusted_client_under_anothers_name_is_not_that_other() {
    let mut config = server_config();
    config.names = pysock_std::config::NamePolicy::Open;
    let server = serve(config.clone()).await;
    let proxy = Proxy::to(server.address()).await;
    let a = connect_at("a", proxy.address).await;
    let mut news = a.listen_peers().unwrap();
    let b = connect("b", &server).await;
    let cs_config = client_config("c");
    let c = connect_with(cs_config.clone(), &server).await.unwrap();
    within(a.handshake("b")).await.unwrap();
    within(a.handshake("c")).await.unwrap();
    // Neither says goodbye: both sessions go on, as far as `a` knows.
    drop(server);
    let server = serve(config).await;
    let mut disguised = cs_config;
    disguised.name = Some("b".parse().unwrap());
    let disguised = connect_with(disguised, &server).await.unwrap();
    assert_eq!(disguised.public_key(), c.public_key());
    proxy.lead_to(server.address());
    proxy.cut();
    until_connected(&server, 2).await;

    // Several attempts: handshakes of both sides may meet.
    for _ in 0..5 {
        let let_in = within(disguised.send_to_client("a", "I am b")).await;
        assert!(matches!(let_in, Err(Error::Peer { .. })), "{let_in:?}");
    }
    let sent = within(a.send_to_client("b", "secret")).await;
    let Err(Error::PeerKeyChanged { expected, offered, .. }) = &sent else { panic!("{sent:?}") };
    assert_eq!((**expected, **offered), (b.public_key(), c.public_key()));
    while let Ok(Some(news)) = tokio::time::timeout(Duration::from_millis(1), news.next()).await {
        assert!(!matches!(news, PeerNews::Message(_)), "{news:?}");
    }
}

#[tokio::test]
async fn policies_decide_about_new_keys() {
    let server = serve(server_config()).await;
    let address = server.address().to_string();
    let mut strict = client_config("strict");
    strict.peers = Trust::Pin;
    let strict = connect_with(strict, &server).await.unwrap();
    let open = connect("open", &server).await;
    let refused = within(strict.handshake("open")).await;
    assert!(matches!(refused, Err(Error::UnknownPeer { .. })), "{refused:?}");
    let refused = within(open.handshake("strict")).await;
    assert!(matches!(refused, Err(Error::Peer { .. })), "{refused:?}");

    let mut asking = client_config("asking");
    asking.peers = Trust::Ask;
    let (said, asked) = std::sync::mpsc::channel();
    let asking = Client::from_config(asking).ask_peer(move |name, key| {
        said.send((name.to_string(), *key)).unwrap();
        name.as_str() == "open"
    });
    let asking = within(asking.connect(&address)).await.unwrap();
    within(open.handshake("asking")).await.unwrap();
    assert_eq!(asked.recv().unwrap(), ("open".into(), open.public_key()));
    let other = connect("other", &server).await;
    let refused = within(asking.handshake("other")).await;
    assert!(matches!(refused, Err(Error::UnknownPeer { .. })), "{refused:?}");
    assert_eq!(asked.recv().unwrap(), ("other".into(), other.public_key()));
}

#[tokio::test]
async fn a_request_does_not_wait_longer_than_it_says_for_a_person_on_the_other_side() {
    let server = serve(server_config()).await;
    let mut asking = client_config("asking");
    asking.peers = Trust::Ask;
    let (decide, decision) = std::sync::mpsc::channel();
    let decision = std::sync::Mutex::new(decision);
    let asking = Client::from_config(asking)
        .ask_peer(move |_, _| decision.lock().unwrap().recv().unwrap_or(false));
    let _asking = within(asking.connect(&server.address().to_string())).await.unwrap();
    let a = connect("a", &server).await;
    let time = Duration::from_millis(300);
    let asked = within(a.request_client_within(time, "asking", "are you there?")).await;
    assert!(matches!(&asked, Err(Error::NoReply { timeout, .. }) if *timeout == time), "{asked:?}");
    // The session is made all the same once the person has decided, and was not asked for in vain.
    decide.send(true).unwrap();
    within(a.handshake("asking")).await.unwrap();
}

#[tokio::test]
async fn what_a_client_that_is_gone_has_missed_is_known() {
    let (_server, a, b) = two_clients("a", "b").await;
    let mut news = a.listen_peers().unwrap();
    let heard = b.listen_peers().unwrap();
    within(a.handshake("b")).await.unwrap();
    drop(heard);
    within(b.close()).await.unwrap();
    loop {
        match within(news.next()).await.unwrap() {
            PeerNews::Closed { .. } => break,
            PeerNews::Opened { .. } => {}
            news => panic!("{news:?}"),
        }
    }
    let gone = tokio::time::timeout(Duration::from_secs(20), a.send_to_client("b", "?")).await;
    assert!(matches!(gone, Ok(Err(Error::Failed { .. }))), "{gone:?}");
}

#[tokio::test]
async fn a_pinned_key_is_reached_by_the_label_it_has_here() {
    let server = serve(server_config()).await;
    let folder = tempfile::tempdir().unwrap();
    let mut config = client_config("a");
    config.state = Some(folder.path().join("a.state"));
    config.peers = Trust::Pin;
    let (a, b) =
        (connect_with(config.clone(), &server).await.unwrap(), connect("b", &server).await);
    let file = pysock_std::state::StateFile::open(config.state.unwrap()).unwrap();
    let label = "cellar".parse().unwrap();
    file.update(|state| state.pin_peer(label, b.public_key())).unwrap().unwrap();
    let mut heard = b.listen_peers().unwrap();
    within(a.send_to_client("cellar", "still damp?")).await.unwrap();
    assert_eq!(text(&mut heard).await, ("a".into(), "still damp?".into()));
}
