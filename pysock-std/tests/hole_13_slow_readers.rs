//! Hole 13 of the seed: unbounded queues; one slow client stalls all.

mod common;

use std::time::Duration;

use common::{
    client_config, connect, connect_with,
    raw::{Heard, Raw, random_secret},
    serve, server_config, until_connected, within,
};
use pysock_std::{
    Server,
    config::{Queue, WhenFull},
    proto::{CloseReason, Envelope, Failure, Kind, Limits, Party, PeerId, RequestId},
};

const PART: usize = 10_000;

async fn server_with(full: WhenFull) -> Server {
    let mut config = server_config();
    config.queue = Queue { bytes: 100_000, full, patience: Duration::from_millis(300) };
    serve(config).await
}

/// A client that is on the channel and reads nothing from now on.
async fn sleeper(server: &Server, limits: Limits) -> Raw {
    let mut raw = Raw::enter_with(server.address(), (random_secret(), "sleeper"), limits).await;
    raw.open("test").await;
    raw
}

#[tokio::test]
async fn disconnect_ends_who_reads_too_slowly_and_nobody_else() {
    let server = server_with(WhenFull::Disconnect).await;
    let _up = server.create_channel("test").unwrap();
    let mut raw = sleeper(&server, Limits::DESKTOP).await;
    let good = connect("good", &server).await;
    let mut hears = good.create_channel("test").await.unwrap();
    // Far more than the kernel's buffers hold.
    let reading = tokio::spawn(async move {
        let mut last = 0;
        while last < 1_500 {
            let message = hears.listen().await.unwrap();
            assert_eq!(message.data().len(), PART);
            let number = u32::from_le_bytes(message.data()[..4].try_into().unwrap());
            assert_eq!(number, last + 1, "in order, and none is missing");
            last = number;
        }
    });
    for number in 1..=1_500u32 {
        let mut data = vec![0; PART];
        data[..4].copy_from_slice(&number.to_le_bytes());
        within(server.publish("test", data)).await.unwrap();
        assert!(server.clients().iter().all(|c| c.waiting <= 100_000));
    }
    within(reading).await.unwrap();
    until_connected(&server, 1).await;
    // Once it reads again it hears why, if the kernel still had room for it; and never that all is well.
    let end = loop {
        match raw.next().await {
            Ok(Heard::Closed(why)) => break Some(why),
            Ok(_) => {}
            Err(_) => break None,
        }
    };
    assert!(matches!(end, None | Some(CloseReason::TooSlow)), "{end:?}");
}

#[tokio::test]
async fn many_slow_receivers_cost_their_patience_once_and_not_one_after_the_other() {
    let server = server_with(WhenFull::Disconnect).await;
    let _up = server.create_channel("test").unwrap();
    let mut sleepers = vec![];
    for n in 0..10 {
        let name = format!("s{n}");
        let who = (random_secret(), name.as_str());
        let mut raw = Raw::enter_with(server.address(), who, Limits::DESKTOP).await;
        raw.open("test").await;
        sleepers.push(raw);
    }
    let begun = std::time::Instant::now();
    let mut longest = Duration::ZERO;
    while !server.clients().is_empty() && begun.elapsed() < Duration::from_secs(20) {
        let one = std::time::Instant::now();
        server.publish("test", vec![0; PART]).await.unwrap();
        longest = longest.max(one.elapsed());
        tokio::task::yield_now().await;
    }
    assert!(server.clients().is_empty(), "all were too slow");
    assert!(longest < Duration::from_millis(1500), "one publish took {longest:?}");
}

