//! Figures beside their budgets and what is recorded of them.

use std::{collections::BTreeMap, error::Error, fs, path::Path};

/// By how much a figure may exceed the recorded one, in percent.
const TOLERANCE: usize = 3;

/// Names and values, in the order in which they are shown.
pub type Figures = Vec<(String, usize)>;
/// Names, and what may not be exceeded.
pub type Budgets = [(&'static str, usize)];

/// Compares figures with what is recorded, prints the table, and says whether everything is in order. With `record`,
/// writes them down first. `command` is what a person calls for that.
pub fn judge(
    figures: &Figures,
    budgets: &Budgets,
    recorded: &Path,
    record: bool,
    command: &str,
) -> Result<bool, Box<dyn Error>> {
    let before = match fs::read_to_string(recorded) {
        Err(_) if record => BTreeMap::new(),
        text => {
            let text = text.map_err(|error| {
                format!("{}: {error}; {command} --record writes it", recorded.display())
            })?;
            read(&text)?.into_iter().collect()
        }
    };
    let (exceeded, changed) = print(figures, budgets, &before);
    if record {
        write(recorded, figures, command)?;
        println!("recorded");
    }
    for what in &exceeded {
        println!("FAILED: {what} exceeds its budget");
    }
    if record {
        return Ok(exceeded.is_empty());
    }
    for what in &changed {
        println!("FAILED: {what}; if it has to: {command} --record");
    }
    Ok(exceeded.is_empty() && changed.is_empty())
}

/// Reads lines of a value and a name.
pub fn read(text: &str) -> Result<Figures, Box<dyn Error>> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (value, name) = line.trim().split_once(' ').ok_or("a recorded line has no name")?;
            Ok((name.trim().to_owned(), value.parse()?))
        })
        .collect()
}

fn write(path: &Path, figures: &Figures, command: &str) -> std::io::Result<()> {
    let mut text = format!(
        "# On thumbv7m-none-eabi (opt-level s, fat LTO); bytes, where the name says nothing else.\n\
         # Written by `{command} --record`; say in the commit why they changed.\n",
    );
    for (name, value) in figures {
        text.push_str(&format!("{value:>8} {name}\n"));
    }
    fs::write(path, text)
}

/// Prints the table, and returns which budgets are exceeded, and in what it does not follow from what is recorded.
fn print(
    figures: &Figures,
    budgets: &Budgets,
    before: &BTreeMap<String, usize>,
) -> (Vec<String>, Vec<String>) {
    let (mut exceeded, mut changed) = (vec![], vec![]);
    println!("{:<46} {:>8} {:>8} {:>9} {:>8}", "", "value", "budget", "recorded", "change");
    for (name, value) in figures {
        let budget = budgets.iter().find(|(of, _)| of == name).map(|(_, budget)| *budget);
        let was = before.get(name).copied();
        let shown = |figure: Option<usize>| figure.map_or("-".into(), |value| value.to_string());
        let change = match was {
            Some(was) if was > 0 => {
                format!("{:+.1} %", 100.0 * (*value as f64 - was as f64) / was as f64)
            }
            _ => "-".into(),
        };
        println!("{name:<46} {value:>8} {:>8} {:>9} {change:>8}", shown(budget), shown(was));
        if budget.is_some_and(|budget| *value > budget) {
            exceeded.push(name.clone());
        }
        match was {
            Some(was) if value * 100 > was * (100 + TOLERANCE) => {
                changed.push(format!("{name} has grown by more than {TOLERANCE} %"));
            }
            Some(_) => {}
            None => changed.push(format!("{name} is not recorded")),
        }
    }
    for name in before.keys().filter(|name| !figures.iter().any(|(of, _)| of == *name)) {
        changed.push(format!("{name} is recorded, and was not measured"));
    }
    (exceeded, changed)
}
