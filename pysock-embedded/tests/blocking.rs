//! The polled driver, over a stream of `embedded-io` that a test has in its hand.

mod world;

use std::{cell::RefCell, rc::Rc};

use embedded_io::{ErrorKind, ErrorType, Read, ReadReady, Write, WriteReady};
use pysock_embedded::{
    Clock,
    blocking::{self, Turn},
};
use world::*;

type Small = Memory<514, 1024, 4, 2>;

/// The world, seen from a modem.
struct Net {
    world: World,
    line: usize,
    piece: usize,
    /// The call that fails.
    fails: Option<&'static str>,
    takes_nothing: bool,
}

#[derive(Clone)]
struct Modem(Rc<RefCell<Net>>);

impl Modem {
    fn new(seed: u64, piece: usize) -> Self {
        let mut world = World::new(seed);
        let line = world.server.connect(Instant::from_millis(world.now));
        let net = Net { world, line, piece, fails: None, takes_nothing: false };
        Modem(Rc::new(RefCell::new(net)))
    }

    fn may(&self, call: &str) -> Result<(), ErrorKind> {
        match self.0.borrow().fails {
            Some(fails) if fails == call => Err(ErrorKind::Other),
            _ => Ok(()),
        }
    }
}

impl ErrorType for Modem {
    type Error = ErrorKind;
}

impl ReadReady for Modem {
    fn read_ready(&mut self) -> Result<bool, ErrorKind> {
        self.may("read_ready")?;
        let line = &self.0.borrow().world.server.lines[self.0.borrow().line];
        Ok(!line.to_client.is_empty() || line.cut)
    }
}

impl Read for Modem {
    fn read(&mut self, space: &mut [u8]) -> Result<usize, ErrorKind> {
        self.may("read")?;
        assert!(!space.is_empty() && self.read_ready()?, "this read would wait");
        let net = &mut *self.0.borrow_mut();
        let some = 1 + net.world.dice.next() as usize % net.piece;
        let line = &mut net.world.server.lines[net.line];
        let n = some.min(space.len()).min(line.to_client.len());
        for (to, from) in space.iter_mut().zip(line.to_client.drain(..n)) {
            *to = from;
        }
        Ok(n)
    }
}

impl WriteReady for Modem {
    fn write_ready(&mut self) -> Result<bool, ErrorKind> {
        self.may("write_ready")?;
        let net = &mut *self.0.borrow_mut();
        Ok(!net.takes_nothing && !net.world.dice.next().is_multiple_of(3))
    }
}

impl Write for Modem {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        self.may("write")?;
        assert!(!bytes.is_empty());
        let net = &mut *self.0.borrow_mut();
        let n = bytes.len().min(1 + net.world.dice.next() as usize % net.piece);
        net.world.server.lines[net.line].to_server.extend(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> Result<(), ErrorKind> {
        panic!("flushing may wait for the other side");
    }
}

/// The chip sleeps: meanwhile the network moves, or time passes.
struct Idle {
    net: Modem,
    /// Calls in a row in which nothing moved and no time passed.
    in_vain: u32,
}

impl Clock for Idle {
    fn now(&mut self) -> Instant {
        Instant::from_millis(self.net.0.borrow().world.now)
    }

