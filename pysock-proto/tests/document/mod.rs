//! What the tests of the documents share: values as text, sections that a test writes, tables of codes.
#![allow(dead_code, unreachable_pub, reason = "every test file uses its own part of this module")]

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use crate::independent::Key;

/// 32 bytes that count up.
pub fn counting(from: u8) -> Key {
    std::array::from_fn(|i| from + u8::try_from(i).unwrap())
}

pub fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap())
        .collect()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        write!(out, "{byte:02x}").unwrap();
        out
    })
}

/// A value with its label; long values on lines of their own.
pub fn value(out: &mut String, label: &str, bytes: &[u8]) {
    match bytes.len() {
        0..=32 => writeln!(out, "{label:<24}{}", hex(bytes)).unwrap(),
        n => {
            writeln!(out, "{label} ({n} bytes)").unwrap();
            bytes.chunks(32).for_each(|line| writeln!(out, "  {}", hex(line)).unwrap());
        }
    }
}

/// Handshake hash and chaining key.
pub fn state(out: &mut String, when: &str, (h, ck): (Key, Key)) {
    value(out, &format!("h  {when}"), &h);
    value(out, &format!("ck {when}"), &ck);
}

/// What travels, in lines of 32 bytes.
pub fn wire(out: &mut String, bytes: &[u8]) {
    for (n, line) in bytes.chunks(32).enumerate() {
        writeln!(out, "  {:<6} {}", if n == 0 { "wire" } else { "" }, hex(line)).unwrap();
    }
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name)
}

pub fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap().replace("\r\n", "\n")
}

/// The section of a document that consists of these examples: title and body.
pub fn section<const N: usize>(examples: [(&str, String); N]) -> String {
    let examples = examples.map(|(title, body)| format!("\n### {title}\n\n{body}"));
    examples.concat() + "\n"
}

/// Holds the section of a document that `test` writes to what it has to be, or writes it if that is asked for.
pub fn check_section(name: &str, test: &str, section: &str) {
    let start = format!("<!-- worked examples: begin, written by tests/{test}.rs -->\n");
    const FINISH: &str = "<!-- worked examples: end -->\n";
    let document = read(name);
    let (before, rest) = document.split_once(&start).expect("the marker of the beginning");
    let (written, after) = rest.split_once(FINISH).expect("the marker of the end");
    if written == section {
        return;
    }
    if std::env::var_os("PYSOCK_UPDATE_DOCS").is_some_and(|it| it == "1") {
        fs::write(path(name), [before, &start, section, FINISH, after].concat()).unwrap();
        return;
    }
    let line = written.lines().zip(section.lines()).take_while(|(a, b)| a == b).count();
    let [is, should] = [written, section].map(|s| s.lines().nth(line).unwrap_or("(its end)"));
    panic!(
        "the worked examples of docs/{name} differ from the code in line {} of the section:\n\
         is      {is}\nshould  {should}\n\
         If the change of the protocol is meant, run\n  \
         PYSOCK_UPDATE_DOCS=1 cargo test -p pysock-proto --test {test}",
        line + 1
    );
}

/// The rows `| code | name |` of the section whose title begins with `title`.
pub fn codes(document: &str, title: &str) -> Vec<(u8, String)> {
    let (_, section) = document.split_once(&format!("\n{title}")).expect(title);
    let table = section.lines().skip_while(|line| !line.starts_with("| code |")).skip(2);
    table
        .map_while(|line| {
            let mut cells = line.strip_prefix("| ")?.split(" | ");
            let (code, name) = (cells.next()?, cells.next()?);
            let code = match code.strip_prefix("0x") {
                Some(digits) => u8::from_str_radix(digits, 16),
                None => code.parse(),
            };
            Some((code.unwrap(), name.to_owned()))
        })
        .collect()
}

/// Holds such a table to the names that the code has; unknown codes are called `Other`.
pub fn check_codes(document: &str, title: &str, name: fn(u8) -> String) {
    let all = (0..=u8::MAX).map(|code| (code, name(code)));
    let known: Vec<_> = all.filter(|(_, name)| !name.starts_with("Other")).collect();
    assert_eq!(codes(document, title), known, "{title}");
}
