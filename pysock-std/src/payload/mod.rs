//! What goes one way together: one message, or several small ones in one piece of memory, so that what costs something
//! each time (a place in a queue, a lock, a wake-up, a look into the tables) is paid once for all of them.

mod pool;

use bytes::{Buf, Bytes};
use pysock_proto::{Block, Envelope};

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
            Payload::Many(packed) => packed.count(),
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
            Payload::One(bytes) => Iter { alone: Some(bytes), block: None, left: 1 },
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

/// Messages one behind the other: a [`Block`] with its memory. Copies share the memory.
#[derive(Clone, Default)]
pub(crate) struct Packed {
    bytes: Bytes,
    header: u8,
    count: u32,
}

impl Packed {
    pub(crate) fn size(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn count(&self) -> usize {
        self.count as usize
    }

    pub(crate) fn block(&self) -> Block<'_> {
        Block::new(&self.bytes, self.header.into())
    }

    fn messages(&self) -> Iter<'_, impl Iterator<Item = &[u8]>> {
        Iter { alone: None, block: Some(self.block().iter()), left: self.count() }
    }

    /// Takes the first message out, without copying it.
    pub(crate) fn pop(&mut self) -> Option<Bytes> {
        let message = self.bytes.slice_ref(self.block().iter().next()?);
        self.skip(1);
        Some(message)
    }

    /// Leaves the first `n` messages out: they were sent.
    pub(crate) fn skip(&mut self, n: usize) {
        let rest = self.block().skip(n).bytes().len();
        self.bytes.advance(self.bytes.len() - rest);
        self.count = self.count.saturating_sub(n as u32);
    }
}

struct Iter<'a, I> {
    /// One that is not packed.
    alone: Option<&'a [u8]>,
    block: Option<I>,
    left: usize,
}

impl<'a, I: Iterator<Item = &'a [u8]>> Iterator for Iter<'a, I> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let message = match &mut self.block {
            Some(block) => block.next(),
            None => self.alone.take(),
        }?;
        self.left = self.left.saturating_sub(1);
        Some(message)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<'a, I: Iterator<Item = &'a [u8]>> ExactSizeIterator for Iter<'a, I> {}

/// Collects messages.
pub(crate) struct Packer {
    bytes: Vec<u8>,
    header: usize,
    count: usize,
}

impl Packer {
    /// For a few with this envelope.
    pub(crate) fn new(envelope: &Envelope) -> Self {
        Packer { bytes: Vec::new(), header: Block::header_of(envelope), count: 0 }
    }

    /// For many.
    fn roomy(envelope: &Envelope) -> Self {
        Packer { bytes: pool::take(), ..Packer::new(envelope) }
    }

    /// Adds a message, unless it is too long for any record.
    pub(crate) fn push(&mut self, message: &[u8]) {
        if let Some((start, len)) = Block::begin(self.header, message) {
            self.bytes.extend_from_slice(start.get(..len).unwrap_or_default());
            self.bytes.extend_from_slice(message);
            self.count += 1;
        }
    }

