//! Sealed units of two clients: who gets them, and who is told that somebody has left.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use pysock_proto::{
    Failure, PeerId, Unit,
    registry::{Entry, Slot},
};

use super::{
    hub::{Hub, Session, Tables},
    session::spread,
};
use crate::{link::Verdict, outbox::Report, relay::Sealed};

/// Partners of one connection that are remembered: the latest.
const PARTNERS: usize = 64;

/// The connections with which one connection has exchanged sealed units, the latest last.
#[derive(Default)]
pub(super) struct Partners(VecDeque<Slot>);

impl Partners {
    fn note(&mut self, partner: Slot) {
        if self.0.back() == Some(&partner) {
            return;
        }
        if let Some(at) = self.0.iter().position(|known| *known == partner) {
            self.0.remove(at);
        } else if self.0.len() >= PARTNERS {
            self.0.pop_front();
        }
        self.0.push_back(partner);
    }
}

impl Tables {
    /// The connection that is the active one of `peer`.
    pub(super) fn active(&self, peer: PeerId) -> Option<Slot> {
        self.names.get(peer).and_then(Entry::slot)
    }

    /// Says that `session` has left to those who exchanged units with it, unless its client has a newer connection.
    /// Then they are that one's partners.
    pub(super) fn part(&self, session: &Session) {
        let partners = std::mem::take(&mut *session.partners());
        let heir = self.active(session.peer.id).map(|slot| self.sessions.get(&slot));
        for slot in partners.0 {
            let Some(partner) = self.sessions.get(&slot) else { continue };
            match heir {
                Some(Some(heir)) => heir.partners().note(slot),
                // The newer connection is about to enter.
                Some(None) => {}
                None => partner.outbox.relay_failed(session.peer.id, Failure::Gone),
            }
        }
    }
}

/// Why a unit is not passed on.
enum Refused {
    /// It comes from a connection that is not the active one any more, which needs no answer.
    Inactive,
    Because(Failure),
}

impl From<Failure> for Refused {
    fn from(why: Failure) -> Self {
        Refused::Because(why)
    }
}

impl Hub {
    /// Passes on what `session` has sealed for `peer`, unread. The source is what this server knows.
    pub(super) fn relay(
        &self,
        session: &Arc<Session>,
        peer: PeerId,
        unit: Unit,
        bytes: Bytes,
    ) -> Verdict {
        let to = match self.partner(session, peer) {
            Ok(to) => to,
            Err(Refused::Inactive) => return Verdict::Go,
            Err(Refused::Because(why)) => {
                session.outbox.relay_failed(peer, why);
                return Verdict::Go;
            }
        };
        let sealed = Sealed {
            from: session.peer.clone(),
            unit,
            bytes,
            report: Report::Sealer(Arc::downgrade(&session.outbox), peer),
        };
        match unit {
            Unit::Handshake => {
                to.outbox.push_handshake(sealed);
                Verdict::Go
            }
            Unit::Record => spread([(to.outbox.clone(), sealed)]),
        }
    }

    /// The connection that gets what `session` seals for `peer`. From now on each hears when the other leaves.
    fn partner(&self, session: &Session, peer: PeerId) -> Result<Arc<Session>, Refused> {
        let tables = self.tables();
        if tables.active(session.peer.id) != Some(session.slot) {
            return Err(Refused::Inactive);
        }
        if peer == session.peer.id {
            return Err(Failure::BadDestination.into());
        }
        let absent = || if tables.names.has_given(peer) { Failure::Gone } else { Failure::NoPeer };
        let slot = tables.active(peer).ok_or_else(absent)?;
        let to = tables.sessions.get(&slot).ok_or(Failure::Gone)?.clone();
        // While the tables are held, neither can leave in between and miss it.
        session.partners().note(to.slot);
        to.partners().note(session.slot);
        Ok(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_partners_are_remembered() {
        let mut partners = Partners::default();
        for slot in 0..PARTNERS as u32 {
            partners.note(Slot(slot));
        }
        partners.note(Slot(0));
        partners.note(Slot(1_000));
        assert_eq!(partners.0.len(), PARTNERS);
        assert!(partners.0.contains(&Slot(0)), "heard again");
        assert!(!partners.0.contains(&Slot(1)), "the oldest");
        assert_eq!(partners.0.back(), Some(&Slot(1_000)));
    }
}
