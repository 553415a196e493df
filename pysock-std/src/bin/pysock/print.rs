//! Output. What others send is shown, never obeyed: no control character of theirs reaches a terminal.

use std::{
    fmt::Write as _,
    io::{ErrorKind, IsTerminal, Write as _},
};

use pysock_std::{
    Message,
    proto::{Fingerprint, PublicKey, RustCrypto},
};
use serde_json::{Value, json};

use crate::exit::{Exit, Stop};

/// Characters that steer a terminal, or change the order or the lines of what is shown.
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Text on one line, control characters escaped, and bytes that are no text too.
pub(crate) fn line(data: &[u8]) -> String {
    escaped(data, false)
}

/// As [`line()`], but line breaks and tabs stay.
pub(crate) fn lines(data: &[u8]) -> String {
    escaped(data, true)
}

fn escaped(data: &[u8], several: bool) -> String {
    let mut shown = String::with_capacity(data.len());
    for chunk in data.utf8_chunks() {
        for c in chunk.valid().chars() {
            if steers(c) && !(several && matches!(c, '\n' | '\t')) {
                shown.extend(c.escape_default());
            } else {
                shown.push(c);
            }
        }
        for byte in chunk.invalid() {
            // Writing to a string cannot fail.
            let _ = write!(shown, "\\x{byte:02x}");
        }
    }
    shown
}

/// Says something to the person at the terminal.
pub(crate) fn tell(text: &str) {
    // Without stderr there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "pysock: {}", lines(text.as_bytes()));
}

/// Writes data to stdout, at once.
pub(crate) fn out(data: &[u8]) -> Result<(), Stop> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(data).and_then(|()| stdout.flush()).map_err(|error| match error.kind() {
        // Whoever reads it has seen enough.
        ErrorKind::BrokenPipe => Stop::new(Exit::Done, ""),
        _ => Stop::local(format!("cannot write to stdout: {error}")),
    })
}

/// Writes a line to stdout.
pub(crate) fn out_line(text: &str) -> Result<(), Stop> {
    out(format!("{text}\n").as_bytes())
}

/// Writes one JSON object on one line to stdout.
pub(crate) fn out_json(value: &Value) -> Result<(), Stop> {
    out_line(&json_line(value))
}

/// JSON leaves some characters as they are that steer terminals; escaped they mean the same.
fn json_line(value: &Value) -> String {
    let mut shown = String::new();
    for c in value.to_string().chars() {
        if steers(c) {
            // All of them are in the basic plane.
            let _ = write!(shown, "\\u{:04x}", u32::from(c));
        } else {
            shown.push(c);
        }
    }
    shown
}

pub(crate) fn fingerprint(key: &PublicKey) -> Fingerprint {
    Fingerprint::of::<RustCrypto>(key)
}

fn object(message: &Message) -> Value {
    let sender = message.sender();
    let proven = sender.is_proven();
    let mut object = json!({
        "channel": (!proven).then(|| message.channel().as_str()),
        "end_to_end": proven,
        "sender": sender.name().map(|name| name.as_str()),
        "server": sender.is_server(),
        "key": sender.key().to_string(),
        "request": message.is_request(),
    });
    let (name, data) = match message.text() {
        Ok(text) => ("text", text.to_owned()),
        Err(_) => ("base64", base64(message.data())),
    };
    if let Value::Object(fields) = &mut object {
        fields.insert(name.to_owned(), Value::String(data));
    }
    object
}

/// Shows a message on stdout, as a line for people or an object for programs.
pub(crate) fn message(message: &Message, json: bool) -> Result<(), Stop> {
    // A terminal that is held up must not hold up the connections.
    tokio::task::block_in_place(|| {
        if json {
            return out_json(&object(message));
        }
        let (sender, data) = (message.sender(), line(message.data()));
        // No channel can be called like this: names have no spaces.
        let way = if sender.is_proven() { "end to end" } else { message.channel().as_str() };
        out_line(&format!("[{way}] {sender}: {data}"))
    })
}

/// Shows a line of a chat on stdout, under the name that the person here has given the other one.
pub(crate) fn chat(name: &str, message: &Message, json: bool) -> Result<(), Stop> {
    tokio::task::block_in_place(|| match json {
        true => out_json(&object(message)),
        false => out_line(&format!("{name}: {}", line(message.data()))),
    })
}

/// Writes a reply to stdout: as it is, unless somebody looks at it.
pub(crate) fn reply(message: &Message, json: bool) -> Result<(), Stop> {
    if json {
        out_json(&object(message))
    } else if std::io::stdout().is_terminal() {
        out_line(&lines(message.data()))
    } else {
        out(message.data())
    }
}

/// Base64 (RFC 4648 §4).
fn base64(data: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(data.len().div_ceil(3) * 4);
    for group in data.chunks(3) {
        let bits = (0..3).fold(0, |bits, at| bits << 8 | u32::from(*group.get(at).unwrap_or(&0)));
        for at in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * at)) as usize & 63];
            text.push(if at <= group.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_has_the_vectors_of_its_rfc() {
        let pairs =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")];
        for (data, text) in pairs {
            assert_eq!(base64(data.as_bytes()), text);
        }
    }

    #[test]
    fn nothing_that_steers_a_terminal_is_shown_raw() {
        let evil = "a\u{1b}[2J\u{9b}31m\u{7f}\r\n\u{202e}\u{2028}b";
        assert_eq!(line(evil.as_bytes()), r"a\u{1b}[2J\u{9b}31m\u{7f}\r\n\u{202e}\u{2028}b");
        assert_eq!(lines(b"a\n\tb\r"), "a\n\tb\\r");
        assert_eq!(line(b"\xffgr\xc3\xbc\xc3\x9fe"), "\\xffgr\u{fc}\u{df}e");
        let json = json_line(&json!({ "text": evil }));
        assert!(!json.chars().any(steers), "{json}");
        let back: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(back["text"], evil);
    }
}
