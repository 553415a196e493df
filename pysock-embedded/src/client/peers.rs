//! Sessions with other clients, end to end.

use core::fmt;

use super::{Address, Client, Event, HANDSHAKE_MILLIS, Message, OnEvent, Stream, Target, Why};
use crate::{
    entropy::{NoEntropy, draw},
    proto::{
        CloseReason, Ephemeral, Failure, Kind,
        PeerError::{self, Protocol},
        PeerId, PeerInfo, PeerRefusal, PublicKey, RustCrypto, SendError, Unit,
        peer::{Acquaintance, Greeting, PeerEvent, PeerVerify, channel},
    },
};

/// Why a handshake did not begin or go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SessionError {
    /// There is no connection to the server.
    NotConnected,
    /// As many clients are looked for as this memory has room for.
    Busy,
    /// Why the session itself cannot be.
    Peer(PeerError),
    /// There is no randomness. That is fatal: do not go on with this client.
    Entropy,
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SessionError::NotConnected => f.write_str("there is no connection to the server"),
            SessionError::Busy => f.write_str("too many clients are looked for at once"),
            SessionError::Peer(why) => why.fmt(f),
            SessionError::Entropy => NoEntropy.fmt(f),
        }
    }
}

impl core::error::Error for SessionError {}

impl From<NoEntropy> for SessionError {
    fn from(_: NoEntropy) -> Self {
        SessionError::Entropy
    }
}

impl<'m> Client<'m> {
    /// Looks for another client and makes a session with it. [`PeerEvent::Open`] says that it is there. Sessions renew
    /// themselves, and go on over reconnects.
    ///
    /// # Errors
    /// [`SessionError::NotConnected`]; [`SessionError::Busy`].
    pub fn handshake(&mut self, target: Target) -> Result<(), SessionError> {
        if !self.is_connected() {
            return Err(SessionError::NotConnected);
        }
        if !self.search(target, true) {
            return Err(SessionError::Busy);
        }
        self.ask();
        Ok(())
    }

    /// Whether there is a session with the owner of this key, and messages can be sent in it.
    pub fn has_session(&self, key: &PublicKey) -> bool {
        self.is_connected() && self.sessions.get(key).is_some_and(|peer| peer.is_open())
    }

    /// Yes, this client may have a session. If it [has proven its key](Greeting::is_proven), this accepts it: compare the
    /// key with what is pinned first.
    ///
    /// # Errors
    /// It came too late, or there is no randomness.
    pub fn answer(&mut self, greeting: Greeting) -> Result<(), SessionError> {
        let ephemeral = self.ephemeral()?;
        let by = self.now.after_millis(HANDSHAKE_MILLIS);
        self.sessions.answer(greeting, ephemeral, by).map_err(SessionError::Peer)
    }

    /// No, this client gets no session.
    pub fn refuse(&mut self, greeting: Greeting, why: PeerRefusal) {
        let env = self.env();
        self.sessions.refuse(greeting, why, &env);
    }

    /// Yes, this key is the right one.
    ///
    /// # Errors
    /// It came too late.
    pub fn accept_peer(&mut self, verify: PeerVerify) -> Result<(), SessionError> {
        let env = self.env();
        self.sessions.accept(verify, &env).map_err(SessionError::Peer)
    }

    /// No, this key is not the right one.
    pub fn deny_peer(&mut self, verify: PeerVerify, why: PeerRefusal) {
        let env = self.env();
        self.sessions.deny(verify, why, &env);
    }

    /// Closes the session with the owner of a key, after everything that was sent in it.
    pub fn close_peer(&mut self, key: &PublicKey) {
        let env = self.env();
        self.sessions.close(key, CloseReason::Done, &env);
    }

    fn ephemeral(&mut self) -> Result<Ephemeral, NoEntropy> {
        Ok(Ephemeral::new::<RustCrypto>(*draw(&mut *self.setup.entropy)?))
    }

