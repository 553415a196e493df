//! A server on a microcontroller and four clients, over TCP/IP in memory: what they say to each other.
#![cfg(feature = "smoltcp")]

mod lan;

use lan::{Lan, Options, SERVER_KEY, TEST, key};
use pysock_embedded::{
    Address, Event, Target,
    proto::{Kind, SendError},
    server,
};

#[test]
fn four_clients_connect_and_are_called_as_they_wish() {
    let lan = Lan::four();
    let mut names: Vec<_> =
        lan.central.server.clients().map(|peer| peer.name.as_str().to_owned()).collect();
    names.sort();
    assert_eq!(names, ["a", "b", "c", "d"]);
    for called in ["a", "b", "c", "d"] {
        assert!(lan.server_has(&format!("joined {called}")), "{:?}", lan.central.log);
        assert!(lan.server_has(&format!("channel {called}")));
    }
    assert_eq!(lan.devices[2].client.server(), Some(&key(SERVER_KEY)));
}

#[test]
fn messages_go_both_ways() {
    let mut lan = Lan::four();
    lan.central.program = Box::new(|server, event| {
        if let server::Event::Message(message) = event {
            server.send(TEST, message.sender.id, b"Hello From Server").unwrap();
        }
    });
    for device in 0..4 {
        let to = lan.channel(device);
        lan.devices[device].client.send(to, b"Hello, World!").unwrap();
    }
    let all = |lan: &mut Lan| (0..4).all(|device| lan.has(device, "server: Hello From Server"));
    assert!(lan.until(1_000, all), "{:?}", lan.logs());
    for called in ["a", "b", "c", "d"] {
        assert!(lan.server_has(&format!("{called}: Hello, World!")));
    }
}

#[test]
fn the_program_reaches_everyone() {
    let mut lan = Lan::four();
    assert_eq!(lan.central.server.publish(TEST, b"news"), 4);
    assert!(lan.until(1_000, |lan| (0..4).all(|device| lan.has(device, "server: news"))));
    assert_eq!(lan.central.server.dropped(), 0);
}

#[test]
fn a_client_reaches_everyone_else_and_everyone_knows_who_it_was() {
    let mut lan = Lan::four();
    let to = lan.channel(1);
    lan.devices[1].client.send(Address::Everyone(to), b"to all").unwrap();
    assert!(lan.until(1_000, |lan| [0, 2, 3].iter().all(|n| lan.has(*n, "b: to all"))));
    assert!(!lan.has(1, "b: to all"), "not the sender");
    assert!(!lan.server_has("b: to all"), "not the program");
}

#[test]
fn a_client_reaches_another_by_number() {
    let mut lan = Lan::four();
    let (to, number) = (lan.channel(0), lan.number("d"));
    lan.devices[0].client.send(Address::Client(to, number), b"for d").unwrap();
    assert!(lan.until(1_000, |lan| lan.has(3, "a: for d")));
    let nobody = pysock_embedded::proto::PeerId(77);
    lan.devices[0].client.send(Address::Client(to, nobody), b"for nobody").unwrap();
    assert!(lan.until(1_000, |lan| lan.has(0, "failed Failure(NoPeer)")), "{:?}", lan.logs());
}

#[test]
fn requests_to_the_program_get_exactly_one_answer() {
    let mut lan = Lan::four();
    lan.central.program = Box::new(|server, event| {
        if let server::Event::Message(message) = event
            && let Kind::Request(_) = message.kind
            && message.bytes == b"temperature"
        {
            server.reply(message, b"21.5").unwrap();
            assert!(server.reply(message, b"again").is_err());
        }
    });
    let to = lan.channel(2);
    lan.devices[2].client.request(to, b"temperature", 5_000).unwrap();
    assert!(lan.until(1_000, |lan| lan.has(2, "server: = 21.5")), "{:?}", lan.logs());
    lan.devices[2].client.request(to, b"pressure", 5_000).unwrap();
    assert!(lan.until(1_000, |lan| lan.has(2, "failed Failure(NoResponder)")));
    assert_eq!(lan.count(2, "server: = again"), 0);
}

