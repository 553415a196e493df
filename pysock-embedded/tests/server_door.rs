//! A server on a microcontroller: who comes in, who does not, and who disturbs whom.
#![cfg(feature = "smoltcp")]

mod lan;

use lan::{Lan, Options, SERVER_KEY, TEST, key, name};
use pysock_embedded::{
    Address, Entropy, NoEntropy,
    proto::{Failure, Instant, Kind, Psk, SendError},
    server::{self, Admit, ServerMemory},
};

/// The program answers every request with its own text.
fn echo(lan: &mut Lan) {
    lan.central.program = Box::new(|server, event| {
        if let server::Event::Message(message) = event
            && let Kind::Request(_) = message.kind
        {
            let _ = server.reply(message, message.bytes);
        }
    });
}

/// Whether a client gets an answer from the program within so many milliseconds.
fn is_served(lan: &mut Lan, device: usize, text: &str, millis: u64) -> bool {
    let to = lan.channel(device);
    lan.devices[device].client.request(to, text.as_bytes(), millis).unwrap();
    let line = format!("server: = {text}");
    lan.until(millis, |lan| lan.has(device, &line))
}

#[test]
fn a_fifth_client_is_turned_away_and_comes_in_when_one_leaves() {
    let mut lan = Lan::four();
    let fifth = lan.add_client(4, Some(key(SERVER_KEY)), None);
    let away = |lan: &mut Lan| lan.has(fifth, "disconnected Refused(Full)");
    assert!(lan.until(5_000, away), "{:?}", lan.logs());
    assert!(lan.server_has("away Full"));
    lan.run(20_000);
    assert!(!lan.has(fifth, "connected"));
    lan.devices[1].client.close();
    assert!(lan.until(90_000, |lan| lan.has(fifth, "channel ok")), "{:?}", lan.logs());
    assert!(lan.server_has("joined e"));
    assert_eq!(lan.central.server.clients().count(), 4);
}

#[test]
fn a_client_that_lost_its_power_comes_back_at_once() {
    let mut lan = Lan::four();
    echo(&mut lan);
    let before = lan.number("a");
    lan.pull_the_plug(0);
    // The same key from a stack that knows nothing of before; the server still believes in the old connection.
    let again = lan.add_client(0, Some(key(SERVER_KEY)), None);
    assert!(lan.until(10_000, |lan| lan.has(again, "channel ok")), "{:?}", lan.logs());
    assert!(lan.server_has("joined a again"));
    assert_eq!(lan.number("a"), before);
    assert!(is_served(&mut lan, again, "here again", 5_000));
    let to = lan.channel(2);
    lan.devices[2].client.send(Address::Client(to, before), b"welcome back").unwrap();
    assert!(lan.until(5_000, |lan| lan.has(again, "c: welcome back")));
    // Nobody has left, and the place of the old connection is free some time.
    assert!(!lan.central.log.iter().any(|line| line.starts_with("left")));
    lan.run(90_000);
    let fifth = lan.add_client(4, Some(key(SERVER_KEY)), None);
    assert!(lan.until(9_000, |lan| lan.has(fifth, "disconnected Refused(Full)")));
}

#[test]
fn the_older_of_two_with_the_same_key_is_told() {
    let mut lan = Lan::with_clients(Options::default(), 2);
    lan.all_connected();
    let twin = lan.add_client(0, Some(key(SERVER_KEY)), None);
    let told = |lan: &mut Lan| lan.has(0, "disconnected Closed(Replaced)");
    assert!(lan.until(9_000, told), "{:?}", lan.logs());
    assert!(lan.until(9_000, |lan| lan.has(twin, "channel ok")));
    lan.run(90_000);
    assert_eq!(lan.count(0, "connected"), 1, "it does not fight back");
    assert_eq!(lan.central.server.clients().count(), 2);
}

#[test]
fn a_silent_client_is_noticed() {
    let mut lan = Lan::four();
    lan.pull_the_plug(3);
    assert!(lan.until(61_000, |lan| lan.server_has("left d Failed(Silent)")), "{:?}", lan.logs());
    lan.run(300_000);
    assert_eq!(lan.central.server.clients().count(), 3, "the others keep alive");
}

