//! Questions to the server about where other clients are.

use super::{Client, Event, OnEvent, Target};
use crate::{
    entropy::NoEntropy,
    proto::{Find, PeerInfo, SendError, peer::Acquaintance},
};

/// A client that is looked for.
pub(super) struct Search {
    target: Target,
    /// A handshake follows. Otherwise a session that is there only wants to know the new number of its peer.
    shake: bool,
    /// The number of the question, once it is asked.
    query: Option<u16>,
}

impl<'m> Client<'m> {
    /// Looks for a client as soon as there is room. `false`: too many are looked for already.
    pub(super) fn search(&mut self, target: Target, shake: bool) -> bool {
        if let Some(search) = self.searches.iter_mut().find(|search| search.target == target) {
            search.shake |= shake;
            return true;
        }
        self.searches.push(Search { target, shake, query: None }).is_ok()
    }

    /// Asks what has not been asked yet.
    pub(super) fn ask(&mut self) {
        let Some(conn) = self.state.conn.as_mut().filter(|conn| conn.is_open()) else { return };
        for search in self.searches.iter_mut().filter(|search| search.query.is_none()) {
            let find = match search.target {
                Target::Name(name) => Find::Name(name),
                Target::Key(key) => Find::Key(key),
            };
            match conn.find(&mut self.tx.lend(), self.next_query, &find) {
                Ok(()) => search.query = Some(self.next_query),
                Err(SendError::Full(_) | SendError::Questions) => return,
                Err(_) => continue,
            }
            self.next_query = self.next_query.wrapping_add(1);
        }
    }

    /// An answer: begins the handshake, if one is wanted.
    pub(super) fn found(
        &mut self,
        query: u16,
        peer: Option<PeerInfo>,
        on_event: &mut OnEvent<'_, 'm>,
    ) -> Result<(), NoEntropy> {
        let Some(at) = self.searches.iter().position(|search| search.query == Some(query)) else {
            return Ok(());
        };
        let Search { target, shake, .. } = self.searches.remove(at);
        // A server that answers with somebody else is not asked to explain.
        let peer = peer.filter(|peer| match target {
            Target::Name(name) => peer.name == name,
            Target::Key(key) => peer.key == key,
        });
        let Some(peer) = peer else {
            if shake {
                on_event(self, Event::NoPeer(target));
            }
            return Ok(());
        };
        self.sessions.named(&peer);
        self.meet(&peer);
        match target {
            Target::Name(_) if shake => self.begin_session(&peer, Acquaintance::New, on_event),
            Target::Key(_) if shake => self.begin_session(&peer, Acquaintance::Known, on_event),
            _ => Ok(()),
        }
    }
}
