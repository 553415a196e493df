//! Streams that their source never ends: they may cost it something, and nobody else.

mod common;

use std::time::Duration;

use common::{
    connect,
    raw::{Heard, Raw},
    serve, server_config, within,
};
use pysock_std::{
    Server,
    client::Channel,
    config::{Queue, WhenFull},
    proto::{ChannelId, Envelope, Failure, Find, Kind, Party, StreamId},
};

const PATIENCE: Duration = Duration::from_millis(300);

async fn server_with(full: WhenFull) -> Server {
    let mut config = server_config();
    config.queue = Queue { bytes: 100_000, full, patience: PATIENCE };
    serve(config).await
}

fn to(party: Party, channel: ChannelId) -> Envelope {
    Envelope { channel, party, kind: Kind::Message }
}

async fn next(hears: &mut Channel) -> String {
    within(hears.listen()).await.unwrap().text().unwrap().to_owned()
}

async fn begin(raw: &mut Raw, envelope: Envelope) -> StreamId {
    raw.say(|conn, tx| conn.begin(tx, &envelope, None)).await.unwrap()
}

#[tokio::test]
async fn a_stream_without_an_end_holds_up_nobody_else_on_its_channel() {
    let server = server_with(WhenFull::Disconnect).await;
    let _up = server.create_channel("test").unwrap();
    let (b, c) = (connect("b", &server).await, connect("c", &server).await);
    let mut hears = b.create_channel("test").await.unwrap();
    let says = c.create_channel("test").await.unwrap();
    let mut raw = Raw::enter(server.address(), "raw").await;
    let channel = raw.open("test").await;
    begin(&mut raw, to(Party::Everyone, channel)).await;
    raw.settle().await;
    server.publish("test", "from the server").await.unwrap();
    assert_eq!(next(&mut hears).await, "from the server");
    // Far more than a queue holds.
    for number in 0..1_000u32 {
        let mut data = vec![0; 1_000];
        data[..4].copy_from_slice(&number.to_le_bytes());
        within(says.publish(data)).await.unwrap();
        let message = within(hears.listen()).await.unwrap();
        assert_eq!(message.data()[..4], number.to_le_bytes());
    }
    assert_eq!(server.clients().len(), 3);
}

#[tokio::test]
async fn who_talks_on_in_the_middle_of_its_stream_loses_the_stream() {
    let server = server_with(WhenFull::Block).await;
    let _up = server.create_channel("test").unwrap();
    let b = connect("b", &server).await;
    let mut hears = b.create_channel("test").await.unwrap();
    let mut raw = Raw::enter(server.address(), "raw").await;
    let channel = raw.open("test").await;
    let find = Find::Name("b".parse().unwrap());
    raw.say(|conn, tx| conn.find(tx, 0, &find)).await.unwrap();
    let found = raw.until(|heard| matches!(heard, Heard::Found(_))).await.unwrap();
    let Heard::Found(Some(peer)) = found else { panic!("{found:?}") };
    for (stream, message) in
        [(Party::Everyone, Party::Peer(peer)), (Party::Peer(peer), Party::Everyone)]
    {
        let stream = begin(&mut raw, to(stream, channel)).await;
        raw.say(|conn, tx| conn.send(tx, &to(message, channel), b"on")).await.unwrap();
        assert_eq!(next(&mut hears).await, "on");
        let stopped = raw.until(|heard| matches!(heard, Heard::Stopped(..))).await.unwrap();
        assert_eq!(stopped, Heard::Stopped(stream, Failure::Cancelled));
    }
    // On another channel, and to somebody else, it may say what it likes.
    let _other = server.create_channel("other").unwrap();
    let mut hears_other = b.create_channel("other").await.unwrap();
    let other = raw.open("other").await;
    let stream = begin(&mut raw, to(Party::Peer(peer), channel)).await;
    raw.say(|conn, tx| conn.send(tx, &to(Party::Everyone, other), b"there")).await.unwrap();
    raw.say(|conn, tx| conn.send(tx, &to(Party::Server, channel), b"server")).await.unwrap();
    raw.say(|conn, tx| conn.chunk(tx, stream, b"whole")).await.unwrap();
    raw.say(|conn, tx| conn.end(tx, stream)).await.unwrap();
    assert_eq!(next(&mut hears_other).await, "there");
    assert_eq!(next(&mut hears).await, "whole");
}

#[tokio::test]
async fn streams_that_get_nothing_leave_their_numbers_to_who_wants_them() {
    let server = server_with(WhenFull::Disconnect).await;
    let names = ["one", "two", "three", "four", "large", "small"];
    let _up: Vec<_> = names.iter().map(|name| server.create_channel(name).unwrap()).collect();
    let b = connect("b", &server).await;
    let mut hears = Vec::new();
    for name in names {
        hears.push(b.create_channel(name).await.unwrap());
    }
    let mut raw = Raw::enter(server.address(), "raw").await;
    let mut streams = Vec::new();
    for name in &names[..4] {
        let channel = raw.open(name).await;
        streams.push(begin(&mut raw, to(Party::Everyone, channel)).await);
    }
    raw.settle().await;
    let large = vec![7; 90_000];
    server.send("large", "b", large.clone()).await.unwrap();
    // What comes behind it on its channel waits for it, and nothing else does.
    server.send("large", "b", "behind").await.unwrap();
    server.send("small", "b", "beside").await.unwrap();
    assert_eq!(next(&mut hears[5]).await, "beside");
    assert_eq!(within(hears[4].listen()).await.unwrap().data(), &large);
    assert_eq!(next(&mut hears[4]).await, "behind");
    let stopped = raw.until(|heard| matches!(heard, Heard::Stopped(..))).await.unwrap();
    assert_eq!(stopped, Heard::Stopped(streams[0], Failure::Busy), "one was wanted");
    // The others may still be ended well.
    raw.say(|conn, tx| conn.chunk(tx, streams[3], b"late")).await.unwrap();
    raw.say(|conn, tx| conn.end(tx, streams[3])).await.unwrap();
    assert_eq!(next(&mut hears[3]).await, "late");
    assert_eq!(server.clients().len(), 2);
}
