//! The figures beside those that are recorded.

use std::{error::Error, fmt::Write as _, fs};

use crate::{PROVIDERS, work::ROWS};

const RECORDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/recorded.txt");
/// The column that is held.
const HELD: &str = "none";
/// By how much its figures may exceed the recorded ones, in percent.
const TOLERANCE: u64 = 3;

/// A provider's figures, if this computer has its suite.
type Column = Option<Vec<u64>>;

/// Prints the table and says whether what is held has kept its size. With `record`, writes it down instead.
pub(crate) fn judge(columns: &[Column], record: bool) -> Result<bool, Box<dyn Error>> {
    let table = write(columns)?;
    print!("{table}");
    if record {
        fs::write(RECORDED, table)?;
        println!("recorded");
        return Ok(true);
    }
    let recorded = fs::read_to_string(RECORDED)
        .map_err(|error| format!("{RECORDED}: {error}; .ci/instructions --record writes it"))?;
    println!("\nWithout primitives, beside what is recorded:");
    let held = PROVIDERS.iter().zip(columns).find(|((name, _), _)| *name == HELD);
    let (_, Some(held)) = held.ok_or("nothing is held")? else {
        return Err("nothing is held".into());
    };
    let mut good = true;
    for (row, now) in ROWS.iter().zip(held) {
        let was: u64 = read(&recorded, row)?;
        let change = 100.0 * (*now as f64 - was as f64) / was as f64;
        println!("{row:<32} {now:>10} {was:>10} {change:>+7.1} %");
        if now * 100 > was * (100 + TOLERANCE) {
            println!(
                "FAILED: {row} takes more than {TOLERANCE} % more; if it has to: .ci/instructions --record"
            );
            good = false;
        }
    }
    Ok(good)
}

/// The held figure of a row: the first one behind its name.
fn read(recorded: &str, row: &str) -> Result<u64, Box<dyn Error>> {
    let line = recorded
        .lines()
        .find_map(|line| line.split_at_checked(32).filter(|(name, _)| name.trim() == row));
    let figure = line.and_then(|(_, figures)| figures.split_whitespace().next()?.parse().ok());
    figure.ok_or_else(|| format!("{row} is not recorded; .ci/instructions --record does").into())
}

fn write(columns: &[Column]) -> Result<String, std::fmt::Error> {
    let mut text = String::from(
        "# Instructions, as callgrind counts them. Written by `.ci/instructions --record`; say in the commit why they changed.\n\
         # Only the first column, pysock without primitives, is held to these figures: the others depend on the processor.\n",
    );
    writeln!(text, "# Here: {}", processor())?;
    write!(text, "{:<32}", "#")?;
    for (name, _) in PROVIDERS {
        write!(text, " {name:>22}")?;
    }
    text.push('\n');
    for (n, row) in ROWS.iter().enumerate() {
        write!(text, "{row:<32}")?;
        for column in columns {
            let figure = column.as_ref().and_then(|figures| figures.get(n));
            write!(text, " {:>22}", figure.map_or("-".into(), u64::to_string))?;
        }
        text.push('\n');
    }
    Ok(text)
}

/// The processor's name and those of its abilities by which primitives are chosen.
fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(": ")).map_or("", |(_, value)| value)
    };
    let abilities = [
        "aes",
        "pclmulqdq",
        "ssse3",
        "avx",
        "avx2",
        "bmi2",
        "adx",
        "vaes",
        "avx512f",
        "avx512ifma",
    ];
    let flags: Vec<_> = line("flags").split(' ').filter(|flag| abilities.contains(flag)).collect();
    format!(
        "{}, with {}; valgrind shows programs none of AVX-512",
        line("model name"),
        flags.join(" ")
    )
}
