//! What pysock costs a microcontroller: collects figures, compares them with the budgets and with what is recorded, and
//! fails if they have grown.
//!
//! ```text
//! report linked DIRECTORY RECORDED [--record]    the programs of this workspace, the empty one taken off
//! report size NAME PROGRAM                       one whole program, as lines for `run`
//! report run FIGURES RECORDED [--record]         lines `name value unit`, as the emulated boards print them
//! report document LINKED RUN                     both recorded tables as a document
//! ```

mod document;
mod elf;
mod program;
mod table;

use std::{error::Error, fs, path::Path, process::ExitCode};

use crate::table::{Budgets, Figures, judge};

/// What may not be exceeded by the parts of pysock, in bytes.
const LINKED: &Budgets = &[
    ("client flash", 40 * 1024),
    ("size of Connection", 512),
    ("size of Peer", 400),
    // Half of a small chip, with TCP/IP and the memory of four clients; the link script allows the whole of it. What
    // remains of the RAM is for the stack.
    ("mcu_server flash", 128 * 1024),
    ("mcu_server static RAM", 32 * 1024),
];

/// Programs that are linked to be measured.
const PROGRAMS: [&str; 5] = ["client", "keys", "peer", "server", "mcu_server"];

/// What may not be exceeded by the firmware and at run time: half of the small board's memory for all of it, and 6 KiB of
/// stack for the client.
const RUN: &Budgets = &[
    ("lm3s6965evb thermometer flash", 128 * 1024),
    ("lm3s6965evb thermometer static RAM", 32 * 1024),
    ("mps2-an385 link_xx_stack", 6 * 1024),
    ("mps2-an385 link_xk_stack", 6 * 1024),
    ("mps2-an385 peer_xx_stack", 6 * 1024),
    ("mps2-an385 peer_kk_stack", 6 * 1024),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["linked", directory, recorded] => linked(directory.as_ref(), recorded.as_ref(), false),
        ["linked", directory, recorded, "--record"] => {
            linked(directory.as_ref(), recorded.as_ref(), true)
        }
        ["size", name, program] => size(name, program.as_ref()),
        ["run", figures, recorded] => run(figures.as_ref(), recorded.as_ref(), false),
        ["run", figures, recorded, "--record"] => run(figures.as_ref(), recorded.as_ref(), true),
        ["document", linked, run] => document(linked.as_ref(), run.as_ref()),
        _ => Err("the first lines of its source say how it is called".into()),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("footprint: {error}");
            ExitCode::FAILURE
        }
    }
}

fn linked(directory: &Path, recorded: &Path, record: bool) -> Result<bool, Box<dyn Error>> {
    let mut figures = Figures::new();
    let empty = program::measure(&directory.join("empty"))?;
    for name in PROGRAMS {
        let program = program::measure(&directory.join(name))?;
        let over = |what: &str, ours: usize, base: usize| {
            let more = ours.checked_sub(base).ok_or("the baseline is larger than the program")?;
            Ok::<_, Box<dyn Error>>((format!("{name} {what}"), more))
        };
        figures.push(over("flash", program.flash, empty.flash)?);
        figures.push(over("text", program.text, empty.text)?);
        figures.push(over("constants", program.flash - program.text, empty.flash - empty.text)?);
        figures.push(over("static RAM", program.ram, empty.ram)?);
        let sizes = program.sizes.into_iter();
        figures.extend(sizes.map(|(of, size)| (format!("size of {of}"), size)));
    }
    judge(&figures, LINKED, recorded, record, ".ci/footprint")
}

fn size(name: &str, path: &Path) -> Result<bool, Box<dyn Error>> {
    let program = program::measure(path)?;
    println!("{name} flash {} bytes", program.flash);
    println!("{name} static RAM {} bytes", program.ram);
    Ok(true)
}

fn run(figures: &Path, recorded: &Path, record: bool) -> Result<bool, Box<dyn Error>> {
    let text = fs::read_to_string(figures).map_err(|e| format!("{}: {e}", figures.display()))?;
    let figures: Option<Figures> = text
        .lines()
        .map(|line| {
            let (line, _unit) = line.trim().rsplit_once(' ')?;
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        })
        .collect();
    judge(&figures.ok_or("a line is not `name value unit`")?, RUN, recorded, record, ".ci/embedded")
}

fn document(linked: &Path, run: &Path) -> Result<bool, Box<dyn Error>> {
    let read = |path: &Path| {
        let text = fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        table::read(&text)
    };
    print!("{}", document::write(&read(linked)?, LINKED, &read(run)?, RUN));
    Ok(true)
}
