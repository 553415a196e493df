//! `docs/PERFORMANCE.md`: a table of medians, the goals, and how to get it again.

use std::{fmt::Write as _, time::Duration};

use super::{bars::Verdict, machine, text::short};
use crate::{
    peer::Peer,
    run::{Measured, Plan},
};

const HEAD: &str = "# Performance

What pysock reaches beside what else could do the work, all of it encrypted and mutually authenticated but for *plain*.
pysock does its whole job: names, channels, routing, a sender on every message. *pysock* is what two desktops agree
on by themselves, AES-GCM; *pysock ChaCha* is configured to use what microcontrollers have, too. *Expert* is what somebody who knows
tokio well writes by hand when only speed counts: length-prefixed frames on a current-thread runtime, many messages
for each write and each record, no names and no routes. In streams, relays, fan-outs and windows of more than one message pysock's
programs use `send_many`, `listen_many` and their like, as the experts' programs pack by hand; `send` and `listen`, one message
a call, reach a fraction of that. Server and clients are processes of their own, TCP over the
loopback interface. Only ratios within one run mean anything: the machine is shared, and absolute figures are for
scale.

![The same work, relative to the fastest](performance.svg)
";

/// The whole document.
pub(super) fn write(all: &[Measured], verdicts: &[Verdict], plan: &Plan) -> String {
    let mut out = HEAD.to_owned();
    // Writing to a string cannot fail, here and below.
    let _ = write!(
        out,
        "\nMachine: {}\nMedians of {} interleaved measurements of {} s each; below each its least and most.\n",
        machine::describe(),
        plan.reps,
        plan.duration.as_secs_f64()
    );
    out.push_str(
        "\nTo measure it again: `bench/peers` installs what it compares with, then\n\n```sh\n",
    );
    let _ = writeln!(
        out,
        "cargo run --release --features zmq --manifest-path bench/Cargo.toml -- run{}{} --reps {} --record\n```\nWithout `--features zmq` it needs no libzmq.",
        if plan.duration < Duration::from_secs(1) { " --quick" } else { "" },
        if all.iter().any(|measured| measured.row.long) { " --long" } else { "" },
        plan.reps
    );
    figures(&mut out, all, plan);
    costs(&mut out, all, plan);
    goals(&mut out, verdicts);
    skipped(&mut out, all);
    out
}

fn heading(out: &mut String, title: &str, peers: &[Peer]) {
    let _ = write!(out, "\n## {title}\n\n| work |");
    for peer in peers {
        let _ = write!(out, " {} |", peer.title());
    }
    out.push_str("\n|---|");
    out.push_str(&"---|".repeat(peers.len()));
    out.push('\n');
}

fn figures(out: &mut String, all: &[Measured], plan: &Plan) {
    heading(out, "Figures", &plan.peers);
    for measured in all {
        let _ = write!(out, "| {} [{}] |", measured.row.title, measured.row.work.unit().name());
        for peer in &plan.peers {
            let figures = measured.cell(*peer).and_then(|cell| cell.figures(measured.row));
            let _ = match figures {
                Some((median, least, most)) => {
                    write!(out, " **{}**<br>{} – {} |", short(median), short(least), short(most))
                }
                None => write!(out, " – |"),
            };
        }
        out.push('\n');
    }
}

fn costs(out: &mut String, all: &[Measured], plan: &Plan) {
    heading(
        out,
        "Processor time, µs for each message or connection: server + clients",
        &plan.peers,
    );
    for measured in all {
        if measured.row.work.unit().less_is_better() {
            continue;
        }
        let _ = write!(out, "| {} |", measured.row.title);
        for peer in &plan.peers {
            let _ = match measured.cell(*peer).and_then(|cell| cell.cpu()) {
                Some((server, clients)) => write!(out, " {server:.2} + {clients:.2} |"),
                None => write!(out, " – |"),
            };
        }
        out.push('\n');
    }
}

fn goals(out: &mut String, verdicts: &[Verdict]) {
    out.push_str("\n## Goals\n\n| row | goal | reached | |\n|---|---|---|---|\n");
    for Verdict { row, goal, reached, met } in verdicts {
        let (reached, verdict) = match (reached, met) {
            (None, _) => ("–", "not measured"),
            (Some(reached), true) => (reached.as_str(), "met"),
            (Some(reached), false) => (reached.as_str(), "**missed**"),
        };
        let _ = writeln!(out, "| `{row}` | {goal} | {reached} | {verdict} |");
    }
}

fn skipped(out: &mut String, all: &[Measured]) {
    let mut lines = Vec::new();
    for measured in all {
        for cell in &measured.cells {
            if let Some(why) = &cell.skipped {
                lines.push(format!("- {}, `{}`: {why}\n", cell.peer.title(), measured.row.id));
            }
        }
    }
    if !lines.is_empty() {
        out.push_str("\n## Skipped\n\n");
        out.extend(lines);
    }
}
