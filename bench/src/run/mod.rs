//! A run: every row, every peer in turn, as often as asked, so that noise strikes all alike.

mod process;

use std::{
    io,
    time::{Duration, Instant},
};

use process::Server;

use crate::{
    expert::Files,
    meter,
    outcome::Outcome,
    peer::Peer,
    work::{ROWS, Row, Unit},
};

/// What is wanted.
pub(crate) struct Plan {
    pub(crate) rows: Vec<&'static Row>,
    pub(crate) peers: Vec<Peer>,
    pub(crate) reps: usize,
    pub(crate) duration: Duration,
}

/// What one peer reached in one row.
pub(crate) struct Cell {
    pub(crate) peer: Peer,
    pub(crate) outcomes: Vec<Outcome>,
    /// Why there is nothing.
    pub(crate) skipped: Option<String>,
}

/// A row with what all peers reached.
pub(crate) struct Measured {
    pub(crate) row: &'static Row,
    pub(crate) cells: Vec<Cell>,
}

/// The rows that are measured unless others are named, perhaps with the `long` ones.
pub(crate) fn usual_rows(long: bool) -> Vec<&'static Row> {
    ROWS.iter().filter(|row| long || !row.long).collect()
}

/// Measures one row.
pub(crate) fn row(row: &'static Row, plan: &Plan, files: &Files) -> Measured {
    let suits = |peer: &&Peer| row.work.suits(**peer);
    let cell = |peer: &Peer| Cell { peer: *peer, outcomes: Vec::new(), skipped: None };
    let mut cells: Vec<_> = plan.peers.iter().filter(suits).map(cell).collect();
    for _ in 0..plan.reps {
        for cell in cells.iter_mut().filter(|cell| cell.skipped.is_none()) {
            match once(row, cell.peer, plan.duration, files) {
                Ok(outcome) => cell.outcomes.push(outcome),
                Err(why) => cell.skipped = Some(why.to_string()),
            }
        }
    }
    Measured { row, cells }
}

/// Starts a server, lets clients do the work, and ends it.
fn once(row: &Row, peer: Peer, duration: Duration, files: &Files) -> io::Result<Outcome> {
    let begun = Instant::now();
    let measure = || {
        let server = Server::start(row, peer, files)?;
        server.client(row, peer, duration, files)
    };
    meter::pinned(row.pinned, measure)?.map_err(|error| {
        io::Error::other(format!("{error} (after {:.1} s)", begun.elapsed().as_secs_f64()))
    })
}

impl Outcome {
    /// The figure of the table.
    pub(crate) fn figure(&self, row: &Row) -> f64 {
        let bytes = match row.work {
            crate::work::Work::Stream { size } => size as f64,
            _ => 1.0,
        };
        match row.work.unit() {
            Unit::PerSecond => self.count / self.seconds,
            Unit::Megabytes => self.count * bytes / self.seconds / 1e6,
            Unit::Kibibytes | Unit::Microseconds => self.count,
        }
    }
}

impl Measured {
    pub(crate) fn cell(&self, peer: Peer) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.peer == peer)
    }
}

impl Cell {
    /// Median, smallest and largest figure.
    pub(crate) fn figures(&self, row: &Row) -> Option<(f64, f64, f64)> {
        let all = |outcome: &Outcome| outcome.figure(row);
        let mut figures: Vec<_> = self.outcomes.iter().map(all).collect();
        figures.sort_by(f64::total_cmp);
        Some((median(&figures)?, *figures.first()?, *figures.last()?))
    }

    /// Microseconds of processor time for each message: server, clients.
    pub(crate) fn cpu(&self) -> Option<(f64, f64)> {
        let each = |of: fn(&Outcome) -> f64| {
            let mut all: Vec<_> = self.outcomes.iter().map(|o| of(o) / o.count * 1e6).collect();
            all.sort_by(f64::total_cmp);
            median(&all)
        };
        Some((each(|o| o.server_cpu)?, each(|o| o.client_cpu)?))
    }
}

impl Cell {
    /// The share of a core that the server used.
    pub(crate) fn load(&self) -> Option<f64> {
        let mut all: Vec<_> = self.outcomes.iter().map(|o| o.server_cpu / o.seconds).collect();
        all.sort_by(f64::total_cmp);
        median(&all)
    }
}

/// The middle of what is sorted.
fn median(sorted: &[f64]) -> Option<f64> {
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    match sorted.len().is_multiple_of(2) {
        true => Some((sorted.get(middle - 1)? + upper) / 2.0),
        false => Some(upper),
    }
}
