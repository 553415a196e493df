//! Whatever happens to the link, the program hears of it, and the client comes back.

mod world;

use pysock_embedded::proto::Limits;
use world::{server::keypair, *};

type Small = Memory<514, 1024, 4, 2>;

/// Asks as soon as it can, and again after each answer, three times.
fn chat(program: &mut Program, client: &mut Client<'_>, event: &Event<'_>) {
    let asked = program.heard.iter().filter(|heard| heard.starts_with("reply")).count();
    match event {
        Event::Channel { channel, result: Ok(()) } => {
            client.send(*channel, b"hello").unwrap();
            client.request(*channel, b"one", 5_000).unwrap();
        }
        Event::Message(message) if asked < 2 => {
            if let Kind::Reply(_) = message.kind {
                client.request(message.from, b"more", 5_000).unwrap();
            }
        }
        _ => {}
    }
}

#[test]
fn a_wire_cut_at_any_byte_is_reported_once_and_the_client_comes_back() {
    // How many bytes the whole dialogue takes.
    let dialogue = |cut: Option<(bool, usize)>| {
        let (mut memory, mut device) = (Small::new(), Device::new(1));
        let mut client = memory.client(device.setup("sensor", Some(keypair(200).public())));
        client.create_channel("test").unwrap();
        let mut program = Program::new(chat);
        let mut world = World::new(7);
        match cut {
            Some((true, at)) => world.cut_down = at,
            Some((false, at)) => world.cut_up = at,
            None => {}
        }
        world.run(&mut [Board::new(&mut client, &mut program)], 10_000);
        let line = &world.server.lines[0];
        let open = world.server.lines.last().unwrap().conn.is_open() && client.is_connected();
        let (up, down) = (world.up_bytes, line.said);
        (program.take(), open, world.begun.len(), up, down)
    };
    let (heard, _, begun, up, down) = dialogue(None);
    assert_eq!(
        heard[2..],
        ["reply of server: ONE", "reply of server: MORE", "reply of server: MORE"]
    );
    assert_eq!(begun, 1);
    let cuts = (1..up).map(|at| (false, at)).chain((1..down).map(|at| (true, at)));
    for cut in cuts {
        let (heard, open, begun, ..) = dialogue(Some(cut));
        let over = heard.iter().filter(|heard| heard.starts_with("over: ")).count();
        assert_eq!((over, begun, open), (1, 2, true), "{cut:?}: {heard:?}");
        let why = heard.iter().find(|heard| heard.starts_with("over: ")).unwrap();
        assert_eq!(why, "over: Failed(Truncated), again: true", "{cut:?}");
        // Every request has one end.
        let (replies, lost) =
            (count(&heard, "reply"), count(&heard, "request failed: Failure(Unknown)"));
        assert!(replies >= 3 - lost && lost <= 1, "{cut:?}: {heard:?}");
    }
}

fn count(heard: &[String], start: &str) -> usize {
    heard.iter().filter(|heard| heard.starts_with(start)).count()
}

#[test]
fn a_server_that_falls_silent_at_any_byte_is_given_up_at_the_deadline() {
    let mut said = 0;
    loop {
        let (mut memory, mut device) = (Small::new(), Device::new(1));
        let mut client = memory.client(device.setup("sensor", None));
        let mut program = Program::default();
        let mut world = World::new(3);
        world.server.manner.silent_after = said;
        let mut boards = [Board::new(&mut client, &mut program)];
        world.run(&mut boards, 29_999);
        let heard = boards[0].program.take();
        if heard.iter().any(|heard| heard == "connected") {
            // The idle time counts from the welcome on.
            world.run(&mut boards, 30_000);
            assert_eq!(boards[0].program.take(), [""; 0], "the server's pong is not due before");
            world.run(&mut boards, 1);
            assert_eq!(boards[0].program.take(), ["over: Failed(Silent), again: true"]);
            assert!(said > 100, "the welcome is behind the handshake");
            return;
        }
        assert!(heard.len() <= 1, "{said}: {heard:?}");
        world.run(&mut boards, 1);
        let heard = boards[0].program.take();
        assert_eq!(heard, ["over: Failed(HandshakeTimeout), again: true"], "{said}");
        said += 1;
    }
}

