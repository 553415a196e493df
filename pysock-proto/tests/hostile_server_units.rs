//! A server that drops, doubles, delays, changes, reflects, replays and forges what two clients send each other. It never
//! makes anybody hear what was not said, and once it stops, messages flow again.

mod sim;

use pysock_proto::{PeerError, Unit, peer::Acquaintance};
use sim::{
    Setup, agree,
    peers::{Heard, Parcel, World},
};

const A: usize = 0;
const B: usize = 1;
const C: usize = 2;
const HOWS: [Acquaintance; 2] = [Acquaintance::New, Acquaintance::Known];

/// A call, messages both ways, a change of keys, and messages again. `server` sees each unit with its position.
fn story(
    how: Acquaintance,
    mut server: impl FnMut(usize, Parcel) -> Vec<Parcel>,
) -> (World, usize) {
    let (mut world, mut n) = (World::new(2), 0);
    let mut count = |parcel| {
        n += 1;
        server(n - 1, parcel)
    };
    world.handshake(A, B, how);
    world.run_with(&mut count);
    for (at, millis) in [(0, 1_000), (1, 3_700_000), (2, 4_000), (3, 4_000)] {
        for (from, to) in [(A, B), (B, A)] {
            for part in 0..2 {
                let peer = world.directory[to];
                let _ = world.clients[from].send(&peer, &[from as u8, 2 * at + part]);
            }
        }
        world.run_with(&mut count);
        world.advance(millis);
    }
    world.run_with(&mut count);
    check(&mut world);
    (world, n)
}

/// Only what was said, in order and once; no other key, no broken rule.
fn check(world: &mut World) {
    for (at, client) in world.clients.iter_mut().enumerate() {
        let mut last = None;
        for heard in client.take() {
            match heard {
                Heard::Message(_, _, text) => {
                    assert!(text.len() == 2 && usize::from(text[0]) != at, "{text:?}");
                    assert!(last < Some(text[1]), "{text:?} after {last:?}");
                    last = Some(text[1]);
                }
                Heard::OtherKey(_) | Heard::Failed(PeerError::Protocol(..) | PeerError::Name) => {
                    panic!("{heard:?}")
                }
                _ => {}
            }
        }
    }
}

#[test]
fn one_unit_missing_or_doubled_or_late_wherever_it_is() {
    for how in HOWS {
        let (_, n) = story(how, |_, parcel| vec![parcel]);
        assert!(n > 12, "{n}");
        for at in 0..n {
            let (mut world, _) = story(how, |n, unit| if n == at { vec![] } else { vec![unit] });
            world.heals(A, B);
            let (mut world, _) = story(how, |n, unit| vec![unit; if n == at { 3 } else { 1 }]);
            world.heals(A, B);
            for by in [1, 2, 5] {
                let mut late = None;
                let (mut world, _) = story(how, |n, unit| {
                    if n == at {
                        late = Some(unit);
                        return vec![];
                    }
                    let late = (n == at + by).then(|| late.take()).flatten();
                    [Some(unit), late].into_iter().flatten().collect()
                });
                world.heals(A, B);
            }
        }
    }
}

#[test]
fn every_kth_unit_missing() {
    for how in HOWS {
        for k in 2..7 {
            let (mut world, _) = story(how, |n, unit| if n % k == 1 { vec![] } else { vec![unit] });
            world.heals(A, B);
        }
    }
}

#[test]
fn a_changed_byte_anywhere_in_a_handshake() {
    for how in HOWS {
        let mut lengths = vec![];
        story(how, |_, unit| {
            lengths.push(unit.bytes.len());
            vec![unit]
        });
        // The messages of the first handshake, and the records that follow it.
        for (position, len) in lengths.into_iter().take(5).enumerate() {
            for at in 0..len {
                let mut world = World::new(2);
                world.handshake(A, B, how);
                let mut n = 0;
                world.run_with(|mut unit| {
                    if n == position {
                        unit.bytes[at] ^= 1 << (at % 8);
                    }
                    n += 1;
                    vec![unit]
                });
                check(&mut world);
                if at % 5 == 0 {
                    world.advance(4_000);
                    world.heals(A, B);
                }
            }
        }
    }
}

#[test]
fn a_handshake_cut_short_at_any_length() {
    for how in HOWS {
        for position in 0..5 {
            for len in 1..130 {
                let mut world = World::new(2);
                world.handshake(A, B, how);
                let mut n = 0;
                world.run_with(|mut unit| {
                    if n == position {
                        unit.bytes.truncate(len);
                    }
                    n += 1;
                    vec![unit]
                });
                check(&mut world);
                if len % 9 == 0 {
                    world.advance(4_000);
                    world.heals(A, B);
                }
            }
        }
    }
}

