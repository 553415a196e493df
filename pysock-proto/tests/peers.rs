//! Sessions between clients through an honest server: they open, carry messages, survive what networks do.

mod sim;

use pysock_proto::{Failure, Kind, PeerError, RequestId, SendError, peer::Acquaintance};
use sim::peers::{Heard, World};

const A: usize = 0;
const B: usize = 1;

#[test]
fn strangers_meet_with_xx_and_both_decide() {
    let mut world = World::new(2);
    world.handshake(A, B, Acquaintance::New);
    world.run();
    let (a, b) = (world.directory[A].key, world.directory[B].key);
    assert_eq!(world.clients[A].take(), [Heard::Verify(b), Heard::Open { fresh: true }]);
    let greeted = Heard::Greeted { proven: false };
    assert_eq!(world.clients[B].take(), [greeted, Heard::Verify(a), Heard::Open { fresh: true }]);
    world.talk(A, B);
}

#[test]
fn acquaintances_meet_with_kk_in_two_messages() {
    let mut world = World::new(2);
    world.handshake(A, B, Acquaintance::Known);
    world.run();
    assert_eq!(world.clients[A].take(), [Heard::Open { fresh: true }]);
    let greeted = Heard::Greeted { proven: true };
    assert_eq!(world.clients[B].take(), [greeted, Heard::Open { fresh: true }]);
    world.send(A, B, b"hello");
    world.run();
    assert_eq!(world.clients[B].messages(), [b"hello"]);
}

#[test]
fn many_messages_share_a_record() {
    let mut world = World::new(2);
    world.pair(A, B);
    let peer = world.directory[B];
    world.clients[A].with_peer(&peer, |to| {
        for n in 0..10u8 {
            to.send(0, Kind::Request(RequestId(n.into())), &[n]).unwrap();
        }
    });
    let parcels = world.collect(A);
    assert_eq!(parcels.len(), 1);
    world.deliver(&parcels[0]);
    let heard = world.clients[B].take();
    let expected: Vec<_> =
        (0..10u8).map(|n| Heard::Message(0, Kind::Request(RequestId(n.into())), vec![n])).collect();
    assert_eq!(heard, expected);
}

#[test]
fn a_reconnected_client_goes_on_and_what_was_lost_is_reported_to_both() {
    let mut world = World::new(2);
    world.pair(A, B);
    world.send(A, B, b"1");
    world.run();
    world.send(A, B, b"2");
    world.send(A, B, b"3");
    // The server got them, and never delivers them.
    assert!(!world.collect(A).is_empty());
    world.send(B, A, b"x");
    let _ = world.collect(B);
    world.reconnect(B);
    world.advance(1_000);
    world.run();
    assert!(world.is_open(A, B) && world.is_open(B, A));
    world.send(A, B, b"4");
    world.send(B, A, b"y");
    world.run();
    let b = world.clients[B].take();
    assert!(b.contains(&Heard::Lost(2)), "{b:?}");
    assert!(b.contains(&Heard::Undelivered(1)), "{b:?}");
    assert!(b.contains(&Heard::Open { fresh: false }), "{b:?}");
    let a = world.clients[A].take();
    assert!(a.contains(&Heard::Undelivered(2)), "{a:?}");
    assert!(a.contains(&Heard::Lost(1)), "{a:?}");
    assert!(b.contains(&Heard::Message(0, Kind::Message, b"4".to_vec())));
    assert!(a.contains(&Heard::Message(0, Kind::Message, b"y".to_vec())));
}

