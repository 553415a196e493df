//! Two clients talk end to end through a server that only passes on.

mod world;

use pysock_embedded::{client::SessionError, proto::PeerError};
use world::*;

type Small = Memory<514, 1024, 4, 2>;

const HOUR: u64 = 3_600_000;

/// What a test is given: both clients, their keys, and the second one after a reset, when it has forgotten its sessions.
trait Test:
    for<'w, 'm> FnOnce(&mut World, &mut [Board<'w, 'm>; 2], [PublicKey; 2], Board<'w, 'm>)
{
}

impl<F> Test for F where
    F: for<'w, 'm> FnOnce(&mut World, &mut [Board<'w, 'm>; 2], [PublicKey; 2], Board<'w, 'm>)
{
}

/// Two clients of one server, both connected.
fn two(test: impl Test) {
    let mut memory = (Small::new(), Small::new(), Small::new());
    let (mut anna, mut bert, mut reset) = (Device::new(1), Device::new(2), Device::new(2));
    reset.dice = Dice::new(77);
    let keys = [anna.key.public(), bert.key.public()];
    let mut world = World::new(9);
    let server = Some(world.key());
    let mut anna = memory.0.client(anna.setup("anna", server));
    let mut bert = memory.1.client(bert.setup("bert", server));
    let mut reset = memory.2.client(reset.setup("bert", server));
    let mut programs = (Program::default(), Program::default(), Program::default());
    let mut boards =
        [Board::new(&mut anna, &mut programs.0), Board::new(&mut bert, &mut programs.1)];
    world.run(&mut boards, 1_000);
    for board in &mut boards {
        assert_eq!(board.program.take(), ["connected"]);
    }
    test(&mut world, &mut boards, keys, Board::new(&mut reset, &mut programs.2));
}

/// Two clients with a session that began with first contact.
fn in_session(test: impl Test) {
    two(|world, boards, keys, reset| {
        boards[0].client.handshake(Target::Name("bert".parse().unwrap())).unwrap();
        world.run(boards, 1_000);
        let (heard, asked) = (boards[0].program.take(), boards[1].program.take());
        assert_eq!(heard, ["verify bert", "bert: Open { fresh: true }"]);
        assert_eq!(asked, ["greeting of anna", "verify anna", "anna: Open { fresh: true }"]);
        test(world, boards, keys, reset);
    });
}

/// Both send, and both hear it.
fn talk(world: &mut World, boards: &mut [Board<'_, '_>; 2], [anna, bert]: [PublicKey; 2]) {
    boards[0].client.send(bert, b"hello bert").unwrap();
    boards[1].client.send_to_client(&anna, b"hello anna").unwrap();
    boards[0].client.request(bert, b"still there?", 5_000).unwrap();
    world.run(boards, 1_000);
    let heard = [boards[0].program.take(), boards[1].program.take()];
    assert_eq!(heard[0], ["message of peer: hello anna", "reply of peer: STILL THERE?"]);
    assert_eq!(heard[1], ["message of peer: hello bert", "request of peer: still there?"]);
}

#[test]
fn first_contact_asks_both_sides_and_both_talk() {
    for seed in 0..10 {
        in_session(|world, boards, keys, _| {
            world.piece = 1 + seed * 90;
            talk(world, boards, keys);
        });
    }
}

#[test]
fn a_pinned_key_needs_no_decision_of_the_one_who_asks() {
    two(|world, boards, keys, _| {
        boards[0].client.handshake(Target::Key(keys[1])).unwrap();
        world.run(boards, 1_000);
        assert_eq!(boards[0].program.take(), ["bert: Open { fresh: true }"]);
        assert_eq!(boards[1].program.take(), ["greeting of anna", "anna: Open { fresh: true }"]);
        talk(world, boards, keys);
    });
}

#[test]
fn both_may_begin_at_once() {
    two(|world, boards, keys, _| {
        boards[0].client.handshake(Target::Key(keys[1])).unwrap();
        boards[1].client.handshake(Target::Key(keys[0])).unwrap();
        world.run(boards, 2_000);
        for board in boards.iter_mut() {
            board.program.take();
        }
        talk(world, boards, keys);
    });
}

