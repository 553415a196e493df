//! What a session owes the other side, and the sealing of its records.

use super::{HalfOpen, LONGEST, Notice, Peer, Peers};
use crate::{
    crypto::{Crypto, Env, TAG},
    id::PeerId,
    store::Store,
    stream::{self, Streams},
    time::Instant,
    wire::{
        Writer,
        inner::{RECORD_HEADER, types},
    },
};

/// Length of what stands in front of the frames of a record, at most.
pub(crate) const BEFORE: usize = RECORD_HEADER + super::FIRST_HEADER;
/// Length of the longest control frame's body: a close.
const CONTROL_MAX: usize = 1 + 8;

/// A control frame that is due.
pub(crate) struct Control {
    pub(crate) kind: u8,
    pub(crate) body: Writer<CONTROL_MAX>,
    of: Option<stream::Owed>,
}

impl Peer {
    /// Longest unit that the other side takes, in bytes.
    pub(crate) fn longest_unit(&self) -> usize {
        self.theirs.unit.into()
    }

    /// How many streams, and with how much credit, the other side takes.
    pub(crate) fn takes(&self) -> (u8, u32) {
        (self.theirs.streams, self.theirs.window)
    }

    pub(crate) fn streams(&mut self) -> &mut Streams {
        &mut self.streams
    }

    /// Writes what stands in front of the frames of the next record, if `unit` has room for it. Returns how long
    /// that is.
    pub(crate) fn start(&self, unit: &mut [u8]) -> usize {
        let mut text: Writer<{ super::FIRST_HEADER }> = Writer::new();
        text.put(&self.counts.sent.to_be_bytes());
        if self.session.sent == 0 {
            text.put(&self.sent_before.to_be_bytes());
        }
        let text = text.as_slice();
        let len = RECORD_HEADER.saturating_add(text.len());
        if let Some(to) = unit.get_mut(RECORD_HEADER..len) {
            to.copy_from_slice(text);
        }
        len
    }

    /// A message of this side has begun.
    pub(crate) fn count(&mut self) {
        self.counts.sent = self.counts.sent.wrapping_add(1);
    }

    /// Seals a record whose last bytes are room for the tag.
    pub(crate) fn seal<C: Crypto>(&mut self, unit: &mut [u8]) {
        debug_assert!(unit.len() > RECORD_HEADER + TAG);
        self.session.seal::<C>(unit);
        self.due.record = false;
    }

    /// Whether a record has to leave, even an empty one.
    pub(crate) fn owes_record(&self) -> bool {
        self.due.record
    }

    /// The next control frame that is due; [`paid`](Self::paid) says that it was written.
    pub(crate) fn owed(&self, window: u32) -> Option<Control> {
        let mut body = Writer::new();
        if !self.may_speak() {
            return None;
        }
        if self.due.received {
            body.put(&self.counts.received.encode());
            return Some(Control { kind: types::RECEIVED, body, of: None });
        }
        if let Some(owed) = self.streams.owed(window) {
            let (kind, frame) = owed.frame();
            body.put(frame.as_slice());
            return Some(Control { kind, body, of: Some(owed) });
        }
        // Last: nothing may follow it.
        let why = self.due.close?;
        body.put(&[why.code()]).put(&self.counts.received.encode());
        Some(Control { kind: types::CLOSE, body, of: None })
    }

    pub(crate) fn paid(&mut self, control: &Control, now: Instant) {
        match (control.kind, control.of) {
            (_, Some(owed)) => self.streams.paid(owed),
            (types::CLOSE, _) => self.said_close(now),
            _ => self.said_received(),
        }
    }
}

impl<C: Crypto, S: Store<Peer>, H: Store<HalfOpen>> Peers<C, S, H> {
    /// Writes the next handshake message or notice that is due into `out`: whom it is for, and its length.
    pub(crate) fn handshake_due(
        &mut self,
        out: &mut [u8; LONGEST],
        env: &Env<'_>,
    ) -> Option<(PeerId, usize)> {
        if let Some(notice) = self.notices.iter_mut().find_map(Option::take) {
            return Some((notice.to, notice.write(out)));
        }
        self.message_due(out, env)
    }

    /// The sessions, which may owe the other side something, and what this side grants each stream.
    pub(crate) fn debtors(&mut self) -> (&mut [Peer], u32) {
        (self.sessions.as_mut_slice(), self.limits.window)
    }

    /// Whether anything may be due.
    pub(crate) fn is_owing(&self) -> bool {
        self.owing
    }

    /// All that was due is written.
    pub(crate) fn owes_nothing(&mut self) {
        self.owing = false;
    }
}

impl Notice {
    fn write(&self, out: &mut [u8; LONGEST]) -> usize {
        let [a, b, c, d] = self.attempt;
        let bytes = [self.step, a, b, c, d, self.code];
        match out.first_chunk_mut() {
            Some(to) => {
                *to = bytes;
                bytes.len()
            }
            None => 0,
        }
    }
}