#[test]
fn a_large_message_that_a_break_cuts_off_is_lost_and_both_hear_of_it() {
    let mut world = World::new(2);
    world.pair(A, B);
    let peer = world.directory[B];
    let stream = world.clients[A].with_peer(&peer, |to| {
        let stream = to.begin(0, Kind::Message, Some(10)).unwrap();
        assert_eq!(to.chunk(stream, b"12345"), Ok(5));
        stream
    });
    world.run();
    // The rest is lost, and for the sender it is all said.
    world.clients[A].with_peer(&peer, |to| {
        assert_eq!(to.chunk(stream, b"67890"), Ok(5));
        to.end(stream).unwrap();
    });
    assert_eq!(world.collect(A).len(), 1);
    world.reconnect(B);
    world.advance(1_000);
    world.run();
    let (a, b) = (world.clients[A].take(), world.clients[B].take());
    assert!(b.contains(&Heard::Reset) && b.contains(&Heard::Lost(1)), "{b:?}");
    assert!(a.contains(&Heard::Reset) && a.contains(&Heard::Undelivered(1)), "{a:?}");
}

#[test]
fn a_large_message_that_is_cut_off_by_a_close_or_a_restart_is_reported() {
    for (who, restarts) in [(A, false), (B, false), (B, true)] {
        let mut world = World::new(2);
        world.pair(A, B);
        let peer = world.directory[B];
        let stream = world.clients[A].with_peer(&peer, |to| {
            let stream = to.begin(0, Kind::Message, Some(10)).unwrap();
            assert_eq!(to.chunk(stream, b"12345"), Ok(5));
            stream
        });
        world.run();
        world.send(A, B, b"x");
        world.run();
        world.clients[A].with_peer(&peer, |to| {
            assert_eq!(to.chunk(stream, b"67890"), Ok(5));
            to.end(stream).unwrap();
        });
        // The rest is lost.
        world.collect(A);
        world.advance(1_000);
        if restarts {
            world.restart(B);
            world.handshake(B, A, Acquaintance::Known);
        } else {
            let key = world.clients[1 - who].info.key;
            let client = &mut world.clients[who];
            let env = pysock_proto::Env { now: client.end.now, identity: &client.end.key };
            client.peers.close(&key, pysock_proto::CloseReason::Done, &env);
        }
        world.run();
        let (a, b) = (world.clients[A].take(), world.clients[B].take());
        let told = |heard: &Heard| matches!(heard, Heard::Undelivered(1..) | Heard::Unknown(1..));
        assert!(a.iter().any(told), "{who} {restarts}: {a:?}");
        assert!(restarts || b.contains(&Heard::Lost(1)), "{who}: {b:?}");
    }
}

#[test]
fn a_client_that_restarts_remembers_nothing_and_that_is_said() {
    let mut world = World::new(2);
    world.pair(A, B);
    for n in 0..3u8 {
        world.send(A, B, &[n]);
    }
    world.run();
    assert_eq!(world.clients[B].messages().len(), 3);
    world.restart(B);
    world.send(A, B, b"into the void");
    world.run();
    // B has no session for it and says so; A makes a new one.
    world.advance(1_000);
    world.run();
    assert!(world.is_open(A, B) && world.is_open(B, A));
    let a = world.clients[A].take();
    assert!(a.contains(&Heard::Unknown(4)), "{a:?}");
    assert!(a.contains(&Heard::Open { fresh: true }), "{a:?}");
    world.send(A, B, b"again");
    world.run();
    assert_eq!(world.clients[B].messages(), [b"again"]);
}

#[test]
fn two_who_call_each_other_at_once_end_with_one_session() {
    let mut world = World::new(2);
    world.handshake(A, B, Acquaintance::Known);
    world.handshake(B, A, Acquaintance::Known);
    let (a, b) = (world.collect(A), world.collect(B));
    for parcel in a.iter().chain(&b) {
        world.deliver(parcel);
    }
    world.run();
    world.talk(A, B);
    assert_eq!(world.clients[A].peers.dropped() + world.clients[B].peers.dropped(), 0);
}

#[test]
fn an_attempt_that_was_lost_does_not_hold_up_the_other_sides() {
    for first in [A, B] {
        let mut world = World::new(2);
        world.handshake(first, 1 - first, Acquaintance::Known);
        assert_eq!(world.collect(first).len(), 1, "and it is lost");
        world.handshake(1 - first, first, Acquaintance::Known);
        world.run();
        assert!(world.is_open(A, B) && world.is_open(B, A), "{first} has called first");
        world.talk(A, B);
    }
}