#[test]
fn silent_strangers_do_not_keep_the_door_shut() {
    let mut lan = Lan::new(Options::default());
    for port in 0..8 {
        let stranger = lan.add_stranger();
        lan.strangers[stranger].connect(40_000 + port);
        lan.run(10);
    }
    let client = lan.add_client(0, Some(key(SERVER_KEY)), None);
    assert!(lan.until(15_000, |lan| lan.has(client, "channel ok")), "{:?}", lan.logs());
    lan.run(15_000);
    for stranger in &mut lan.strangers {
        assert!(!stranger.socket().is_active(), "{}", stranger.socket().state());
    }
}

#[test]
fn strangers_that_never_stop_coming_leave_the_clients_alone() {
    let mut lan = Lan::four();
    echo(&mut lan);
    let strangers = [lan.add_stranger(), lan.add_stranger(), lan.add_stranger()];
    for round in 0..60_u16 {
        for (n, stranger) in strangers.into_iter().enumerate() {
            let host = &mut lan.strangers[stranger];
            if !host.socket().is_open() {
                host.connect(40_000 + round * 8 + n as u16);
            }
            match (n, host.socket().can_send()) {
                // No pysock.
                (0, true) => host.socket().send_slice(b"GET / HTTP/1.1\r\n\r\n").map(drop).unwrap(),
                // The beginning of one, and then nothing.
                (1, true) => host.socket().send_slice(b"PYS").map(drop).unwrap(),
                _ => {}
            }
        }
        let device = usize::from(round) % 4;
        assert!(is_served(&mut lan, device, &format!("round {round}"), 500), "round {round}");
        lan.run(500);
    }
    assert_eq!(lan.central.server.clients().count(), 4);
    assert!(!lan.central.log.iter().any(|line| line.starts_with("left")));
}

#[test]
fn who_sends_junk_in_its_own_connection_ends_only_that() {
    let mut lan = Lan::four();
    echo(&mut lan);
    // Bytes of nobody, on the socket of a client that is in.
    lan.devices[0].host.socket().send_slice(&[0x55; 300]).unwrap();
    let cut = |lan: &mut Lan| lan.central.log.iter().any(|line| line.starts_with("left a Failed"));
    assert!(lan.until(5_000, cut), "{:?}", lan.logs());
    for device in 1..4 {
        assert!(is_served(&mut lan, device, "still here", 1_000));
    }
    // It may come again.
    assert!(lan.until(90_000, |lan| lan.count(0, "channel ok") == 2), "{:?}", lan.logs());
}

#[test]
fn a_flood_of_small_messages_starves_nobody() {
    let mut lan = Lan::four();
    echo(&mut lan);
    let (flooded, number) = (lan.channel(0), lan.number("b"));
    let to_b = Address::Client(flooded, number);
    for round in 0..100 {
        let to = lan.channel(2);
        let text = format!("c {round}");
        lan.devices[2].client.request(to, text.as_bytes(), 5_000).unwrap();
        let line = format!("server: = {text}");
        let mut rounds = 0;
        let mut sent = 0;
        while !lan.has(2, &line) {
            // As much as the client's own memory takes, in every round: to the program, to everyone, to one.
            for to in [Address::Server(flooded), Address::Everyone(flooded), to_b] {
                while lan.devices[0].client.send(to, b"x").is_ok() {
                    sent += 1;
                    if sent % 40 == 0 {
                        break;
                    }
                }
            }
            lan.round();
            lan.now = lan.now.after_millis(1);
            rounds += 1;
            assert!(rounds < 20, "round {round}: {:?}", lan.devices[2].log);
        }
    }
    assert!(lan.central.log.iter().filter(|line| *line == "a: x").count() > 100, "it was a flood");
    assert_eq!(lan.central.server.clients().count(), 4);
    assert!(!lan.central.log.iter().any(|line| line.starts_with("left")));
}

#[test]
fn what_a_slow_receiver_has_no_room_for_is_refused_and_counted() {
    let mut lan = Lan::four();
    echo(&mut lan);
    let (to, number) = (lan.channel(0), lan.number("b"));
    lan.pull_the_plug(1);
    let mut sent = 0;
    let busy = |lan: &mut Lan| {
        let message = [b'm'; 300];
        sent +=
            usize::from(lan.devices[0].client.send(Address::Client(to, number), &message).is_ok());
        lan.has(0, "failed Failure(Busy)")
    };
    assert!(lan.until(5_000, busy), "{:?}", lan.logs());
    assert!(lan.central.server.dropped() > 0);
    // A request is answered with the reason as well.
    let to = Address::Client(to, number);
    let before = lan.count(0, "failed Failure(Busy)");
    lan.devices[0].client.request(to, &[b'q'; 300], 30_000).unwrap();
    assert!(lan.until(5_000, |lan| lan.count(0, "failed Failure(Busy)") > before));
    // So is the program, which has room that clients do not get.
    assert_eq!(lan.central.server.send(TEST, number, b"from the program"), Ok(()));
    let full = (0..9).find_map(|_| lan.central.server.send(TEST, number, &[1; 300]).err());
    assert_eq!(full, Some(Failure::Busy));
    assert_eq!(lan.central.server.publish(TEST, &[b'p'; 300]), 3);
    for device in [0, 2, 3] {
        assert!(is_served(&mut lan, device, "quick", 1_000));
        assert!(lan.has(device, "server: 300 bytes"));
    }
}

