//! First contact, and coming back.

mod world;

use world::{server::keypair, *};

type Small = Memory<514, 1024, 4, 2>;

#[test]
fn first_contact_asks_and_the_key_is_remembered() {
    for seed in 0..20 {
        let (mut memory, mut device) = (Small::new(), Device::new(1));
        let mut client = memory.client(device.setup("sensor", None));
        client.create_channel("test").unwrap();
        let mut program = Program::default();
        let mut world = World::new(seed);
        world.piece = 1 + seed as usize * 30;
        let mut boards = [Board::new(&mut client, &mut program)];
        world.run_until(&mut boards, 0, "channel \"test\": Ok(())");
        assert_eq!(program.take(), ["verify", "connected", "channel \"test\": Ok(())"]);
        assert_eq!(client.server(), Some(&world.key()));

        // The next connection asks nobody, and opens the channel again.
        world.server.restart();
        let mut boards = [Board { line: Some(0), ..Board::new(&mut client, &mut program) }];
        world.run_until(&mut boards, 0, "channel \"test\": Ok(())");
        assert_eq!(
            program.take(),
            ["over: Failed(Truncated), again: true", "connected", "channel \"test\": Ok(())"]
        );
    }
}

#[test]
fn a_server_that_is_not_accepted_learns_nothing_and_is_asked_about_again() {
    let (mut memory, mut device) = (Small::new(), Device::new(1));
    let mut client = memory.client(device.setup("sensor", None));
    let mut program = Program { trusts: false, ..Program::default() };
    let mut world = World::new(1);
    world.run(&mut [Board::new(&mut client, &mut program)], 4_000);
    let once = ["verify", "over: Failed(Rejected), again: true"];
    assert_eq!(program.take()[..4], [once, once].concat());
    assert_eq!(client.server(), None);
    assert!(world.server.lines.iter().all(|line| line.info.is_none()));
}

#[test]
fn failures_in_a_row_double_the_wait_up_to_a_bound_and_a_welcome_starts_anew() {
    let mut pauses = vec![];
    for device in [1, 2] {
        let (mut memory, mut device) = (Small::new(), Device::new(device));
        let mut client = memory.client(device.setup("sensor", None));
        let mut program = Program::default();
        let mut world = World::new(1);
        world.up = false;
        let mut boards = [Board::new(&mut client, &mut program)];
        world.run(&mut boards, 600_000);
        let waits: Vec<u64> = world.begun.windows(2).map(|two| two[1] - two[0]).collect();
        for (at, wait) in waits.iter().enumerate() {
            let least = 1_000 << at.min(6);
            assert!((least..=least + least / 2).contains(wait), "wait {at}: {wait}");
        }
        assert!(waits.len() > 8);
        pauses.push(waits);

        world.up = true;
        world.run(&mut boards, 100_000);
        assert!(boards[0].program.has_heard("connected"));
        let again = world.now;
        world.server.restart();
        world.run(&mut boards, 5_000);
        let wait = world.begun.last().unwrap() - again;
        assert!((1_000..=1_500).contains(&wait), "{wait}");
    }
    assert_ne!(pauses[0], pauses[1], "two devices come back at different times");
}

#[test]
fn only_what_the_server_itself_says_for_good_keeps_a_client_away() {
    for (why, again) in [(Refusal::NotAllowed, false), (Refusal::Full, true)] {
        let (mut memory, mut device) = (Small::new(), Device::new(1));
        let mut client = memory.client(device.setup("sensor", None));
        let mut program = Program::default();
        let mut world = World::new(1);
        world.server.manner.refuses = Some(why);
        let mut boards = [Board::new(&mut client, &mut program)];
        world.run(&mut boards, 20_000);
        assert_eq!(boards[0].program.take()[1], format!("over: Refused({why:?}), again: {again}"));
        assert_eq!(world.begun.len() > 1, again);
        if !again {
            // Until the program says otherwise.
            world.server.manner.refuses = None;
            boards[0].client.reconnect();
            world.run(&mut boards, 5_000);
            assert!(boards[0].program.has_heard("connected"));
        }
    }
    for (why, again) in [(CloseReason::Kicked, false), (CloseReason::ShuttingDown, true)] {
        let (mut memory, mut device) = (Small::new(), Device::new(1));
        let mut client = memory.client(device.setup("sensor", None));
        let mut program = Program::default();
        let mut world = World::new(1);
        let mut boards = [Board::new(&mut client, &mut program)];
        world.run_until(&mut boards, 0, "connected");
        world.server.close("sensor", why);
        world.run(&mut boards, 20_000);
        let heard = boards[0].program.take();
        assert_eq!(heard[2], format!("over: Closed({why:?}), again: {again}"));
        assert_eq!(heard.len() > 3, again);
        assert_eq!(world.server.lines[0].ended, None, "its close was answered");
    }
}

