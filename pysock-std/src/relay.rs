//! What two clients say to each other in sealed units, on its way out of one connection: the units themselves, the small
//! queue of handshakes, and the notices about units that were not passed on.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use pysock_proto::{Failure, PeerId, PeerInfo, Unit};
use tokio::time::Instant;

use crate::outbox::Report;

/// Handshakes that wait for one receiver at most.
const HANDSHAKES: usize = 32;
/// How many of them may be from one source, so that nobody takes all the places.
const HANDSHAKES_OF_ONE: usize = 4;
/// The longest handshake that finds a place, in bytes: more than any handshake has, and so few that all of them together
/// leave messages half of a transmit buffer.
const LONGEST_HANDSHAKE: usize = 2048;
/// How long a notice is not repeated.
const NOTICE_ONCE_IN: Duration = Duration::from_secs(1);
/// Notices that are remembered at most, those that wait among them. Who causes more hears of these.
const NOTICES: usize = 64;

/// Places for units that an empty queue keeps. More is given back, so that an idle connection stays small.
const KEPT: usize = 8;

/// Takes the first unit out of a queue.
pub(crate) fn take_first(queue: &mut VecDeque<Sealed>) -> Option<Sealed> {
    let first = queue.pop_front();
    if queue.is_empty() && queue.capacity() > KEPT {
        *queue = VecDeque::new();
    }
    first
}

/// A sealed unit of two clients on its way out.
pub(crate) struct Sealed {
    /// Who it is from: announced to the receiver if need be.
    pub(crate) from: Arc<PeerInfo>,
    pub(crate) unit: Unit,
    pub(crate) bytes: Bytes,
    pub(crate) report: Report,
}

impl Sealed {
    /// It will not get through.
    pub(crate) fn fail(self, why: Failure) {
        self.report.tell(why);
    }
}

/// Handshakes on their way out: few, small, and ahead of everything else.
#[derive(Default)]
pub(crate) struct Handshakes(VecDeque<Sealed>);

impl Handshakes {
    /// Takes a handshake in, or gives it back with the reason.
    pub(crate) fn push(&mut self, handshake: Sealed) -> Result<(), (Sealed, Failure)> {
        if handshake.bytes.len() > LONGEST_HANDSHAKE {
            return Err((handshake, Failure::TooLarge));
        }
        let of_one = self.0.iter().filter(|waiting| waiting.from.id == handshake.from.id).count();
        if self.0.len() >= HANDSHAKES || of_one >= HANDSHAKES_OF_ONE {
            return Err((handshake, Failure::Busy));
        }
        self.0.push_back(handshake);
        Ok(())
    }

    pub(crate) fn pop(&mut self) -> Option<Sealed> {
        take_first(&mut self.0)
    }

    /// Puts back what was popped and found no room in the transmit buffer.
    pub(crate) fn put_back(&mut self, handshake: Sealed) {
        self.0.push_front(handshake);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn into_all(self) -> impl Iterator<Item = Sealed> {
        self.0.into_iter()
    }
}

/// That what was for a peer was not passed on.
pub(crate) struct Notice {
    pub(crate) peer: PeerId,
    pub(crate) why: Failure,
    /// When it was sent, if it was.
    said: Option<Instant>,
}

impl Notice {
    /// It is sent now.
    pub(crate) fn said(&mut self, now: Instant) {
        self.said = Some(now);
    }
}

/// What the sender of units is told: the same thing once in a while, however often it happens.
#[derive(Default)]
pub(crate) struct Notices(Vec<Notice>);

impl Notices {
    /// Something was not passed on. `true`: that is news, to be sent.
    pub(crate) fn note(&mut self, peer: PeerId, why: Failure, now: Instant) -> bool {
        self.0.retain(|notice| notice.said.is_none_or(|at| now < at + NOTICE_ONCE_IN));
        let known = self.0.iter().any(|notice| (notice.peer, notice.why) == (peer, why));
        if known || self.0.len() >= NOTICES {
            return false;
        }
        self.0.push(Notice { peer, why, said: None });
        true
    }

    /// The oldest that is not sent yet.
    pub(crate) fn unsaid(&mut self) -> Option<&mut Notice> {
        self.0.iter_mut().find(|notice| notice.said.is_none())
    }

    /// Whether all are sent.
    pub(crate) fn all_said(&self) -> bool {
        self.0.iter().all(|notice| notice.said.is_some())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use pysock_proto::PublicKey;

    pub(crate) fn sealed(peer: u32, unit: Unit, len: usize) -> Sealed {
        let (key, name) = (PublicKey([1; 32]), "a".parse().unwrap());
        let from = Arc::new(PeerInfo { id: PeerId(peer), key, name });
        Sealed { from, unit, bytes: vec![0; len].into(), report: Report::Nobody }
    }

    fn handshake(peer: u32, len: usize) -> Sealed {
        sealed(peer, Unit::Handshake, len)
    }

    fn refused(handshakes: &mut Handshakes, peer: u32, len: usize) -> Option<Failure> {
        handshakes.push(handshake(peer, len)).err().map(|(_, why)| why)
    }

    #[test]
    fn no_source_takes_all_places_for_handshakes() {
        let mut handshakes = Handshakes::default();
        for _ in 0..HANDSHAKES_OF_ONE {
            assert_eq!(refused(&mut handshakes, 1, 100), None);
        }
        assert_eq!(refused(&mut handshakes, 1, 100), Some(Failure::Busy), "of one source");
        for peer in 2.. {
            if let Some(why) = refused(&mut handshakes, peer, LONGEST_HANDSHAKE) {
                assert_eq!((peer, why), (30, Failure::Busy), "in all");
                break;
            }
        }
        assert_eq!(handshakes.pop().unwrap().from.id, PeerId(1));
        assert_eq!(refused(&mut handshakes, 1, 100), None, "a place is free again");
        handshakes.pop();
        let long = refused(&mut handshakes, 9, LONGEST_HANDSHAKE + 1);
        assert_eq!(long, Some(Failure::TooLarge));
        assert_eq!(handshakes.into_all().count(), HANDSHAKES - 1);
    }

    #[test]
    fn the_same_notice_is_sent_once_a_second() {
        let mut notices = Notices::default();
        let begin = Instant::now();
        let after = |millis| begin + Duration::from_millis(millis);
        let (a, b) = (PeerId(1), PeerId(2));
        assert!(notices.note(a, Failure::Gone, begin));
        assert!(!notices.note(a, Failure::Gone, after(5_000)), "it waits to be sent");
        notices.unsaid().unwrap().said(after(6_000));
        assert!(notices.unsaid().is_none() && notices.all_said());
        assert!(!notices.note(a, Failure::Gone, after(6_999)));
        assert!(notices.note(a, Failure::Busy, after(6_999)), "another reason");
        assert!(notices.note(b, Failure::Gone, after(6_999)), "another peer");
        assert!(notices.note(a, Failure::Gone, after(7_000)), "a second is over");
        let first = notices.unsaid().unwrap();
        assert_eq!((first.peer, first.why), (a, Failure::Busy), "in order");
    }

    #[test]
    fn notices_are_bounded() {
        let mut notices = Notices::default();
        let now = Instant::now();
        let noted = (1..=1_000).filter(|n| notices.note(PeerId(*n), Failure::NoPeer, now)).count();
        assert_eq!(noted, NOTICES);
        while let Some(notice) = notices.unsaid() {
            notice.said(now);
        }
        assert!(!notices.note(PeerId(2_000), Failure::NoPeer, now));
        assert!(notices.note(PeerId(2_000), Failure::NoPeer, now + NOTICE_ONCE_IN));
    }
}
