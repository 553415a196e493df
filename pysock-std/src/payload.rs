//! What goes one way together: one message, or several small ones in one piece of memory, so that what costs something
//! each time (a place in a queue, a lock, a wake-up, a look into the tables) is paid once for all of them.

use bytes::{Buf, Bytes};

/// In front of each message in one piece of memory: its length.
const LENGTH: usize = 2;

/// One or more messages that go the same way.
#[derive(Clone)]
pub(crate) enum Payload {
    One(Bytes),
    Many(Packed),
}

impl Payload {
    /// How many messages it is.
    pub(crate) fn count(&self) -> usize {
        match self {
            Payload::One(_) => 1,
            Payload::Many(packed) => packed.count,
        }
    }

    /// The messages, each of them without a copy.
    pub(crate) fn into_messages(self) -> impl Iterator<Item = Bytes> {
        let mut rest = self;
        std::iter::from_fn(move || rest.pop())
    }

    /// Takes the first message out, without copying it.
    pub(crate) fn pop(&mut self) -> Option<Bytes> {
        match self {
            Payload::One(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Payload::Many(Packed::default());
                Some(bytes)
            }
            Payload::Many(packed) => packed.pop(),
        }
    }

    /// What each says.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        match self {
            Payload::One(bytes) => Iter { alone: Some(bytes), rest: &[], left: 1 },
            Payload::Many(packed) => packed.messages(),
        }
    }

    /// The memory it takes, in bytes.
    pub(crate) fn size(&self) -> usize {
        match self {
            Payload::One(bytes) => bytes.len(),
            Payload::Many(packed) => packed.size(),
        }
    }
}

/// Messages one behind the other. Copies share the memory.
#[derive(Clone, Default)]
pub(crate) struct Packed {
    bytes: Bytes,
    count: usize,
    longest: usize,
}

impl Packed {
    pub(crate) fn size(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Length of the longest message in it, in bytes.
    pub(crate) fn longest(&self) -> usize {
        self.longest
    }

    /// The messages.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.messages()
    }

    fn messages(&self) -> Iter<'_> {
        Iter { alone: None, rest: &self.bytes, left: self.count }
    }

    /// Takes the first message out, without copying it.
    pub(crate) fn pop(&mut self) -> Option<Bytes> {
        let len = usize::from(u16::from_ne_bytes(*self.bytes.first_chunk()?));
        self.bytes.advance(LENGTH);
        self.count -= 1;
        Some(self.bytes.split_to(len))
    }

    /// Leaves the first `n` messages out: they were sent.
    pub(crate) fn skip(&mut self, n: usize) {
        let sent: usize = self.iter().take(n).map(|message| message.len() + LENGTH).sum();
        self.bytes.advance(sent);
        self.count = self.count.saturating_sub(n);
    }
}

struct Iter<'a> {
    /// One that is not packed.
    alone: Option<&'a [u8]>,
    rest: &'a [u8],
    left: usize,
}

impl<'a> Iterator for Iter<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let message = match self.rest.split_first_chunk::<LENGTH>() {
            None => self.alone.take()?,
            Some((len, rest)) => {
                let (message, rest) = rest.split_at_checked(u16::from_ne_bytes(*len).into())?;
                self.rest = rest;
                message
            }
        };
        self.left -= 1;
        Some(message)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Iter<'_> {}

/// Collects messages.
#[derive(Default)]
pub(crate) struct Packer {
    bytes: Vec<u8>,
    count: usize,
    longest: usize,
}

impl Packer {
    /// The longest message that can be packed, in bytes: none that travels in one frame is longer.
    pub(crate) const LONGEST: usize = u16::MAX as usize;

