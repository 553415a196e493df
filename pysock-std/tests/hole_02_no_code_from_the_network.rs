//! Hole 2 of the seed: `pickle.loads` and `eval` on network bytes. What arrives is data, and only data.

mod common;

use common::{connect, serve, server_config, within};
use pysock_std::{Data, Error};

#[tokio::test]
async fn whatever_it_looks_like_it_arrives_as_the_same_bytes() {
    let server = serve(server_config()).await;
    let mut up = server.create_channel("data").unwrap();
    let (a, b) = (connect("a", &server).await, connect("b", &server).await);
    let (mut a_data, mut b_data) =
        (a.create_channel("data").await.unwrap(), b.create_channel("data").await.unwrap());
    let long = b"!".repeat(100_000);
    let evil: [&[u8]; 9] = [
        b"cos\nsystem\n(S'touch /tmp/owned'\ntR.",
        b"\x80\x04\x95\x1e\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93.",
        b"__import__('os').system('touch /tmp/owned')",
        b"!!python/object/apply:os.system ['touch /tmp/owned']",
        b"{\"type\":\"DISCONNECT\",\"sender_name\":\"server\",\"channel\":\"DSP\"}",
        b"%s%n{}{0}\\x00../../etc/passwd",
        b"\0\xff\xfe\xed\xa0\x80",
        b"",
        &long,
    ];
    for bytes in evil {
        a_data.send(bytes).await.unwrap();
        assert_eq!(within(up.listen()).await.unwrap().data(), bytes);
        a_data.send_to("b", bytes).await.unwrap();
        assert_eq!(within(b_data.listen()).await.unwrap().data(), bytes);
        server.send("data", "a", bytes).await.unwrap();
        assert_eq!(within(a_data.listen()).await.unwrap().data(), bytes);
    }
    a_data.send(&b"\xff\xfe"[..]).await.unwrap();
    assert!(within(up.listen()).await.unwrap().text().is_err(), "no text is made up");
}

#[tokio::test]
async fn typed_values_are_checked_against_the_type_that_is_expected() {
    let server = serve(server_config()).await;
    let mut up = server.create_channel("data").unwrap();
    let a = connect("a", &server).await;
    let data = a.create_channel("data").await.unwrap();
    // A length that claims four billion entries must not be believed.
    data.send(&[0xff, 0xff, 0xff, 0xff, 0x0f, 1, 2][..]).await.unwrap();
    let message = within(up.listen()).await.unwrap();
    assert!(matches!(message.value::<Vec<u64>>(), Err(Error::Value(_))));
    assert!(matches!(message.value::<String>(), Err(Error::Value(_))));
    data.send(Data::value(&("x", 7u8)).unwrap()).await.unwrap();
    let message = within(up.listen()).await.unwrap();
    assert_eq!(message.value::<(String, u8)>().unwrap(), ("x".into(), 7));
    assert!(message.value::<(String, String)>().is_err());
}

#[tokio::test]
async fn names_cannot_carry_anything_but_a_name() {
    let server = serve(server_config()).await;
    let _up = server.create_channel("data").unwrap();
    let a = connect("a", &server).await;
    let data = a.create_channel("data").await.unwrap();
    for bad in ["", "A", "a b", "a\nb", "a\0", "ä", "../x", &"x".repeat(33)] {
        assert!(matches!(common::client("x").name(bad), Err(Error::Name { .. })), "{bad:?}");
        assert!(matches!(data.send_to(bad, "x").await, Err(Error::Name { .. })), "{bad:?}");
    }
    for bad in ["", "Test", "a b", "*", "a/#", "$sys", &"x".repeat(65)] {
        assert!(matches!(server.create_channel(bad), Err(Error::Name { .. })), "{bad:?}");
        assert!(matches!(a.create_channel(bad).await, Err(Error::Name { .. })), "{bad:?}");
    }
}