#[test]
fn a_person_may_take_a_minute_on_either_side() {
    for asked in [A, B] {
        for yes in [true, false] {
            let mut world = World::new(2);
            world.clients[asked].hesitates = true;
            world.handshake(A, B, Acquaintance::New);
            world.run();
            assert!(world.clients[1 - asked].take().contains(&Heard::Patience));
            for _ in 0..60 {
                world.advance(1_000);
                world.run();
            }
            world.clients[asked].decide(yes).unwrap();
            world.run();
            assert_eq!((world.is_open(A, B), world.is_open(B, A)), (yes, yes), "{asked} asked");
            let heard = world.clients[1 - asked].take();
            let no = |heard: &Heard| matches!(heard, Heard::Failed(PeerError::Refused(_)));
            assert_eq!(heard.iter().any(no), !yes, "{heard:?}");
        }
    }
}

#[test]
fn an_hour_later_the_keys_are_new_and_nothing_in_flight_is_lost() {
    let mut world = World::new(2);
    world.pair(A, B);
    let before = world.clients[A].peers.deadline().unwrap();
    // The moment at which a session began is kept to about a second.
    assert!((3_598_900..=3_600_000).contains(&before.millis_since(world.now)));
    world.advance(3_600_000);
    world.send(A, B, b"1");
    world.send(B, A, b"a");
    // Both are under way while the handshake goes to and fro.
    world.run_with(|parcel| vec![parcel]);
    world.send(A, B, b"2");
    world.send(B, A, b"b");
    world.run();
    let (a, b) = (world.clients[A].take(), world.clients[B].take());
    assert!(a.contains(&Heard::Wanted) && a.contains(&Heard::Open { fresh: false }), "{a:?}");
    assert!(!a.contains(&Heard::Reset), "{a:?}");
    let texts = |heard: Vec<Heard>| -> Vec<Vec<u8>> {
        let text = |heard| match heard {
            Heard::Message(_, _, text) => Some(text),
            Heard::Lost(_) | Heard::Undelivered(_) | Heard::Unknown(_) => panic!("{heard:?}"),
            _ => None,
        };
        heard.into_iter().filter_map(text).collect()
    };
    assert_eq!(texts(a), [b"a", b"b"]);
    assert_eq!(texts(b), [b"1", b"2"]);
}

#[test]
fn large_messages_stream_with_credit_of_their_own() {
    let mut world = World::new(2);
    world.pair(A, B);
    let peer = world.directory[B];
    let data = vec![7; 600_000];
    let stream = world.clients[A]
        .with_peer(&peer, |to| to.begin(0, Kind::Message, Some(data.len() as u64)))
        .unwrap();
    let mut rest = &data[..];
    for _ in 0..10_000 {
        let sent = world.clients[A].with_peer(&peer, |to| to.chunk(stream, rest));
        rest = &rest[sent.unwrap_or(0)..];
        world.run();
        if rest.is_empty() {
            break;
        }
    }
    world.clients[A].with_peer(&peer, |to| to.end(stream)).unwrap();
    world.run();
    let heard = world.clients[B].take();
    let chunks = heard.iter().filter_map(|heard| match heard {
        Heard::Stream(text) => text.strip_prefix("Chunk 0 ").map(|n| n.parse::<usize>().unwrap()),
        _ => None,
    });
    assert_eq!(chunks.sum::<usize>(), data.len());
    assert_eq!(heard.last(), Some(&Heard::Stream("End(StreamId(0))".into())));
}

