//! What a client costs: instructions and stack, without a network. Clients and server share the memory of the board,
//! and only what a client calls is counted.
//!
//! Under `-icount shift=0` an instruction takes 1 ns, so ticks are instructions: true to the instructions of one tick
//! per call, and the same in every run. Without it the instructions are meaningless, and the stack is right all the
//! same.
#![no_std]
#![no_main]

mod client;
mod server;

use core::fmt;

use board::{Board, clock, entry, memory::Lend, meter::Meter, println, semihosting, stack};
use client::{Client, Memory};
use pysock_proto::{PeerId, peer::Acquaintance};

static MEMORY: [Lend<Memory>; 2] = [const { Lend::new(Memory::new()) }; 2];

fn report(what: impl fmt::Display, cost: Meter) {
    println!("{what}_instructions {} instructions", clock::instructions(cost.ticks));
    println!("{what}_stack {} bytes", cost.stack);
}

fn report_both(what: &str, sent: Meter, received: Meter) {
    report(format_args!("{what}_send"), sent);
    report(format_args!("{what}_receive"), received);
}

#[entry]
fn main() -> ! {
    let Board { mut entropy, .. } = Board::take();
    let [Some(a), Some(b)] = MEMORY.each_ref().map(Lend::take) else { panic!("main runs once") };
    println!("resolution {} instructions", clock::instructions(1));
    println!("stack_size {} bytes", stack::size());

    // Knowing nothing of the server, then again, with a pin.
    let mut a = Client::new(a, PeerId(1), "alice", &mut entropy);
    let mut b = Client::new(b, PeerId(2), "bob", &mut entropy);
    report("link_xx", a.connect(false, &mut entropy));
    report("link_xk", a.connect(true, &mut entropy));
    b.connect(true, &mut entropy);

    for (what, len) in [("link_64", 64), ("link_256", 256)] {
        let (sent, received) = a.exchange(len);
        report_both(what, sent, received);
    }
    let (sent, received) = a.stream(1024);
    report_both("link_stream_1024", sent, received);

    for (what, acquaintance) in [("peer_xx", Acquaintance::New), ("peer_kk", Acquaintance::Known)] {
        client::meet(&mut a, &mut b, acquaintance, &mut entropy);
        report(what, a.meter.take());
    }
    let (sent, received) = client::talk(&mut a, &mut b, 64);
    report_both("peer_64", sent, received);
    semihosting::exit(0)
}
