//! Sealed units of two clients, passed on by the server (section 15.1 of the protocol).

mod common;

use std::time::{Duration, Instant};

use common::{
    raw::{Heard, Raw, random_secret},
    serve, server_config, until_connected, within,
};
use pysock_std::{
    Server,
    config::{Queue, WhenFull},
    proto::{CloseReason, Failure, Limits, PeerId, SecretKey, Unit},
};

const PART: usize = 10_000;

async fn server_with(full: WhenFull) -> Server {
    let mut config = server_config();
    config.queue = Queue { bytes: 100_000, full, patience: Duration::from_millis(300) };
    serve(config).await
}

async fn enter<const N: usize>(server: &Server, names: [&str; N]) -> [Raw; N] {
    let mut all = vec![];
    for name in names {
        all.push(Raw::enter(server.address(), name).await);
    }
    all.try_into().ok().unwrap()
}

/// A client that is about to read nothing.
async fn sleeper(server: &Server) -> Raw {
    Raw::enter_narrow(server.address(), (random_secret(), "sleeper")).await
}

async fn enter_again(server: &Server, key: &SecretKey, name: &str) -> Raw {
    Raw::enter_with(server.address(), (key.clone(), name), Limits::DESKTOP).await
}

/// The same bytes for the same seed.
fn random(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..len).map(|_| next()).collect()
}

fn numbered(number: u32, len: usize) -> Vec<u8> {
    let mut record = vec![0; len];
    record[..4].copy_from_slice(&number.to_le_bytes());
    record
}

fn number_of(record: &[u8]) -> u32 {
    u32::from_le_bytes(record[..4].try_into().unwrap())
}

/// Hears that there is a newer connection, and goes.
async fn replaced(mut old: Raw) {
    let closed = old.until(|heard| matches!(heard, Heard::Closed(_))).await;
    assert_eq!(closed, Ok(Heard::Closed(CloseReason::Replaced)));
}

async fn next_unit(raw: &mut Raw) -> (PeerId, Unit, Vec<u8>) {
    match raw.until(|heard| matches!(heard, Heard::Relay(..))).await.unwrap() {
        Heard::Relay(peer, unit, bytes) => (peer, unit, bytes),
        _ => unreachable!(),
    }
}

async fn failure(raw: &mut Raw) -> (PeerId, Failure) {
    match raw.until(|heard| matches!(heard, Heard::RelayFailed(..))).await.unwrap() {
        Heard::RelayFailed(peer, why) => (peer, why),
        _ => unreachable!(),
    }
}

/// How full the queue of the one is that reads nothing, in bytes, and what was dropped from it.
fn queue_of_sleeper(server: &Server) -> (usize, u64) {
    let clients = server.clients();
    let sleeper = clients.iter().find(|client| client.name.as_str() == "sleeper");
    sleeper.map_or((0, 0), |client| (client.waiting, client.dropped))
}

/// Sends records to `to`, which does not read, until most of its queue is full. Returns how many.
async fn fill_queue(server: &Server, from: &mut Raw, to: &Raw) -> u32 {
    let mut sent = 0;
    while queue_of_sleeper(server).0 < 70_000 {
        from.relay(to.id, Unit::Record, &numbered(sent, PART)).await;
        from.settle().await;
        sent += 1;
        assert!(sent < 10_000, "the queue never fills");
    }
    sent
}

/// Sends records until somebody takes no more.
fn flood(mut from: Raw, to: PeerId, count: u32) -> tokio::task::JoinHandle<Raw> {
    tokio::spawn(async move {
        for number in 0..count {
            from.relay(to, Unit::Record, &numbered(number, PART)).await;
        }
        from
    })
}

/// Two clients that exchange units now, whatever happens elsewhere.
async fn talk(a: &mut Raw, b: &mut Raw) {
    for number in 0..100 {
        a.relay(b.id, Unit::Record, &numbered(number, 100)).await;
        assert_eq!(next_unit(b).await, (a.id, Unit::Record, numbered(number, 100)));
        b.relay(a.id, Unit::Handshake, b"answer").await;
        assert_eq!(next_unit(a).await, (b.id, Unit::Handshake, b"answer".to_vec()));
    }
}

