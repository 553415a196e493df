//! The same as bars: one group for each row, the best of it as long as the picture is wide.

use std::fmt::Write as _;

use super::text::short;
use crate::{peer::Peer, run::Measured, work::Row};

const WIDTH: usize = 900;
const LEFT: usize = 210;
const BAR: usize = 14;
const GAP: usize = 30;
/// What the longest bar measures; the rest is for its figure.
const LONGEST: f64 = 600.0;

/// The whole picture.
pub(super) fn write(all: &[Measured]) -> String {
    let mut body = String::new();
    let mut y = 10;
    for measured in all {
        y = group(&mut body, measured, y);
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {y}\" width=\"{WIDTH}\" \
         height=\"{y}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n{body}</svg>\n"
    )
}

fn group(out: &mut String, measured: &Measured, top: usize) -> usize {
    let row: &Row = measured.row;
    let figure = |peer: Peer| measured.cell(peer)?.figures(row).map(|(median, ..)| (peer, median));
    let figures: Vec<_> = measured.cells.iter().filter_map(|cell| figure(cell.peer)).collect();
    let most = figures.iter().map(|(_, median)| *median).fold(f64::MIN_POSITIVE, f64::max);
    let less = if row.work.unit().less_is_better() { ", less is better" } else { "" };
    let mut y = top + BAR;
    // Writing to a string cannot fail.
    let _ = writeln!(
        out,
        "<text x=\"4\" y=\"{y}\" font-weight=\"bold\">{} [{}{less}]</text>",
        row.title,
        row.work.unit().name()
    );
    for (peer, median) in figures {
        y += BAR;
        let long = (median / most * LONGEST).max(1.0);
        let color = if peer.is_pysock() { "#c2410c" } else { "#94a3b8" };
        let _ = writeln!(
            out,
            "<text x=\"{}\" y=\"{y}\" text-anchor=\"end\">{}</text>\
             <rect x=\"{LEFT}\" y=\"{}\" width=\"{long:.1}\" height=\"{}\" fill=\"{color}\"/>\
             <text x=\"{:.1}\" y=\"{y}\">{}</text>",
            LEFT - 6,
            peer.title(),
            y - BAR + 4,
            BAR - 3,
            LEFT as f64 + long + 5.0,
            short(median)
        );
    }
    y + GAP
}
