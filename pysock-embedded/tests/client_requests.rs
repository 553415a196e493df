//! Requests have exactly one end, and messages larger than the memory pass through.

mod world;

use pysock_embedded::proto::{Limits, RequestId};
use world::*;

type Small = Memory<514, 1024, 4, 2>;

/// A client on a channel of its server, with a program that is asked to do something there.
fn on_a_channel(react: React, test: impl FnOnce(&mut World, &mut [Board<'_, '_>; 1], Channel)) {
    let (mut memory, mut device) = (Small::new(), Device::new(1));
    let mut client = memory.client(device.setup("sensor", None));
    let channel = client.create_channel("test").unwrap();
    let mut program = Program::new(react);
    let mut world = World::new(5);
    let mut boards = [Board::new(&mut client, &mut program)];
    world.run_until(&mut boards, 0, "channel \"test\": Ok(())");
    boards[0].program.take();
    test(&mut world, &mut boards, channel);
}

#[test]
fn replies_and_failures_reach_the_one_who_asked() {
    on_a_channel(
        |_, _, _| {},
        |world, boards, channel| {
            let first = boards[0].client.request(channel, b"what?", 1_000).unwrap();
            world.run(boards, 10);
            assert_eq!(boards[0].program.take(), ["reply of server: WHAT?"]);

            world.server.manner.mute = true;
            let second = boards[0].client.request(channel, b"why?", 1_000).unwrap();
            assert_ne!(first, second);
            world.run(boards, 10);
            let (at, envelope, _) = world.server.asked.remove(0);
            world.server.fail(at, &envelope, Failure::NoResponder);
            world.run(boards, 10);
            assert_eq!(boards[0].program.take(), ["request failed: Failure(NoResponder)"]);
            // It has had its end: neither a reply nor the deadline is another one.
            world.server.reply(at, &envelope, b"late");
            world.server.fail(at, &envelope, Failure::NoResponder);
            world.run(boards, 5_000);
            assert_eq!(boards[0].program.take(), [""; 0]);
        },
    );
}

#[test]
fn a_request_times_out_exactly_at_its_deadline_and_a_late_reply_is_none() {
    on_a_channel(
        |_, _, _| {},
        |world, boards, channel| {
            world.server.manner.mute = true;
            boards[0].client.request(channel, b"long", 5_000).unwrap();
            boards[0].client.request(channel, b"short", 2_000).unwrap();
            world.run(boards, 1_999);
            assert_eq!(boards[0].program.take(), [""; 0]);
            world.run(boards, 1);
            assert_eq!(boards[0].program.take(), ["request failed: TimedOut"]);
            let (at, short, _) = world.server.asked.remove(1);
            world.server.reply(at, &short, b"late");
            world.run(boards, 2_999);
            assert_eq!(boards[0].program.take(), [""; 0]);
            // The other still has a millisecond.
            let (at, long, _) = world.server.asked.remove(0);
            world.server.reply(at, &long, b"just");
            world.run(boards, 0);
            world.run(boards, 1);
            assert_eq!(boards[0].program.take(), ["reply of server: just"]);
        },
    );
}

#[test]
fn the_time_of_a_request_begins_when_it_is_made_and_not_with_the_last_step() {
    on_a_channel(
        |_, _, _| {},
        |world, boards, channel| {
            world.server.manner.mute = true;
            // The program does something else for a while, and nothing calls the client meanwhile.
            world.now += 20_000;
            boards[0].client.request(channel, b"what?", 2_000).unwrap();
            world.run(boards, 1_999);
            assert_eq!(boards[0].program.take(), [""; 0]);
            world.run(boards, 1);
            assert_eq!(boards[0].program.take(), ["request failed: TimedOut"]);
        },
    );
}

#[test]
fn four_requests_may_wait_and_a_lost_connection_ends_them_all_as_unknown() {
    on_a_channel(
        |_, _, _| {},
        |world, boards, channel| {
            world.server.manner.mute = true;
            for _ in 0..4 {
                boards[0].client.request(channel, b"what?", 60_000).unwrap();
            }
            let fifth = boards[0].client.request(channel, b"what?", 60_000);
            assert_eq!(fifth, Err(SendError::Questions));
            world.run(boards, 10);
            world.server.restart();
            world.run(boards, 10);
            let lost = "request failed: Failure(Unknown)";
            let heard = boards[0].program.take();
            assert_eq!(heard[1..], [lost; 4]);
            // None of them is asked again by itself, and there is room for others.
            world.run(boards, 5_000);
            assert_eq!(world.server.asked.len(), 4);
            assert!(boards[0].client.request(channel, b"what?", 60_000).is_ok());
        },
    );
}

#[test]
fn a_request_that_could_not_be_sent_waits_for_nothing() {
    on_a_channel(
        |_, _, _| {},
        |world, boards, channel| {
            let client = &mut *boards[0].client;
            while client.send(channel, &[b'x'; 50]).is_ok() {}
            for _ in 0..10 {
                let full = client.request(channel, &[b'x'; 50], 1_000);
                assert!(matches!(full, Err(SendError::Full(_))), "{full:?}");
                assert_eq!(
                    client.request(channel, &[0; 2_000], 1),
                    full.map_err(|_| too_long(client))
                );
            }
            world.run(boards, 10);
            assert!(boards[0].client.request(channel, b"what?", 1_000).is_ok());
        },
    );
}

