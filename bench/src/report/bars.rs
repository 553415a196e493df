//! How fast pysock wants to be, and whether it is.

use crate::{
    peer::Peer,
    run::{Cell, Measured},
};

/// What a figure is held against.
#[derive(Clone, Copy)]
enum Goal {
    /// At least so many times what that peer reaches.
    Times(f64, Peer),
    /// At most that figure.
    Most(f64),
    /// The server's processor time while nothing happens, in percent of a core.
    Quiet(f64),
    /// At most so many times what another row takes.
    Within(f64, &'static str),
    /// The server's processor time for a message at most so many times that of another row.
    Flat(f64, &'static str),
}

struct Bar {
    rows: &'static [&'static str],
    subject: Peer,
    goals: &'static [Goal],
}

/// One goal in one row.
pub(super) struct Verdict {
    pub(super) row: &'static str,
    pub(super) goal: String,
    /// What was reached, in the words of the goal; nothing if one of the two is missing.
    pub(super) reached: Option<String>,
    pub(super) met: bool,
}

use Goal::{Flat, Most, Quiet, Times, Within};

const LARGE: &[Goal] = &[
    Times(1.05, Peer::TlsAes),
    Times(3.0, Peer::Nats),
    Times(3.0, Peer::Mosquitto),
    Times(3.0, Peer::Zmq),
];

const CHACHA: &[Goal] = &[Times(1.2, Peer::TlsChacha)];

/// Whoever sleeps while it waits: all.
const PARKING: &[Goal] = &[
    Times(6.0, Peer::Plain),
    Times(6.0, Peer::TlsAes),
    Times(6.0, Peer::TlsChacha),
    Times(6.0, Peer::Noise),
    Times(6.0, Peer::NoiseEach),
    Times(6.0, Peer::Nats),
    Times(6.0, Peer::Mosquitto),
    Times(6.0, Peer::Zmq),
];

/// Keep-alives are all that an idle connection costs: some microseconds in half a minute.
const SILENCE: f64 = 0.5;

/// A quarter more is noise on a shared machine.
const SAME: f64 = 1.25;

const BARS: &[Bar] = &[
    Bar {
        rows: &["echo-pinned"],
        subject: Peer::Pysock,
        goals: &[
            Times(0.95, Peer::Plain),
            Times(1.0, Peer::Nats),
            Times(1.0, Peer::Mosquitto),
            Times(1.0, Peer::Zmq),
        ],
    },
    Bar { rows: &["echo-low-latency"], subject: Peer::Pysock, goals: PARKING },
    Bar {
        rows: &["stream-64"],
        subject: Peer::Pysock,
        goals: &[Times(1.0, Peer::TlsAes), Times(4.5, Peer::Nats), Times(25.0, Peer::Zmq)],
    },
    Bar { rows: &["stream-1k", "stream-16k", "stream-1m"], subject: Peer::Pysock, goals: LARGE },
    Bar {
        rows: &["stream-64", "stream-1k", "stream-16k", "stream-1m"],
        subject: Peer::PysockChacha,
        goals: CHACHA,
    },
    Bar { rows: &["hundred-1"], subject: Peer::Pysock, goals: &[Times(1.0, Peer::TlsAes)] },
    Bar {
        rows: &["hundred-64"],
        subject: Peer::Pysock,
        goals: &[Times(1.1, Peer::TlsAes), Times(2.8, Peer::Nats)],
    },
    Bar {
        rows: &["fan-out-64", "fan-out-1k"],
        subject: Peer::Pysock,
        goals: &[Times(1.0, Peer::TlsAes), Times(4.5, Peer::Nats)],
    },
    Bar {
        rows: &["relay-64", "relay-1k"],
        subject: Peer::Pysock,
        goals: &[Times(1.0, Peer::TlsAes)],
    },
    Bar {
        rows: &["relay-64", "relay-1k"],
        subject: Peer::PysockEndToEnd,
        goals: &[Times(2.5, Peer::Nats)],
    },
    Bar { rows: &["beside-flood"], subject: Peer::Pysock, goals: &[Within(3.0, "beside-none")] },
    Bar { rows: &["connect"], subject: Peer::Pysock, goals: &[Times(1.7, Peer::TlsAes)] },
    Bar { rows: &["idle-1000"], subject: Peer::Pysock, goals: &[Quiet(SILENCE)] },
    Bar { rows: &["idle-10000"], subject: Peer::Pysock, goals: &[Most(2.0)] },
    Bar {
        rows: &["clients-10", "clients-100", "clients-1000", "clients-10000"],
        subject: Peer::Pysock,
        goals: &[Flat(SAME, "clients-1")],
    },
    Bar {
        rows: &["channels-10", "channels-100", "channels-1000", "channels-10000"],
        subject: Peer::Pysock,
        goals: &[Flat(SAME, "channels-1")],
    },
];

/// What became of every goal whose row was measured.
pub(super) fn judge(all: &[Measured]) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for bar in BARS {
        for measured in all.iter().filter(|measured| bar.rows.contains(&measured.row.id)) {
            for goal in bar.goals {
                verdicts.push(one(bar.subject, *goal, measured, all));
            }
        }
    }
    verdicts
}

fn one(subject: Peer, goal: Goal, measured: &Measured, all: &[Measured]) -> Verdict {
    let median = |peer| measured.cell(peer)?.figures(measured.row).map(|(median, ..)| median);
    let server_cpu = |of: &Measured| of.cell(subject)?.cpu().map(|(server, _)| server);
    let (goal, reached) = match goal {
        Times(factor, peer) => {
            let ratio = median(subject).zip(median(peer)).map(|(own, other)| own / other);
            let name = peer.title();
            let reached = ratio.map(|ratio| (format!("{ratio:.2} ×"), ratio >= factor));
            (format!("{} ≥ {factor} × {name}", subject.title()), reached)
        }
        Most(most) => {
            let reached = median(subject).map(|own| (format!("{own:.2}"), own <= most));
            (format!("{} ≤ {most} {}", subject.title(), measured.row.work.unit().name()), reached)
        }
        Within(factor, base) => {
            let of_base = all.iter().find(|measured| measured.row.id == base);
            let base_figure = of_base
                .and_then(|base| base.cell(subject)?.figures(base.row).map(|(median, ..)| median));
            let ratio = median(subject).zip(base_figure).map(|(own, other)| own / other);
            let reached = ratio.map(|ratio| (format!("{ratio:.2} ×"), ratio <= factor));
            (format!("{} ≤ {factor} × `{base}`", subject.title()), reached)
        }
        Quiet(percent) => {
            let own = measured.cell(subject).and_then(Cell::load).map(|load| load * 100.0);
            let reached = own.map(|own| (format!("{own:.2} %"), own <= percent));
            (format!("{}, idle ≤ {percent} % of a core", subject.title()), reached)
        }
        Flat(factor, base) => {
            let base_row = all.iter().find(|measured| measured.row.id == base);
            let ratio = server_cpu(measured)
                .zip(base_row.and_then(server_cpu))
                .map(|(own, other)| own / other);
            let reached = ratio.map(|ratio| (format!("{ratio:.2} ×"), ratio <= factor));
            (format!("server CPU for a message ≤ {factor} × that of `{base}`"), reached)
        }
    };
    let met = reached.as_ref().is_some_and(|(_, met)| *met);
    Verdict { row: measured.row.id, goal, reached: reached.map(|(text, _)| text), met }
}