    fn idle(&mut self, until: Option<Instant>) {
        let net = &mut *self.net.0.borrow_mut();
        let (now, piece) = (net.world.now, net.piece);
        let moved = net.world.server.step(Instant::from_millis(now), piece);
        let line = &net.world.server.lines[net.line];
        if moved || !line.to_client.is_empty() {
            self.in_vain = 0;
            return;
        }
        self.in_vain += 1;
        assert!(self.in_vain < 100_000, "it waits for nothing");
        // The stream is ready now and then without being asked: give it a few chances.
        if self.in_vain.is_multiple_of(20) {
            net.world.now = until.expect("it would wait for ever").as_millis().max(now);
        }
    }
}

fn listen(client: &mut Client<'_>, program: &mut Program, modem: &Modem) {
    let mut clock = Idle { net: modem.clone(), in_vain: 0 };
    blocking::listen(client, &mut modem.clone(), &mut clock, &mut |client, event| {
        program.hear(client, event);
    })
    .unwrap();
}

fn dialogue(program: &mut Program, client: &mut Client<'_>, event: &Event<'_>) {
    match event {
        Event::Channel { channel, result: Ok(()) } => {
            client.request(*channel, b"what?", 60_000).unwrap();
            program.stream(client, *channel, noise(20_000));
        }
        Event::End(_) => client.close(),
        _ => {}
    }
}

#[test]
fn a_dialogue_in_pieces_of_any_size_without_a_call_that_waits() {
    for piece in [1, 3, 50, 2_000] {
        let (mut memory, mut device) = (Small::new(), Device::new(1));
        let mut client = memory.client(device.setup("sensor", None));
        client.create_channel("test").unwrap();
        let mut program = Program::new(dialogue);
        let modem = Modem::new(3, piece);
        listen(&mut client, &mut program, &modem);
        let end = "over: Closed(Answered), again: false";
        let channel = "channel \"test\": Ok(())";
        let reply = "reply of server: WHAT?";
        assert_eq!(program.take(), ["verify", "connected", channel, reply, "whole", end]);
        assert_eq!(program.whole, [hash(&noise(20_000))]);
    }
}

#[test]
fn each_call_that_fails_ends_the_connection_with_an_event() {
    for call in ["read_ready", "read", "write_ready", "write"] {
        let (mut memory, mut device) = (Small::new(), Device::new(1));
        let mut client = memory.client(device.setup("sensor", None));
        let mut program = Program::default();
        let modem = Modem::new(3, 700);
        modem.0.borrow_mut().fails = Some(call);
        listen(&mut client, &mut program, &modem);
        assert_eq!(program.take(), ["over: Failed(Truncated), again: true"], "{call}");
        assert!(client.connect_at().is_some());
    }
}

#[test]
fn a_stream_that_takes_nothing_is_left_at_the_deadline() {
    let (mut memory, mut device) = (Small::new(), Device::new(1));
    let mut client = memory.client(device.setup("sensor", None));
    let mut program = Program::default();
    let modem = Modem::new(3, 700);
    modem.0.borrow_mut().takes_nothing = true;
    listen(&mut client, &mut program, &modem);
    assert_eq!(program.take(), ["over: Failed(HandshakeTimeout), again: true"]);
    assert_eq!(modem.0.borrow().world.now, 31_000);
}

#[test]
fn what_came_before_the_end_of_the_stream_counts() {
    let (mut memory, mut device) = (Small::new(), Device::new(1));
    let mut client = memory.client(device.setup("sensor", None));
    let mut program = Program::default();
    let modem = Modem::new(3, 700);
    modem.0.borrow_mut().world.server.manner.refuses = Some(Refusal::NotAllowed);
    listen(&mut client, &mut program, &modem);
    assert_eq!(program.take()[1..], ["over: Refused(NotAllowed), again: false"]);
}

#[test]
fn a_turn_waits_for_nothing_and_says_when_there_is_nothing_to_do() {
    let (mut memory, mut device) = (Small::new(), Device::new(1));
    let mut client = memory.client(device.setup("sensor", None));
    let mut modem = Modem::new(3, 700);
    let now = Instant::from_millis(1_000);
    client.begin(now).unwrap();
    modem.0.borrow_mut().takes_nothing = true;
    let turn = blocking::turn(&mut client, &mut modem, now, &mut |_, _| {});
    assert_eq!(turn, Ok(Turn::Idle));
    assert_eq!(client.deadline(), Some(now.after_millis(30_000)));
    modem.0.borrow_mut().takes_nothing = false;
    let turns = (0..20).map(|_| blocking::turn(&mut client, &mut modem, now, &mut |_, _| {}));
    assert!(turns.collect::<Vec<_>>().contains(&Ok(Turn::Again)));
}