#[tokio::test]
async fn units_arrive_unaltered_with_their_source_announced_once() {
    let server = serve(server_config()).await;
    let [mut a, mut b] = enter(&server, ["a", "b"]).await;
    for seed in 0..200 {
        let (length, unit) = match seed % 3 {
            0 => (1 + seed as usize, Unit::Handshake),
            _ => (1 + (seed as usize * 7919) % (16_384 - 23), Unit::Record),
        };
        let sealed = random(seed, length);
        a.relay(b.id, unit, &sealed).await;
        if seed == 0 {
            assert_eq!(b.next_but_other().await, Heard::Peer(a.id, "a".parse().unwrap()));
        }
        assert_eq!(b.next_but_other().await, Heard::Relay(a.id, unit, sealed));
    }
}

#[tokio::test]
async fn ten_thousand_records_arrive_in_order() {
    let server = serve(server_config()).await;
    let [mut a, mut b] = enter(&server, ["a", "b"]).await;
    let (from, to) = (a.id, b.id);
    let sending = tokio::spawn(async move {
        for number in 0..10_000 {
            a.relay(to, Unit::Record, &numbered(number, 200)).await;
        }
        a
    });
    for number in 0..10_000 {
        assert_eq!(next_unit(&mut b).await, (from, Unit::Record, numbered(number, 200)));
    }
    let mut a = within(sending).await.unwrap();
    assert_eq!(a.settle().await, [], "nothing has failed");
}

#[tokio::test]
async fn the_source_is_the_connection_and_never_what_a_unit_says() {
    let server = serve(server_config()).await;
    let [mut a, mut b, mut mallory] = enter(&server, ["a", "b", "mallory"]).await;
    // Bytes that look like a relay from `a`.
    let forged = [&[0x31, 0, 5][..], &a.id.0.to_be_bytes(), b"x"].concat();
    mallory.relay(b.id, Unit::Record, &forged).await;
    assert_eq!(next_unit(&mut b).await, (mallory.id, Unit::Record, forged));
    a.relay(b.id, Unit::Record, b"x").await;
    assert_eq!(next_unit(&mut b).await, (a.id, Unit::Record, b"x".to_vec()));
}

#[tokio::test]
async fn what_cannot_be_passed_on_is_said() {
    let server = serve(server_config()).await;
    let [mut a, b] = enter(&server, ["a", "b"]).await;
    let stranger = PeerId(4_000_000);
    let (me, gone) = (a.id, b.id);
    drop(b);
    until_connected(&server, 1).await;
    for unit in [Unit::Record, Unit::Handshake] {
        let [mut a] = enter(&server, [&format!("{unit:?}").to_lowercase()]).await;
        for (to, why) in
            [(stranger, Failure::NoPeer), (gone, Failure::Gone), (a.id, Failure::BadDestination)]
        {
            a.relay(to, unit, b"sealed").await;
            assert_eq!(failure(&mut a).await, (to, why), "{unit:?}");
        }
    }
    a.relay(me, Unit::Record, b"sealed").await;
    assert_eq!(failure(&mut a).await, (me, Failure::BadDestination));
}

#[tokio::test]
async fn no_unit_is_longer_than_its_receiver_takes() {
    let server = serve(server_config()).await;
    let [mut a] = enter(&server, ["a"]).await;
    let limits = Limits { record: 512, ..Limits::SMALL };
    let mut b = Raw::enter_with(server.address(), (random_secret(), "b"), limits).await;
    for unit in [Unit::Record, Unit::Handshake] {
        a.relay(b.id, unit, &random(1, 512 - 23 + 1)).await;
        a.relay(b.id, unit, &random(2, 512 - 23)).await;
        assert_eq!(next_unit(&mut b).await, (a.id, unit, random(2, 512 - 23)));
    }
    assert_eq!(failure(&mut a).await, (b.id, Failure::TooLarge));
    // A handshake of that length is none.
    let [b] = enter(&server, ["large"]).await;
    a.relay(b.id, Unit::Handshake, &random(3, 10_000)).await;
    assert_eq!(failure(&mut a).await, (b.id, Failure::TooLarge));
}

#[tokio::test]
async fn a_handshake_overtakes_records_that_wait() {
    let server = server_with(WhenFull::Block).await;
    let [mut a, mut c] = enter(&server, ["a", "c"]).await;
    let mut b = sleeper(&server).await;
    let sent = fill_queue(&server, &mut a, &b).await;
    c.relay(b.id, Unit::Handshake, b"hello").await;
    c.settle().await;
    let mut records = 0;
    loop {
        match next_unit(&mut b).await {
            (from, Unit::Record, record) => {
                assert_eq!((from, number_of(&record)), (a.id, records));
                records += 1;
            }
            (from, Unit::Handshake, bytes) => {
                break assert_eq!((from, &bytes[..]), (c.id, &b"hello"[..]));
            }
        }
    }
    assert!(records < sent, "it came after all {sent} records");
    for number in records..sent {
        assert_eq!(number_of(&next_unit(&mut b).await.2), number, "no record is lost");
    }
}

