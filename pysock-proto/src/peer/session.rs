//! The keys of one session: sealing and opening units with explicit nonces (Noise §11.4).

use core::num::NonZeroU32;

use crate::{
    crypto::{Crypto, Suite, TAG},
    key::wipe,
    noise::HandshakeState,
    wire::inner::{self, RECORD_HEADER, Terms},
};

/// Records after which a session should be replaced.
pub(super) const STALE_RECORDS: u32 = 1 << 20;
/// Records that a session can carry: the counter has 24 bits.
pub(super) const MAX_RECORDS: u32 = (1 << 24) - 1;

/// The receiving half of a session. It may outlive the sending half, until the next session's first record.
pub(super) struct Receiving {
    suite: Suite,
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
    /// What follows a complete handshake. Each side has chosen the label by which the other calls it. Both have said in it
    /// whether they would rather seal with AES-GCM, so nobody between them has a say in that.
    pub(super) fn new<C: Crypto>(noise: &HandshakeState, ours: &Terms, theirs: &Terms) -> Self {
        let suite = if ours.aes && theirs.aes { Suite::AesGcm } else { Suite::ChaChaPoly };
        let mut keys = noise.keys::<C>();
        let [outgoing, incoming] = keys;
        wipe(keys.as_flattened_mut());
        let [a, b, c, d, e, f, g, h, ..] = *noise.hash();
        Session {
            key: outgoing,
            label: theirs.label,
            sent: 0,
            receiving: Receiving {
                suite,
                key: incoming,
                label: ours.label,
                above: NonZeroU32::MIN,
            },
            id: [a, b, c, d, e, f, g, h],
        }
    }

    /// Seals `unit` in place: header, plain text, room for the tag.
    pub(super) fn seal<C: Crypto>(&mut self, unit: &mut [u8]) {
        let Some((header, rest)) = unit.split_first_chunk_mut::<RECORD_HEADER>() else { return };
        let Some((text, tag)) = rest.split_last_chunk_mut::<TAG>() else { return };
        *header = inner::record_header(self.label, self.sent);
        *tag = C::seal(self.receiving.suite, &self.key, self.sent.into(), &[], text);
        self.sent = self.sent.saturating_add(1);
    }

    /// Whether a record with this header was sent here.
    pub(super) fn has_sent(&self, header: [u8; RECORD_HEADER]) -> bool {
        let (label, counter) = inner::decode_record_header(header);
        label == self.label && counter < self.sent
    }

    /// The receiving half, on its own.
    pub(super) fn into_receiving(mut self) -> Receiving {
        let Receiving { suite, key, label, above } = &mut self.receiving;
        let half = Receiving { suite: *suite, key: *key, label: *label, above: *above };
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
        C::open(self.suite, &self.key, counter.into(), &[], text, tag).ok()?;
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

#[cfg(test)]
mod tests {
    use aes_gcm::{Aes256Gcm, KeyInit, aead::AeadInPlace};

    use super::*;
    use crate::{
        Ephemeral, Identity, Keypair, RustCrypto, SecretKey,
        crypto::both::Both,
        key::witness,
        noise::{Pattern, Role, Setup},
        wire::inner::Takes,
    };

    /// Both ends of a complete handshake, XX.
    fn ends() -> [HandshakeState; 2] {
        let keys =
            [[1; 32], [2; 32]].map(|secret| Keypair::<Both>::new(SecretKey::from_bytes(secret)));
        let mut ends = [(Role::Initiator, [3; 32]), (Role::Responder, [4; 32])].map(|(role, e)| {
            let setup = Setup {
                role,
                pattern: Pattern::XX,
                suite: Suite::ChaChaPoly,
                prologue: [inner::PROLOGUE, &[1, 1]],
                initiator: None,
                responder: None,
                psk: None,
            };
            HandshakeState::new::<Both>(&setup, Ephemeral::new::<Both>(e))
        });
        for step in 0..3 {
            let mut message = [0; 128];
            let message = &mut message[..ends[step % 2].overhead()];
            let key: &dyn Identity = &keys[step % 2];
            ends[step % 2].write::<Both>(key, &[], message).unwrap();
            ends[1 - step % 2].read::<Both>(&keys[1 - step % 2], message).unwrap();
        }
        ends
    }

    fn terms(label: u8, aes: bool) -> Terms {
        let takes = Takes { unit: 500, window: 1000, streams: 1 };
        Terms { takes, label, continues: false, aes, previous: [0; 8] }
    }

    #[test]
    fn records_are_sealed_with_aes_if_both_sides_have_said_so() {
        for (alice, bob) in [(true, true), (true, false), (false, true), (false, false)] {
            let [one, other] = ends();
            let (ours, theirs) = (terms(7, alice), terms(9, bob));
            let mut sender = Session::new::<Both>(&one, &ours, &theirs);
            let mut receiver = Session::new::<Both>(&other, &theirs, &ours);
            for counter in 0..3u8 {
                let mut unit = *b"....forty-two................";
                sender.seal::<Both>(&mut unit);
                let (text, tag) = unit[RECORD_HEADER..].split_at(9);
                // Decrypted by another library: the counter is the nonce, in the order of that suite.
                let mut copy = text.to_vec();
                let nonce = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, counter];
                let aes = Aes256Gcm::new(&sender.key.into());
                let by_aes =
                    aes.decrypt_in_place_detached(&nonce.into(), &[], &mut copy, tag.into());
                assert_eq!(by_aes.is_ok(), alice && bob, "{alice} and {bob}");
                let opened = receiver.receiving.open::<Both>(&mut unit).unwrap();
                assert_eq!(opened.text, b"forty-two");
            }
        }
    }

    #[test]
    fn the_keys_of_a_session_are_wiped_with_it() {
        let [one, _] = ends();
        let [outgoing, incoming] = one.keys::<Both>();
        let (ours, theirs) = (terms(7, false), terms(9, false));
        let wiped = || [outgoing, incoming].map(|key| witness::times(&key));
        let session = Session::new::<Both>(&one, &ours, &theirs);
        let before = wiped();
        drop(session);
        let after = wiped();
        assert!(before[0] < after[0] && before[1] < after[1]);
        // One that goes on receiving keeps the one key, and only for so long.
        let session = Session::new::<Both>(&one, &ours, &theirs);
        let before = wiped();
        let half = session.into_receiving();
        let meanwhile = wiped();
        assert!(before[0] < meanwhile[0]);
        drop(half);
        let after = wiped();
        assert!(meanwhile[1] < after[1]);
    }

    #[test]
    fn who_has_no_aes_agrees_with_who_has() {
        let [one, other] = ends();
        let (ours, theirs) = (terms(7, true), terms(9, false));
        let mut desktop = Session::new::<Both>(&one, &ours, &theirs);
        let mut board = Session::new::<RustCrypto>(&other, &theirs, &ours);
        let mut unit = *b"....forty-two................";
        desktop.seal::<Both>(&mut unit);
        assert_eq!(board.receiving.open::<RustCrypto>(&mut unit).unwrap().text, b"forty-two");
    }
}
