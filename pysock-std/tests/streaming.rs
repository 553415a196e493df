//! Messages far larger than memory should be: whole at the receiver, bounded on the way, never half taken for whole.

mod common;

use common::{client_config, connect, connect_with, serve, server_config, within};
use pysock_std::{Bytes, Error, PrefixMessage, StreamWriter, proto::Failure};

const PART: usize = 1 << 18;
const PARTS: usize = 256;

/// 64 MiB, every part another byte.
async fn write(writer: StreamWriter) -> Result<(), Error> {
    write_parts(writer, PARTS).await
}

async fn write_parts(mut writer: StreamWriter, parts: usize) -> Result<(), Error> {
    for part in 0..parts {
        writer.write(Bytes::from(vec![part as u8; PART])).await?;
    }
    writer.finish().await
}

/// Reads it all, checks it, and says how long it was.
async fn read(mut message: PrefixMessage) -> Result<usize, Error> {
    let mut at = 0;
    while let Some(chunk) = message.chunk().await? {
        let mut rest = &chunk[..];
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(PART - at % PART));
            assert!(now == vec![(at / PART) as u8; now.len()], "another byte near {at}");
            (at, rest) = (at + now.len(), later);
        }
    }
    assert_eq!(message.chunk().await.unwrap(), None, "the end stays the end");
    Ok(at)
}

/// The most memory that this process has ever had resident, in KiB, if the system tells.
fn peak() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[tokio::test]
async fn sixty_four_mebibytes_go_everywhere_in_flat_memory() {
    let server = serve(server_config()).await;
    let mut up = server.create_prefix_channel("big").unwrap();
    let (a, b) = (connect("a", &server).await, connect("b", &server).await);
    let a_big = a.create_channel("big").await.unwrap();
    let mut b_big = b.create_prefix_channel("big").await.unwrap();
    let before = peak();
    // A quarter each way on one connection, all of it over two.
    let (few, length) = (PARTS / 4, (PART * PARTS / 4) as u64);
    let writer = a_big.stream(Some(length)).await.unwrap();
    let writing = tokio::spawn(write_parts(writer, few));
    let message = within(up.listen()).await.unwrap();
    assert_eq!(message.length(), Some(length));
    assert_eq!(read(message).await.unwrap() as u64, length);
    within(writing).await.unwrap().unwrap();
    let writer = server.stream("big", "b", Some(length)).await.unwrap();
    let writing = tokio::spawn(write_parts(writer, few));
    assert_eq!(read(within(b_big.listen()).await.unwrap()).await.unwrap() as u64, length);
    within(writing).await.unwrap().unwrap();
    let writing = tokio::spawn(write(a_big.stream_to("b", None).await.unwrap()));
    let message = within(b_big.listen()).await.unwrap();
    assert_eq!(message.sender().key(), &a.public_key());
    assert_eq!(read(message).await.unwrap(), PART * PARTS);
    within(writing).await.unwrap().unwrap();
    if let (Some(before), Some(after)) = (before, peak()) {
        let grown = after.saturating_sub(before);
        assert!(grown < 12 * 1024, "the peak grew by {grown} KiB for 64 MiB");
    }
}

#[tokio::test]
async fn an_aborted_message_is_never_complete() {
    let server = serve(server_config()).await;
    let mut up = server.create_prefix_channel("parts").unwrap();
    let mut whole = server.create_channel("whole").unwrap();
    let a = connect("a", &server).await;
    let parts = a.create_channel("parts").await.unwrap();
    let wholes = a.create_channel("whole").await.unwrap();
    for declared in [None, Some(1000)] {
        let mut writer = parts.stream(declared).await.unwrap();
        writer.write("begun").await.unwrap();
        let mut message = within(up.listen()).await.unwrap();
        assert_eq!(within(message.chunk()).await.unwrap().unwrap(), "begun");
        drop(writer);
        let error = within(message.chunk()).await.unwrap_err();
        assert!(matches!(error, Error::Failed { failure: Failure::Cancelled, .. }), "{error}");
        let mut writer = wholes.stream(declared).await.unwrap();
        writer.write("begun").await.unwrap();
        drop(writer);
    }
    wholes.send("complete").await.unwrap();
    assert_eq!(within(whole.listen()).await.unwrap().text().unwrap(), "complete");
}

#[tokio::test]
async fn a_declared_length_is_kept_or_there_is_no_message() {
    let server = serve(server_config()).await;
    let mut up = server.create_channel("test").unwrap();
    let a = connect("a", &server).await;
    let channel = a.create_channel("test").await.unwrap();
    for written in ["too short", "much too long for that"] {
        let mut writer = channel.stream(Some(12)).await.unwrap();
        let end = match within(writer.write(written)).await {
            Ok(()) => within(writer.finish()).await,
            Err(error) => Err(error),
        };
        assert!(matches!(end, Err(Error::Failed { .. })), "{written}: {end:?}");
    }
    let mut writer = channel.stream(Some(12)).await.unwrap();
    writer.write("exactly ").await.unwrap();
    writer.write("").await.unwrap();
    writer.write("that").await.unwrap();
    within(writer.finish()).await.unwrap();
    assert_eq!(within(up.listen()).await.unwrap().text().unwrap(), "exactly that");
    let empty = channel.stream(None).await.unwrap();
    within(empty.finish()).await.unwrap();
    assert!(within(up.listen()).await.unwrap().data().is_empty());
}

