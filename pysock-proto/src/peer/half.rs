//! A handshake between two clients that is under way: one message at a time, in either role.

use super::session::Session;
use crate::{
    crypto::{Crypto, Env, Ephemeral, Suite, TAG},
    directory::PeerInfo,
    id::Name,
    key::PublicKey,
    noise::{HandshakeState, Pattern, Role, Setup},
    time::Instant,
    wire::inner::{Attempt, HELLO_MAX, Hello, PROLOGUE, STEP_HEADER, Terms, step},
};

/// Handshakes use the universal suite; the prologue names it. The two hellos decide what seals the records behind them.
const SUITE: Suite = Suite::ChaChaPoly;

/// Longest handshake unit: the second message of XX.
pub(crate) const LONGEST: usize = STEP_HEADER + 32 + 32 + TAG + HELLO_MAX + TAG;

/// First messages of one attempt, or of one peer that replace each other, beyond the first.
pub(super) const MOST_REPEATS: u8 = 4;

/// A handshake under way. Kept in storage that the caller supplies; about 450 bytes.
pub struct HalfOpen {
    /// The other side, as the server describes it.
    pub(super) peer: PeerInfo,
    pub(super) stage: Stage,
    pub(super) role: Role,
    pattern: Pattern,
    pub(super) attempt: Attempt,
    /// What this side says of itself in the handshake.
    pub(super) ours: Terms,
    /// What the other side has said.
    pub(super) theirs: Option<Terms>,
    pub(super) undecided: Undecided,
    pub(super) bind: [u8; 8],
    /// A message of this side is due.
    pub(super) due: bool,
    pub(super) deadline: Instant,
    /// An initiator: only find out the key that answers now.
    pub(super) diagnose: bool,
    /// The other side has asked for patience.
    pub(super) waits: bool,
    /// A responder: first messages of this peer that this one has taken the place of. An initiator: how often the first
    /// message was due again.
    pub(super) repeats: u8,
}

// The session is the smaller variant, and few are kept: boxes there are none.
#[allow(clippy::large_enum_variant)]
pub(super) enum Stage {
    Noise(HandshakeState),
    /// A responder: the session counts once its first record has authenticated, and once the key is accepted.
    Confirm {
        session: Option<Session>,
        first: Option<First>,
    },
}

/// What the first record of a session says of those before it.
#[derive(Clone, Copy)]
pub(super) struct First {
    pub(super) number: u32,
    pub(super) records: u32,
}

/// Which decision the caller has to take before the handshake goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Undecided {
    Nothing,
    /// Whether to answer a first message at all.
    Greeting,
    /// Whether the key of the other side is the right one.
    Key,
}

/// Why a message ends its handshake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wrong {
    /// It does not verify, or does not say what it has to.
    Message,
    /// It proves another key than the server has named.
    Key(PublicKey),
    /// The server has told both sides different names.
    Name,
}

/// How a handshake begins, for both roles.
pub(super) struct Beginning<'a> {
    pub(super) peer: &'a PeerInfo,
    pub(super) pattern: Pattern,
    pub(super) ours: Terms,
    pub(super) deadline: Instant,
}

impl HalfOpen {
    /// Without a message yet. An initiator still has to say that one is due.
    pub(super) fn new<C: Crypto>(
        role: Role,
        from: &Beginning<'_>,
        e: Ephemeral,
        env: &Env<'_>,
    ) -> Self {
        let noise = noise::<C>(role, from.pattern, &from.peer.key, e, env);
        HalfOpen {
            peer: *from.peer,
            attempt: attempt(noise.initiators()),
            stage: Stage::Noise(noise),
            role,
            pattern: from.pattern,
            ours: from.ours,
            theirs: None,
            undecided: Undecided::Nothing,
            bind: [0; 8],
            due: false,
            deadline: from.deadline,
            diagnose: false,
            waits: false,
            repeats: 0,
        }
    }

    /// The other side has begun an attempt that comes after this one, so it has not seen this one: the same first
    /// message is due again, to the byte. The answer may still be on its way.
    pub(super) fn again(&mut self) {
        let waits = matches!(&self.stage, Stage::Noise(noise) if noise.step() == 1);
        if waits && !self.due && self.repeats < MOST_REPEATS {
            self.due = true;
            self.repeats = self.repeats.saturating_add(1);
        }
    }

    /// Reads a first message. With KK it proves who sent it; with XX nothing yet.
    pub(super) fn greet<C: Crypto>(
        &mut self,
        message: &mut [u8],
        own: &Name,
        env: &Env<'_>,
    ) -> Result<(), Wrong> {
        self.read::<C>(message, own, env)?;
        self.decides(Undecided::Greeting);
        if let Stage::Noise(noise) = &self.stage {
            self.attempt = attempt(noise.initiators());
        }
        Ok(())
    }

    /// Whether the other side has proven its key.
    pub(super) fn is_proven(&self) -> bool {
        self.theirs.is_some()
    }

    /// Reads the next message in place.
    pub(super) fn read<C: Crypto>(
        &mut self,
        message: &mut [u8],
        own: &Name,
        env: &Env<'_>,
    ) -> Result<(), Wrong> {
        let Stage::Noise(noise) = &mut self.stage else { return Err(Wrong::Message) };
        let payload = noise.read::<C>(env.identity, message).map_err(|_| Wrong::Message)?;
        if self.pattern == Pattern::XX && noise.step() == 1 {
            // In clear text: it must not say anything.
            return if payload.is_empty() { Ok(()) } else { Err(Wrong::Message) };
        }
        let proven = noise.remote();
        if proven != self.peer.key || proven == env.identity.public() {
            return Err(Wrong::Key(proven));
        }
        let hello = Hello::decode(payload).ok_or(Wrong::Message)?;
        if hello.expected != *own || hello.name != self.peer.name {
            return Err(Wrong::Name);
        }
        self.theirs = Some(hello.terms);
        Ok(())
    }