#[test]
fn everything_comes_back_to_its_sender_as_well() {
    for how in HOWS {
        let (mut world, _) = story(how, |_, unit| {
            let back = Parcel { from: unit.to, to: unit.from, ..unit.clone() };
            vec![back.clone(), unit, back]
        });
        world.heals(A, B);
    }
}

#[test]
fn records_with_a_false_stamp_or_of_another_session_say_nothing() {
    let mut world = World::new(3);
    world.pair(A, B);
    world.send(A, B, b"\0\0");
    let old = world.collect(A);
    world.restart(A);
    world.restart(B);
    for (a, b) in [(A, B), (A, C), (B, C)] {
        world.pair(a, b);
    }
    for unit in &old {
        world.deliver(unit);
    }
    assert_eq!(world.clients[B].take(), []);
    for (from, to) in [(A, B), (A, C), (B, C), (C, A), (C, B), (B, A)] {
        world.send(from, to, b"genuine");
        // Beside it there are notices of what was false before.
        let mut units = world.collect(from);
        units.retain(|unit| unit.unit == Unit::Record);
        let [unit] = units.try_into().unwrap();
        for stamp in 0..3 {
            for receiver in 0..3 {
                if (stamp, receiver) != (from, to) {
                    world.deliver(&Parcel { from: stamp, to: receiver, ..unit.clone() });
                }
            }
        }
        for at in 0..3 {
            assert_eq!(world.clients[at].take(), [], "{from} to {to}, heard by {at}");
        }
        world.deliver(&unit);
        assert_eq!(world.clients[to].messages(), [b"genuine"]);
    }
    for (a, b) in [(A, B), (A, C), (B, C)] {
        world.advance(4_000);
        world.heals(a, b);
    }
}

#[test]
fn a_whole_session_once_more_says_nothing() {
    for how in HOWS {
        let (mut world, _) = story(how, |_, unit| vec![unit]);
        let all = world.seen.clone();
        for unit in &all {
            world.deliver(unit);
        }
        world.run();
        assert!(world.clients.iter_mut().all(|client| client.messages().is_empty()));
        world.heals(A, B);
        // Not even to clients that remember nothing.
        for restarts in [vec![A], vec![B], vec![A, B]] {
            restarts.into_iter().for_each(|at| world.restart(at));
            for unit in &all {
                world.deliver(unit);
                let heard = world.clients[unit.to].take();
                assert!(
                    !heard.iter().any(|heard| matches!(heard, Heard::Message(..))),
                    "{heard:?}"
                );
            }
            world.run();
            world.advance(20_000);
            world.heals(A, B);
        }
    }
}

#[test]
fn a_first_message_once_more_displaces_no_session() {
    for how in HOWS {
        let mut world = World::new(2);
        world.handshake(A, B, how);
        world.run();
        let first = world.seen[0].clone();
        for round in 0..20u8 {
            world.deliver(&first);
            world.send(A, B, &[round]);
            world.send(B, A, &[round]);
            // The answers to it are nothing to A.
            world.run();
            assert_eq!(world.clients[A].messages(), [[round]]);
            assert_eq!(world.clients[B].messages(), [[round]]);
            world.advance(500);
        }
        assert!(world.is_open(A, B) && world.is_open(B, A));
    }
}

#[test]
fn an_old_answer_in_the_name_of_an_absent_client_opens_nothing() {
    for how in HOWS {
        let mut world = World::new(2);
        world.handshake(A, B, how);
        world.run();
        let answers: Vec<_> = world.seen.iter().filter(|unit| unit.from == B).cloned().collect();
        world.restart(A);
        world.handshake(A, B, how);
        let first = world.collect(A).remove(0);
        for answer in &answers {
            let mut answer = answer.clone();
            world.deliver(&answer);
            // Under the name of the present attempt, too.
            answer.bytes[1..5].copy_from_slice(&first.bytes[1..5]);
            world.deliver(&answer);
        }
        assert!(!world.clients[A].take().contains(&Heard::Open { fresh: true }));
        assert!(!world.is_open(A, B));
        world.advance(4_000);
        world.heals(A, B);
    }
}

#[test]
fn forged_notices_end_attempts_at_most() {
    let name = |like: &Parcel, step| match step {
        0x23 => like.bytes[..4].to_vec(),
        _ => like.bytes[1..5].to_vec(),
    };
    for how in HOWS {
        for (step, code) in
            [(0x20, &[1][..]), (0x21, &[1]), (0x21, &[]), (0x22, &[1]), (0x23, &[1])]
        {
            // With each unit come two false notices, one to either side.
            let (mut world, _) = story(how, |_, unit| {
                let bytes = [&[step], &name(&unit, step)[..], code].concat();
                let to_receiver = Parcel { unit: Unit::Handshake, bytes, ..unit.clone() };
                let to_sender = Parcel { from: unit.to, to: unit.from, ..to_receiver.clone() };
                vec![to_receiver, unit, to_sender]
            });
            world.advance(130_000);
            world.heals(A, B);
        }
    }
}

