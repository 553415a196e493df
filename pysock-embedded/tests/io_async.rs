//! The async driver: its future may be dropped at any await, and nothing is lost or doubled.

mod world;

use std::{
    cell::RefCell,
    future::poll_fn,
    pin::pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use embedded_io_async::{ErrorKind, ErrorType, Read, Write};
use pysock_embedded::{AsyncClock, io_async};
use world::*;

type Small = Memory<514, 1024, 4, 2>;

/// The world, seen from a socket.
struct Net {
    world: World,
    line: usize,
    /// What is moved at most at once. 0: everything waits.
    piece: usize,
    /// Until when the driver sleeps.
    asleep: Option<Instant>,
    writes_fail: bool,
}

impl Net {
    fn new(seed: u64, piece: usize) -> Rc<RefCell<Net>> {
        let mut world = World::new(seed);
        let line = world.server.connect(Instant::from_millis(world.now));
        Rc::new(RefCell::new(Net { world, line, piece, asleep: None, writes_fail: false }))
    }

    /// How many bytes move this time; often none at all, although there are some.
    fn some(&mut self) -> usize {
        let n = self.world.dice.next() as usize;
        if n.is_multiple_of(3) { 0 } else { (n >> 8) % self.piece.saturating_add(1) }
    }
}

struct From(Rc<RefCell<Net>>);
struct To(Rc<RefCell<Net>>);
struct Clock(Rc<RefCell<Net>>);

impl ErrorType for From {
    type Error = ErrorKind;
}

impl ErrorType for To {
    type Error = ErrorKind;
}

impl Read for From {
    async fn read(&mut self, space: &mut [u8]) -> Result<usize, ErrorKind> {
        assert!(!space.is_empty(), "that would be the end");
        poll_fn(|_| {
            let net = &mut *self.0.borrow_mut();
            let (some, line) = (net.some(), &mut net.world.server.lines[net.line]);
            let n = some.min(space.len()).min(line.to_client.len());
            for (to, from) in space.iter_mut().zip(line.to_client.drain(..n)) {
                *to = from;
            }
            match n {
                0 if line.cut && line.to_client.is_empty() => Poll::Ready(Ok(0)),
                0 => Poll::Pending,
                n => Poll::Ready(Ok(n)),
            }
        })
        .await
    }
}

impl Write for To {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        assert!(!bytes.is_empty());
        poll_fn(|_| {
            let net = &mut *self.0.borrow_mut();
            if net.writes_fail {
                return Poll::Ready(Err(ErrorKind::BrokenPipe));
            }
            let n = net.some().min(bytes.len());
            net.world.server.lines[net.line].to_server.extend(&bytes[..n]);
            if n == 0 { Poll::Pending } else { Poll::Ready(Ok(n)) }
        })
        .await
    }

    async fn flush(&mut self) -> Result<(), ErrorKind> {
        panic!("flushing may wait for the other side");
    }
}

impl AsyncClock for Clock {
    fn now(&mut self) -> Instant {
        Instant::from_millis(self.0.borrow().world.now)
    }

