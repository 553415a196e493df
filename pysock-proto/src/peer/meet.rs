//! Handshakes between clients: who may begin one, who answers, and which of two that cross each other counts.

use super::{
    Acquaintance, Greeting, HalfOpen, LONGEST, Notice, PATIENCE_MILLIS, Peer, PeerEvent,
    PeerVerify, Peers, Stage, Undecided,
    half::{Beginning, MOST_REPEATS, Wrong, attempt},
    is_under_way,
    session::Opened,
};
use crate::{
    crypto::{Crypto, Env, Ephemeral},
    directory::PeerInfo,
    error::{FrameError, PeerError, PeerRefusal},
    id::PeerId,
    key::PublicKey,
    noise::{Pattern, Role},
    store::Store,
    time::Instant,
    wire::inner::{Attempt, STEP_HEADER, step},
};

impl<C: Crypto, S: Store<Peer>, H: Store<HalfOpen>> Peers<C, S, H> {
    /// Begins a handshake, which has to be complete by `by`: the next flush sends its first message.
    ///
    /// # Errors
    /// [`PeerError::Own`]; [`PeerError::UnderWay`]; [`PeerError::Full`] if there is no room for another session or
    /// handshake.
    pub fn handshake(
        &mut self,
        peer: &PeerInfo,
        acquaintance: Acquaintance,
        ephemeral: Ephemeral,
        by: Instant,
        env: &Env<'_>,
    ) -> Result<(), PeerError> {
        if peer.key == env.identity.public() {
            return Err(PeerError::Own);
        }
        if is_under_way(self.halves.as_slice(), &peer.key) {
            return Err(PeerError::UnderWay);
        }
        self.make_room(peer)?;
        let pattern = match acquaintance {
            Acquaintance::Known => Pattern::KK,
            Acquaintance::New | Acquaintance::Diagnose => Pattern::XX,
        };
        let ours = self.terms(&peer.key);
        let from = Beginning { peer, pattern, ours, deadline: by };
        let half = self.keep(Role::Initiator, &from, ephemeral, env).ok_or(PeerError::Full)?;
        half.diagnose = acquaintance == Acquaintance::Diagnose;
        half.due = true;
        self.owing = true;
        Ok(())
    }

    /// Looks whether another handshake, and the session that may come of it, can be kept.
    #[inline(never)] // One copy for both roles: 60 bytes of flash.
    fn make_room(&mut self, peer: &PeerInfo) -> Result<(), PeerError> {
        if self.get(&peer.key).is_none() {
            self.sessions.reserve().map_err(|_| PeerError::Full)?;
        }
        self.halves.reserve().map_err(|_| PeerError::Full)
    }

    /// Begins a handshake where it stays. There has to be room for it.
    fn keep(
        &mut self,
        role: Role,
        from: &Beginning<'_>,
        e: Ephemeral,
        env: &Env<'_>,
    ) -> Option<&mut HalfOpen> {
        let at = self.halves.as_slice().len();
        self.halves.insert(at, HalfOpen::new::<C>(role, from, e, env)).ok()?;
        self.halves.as_mut_slice().last_mut()
    }

    /// Answers a greeting, with 32 fresh random bytes behind `ephemeral`; the rest has to be done by `by`. If the
    /// other side [has proven its key](Greeting::is_proven), this accepts it.
    ///
    /// # Errors
    /// [`PeerError::TimedOut`] if the greeting is void by now.
    pub fn answer(
        &mut self,
        greeting: Greeting,
        ephemeral: Ephemeral,
        by: Instant,
    ) -> Result<(), PeerError> {
        let half = self.decided(Undecided::Greeting, &greeting.key, greeting.bind)?;
        if let Stage::Noise(noise) = &mut half.stage {
            noise.supply(ephemeral);
        }
        (half.undecided, half.due, half.deadline) = (Undecided::Nothing, true, by);
        self.owing = true;
        Ok(())
    }

    /// Says no to a greeting.
    pub fn refuse(&mut self, greeting: Greeting, why: PeerRefusal, env: &Env<'_>) {
        self.reject(Undecided::Greeting, &greeting.key, greeting.bind, why, env);
    }