fn too_long(client: &mut Client<'_>) -> SendError {
    let channel = client.create_channel("test").unwrap();
    client.send(channel, &[0; 2_000]).unwrap_err()
}

#[test]
fn a_handler_that_asks_again_at_once_is_not_heard_for_ever() {
    on_a_channel(
        |_, client, event| {
            if let Event::Failed { to, kind: Kind::Request(_), .. } = event {
                // Too late before it is sent.
                client.request(*to, b"again", 0).unwrap();
            }
        },
        |world, boards, channel| {
            world.server.manner.mute = true;
            boards[0].client.request(channel, b"what?", 0).unwrap();
            let mut events = 0;
            let program = &mut *boards[0].program;
            let now = Instant::from_millis(world.now);
            boards[0]
                .client
                .process(now, &mut |client, event| {
                    events += 1;
                    program.hear(client, event);
                })
                .unwrap();
            assert!(events <= 1, "{events}");
        },
    );
}

#[test]
fn a_reply_to_a_request_of_somebody_else_is_none() {
    on_a_channel(
        |_, _, _| {},
        |world, boards, _| {
            world.server.send("sensor", Kind::Reply(RequestId(1)), b"unasked");
            world.run(boards, 10);
            assert_eq!(boards[0].program.take(), [""; 0]);
        },
    );
}

#[test]
fn sixty_four_kilobytes_pass_through_514_bytes_both_ways() {
    for piece in [40, 300, 2_000] {
        on_a_channel(
            |_, _, _| {},
            |world, boards, channel| {
                world.piece = piece;
                world.server.manner.limits = Limits { record: 1_024, ..Limits::DESKTOP };
                let bytes = noise(65_536);
                let Board { client, program, .. } = &mut boards[0];
                program.stream(client, channel, bytes.clone());
                // The server sends it back.
                world.run_until(boards, 0, "whole");
                assert_eq!(boards[0].program.whole, [hash(&bytes)]);
                assert!(boards[0].program.sending.is_none() && boards[0].program.taken.is_empty());
            },
        );
    }
}

#[test]
fn a_stream_that_nobody_wants_ends_and_the_next_one_comes_through() {
    on_a_channel(
        |_, client, event| {
            if let Event::Begin { stream, length: Some(60_000), .. } = event {
                client.stop(*stream, Failure::TooLarge);
            }
        },
        |world, boards, _| {
            world.server.stream("sensor", noise(60_000));
            world.run(boards, 100);
            let line = world.server.line("sensor");
            line.give_up();
            world.run(boards, 100);
            boards[0].program.taken.clear();
            world.server.stream("sensor", noise(5_000));
            world.run(boards, 1_000);
            assert_eq!(boards[0].program.whole, [hash(&noise(5_000))]);
        },
    );
}

#[test]
fn a_stream_of_a_lost_connection_is_over() {
    on_a_channel(
        |_, _, _| {},
        |world, boards, channel| {
            let old = boards[0].client.begin_stream(channel, Kind::Message, None).unwrap();
            world.run(boards, 10);
            world.server.restart();
            world.run(boards, 5_000);
            let client = &mut *boards[0].client;
            assert!(client.is_connected());
            let new = client.begin_stream(channel, Kind::Message, None).unwrap();
            assert_ne!(old, new);
            assert_eq!(client.chunk(old, b"x"), Err(SendError::NoStream));
            assert_eq!(client.end(old), Err(SendError::NoStream));
            assert_eq!(client.abort(old, Failure::Cancelled), Err(SendError::NoStream));
            assert_eq!(client.chunk(new, b"x"), Ok(1));
        },
    );
}

#[test]
fn channels_of_a_connection_that_was_begun_anew_are_opened_anew() {
    on_a_channel(
        |_, _, _| {},
        |world, boards, channel| {
            // The driver has dropped its socket without a word and begins again.
            let now = Instant::from_millis(world.now);
            boards[0].client.begin(now).unwrap();
            boards[0].line = Some(world.server.connect(now));
            assert_eq!(boards[0].client.send(channel, b"x"), Err(SendError::NotOpen));
            world.run(boards, 1_000);
            assert!(boards[0].program.has_heard("channel \"test\": Ok(())"));
            assert_eq!(boards[0].client.send(channel, b"x"), Ok(()));
        },
    );
}

#[test]
fn a_refused_channel_is_asked_for_again_on_the_next_connection_only() {
    on_a_channel(
        |_, _, _| {},
        |world, boards, _| {
            boards[0].client.create_channel("secret").unwrap();
            world.run(boards, 200_000);
            assert_eq!(boards[0].program.take(), ["channel \"secret\": Err(NoChannel)"]);
            world.server.restart();
            world.run(boards, 5_000);
            let heard = boards[0].program.take();
            assert_eq!(
                heard[2..],
                ["channel \"test\": Ok(())", "channel \"secret\": Err(NoChannel)"]
            );
        },
    );
}