    /// Writes the next message, with what stands in front of it.
    pub(super) fn write<'o, C: Crypto>(
        &mut self,
        out: &'o mut [u8; LONGEST],
        own: &Name,
        env: &Env<'_>,
    ) -> Option<&'o [u8]> {
        let Stage::Noise(noise) = &mut self.stage else { return None };
        self.due = false;
        if noise.reads_next() {
            // The first message once more: the same way leads to the same state, and to the same bytes.
            let e = noise.same_ephemeral();
            *noise = self::noise::<C>(self.role, self.pattern, &self.peer.key, e, env);
        }
        let hello = Hello { terms: self.ours, name: *own, expected: self.peer.name };
        let says_nothing = self.pattern == Pattern::XX && noise.step() == 0;
        let hello = (!says_nothing).then(|| hello.encode());
        let payload = hello.as_ref().map_or(&[][..], |hello| hello.as_slice());
        let len = STEP_HEADER.checked_add(noise.overhead())?.checked_add(payload.len())?;
        let unit = out.get_mut(..len)?;
        let (header, message) = unit.split_first_chunk_mut::<STEP_HEADER>()?;
        let [a, b, c, d] = self.attempt;
        *header = [step_of(self.pattern, noise.step()), a, b, c, d];
        noise.write::<C>(env.identity, payload, message).ok()?;
        Some(unit)
    }

    /// Whether all messages are written and read.
    pub(super) fn is_complete(&self) -> bool {
        matches!(&self.stage, Stage::Noise(noise) if noise.is_complete())
    }

    /// Whether this step is the one that is waited for.
    pub(super) fn awaits(&self, kind: u8) -> bool {
        let Stage::Noise(noise) = &self.stage else { return false };
        self.undecided == Undecided::Nothing
            && noise.reads_next()
            && !noise.is_complete()
            && step_of(self.pattern, noise.step()) == kind
    }

    /// The session of a complete handshake.
    pub(super) fn take_session<C: Crypto>(&mut self) -> Option<Session> {
        let theirs = self.theirs?;
        match &mut self.stage {
            Stage::Noise(noise) => Some(Session::new::<C>(noise, &self.ours, &theirs)),
            Stage::Confirm { session, .. } => session.take(),
        }
    }

    /// What a notice to the other side calls it: the attempt, and once that is complete there, its session.
    pub(super) fn name(&self) -> Attempt {
        match &self.stage {
            Stage::Confirm { session: Some(session), .. } => {
                let [a, b, c, d, ..] = session.id;
                [a, b, c, d]
            }
            _ => self.attempt,
        }
    }

    /// Wipes what is secret where it lies.
    pub(super) fn wipe(&mut self) {
        self.stage = Stage::Confirm { session: None, first: None };
    }

    /// A responder has done its part: what is left of the handshake is its session.
    pub(super) fn confirm<C: Crypto>(&mut self) {
        let session = self.take_session::<C>();
        self.stage = Stage::Confirm { session, first: None };
    }

    /// From now on the caller has to decide; the decision is tied to this handshake and no other.
    pub(super) fn decides(&mut self, what: Undecided) {
        if let Stage::Noise(noise) = &self.stage {
            let [a, b, c, d, e, f, g, h, ..] = *noise.hash();
            self.bind = [a, b, c, d, e, f, g, h];
        }
        self.undecided = what;
    }

    /// Whether this side's own attempt comes before that of the other side with this first message: the smaller
    /// ephemeral key does. Equal ones are a reflection.
    pub(super) fn precedes(&self, first: &[u8]) -> bool {
        match (&self.stage, first.get(..32)) {
            (Stage::Noise(noise), Some(theirs)) => &noise.initiators()[..] <= theirs,
            _ => true,
        }
    }

    /// Whether it is an attempt of this side that takes both keys for known.
    pub(super) fn has_called_with_kk(&self) -> bool {
        self.role == Role::Initiator && self.is_kk()
    }

    pub(super) fn is_kk(&self) -> bool {
        self.pattern == Pattern::KK
    }
}

/// A handshake of this side with the owner of `key`.
fn noise<C: Crypto>(
    role: Role,
    pattern: Pattern,
    key: &PublicKey,
    e: Ephemeral,
    env: &Env<'_>,
) -> HandshakeState {
    let own = env.identity.public();
    let (initiator, responder) = match role {
        Role::Initiator => (&own, key),
        Role::Responder => (key, &own),
    };
    let known = pattern == Pattern::KK;
    let setup = Setup {
        role,
        pattern,
        suite: SUITE,
        prologue: [PROLOGUE, &[SUITE as u8, pattern as u8]],
        initiator: known.then_some(initiator),
        responder: known.then_some(responder),
        psk: None,
    };
    HandshakeState::new::<C>(&setup, e)
}

/// What an attempt with this ephemeral key is called.
pub(super) fn attempt(e: &[u8; 32]) -> Attempt {
    let [a, b, c, d, ..] = *e;
    [a, b, c, d]
}

fn step_of(pattern: Pattern, step: u8) -> u8 {
    match (pattern, step) {
        (Pattern::KK, 0) => step::KK_1,
        (Pattern::KK, _) => step::KK_2,
        (_, 0) => step::XX_1,
        (_, 1) => step::XX_2,
        _ => step::XX_3,
    }
}