    /// With room for so many bytes, lengths included.
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Packer { bytes: Vec::with_capacity(bytes), ..Packer::default() }
    }

    /// Adds a message of [`LONGEST`](Self::LONGEST) bytes at most.
    pub(crate) fn push(&mut self, message: &[u8]) {
        debug_assert!(message.len() <= Self::LONGEST);
        self.bytes.extend_from_slice(&(message.len() as u16).to_ne_bytes());
        self.bytes.extend_from_slice(message);
        self.count += 1;
        self.longest = self.longest.max(message.len());
    }

    pub(crate) fn size(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    pub(crate) fn pack(mut self) -> Packed {
        // It may wait for long, and counts only what is in it.
        if self.bytes.len() < self.bytes.capacity() / 2 {
            self.bytes.shrink_to_fit();
        }
        Packed { bytes: self.bytes.into(), count: self.count, longest: self.longest }
    }
}

/// Messages longer than this are not packed, in bytes: to copy them once more would cost more than it saves.
const SMALL: usize = 4 * 1024;
/// Messages are packed until they have so many bytes together.
const ENOUGH: usize = 16 * 1024;

/// Packs the messages of a program, in order.
pub(crate) fn pack<M: AsRef<[u8]>>(
    messages: impl IntoIterator<Item = M>,
) -> impl Iterator<Item = Payload> {
    let mut messages = messages.into_iter();
    // One that was looked at and belongs to the next.
    let mut left: Option<M> = None;
    std::iter::from_fn(move || {
        let first = left.take().or_else(|| messages.next())?;
        if first.as_ref().len() > SMALL {
            return Some(Payload::One(Bytes::copy_from_slice(first.as_ref())));
        }
        let mut packer = Packer::with_capacity(ENOUGH + SMALL + LENGTH);
        packer.push(first.as_ref());
        while packer.size() < ENOUGH {
            let Some(next) = messages.next() else { break };
            if next.as_ref().len() > SMALL {
                left = Some(next);
                break;
            }
            packer.push(next.as_ref());
        }
        Some(Payload::Many(packer.pack()))
    })
}

/// Gathers messages that arrive one after the other, into their own memory.
pub(crate) struct Gather<'a> {
    first: &'a [u8],
    /// Once there is more than one.
    packer: Option<Packer>,
    expected: usize,
}

impl<'a> Gather<'a> {
    /// Begins with a message; about so many bytes are expected in all.
    pub(crate) fn new(first: &'a [u8], expected: usize) -> Self {
        Gather { first, packer: None, expected }
    }

    pub(crate) fn push(&mut self, message: &[u8]) {
        let packer = self.packer.get_or_insert_with(|| {
            let mut packer = Packer::with_capacity(self.expected);
            packer.push(self.first);
            packer
        });
        packer.push(message);
    }

    pub(crate) fn payload(self) -> Payload {
        match self.packer {
            None => Payload::One(Bytes::copy_from_slice(self.first)),
            Some(packer) => Payload::Many(packer.pack()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_may_send_messages_of_any_size_together() {
        let sizes = [0, 1, SMALL, SMALL + 1, 64, ENOUGH, SMALL, SMALL, SMALL, SMALL, 9, 70_000, 3];
        let messages: Vec<Vec<u8>> = sizes.iter().map(|size| vec![*size as u8; *size]).collect();
        let payloads: Vec<Payload> = pack(&messages).collect();
        assert!(payloads.len() < messages.len());
        let got: Vec<Bytes> = payloads.into_iter().flat_map(Payload::into_messages).collect();
        assert_eq!(got, messages);
        assert_eq!(pack([[0; 0]; 0]).count(), 0);
    }

    #[test]
    fn what_is_packed_comes_out_whole_and_in_order() {
        let messages: [&[u8]; 4] = [b"one", b"", &[7; 300], b"four"];
        let mut packer = Packer::default();
        for message in messages {
            packer.push(message);
        }
        let packed = packer.pack();
        assert_eq!((packed.count(), packed.longest()), (4, 300));
        assert_eq!(packed.iter().collect::<Vec<_>>(), messages);
        let mut rest = packed.clone();
        rest.skip(2);
        assert_eq!((rest.count(), rest.iter().next()), (2, Some(messages[2])));
        assert_eq!(rest.pop().as_deref(), Some(messages[2]));
        assert_eq!(rest.pop().as_deref(), Some(messages[3]));
        assert_eq!((rest.pop(), rest.count()), (None, 0));
        assert_eq!(packed.iter().count(), 4, "copies go their own ways");
    }
}
