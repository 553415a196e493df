//! The recorded figures as a document.

use std::fmt::Write;

use crate::table::{Budgets, Figures};

const HEAD: &str = "\
# What pysock costs a microcontroller

Written by `.ci/embedded --record`: do not edit. `.ci/footprint` and `.ci/embedded` measure these figures anew on every change and
fail if one of them has grown by more than 3 %, or exceeds its budget.

Everything is built for a Cortex-M3 (`thumbv7m-none-eabi`), opt-level `s`, fat LTO, BLAKE2s with `size_opt`. The client allocates
nothing: what is in the tables is all there is. RustCrypto and dalek are included.

## The parts, linked

Over a program that does nothing. `client` uses all that a client of a server can do; `peer` is that and sessions with other clients,
end to end; `keys` is the store of keys in flash; `server` serves one connection. `static RAM` includes 514 bytes for receiving and 416 for sending.

";

const RUN: &str = "
## On the boards

Measured in an emulator that counts instructions (`-icount shift=0`): the same figures in each run. A Cortex-M3 takes a good cycle for
each. The stack is painted; what counts is the client's calls alone.

`link_xx` and `link_xk` are a handshake with the server, not knowing its key and knowing it: one key made, three Diffie-Hellman.
`link_N`: a message of N bytes. `link_stream_1024`: 1 KiB in a stream. `peer_xx` and `peer_kk`: a handshake with another client,
end to end. `thermometer` is a whole firmware with TCP/IP, network driver, key store and console, which has a dialogue with real
programs of the desktop. The deepest its stack gets there is about 8 KiB, with the main loop's own data and all of the network.

";

pub fn write(linked: &Figures, budgets: &Budgets, run: &Figures, run_budgets: &Budgets) -> String {
    let mut text = String::from(HEAD);
    table(&mut text, linked, budgets);
    text.push_str(RUN);
    table(&mut text, run, run_budgets);
    text
}

fn table(to: &mut String, figures: &Figures, budgets: &Budgets) {
    to.push_str("| | value | budget |\n|---|--:|--:|\n");
    for (name, value) in figures {
        let budget = budgets.iter().find(|(of, _)| of == name);
        let budget = budget.map_or(String::new(), |(_, budget)| grouped(*budget));
        // Writing to a string does not fail.
        let _ = writeln!(to, "| {name} | {} | {budget} |", grouped(*value));
    }
}

/// With a space between thousands.
fn grouped(value: usize) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}