#[tokio::test]
async fn drop_oldest_drops_the_oldest_and_counts() {
    let server = server_with(WhenFull::DropOldest).await;
    let _up = server.create_channel("test").unwrap();
    let mut raw = sleeper(&server, Limits::DESKTOP).await;
    for number in 0..1_500u32 {
        let mut data = vec![0; PART];
        data[..4].copy_from_slice(&number.to_le_bytes());
        within(server.publish("test", data)).await.unwrap();
        assert!(server.clients()[0].waiting <= 100_000);
        tokio::task::yield_now().await;
    }
    let dropped = server.clients()[0].dropped;
    assert!(dropped > 0);
    let (mut heard, mut last) = (0, None);
    while last != Some(1_499) {
        if let Heard::Message(_, data) = raw.next().await.unwrap() {
            let number = u32::from_le_bytes(data[..4].try_into().unwrap());
            assert!(last.is_none_or(|last| number > last), "in order");
            (heard, last) = (heard + 1, Some(number));
        }
    }
    assert_eq!(heard + dropped, 1_500, "what is missing was counted");
}

#[tokio::test]
async fn drop_oldest_bounds_what_waits_behind_a_large_message_too() {
    let server = server_with(WhenFull::DropOldest).await;
    let _up = server.create_channel("test").unwrap();
    // Reads what comes, and never grants credit: a large message to it stands still.
    let limits = Limits { window: 1_000, ..Limits::DESKTOP };
    let mut raw = sleeper(&server, limits).await;
    server.send("test", "sleeper", vec![0; 50_000]).await.unwrap();
    raw.until(|heard| matches!(heard, Heard::Chunk(..))).await.unwrap();
    for _ in 0..2_000 {
        server.publish("test", vec![1; PART]).await.unwrap();
        tokio::task::yield_now().await;
        let waiting = server.clients()[0].waiting;
        assert!(waiting <= 100_000, "{waiting} bytes wait");
    }
    assert!(server.clients()[0].dropped > 1_900);
}

#[tokio::test]
async fn block_makes_the_sender_wait_and_loses_nothing() {
    let server = server_with(WhenFull::Block).await;
    let _up = server.create_channel("test").unwrap();
    let mut raw = sleeper(&server, Limits::DESKTOP).await;
    let mut sent = 0;
    // Well beyond the patience, and the receiver is still there.
    while tokio::time::timeout(Duration::from_millis(600), server.publish("test", vec![0; PART]))
        .await
        .is_ok()
    {
        sent += 1;
        assert!(sent < 10_000, "it never waits");
    }
    assert_eq!(server.clients().len(), 1);
    let mut heard = 0;
    while heard < sent {
        heard += usize::from(matches!(raw.next().await.unwrap(), Heard::Message(..)));
    }
    within(server.publish("test", "again")).await.unwrap();
    raw.until(|heard| matches!(heard, Heard::Message(_, data) if data == b"again")).await.unwrap();
}

#[tokio::test]
async fn a_receiver_that_grants_no_credit_does_not_stop_what_others_get() {
    let server = server_with(WhenFull::Disconnect).await;
    let _up = server.create_channel("test").unwrap();
    let limits = Limits { window: 256, ..Limits::DESKTOP };
    let mut raw = sleeper(&server, limits).await;
    let mut reading = tokio::spawn(async move { while raw.next().await.is_ok() {} });
    let (a, b) = (connect("a", &server).await, connect("b", &server).await);
    let says = a.create_channel("test").await.unwrap();
    let mut hears = b.create_channel("test").await.unwrap();
    let big = vec![7; 2_000_000];
    says.publish(big.clone()).await.unwrap();
    says.publish("after").await.unwrap();
    assert_eq!(within(hears.listen()).await.unwrap().data(), &big);
    assert_eq!(within(hears.listen()).await.unwrap().text().unwrap(), "after");
    within(&mut reading).await.unwrap();
}