#[test]
fn what_is_too_large_for_its_receiver_is_refused() {
    let mut lan = Lan::four();
    lan.devices[3].client.close();
    assert!(lan.until(9_000, |lan| lan.server_has("left d Closed(Done)")));
    let small = lan.add_small_client(4);
    assert!(lan.until(90_000, |lan| lan.has(small, "channel ok")), "{:?}", lan.logs());
    let (to, number) = (lan.channel(0), lan.number("e"));
    let to = Address::Client(to, number);
    lan.devices[0].client.send(to, &[b'x'; 400]).unwrap();
    assert!(lan.until(1_000, |lan| lan.has(0, "failed Failure(TooLarge)")), "{:?}", lan.logs());
    lan.devices[0].client.request(to, &[b'x'; 400], 5_000).unwrap();
    assert!(lan.until(1_000, |lan| lan.count(0, "failed Failure(TooLarge)") == 2));
    assert_eq!(lan.central.server.send(TEST, number, &[1; 400]), Err(Failure::TooLarge));
    assert!(matches!(lan.devices[0].client.send(to, &[1; 600]), Err(SendError::TooLong(_))));
    lan.devices[0].client.send(to, &[b'x'; 200]).unwrap();
    assert!(lan.until(1_000, |lan| lan.has(small, "a: 200 bytes")));
}

#[test]
fn only_the_pinned_server_will_do() {
    let mut lan = Lan::new(Options::default());
    let wrong = lan.add_client(0, Some(key(99)), None);
    let first = lan.add_client(1, None, None);
    lan.run(20_000);
    assert!(!lan.has(wrong, "connected"));
    let other = format!("disconnected OtherKey({:?})", key(SERVER_KEY));
    assert!(lan.has(wrong, &other), "{:?}", lan.logs());
    assert!(lan.has(first, "verify") && lan.has(first, "connected"));
    assert_eq!(lan.central.server.key(), key(SERVER_KEY));
    assert!(!lan.server_has("joined a"));
}

#[test]
fn with_a_list_only_those_on_it_come_in() {
    let list = lan::leak([(name("a"), key(1)), (name("b"), key(2))]);
    let mut lan = Lan::new(Options { admit: Admit::List(list), ..Options::default() });
    for n in 0..3 {
        lan.add_client(n, Some(key(SERVER_KEY)), None);
    }
    lan.run(10_000);
    assert!(lan.has(0, "connected") && lan.has(1, "connected"));
    assert!(lan.has(2, "disconnected Refused(NotAllowed)"), "{:?}", lan.logs());
}

#[test]
fn a_name_that_was_claimed_stays_with_its_key() {
    let mut lan = Lan::new(Options { admit: Admit::ClaimOnce, ..Options::default() });
    lan.add_client(0, Some(key(SERVER_KEY)), None);
    lan.central.server.bind(&name("b"), &key(77)).unwrap();
    lan.add_client(1, Some(key(SERVER_KEY)), None);
    lan.run(5_000);
    assert!(lan.has(0, "connected"));
    assert!(lan.has(1, "disconnected Refused(NameTaken)"), "{:?}", lan.logs());
}

#[test]
fn a_pre_shared_key_is_asked_for() {
    let psk: &'static Psk = lan::leak(Psk::new([1; 8], [2; 32]));
    let other: &'static Psk = lan::leak(Psk::new([1; 8], [3; 32]));
    let mut lan = Lan::new(Options { psk: Some(psk), ..Options::default() });
    for (n, psk) in [Some(psk), Some(other), None].into_iter().enumerate() {
        lan.add_client(n, Some(key(SERVER_KEY)), psk);
    }
    lan.run(10_000);
    assert!(lan.has(0, "connected"), "{:?}", lan.logs());
    assert!(!lan.has(1, "connected") && !lan.has(2, "connected"));
    assert_eq!(lan.central.log.iter().filter(|line| line.starts_with("joined")).count(), 1);
}

