//! Hole 12 of the seed: a whole core when idle.

mod common;

use std::time::Duration;

use common::{connect, serve, server_config, until_connected};

const CLIENTS: u64 = 100;
const MINUTES: u64 = 10;

/// A client pings after half of its 60 idle seconds, and the server is woken by that alone: two times a minute for
/// each client, and the client by its timer and by the answer: four times.
#[tokio::test(start_paused = true)]
async fn a_hundred_idle_clients_cost_their_keep_alives_and_nothing_else() {
    let server = serve(server_config()).await;
    let mut clients = vec![];
    for n in 0..CLIENTS {
        clients.push(connect(&format!("c{n}"), &server).await);
    }
    until_connected(&server, CLIENTS as usize).await;
    let client_wakeups = || clients.iter().map(|client| client.stats().wakeups).sum::<u64>();
    let (before, theirs_before) = (server.stats().wakeups, client_wakeups());
    // The clock runs by itself whenever nobody has anything to do.
    tokio::time::sleep(Duration::from_secs(60 * MINUTES)).await;
    let (woken, theirs) = (server.stats().wakeups - before, client_wakeups() - theirs_before);
    assert_eq!(server.clients().len(), CLIENTS as usize, "keep-alives keep them alive");
    let bound = CLIENTS * (2 * MINUTES + 2);
    assert!(woken <= bound, "the server was woken {woken} times, not {bound}");
    assert!(theirs <= 2 * bound, "the clients were woken {theirs} times, not {}", 2 * bound);
    assert!(woken >= CLIENTS * MINUTES, "{woken}: too few to have kept anybody alive");
}
