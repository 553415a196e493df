//! Holes 3, 4, 9 and 15 of the seed: keys replaced by one packet, sender names believed, universal passwords, sockets
//! chosen by a claim. Here a session's own key says who it is, and nothing that it sends.

mod common;

use std::sync::Arc;

use common::{
    client_config, connect, connect_with,
    raw::{Heard, Raw, random_secret},
    serve, server_config, until_connected, until_status, within,
};
use pysock_std::{
    Client, Error,
    client::Status,
    config::NamePolicy,
    proto::{
        ChannelId, CloseReason, Envelope, Failure, Kind, Limits, Party, PeerId, Psk, Refusal,
        RequestId,
    },
};

fn refused<T>(result: Result<T, Error>) -> Refusal {
    match result {
        Err(Error::Refused { reason, .. }) => reason,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was let in"),
    }
}

#[tokio::test]
async fn nobody_takes_a_name_that_has_an_owner() {
    for (policy, why) in
        [(NamePolicy::ClaimOnce, Refusal::NameTaken), (NamePolicy::Open, Refusal::NameInUse)]
    {
        let mut config = server_config();
        config.names = policy;
        let server = serve(config).await;
        let mut up = server.create_channel("test").unwrap();
        let owner = connect("owner", &server).await;
        let channel = owner.create_channel("test").await.unwrap();
        assert_eq!(refused(connect_with(client_config("owner"), &server).await), why);
        // The owner notices nothing.
        channel.send("mine").await.unwrap();
        assert_eq!(within(up.listen()).await.unwrap().sender().key(), &owner.public_key());
        within(owner.close()).await.unwrap();
        until_connected(&server, 0).await;
        let after = connect_with(client_config("owner"), &server).await;
        match policy {
            NamePolicy::Open => assert!(after.is_ok(), "free while nobody uses it"),
            _ => assert_eq!(refused(after), Refusal::NameTaken),
        }
    }
}

#[tokio::test]
async fn a_key_has_one_name() {
    let server = serve(server_config()).await;
    let mut config = client_config("first");
    let _first = connect_with(config.clone(), &server).await.unwrap();
    config.name = Some("second".parse().unwrap());
    assert_eq!(refused(connect_with(config, &server).await), Refusal::KeyHasName);
}

#[tokio::test]
async fn of_the_same_key_the_newest_wins_and_the_older_does_not_fight_back() {
    let server = serve(server_config()).await;
    let mut up = server.create_channel("test").unwrap();
    let config = client_config("twin");
    let mut older = connect_with(config.clone(), &server).await.unwrap();
    for _ in 0..5 {
        let newer = connect_with(config.clone(), &server).await.unwrap();
        until_status(&older, |status| matches!(status, Status::Ended(_))).await;
        let told = within(older.close()).await;
        assert!(matches!(told, Err(Error::Closed(CloseReason::Replaced))), "{told:?}");
        let channel = newer.create_channel("test").await.unwrap();
        channel.send("new").await.unwrap();
        assert_eq!(within(up.listen()).await.unwrap().text().unwrap(), "new");
        until_connected(&server, 1).await;
        older = newer;
    }
}