#[test]
fn a_person_who_decides_about_this_client_has_until_the_deadline() {
    let (mut memory, mut device) = (Small::new(), Device::new(1));
    let mut client = memory.client(device.setup("sensor", None));
    let mut program = Program::default();
    let mut world = World::new(3);
    world.server.manner.admits = false;
    world.run(&mut [Board::new(&mut client, &mut program)], 30_000);
    assert_eq!(program.take(), ["verify", "over: Failed(HandshakeTimeout), again: true"]);
}

#[test]
fn a_client_whose_bytes_are_not_taken_comes_back_all_the_same() {
    // From the very first byte, as with an address where nobody is.
    let (mut memory, mut device) = (Small::new(), Device::new(1));
    let mut client = memory.client(device.setup("sensor", None));
    let mut program = Program::default();
    let mut world = World::new(3);
    world.blocked = true;
    let mut boards = [Board::new(&mut client, &mut program)];
    world.run(&mut boards, 30_000);
    assert_eq!(boards[0].program.take(), ["over: Failed(HandshakeTimeout), again: true"]);
    world.blocked = false;
    world.run_until(&mut boards, 0, "connected");

    // In the middle: the idle time.
    let Board { program, .. } = &mut boards[0];
    program.take();
    (world.blocked, world.server.manner.silent_after) = (true, 0);
    world.run(&mut boards, 60_000);
    assert_eq!(boards[0].program.take(), ["over: Failed(Silent), again: true"]);
    (world.blocked, world.server.manner.silent_after) = (false, usize::MAX);
    world.run_until(&mut boards, 0, "connected");

    // The last word, an answer to the server's close: five seconds.
    boards[0].program.take();
    world.blocked = true;
    world.server.close("sensor", CloseReason::ShuttingDown);
    world.run(&mut boards, 100);
    // That the server gives up is not seen either.
    world.server.manner.silent_after = 0;
    world.run(&mut boards, 4_000);
    assert_eq!(boards[0].program.take(), [""; 0]);
    world.run(&mut boards, 1_100);
    assert_eq!(boards[0].program.take(), ["over: Closed(ShuttingDown), again: true"]);

    // This side's own close, which nobody answers.
    (world.blocked, world.server.manner.silent_after) = (false, usize::MAX);
    world.run_until(&mut boards, 0, "connected");
    boards[0].program.take();
    world.server.manner.silent_after = 0;
    boards[0].client.close();
    world.run(&mut boards, 5_100);
    assert_eq!(boards[0].program.take(), ["over: Failed(CloseTimeout), again: false"]);
}

#[test]
fn junk_and_records_above_the_limit_end_the_connection_and_nothing_else() {
    let junk: [(&[u8], &str); 3] = [
        (&[0, 16, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16], "RecordLength(16)"),
        (&[2, 1], "RecordLength(513)"),
        (&[0, 20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 1, 2, 3, 4], "Tag"),
    ];
    for (bytes, why) in junk {
        let (mut memory, mut device) = (Small::new(), Device::new(1));
        let mut client = memory.client(device.setup("sensor", None));
        let mut program = Program::default();
        let mut world = World::new(3);
        let mut boards = [Board::new(&mut client, &mut program)];
        world.run_until(&mut boards, 0, "connected");
        world.server.line("sensor").to_client.extend(bytes);
        world.run(&mut boards, 10);
        world.run_until(&mut boards, 0, "connected");
        world.run(&mut boards, 2_000);
        assert_eq!(
            program.take(),
            ["verify", "connected", &format!("over: Failed({why}), again: true"), "connected"]
        );
    }
    // During the handshake: at every place where the server's message would be.
    for at in 0..40 {
        let (mut memory, mut device) = (Small::new(), Device::new(1));
        let mut client = memory.client(device.setup("sensor", Some(keypair(200).public())));
        let mut program = Program::default();
        let mut world = World::new(3);
        let mut boards = [Board::new(&mut client, &mut program)];
        world.server.manner.silent_after = at;
        world.run(&mut boards, 100);
        world.server.lines[0].to_client.extend([0x41; 700]);
        world.server.manner.silent_after = usize::MAX;
        world.run(&mut boards, 20_000);
        assert!(program.heard[0].starts_with("over: Failed("), "{at}: {:?}", program.heard);
        assert!(program.has_heard("connected"), "{at}: {:?}", program.heard);
    }
}