#[test]
fn senders_are_known_by_name_however_many_have_come_and_gone() {
    let mut lan = Lan::with_clients(Options::default(), 3);
    lan.all_connected();
    for round in 1..=7 {
        // Each time it has another number.
        for device in [1, 2] {
            let to = lan.channel(device);
            let text = format!("round {round}");
            lan.devices[device].client.send(Address::Everyone(to), text.as_bytes()).unwrap();
            let line = format!("{}: {text}", ["a", "b", "c"][device]);
            assert!(lan.until(5_000, |lan| lan.has(0, &line)), "{line} {:?}", lan.logs());
        }
        lan.devices[2].client.close();
        assert!(lan.until(9_000, |lan| !lan.devices[2].client.is_active()));
        lan.run(3_000);
        lan.devices[2].client.reconnect();
        assert!(lan.until(90_000, |lan| lan.count(2, "channel ok") == round + 1));
    }
}

#[test]
fn the_operator_ends_one_connection_or_all() {
    let mut lan = Lan::four();
    let b = lan.number("b");
    assert!(lan.central.server.kick(b));
    assert!(lan.until(9_000, |lan| lan.has(1, "disconnected Closed(Kicked)")));
    assert!(lan.until(9_000, |lan| lan.server_has("left b Closed(Kicked)")), "{:?}", lan.logs());
    lan.central.server.close();
    assert!(lan.until(9_000, |lan| {
        [0, 2, 3].iter().all(|n| lan.has(*n, "disconnected Closed(ShuttingDown)"))
    }));
    assert!(lan.until(9_000, |lan| lan.central.server.clients().count() == 0));
    lan.run(90_000);
    assert!(lan.has(0, "disconnected Refused(ShuttingDown)"), "{:?}", lan.logs());
}

struct NoSource;

impl Entropy for NoSource {
    fn fill(&mut self, _: &mut [u8; 32]) -> Result<(), NoEntropy> {
        Err(NoEntropy)
    }
}

#[test]
fn without_randomness_there_is_no_connection() {
    let identity = lan::keypair(SERVER_KEY);
    let entropy = lan::leak(NoSource);
    let setup =
        server::Setup { identity, entropy, psk: None, admit: Admit::Open, directory: false };
    let mut memory = ServerMemory::<2, 258, 416, 1, 2, 2>::new();
    let mut server = memory.server(setup).unwrap();
    assert_eq!(server.begin(0, Instant::from_millis(5)), Err(NoEntropy));
    assert!(!server.is_active(0));
}

#[test]
fn a_list_that_cannot_be_is_refused() {
    let list = [(name("a"), key(1)), (name("a"), key(2))];
    let identity = lan::keypair(SERVER_KEY);
    let entropy = lan::leak(NoSource);
    let admit = Admit::List(&list);
    let setup = server::Setup { identity, entropy, psk: None, admit, directory: false };
    let mut memory = ServerMemory::<2, 258, 416, 1, 2, 2>::new();
    assert!(memory.server(setup).is_err());
}

#[test]
fn who_does_not_take_its_answers_is_not_heard_and_nobody_else_notices() {
    let mut lan = Lan::four();
    echo(&mut lan);
    let nobody = pysock_embedded::proto::PeerId(77);
    let to = Address::Client(lan.channel(0), nobody);
    // It sends as long as it can, and takes nothing: each message is one more answer that waits for it.
    let mut sent = 0;
    for _ in 0..400 {
        let now = lan.now;
        let device = &mut lan.devices[0];
        while device.client.send(to, b"x").is_ok() {
            sent += 1;
        }
        device.client.flush();
        let (_, bytes) = device.client.buffers();
        let n = device.host.socket().send_slice(bytes).unwrap_or(0);
        device.client.written(n);
        device.poll_only(now);
        device.is_deaf = true;
        lan.round();
        lan.now = lan.now.after_millis(1);
    }
    lan.devices[0].is_deaf = false;
    for device in 1..4 {
        assert!(is_served(&mut lan, device, "still quick", 1_000), "{:?}", lan.logs());
    }
    // As soon as it listens again, it gets every answer and is heard.
    assert!(is_served(&mut lan, 0, "and now me", 20_000), "{:?}", lan.devices[0].log);
    assert!(sent > 200, "{sent}");
    assert_eq!(lan.count(0, "failed Failure(NoPeer)"), sent);
    assert!(!lan.central.log.iter().any(|line| line.starts_with("left")));
}