#[tokio::test]
async fn a_dozen_at_once_under_one_key_leave_exactly_one() {
    let server = Arc::new(serve(server_config()).await);
    let config = client_config("twin");
    let mut coming = tokio::task::JoinSet::new();
    for _ in 0..12 {
        let (config, server) = (config.clone(), server.clone());
        coming.spawn(async move { connect_with(config, &server).await });
    }
    let all = within(coming.join_all()).await;
    until_connected(&server, 1).await;
    let clients: Vec<Client> = all.into_iter().filter_map(Result::ok).collect();
    within(async {
        loop {
            let ended = clients.iter().filter(|c| matches!(*c.status().borrow(), Status::Ended(_)));
            if ended.count() == clients.len() - 1 {
                return;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn whoever_lies_about_where_it_stands_is_told_and_nobody_else_hears_of_it() {
    let server = serve(server_config()).await;
    let (mut up, _closed) =
        (server.create_channel("test").unwrap(), server.create_channel("closed").unwrap());
    let b = connect("b", &server).await;
    let mut b_test = b.create_channel("test").await.unwrap();
    let mut raw = Raw::enter(server.address(), "mallory").await;
    let on = raw.open("test").await;
    let closed = raw.open("closed").await;
    let b_id = PeerId(1);
    let me = Party::Peer(raw.id);
    let request = Kind::Request(RequestId(3));
    let lies = [
        (ChannelId(9), Party::Server, Kind::Message, Failure::NoChannel),
        (ChannelId(9), Party::Peer(b_id), Kind::Message, Failure::NoChannel),
        (on, me, Kind::Message, Failure::BadDestination),
        (on, me, request, Failure::BadDestination),
        (on, Party::Everyone, request, Failure::BadDestination),
        (on, Party::Peer(PeerId(77)), Kind::Message, Failure::NoPeer),
        (closed, Party::Peer(b_id), Kind::Message, Failure::NotOnChannel),
    ];
    for (channel, party, kind, why) in lies {
        let envelope = Envelope { channel, party, kind };
        raw.say(|conn, tx| conn.send(tx, &envelope, b"lie")).await.unwrap();
        assert_eq!(raw.next_but_other().await, Heard::Failed(envelope, why));
    }
    // A reply to what nobody has asked is nobody's business.
    for party in [Party::Peer(b_id), Party::Server] {
        let envelope = Envelope { channel: on, party, kind: Kind::Reply(RequestId(0)) };
        raw.say(|conn, tx| conn.send(tx, &envelope, b"a reply")).await.unwrap();
    }
    for party in [Party::Peer(b_id), Party::Server] {
        let envelope = Envelope { channel: on, party, kind: Kind::Message };
        raw.say(|conn, tx| conn.send(tx, &envelope, b"honest")).await.unwrap();
    }
    for heard in [within(b_test.listen()).await.unwrap(), within(up.listen()).await.unwrap()] {
        assert_eq!(heard.text().unwrap(), "honest", "the first that got through");
        assert_eq!(heard.sender().key(), &raw.public_key());
        assert_eq!(heard.sender().to_string(), "mallory");
    }
}

#[tokio::test]
async fn only_the_one_who_was_asked_can_answer() {
    let server = serve(server_config()).await;
    let _up = server.create_channel("test").unwrap();
    let (a, b) = (connect("a", &server).await, connect("b", &server).await);
    let a_test = a.create_channel("test").await.unwrap();
    let mut b_test = b.create_channel("test").await.unwrap();
    let mut raw = Raw::enter(server.address(), "mallory").await;
    let on = raw.open("test").await;
    let asked = tokio::spawn(async move { a_test.request_from("b", "the code?").await });
    let mut question = within(b_test.listen()).await.unwrap();
    // Mallory does not know the number, and knowing it would not help.
    for id in (0..64).map(RequestId) {
        let kind = Kind::Reply(id);
        let envelope = Envelope { channel: on, party: Party::Peer(PeerId(1)), kind };
        raw.say(|conn, tx| conn.send(tx, &envelope, b"0000")).await.unwrap();
        raw.say(|conn, tx| {
            let envelope = Envelope { kind: Kind::Request(id), ..envelope };
            conn.send_failed(tx, &envelope, Failure::NoResponder)
        })
        .await
        .unwrap();
    }
    let envelope = Envelope { channel: on, party: Party::Peer(PeerId(2)), kind: Kind::Message };
    raw.say(|conn, tx| conn.send(tx, &envelope, b"done")).await.unwrap();
    assert_eq!(within(b_test.listen()).await.unwrap().text().unwrap(), "done");
    question.reply("1234").await.unwrap();
    let reply = within(asked).await.unwrap().unwrap();
    assert_eq!((reply.text().unwrap(), reply.sender().to_string().as_str()), ("1234", "b"));
}

#[tokio::test]
async fn the_pre_shared_key_is_no_universal_password() {
    let hint = *b"hintpsk1";
    let psk = |secret: u8| Psk::new(hint, [secret; 32]);
    let mut config = server_config();
    config.psk = Some(psk(1));
    let server = serve(config).await;
    let mut right = client_config("right");
    right.psk = Some(psk(1));
    let _in = connect_with(right, &server).await.unwrap();
    let mut wrong = client_config("wrong");
    wrong.psk = Some(psk(2));
    let unknown = Some(Psk::new(*b"hintpsk2", [1; 32]));
    let mut other = client_config("other");
    other.psk = unknown;
    let missing = client_config("missing");
    for config in [wrong, other, missing] {
        let result = connect_with(config, &server).await;
        assert!(matches!(result, Err(Error::Handshake { .. })), "{result:?}");
    }
    // And a client that has one does not talk to a server that has none.
    let open = serve(server_config()).await;
    let mut config = client_config("right");
    config.psk = Some(psk(1));
    let result = connect_with(config, &open).await;
    assert!(matches!(result, Err(Error::Handshake { .. })), "{result:?}");
    assert_eq!(server.clients().len(), 1);
}

#[tokio::test]
async fn a_handshake_cut_before_its_end_claims_no_name() {
    let server = serve(server_config()).await;
    for _ in 0..5 {
        let who = (random_secret(), "victim");
        let mut raw = Raw::dial("127.0.0.1", server.address(), who, Limits::DESKTOP, None).await;
        // Message 1 is out, message 2 read, message 3 never sent.
        raw.flush().await.unwrap();
        let n = within(raw.socket.readable()).await;
        n.unwrap();
    }
    connect("victim", &server).await;
}
