//! Groups of clients over real sockets, through a server that knows of none.

mod common;

use common::{
    client_config, connect, connect_at, connect_with, proxy::Proxy, serve, server_config,
    until_connected, within,
};
use pysock_std::{
    Client, Data, Error, Server,
    client::groups::{Ending, Group, GroupNews, Outcomes},
    config::Trust,
    proto::{Failure, GroupError},
};

/// Clients of these names.
async fn clients<const N: usize>(server: &Server, names: [&str; N]) -> [Client; N] {
    let mut clients = Vec::new();
    for name in names {
        clients.push(connect(name, server).await);
    }
    clients.try_into().unwrap()
}

/// Accepts the next invitation.
fn joining(client: &Client) -> tokio::task::JoinHandle<Group> {
    let mut invitations = client.listen_groups().unwrap();
    tokio::spawn(async move { invitations.next().await.unwrap().accept().await.unwrap() })
}

/// A group of the first with all others, all of whom are told of all.
async fn group<const N: usize>(all: &[Client; N]) -> [Group; N] {
    let joining: Vec<_> = all[1..].iter().map(joining).collect();
    let names = all[1..].iter().map(|client| client.name().as_str());
    let (owner, added) = within(all[0].create_group("band", names)).await.unwrap();
    assert!(added.is_complete(), "{added}");
    let mut groups = vec![owner];
    for joined in joining {
        groups.push(within(joined).await.unwrap());
    }
    groups.try_into().unwrap()
}

async fn heard(group: &Group) -> (String, String, u32) {
    let message = within(group.listen()).await.unwrap();
    assert!(message.sender().is_proven());
    (message.sender().to_string(), message.text().unwrap().to_owned(), message.missed())
}

async fn hears(group: &Group, from: &str, text: &str) {
    assert_eq!(heard(group).await, (from.into(), text.into(), 0));
}

async fn send(group: &Group, text: &str) {
    let sent = within(group.send(text)).await.unwrap();
    assert!(sent.is_complete(), "{sent}");
}

fn names(group: &Group) -> Vec<String> {
    let mut names: Vec<_> = group.members().iter().map(|m| m.name.to_string()).collect();
    names.sort();
    names
}

fn failed(outcomes: &Outcomes) -> Vec<String> {
    outcomes.failed().map(|(who, _)| who.to_string()).collect()
}

/// The next news of somebody who goes.
async fn news(group: &Group) -> GroupNews {
    loop {
        match within(group.next()).await.unwrap() {
            GroupNews::Message(_) | GroupNews::Joined(_) => {}
            news => return news,
        }
    }
}

/// The next one who joins.
async fn until_joined(group: &Group) -> String {
    loop {
        if let GroupNews::Joined(member) = within(group.next()).await.unwrap() {
            return member.name.to_string();
        }
    }
}

#[tokio::test]
async fn every_member_hears_everybody_once_and_in_order() {
    let server = serve(server_config()).await;
    let all = clients(&server, ["ann", "ben", "cid"]).await;
    let [ann, ben, cid] = group(&all).await;
    assert_eq!(names(&cid), ["ann", "ben", "cid"]);
    assert!(ann.is_owner() && !ben.is_owner());
    assert_eq!((ben.owner(), ben.id(), ben.label()), (ann.owner(), ann.id(), ann.label()));
    for (from, group) in [("ann", &ann), ("ben", &ben), ("cid", &cid)] {
        for n in 0..20 {
            send(group, &format!("{from} {n}")).await;
        }
    }
    for (own, group) in [("ann", &ann), ("ben", &ben), ("cid", &cid)] {
        for from in ["ann", "ben", "cid"].into_iter().filter(|from| *from != own) {
            for n in 0..20 {
                hears(group, from, &format!("{from} {n}")).await;
            }
        }
    }
    let value = ("three", 3u32);
    let sent = within(ben.send(Data::value(&value).unwrap())).await.unwrap();
    assert_eq!(sent.reached().count(), 2);
    assert_eq!(within(ann.listen()).await.unwrap().value::<(String, u32)>().unwrap().1, 3);
}