#[tokio::test]
async fn a_reader_that_wants_no_more_tells_the_writer_and_the_connection_goes_on() {
    let server = serve(server_config()).await;
    let mut up = server.create_prefix_channel("test").unwrap();
    let (a, b) = (connect("a", &server).await, connect("b", &server).await);
    let to_server = a.create_channel("test").await.unwrap();
    let mut b_test = b.create_prefix_channel("test").await.unwrap();
    let writing = tokio::spawn(write(to_server.stream(None).await.unwrap()));
    drop(within(up.listen()).await.unwrap());
    let error = within(writing).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Failed { failure: Failure::Cancelled, .. }), "{error}");
    let writing = tokio::spawn(write(to_server.stream_to("b", None).await.unwrap()));
    let mut message = within(b_test.listen()).await.unwrap();
    within(message.chunk()).await.unwrap();
    drop(message);
    assert!(within(writing).await.unwrap().is_err());
    to_server.send("goes on").await.unwrap();
    let mut message = within(up.listen()).await.unwrap();
    assert_eq!(within(message.chunk()).await.unwrap().unwrap(), "goes on");
    assert_eq!(message.chunk().await.unwrap(), None);
}

#[tokio::test]
async fn a_receiver_of_whole_messages_refuses_one_that_is_too_large_and_the_sender_learns_it() {
    let mut config = server_config();
    config.max_message = 100_000;
    let server = serve(config).await;
    let mut up = server.create_channel("test").unwrap();
    let a = connect("a", &server).await;
    let mut config = client_config("b");
    config.max_message = 50_000;
    let b = connect_with(config, &server).await.unwrap();
    let from_a = a.create_channel("test").await.unwrap();
    let mut b_test = b.create_channel("test").await.unwrap();
    from_a.send(vec![0; 100_001]).await.unwrap();
    from_a.send_to("b", vec![0; 50_001]).await.unwrap();
    // Without a declared length it is noticed on the way.
    let error = within(write(from_a.stream(None).await.unwrap())).await.unwrap_err();
    assert!(matches!(error, Error::Failed { failure: Failure::TooLarge, .. }), "{error}");
    let error = within(from_a.request(vec![0; 100_001])).await.unwrap_err();
    assert!(matches!(error, Error::Failed { failure: Failure::TooLarge, .. }), "{error}");
    from_a.send(vec![1; 100_000]).await.unwrap();
    from_a.send_to("b", vec![1; 50_000]).await.unwrap();
    assert_eq!(within(up.listen()).await.unwrap().data().len(), 100_000);
    assert_eq!(within(b_test.listen()).await.unwrap().data().len(), 50_000);
    let failures = a.failures();
    assert!(failures.iter().all(|failure| failure.why == Failure::TooLarge), "{failures:?}");
    assert!(!failures.is_empty());
}

#[tokio::test]
async fn a_large_message_to_nobody_is_no_failure() {
    let server = serve(server_config()).await;
    let _up = server.create_channel("test").unwrap();
    let a = connect("a", &server).await;
    let channel = a.create_channel("test").await.unwrap();
    channel.publish(vec![0; 2_000_000]).await.unwrap();
    channel.publish("small").await.unwrap();
    within(a.close()).await.unwrap();
}

/// A client remembers the latest peers that its server has named. While a large message arrives, more than it remembers may have come:
/// the sender is who it was when the message began, and the message is not lost.
#[tokio::test]
async fn a_large_message_outlives_the_announcement_of_its_sender() {
    let mut config = server_config();
    config.max_unauthenticated_per_address = 100;
    let server = serve(config).await;
    let _channels = ["big", "small"].map(|name| server.create_channel(name).unwrap());
    let (sender, receiver) = (connect("sender", &server).await, connect("receiver", &server).await);
    let big = sender.create_channel("big").await.unwrap();
    let mut whole = receiver.create_channel("big").await.unwrap();
    let mut heard = receiver.create_channel("small").await.unwrap();
    let mut writer = within(big.stream_to("receiver", None)).await.unwrap();
    within(writer.write(Bytes::from_static(&[1; 1000]))).await.unwrap();
    // Desktops remember 64.
    for n in 0..70 {
        let other = connect(&format!("other-{n}"), &server).await;
        let channel = other.create_channel("small").await.unwrap();
        within(channel.send_to("receiver", "here")).await.unwrap();
        assert_eq!(within(heard.listen()).await.unwrap().data()[..], *b"here");
    }
    within(writer.write(Bytes::from_static(&[2; 1000]))).await.unwrap();
    within(writer.finish()).await.unwrap();
    let message = within(whole.listen()).await.unwrap();
    assert_eq!(message.sender().name().unwrap().as_str(), "sender");
    assert_eq!(message.data()[..], [[1; 1000], [2; 1000]].concat());
}