#[test]
fn a_decision_that_is_dropped_is_a_no_and_nobody_waits_for_ever() {
    for (answers, accepts) in [(false, false), (true, false)] {
        two(|world, boards, keys, _| {
            (boards[1].program.answers, boards[1].program.accepts) = (answers, accepts);
            boards[0].client.handshake(Target::Name("bert".parse().unwrap())).unwrap();
            world.run(boards, 60_000);
            let heard = boards[0].program.take();
            assert_eq!(heard.last().unwrap(), "bert: Failed(TimedOut)", "{heard:?}");
            assert!(!boards[0].client.has_session(&keys[1]));
            assert!(!boards[1].client.has_session(&keys[0]));
            assert_eq!(boards[0].client.send(keys[1], b"x"), Err(SendError::NotOpen));
            // Another time it goes well.
            boards[1].program.take();
            (boards[1].program.answers, boards[1].program.accepts) = (true, true);
            boards[0].client.handshake(Target::Name("bert".parse().unwrap())).unwrap();
            world.run(boards, 5_000);
            assert!(boards[0].client.has_session(&keys[1]));
        });
    }
    // The one who asks does not like the key.
    two(|world, boards, keys, _| {
        boards[0].program.accepts = false;
        boards[0].client.handshake(Target::Name("bert".parse().unwrap())).unwrap();
        world.run(boards, 60_000);
        assert_eq!(boards[0].program.take(), ["verify bert", "bert: Failed(TimedOut)"]);
        assert_eq!(boards[1].program.take(), ["greeting of anna"], "it saw no key of anna");
        assert!(!boards[1].client.has_session(&keys[0]));
    });
}

#[test]
fn a_no_is_heard_at_once() {
    for (who, answers) in [(1, false), (1, true), (0, true)] {
        two(|world, boards, _, _| {
            boards[who].program.refuses = true;
            (boards[who].program.answers, boards[who].program.accepts) = (answers, false);
            boards[0].client.handshake(Target::Name("bert".parse().unwrap())).unwrap();
            world.run(boards, 100);
            let heard = boards[1 - who].program.take();
            let no = "Failed(Refused(NotTrusted))";
            // Who has only been greeted has nothing to be told of.
            assert!(who == 0 || heard.last().unwrap().ends_with(no), "{heard:?}");
            assert!(
                !boards.iter().any(|board| board.program.heard.iter().any(|h| h.contains("Open")))
            );
        });
    }
}

#[test]
fn whoever_is_not_there_or_oneself_is_said_to_be() {
    two(|world, boards, keys, _| {
        boards[0].client.handshake(Target::Name("nobody".parse().unwrap())).unwrap();
        boards[0].client.handshake(Target::Key(keys[0])).unwrap();
        let third = boards[0].client.handshake(Target::Name("another".parse().unwrap()));
        assert_eq!(third, Err(SessionError::Busy));
        world.run(boards, 1_000);
        let heard = boards[0].program.take();
        assert_eq!(heard, ["no peer", &format!("anna: Failed({:?})", PeerError::Own)]);
        // There is room again.
        boards[0].client.handshake(Target::Name("bert".parse().unwrap())).unwrap();
        world.run(boards, 1_000);
        assert!(boards[0].client.has_session(&keys[1]));
    });
}

#[test]
fn sessions_renew_themselves_every_hour_without_a_word() {
    in_session(|world, boards, keys, _| {
        for _ in 0..3 {
            let before = world.server.relayed;
            world.run(boards, HOUR + 10_000);
            // Three units for a handshake between those who know each other, and what they confirm.
            let units = world.server.relayed - before;
            assert!((3..=8).contains(&units), "{units}");
            for board in boards.iter_mut() {
                assert_eq!(only_opens(board.program.take()), [""; 0]);
            }
            talk(world, boards, keys);
        }
    });
}

/// What was heard, without sessions that go on.
fn only_opens(mut heard: Vec<String>) -> Vec<String> {
    heard.retain(|heard| !heard.ends_with("Open { fresh: false }"));
    heard
}

#[test]
fn a_session_goes_on_after_the_server_was_restarted() {
    in_session(|world, boards, keys, _| {
        world.server.restart();
        world.run(boards, 10_000);
        for board in boards.iter_mut() {
            let heard = board.program.take();
            assert_eq!(heard[..2], ["over: Failed(Truncated), again: true", "connected"]);
            assert!(heard[3].ends_with("Open { fresh: false }"), "{heard:?}");
        }
        talk(world, boards, keys);
        // And once more, with one of them away for a day.
        world.server.restart();
        world.run(&mut boards[..1], 24 * HOUR);
        assert!(!boards[0].client.has_session(&keys[1]));
        world.run(boards, 20_000);
        boards.iter_mut().for_each(|board| drop(board.program.take()));
        talk(world, boards, keys);
    });
}

#[test]
fn what_is_lost_with_the_server_is_told() {
    in_session(|world, boards, keys, _| {
        boards[0].client.send(keys[1], b"into the dark").unwrap();
        boards[0].client.request(keys[1], b"anybody?", 60_000).unwrap();
        world.run(&mut boards[..1], 10);
        // It was on its way to bert.
        world.server.line("bert").to_client.clear();
        world.server.restart();
        world.run(boards, 10_000);
        let heard = boards[0].program.take();
        assert!(heard.contains(&"bert: Undelivered(2)".into()), "{heard:?}");
        let heard = boards[1].program.take();
        assert!(heard.contains(&"anna: Lost(2)".into()), "{heard:?}");
        // The request ends when its time is over at the latest.
        world.run(boards, 60_000);
        assert_eq!(ends(&boards[0].program.take()), 1);
        talk(world, boards, keys);
    });
}

