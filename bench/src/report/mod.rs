//! What was measured, for people.

mod bars;
mod document;
mod machine;
mod svg;
mod text;

use std::{fmt::Write as _, fs, io, path::Path};

pub(crate) use text::text;

use crate::run::{Measured, Plan};

/// Every goal with what became of it, for the terminal.
pub(crate) fn goals(all: &[Measured]) -> String {
    let mut out = "\nGoals\n".to_owned();
    for verdict in bars::judge(all) {
        let (reached, met) = match verdict.reached {
            Some(reached) => (reached, if verdict.met { "met" } else { "missed" }),
            None => ("-".to_owned(), "not measured"),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(out, "  {:<18}{:<46}{reached:>9}  {met}", verdict.row, verdict.goal);
    }
    out
}

/// Writes document and picture into the repository's `docs`.
pub(crate) fn record(all: &[Measured], plan: &Plan) -> io::Result<()> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let document = document::write(all, &bars::judge(all), plan);
    fs::write(docs.join("PERFORMANCE.md"), document)?;
    fs::write(docs.join("performance.svg"), svg::write(all))
}
