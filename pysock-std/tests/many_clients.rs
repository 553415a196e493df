//! Hole 13 at scale: a thousand clients, one of which never reads, and everybody else gets everything.

mod common;

use common::{client, raw::Raw, serve, server_config, until_connected, within};

const CLIENTS: usize = 1_000;

/// How many descriptors this process may have, if the system tells.
fn descriptors() -> Option<usize> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find(|line| line.starts_with("Max open files"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}

#[tokio::test]
async fn a_thousand_clients_stay_while_one_of_them_never_reads() {
    if descriptors().is_none_or(|limit| limit < 2 * CLIENTS + 100) {
        #[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
        {
            eprintln!("skipped: too few file descriptors; raise `ulimit -n`");
        }
        return;
    }
    let mut config = server_config();
    config.queue.bytes = 100_000;
    let server = serve(config).await;
    let _up = server.create_channel("news").unwrap();
    let address = server.address().to_string();
    let mut sleeper = Raw::enter(server.address(), "sleeper").await;
    sleeper.open("news").await;
    let mut clients = vec![];
    for n in 1..CLIENTS {
        let client = within(client(&format!("c{n}")).connect(&address)).await.unwrap();
        let news = client.create_channel("news").await.unwrap();
        clients.push((client, news));
    }
    until_connected(&server, CLIENTS).await;
    let mut reading = tokio::task::JoinSet::new();
    for (client, mut news) in clients {
        reading.spawn(async move {
            for n in 0..5u8 {
                assert_eq!(news.listen().await.unwrap().data()[..], [n; 1000]);
            }
            client
        });
    }
    for n in 0..5 {
        assert_eq!(within(server.publish("news", [n; 1000].to_vec())).await.unwrap(), CLIENTS);
    }
    let clients = within(reading.join_all()).await;
    assert_eq!((clients.len(), server.clients().len()), (CLIENTS - 1, CLIENTS));
}
