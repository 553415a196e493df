//! Two clients exchange ten thousand messages each way, end to end, while their connections to the server are cut at
//! random moments: every message is delivered once and in order or reported; none twice; none altered.
//!
//! Lost messages are counted exactly, unless a cut falls between the two ends of a handshake and the sides name different sessions:
//! then they begin anew, and of what was under way the sender hears that nobody knows (PROTOCOL-INNER 9.4).

mod common;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use common::{client_config, proxy::Proxy, serve, server_config};
use pysock_std::{
    Client, Error,
    client::{PeerListener, PeerNews},
};
use tokio::sync::watch;

const MESSAGES: u64 = 10_000;
/// Sent when there are no more, again and again, so that both sides see what is missing.
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
#[derive(Default, Debug)]
struct Ledger {
    received: Vec<u64>,
    /// Of both sides.
    ends: u64,
    lost: u64,
    undelivered: u64,
    unknown: u64,
    beginnings: u64,
}

/// Queues a message, as soon as that is possible.
async fn send(client: &Client, to: &str, bytes: &[u8]) {
    loop {
        match client.send_to_client(to, bytes.to_vec()).await {
            Ok(()) => return,
            // The other side is away for a moment.
            Err(Error::Failed { .. } | Error::Peer { .. } | Error::NoReply { .. }) => {
                tokio::task::yield_now().await;
            }
            Err(error) => panic!("{error}: {:?}", *client.status().borrow()),
        }
    }
}

async fn send_all(client: Arc<Client>, to: &'static str, progress: Arc<watch::Sender<u64>>) {
    for number in 0..MESSAGES {
        send(&client, to, &message(number)).await;
        progress.send_modify(|sent| *sent += 1);
    }
}

async fn hear(mut listener: PeerListener, own: usize, ledgers: Arc<watch::Sender<[Ledger; 2]>>) {
    while let Some(news) = listener.next().await {
        ledgers.send_modify(|ledgers| {
            let ledger = &mut ledgers[own];
            match news {
                PeerNews::Message(found) => {
                    match u64::from_be_bytes(found.data()[..8].try_into().unwrap()) {
                        END => ledger.ends += 1,
                        number => {
                            let same = found.data()[..] == message(number)[..];
                            assert!(same, "message {number} was altered");
                            ledger.received.push(number);
                        }
                    }
                }
                PeerNews::Lost { messages, .. } => ledger.lost += u64::from(messages),
                PeerNews::Undelivered { messages, .. } => ledger.undelivered += u64::from(messages),
                PeerNews::Unknown { messages, .. } => ledger.unknown += u64::from(messages),
                PeerNews::Opened { fresh, .. } => ledger.beginnings += u64::from(fresh),
                // At the end of the test.
                PeerNews::Closed { .. } => {}
                other => panic!("{other:?}"),
            }
        });
    }
}

/// Whether all that was sent, `ends` times the end, has been received or reported.
fn is_accounted(sender: &Ledger, receiver: &Ledger, ends: u64) -> bool {
    let arrived = receiver.received.len() as u64 + receiver.ends;
    let missing = (MESSAGES + ends).checked_sub(arrived).expect("one came twice");
    let (reported, told) = (receiver.lost, sender.undelivered);
    match sender.unknown {
        0 => missing == reported && told == reported,
        // It knows why.
        unknown => {
            assert!(sender.beginnings > 1, "{sender:?}");
            receiver.ends > 0
                && told <= reported
                && reported <= missing
                && missing <= told + unknown
        }
    }
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
    let (ledgers, mut accounts) = watch::channel(<[Ledger; 2]>::default());
    let ledgers = Arc::new(ledgers);
    for (own, client) in clients.iter().enumerate() {
        tokio::spawn(hear(client.listen_peers().unwrap(), own, ledgers.clone()));
    }
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
        // The last cut may take one of these along, too.
        for ends in 1.. {
            for (client, to) in [(&clients[0], "b"), (&clients[1], "a")] {
                send(client, to, &END.to_be_bytes()).await;
            }
            let balanced = accounts.wait_for(|[a, b]| {
                a.ends.min(b.ends) > 0 && is_accounted(a, b, ends) && is_accounted(b, a, ends)
            });
            if tokio::time::timeout(Duration::from_secs(1), balanced).await.is_ok() {
                break;
            }
        }
        drop(proxies);
        cuts
    };
    let finished = tokio::time::timeout(Duration::from_secs(120), finished).await;
    let counts = |ledger: &Ledger| {
        let Ledger { received, ends, lost, undelivered, unknown, .. } = ledger;
        format!("{} and {ends} received, {lost} {undelivered} {unknown}", received.len())
    };
    let told = || ledgers.borrow().each_ref().map(counts);
    let cuts = finished.unwrap_or_else(|_| panic!("not everything is accounted for: {:?}", told()));
    assert!(cuts >= 8, "only {cuts} cuts");
    let mut lost = 0;
    for ledger in &*ledgers.borrow() {
        let distinct: BTreeSet<_> = ledger.received.iter().collect();
        assert_eq!(distinct.len(), ledger.received.len(), "one came twice");
        assert!(ledger.received.is_sorted(), "out of order");
        lost += MESSAGES - ledger.received.len() as u64;
    }
    println!("{cuts} cuts, {lost} of {} messages lost and reported", 2 * MESSAGES);
}
