//! The keys of one session: sealing and opening units with explicit nonces (Noise §11.4).

use core::num::NonZeroU32;

use crate::{
    crypto::{Crypto, Suite, TAG},
    key::wipe,
    noise::HandshakeState,
    wire::inner::{self, RECORD_HEADER},
};

/// Sessions use the universal suite; the prologue names it.
pub(super) const SUITE: Suite = Suite::ChaChaPoly;
/// Records after which a session should be replaced.
pub(super) const STALE_RECORDS: u32 = 1 << 20;
/// Records that a session can carry: the counter has 24 bits.
pub(super) const MAX_RECORDS: u32 = (1 << 24) - 1;

/// The receiving half of a session. It may outlive the sending half, until the next session's first record.
pub(super) struct Receiving {
    key: [u8; 32],
    /// What the other side writes in front of its records.
    pub(super) label: u8,
    /// One more than the lowest counter that is still accepted.
    above: NonZeroU32,
}

/// An established session.
pub(super) struct Session {
    key: [u8; 32],
    /// What this side writes in front of its records: the other side has chosen it.
    label: u8,
    /// Records sent, which is the next counter.
    pub(super) sent: u32,
    pub(super) receiving: Receiving,
    /// The first bytes of the handshake hash: what both sides call it when they look back.
    pub(super) id: [u8; 8],
}

/// A record that authenticated.
pub(super) struct Opened<'b> {
    pub(super) text: &'b [u8],
    /// Records that did not arrive before it.
    pub(super) gap: u32,
    /// It is the first of its session.
    pub(super) first: bool,
}

impl Session {
    /// What follows a complete handshake. Each side has chosen the label by which the other calls it.
    pub(super) fn new<C: Crypto>(noise: &HandshakeState, ours: u8, theirs: u8) -> Self {
        let mut keys = noise.keys::<C>();
        let [outgoing, incoming] = keys;
        wipe(keys.as_flattened_mut());
        let [a, b, c, d, e, f, g, h, ..] = *noise.hash();
        Session {
            key: outgoing,
            label: theirs,
            sent: 0,
            receiving: Receiving { key: incoming, label: ours, above: NonZeroU32::MIN },
            id: [a, b, c, d, e, f, g, h],
        }
    }

    /// Seals `unit` in place: header, plain text, room for the tag.
    pub(super) fn seal<C: Crypto>(&mut self, unit: &mut [u8]) {
        let Some((header, rest)) = unit.split_first_chunk_mut::<RECORD_HEADER>() else { return };
        let Some((text, tag)) = rest.split_last_chunk_mut::<TAG>() else { return };
        *header = inner::record_header(self.label, self.sent);
        *tag = C::seal(SUITE, &self.key, self.sent.into(), &[], text);
        self.sent = self.sent.saturating_add(1);
    }

    /// Whether a record with this header was sent here.
    pub(super) fn has_sent(&self, header: [u8; RECORD_HEADER]) -> bool {
        let (label, counter) = inner::decode_record_header(header);
        label == self.label && counter < self.sent
    }

    /// The receiving half, on its own.
    pub(super) fn into_receiving(mut self) -> Receiving {
        let Receiving { key, label, above } = &mut self.receiving;
        let half = Receiving { key: *key, label: *label, above: *above };
        wipe(key);
        half
    }
}

impl Receiving {
    /// The lowest counter that is still accepted.
    pub(super) fn next(&self) -> u32 {
        self.above.get().saturating_sub(1)
    }

    /// Check, open, accept: a counter that is late or repeated is refused before the key is used, and counts as
    /// seen only once the record has authenticated.
    pub(super) fn open<'b, C: Crypto>(&mut self, unit: &'b mut [u8]) -> Option<Opened<'b>> {
        let (header, rest) = unit.split_first_chunk_mut::<RECORD_HEADER>()?;
        let (label, counter) = inner::decode_record_header(*header);
        let gap = counter.checked_sub(self.next())?;
        let (text, tag) = rest.split_last_chunk_mut::<TAG>()?;
        if label != self.label {
            return None;
        }
        C::open(SUITE, &self.key, counter.into(), &[], text, tag).ok()?;
        self.above = NonZeroU32::MIN.saturating_add(counter.saturating_add(1));
        Some(Opened { text, gap, first: counter == 0 })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        wipe(&mut self.key);
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        wipe(&mut self.key);
    }
}