    /// Yes, this key is the right one.
    ///
    /// # Errors
    /// [`PeerError::TimedOut`] if the handshake is void by now.
    pub fn accept(&mut self, verify: PeerVerify, env: &Env<'_>) -> Result<(), PeerError> {
        let (key, bind) = (&verify.key, verify.bind);
        let at = self.undecided(Undecided::Key, key, bind).ok_or(PeerError::TimedOut)?;
        let half = self.halves.as_mut_slice().get_mut(at).ok_or(PeerError::TimedOut)?;
        half.undecided = Undecided::Nothing;
        if half.role == Role::Initiator {
            half.due = true;
            self.owing = true;
            return Ok(());
        }
        let Stage::Confirm { first: Some(first), .. } = half.stage else {
            return Ok(());
        };
        // The first record is in already.
        self.install(at, env.now)?;
        let record = Opened { text: &[], gap: 0, first: true };
        if let Some(peer) = self.get_mut(key)
            && !peer.arrived(&record, true, first, env.now)
        {
            peer.fail();
            return Err(PeerError::Protocol(0, FrameError::Body));
        }
        Ok(())
    }

    /// No, this key is not the right one.
    pub fn deny(&mut self, verify: PeerVerify, why: PeerRefusal, env: &Env<'_>) {
        self.reject(Undecided::Key, &verify.key, verify.bind, why, env);
    }

    /// A person has to be asked about a greeting, until `until` at most: the other side is asked for patience.
    pub fn hold_greeting(&mut self, greeting: &Greeting, until: Instant, env: &Env<'_>) {
        self.hold(Undecided::Greeting, &greeting.key, greeting.bind, until, env);
    }

    /// A person has to be asked about a key, until `until` at most: the other side is asked for patience.
    pub fn hold_verify(&mut self, verify: &PeerVerify, until: Instant, env: &Env<'_>) {
        self.hold(Undecided::Key, &verify.key, verify.bind, until, env);
    }

    fn hold(
        &mut self,
        what: Undecided,
        key: &PublicKey,
        bind: [u8; 8],
        until: Instant,
        env: &Env<'_>,
    ) {
        let Ok(half) = self.decided(what, key, bind) else { return };
        half.deadline = until;
        let (to, name) = (half.peer.id, half.name());
        self.notice(to, step::PATIENCE, name, 0, env.now);
    }

    fn decided(
        &mut self,
        what: Undecided,
        key: &PublicKey,
        bind: [u8; 8],
    ) -> Result<&mut HalfOpen, PeerError> {
        let at = self.undecided(what, key, bind).ok_or(PeerError::TimedOut)?;
        self.halves.as_mut_slice().get_mut(at).ok_or(PeerError::TimedOut)
    }

    fn reject(
        &mut self,
        what: Undecided,
        key: &PublicKey,
        bind: [u8; 8],
        why: PeerRefusal,
        env: &Env<'_>,
    ) {
        let Some(at) = self.undecided(what, key, bind) else { return };
        let Some(half) = self.halves.as_slice().get(at) else { return };
        let (to, name) = (half.peer.id, half.name());
        self.end(at);
        self.notice(to, step::REFUSED, name, why.code(), env.now);
    }

    /// Notes a notice, unless there were many lately.
    pub(super) fn notice(
        &mut self,
        to: PeerId,
        step: u8,
        attempt: Attempt,
        code: u8,
        now: Instant,
    ) {
        if !self.notices_left.allows(to, now) {
            return;
        }
        if let Some(free) = self.notices.iter_mut().find(|notice| notice.is_none()) {
            *free = Some(Notice { to, step, attempt, code });
            self.notices_left.take(to, now);
            self.owing = true;
        }
    }

