//! A fuzzer's bytes as frames. They read nearly as frames do on the wire, so that a dictionary of frames is one of inputs:
//! a type, a length of one byte, a body. Types that no version will ever have are orders to the one who plays.

use crate::input::Input;

/// Ends the record.
pub const RECORD: u8 = 0xff;
/// A length of one byte and so many bytes, as they are: frames whose lengths lie, among others.
pub const RAW: u8 = 0xfe;
/// Time passes: a byte, in units of 250 ms.
pub const LATER: u8 = 0xfd;
/// The victim does something: a byte says what; what it does reads on.
pub const ACT: u8 = 0xfc;
/// The victim writes what is due.
pub const FLUSH: u8 = 0xfb;
/// The next frame is longer than it says, by a byte times two, in zeros.
pub const LONGER: u8 = 0xfa;

/// One thing that happens.
#[derive(Debug)]
pub enum Move {
    /// A record arrives, as it is on the wire.
    Record(Vec<u8>),
    /// So many milliseconds pass.
    Later(u64),
    /// The victim does this.
    Act(u8),
    /// The victim writes.
    Flush,
}

/// The moves.
pub struct Script<'a> {
    /// What is left of the bytes.
    pub input: Input<'a>,
    /// Plain text of the open record.
    text: Vec<u8>,
    /// The longest that a record may be, with its tag.
    limit: usize,
    longer: usize,
}

impl<'a> Script<'a> {
    /// For a receiver of records of at most `limit` bytes. A fuzzer may go beyond it by a little.
    pub fn new(input: Input<'a>, limit: usize) -> Self {
        Script { input, text: vec![], limit, longer: 0 }
    }

    fn sealed(&mut self) -> Move {
        let text = std::mem::take(&mut self.text);
        let len = u16::try_from(text.len() + 16).unwrap_or(u16::MAX);
        Move::Record([&len.to_be_bytes(), &text[..usize::from(len) - 16], &[0; 16]].concat())
    }
}

impl Iterator for Script<'_> {
    type Item = Move;

    fn next(&mut self) -> Option<Move> {
        loop {
            if self.text.len() > self.limit || (self.input.is_empty() && !self.text.is_empty()) {
                return Some(self.sealed());
            }
            if self.input.is_empty() {
                return None;
            }
            match self.input.byte() {
                RECORD => return Some(self.sealed()),
                RAW => {
                    let n = usize::from(self.input.byte());
                    self.text.extend(self.input.bytes(n));
                }
                LATER => return Some(Move::Later(u64::from(self.input.byte()) * 250)),
                ACT => return Some(Move::Act(self.input.byte())),
                FLUSH => return Some(Move::Flush),
                LONGER => self.longer = usize::from(self.input.byte()) * 2,
                kind => {
                    let n = usize::from(self.input.byte());
                    let body = self.input.bytes(n);
                    let len = (body.len() + self.longer) as u16;
                    self.text.push(kind);
                    self.text.extend(len.to_be_bytes());
                    self.text.extend(body);
                    self.text.resize(self.text.len() + std::mem::take(&mut self.longer), 0);
                }
            }
        }
    }
}
