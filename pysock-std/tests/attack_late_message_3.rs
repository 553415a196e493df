//! Somebody on the path holds the last message of a handshake back until its client has given up and come again.

mod common;

use common::{
    client_config, connect_with,
    raw::{Heard, Raw},
    serve, server_config, until_connected, within,
};
use pysock_std::{
    client::Status,
    proto::{Limits, Refusal},
};

#[tokio::test]
async fn a_last_message_held_back_does_not_throw_the_client_out_that_came_again() {
    let server = serve(server_config()).await;
    let mut up = server.create_channel("test").unwrap();
    let config = client_config("victim");
    let who = (config.key.clone(), "victim");
    let mut held = Raw::dial("127.0.0.1", server.address(), who, Limits::DESKTOP, None).await;
    // Message 2 has come, and message 3 is ready.
    assert_eq!(held.next().await.unwrap(), Heard::Other);
    let victim = connect_with(config, &server).await.unwrap();
    held.flush().await.unwrap();
    let told = held.until(|heard| matches!(heard, Heard::Welcome(_) | Heard::Refused(_))).await;
    assert_eq!(told, Ok(Heard::Refused(Refusal::Replaced)));
    // The victim has noticed nothing.
    let channel = victim.create_channel("test").await.unwrap();
    channel.send("still here").await.unwrap();
    assert_eq!(within(up.listen()).await.unwrap().text().unwrap(), "still here");
    assert!(matches!(*victim.status().borrow(), Status::Connected), "{:?}", victim.status());
    until_connected(&server, 1).await;
}