    /// A handshake unit has arrived.
    pub(super) fn meet(
        &mut self,
        from: &PeerInfo,
        unit: &mut [u8],
        env: &Env<'_>,
    ) -> Option<PeerEvent<'static>> {
        let (header, message) = unit.split_first_chunk_mut::<STEP_HEADER>()?;
        let [step, attempt @ ..] = *header;
        match step {
            step::KK_1 => self.greeted(Pattern::KK, from, attempt, message, env),
            step::XX_1 => self.greeted(Pattern::XX, from, attempt, message, env),
            step::KK_2 | step::XX_2 | step::XX_3 => {
                self.answered(step, from, attempt, message, env)
            }
            _ => self.noticed(step, from, attempt, message, env),
        }
    }

    /// The first message of somebody else's attempt.
    fn greeted(
        &mut self,
        pattern: Pattern,
        from: &PeerInfo,
        name: Attempt,
        message: &mut [u8],
        env: &Env<'_>,
    ) -> Option<PeerEvent<'static>> {
        let e: &[u8; 32] = message.first_chunk()?;
        if from.key == env.identity.public() || attempt(e) != name {
            return None;
        }
        let own = self.with(&from.key, Role::Initiator);
        if let Some(own) = own.and_then(|at| self.halves.as_mut_slice().get_mut(at))
            && own.precedes(message)
        {
            if own.attempt != name {
                own.again();
                self.owing = true;
            }
            return None;
        }
        let busy = PeerRefusal::Busy.code();
        // Each guess costs two X25519: who has a session pays with a pause of its own, strangers all together.
        let restless = match self.get(&from.key) {
            Some(peer) => peer.is_restless(env.now),
            None => pattern == Pattern::KK && !self.guesses_left.allows(from.id, env.now),
        };
        if restless {
            self.notice(from.id, step::REFUSED, name, busy, env.now);
            return None;
        }
        let before = self.with(&from.key, Role::Responder);
        let mut repeats = 0;
        if let Some(before) = before.and_then(|at| self.halves.as_mut_slice().get_mut(at)) {
            if before.attempt == name {
                return None;
            }
            // A person who is deciding about a proven key is not disturbed by what proves nothing.
            if before.repeats >= MOST_REPEATS || before.undecided == Undecided::Key {
                self.notice(from.id, step::REFUSED, name, busy, env.now);
                return None;
            }
            before.repeats = before.repeats.saturating_add(1);
            repeats = before.repeats;
        }
        if self.make_room(from).is_err()
            && let Some(at) = before.or(own)
        {
            // There is no other place: it gives way before the new one has proven anything.
            self.end(at);
        }
        if self.make_room(from).is_err() {
            self.notice(from.id, step::REFUSED, name, PeerRefusal::Full.code(), env.now);
            return None;
        }
        let deadline = env.now.after_millis(super::GREETING_MILLIS);
        let from = Beginning { peer: from, pattern, ours: self.terms(&from.key), deadline };
        let own = self.name;
        let half = self.keep(Role::Responder, &from, Ephemeral::none(), env)?;
        half.repeats = repeats;
        let (key, greeted) = (half.peer.key, half.greet::<C>(message, &own, env));
        let Err(wrong) = greeted else {
            let greeting =
                Greeting { key, name: half.peer.name, proven: half.is_proven(), bind: half.bind };
            // Only now it takes the place of the attempt before it.
            let before = |half: &HalfOpen| {
                half.peer.key == key && half.role == Role::Responder && half.attempt != name
            };
            if let Some(at) = self.position(before) {
                self.end(at);
            }
            return Some(PeerEvent::Greeting(greeting));
        };
        // Nothing came before it that would have to stay where it is.
        self.end(self.halves.as_slice().len().saturating_sub(1));
        let (code, event) = match (wrong, pattern) {
            (Wrong::Name, _) => {
                (PeerRefusal::Name.code(), Some(PeerEvent::Failed(PeerError::Name)))
            }
            (_, Pattern::KK) => (0, None),
            _ => return None,
        };
        if event.is_none() {
            match self.get_mut(&key) {
                Some(peer) => peer.disturbed(env.now),
                None => self.guesses_left.take(from.peer.id, env.now),
            }
        }
        let step = if event.is_some() { step::REFUSED } else { step::NEED_XX };
        self.notice(from.peer.id, step, name, code, env.now);
        event
    }

    /// The next message of an attempt under way.
    fn answered(
        &mut self,
        step: u8,
        from: &PeerInfo,
        attempt: Attempt,
        message: &mut [u8],
        env: &Env<'_>,
    ) -> Option<PeerEvent<'static>> {
        let at = self.position(|half| {
            half.peer.key == from.key && half.attempt == attempt && half.awaits(step)
        })?;
        let (own, halves) = (self.name, self.halves.as_mut_slice());
        let half = halves.get_mut(at)?;
        if let Err(wrong) = half.read::<C>(message, &own, env) {
            let diagnose = half.diagnose;
            self.end(at);
            return Some(match wrong {
                Wrong::Key(key) if diagnose => PeerEvent::Offered(key),
                Wrong::Key(key) => PeerEvent::OtherKey(key),
                Wrong::Name => PeerEvent::Failed(PeerError::Name),
                Wrong::Message => PeerEvent::Failed(PeerError::Handshake),
            });
        }
        if half.diagnose {
            return self.end(at).map(PeerEvent::Offered);
        }
        if half.is_kk() {
            return self.install(at, env.now).err().map(PeerEvent::Failed);
        }
        half.decides(Undecided::Key);
        let verify = PeerVerify { key: half.peer.key, name: half.peer.name, bind: half.bind };
        if half.role == Role::Responder {
            half.confirm::<C>();
        }
        Some(PeerEvent::Verify(verify))
    }

    /// A notice has arrived. Nothing proves it: it ends an attempt at most.
    fn noticed(
        &mut self,
        step: u8,
        from: &PeerInfo,
        attempt: Attempt,
        code: &[u8],
        env: &Env<'_>,
    ) -> Option<PeerEvent<'static>> {
        if step == step::NO_SESSION {
            let peer = self.get_mut(&from.key)?;
            if peer.session.has_sent(attempt) {
                peer.breaks();
            }
            return None;
        }
        if let Some(peer) = self.get_mut(&from.key).filter(|peer| peer.is_opening(attempt)) {
            // The handshake is complete here, and the other side has still to decide.
            match (step, code.first()) {
                (step::PATIENCE, _) => {
                    let until = env.now.after_millis(PATIENCE_MILLIS);
                    return peer.has_patience(until).then_some(PeerEvent::Patience);
                }
                (step::REFUSED, Some(code)) => {
                    peer.rejected(PeerError::Refused(PeerRefusal::from_code(*code)));
                }
                _ => {}
            }
            return None;
        }
        let at = self.position(|half| half.peer.key == from.key && half.attempt == attempt)?;
        let half = self.halves.as_mut_slice().get_mut(at)?;
        let why = match step {
            step::NEED_XX if half.has_called_with_kk() => PeerError::NeedXx,
            step::REFUSED => PeerError::Refused(PeerRefusal::from_code(*code.first()?)),
            step::PATIENCE => {
                if half.waits {
                    return None;
                }
                (half.waits, half.deadline) = (true, env.now.after_millis(PATIENCE_MILLIS));
                return Some(PeerEvent::Patience);
            }
            _ => return None,
        };
        self.end(at);
        Some(PeerEvent::Failed(why))
    }

    /// Writes the next handshake message that is due into `out`: whom it is for, and its length.
    pub(super) fn message_due(
        &mut self,
        out: &mut [u8; LONGEST],
        env: &Env<'_>,
    ) -> Option<(PeerId, usize)> {
        let at = self.position(|half| half.due)?;
        let own = self.name;
        let half = self.halves.as_mut_slice().get_mut(at)?;
        let (to, len) = (half.peer.id, half.write::<C>(out, &own, env).map(<[u8]>::len));
        if !half.due && half.is_complete() {
            match half.role {
                Role::Initiator => {
                    let key = half.peer.key;
                    self.failed = self.install(at, env.now).err().map(|why| (key, why));
                }
                Role::Responder => half.confirm::<C>(),
            }
        }
        match len {
            Some(len) => Some((to, len)),
            None => {
                self.end(at);
                None
            }
        }
    }
}