#[test]
fn a_request_may_be_answered_later_or_failed() {
    use std::{cell::RefCell, rc::Rc};
    let mut lan = Lan::four();
    let asked = Rc::new(RefCell::new(Vec::new()));
    let kept = asked.clone();
    lan.central.program = Box::new(move |server, event| {
        if let server::Event::Message(message) = event {
            kept.borrow_mut().extend(server.defer(message));
        }
    });
    let to = lan.channel(0);
    for _ in 0..2 {
        lan.devices[0].client.request(to, b"wait", 60_000).unwrap();
    }
    assert!(lan.until(1_000, |_| asked.borrow().len() == 2));
    let mut both = asked.take().into_iter();
    let (first, second) = (both.next().unwrap(), both.next().unwrap());
    lan.central.server.reply_later(&first, b"at last").unwrap();
    lan.central.server.fail(second, pysock_embedded::proto::Failure::Cancelled);
    assert!(lan.until(1_000, |lan| lan.has(0, "server: = at last")
        && lan.has(0, "failed Failure(Cancelled)")));
}

#[test]
fn clients_ask_each_other() {
    let mut lan = Lan::four();
    lan.devices[1].program = Box::new(|client, event| {
        if let Event::Message(message) = event {
            match message.bytes {
                b"work" => client.reply(message, b"done").unwrap(),
                b"sleep" => {}
                _ => client.fail(message, pysock_embedded::proto::Failure::NoResponder).unwrap(),
            }
        }
    });
    let (to, number) = (lan.channel(0), lan.number("b"));
    let to = Address::Client(to, number);
    lan.devices[0].client.request(to, b"work", 60_000).unwrap();
    assert!(lan.until(1_000, |lan| lan.has(0, "b: = done")), "{:?}", lan.logs());
    lan.devices[0].client.request(to, b"nonsense", 60_000).unwrap();
    assert!(lan.until(1_000, |lan| lan.has(0, "failed Failure(NoResponder)")));
    // Who goes away leaves no question open.
    lan.devices[0].client.request(to, b"sleep", 60_000).unwrap();
    assert!(lan.until(1_000, |lan| lan.has(1, "a: ? sleep")));
    lan.devices[1].client.close();
    assert!(lan.until(9_000, |lan| lan.has(0, "failed Failure(Unknown)")), "{:?}", lan.logs());
    assert!(lan.server_has("left b Closed(Done)"));
}

#[test]
fn the_program_asks_a_client() {
    let mut lan = Lan::four();
    lan.devices[3].program = Box::new(|client, event| {
        if let Event::Message(message) = event
            && message.bytes == b"how are you"
        {
            client.reply(message, b"well").unwrap();
        }
    });
    let (d, c) = (lan.number("d"), lan.number("c"));
    lan.central.server.request(TEST, d, b"how are you", 1_000).unwrap();
    assert!(lan.until(900, |lan| lan.server_has("d: well")), "{:?}", lan.logs());
    lan.central.server.request(TEST, c, b"how are you", 1_000).unwrap();
    assert!(lan.until(1_500, |lan| lan.server_has("failed TimedOut")), "{:?}", lan.logs());
}