    /// After a reconnect: where are those with whom there are sessions?
    pub(super) fn look_for_sessions(&mut self) {
        for at in 0..self.sessions.sessions().len() {
            if let Some(key) = self.sessions.sessions().get(at).map(|peer| *peer.key()) {
                self.search(Target::Key(key), false);
            }
        }
    }

    /// Remembers what a client is called with whom there is to be a session.
    pub(super) fn meet(&mut self, peer: &PeerInfo) {
        if self.refresh(peer) {
            return;
        }
        if self.contacts.is_full() {
            // Whoever has no session has to wait.
            let sessions = &self.sessions;
            let idle = self.contacts.iter().position(|known| sessions.get(&known.key).is_none());
            if let Some(at) = idle {
                self.contacts.remove(at);
            }
        }
        let _ = self.contacts.push(*peer);
    }

    /// A contact may have another number, or another name. Says whether it is one.
    pub(super) fn refresh(&mut self, peer: &PeerInfo) -> bool {
        let known = self.contacts.iter_mut().find(|known| known.key == peer.key);
        known.map(|known| *known = *peer).is_some()
    }

    fn contact(&self, key: &PublicKey) -> Option<PeerInfo> {
        let mut known = self.contacts.iter().chain(self.state.senders.iter().rev());
        known.find(|known| known.key == *key).copied()
    }

    /// Begins a handshake with somebody whose number is known.
    pub(super) fn begin_session(
        &mut self,
        peer: &PeerInfo,
        acquaintance: Acquaintance,
        on_event: &mut OnEvent<'_, 'm>,
    ) -> Result<(), NoEntropy> {
        let (env, ephemeral) = (self.env(), self.ephemeral()?);
        let by = self.now.after_millis(HANDSHAKE_MILLIS);
        match self.sessions.handshake(peer, acquaintance, ephemeral, by, &env) {
            // Another attempt will do.
            Ok(()) | Err(PeerError::UnderWay) => {}
            Err(why) => on_event(self, Event::Peer { peer: *peer, event: PeerEvent::Failed(why) }),
        }
        Ok(())
    }

    /// What sessions want although nothing has arrived.
    pub(super) fn tend_sessions(
        &mut self,
        on_event: &mut OnEvent<'_, 'm>,
    ) -> Result<(), NoEntropy> {
        // As many as each can have: every kind of news, the end of an attempt, the wish for another.
        for _ in 0..self.contacts.capacity().saturating_add(1).saturating_mul(8) {
            let Some((key, event)) = self.sessions.poll(self.now) else { break };
            match (self.contact(&key), event) {
                (Some(peer), event) => self.hear_peer(&peer, event, on_event)?,
                (None, PeerEvent::Wanted) => {
                    self.search(Target::Key(key), true);
                }
                // Others came between since it was found.
                (None, PeerEvent::Failed(_)) => on_event(self, Event::NoPeer(Target::Key(key))),
                (None, _) => {}
            }
        }
        Ok(())
    }

    /// The server could not pass something on.
    pub(super) fn gone(&mut self, id: PeerId, failure: Failure, on_event: &mut OnEvent<'_, 'm>) {
        let known = self.sessions.sessions().iter().find(|peer| peer.id() == Some(id));
        if let (Some(key), Failure::NoPeer) = (known.map(|peer| *peer.key()), failure) {
            // Its number is of another time: it may have come back under a new one.
            self.search(Target::Key(key), false);
        }
        if let Some((key, why)) = self.sessions.unreachable(id, failure)
            && let Some(peer) = self.contact(&key)
        {
            on_event(self, Event::Peer { peer, event: PeerEvent::Failed(why) });
        }
    }

    /// Something has come from another client, sealed.
    pub(super) fn relayed(
        &mut self,
        from: &PeerInfo,
        unit: Unit,
        bytes: &mut [u8],
        on_event: &mut OnEvent<'_, 'm>,
    ) -> Result<(), NoEntropy> {
        let env = self.env();
        let mut incoming = self.sessions.receive(from, unit, bytes, &env);
        while let Some(event) = self.sessions.next(&mut incoming) {
            self.hear_peer(from, event, on_event)?;
        }
        Ok(())
    }