    pub(crate) fn size(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    pub(crate) fn pack(self) -> Packed {
        // A frame's header is a few bytes, and a piece of memory has room for less than 2^32 frames.
        let (header, count) = (self.header as u8, self.count as u32);
        Packed { bytes: pool::share(self.bytes), header, count }
    }
}

/// Messages longer than this are not packed, in bytes: to copy them once more would cost more than it saves.
const SMALL: usize = 4 * 1024;
/// Messages are packed until they have so many bytes together.
const ENOUGH: usize = 32 * 1024;

/// Packs the messages of a program, in order.
pub(crate) fn pack<M: AsRef<[u8]>>(
    envelope: Envelope,
    messages: impl IntoIterator<Item = M>,
) -> impl Iterator<Item = Payload> {
    let mut messages = messages.into_iter().fuse();
    // One that was looked at and belongs to the next.
    let mut left: Option<M> = None;
    std::iter::from_fn(move || {
        let first = left.take().or_else(|| messages.next())?;
        let is_small = |message: &M| message.as_ref().len() <= SMALL;
        left = messages.next();
        if !is_small(&first) || !left.as_ref().is_some_and(is_small) {
            return Some(Payload::One(Bytes::copy_from_slice(first.as_ref())));
        }
        let mut packer = Packer::roomy(&envelope);
        packer.push(first.as_ref());
        while packer.size() < ENOUGH
            && let Some(next) = left.take_if(|next| is_small(next))
        {
            packer.push(next.as_ref());
            left = messages.next();
        }
        Some(Payload::Many(packer.pack()))
    })
}

/// What has arrived together: a message, and more with the same envelope behind it.
pub(crate) fn gather(
    envelope: &Envelope,
    first: &[u8],
    (more, count): (Block<'_>, usize),
) -> Payload {
    if count == 0 {
        return Payload::One(Bytes::copy_from_slice(first));
    }
    let mut packer = Packer::roomy(envelope);
    packer.push(first);
    packer.bytes.extend_from_slice(more.bytes());
    packer.count += count;
    Payload::Many(packer.pack())
}

#[cfg(test)]
mod tests {
    use super::*;
    use pysock_proto::{ChannelId, Kind, Party};

    const ENVELOPE: Envelope =
        Envelope { channel: ChannelId(0), party: Party::Everyone, kind: Kind::Message };

    #[test]
    fn programs_may_send_messages_of_any_size_together() {
        let sizes = [0, 1, SMALL, SMALL + 1, 64, ENOUGH, SMALL, SMALL, SMALL, SMALL, 9, 70_000, 3];
        let messages: Vec<Vec<u8>> = sizes.iter().map(|size| vec![*size as u8; *size]).collect();
        let payloads: Vec<Payload> = pack(ENVELOPE, &messages).collect();
        assert!(payloads.len() < messages.len());
        let got: Vec<Bytes> = payloads.into_iter().flat_map(Payload::into_messages).collect();
        assert_eq!(got, messages);
        assert_eq!(pack(ENVELOPE, [[0; 0]; 0]).count(), 0);
    }

    #[test]
    fn what_is_packed_comes_out_whole_and_in_order() {
        let messages: [&[u8]; 4] = [b"one", b"", &[7; 300], b"four"];
        let mut packer = Packer::new(&ENVELOPE);
        for message in messages {
            packer.push(message);
        }
        let packed = packer.pack();
        let all = Payload::Many(packed.clone());
        assert_eq!((all.count(), all.iter().len()), (4, 4));
        assert_eq!(all.iter().collect::<Vec<_>>(), messages);
        let mut rest = packed.clone();
        rest.skip(2);
        assert_eq!((rest.count(), rest.block().iter().next()), (2, Some(messages[2])));
        assert_eq!(rest.pop().as_deref(), Some(messages[2]));
        assert_eq!(rest.pop().as_deref(), Some(messages[3]));
        assert_eq!((rest.pop(), rest.count()), (None, 0));
        assert_eq!(packed.block().iter().count(), 4, "copies go their own ways");
    }

    #[test]
    fn what_arrives_together_stays_together_whatever_its_size() {
        for count in [1, 2, 100, 1_000] {
            let mut packer = Packer::new(&ENVELOPE);
            (1..count).for_each(|n| packer.push(&[n as u8; 60]));
            let behind = packer.pack();
            let all = gather(&ENVELOPE, b"first", (behind.block(), behind.count()));
            assert_eq!(all.count(), count);
            assert_eq!(all.iter().next(), Some(&b"first"[..]));
            let last = if count > 1 { vec![(count - 1) as u8; 60] } else { b"first".to_vec() };
            assert_eq!(all.iter().last(), Some(&last[..]));
        }
    }
}