#[tokio::test]
async fn a_flood_of_handshakes_leaves_room_for_those_of_others() {
    let server = server_with(WhenFull::Block).await;
    let [mut a, mut c, mut mallory] = enter(&server, ["a", "c", "mallory"]).await;
    let mut b = sleeper(&server).await;
    let sent = fill_queue(&server, &mut a, &b).await;
    for _ in 0..2_000 {
        mallory.relay(b.id, Unit::Handshake, &random(7, 1_000)).await;
    }
    let told = mallory.settle().await;
    assert!(told.contains(&Heard::RelayFailed(b.id, Failure::Busy)), "{told:?}");
    assert!(queue_of_sleeper(&server).0 <= 100_000);
    c.relay(b.id, Unit::Handshake, b"hello").await;
    assert_eq!(c.settle().await, [], "there is room for another's");
    talk(&mut a, &mut c).await;
    let (mut of_mallory, mut of_c, mut records) = (0, 0, 0);
    while records < sent || of_c == 0 {
        match next_unit(&mut b).await {
            (from, Unit::Handshake, _) if from == mallory.id => of_mallory += 1,
            (from, Unit::Handshake, _) if from == c.id => of_c += 1,
            _ => records += 1,
        }
    }
    assert!((1..100).contains(&of_mallory), "{of_mallory} handshakes were kept");
}