fn ends(heard: &[String]) -> usize {
    heard.iter().filter(|heard| heard.starts_with("request failed")).count()
}

#[test]
fn a_client_that_comes_back_under_another_number_is_found_again() {
    in_session(|world, boards, keys, reset| {
        // Bert was reset: it has forgotten the session, and does not call by itself.
        world.server.line("bert").cut = true;
        world.server.line("bert").info = None;
        boards[1] = reset;
        world.run(boards, 5_000);
        assert_eq!(boards[1].program.take(), ["connected"]);
        boards[0].client.send(keys[1], b"are you there?").unwrap();
        world.run(boards, 60_000);
        // Nobody knows what became of it, and both can talk again.
        let heard = boards[0].program.take();
        assert!(heard.contains(&"bert: Unknown(1)".into()), "{heard:?}");
        assert_eq!(heard.last().unwrap(), "bert: Open { fresh: true }");
        let heard = boards[1].program.take();
        assert_eq!(heard, ["greeting of anna", "anna: Open { fresh: true }"]);
        talk(world, boards, keys);
    });
}

#[test]
fn a_client_that_was_reset_and_kept_its_pins_talks_again() {
    in_session(|world, boards, keys, reset| {
        boards[0].client.request(keys[1], b"", 60_000).unwrap();
        boards[1].program.replies = false;
        world.run(boards, 100);
        boards[0].program.take();
        world.server.line("bert").cut = true;
        world.server.line("bert").info = None;
        boards[1] = reset;
        world.run(boards, 1_000);
        boards[1].client.handshake(Target::Key(keys[0])).unwrap();
        world.run(boards, 10_000);
        let heard = boards[0].program.take();
        // No decision: it was accepted before. And its reply will not come.
        assert!(heard.contains(&"request failed: Failure(Unknown)".into()), "{heard:?}");
        assert!(heard.contains(&"bert: Open { fresh: true }".into()), "{heard:?}");
        assert!(!heard.iter().any(|heard| heard.starts_with("greeting")), "{heard:?}");
        assert_eq!(boards[1].program.take(), ["connected", "anna: Open { fresh: true }"]);
        talk(world, boards, keys);
    });
}

#[test]
fn large_messages_pass_in_a_session_both_ways_at_once() {
    for piece in [50, 700] {
        in_session(|world, boards, keys, _| {
            world.piece = piece;
            for (at, len) in [(0, 20_000), (1, 65_536)] {
                let Board { client, program, .. } = &mut boards[at];
                program.stream(client, keys[1 - at], noise(len));
            }
            world.run(boards, 5_000);
            assert_eq!(boards[0].program.whole, [hash(&noise(65_536))]);
            assert_eq!(boards[1].program.whole, [hash(&noise(20_000))]);
        });
    }
}

#[test]
fn a_closed_session_is_closed_for_both_and_its_close_has_time_to_be_answered() {
    for wait in [0, 20_000] {
        in_session(|world, boards, keys, _| {
            boards[1].program.replies = false;
            boards[0].client.request(keys[1], b"?", 60_000).unwrap();
            world.run(boards, 100);
            boards[0].program.take();
            boards[1].program.take();
            // The program may do so long after the last step.
            world.now += wait;
            boards[0].client.send(keys[1], b"bye").unwrap();
            boards[0].client.close_peer(&keys[1]);
            assert_eq!(boards[0].client.send(keys[1], b"x"), Err(SendError::NotOpen));
            world.run(boards, 10_000);
            let heard = boards[0].program.take();
            assert!(heard.contains(&"bert: Closed(Answered)".into()), "{heard:?}");
            assert!(heard.contains(&"request failed: Failure(Unknown)".into()), "{heard:?}");
            assert_eq!(boards[1].program.take(), ["message of peer: bye", "anna: Closed(Done)"]);
            assert!(!boards[1].client.has_session(&keys[0]));
        });
    }
}

#[test]
fn a_client_that_leaves_says_its_last_words_in_sessions_too() {
    in_session(|world, boards, keys, _| {
        boards[0].client.close_peer(&keys[1]);
        boards[0].client.close();
        world.run(boards, 1_000);
        assert_eq!(boards[1].program.take(), ["anna: Closed(Done)"]);
    });
}

#[test]
fn another_client_in_the_same_memory_begins_with_nothing() {
    let (mut memory, mut device) = (Small::new(), Device::new(1));
    let mut client = memory.client(device.setup("sensor", None));
    let one = client.create_channel("one").unwrap();
    drop(client);
    let client = memory.client(device.setup("sensor", None));
    assert_eq!(client.channel_name(one), None);
}
