//! The only module that knows the YAML library.

use std::path::Path;

use serde::de::DeserializeSeed;
use serde_yaml::{
    Budget, Error, MergeKeyPolicy, Options, UserMessageFormatter, budget, options, render_options,
};

use super::ConfigError;

/// Deeper, more tangled or larger than any configuration: then it is not one.
fn strict() -> Options {
    let budget: Option<Budget> = budget! {
        max_depth: 8,
        flow_nesting_limit: 8,
        max_nodes: 100_000,
        max_aliases: 0,
        max_anchors: 0,
    };
    options! {
        budget: budget,
        merge_keys: MergeKeyPolicy::Error,
        reject_unsupported_tags: true,
        strict_booleans: true,
    }
}

/// Reads one document with `seed`. An error shows the place, and no secret that stands there.
pub(super) fn parse<T>(
    path: &Path,
    text: &str,
    seed: impl for<'de> DeserializeSeed<'de, Value = T>,
) -> Result<T, ConfigError> {
    serde_yaml::with_deserializer_from_str_with_options(text, strict(), |d| seed.deserialize(d))
        .map_err(|e| located(path, &e))
}

fn located(path: &Path, error: &Error) -> ConfigError {
    let (line, column) = error.location().map_or((0, 0), |at| (at.line(), at.column()));
    let name = path.display().to_string();
    let report = error.render_with_options(render_options! {
        formatter: &UserMessageFormatter,
        source_name: Some(&name),
    });
    let mut report = tidied(&report);
    if line == 0 {
        report.push_str(&format!("\n --> {name}"));
    }
    ConfigError::Yaml { path: path.to_owned(), line, column, report }
}

/// Longest run of letters, digits and dashes that cannot be a piece of a secret. A secret has 70.
const HARMLESS: usize = 16;
/// How secrets begin, as advice quotes it.
const PREFIXES: [&str; 2] = ["PYSOCK-SECRET-KEY-1", "PYSOCK-PSK-1"];

/// The library's report without its repetitions, and with stars for everything that may be a secret, one
/// for each character, so that carets stay in place.
///
/// A mistyped secret is not recognisable as one, so this asks what is harmless instead: short words,
/// and public keys. Behind `key:` and `psk:` in the user's text nothing is.
fn tidied(report: &str) -> String {
    let mut lines = report.trim_end().lines();
    let message = lines.next().unwrap_or_default();
    // "error: line 1 column 2: what": the place follows in the next line.
    let what = message.strip_prefix("error: line ").and_then(|rest| rest.split_once(": "));
    let mut out = starred(what.map_or(message, |(_, what)| what));
    for line in lines {
        let gutter = line.trim_start();
        out.push('\n');
        if gutter.starts_with("-->") {
            out.push_str(line);
        } else if gutter.starts_with('|') {
            // Behind the caret stands the message once more.
            out.push_str(line.find('^').map_or(line, |caret| &line[..=caret]));
        } else {
            let hidden = ["key", "psk"].iter().filter_map(|name| value_of(line, name)).min();
            let (shown, hidden) = line.split_at(hidden.unwrap_or(line.len()));
            out.push_str(&starred(shown));
            out.extend(hidden.chars().map(|c| if c == ' ' { ' ' } else { '*' }));
        }
    }
    out
}

fn starred(text: &str) -> String {
    let mut out = String::new();
    let (mut run, mut before) = (String::new(), ' ');
    for c in text.chars().chain([' ']) {
        if c.is_alphanumeric() || c == '-' {
            run.push(c);
            continue;
        }
        // The library crops long lines: beside an ellipsis, a short run may be a piece of a long one.
        let whole = before != '…' && c != '…';
        let harmless = run.starts_with("pysock1") || (whole && run.len() <= HARMLESS);
        if harmless || PREFIXES.contains(&run.as_str()) {
            out.push_str(&run);
        } else {
            out.extend(run.chars().map(|_| '*'));
        }
        run.clear();
        before = c;
        // What a terminal would obey is not for a terminal.
        out.push(if c.is_control() { '\u{fffd}' } else { c });
    }
    out.pop();
    out
}

/// Where the value begins if the line of a report shows `name: value`.
fn value_of(line: &str, name: &str) -> Option<usize> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(name).find_map(|(at, _)| {
        let after = line[at + name.len()..].trim_start_matches(['"', '\'', ' ']);
        let whole = !line[..at].ends_with(is_word);
        (whole && after.starts_with(':')).then(|| line.len() - after.len() + 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_become_stars_and_carets_stay() {
        for (line, shown) in [
            ("3 | port: zero", "3 | port: zero"),
            ("3 | key: PYSOCK-SECRET abc", "3 | key: ************* ***"),
            ("3 | \"psk\" : short", "3 | \"psk\" : *****"),
            ("3 | {port: 1, key: abc}", "3 | {port: 1, key: ****"),
            ("3 | server_key: pysock1qqqqqqqqqqqqqqq", "3 | server_key: pysock1qqqqqqqqqqqqqqq"),
            ("3 |   YSOCK-SECRET-KEY-1QQQQQQ", "3 |   ************************"),
            ("3 | max_unauthenticated_per_address: 0", "3 | max_unauthenticated_per_address: 0"),
            ("3 | \u{1b}[31m", "3 | \u{fffd}[31m"),
            ("3 | …QPZRY9X8, port: zero", "3 | …********, port: zero"),
            ("  |   ^ not a key", "  |   ^"),
        ] {
            let report = format!("error: line 3 column 1: what is wrong\n{line}\n");
            assert_eq!(tidied(&report), format!("what is wrong\n{shown}"));
        }
    }
}
