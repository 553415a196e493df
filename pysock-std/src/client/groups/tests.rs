//! What nobody does with the public interface: forged control and messages, over real sessions.

use std::time::Duration;

use bytes::Bytes;
use pysock_proto::{
    GroupError, Kind, PublicKey,
    group::{Answer, Control, GroupId, Op},
    peer::channel,
};

use tokio::sync::oneshot::{self, error::TryRecvError};

use super::{
    Ending, Group, GroupNews,
    room::{Change, Core, Room, What},
};
use crate::{
    Client, Error, Server,
    config::{ClientConfig, ServerConfig, new_secret_key},
    grow::Grow,
    link,
    outbox::Body,
};

/// Room in the queues of those in the scene, in bytes: far more than the credit for a large message that nobody reads.
const QUEUE: usize = 8 * link::WINDOW as usize;

async fn connect(name: &str, server: &Server) -> Client {
    let mut config = ClientConfig::new(new_secret_key().unwrap());
    config.queue_bytes = QUEUE;
    let client = Client::from_config(config).name(name).unwrap();
    client.connect(&server.address().to_string()).await.unwrap()
}

/// A server, an owner, a member, somebody else, and the group as the first two see it.
async fn scene() -> (Server, [Client; 3], Group, Group) {
    let config = ServerConfig::new(new_secret_key().unwrap());
    let server = Server::from_config(config).bind("127.0.0.1:0").await.unwrap();
    let all = [
        connect("ann", &server).await,
        connect("ben", &server).await,
        connect("eve", &server).await,
    ];
    let mut invitations = all[1].listen_groups().unwrap();
    let joining =
        tokio::spawn(async move { invitations.next().await.unwrap().accept().await.unwrap() });
    let (anns, added) = all[0].create_group("band", ["ben"]).await.unwrap();
    assert!(added.is_complete(), "{added}");
    (server, all, anns, joining.await.unwrap())
}

async fn tell(from: &Client, to: &Client, group: GroupId, epoch: u32, op: Op) -> Answer {
    let control = Control { group, epoch, op };
    from.shared.tell(&to.public_key(), &control).await.unwrap()
}

#[tokio::test]
async fn only_the_owner_changes_a_group() {
    let (_server, [ann, ben, eve], anns, bens) = scene().await;
    eve.handshake("ben").await.unwrap();
    eve.handshake("ann").await.unwrap();
    let (id, epoch, label) = (bens.id(), bens.epoch(), bens.label());
    let add = Op::Added { key: eve.public_key(), name: "eve".parse().unwrap() };
    let begin = Op::Begin { label, members: 2 };
    for op in [add, Op::Removed(ann.public_key()), Op::Dissolved, begin, Op::Active] {
        assert_eq!(tell(&eve, &ben, id, epoch + 1, op).await, Answer::Refused, "{op:?}");
        // Not even a member may.
        assert_eq!(tell(&ben, &ann, id, epoch + 1, op).await, Answer::Refused, "{op:?}");
    }
    for op in [Op::Leave, Op::Stale] {
        assert_eq!(tell(&eve, &ann, id, epoch, op).await, Answer::Gone, "{op:?}");
    }
    assert_eq!((anns.epoch(), bens.epoch()), (epoch, epoch));
    assert_eq!(anns.members(), bens.members());
}

#[tokio::test]
async fn only_members_are_heard() {
    let (_server, [ann, ben, eve], anns, bens) = scene().await;
    eve.handshake("ben").await.unwrap();
    let forge = |from: &Client, id: u32| {
        let header = [&bens.id().0[..], &bens.epoch().to_be_bytes(), &id.to_be_bytes()].concat();
        let (shared, bytes) = (from.shared.clone(), Bytes::from([&header[..], b"forged"].concat()));
        let key = ben.public_key();
        async move {
            let entry = shared.book.get(&key).unwrap();
            let (channel, kind) = (channel::GROUP, Kind::Message);
            shared.push_to(&entry, channel, kind, Body::Whole(bytes)).await.unwrap();
        }
    };
    for id in 1..4 {
        forge(&eve, id).await;
    }
    // Its messages and this answer come in order.
    tell(&eve, &ben, bens.id(), 1, Op::Stale).await;
    assert!(anns.send("genuine").await.unwrap().is_complete());
    assert_eq!(bens.listen().await.unwrap().text().unwrap(), "genuine");
    // Whoever repeats a number is heard once.
    forge(&ann, 1).await;
    assert!(anns.send("behind").await.unwrap().is_complete());
    assert_eq!(bens.listen().await.unwrap().text().unwrap(), "behind");
}