#[test]
fn a_program_that_closes_may_come_back_when_it_wants() {
    let (mut memory, mut device) = (Small::new(), Device::new(1));
    let mut client = memory.client(device.setup("sensor", None));
    let mut program = Program::default();
    let mut world = World::new(1);
    let mut boards = [Board::new(&mut client, &mut program)];
    world.run_until(&mut boards, 0, "connected");
    boards[0].client.close();
    world.run(&mut boards, 100_000);
    assert_eq!(boards[0].program.take()[2..], ["over: Closed(Answered), again: false"]);
    assert_eq!(boards[0].client.deadline(), None);

    boards[0].client.reconnect();
    world.run_until(&mut boards, 0, "connected");
    // Also if it changes its mind before the answer.
    boards[0].client.close();
    boards[0].client.reconnect();
    world.run(&mut boards, 5_000);
    assert_eq!(
        boards[0].program.take(),
        ["connected", "over: Closed(Answered), again: true", "connected"]
    );
}

#[test]
fn a_close_during_a_handshake_is_no_broken_connection() {
    let (mut memory, mut device) = (Small::new(), Device::new(1));
    let mut client = memory.client(device.setup("sensor", None));
    let mut program = Program::new(|_, client, event| {
        if let Event::Verify(_) = event {
            client.close();
        }
    });
    program.trusts = false;
    let mut world = World::new(1);
    world.run(&mut [Board::new(&mut client, &mut program)], 100_000);
    assert_eq!(program.take(), ["verify", "over: Closed(Done), again: false"]);
}

#[test]
fn a_decision_that_was_rejected_is_reported_as_that() {
    let (mut memory, mut device) = (Small::new(), Device::new(1));
    let mut client = memory.client(device.setup("sensor", None));
    let mut world = World::new(1);
    let (mut first, mut heard) = (None, vec![]);
    for _ in 0..2 {
        let now = Instant::from_millis(world.now);
        client.begin(now).unwrap();
        let line = world.server.connect(now);
        for _ in 0..4 {
            let (space, _) = client.buffers();
            let bytes: Vec<u8> = world.server.lines[line].to_client.drain(..).collect();
            space[..bytes.len()].copy_from_slice(&bytes);
            client.filled(bytes.len());
            let mut on_event = |client: &mut Client<'_>, event: Event<'_>| {
                if let Event::Verify(verify) = event {
                    match first.take() {
                        // The decision about the connection before.
                        Some(stale) => assert!(client.accept(stale).is_err()),
                        None => first = Some(verify),
                    }
                }
            };
            client.process(now, &mut on_event).unwrap();
            let sent = client.buffers().1.to_vec();
            client.written(sent.len());
            world.server.lines[line].to_server.extend(sent);
            world.server.step(now, usize::MAX);
        }
        client.lost(now, &mut |_, event| heard.push(format!("{event:?}")));
    }
    let why = "Disconnected { why: Failed(Rejected), again: true }";
    assert_eq!(heard, [why, why]);
    assert_eq!(client.server(), None);
}

#[test]
fn another_key_is_found_out_without_revealing_anything_and_changes_no_pin() {
    let (mut memory, mut device) = (Small::new(), Device::new(1));
    let pinned = keypair(201).public();
    let mut client = memory.client(device.setup("sensor", Some(pinned)));
    let mut program = Program::default();
    let mut world = World::new(1);
    let mut boards = [Board::new(&mut client, &mut program)];
    world.run(&mut boards, 300_000);
    let heard = boards[0].program.take();
    assert!(heard.len() > 6);
    for two in heard.chunks_exact(2) {
        assert_eq!(two[0], "over: Failed(Alert(Failed)), again: true");
        assert_eq!(two[1], format!("over: OtherKey({:?}), again: true", world.key()));
    }
    assert_eq!(boards[0].client.server(), Some(&pinned));
    // The third message is what carries the client's key; no server has come to read one.
    assert!(world.server.lines.iter().all(|line| line.info.is_none()));

    // A person has looked into it.
    boards[0].client.trust(world.key());
    world.run_until(&mut boards, 0, "connected");
}

#[test]
fn a_diagnosis_that_finds_the_right_key_blames_the_handshake() {
    let (mut memory, mut device) = (Small::new(), Device::new(1));
    let mut world = World::new(1);
    let wanted = world.key();
    let mut client = memory.client(device.setup("sensor", Some(wanted)));
    let mut program = Program::default();
    let mut boards = [Board::new(&mut client, &mut program)];
    // Somebody on the path answers the first connection, the server itself the second.
    world.server.key = keypair(201).into();
    world.run(&mut boards, 500);
    world.server.key = keypair(200).into();
    world.run_until(&mut boards, 0, "connected");
    assert_eq!(
        boards[0].program.take(),
        [
            "over: Failed(Alert(Failed)), again: true",
            "over: Failed(Handshake), again: true",
            "connected"
        ]
    );
}