#[tokio::test]
async fn block_makes_the_sender_of_records_wait_and_loses_nothing() {
    let server = server_with(WhenFull::Block).await;
    let [a, mut c, mut d] = enter(&server, ["a", "c", "d"]).await;
    let mut b = sleeper(&server).await;
    let (from, count) = (a.id, 1_000);
    let flood = flood(a, b.id, count);
    within(async {
        while queue_of_sleeper(&server).0 < 50_000 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    talk(&mut c, &mut d).await;
    assert!(queue_of_sleeper(&server).0 <= 100_000);
    for number in 0..count {
        let (peer, _, record) = next_unit(&mut b).await;
        assert_eq!((peer, number_of(&record)), (from, number));
    }
    let mut a = within(flood).await.unwrap();
    assert_eq!(a.settle().await, []);
}

#[tokio::test]
async fn disconnect_ends_who_takes_records_too_slowly_and_tells_their_sender() {
    let server = server_with(WhenFull::Disconnect).await;
    let [a, mut c, mut d] = enter(&server, ["a", "c", "d"]).await;
    let mut b = sleeper(&server).await;
    let flood = flood(a, b.id, 1_000);
    talk(&mut c, &mut d).await;
    until_connected(&server, 3).await;
    talk(&mut c, &mut d).await;
    let mut a = within(flood).await.unwrap();
    assert_eq!(failure(&mut a).await, (b.id, Failure::Gone));
    let end = loop {
        match b.next().await {
            Ok(Heard::Closed(why)) => break Some(why),
            Ok(_) => {}
            Err(_) => break None,
        }
    };
    assert!(matches!(end, None | Some(CloseReason::TooSlow)), "{end:?}");
}

#[tokio::test]
async fn drop_oldest_drops_the_oldest_records_and_says_so() {
    let server = server_with(WhenFull::DropOldest).await;
    let [a] = enter(&server, ["a"]).await;
    let mut b = sleeper(&server).await;
    let count = 1_000;
    let mut a = within(flood(a, b.id, count)).await.unwrap();
    a.relay(b.id, Unit::Record, &numbered(count, PART)).await;
    assert_eq!(failure(&mut a).await, (b.id, Failure::Busy));
    a.settle().await;
    let (_, dropped) = queue_of_sleeper(&server);
    assert!(dropped > 0);
    let (mut heard, mut last) = (0, None);
    while last != Some(count) {
        let number = number_of(&next_unit(&mut b).await.2);
        assert!(last.is_none_or(|last| number > last), "in order");
        (heard, last) = (heard + 1, Some(number));
    }
    assert_eq!(heard + dropped, u64::from(count) + 1, "what is missing was counted");
}

#[tokio::test]
async fn no_large_message_holds_records_up() {
    let server = serve(server_config()).await;
    let _up = server.create_channel("test").unwrap();
    let [mut a] = enter(&server, ["a"]).await;
    // Never grants credit: large messages to it stand still, and the last ones cannot even begin.
    let limits = Limits { window: 1_000, ..Limits::DESKTOP };
    let mut b = Raw::enter_with(server.address(), (random_secret(), "b"), limits).await;
    b.open("test").await;
    for _ in 0..6 {
        server.send("test", "b", vec![0; 50_000]).await.unwrap();
    }
    b.until(|heard| matches!(heard, Heard::Chunk(..))).await.unwrap();
    talk(&mut a, &mut b).await;
}

#[tokio::test]
async fn who_exchanged_units_with_a_client_hears_that_it_has_left() {
    let server = serve(server_config()).await;
    let [mut a, mut b, mut c, mut d] = enter(&server, ["a", "b", "c", "d"]).await;
    // One has only sent to it, another only heard from it.
    a.relay(b.id, Unit::Record, b"sealed").await;
    next_unit(&mut b).await;
    b.relay(c.id, Unit::Handshake, b"sealed").await;
    next_unit(&mut c).await;
    let gone = b.id;
    drop(b);
    assert_eq!(failure(&mut a).await, (gone, Failure::Gone));
    assert_eq!(failure(&mut c).await, (gone, Failure::Gone));
    until_connected(&server, 3).await;
    assert_eq!(d.settle().await, [], "it has nothing to do with them");
}

#[tokio::test]
async fn a_client_that_connects_again_has_not_left() {
    let server = serve(server_config()).await;
    let [mut a] = enter(&server, ["a"]).await;
    let key = random_secret();
    let mut old = enter_again(&server, &key, "b").await;
    talk(&mut a, &mut old).await;
    let mut new = enter_again(&server, &key, "b").await;
    assert_eq!(new.id, old.id);
    old.relay(a.id, Unit::Record, b"too late").await;
    replaced(old).await;
    until_connected(&server, 2).await;
    assert_eq!(a.settle().await, [], "no notice, and nothing from the old connection");
    let gone = new.id;
    new.relay(a.id, Unit::Record, b"sealed").await;
    assert_eq!(next_unit(&mut a).await, (gone, Unit::Record, b"sealed".to_vec()));
    let newest = enter_again(&server, &key, "b").await;
    replaced(new).await;
    until_connected(&server, 2).await;
    // The partners of the older connections are those of the newest, which has not said a word.
    drop(newest);
    assert_eq!(failure(&mut a).await, (gone, Failure::Gone));
}

#[tokio::test]
async fn what_waits_for_a_connection_dies_with_it() {
    let server = server_with(WhenFull::Block).await;
    let [mut a] = enter(&server, ["a"]).await;
    let key = random_secret();
    let b = Raw::enter_narrow(server.address(), (key.clone(), "sleeper")).await;
    fill_queue(&server, &mut a, &b).await;
    a.relay(b.id, Unit::Handshake, b"old").await;
    a.settle().await;
    let gone = b.id;
    let mut new = enter_again(&server, &key, "sleeper").await;
    drop(b);
    until_connected(&server, 2).await;
    assert_eq!(failure(&mut a).await, (gone, Failure::Gone), "the units were lost");
    a.relay(new.id, Unit::Record, b"new").await;
    assert_eq!(next_unit(&mut new).await, (a.id, Unit::Record, b"new".to_vec()));
}

#[tokio::test]
async fn the_same_failure_is_said_once_a_second() {
    let server = serve(server_config()).await;
    let [mut a] = enter(&server, ["a"]).await;
    let nobody = PeerId(4_000_000);
    let begun = Instant::now();
    for _ in 0..5_000 {
        a.relay(nobody, Unit::Record, b"sealed").await;
    }
    let told = a.settle().await;
    let most = 1 + begun.elapsed().as_secs() as usize;
    assert!((1..=most).contains(&told.len()), "{} times", told.len());
    assert!(told.iter().all(|heard| *heard == Heard::RelayFailed(nobody, Failure::NoPeer)));
    // However many numbers are tried, the server does not remember them all.
    for number in 0..5_000 {
        a.relay(PeerId(5_000_000 + number), Unit::Record, b"sealed").await;
    }
    let told = a.settle().await;
    let most = 64 * (2 + begun.elapsed().as_secs() as usize);
    assert!((1..=most).contains(&told.len()), "{} notices", told.len());
}