#[tokio::test]
async fn a_member_may_ask_only_so_often() {
    let (_server, [ann, ben, _eve], anns, bens) = scene().await;
    let mut answers = Vec::new();
    for _ in 0..20 {
        answers.push(tell(&ben, &ann, bens.id(), bens.epoch(), Op::Stale).await);
    }
    assert!(answers.contains(&Answer::Done) && answers.contains(&Answer::Refused), "{answers:?}");
    // The owner's changes go on.
    assert!(anns.send("still here").await.unwrap().is_complete());
    bens.listen().await.unwrap();
}

#[tokio::test]
async fn invitations_are_bounded_and_control_of_unknown_groups_is_answered() {
    let (_server, [_ann, ben, eve], _anns, bens) = scene().await;
    eve.handshake("ben").await.unwrap();
    let id = GroupId([1; 16]);
    assert_eq!(tell(&eve, &ben, id, 1, Op::Joined).await, Answer::Forgotten);
    assert_eq!(tell(&eve, &ben, id, 1, Op::Leave).await, Answer::Gone);
    let begin = Op::Begin { label: bens.label(), members: 2 };
    assert_eq!(tell(&eve, &ben, id, 2, begin).await, Answer::Gone, "nobody listens");
    let mut invitations = ben.listen_groups().unwrap();
    let mut waiting = tokio::task::JoinSet::new();
    for n in 0..6 {
        let (eve, ben) = (eve.shared.clone(), ben.public_key());
        waiting.spawn(async move {
            let control = Control { group: GroupId([n; 16]), epoch: 2, op: begin };
            eve.tell(&ben, &control).await.unwrap()
        });
    }
    for _ in 0..2 {
        assert_eq!(waiting.join_next().await.unwrap().unwrap(), Answer::Refused, "too many");
    }
    for _ in 0..4 {
        drop(invitations.next().await.unwrap());
        assert_eq!(waiting.join_next().await.unwrap().unwrap(), Answer::Gone, "declined");
    }
}

#[test]
fn a_change_that_comes_as_a_group_is_finished_is_not_kept() {
    let (ann, ben) = (PublicKey([1; 32]), PublicKey([2; 32]));
    let [band, name] = ["band", "ann"].map(|name| name.parse().unwrap());
    let core = Core::create(GroupId([1; 16]), band, (ann, name), Grow::bounded(2)).unwrap();
    let (room, _queue) = Room::new(core, QUEUE);
    room.finish();
    let (tell, mut told) = oneshot::channel();
    let (what, until) = (What::Remove(ben), tokio::time::Instant::now());
    let wanted = room.lock().want(Change { what, until, tell, last: None });
    assert_eq!(told.try_recv().unwrap_err(), TryRecvError::Closed, "it would wait for ever");
    assert_eq!(wanted, Err(GroupError::Over));
}

#[tokio::test]
async fn what_waits_for_room_does_not_overtake_a_removal() {
    let (_server, [_ann, ben, _eve], anns, bens) = scene().await;
    // Ben's program does not listen. The first one fills its queue, the second stops its reading, and the third is begun
    // and gets no further than its credit.
    let mut texts = Vec::new();
    for (text, size) in [("fills", QUEUE), ("stops", 1), ("begun", QUEUE * 2 / 5)] {
        let text = text.repeat(size / text.len() + 1);
        assert!(anns.send(text.clone()).await.unwrap().is_complete());
        texts.push(text);
    }
    // Behind it, messages are queued until one has to wait for room. Without it, more than half of the queue is free.
    let waiting = loop {
        let mut sending = Box::pin(anns.send(vec![0; QUEUE / 10]));
        tokio::select! {
            biased;
            sent = &mut sending => assert!(sent.unwrap().is_complete()),
            () = std::future::ready(()) => break sending,
        }
    };
    let (owner, key) = (anns.clone(), ben.public_key());
    let removing = tokio::spawn(async move { owner.remove(&key).await });

    // It is not sent to one who is out, and its sender hears so: at once, not when its time is up.
    let sent = tokio::time::timeout(super::SEND_WITHIN / 2, waiting).await.unwrap().unwrap();
    let (_, why) = sent.failed().next().expect("a removed member was reached");
    assert!(matches!(why, Error::Group { source: GroupError::NotMember, .. }), "{why}");
    let mut heard = Vec::new();
    let listening = async {
        loop {
            match bens.next().await.unwrap() {
                GroupNews::Message(message) => {
                    assert_eq!(message.missed(), 0);
                    heard.push(message.text().unwrap().to_owned());
                }
                news => {
                    break assert!(matches!(news, GroupNews::Over(Ending::Removed)), "{news:?}");
                }
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), listening).await.unwrap();
    removing.await.unwrap().unwrap();
    // Control is not in order with messages: the end may come before the one that was begun.
    assert!(heard.len() >= 2 && texts.starts_with(&heard), "{} heard", heard.len());
}
