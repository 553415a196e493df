//! One row on the terminal.

use std::fmt::Write as _;

use crate::{
    peer::Peer,
    run::{Cell, Measured},
};

/// A row: every peer with median, spread, ratios and processor time.
pub(crate) fn text(measured: &Measured) -> String {
    let row = measured.row;
    let unit = row.work.unit().name();
    let mut out = format!("\n{} [{unit}]\n", row.title);
    let median = |peer| measured.cell(peer)?.figures(row).map(|(median, ..)| median);
    let (plain, tls) = (median(Peer::Plain), median(Peer::TlsAes));
    let cost = |cell: &Cell| cell.cpu().map(|(server, clients)| server + clients);
    let tls_cost = measured.cell(Peer::TlsAes).and_then(cost);
    for cell in &measured.cells {
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "  {:<26}{}",
            cell.peer.title(),
            line(cell, measured, plain, tls, tls_cost)
        );
    }
    out
}

fn line(
    cell: &Cell,
    measured: &Measured,
    plain: Option<f64>,
    tls: Option<f64>,
    tls_cost: Option<f64>,
) -> String {
    if let Some(why) = &cell.skipped {
        return format!("SKIPPED: {why}");
    }
    let Some((median, least, most)) = cell.figures(measured.row) else { return "-".into() };
    let ratio = |to: Option<f64>| to.map_or("-".to_owned(), |to| format!("{:.2}", median / to));
    let (server, client) = cell.cpu().unwrap_or_default();
    if measured.row.work.unit().less_is_better() {
        return format!(
            "{:>9} ({} – {})  plain × {}, TLS × {}, server CPU {:.2} %",
            short(median),
            short(least),
            short(most),
            ratio(plain),
            ratio(tls),
            cell.load().unwrap_or_default() * 100.0
        );
    }
    format!(
        "{:>9} ({} – {})  plain × {}, TLS × {}, CPU µs {server:.2} + {client:.2} (TLS × {})",
        short(median),
        short(least),
        short(most),
        ratio(plain),
        ratio(tls),
        // On a loaded machine, this one tells more than the time that passed.
        tls_cost.map_or("-".to_owned(), |cost| format!("{:.2}", (server + client) / cost))
    )
}

/// Three digits and a letter.
pub(crate) fn short(figure: f64) -> String {
    let (scaled, letter) = match figure {
        f if f >= 1e6 => (f / 1e6, " M"),
        f if f >= 1e4 => (f / 1e3, " k"),
        f => (f, ""),
    };
    match scaled {
        s if s >= 100.0 => format!("{s:.0}{letter}"),
        s if s >= 10.0 => format!("{s:.1}{letter}"),
        s => format!("{s:.2}{letter}"),
    }
}
