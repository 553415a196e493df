//! The state as text.
//!
//! ```text
//! pysock-state 1
//! server localhost:1234 pysock1… 01
//! name kitchen pysock1… 1764000000
//! peer cellar pysock1…
//! invitation 0123456789abcdef pysock1…
//! end 4 <BLAKE2s-256 of everything above, in hexadecimal>
//! ```

use std::{fmt::Write, path::Path, str::FromStr};

use pysock_proto::{Crypto, RustCrypto};

use super::{KnownServer, NameBinding, State, StateError};

const FORMAT: &str = "pysock-state";
const VERSION: u32 = 1;

/// What is wrong with a text.
#[derive(Debug)]
pub(super) enum Bad {
    Corrupt(String),
    Newer(u32),
}

impl Bad {
    pub(super) fn of(self, path: &Path) -> StateError {
        let path = path.to_owned();
        match self {
            Bad::Corrupt(what) => StateError::Corrupt { path, what },
            Bad::Newer(version) => StateError::NewerFormat { path, version },
        }
    }
}

pub(super) fn render(state: &State) -> String {
    let mut lines: Vec<String> = vec![format!("{FORMAT} {VERSION}")];
    for (id, server) in &state.servers {
        lines.push(format!("server {id} {} {}", server.key, hex(&server.suites)));
    }
    for (name, binding) in &state.names {
        lines.push(format!("name {name} {} {}", binding.key, binding.since));
    }
    for (name, key) in &state.peers {
        lines.push(format!("peer {name} {key}"));
    }
    for (hint, key) in &state.invitations {
        lines.push(format!("invitation {} {key}", hex(hint)));
    }
    let entries = lines.len() - 1;
    let mut text = lines.join("\n");
    text.push('\n');
    let checksum = checksum(&text);
    text.push_str(&format!("end {entries} {checksum}\n"));
    text
}

pub(super) fn parse(text: &str) -> Result<State, Bad> {
    let cut = |what: &str| Bad::Corrupt(what.to_owned());
    let (first, _) = text.split_once('\n').ok_or_else(|| cut("it is empty or cut short"))?;
    match first.split_once(' ') {
        Some((FORMAT, version)) => match version.parse() {
            Ok(VERSION) => {}
            Ok(version) if version > VERSION => return Err(Bad::Newer(version)),
            _ => return Err(cut("its first line is not one that pysock writes")),
        },
        _ => return Err(cut("its first line is not one that pysock writes")),
    }
    let body = text.strip_suffix('\n').ok_or_else(|| cut("it is cut short within a line"))?;
    let (_, last) = body.rsplit_once('\n').ok_or_else(|| cut("it is cut short"))?;
    let body = &text[..body.len() - last.len()];
    let Some([count, sum]) = last.strip_prefix("end ").and_then(fields) else {
        return Err(cut("it is cut short: its last line is not its checksum"));
    };
    let entries = body.lines().skip(1);
    if count != entries.clone().count().to_string() || sum != checksum(body) {
        return Err(cut("its lines do not agree with its checksum; it was cut or edited"));
    }
    let mut state = State::default();
    for (at, line) in entries.enumerate() {
        entry(&mut state, line).ok_or_else(|| {
            Bad::Corrupt(format!("line {} is not one that pysock writes", at + 2))
        })?;
    }
    Ok(state)
}

/// One line into `state`; `None` if it makes no sense there or says something a second time.
fn entry(state: &mut State, line: &str) -> Option<()> {
    let (kind, rest) = line.split_once(' ')?;
    let fresh = match kind {
        "server" => {
            let [id, key, suites] = fields(rest)?;
            if id.is_empty() || id.chars().any(|c| c.is_control() || c.is_whitespace()) {
                return None;
            }
            let server = KnownServer { key: parsed(key)?, suites: unhex(suites)? };
            state.servers.insert(id.to_owned(), server).is_none()
        }
        "name" => {
            let [name, key, since] = fields(rest)?;
            let binding = NameBinding { key: parsed(key)?, since: parsed(since)? };
            state.names.insert(parsed(name)?, binding).is_none()
        }
        "peer" => {
            let [name, key] = fields(rest)?;
            state.peers.insert(parsed(name)?, parsed(key)?).is_none()
        }
        "invitation" => {
            let [hint, key] = fields(rest)?;
            state.invitations.insert(unhex(hint)?.try_into().ok()?, parsed(key)?).is_none()
        }
        _ => return None,
    };
    fresh.then_some(())
}

/// Exactly `N` fields, separated by single spaces.
fn fields<const N: usize>(text: &str) -> Option<[&str; N]> {
    text.split(' ').collect::<Vec<_>>().try_into().ok()
}

fn parsed<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

fn checksum(text: &str) -> String {
    hex(&RustCrypto::hash(&[text.as_bytes()]))
}

/// Hexadecimal; a dash for no bytes, so that the field is there.
fn hex(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "-".to_owned();
    }
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if text == "-" {
        return Some(Vec::new());
    }
    let digits = text.as_bytes();
    if text.is_empty() || !digits.len().is_multiple_of(2) {
        return None;
    }
    let digit = |d: u8| char::from(d).to_digit(16).map(|d| d as u8);
    digits.chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}