#[test]
fn two_clients_talk_end_to_end() {
    let mut lan = Lan::four();
    lan.devices[0].client.handshake(Target::Name(lan::name("b"))).unwrap();
    assert!(
        lan.until(5_000, |lan| lan.has(0, "open b") && lan.has(1, "open a")),
        "{:?}",
        lan.logs()
    );
    lan.devices[0].client.send_to_client(&key(2), b"between us").unwrap();
    lan.devices[1].client.send_to_client(&key(1), b"yes").unwrap();
    assert!(
        lan.until(1_000, |lan| lan.has(1, "sealed a: between us") && lan.has(0, "sealed b: yes"))
    );
    // Who leaves is gone for those who talked with it, and nobody else.
    lan.devices[1].client.close();
    assert!(lan.until(9_000, |lan| lan.server_has("left b Closed(Done)")));
    lan.run(1_000);
    let late = lan.devices[0].client.send_to_client(&key(2), b"still there?");
    assert_eq!(late, Err(SendError::NotOpen), "the server has told it");
    assert!(lan.devices[0].client.is_connected());
    // The session goes on where both are there again.
    lan.devices[1].client.reconnect();
    assert!(lan.until(9_000, |lan| lan.count(1, "channel ok") == 2));
    assert!(
        lan.until(9_000, |lan| { lan.devices[1].client.send_to_client(&key(1), b"back").is_ok() })
    );
    assert!(lan.until(9_000, |lan| lan.has(0, "sealed b: back")), "{:?}", lan.logs());
}

#[test]
fn a_large_message_is_streamed_to_the_program() {
    let mut lan = Lan::four();
    let to = lan.channel(0);
    let stream = lan.devices[0].client.begin_stream(to, Kind::Message, Some(3_000)).unwrap();
    let mut left = 3_000;
    assert!(
        lan.until(5_000, |lan| {
            let client = &mut lan.devices[0].client;
            if left > 0 {
                left -= client.chunk(stream, &vec![7; left.min(400)]).unwrap_or(0);
                if left == 0 {
                    client.end(stream).unwrap();
                }
            }
            lan.server_has("end")
        }),
        "{:?}",
        lan.logs()
    );
    let chunks = lan.central.log.iter().filter_map(|line| line.strip_prefix("chunk "));
    assert_eq!(chunks.map(|n| n.parse::<usize>().unwrap()).sum::<usize>(), 3_000);
}

#[test]
fn a_large_message_ends_with_its_connection() {
    let mut lan = Lan::four();
    let to = lan.channel(0);
    let stream = lan.devices[0].client.begin_stream(to, Kind::Message, Some(3_000)).unwrap();
    lan.devices[0].client.chunk(stream, &[7; 100]).unwrap();
    assert!(lan.until(1_000, |lan| lan.server_has("chunk 100")));
    lan.pull_the_plug(0);
    let aborted = |lan: &mut Lan| lan.server_has("aborted Incomplete");
    assert!(lan.until(61_000, aborted), "{:?}", lan.logs());
}

#[test]
fn a_large_message_to_another_client_is_refused_with_a_reason() {
    let mut lan = Lan::four();
    let (to, number) = (lan.channel(0), lan.number("b"));
    let to = Address::Client(to, number);
    let stream = lan.devices[0].client.begin_stream(to, Kind::Message, Some(3_000)).unwrap();
    assert!(lan.until(5_000, |lan| lan.has(0, "stopped TooLarge")), "{:?}", lan.logs());
    let _ = stream;
    // The number is free again.
    let to = lan.channel(0);
    assert!(lan.until(5_000, |lan| {
        lan.devices[0].client.begin_stream(to, Kind::Message, Some(1)).is_ok()
    }));
}

#[test]
fn everything_gets_through_where_a_tenth_is_lost() {
    let mut lan = Lan::with_clients(Options::default(), 4);
    lan.loss = 100;
    lan.central.program = Box::new(|server, event| {
        if let server::Event::Message(message) = event
            && let Kind::Request(_) = message.kind
        {
            server.reply(message, message.bytes).unwrap();
        }
    });
    lan.all_connected();
    for round in 0..20 {
        for device in 0..4 {
            let to = lan.channel(device);
            let text = format!("round {round}");
            lan.devices[device].client.request(to, text.as_bytes(), 55_000).unwrap();
        }
        let line = format!("server: = round {round}");
        let all = |lan: &mut Lan| (0..4).all(|device| lan.has(device, &line));
        assert!(lan.until(60_000, all), "{:?}", lan.logs());
    }
}