    fn hear_peer(
        &mut self,
        peer: &PeerInfo,
        event: PeerEvent<'_>,
        on_event: &mut OnEvent<'_, 'm>,
    ) -> Result<(), NoEntropy> {
        let (peer, key) = (*peer, peer.key);
        let from = Address::Peer(key);
        match event {
            // It was accepted before, and nobody else can prove its key.
            PeerEvent::Greeting(greeting)
                if greeting.is_proven() && self.sessions.get(&key).is_some() =>
            {
                match self.answer(greeting) {
                    Err(SessionError::Entropy) => return Err(NoEntropy),
                    // Too late: it will try again.
                    _ => return Ok(()),
                }
            }
            // A greeting proves nothing yet: whoever sends many must not make this client forget others.
            PeerEvent::Verify(_) => self.meet(&peer),
            PeerEvent::Wanted => return self.begin_session(&peer, Acquaintance::Known, on_event),
            PeerEvent::Message { channel, kind, .. } | PeerEvent::Begin { channel, kind, .. }
                if channel != channel::DIRECT || self.is_stale(kind, from) =>
            {
                self.turn_away(&key, &event);
                return Ok(());
            }
            PeerEvent::Refused { kind: kind @ Kind::Request(_), .. }
                if !self.state.requests.answered(kind, from) =>
            {
                return Ok(());
            }
            PeerEvent::Open { fresh } => {
                self.meet(&peer);
                if fresh {
                    self.lose_requests_to(&key, on_event);
                }
            }
            PeerEvent::Closed(_) | PeerEvent::Unanswered | PeerEvent::Failed(Protocol(..)) => {
                self.lose_requests_to(&key, on_event);
            }
            _ => {}
        }
        let of = |id| Stream { peer: Some(key), id, connection: 0 };
        let event = match event {
            PeerEvent::Message { kind, bytes, .. } => {
                Event::Message(Message { from, sender: Some(peer), kind, bytes })
            }
            PeerEvent::Refused { kind, failure, .. } => {
                Event::Failed { to: from, kind, why: Why::Failure(failure) }
            }
            PeerEvent::Begin { stream, kind, length, .. } => {
                Event::Begin { stream: of(stream), from, kind, length }
            }
            PeerEvent::Chunk { stream, bytes } => {
                on_event(self, Event::Chunk { stream: of(stream), bytes });
                self.sessions.consumed(&key, stream, bytes.len());
                return Ok(());
            }
            PeerEvent::End(stream) => Event::End(of(stream)),
            PeerEvent::Aborted { stream, failure } => {
                Event::Aborted { stream: of(stream), failure }
            }
            PeerEvent::Stopped { stream, failure } => {
                Event::Stopped { stream: of(stream), failure }
            }
            PeerEvent::Credit(stream) => Event::Credit(of(stream)),
            event => Event::Peer { peer, event },
        };
        on_event(self, event);
        Ok(())
    }

    /// A reply that nobody waits for.
    fn is_stale(&mut self, kind: Kind, from: Address) -> bool {
        matches!(kind, Kind::Reply(_)) && !self.state.requests.answered(kind, from)
    }

    /// Nobody here hears this.
    fn turn_away(&mut self, key: &PublicKey, event: &PeerEvent<'_>) {
        match *event {
            PeerEvent::Begin { stream, .. } => {
                self.sessions.stop(key, stream, Failure::NoResponder);
            }
            PeerEvent::Message { channel, kind: kind @ Kind::Request(_), .. } => {
                // Without room, the one who asked has a deadline.
                let _: Result<(), SendError> =
                    self.in_session(key, |to| to.send_failed(channel, kind, Failure::NoResponder));
            }
            _ => {}
        }
    }
}