#[test]
fn a_forged_notice_loses_no_message() {
    let mut world = World::new(2);
    world.pair(A, B);
    for n in 0..30u8 {
        world.send(A, B, &[n]);
        let unit = world.collect(A).remove(0);
        world.deliver(&unit);
        let bytes = [&[0x23], &unit.bytes[..4]].concat();
        world.deliver(&Parcel { from: B, to: A, unit: Unit::Handshake, bytes });
        for _ in 0..8 {
            world.run();
            world.advance(500);
        }
        assert!(world.is_open(A, B), "{n}: {:?}", world.clients[A].heard);
    }
    let expected: Vec<_> = (0..30u8).map(|n| vec![n]).collect();
    assert_eq!(world.clients[B].messages(), expected);
    let heard = world.clients[A].take();
    let is_loss = |heard: &Heard| matches!(heard, Heard::Undelivered(_) | Heard::Unknown(_));
    assert!(!heard.iter().any(is_loss), "{heard:?}");
}

#[test]
fn a_notice_about_a_record_that_was_never_sent_says_nothing() {
    let mut world = World::new(2);
    world.pair(A, B);
    world.send(A, B, b"x");
    let unit = world.collect(A).remove(0);
    world.deliver(&unit);
    world.run();
    world.clients[A].take();
    let header: [u8; 4] = unit.bytes[..4].try_into().unwrap();
    let (label, counter) = (header[0], u32::from_be_bytes(header) & 0x00ff_ffff);
    let deny = |world: &mut World, label: u8, counter: u32| {
        let [_, counter @ ..] = counter.to_be_bytes();
        let bytes = [&[0x23, label], &counter[..], &[0]].concat();
        world.deliver(&Parcel { from: B, to: A, unit: Unit::Handshake, bytes });
        world.poll(A);
        world.clients[A].take()
    };
    world.advance(1_000);
    assert_eq!(deny(&mut world, label, counter + 1), [], "not yet");
    assert_eq!(deny(&mut world, label.wrapping_add(1), counter), [], "of another session");
    assert_eq!(deny(&mut world, label, counter), [Heard::Wanted]);
}

#[test]
fn a_message_of_one_layer_means_nothing_in_the_other() {
    // A call between clients, passed off as a login at another server, and that server's answer as the callee's.
    let mut world = World::new(2);
    world.handshake(A, B, Acquaintance::New);
    let call = world.collect(A).remove(0);
    let mut client = Setup::default().client();
    let login = client.flushed().unwrap();
    let (before, first) = login.split_at(login.len() - 32);
    let mut server = Setup::default().server();
    let as_login = [before, &call.bytes[5..]].concat();
    server.feed(&as_login, usize::MAX, agree).unwrap();
    let answer = server.flushed().unwrap();
    let bytes = [&[0x12], &call.bytes[1..5], &answer[2..]].concat();
    world.deliver(&Parcel { from: B, to: A, unit: Unit::Handshake, bytes });
    assert_eq!(world.clients[A].take(), [Heard::Failed(PeerError::Handshake)]);
    // A login, passed off as a call, and the callee's answer as the server's.
    let bytes = [&[0x11], &first[..4], first].concat();
    world.deliver(&Parcel { from: A, to: B, unit: Unit::Handshake, bytes });
    let answer = world.collect(B).remove(0);
    let mut as_answer = ((answer.bytes.len() - 5) as u16).to_be_bytes().to_vec();
    as_answer.extend(&answer.bytes[5..]);
    assert!(client.feed(&as_answer, usize::MAX, agree).is_err());
    world.advance(20_000);
    world.heals(A, B);
}

/// A server that keeps everything has none of the secrets that made it: neither long-term nor ephemeral ones, in any unit.
#[test]
fn no_secret_is_ever_in_a_unit() {
    let mut world = World::new(2);
    let ephemerals = [[0xA1; 32], [0xB2; 32]];
    for (client, ephemeral) in world.clients.iter_mut().zip(ephemerals) {
        client.ephemerals.push(ephemeral);
    }
    world.handshake(A, B, Acquaintance::New);
    world.run();
    world.send(A, B, b"a word");
    world.run();
    let mut secrets = ephemerals.to_vec();
    secrets.extend(world.clients.iter().map(|client| *client.end.key.secret().expose()));
    assert!(world.seen.len() >= 4, "three messages and a record");
    for parcel in &world.seen {
        for secret in &secrets {
            // Not even a part of it.
            assert!(parcel.bytes.windows(8).all(|part| part != &secret[..8]), "{parcel:x?}");
        }
    }
}