    async fn sleep_until(&mut self, until: Instant) {
        poll_fn(|_| {
            let net = &mut *self.0.borrow_mut();
            net.asleep = Some(until);
            if net.world.now >= until.as_millis() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// Serves a client until its connection is over. `drops` says after which polls the future is dropped and made anew.
fn serve(
    client: &mut Client<'_>,
    program: &mut Program,
    net: &Rc<RefCell<Net>>,
    drops: &mut dyn FnMut() -> bool,
) {
    let (mut from, mut to, mut clock) = (From(net.clone()), To(net.clone()), Clock(net.clone()));
    let mut context = Context::from_waker(Waker::noop());
    client.begin(clock.now()).unwrap();
    let mut left = 100_000;
    loop {
        let mut on_event = |client: &mut Client<'_>, event: Event<'_>| {
            program.hear(client, event);
        };
        let mut future =
            pin!(io_async::listen(client, &mut from, &mut to, &mut clock, &mut on_event));
        loop {
            if let Poll::Ready(done) = future.as_mut().poll(&mut context) {
                done.unwrap();
                return;
            }
            left -= 1;
            assert!(left > 0, "it does not come to an end");
            let net = &mut *net.borrow_mut();
            let now = Instant::from_millis(net.world.now);
            let n = net.some();
            let moved = net.world.server.step(now, n.max(1));
            let waits = !net.world.server.lines[net.line].to_client.is_empty();
            if net.piece == 0 && !moved && !waits {
                // Nothing will come: time passes.
                net.world.now = net.asleep.unwrap().as_millis();
            }
            if drops() {
                break;
            }
        }
    }
}

/// Sends and asks, has a large message come back, and leaves.
fn dialogue(program: &mut Program, client: &mut Client<'_>, event: &Event<'_>) {
    match event {
        Event::Channel { channel, result: Ok(()) } => {
            for text in ["one", "two", "three"] {
                client.send(*channel, text.as_bytes()).unwrap();
                client.request(*channel, text.as_bytes(), 60_000).unwrap();
            }
            program.stream(client, *channel, noise(6_000));
        }
        Event::End(_) => client.close(),
        _ => {}
    }
}

/// What is heard when the future is dropped after some of its polls.
fn heard(
    seed: u64,
    piece: usize,
    mut drops: impl FnMut() -> bool,
) -> (Vec<String>, Vec<u64>, usize) {
    let (mut memory, mut device) = (Small::new(), Device::new(1));
    let net = Net::new(seed, piece);
    let server = net.borrow().world.key();
    let mut client = memory.client(device.setup("sensor", Some(server)));
    client.create_channel("test").unwrap();
    let mut program = Program::new(dialogue);
    serve(&mut client, &mut program, &net, &mut drops);
    assert!(!client.is_active() && client.connect_at().is_none());
    let arrived = net.borrow().world.server.heard.len();
    (program.take(), program.whole, arrived)
}

#[test]
fn dropping_the_future_after_any_poll_loses_and_doubles_nothing() {
    let expected = heard(1, 600, || false);
    assert_eq!(
        expected.0,
        [
            "connected",
            "channel \"test\": Ok(())",
            "reply of server: ONE",
            "reply of server: TWO",
            "reply of server: THREE",
            "whole",
            "over: Closed(Answered), again: false"
        ]
    );
    assert_eq!((expected.1.as_slice(), expected.2), (&[hash(&noise(6_000))][..], 6));
    for piece in [1, 7, 100, 600] {
        // After every poll, and after some of them.
        assert_eq!(heard(3, piece, || true), expected, "{piece}");
        for seed in 0..10 {
            let mut dice = Dice::new(seed);
            assert_eq!(
                heard(seed, piece, || dice.next().is_multiple_of(3)),
                expected,
                "{piece} {seed}"
            );
        }
    }
    // Once, at each single poll of the dialogue.
    for at in 0..200 {
        let mut polls = 0;
        let once = || {
            polls += 1;
            polls == at
        };
        assert_eq!(heard(5, 600, once), expected, "{at}");
    }
}

#[test]
fn it_sleeps_until_the_deadline_and_not_longer() {
    for (silent, why) in [(0, "HandshakeTimeout"), (usize::MAX, "")] {
        let (mut memory, mut device) = (Small::new(), Device::new(1));
        let net = Net::new(1, if silent == 0 { 0 } else { 600 });
        let server = net.borrow().world.key();
        net.borrow_mut().world.server.manner.silent_after = silent;
        let mut client = memory.client(device.setup("sensor", Some(server)));
        let mut program = Program::new(|_, client, event| {
            if let Event::Connected { .. } = event {
                client.close();
            }
        });
        // With a piece of 0 the link takes nothing either: what is left to write must not keep it.
        serve(&mut client, &mut program, &net, &mut || false);
        if silent == 0 {
            assert_eq!(net.borrow().world.now, 31_000);
            assert_eq!(program.take(), [format!("over: Failed({why}), again: true")]);
        } else {
            assert_eq!(program.take(), ["connected", "over: Closed(Answered), again: false"]);
        }
    }
}

#[test]
fn a_link_that_breaks_ends_the_connection_in_either_direction() {
    for writes_fail in [true, false] {
        let (mut memory, mut device) = (Small::new(), Device::new(1));
        let net = Net::new(1, 600);
        let server = net.borrow().world.key();
        net.borrow_mut().writes_fail = writes_fail;
        net.borrow_mut().world.server.lines[0].cut = !writes_fail;
        let mut client = memory.client(device.setup("sensor", Some(server)));
        let mut program = Program::default();
        serve(&mut client, &mut program, &net, &mut || true);
        assert_eq!(program.take(), ["over: Failed(Truncated), again: true"]);
        // Without a connection there is nothing to serve, and nothing to wait for.
        let (mut from, mut to, mut clock) =
            (From(net.clone()), To(net.clone()), Clock(net.clone()));
        let mut on_event = |_: &mut Client<'_>, _: Event<'_>| panic!("nothing can happen");
        let future =
            pin!(io_async::listen(&mut client, &mut from, &mut to, &mut clock, &mut on_event));
        let mut context = Context::from_waker(Waker::noop());
        assert_eq!(future.poll(&mut context), Poll::Ready(Ok(())));
    }
}
