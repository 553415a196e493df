//! `report DIRECTORY RECORDED [--record]`: measures the linked programs `empty`, `client`, `keys`, `peer`, `server` and `mcu_server`,
//! compares them with the budgets and with what is recorded, and fails if they have grown.

mod elf;

use std::{collections::BTreeMap, error::Error, fs, path::Path, process::ExitCode};

/// What may not be exceeded, in bytes.
const BUDGETS: [(&str, usize); 5] = [
    ("client flash", 40 * 1024),
    ("size of Connection", 512),
    ("size of Peer", 400),
    // Half of a small chip, with TCP/IP and the memory of four clients; the link script allows the whole of it. What
    // remains of the RAM is for the stack.
    ("mcu_server flash", 128 * 1024),
    ("mcu_server static RAM", 32 * 1024),
];

/// By how much a figure may exceed the recorded one, in percent.
const TOLERANCE: usize = 3;

/// An entry of `.pysock_sizes`: a padded name and a word.
const NAME: usize = 28;
const ENTRY: usize = NAME + 4;

/// Symbols that only an allocator or the standard library brings along: whole names, and parts of mangled ones.
const FORBIDDEN: [&str; 5] = ["malloc", "calloc", "realloc", "free", "aligned_alloc"];
const FORBIDDEN_PARTS: [&str; 7] = [
    "__rust_alloc",
    "__rust_dealloc",
    "__rust_realloc",
    "_ZN5alloc",
    "_5alloc",
    "_ZN3std",
    "_3std",
];

type Figures = Vec<(String, usize)>;

struct Program {
    text: usize,
    flash: usize,
    ram: usize,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [directory, recorded] => report(directory.as_ref(), recorded.as_ref(), false),
        [directory, recorded, "--record"] => report(directory.as_ref(), recorded.as_ref(), true),
        _ => Err("usage: report DIRECTORY RECORDED [--record]".into()),
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

fn report(directory: &Path, recorded: &Path, record: bool) -> Result<bool, Box<dyn Error>> {
    let mut figures = Figures::new();
    let (empty, _) = measure(&directory.join("empty"))?;
    for name in ["client", "keys", "peer", "server", "mcu_server"] {
        let (program, sizes) = measure(&directory.join(name))?;
        let over = |what: &str, ours: usize, base: usize| {
            let more = ours.checked_sub(base).ok_or("the baseline is larger than the program")?;
            Ok::<_, Box<dyn Error>>((format!("{name} {what}"), more))
        };
        figures.push(over("flash", program.flash, empty.flash)?);
        figures.push(over("text", program.text, empty.text)?);
        figures.push(over("constants", program.flash - program.text, empty.flash - empty.text)?);
        figures.push(over("static RAM", program.ram, empty.ram)?);
        figures.extend(sizes.into_iter().map(|(of, size)| (format!("size of {of}"), size)));
    }
    let before = read(recorded, record)?;
    let complaints = print(&figures, &before);
    if record {
        write(recorded, &figures)?;
        println!("recorded");
    }
    for complaint in &complaints {
        println!("FAILED: {complaint}");
    }
    Ok(complaints.is_empty())
}

/// Reads one program, after making sure that nothing in it allocates.
fn measure(path: &Path) -> Result<(Program, Figures), Box<dyn Error>> {
    let shown = path.display();
    let file = fs::read(path).map_err(|error| format!("{shown}: {error}"))?;
    let sections = elf::sections(&file).ok_or_else(|| format!("{shown}: not a program"))?;
    let symbols = elf::symbols(&sections).ok_or_else(|| format!("{shown}: no symbols"))?;
    if !symbols.contains(&"reset") {
        return Err(format!("{shown}: the symbols say nothing, not even `reset`").into());
    }
    let forbidden = symbols.iter().find(|symbol| {
        FORBIDDEN.contains(symbol) || FORBIDDEN_PARTS.iter().any(|part| symbol.contains(part))
    });
    if let Some(symbol) = forbidden {
        return Err(format!("{shown}: `{symbol}` has no place without allocator and std").into());
    }
    let sum = |which: fn(&elf::Section<'_>) -> bool| {
        sections.iter().filter(|section| which(section)).map(|section| section.size).sum()
    };
    let program = Program {
        text: sum(|section| section.is_text()),
        flash: sum(|section| section.is_flash()),
        ram: sum(|section| section.is_ram()),
    };
    let sizes = sections.iter().find(|section| section.name == ".pysock_sizes");
    let sizes = sizes.map_or(&[][..], |section| section.bytes).chunks_exact(ENTRY);
    let sizes: Option<Figures> = sizes
        .map(|entry| {
            let name = std::str::from_utf8(&entry[..NAME]).ok()?.trim_end();
            Some((name.to_owned(), elf::word(entry, NAME)? as usize))
        })
        .collect();
    Ok((program, sizes.ok_or_else(|| format!("{shown}: damaged .pysock_sizes"))?))
}

/// What was recorded: lines of a figure in bytes and its name.
fn read(path: &Path, missing_is_fine: bool) -> Result<BTreeMap<String, usize>, Box<dyn Error>> {
    let text = match fs::read_to_string(path) {
        Err(_) if missing_is_fine => return Ok(BTreeMap::new()),
        text => text.map_err(|error| {
            format!("{}: {error}; .ci/footprint --record writes it", path.display())
        })?,
    };
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (bytes, name) = line.trim().split_once(' ').ok_or("a recorded line has no name")?;
            Ok((name.trim().to_owned(), bytes.parse()?))
        })
        .collect()
}

fn write(path: &Path, figures: &Figures) -> std::io::Result<()> {
    let mut text = String::from(
        "# Bytes on thumbv7m-none-eabi (opt-level s, fat LTO), the empty program taken off.\n\
         # Written by `.ci/footprint --record`; say in the commit why they changed.\n",
    );
    for (name, bytes) in figures {
        text.push_str(&format!("{bytes:>6} {name}\n"));
    }
    fs::write(path, text)
}

/// Prints the table, and returns what is wrong with it.
fn print(figures: &Figures, before: &BTreeMap<String, usize>) -> Vec<String> {
    let mut complaints = vec![];
    println!("{:<36} {:>7} {:>8} {:>9} {:>8}", "", "bytes", "budget", "recorded", "change");
    for (name, bytes) in figures {
        let budget = BUDGETS.iter().find(|(of, _)| of == name).map(|(_, budget)| *budget);
        let was = before.get(name).copied();
        let shown = |figure: Option<usize>| figure.map_or("-".into(), |bytes| bytes.to_string());
        let change = match was {
            Some(was) if was > 0 => {
                format!("{:+.1} %", 100.0 * (*bytes as f64 - was as f64) / was as f64)
            }
            _ => "-".into(),
        };
        println!("{name:<36} {bytes:>7} {:>8} {:>9} {change:>8}", shown(budget), shown(was));
        if budget.is_some_and(|budget| *bytes > budget) {
            complaints.push(format!("{name} exceeds its budget"));
        }
        if was.is_some_and(|was| bytes * 100 > was * (100 + TOLERANCE)) {
            complaints.push(format!(
                "{name} has grown by more than {TOLERANCE} %; if it has to: .ci/footprint --record"
            ));
        }
        if was.is_none() && !before.is_empty() {
            complaints.push(format!("{name} is not recorded: .ci/footprint --record"));
        }
    }
    complaints
}