#[tokio::test]
async fn who_comes_later_hears_nothing_from_before_and_who_is_removed_nothing_after() {
    let server = serve(server_config()).await;
    let all = clients(&server, ["ann", "ben", "cid", "dora"]).await;
    let [a, b, c, d] = all;
    let first = [a, b, c];
    let [ann, ben, cid] = group(&first).await;
    send(&ben, "before").await;
    let joined = joining(&d);
    within(ann.add("dora")).await.unwrap();
    let dora = within(joined).await.unwrap();
    assert_eq!(names(&ben), ["ann", "ben", "cid", "dora"]);
    send(&dora, "hello").await;
    send(&ben, "welcome").await;
    hears(&dora, "ben", "welcome").await;
    hears(&cid, "ben", "before").await;

    within(ann.remove(&first[2].public_key())).await.unwrap();
    assert_eq!(names(&dora), ["ann", "ben", "dora"]);
    for group in [&ann, &ben, &dora] {
        send(group, "behind its back").await;
    }
    assert_eq!(until_joined(&cid).await, "dora");
    loop {
        match within(cid.next()).await.unwrap() {
            GroupNews::Message(m) => assert_ne!(m.text().unwrap(), "behind its back"),
            news => break assert!(matches!(news, GroupNews::Over(Ending::Removed)), "{news:?}"),
        }
    }
    assert!(within(cid.next()).await.is_none());
    let sent = within(cid.send("still here")).await;
    assert!(matches!(sent, Err(Error::Group { source: GroupError::Over, .. })), "{sent:?}");
    assert!(cid.members().is_empty());
    // It may come back, and begins anew.
    let joined = joining(&first[2]);
    within(ann.add("cid")).await.unwrap();
    let cid = within(joined).await.unwrap();
    send(&ann, "back").await;
    hears(&cid, "ann", "back").await;
}

