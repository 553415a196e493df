//! Sends a pattern to an echo server on the host and checks what comes back: the self-test of network and clock.
#![no_std]
#![no_main]

use board::{
    Board, clock, entry,
    memory::Lend,
    net::Net,
    println, semihosting,
    smoltcp::{iface::SocketStorage, socket::tcp},
    stack,
};

const TOTAL: usize = 200_000;
const BUFFER: usize = 4096;
/// Sent at once at most: no divisor of anything, so that all alignments occur.
const PIECE: usize = 997;

static SOCKETS: Lend<[SocketStorage<'static>; 1]> = Lend::new([SocketStorage::EMPTY]);
static RECEIVED: Lend<[u8; BUFFER]> = Lend::new([0; BUFFER]);
static TO_SEND: Lend<[u8; BUFFER]> = Lend::new([0; BUFFER]);

/// The byte at a place of the pattern; it repeats after a prime number of bytes.
fn pattern(at: usize) -> u8 {
    (at % 251) as u8
}

/// Sleeps for less and for more than one period of the timer takes, on both boards.
fn check_clock(board: &mut Board) {
    for millis in [1, 20, 1_400] {
        let deadline = board.now().after_millis(millis);
        board.sleep(Some(deadline));
        let late = board.now().as_millis().checked_sub(deadline.as_millis());
        let Some(late) = late else { panic!("woke up too early after {millis} ms") };
        println!("slept {millis} ms, late {late} ms");
    }
}

#[entry]
fn main() -> ! {
    let mut board = Board::take();
    check_clock(&mut board);
    let (Some(sockets), Some(received), Some(to_send)) =
        (SOCKETS.take(), RECEIVED.take(), TO_SEND.take())
    else {
        panic!("main runs once");
    };
    let port = board.args.number("port").and_then(|port| port.try_into().ok());
    let Some(port) = port else { panic!("say which port: port=…") };
    let random = board.entropy.number();
    let now = board.now();
    let mut net = Net::new(&mut board.device, sockets, random, now);
    let socket = net.add_tcp(received, to_send);
    // Another one each time, or the host may remember the last connection.
    let local = 49_152 + (random % 16_384) as u16;
    if let Err(error) = net.connect(socket, port, local) {
        panic!("cannot connect: {error}");
    }
    let give_up = board.now().after_millis(60_000);
    let (mut sent, mut checked) = (0, 0);
    while checked < TOTAL {
        let now = board.now();
        assert!(now < give_up, "too slow: {sent} bytes sent, {checked} came back");
        net.poll(&mut board.device, now);
        let tcp = net.tcp(socket);
        assert!(tcp.state() != tcp::State::Closed, "refused, or reset after {checked} bytes");
        assert!(tcp.may_recv() || sent == 0, "closed after {checked} bytes");
        if tcp.can_send() && sent < TOTAL {
            let piece = tcp.send(|space| {
                let n = space.len().min(PIECE).min(TOTAL - sent);
                space.iter_mut().take(n).zip(sent..).for_each(|(to, at)| *to = pattern(at));
                (n, n)
            });
            sent += piece.unwrap_or(0);
        }
        if tcp.can_recv() {
            let piece = tcp.recv(|bytes| {
                let right = bytes.iter().zip(checked..).all(|(byte, at)| *byte == pattern(at));
                assert!(right, "not what was sent, after {checked} bytes");
                (bytes.len(), bytes.len())
            });
            checked += piece.unwrap_or(0);
        }
        // Nothing wakes it for what is here already. A call moves only what lies in one piece in a ring: who sleeps on
        // the rest leaves the window nearly closed, and the other side waits for it to open.
        if checked == TOTAL || tcp.can_recv() || (tcp.can_send() && sent < TOTAL) {
            continue;
        }
        let deadline = net.deadline(board.now()).unwrap_or(give_up).min(give_up);
        board.sleep(Some(deadline));
    }
    // The goodbye, as far as it is this side's.
    net.tcp(socket).close();
    loop {
        let now = board.now();
        net.poll(&mut board.device, now);
        if !net.tcp(socket).is_active() || now >= give_up {
            break;
        }
        let deadline = net.deadline(now).unwrap_or(give_up).min(give_up);
        board.sleep(Some(deadline));
    }
    println!("echoed {checked} bytes, peak stack {}, cycles {}", stack::peak(), clock::ticks());
    semihosting::exit(0)
}
