//! Runs out of stack. That has to end as a fault, with the statics as they were.
#![no_std]
#![no_main]

use core::{
    hint::black_box,
    sync::atomic::{AtomicU32, Ordering},
};

use board::{Board, entry, fault, println, semihosting, stack};

const PATTERN: u32 = 0x5AFE_5AFE;

/// In `.data`, which the memory map puts directly above the stack.
static STATICS: [AtomicU32; 64] = [const { AtomicU32::new(PATTERN) }; 64];

/// Takes some stack, and then more; `depth` outgrows every stack.
#[expect(unconditional_recursion, reason = "that is the point")]
#[inline(never)]
fn recurse(depth: u32) -> u32 {
    let taken = black_box([depth; 32]);
    recurse(depth + 1) + taken.iter().sum::<u32>()
}

fn look_at_statics() {
    let intact = STATICS.iter().all(|word| word.load(Ordering::Relaxed) == PATTERN);
    println!("statics {}", if intact { "intact" } else { "CORRUPT" });
}

#[entry]
fn main() -> ! {
    let _board = Board::take();
    fault::on_fault(look_at_statics);
    println!("stack {} bytes, {} used; now all of it", stack::size(), stack::peak());
    black_box(recurse(black_box(0)));
    println!("there was no end to the stack");
    semihosting::exit(0)
}
