//! Two clients exchange ten thousand messages each way, end to end, while their connections to the server are cut at
//! random moments: every message is delivered once and in order or reported lost; none twice; none altered.

mod common;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use common::{client_config, proxy::Proxy, serve, server_config};
use pysock_std::{
    Client, Error,
    client::{PeerListener, PeerNews},
};
use tokio::sync::watch;

const MESSAGES: u64 = 10_000;
/// The last two say that there are no more.
const END: u64 = u64::MAX;

/// Numbers that look random, the same in every run.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        // SplitMix64, by Steele, Lea and Flood.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

/// The message of that number: mostly small, some of several records, few large. Its bytes follow from the number.
fn message(number: u64) -> Vec<u8> {
    let mut chance = Chance(number);
    let len = match chance.below(100) {
        0 => 40_000 + chance.below(120_000),
        1..=5 => 1_000 + chance.below(30_000),
        _ => chance.below(200),
    };
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.extend((0..len).map(|at| (number.wrapping_mul(31).wrapping_add(at)) as u8));
    bytes
}

/// What one side has heard of the other, and of what became of its own messages.
#[derive(Default)]
struct Ledger {
    received: Vec<u64>,
    lost: u64,
    undelivered: u64,
    unknown: u64,
    ends: u64,
}

async fn send_all(client: Arc<Client>, to: &'static str, progress: Arc<watch::Sender<u64>>) {
    for number in 0..MESSAGES {
        loop {
            match client.send_to_client(to, message(number)).await {
                Ok(()) => break,
                // The other side is away for a moment.
                Err(Error::Failed { .. } | Error::Peer { .. } | Error::NoReply { .. }) => {
                    tokio::task::yield_now().await;
                }
                Err(error) => panic!("{error}"),
            }
        }
        progress.send_modify(|sent| *sent += 1);
    }
}

async fn hear(mut listener: PeerListener, ended: Arc<watch::Sender<u64>>) -> Ledger {
    let mut ledger = Ledger::default();
    while let Some(news) = listener.next().await {
        match news {
            PeerNews::Message(found) => {
                let number = u64::from_be_bytes(found.data()[..8].try_into().unwrap());
                if number == END {
                    ledger.ends += 1;
                    ended.send_modify(|ends| *ends += 1);
                    // The first one shows this side what is missing, the second comes behind what the other side says of
                    // that.
                    if ledger.ends == 2 {
                        break;
                    }
                    continue;
                }
                assert!(found.data()[..] == message(number)[..], "message {number} was altered");
                ledger.received.push(number);
            }
            PeerNews::Lost { messages, .. } => ledger.lost += u64::from(messages),
            PeerNews::Undelivered { messages, .. } => ledger.undelivered += u64::from(messages),
            PeerNews::Unknown { messages, .. } => ledger.unknown += u64::from(messages),
            PeerNews::Opened { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    ledger
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stdout, reason = "the figures are for whoever runs it by hand")]
async fn ten_thousand_messages_each_way_while_connections_are_cut() {
    let server = serve(server_config()).await;
    let mut proxies = Vec::new();
    let mut clients = Vec::new();
    for name in ["a", "b"] {
        let proxy = Proxy::to(server.address()).await;
        let client = Client::from_config(client_config(name));
        clients.push(Arc::new(client.connect(&proxy.address.to_string()).await.unwrap()));
        proxies.push(proxy);
    }
    let (ended, mut ends) = watch::channel(0);
    let ended = Arc::new(ended);
    let listeners: Vec<_> = clients
        .iter()
        .map(|client| tokio::spawn(hear(client.listen_peers().unwrap(), ended.clone())))
        .collect();
    let (progress, mut sent) = watch::channel(0);
    let progress = Arc::new(progress);
    let senders: Vec<_> = [(0, "b"), (1, "a")]
        .into_iter()
        .map(|(at, to)| tokio::spawn(send_all(clients[at].clone(), to, progress.clone())))
        .collect();
    drop(progress);
    // Cuts fall at random amounts of progress: in the middle of messages, streams and handshakes.
    let cutting = tokio::spawn(async move {
        let (mut chance, mut cuts, mut next) = (Chance(7), 0, 300);
        // Until nobody sends any more.
        while let Ok(now) = sent.wait_for(|sent| *sent >= next).await.map(|sent| *sent) {
            proxies[chance.below(2) as usize].cut();
            cuts += 1;
            next = now + 200 + chance.below(1_500);
        }
        (cuts, proxies)
    });
    let finished = async {
        for sender in senders {
            sender.await.unwrap();
        }
        let (cuts, proxies) = cutting.await.unwrap();
        for round in 1..=2 {
            for (client, to) in [(&clients[0], "b"), (&clients[1], "a")] {
                client.send_to_client(to, &END.to_be_bytes()).await.unwrap();
            }
            ends.wait_for(|ends| *ends == 2 * round).await.unwrap();
        }
        let mut ledgers = Vec::new();
        for listener in listeners {
            ledgers.push(listener.await.unwrap());
        }
        drop(proxies);
        (cuts, ledgers)
    };
    let (cuts, ledgers) =
        tokio::time::timeout(Duration::from_secs(120), finished).await.expect("it is stuck");
    assert!(cuts >= 8, "only {cuts} cuts");
    let mut lost = 0;
    for ledger in &ledgers {
        let distinct: BTreeSet<_> = ledger.received.iter().collect();
        assert_eq!(distinct.len(), ledger.received.len(), "one came twice");
        assert!(ledger.received.is_sorted(), "out of order");
        let missing = MESSAGES - ledger.received.len() as u64;
        assert_eq!(missing, ledger.lost, "what is missing was reported, and nothing else");
        assert_eq!(ledger.unknown, 0, "neither side has forgotten the other");
        lost += missing;
    }
    for (own, other) in [(0, 1), (1, 0)] {
        assert_eq!(ledgers[own].undelivered, ledgers[other].lost, "its sender was told, too");
    }
    println!("{cuts} cuts, {lost} of {} messages lost and reported", 2 * MESSAGES);
}
