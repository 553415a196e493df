//! A member of a group sends, together with messages to it, what goes elsewhere or nowhere: so that a client whose
//! program does not listen reads on, or keeps more memory than it counts.

use pysock_proto::{Kind, PeerInfo, group::GroupId, peer::channel};

use super::{PeerTask, arriving::envelope, lane::Lane};
use crate::{
    Client, Server,
    client::groups::Group,
    config::{ClientConfig, ServerConfig, new_secret_key},
    link::{Messages, Receiving, Verdict},
    payload::{Payload, pack},
};

/// Room in the queue of a group, in bytes.
const QUEUE: usize = 1024;

async fn connect(name: &str, server: &Server) -> Client {
    let mut config = ClientConfig::new(new_secret_key().unwrap());
    config.queue_bytes = QUEUE;
    let client = Client::from_config(config).name(name).unwrap();
    client.connect(&server.address().to_string()).await.unwrap()
}

/// What a victim's task does with what a member sends.
struct Scene {
    _server: Server,
    _clients: [Client; 2],
    _members: Group,
    victims: Group,
    task: PeerTask,
    member: PeerInfo,
}

impl Scene {
    async fn new() -> Scene {
        let config = ServerConfig::new(new_secret_key().unwrap());
        let server = Server::from_config(config).bind("127.0.0.1:0").await.unwrap();
        let (member, victim) = (connect("member", &server).await, connect("victim", &server).await);
        let mut invitations = victim.listen_groups().unwrap();
        let joining =
            tokio::spawn(async move { invitations.next().await.unwrap().accept().await.unwrap() });
        let (members, added) = member.create_group("band", ["victim"]).await.unwrap();
        assert!(added.is_complete(), "{added}");
        let shared = &victim.shared;
        let (mut task, entry) =
            (PeerTask::new(shared), shared.book.get(&member.public_key()).unwrap());
        let lane = Lane {
            messages: Messages::default(),
            receiving: Receiving::new(shared.budget.clone(), &entry.outbox),
            entry: entry.clone(),
        };
        task.lanes.insert(member.public_key(), lane);
        Scene {
            victims: joining.await.unwrap(),
            member: entry.info(),
            _members: members,
            _clients: [member, victim],
            _server: server,
            task,
        }
    }

    fn message(&self, group: GroupId, number: u32, text: &[u8]) -> Vec<u8> {
        let epoch = self.victims.epoch().to_be_bytes();
        [&group.0[..], &epoch, &number.to_be_bytes(), text].concat()
    }

    /// These messages arrive in one record.
    fn arrive(&mut self, messages: &[Vec<u8>]) -> Verdict {
        let about = envelope(channel::GROUP, Kind::Message);
        let payload = pack(about, messages).next().unwrap();
        assert!(matches!(&payload, Payload::Many(all) if all.count() == messages.len()));
        self.task.message(&self.member, channel::GROUP, Kind::Message, payload)
    }
}

#[tokio::test]
async fn what_comes_behind_a_full_group_does_not_hide_it() {
    let mut scene = Scene::new().await;
    let id = scene.victims.id();
    let text = [7; QUEUE];
    let behind = [
        vec![1; 16],
        // To no group that it knows; and one that it has heard.
        scene.message(GroupId([9; 16]), 1, b"?"),
        scene.message(id, 1, b"again"),
    ];
    for (number, behind) in (1..).zip(behind) {
        let fills = scene.message(id, number, &text);
        let Verdict::Wait(wait) = scene.arrive(&[fills, behind]) else { panic!("reading goes on") };
        // Reading goes on once the program has listened.
        assert_eq!(&scene.victims.listen().await.unwrap().data()[..], text);
        wait.await;
    }
}

#[tokio::test]
async fn a_small_message_does_not_keep_the_memory_of_what_came_with_it() {
    let mut scene = Scene::new().await;
    let small = scene.message(scene.victims.id(), 1, b"small");
    let mut messages = vec![small];
    // To no group that it knows.
    messages.extend((0..9).map(|number| scene.message(GroupId([9; 16]), number, &[0; 4000])));
    assert!(matches!(scene.arrive(&messages), Verdict::Go));
    let heard = scene.victims.listen().await.unwrap();
    assert_eq!(&heard.data()[..], b"small");
    assert!(heard.data().is_unique(), "its memory is its own");
}
