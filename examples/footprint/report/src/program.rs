//! What a linked program takes, and that nothing in it allocates.

use std::{error::Error, fs, path::Path};

use crate::{elf, table::Figures};

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
/// What every program has at its reset: without it, the symbols say nothing.
const RESET: [&str; 2] = ["reset", "Reset"];

/// What a program takes, in bytes.
pub struct Program {
    pub text: usize,
    pub flash: usize,
    pub ram: usize,
    /// What it says of the sizes of types.
    pub sizes: Figures,
}

/// Reads one program, after making sure that nothing in it allocates.
pub fn measure(path: &Path) -> Result<Program, Box<dyn Error>> {
    let shown = path.display();
    let file = fs::read(path).map_err(|error| format!("{shown}: {error}"))?;
    let sections = elf::sections(&file).ok_or_else(|| format!("{shown}: not a program"))?;
    let symbols = elf::symbols(&sections).ok_or_else(|| format!("{shown}: no symbols"))?;
    if !symbols.iter().any(|symbol| RESET.contains(symbol)) {
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
    let sizes = sections.iter().find(|section| section.name == ".pysock_sizes");
    let sizes = sizes.map_or(&[][..], |section| section.bytes).chunks_exact(ENTRY);
    let sizes: Option<Figures> = sizes
        .map(|entry| {
            let name = std::str::from_utf8(&entry[..NAME]).ok()?.trim_end();
            Some((name.to_owned(), elf::word(entry, NAME)? as usize))
        })
        .collect();
    Ok(Program {
        text: sum(|section| section.is_text()),
        flash: sum(|section| section.is_flash()),
        ram: sum(|section| section.is_ram()),
        sizes: sizes.ok_or_else(|| format!("{shown}: damaged .pysock_sizes"))?,
    })
}