#[tokio::test]
async fn a_member_that_is_away_fails_by_itself_and_catches_up() {
    let server = serve(server_config()).await;
    let proxy = Proxy::to(server.address()).await;
    let [a, b, d] = clients(&server, ["ann", "ben", "dora"]).await;
    let cid = connect_at("cid", proxy.address).await;
    let all = [a, b, cid];
    let [ann, ben, cid] = group(&all).await;
    // Nobody answers there: it stays away.
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    proxy.lead_to(nowhere);
    proxy.cut();
    until_connected(&server, 3).await;
    // Until its session has noticed, its queue still takes messages; they are lost or arrive later.
    let sent = loop {
        let sent = within(ann.send("is cid there?")).await.unwrap();
        if !sent.is_complete() {
            break sent;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(failed(&sent), ["\"cid\""]);
    assert_eq!(sent.reached().count(), 1);
    let joined = joining(&d);
    within(ann.add("dora")).await.unwrap();
    let dora = within(joined).await.unwrap();
    proxy.lead_to(server.address());
    until_connected(&server, 4).await;
    assert_eq!(until_joined(&cid).await, "dora");
    send(&cid, "I am back").await;
    hears(&dora, "cid", "I am back").await;
    drop(ben);
}

#[tokio::test]
async fn members_leave_and_owners_dissolve() {
    let server = serve(server_config()).await;
    let all = clients(&server, ["ann", "ben", "cid"]).await;
    let [ann, ben, cid] = group(&all).await;
    assert!(matches!(within(ann.leave()).await, Err(Error::Group { .. })));
    assert!(matches!(within(ben.dissolve()).await, Err(Error::Group { .. })));
    assert!(matches!(within(ben.add("cid")).await, Err(Error::Group { .. })));
    within(ben.leave()).await.unwrap();
    assert!(matches!(news(&ben).await, GroupNews::Over(Ending::Left)));
    for group in [&ann, &cid] {
        assert!(matches!(news(group).await, GroupNews::Left(m) if m.name.as_str() == "ben"));
    }
    within(ann.dissolve()).await.unwrap();
    for group in [&ann, &cid] {
        assert!(matches!(news(group).await, GroupNews::Over(Ending::Dissolved)));
        assert!(within(group.next()).await.is_none());
    }
    // Dropping it is leaving, or dissolving.
    let all = clients(&server, ["a", "b", "c"]).await;
    let [ann, ben, cid] = group(&all).await;
    drop(ben);
    assert!(matches!(news(&cid).await, GroupNews::Left(m) if m.name.as_str() == "b"));
    drop(ann);
    assert!(matches!(news(&cid).await, GroupNews::Over(Ending::Dissolved)));
}

#[tokio::test]
async fn joining_is_consent() {
    let server = serve(server_config()).await;
    let [ann, ben, cid, dora] = clients(&server, ["ann", "ben", "cid", "dora"]).await;
    let mut invitations = ben.listen_groups().unwrap();
    assert!(matches!(ben.listen_groups(), Err(Error::ChannelExists(_))));
    let declining = tokio::spawn(async move {
        let invitation = invitations.next().await.unwrap();
        (invitation.owner().to_string(), invitation.label().to_string())
    });
    let mut known = cid.listen_groups().unwrap();
    let joined = tokio::spawn(async move { known.join_next().await.unwrap() });
    let members = ["ben", "cid", "dora", "nobody"];
    let (band, added) = within(ann.create_group("band", members)).await.unwrap();
    assert_eq!(failed(&added), ["\"ben\"", "\"dora\"", "\"nobody\""]);
    let why: Vec<&Error> = added.failed().map(|(_, why)| why).collect();
    assert!(matches!(why[0], Error::Declined { .. }), "{why:?}");
    assert!(matches!(why[1], Error::Declined { .. }), "nobody listens there: {why:?}");
    assert!(matches!(why[2], Error::Failed { failure: Failure::NoPeer, .. }), "{why:?}");
    assert_eq!(within(declining).await.unwrap(), ("ann".into(), "band".into()));
    let cids = within(joined).await.unwrap();
    assert_eq!(names(&cids), ["ann", "cid"]);
    assert_eq!(names(&band), ["ann", "cid"]);
    drop(dora);
}

/// Strict clients that know the owner, and it them, but not each other.
async fn strangers(server: &Server) -> [Client; 3] {
    let configs = ["ann", "ben", "cid"].map(client_config);
    let ann = configs[0].public_key();
    let others = [configs[1].public_key(), configs[2].public_key()];
    let folder = tempfile::tempdir().unwrap();
    let mut all = Vec::new();
    for (n, mut config) in configs.into_iter().enumerate() {
        let path = folder.path().join(format!("{n}.state"));
        let file = pysock_std::state::StateFile::open(path.clone()).unwrap();
        file.update(|state| {
            let known = if n == 0 {
                vec![("ben", others[0]), ("cid", others[1])]
            } else {
                vec![("ann", ann)]
            };
            for (name, key) in known {
                state.pin_peer(name.parse().unwrap(), key).unwrap();
            }
        })
        .unwrap();
        config.state = Some(path);
        config.trust = Trust::AcceptNew;
        config.peers = Trust::Pin;
        all.push(connect_with(config, server).await.unwrap());
    }
    // The clients are done with it only at the end of the test.
    std::mem::forget(folder);
    all.try_into().unwrap()
}

#[tokio::test]
async fn membership_vouches_for_keys_and_for_nothing_else() {
    let server = serve(server_config()).await;
    let all = strangers(&server).await;
    let refused = within(all[1].handshake("cid")).await;
    assert!(matches!(refused, Err(Error::UnknownPeer { .. })), "{refused:?}");
    let [ann, ben, cid] = group(&all).await;
    send(&ben, "unpinned").await;
    hears(&cid, "ben", "unpinned").await;
    hears(&ann, "ben", "unpinned").await;
    // There is a session now, but not for this.
    let refused = within(all[1].send_to_client("cid", "psst")).await;
    assert!(matches!(refused, Err(Error::UnknownPeer { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_pin_of_the_same_name_outweighs_membership() {
    let server = serve(server_config()).await;
    let mut all = Vec::new();
    let folder = tempfile::tempdir().unwrap();
    for name in ["ann", "ben", "cid"] {
        let mut config = client_config(name);
        let path = folder.path().join(name);
        let file = pysock_std::state::StateFile::open(path.clone()).unwrap();
        if name == "cid" {
            let other = client_config("ben").public_key();
            file.update(|s| s.pin_peer("ben".parse().unwrap(), other)).unwrap().unwrap();
        }
        config.state = Some(path);
        all.push(connect_with(config, &server).await.unwrap());
    }
    let all: [Client; 3] = all.try_into().unwrap();
    let [_ann, ben, cid] = group(&all).await;
    let sent = within(cid.send("who is ben?")).await.unwrap();
    let why: Vec<_> = sent.failed().map(|(_, why)| why).collect();
    assert!(matches!(why[..], [Error::PeerKeyChanged { .. }]), "{sent}");
    let sent = within(ben.send("it is me")).await.unwrap();
    assert_eq!(failed(&sent), ["\"cid\""]);
}

#[tokio::test]
async fn large_messages_arrive_whole_among_small_ones() {
    let server = serve(server_config()).await;
    let all = clients(&server, ["ann", "ben", "cid"]).await;
    let [ann, ben, cid] = group(&all).await;
    let large: Vec<u8> = (0..1_500_000u32).map(|n| (n % 251) as u8).collect();
    let sending = tokio::spawn(async move {
        send(&ben, "before").await;
        let sent = within(ben.send(large.clone())).await.unwrap();
        assert!(sent.is_complete(), "{sent}");
        send(&ben, "behind").await;
        (ben, large)
    });
    for group in [&ann, &cid] {
        hears(group, "ben", "before").await;
        let message = within(group.listen()).await.unwrap();
        assert_eq!((message.data().len(), message.missed()), (1_500_000, 0));
        assert!(message.data().iter().enumerate().all(|(n, byte)| *byte == (n % 251) as u8));
        drop(message);
        hears(group, "ben", "behind").await;
    }
    within(sending).await.unwrap();
}

#[tokio::test]
async fn a_client_in_several_groups_keeps_them_apart() {
    let server = serve(server_config()).await;
    let all = clients(&server, ["ann", "ben", "cid"]).await;
    let first = group(&all).await;
    let second = group(&all).await;
    assert_ne!(first[0].id(), second[0].id());
    send(&first[0], "first").await;
    send(&second[0], "second").await;
    for at in [1, 2] {
        hears(&first[at], "ann", "first").await;
        hears(&second[at], "ann", "second").await;
    }
    within(first[0].dissolve()).await.unwrap();
    send(&second[1], "still there").await;
    hears(&second[2], "ben", "still there").await;
}

#[tokio::test]
async fn groups_end_with_their_client() {
    let server = serve(server_config()).await;
    let all = clients(&server, ["ann", "ben"]).await;
    let [ann, ben] = group(&all).await;
    let [a, _b] = all;
    within(a.close()).await.unwrap();
    assert_eq!(until_joined(&ann).await, "ben");
    assert!(within(ann.next()).await.is_none());
    let sent = within(ann.send("too late")).await;
    assert!(matches!(sent, Err(Error::Disconnected)), "{sent:?}");
    let sent = within(ben.send("anybody?")).await.unwrap();
    assert_eq!(failed(&sent), ["\"ann\""]);
}