#[test]
fn without_randomness_there_is_no_connection_and_no_session() {
    let (mut memory, mut device) = (Small::new(), Device::new(1));
    device.dice.stuck = true;
    let mut client = memory.client(device.setup("sensor", None));
    assert_eq!(client.begin(Instant::from_millis(1)), Err(NoEntropy));
    assert!(!client.is_active(), "nothing was begun");
    drop(client);

    // One draw for each connection, and one for each handshake with another client.
    device.dice = Dice::new(1);
    device.dice.left = 1;
    let mut client = memory.client(device.setup("sensor", None));
    let mut program = Program::default();
    let mut world = World::new(1);
    let mut boards = [Board::new(&mut client, &mut program)];
    world.run_until(&mut boards, 0, "connected");
    boards[0].client.handshake(Target::Name("sensor".parse().unwrap())).unwrap();
    let mut out = Ok(());
    for _ in 0..20 {
        let now = Instant::from_millis(world.now);
        let line = &mut world.server.lines[0];
        let client = &mut *boards[0].client;
        let bytes: Vec<u8> = line.to_client.drain(..).collect();
        client.buffers().0[..bytes.len()].copy_from_slice(&bytes);
        client.filled(bytes.len());
        out = out.and(client.process(now, &mut |_, _| {}));
        let sent = client.buffers().1.to_vec();
        client.written(sent.len());
        line.to_server.extend(sent);
        world.server.step(now, usize::MAX);
    }
    assert_eq!(out, Err(NoEntropy));
}

#[test]
fn a_flood_of_small_messages_is_bounded_work_per_step_and_does_not_silence_the_client() {
    let (mut memory, mut device) = (Small::new(), Device::new(1));
    let mut client = memory.client(device.setup("sensor", None));
    client.create_channel("test").unwrap();
    let mut program = Program::default();
    let mut world = World::new(1);
    // The server pings after 45 seconds of silence; the client would ping first if it could.
    world.server.manner.limits = Limits { record: 4096, ..Limits::DESKTOP };
    world.run_until(&mut [Board::new(&mut client, &mut program)], 0, "channel \"test\": Ok(())");
    for _ in 0..1_500 {
        world.server.send("sensor", Kind::Message, b"");
    }
    let mut most = 0;
    let mut all = 0;
    for _ in 0..4_000 {
        let now = Instant::from_millis(world.now);
        let line = &mut world.server.lines[0];
        let (space, _) = client.buffers();
        let n = space.len().min(line.to_client.len());
        for (to, from) in space.iter_mut().zip(line.to_client.drain(..n)) {
            *to = from;
        }
        client.filled(n);
        let mut events = 0;
        client.process(now, &mut |_, _| events += 1).unwrap();
        (most, all) = (most.max(events), all + events);
        world.server.step(now, usize::MAX);
        if all == 1_500 {
            break;
        }
    }
    assert_eq!(all, 1_500);
    // A frame has five bytes at least, and all of them fit 514.
    assert!((10..=514 / 5).contains(&most), "{most}");
    // What it owes leaves in spite of a flood that is still going on.
    let mut program = Program::default();
    let mut boards = [Board { line: Some(0), ..Board::new(&mut client, &mut program) }];
    for _ in 0..300 {
        world.server.send("sensor", Kind::Message, b"");
        world.run(&mut boards, 1_000);
    }
    assert_eq!(count(&boards[0].program.take(), "message of server"), 300);
    assert!(boards[0].client.is_connected());
}

#[test]
fn whoever_has_it_answer_all_the_time_does_not_keep_its_own_questions_back() {
    let (mut memory, mut device) = (Small::new(), Device::new(1));
    let mut client = memory.client(device.setup("sensor", None));
    client.create_channel("test").unwrap();
    // As many answers as there is room for.
    let mut program = Program::new(|_, client, event| {
        if let Event::Message(message) = event {
            while client.send(message.from, &[b'x'; 60]).is_ok() {}
        }
    });
    let mut world = World::new(1);
    let mut boards = [Board::new(&mut client, &mut program)];
    world.run_until(&mut boards, 0, "channel \"test\": Ok(())");
    boards[0].client.create_channel("more").unwrap();
    boards[0].client.handshake(Target::Name("nobody".parse().unwrap())).unwrap();
    for _ in 0..20 {
        world.server.send("sensor", Kind::Message, b"");
        world.server.send("sensor", Kind::Message, b"");
        world.run(&mut boards, 1);
    }
    assert!(boards[0].program.has_heard("channel \"more\": Ok(())"));
    assert!(boards[0].program.has_heard("no peer"));
}
