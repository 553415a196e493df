//! As much of ELF as the report needs: sections and symbol names of a 32-bit little-endian file.

/// One entry of the section table.
pub struct Section<'f> {
    pub name: &'f str,
    /// In bytes, also of a section that takes no room in the file.
    pub size: usize,
    /// What is in the file; empty for `.bss`.
    pub bytes: &'f [u8],
    kind: u32,
    flags: u32,
    link: usize,
}

const SYMBOLS: u32 = 2;
const NO_BITS: u32 = 8;
const WRITE: u32 = 1;
const ALLOC: u32 = 2;
const EXECUTE: u32 = 4;

const SECTION_HEADER: usize = 40;
const SYMBOL: usize = 16;

impl Section<'_> {
    /// Code.
    pub fn is_text(&self) -> bool {
        self.flags & (ALLOC | EXECUTE) == ALLOC | EXECUTE
    }

    /// Stored in flash: code, constants and the initial values of variables.
    pub fn is_flash(&self) -> bool {
        self.flags & ALLOC != 0 && self.kind != NO_BITS
    }

    /// Variables, initialized or not.
    pub fn is_ram(&self) -> bool {
        self.flags & (ALLOC | WRITE) == ALLOC | WRITE
    }
}

fn half(file: &[u8], at: usize) -> Option<usize> {
    Some(u16::from_le_bytes(file.get(at..at + 2)?.try_into().ok()?).into())
}

/// A little-endian word.
pub fn word(file: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(file.get(at..at + 4)?.try_into().ok()?))
}

fn text(table: &[u8], at: usize) -> Option<&str> {
    let text = table.get(at..)?;
    std::str::from_utf8(text.split(|byte| *byte == 0).next()?).ok()
}

/// The sections of a file; `None` if it is not what the linker writes for this target.
pub fn sections(file: &[u8]) -> Option<Vec<Section<'_>>> {
    if !file.starts_with(b"\x7fELF\x01\x01") {
        return None;
    }
    let (table, count, names) = (word(file, 32)? as usize, half(file, 48)?, half(file, 50)?);
    let header = |n: usize, field: usize| word(file, table + n * SECTION_HEADER + 4 * field);
    let bytes = |n: usize| {
        let (from, size) = (header(n, 4)? as usize, header(n, 5)? as usize);
        match header(n, 1)? {
            NO_BITS => Some(&[][..]),
            _ => file.get(from..from + size),
        }
    };
    let names = bytes(names)?;
    (0..count)
        .map(|n| {
            Some(Section {
                name: text(names, header(n, 0)? as usize)?,
                size: header(n, 5)? as usize,
                bytes: bytes(n)?,
                kind: header(n, 1)?,
                flags: header(n, 2)?,
                link: header(n, 6)? as usize,
            })
        })
        .collect()
}

/// The name of every symbol, local ones included.
pub fn symbols<'f>(sections: &[Section<'f>]) -> Option<Vec<&'f str>> {
    let table = sections.iter().find(|section| section.kind == SYMBOLS)?;
    let names = sections.get(table.link)?.bytes;
    let symbols = table.bytes.chunks_exact(SYMBOL);
    symbols.map(|symbol| text(names, word(symbol, 0)? as usize)).collect()
}