#[tokio::test]
async fn a_slow_program_slows_its_own_connection_and_nothing_is_lost() {
    let mut config = server_config();
    config.queue.full = WhenFull::Block;
    let server = serve(config).await;
    let (mut slow, mut quick) =
        (server.create_channel("slow").unwrap(), server.create_channel("quick").unwrap());
    let mut config = client_config("a");
    config.queue_bytes = 50_000;
    let a = connect_with(config, &server).await.unwrap();
    let to_slow = a.create_channel("slow").await.unwrap();
    let flood = tokio::spawn(async move {
        for number in 0..400u32 {
            let mut data = vec![0; PART];
            data[..4].copy_from_slice(&number.to_le_bytes());
            to_slow.send(data).await.unwrap();
        }
    });
    // Another client is not held up by that.
    let b = connect("b", &server).await;
    let to_quick = b.create_channel("quick").await.unwrap();
    for _ in 0..50 {
        to_quick.send("x").await.unwrap();
        within(quick.listen()).await.unwrap();
    }
    for number in 0..400u32 {
        let message = within(slow.listen()).await.unwrap();
        assert_eq!(message.data()[..4], number.to_le_bytes());
    }
    within(flood).await.unwrap();
}

/// A server with a queue for one small message, which makes senders wait, and a client that reads nothing: its queue, its
/// buffers and the kernel's are full. What it has asked `whom` before, and as whom.
async fn full_queue(server: &Server, asks: &[Party]) -> (Raw, Vec<Envelope>) {
    let mut raw = Raw::enter_narrow(server.address(), (random_secret(), "sleeper")).await;
    let channel = raw.open("test").await;
    let requests = asks.iter().zip(1..).map(|(party, id)| {
        let kind = Kind::Request(RequestId(id));
        Envelope { channel, party: *party, kind }
    });
    let requests: Vec<_> = requests.collect();
    for request in &requests {
        raw.say(|conn, tx| conn.send(tx, request, b"?")).await.unwrap();
    }
    let mut sent = 0;
    let wait = Duration::from_millis(300);
    while tokio::time::timeout(wait, server.send("test", "sleeper", vec![0; PART])).await.is_ok() {
        sent += 1;
        assert!(sent < 10_000, "it never waits");
    }
    (raw, requests)
}

async fn server_with_a_short_queue() -> Server {
    let mut config = server_config();
    config.queue = Queue { bytes: 1024, full: WhenFull::Block, patience: Duration::from_secs(5) };
    serve(config).await
}

#[tokio::test]
async fn a_request_that_is_dropped_beside_a_full_queue_is_answered_with_a_failure() {
    let server = server_with_a_short_queue().await;
    let mut up = server.create_channel("test").unwrap();
    let (mut raw, requests) = full_queue(&server, &[Party::Server; 2]).await;
    let mut cut_short = within(up.listen()).await.unwrap();
    // As a `timeout` or a `select!` around it does: the reply has begun to wait.
    tokio::time::timeout(Duration::ZERO, cut_short.reply("late")).await.unwrap_err();
    drop(within(up.listen()).await.unwrap());
    for request in requests {
        let failed = Heard::Failed(request, Failure::NoResponder);
        let heard = raw.until(|heard| !matches!(heard, Heard::Message(..) | Heard::Other)).await;
        assert_eq!(heard, Ok(failed));
    }
}

#[tokio::test]
async fn a_failure_reaches_a_requester_whose_queue_is_full() {
    let server = server_with_a_short_queue().await;
    let _up = server.create_channel("test").unwrap();
    let responder = connect("b", &server).await;
    let mut asked = responder.create_channel("test").await.unwrap();
    let (mut raw, requests) = full_queue(&server, &[Party::Peer(PeerId(1)); 2]).await;
    // One it does not answer, and one it takes away with it.
    drop(within(asked.listen()).await.unwrap());
    let taken = within(asked.listen()).await.unwrap();
    let (mut told, whys) = (vec![], [Failure::NoResponder, Failure::Unknown]);
    within(responder.close()).await.unwrap();
    until_connected(&server, 1).await;
    drop(taken);
    while told.len() < 2 {
        told.push(raw.until(|heard| matches!(heard, Heard::Failed(..))).await.unwrap());
    }
    let expected = requests.into_iter().zip(whys).map(|(request, why)| Heard::Failed(request, why));
    assert_eq!(told, expected.collect::<Vec<_>>());
}
