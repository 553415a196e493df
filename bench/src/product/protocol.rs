//! As much of the protocols of NATS and MQTT 3.1.1 as the work needs.

use std::{io, io::Write as _, ops::Range};

/// Which one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Protocol {
    Nats,
    Mqtt,
}

/// What arrives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Packet {
    /// A message: where its payload is.
    Message(Range<usize>),
    /// The answer to what asks for one.
    Answer,
    /// Something else that changes nothing.
    Other,
}

impl Protocol {
    /// Says hello; an answer follows.
    pub(super) fn hello(self, out: &mut Vec<u8>, number: usize) {
        match self {
            Protocol::Nats => {
                out.extend_from_slice(
                    b"CONNECT {\"verbose\":false,\"pedantic\":false,\"tls_required\":true,\"echo\":true,\
                      \"lang\":\"rust\",\"version\":\"1\",\"protocol\":1}\r\nPING\r\n",
                );
            }
            Protocol::Mqtt => {
                let name = format!("client-{number}");
                // A clean session without keep-alive.
                let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 0];
                text(&mut body, &name);
                packet(out, 0x10, &[&body]);
            }
        }
    }

    /// Subscribes; an answer follows.
    pub(super) fn subscribe(self, out: &mut Vec<u8>, topic: &str) {
        match self {
            Protocol::Nats => {
                // Writing to memory cannot fail, here and below.
                let _ = write!(out, "SUB {topic} 1\r\nPING\r\n");
            }
            Protocol::Mqtt => {
                let mut body = vec![0, 1];
                text(&mut body, topic);
                body.push(0);
                packet(out, 0x82, &[&body]);
            }
        }
    }

    pub(super) fn publish(self, out: &mut Vec<u8>, topic: &str, payload: &[u8]) {
        match self {
            Protocol::Nats => {
                let _ = write!(out, "PUB {topic} {}\r\n", payload.len());
                out.extend_from_slice(payload);
                out.extend_from_slice(b"\r\n");
            }
            Protocol::Mqtt => {
                let length = (topic.len() as u16).to_be_bytes();
                packet(out, 0x30, &[&length, topic.as_bytes(), payload]);
            }
        }
    }

    /// An answer follows once everything before was taken.
    pub(super) fn ping(self, out: &mut Vec<u8>) {
        match self {
            Protocol::Nats => out.extend_from_slice(b"PING\r\n"),
            Protocol::Mqtt => packet(out, 0xc0, &[]),
        }
    }

    /// The first packet of `bytes` and its length, if it is there as a whole.
    pub(super) fn parse(self, bytes: &[u8]) -> io::Result<Option<(Packet, usize)>> {
        match self {
            Protocol::Nats => nats(bytes),
            Protocol::Mqtt => Ok(mqtt(bytes)),
        }
    }
}

/// Text behind its length.
fn text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// A packet of MQTT.
fn packet(out: &mut Vec<u8>, kind: u8, parts: &[&[u8]]) {
    out.push(kind);
    let mut length: usize = parts.iter().map(|part| part.len()).sum();
    loop {
        let more = if length > 127 { 128 } else { 0 };
        out.push((length & 127) as u8 | more);
        length >>= 7;
        if length == 0 {
            break;
        }
    }
    for part in parts {
        out.extend_from_slice(part);
    }
}

fn mqtt(bytes: &[u8]) -> Option<(Packet, usize)> {
    let (mut length, mut at) = (0_usize, 1);
    loop {
        let byte = *bytes.get(at)?;
        length |= usize::from(byte & 127) << (7 * (at - 1));
        at += 1;
        if byte & 128 == 0 || at > 4 {
            break;
        }
    }
    let end = at + length;
    let body = bytes.get(at..end)?;
    let found = match bytes.first()? >> 4 {
        3 => {
            let topic = usize::from(u16::from_be_bytes(*body.first_chunk::<2>()?));
            Packet::Message(at + 2 + topic..end)
        }
        // Welcome, subscribed, pong.
        2 | 9 | 13 => Packet::Answer,
        _ => Packet::Other,
    };
    Some((found, end))
}

fn nats(bytes: &[u8]) -> io::Result<Option<(Packet, usize)>> {
    // No line is longer, except the first, which is read elsewhere.
    let window = &bytes[..bytes.len().min(1024)];
    let Some(line) = window.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
    let end = line + 1;
    let text = bytes[..line].trim_ascii_end();
    if !text.starts_with(b"MSG ") {
        return match text {
            b"PONG" => Ok(Some((Packet::Answer, end))),
            text if text.starts_with(b"-ERR") => {
                Err(io::Error::other(String::from_utf8_lossy(text).into_owned()))
            }
            _ => Ok(Some((Packet::Other, end))),
        };
    }
    let digits = text.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
    let length = digits.iter().fold(0, |all, digit| all * 10 + usize::from(digit.wrapping_sub(48)));
    let whole = end + length + 2;
    Ok((bytes.len() >= whole).then_some((Packet::Message(end..end + length), whole)))
}