#[test]
fn a_stream_can_be_given_up_by_its_sender_and_refused_by_its_receiver() {
    let mut world = World::new(2);
    world.pair(A, B);
    let peer = world.directory[B];
    let begin = |world: &mut World| {
        let stream = world.clients[A].with_peer(&peer, |to| to.begin(0, Kind::Message, None));
        let stream = stream.unwrap();
        for part in [&b""[..], b"begun"] {
            let sent = world.clients[A].with_peer(&peer, |to| to.chunk(stream, part));
            assert_eq!(sent, Ok(part.len()));
        }
        world.run();
        world.clients[B].take();
        stream
    };
    let given_up = begin(&mut world);
    let abort = |to: &mut pysock_proto::PeerTx<'_, '_, _>| to.abort(given_up, Failure::Cancelled);
    world.clients[A].with_peer(&peer, abort).unwrap();
    assert_eq!(world.clients[A].with_peer(&peer, abort), Err(SendError::NoStream));
    let ended = world.clients[A].with_peer(&peer, |to| to.end(given_up));
    assert_eq!(ended, Err(SendError::NoStream));
    world.run();
    let aborted = "Aborted { stream: StreamId(0), failure: Cancelled }".into();
    assert_eq!(world.clients[B].take(), [Heard::Stream(aborted)]);
    // Its place is free again.
    let refused = begin(&mut world);
    assert_eq!(refused, given_up);
    let sender = world.directory[A].key;
    world.clients[B].peers.stop(&sender, refused, Failure::TooLarge);
    world.run();
    let stopped = "Stopped { stream: StreamId(0), failure: TooLarge }".into();
    assert_eq!(world.clients[A].take(), [Heard::Stream(stopped)]);
    let more = world.clients[A].with_peer(&peer, |to| to.chunk(refused, b"more"));
    assert_eq!(more, Err(SendError::NoStream));
    world.run();
    assert_eq!(world.clients[B].take(), []);
    world.talk(A, B);
}

#[test]
fn a_close_is_answered_and_forgotten_on_both_sides() {
    let mut world = World::new(2);
    world.pair(A, B);
    world.send(A, B, b"last");
    let key = world.directory[B].key;
    let client = &mut world.clients[A];
    let env = pysock_proto::Env { now: client.end.now, identity: &client.end.key };
    client.peers.close(&key, pysock_proto::CloseReason::Done, &env);
    assert!(world.clients[A].send(&world.directory[B], b"behind").is_err());
    world.run();
    let last = Heard::Message(0, Kind::Message, b"last".to_vec());
    let closed = |why| Heard::Closed(why);
    assert_eq!(world.clients[B].take(), [last, closed(pysock_proto::CloseReason::Done)]);
    assert_eq!(world.clients[A].take(), [closed(pysock_proto::CloseReason::Answered)]);
    assert!(world.clients[A].peers.sessions().is_empty());
    assert!(world.clients[B].peers.sessions().is_empty());
}

/// Nothing else arrives: a session whose last word has left is due to be forgotten at once, so its keys do not stay, and a
/// first message that comes next is not refused.
#[test]
fn the_answer_to_a_close_makes_its_sender_forget_the_session() {
    let mut world = World::new(2);
    world.pair(A, B);
    let key = world.directory[B].key;
    let client = &mut world.clients[A];
    let env = pysock_proto::Env { now: client.end.now, identity: &client.end.key };
    client.peers.close(&key, pysock_proto::CloseReason::Done, &env);
    for parcel in world.collect(A) {
        world.deliver(&parcel);
    }
    let answers = world.collect(B);
    assert_eq!(answers.len(), 1);
    assert!(world.clients[B].peers.deadline().is_some_and(|at| at <= world.now));
    world.poll(B);
    assert!(world.clients[B].peers.sessions().is_empty());
    assert_eq!(world.clients[B].peers.deadline(), None);
    world.deliver(&answers[0]);
    world.poll(A);
    world.clients[A].take();
    world.clients[B].take();
    world.handshake(A, B, Acquaintance::Known);
    world.run();
    assert!(world.is_open(A, B) && world.is_open(B, A));
}
