//! Every order of events within a bound, on the real code: two clients that open sessions with each other, and keys that
//! claim names at a server. `model` explores what CI does, `model deep` what takes a night.
//!
//! What must hold is in `sessions.rs` and `ledger.rs` for sessions, in `names.rs` for the registry; how far it is looked
//! is in `scenarios.rs`. At the end of every order of events, when nothing is under way and all deadlines have run out,
//! both sides have the same session or both know that there is none; no message came twice, out of order, or was lost
//! unreported; and what nobody disturbed worked at once. Some models have a rule undone: they have to fail, or the
//! others prove nothing.
//!
//! Not in the model: streams, groups, wrong keys and names, forged notices, more than two clients, sessions that are old,
//! and cryptography, which has its own tests.
#![allow(clippy::print_stdout, reason = "it is a program that says what it has found")]

mod client;
mod ledger;
mod names;
mod pipe;
mod rules;
mod scenarios;
mod sessions;
mod symbols;
mod world;

use std::process::ExitCode;

fn main() -> ExitCode {
    let deep = std::env::args().nth(1).is_some_and(|word| word == "deep");
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = if deep { all } else { 1 };
    // A panic is a finding like any other; it is shown with the steps that lead to it.
    std::panic::set_hook(Box::new(|_| {}));
    println!("{:40} {:>9} {:>9} {:>5} {:>7}", "", "states", "steps", "depth", "seconds");
    let mut wrong = 0;
    scenarios::run(deep, threads, |outcome| {
        println!("{}", outcome.line);
        if let Some(why) = &outcome.wrong {
            println!("{why}");
            wrong += 1;
        }
    });
    if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
