//! When a session is replaced: its age, and the waits that keep handshakes from following one another too closely.

use super::{Peer, State};
use crate::{peer::session::STALE_RECORDS, time::Instant};

/// Age at which a session should be replaced, in milliseconds; its initiator is the one to do it, unless that does
/// not happen for some time.
const STALE_MILLIS: u64 = 3_600_000;
const GRACE_MILLIS: u64 = 600_000;
/// Of the beginning of a session, so many low bits are not kept: a word is enough for the rest, without a division.
const SINCE_BITS: u32 = 10;
/// The first wait between attempts to replace a session, in milliseconds; each failure doubles it.
const FIRST_WAIT: u64 = 1_000;
const MOST_DOUBLINGS: u8 = 6;
/// Age from which on a session counts as settled: a minute, in units of `since`.
const SETTLED: u32 = 60_000 >> SINCE_BITS;

impl Peer {
    /// A session begins; `before` is whether there was one before it.
    pub(super) fn starts(&mut self, before: bool, now: Instant) {
        let since = u32::try_from(now.as_millis() >> SINCE_BITS).unwrap_or(u32::MAX);
        let short = before && since.saturating_sub(self.since) < SETTLED;
        self.short_lived = if short { self.short_lived.saturating_add(1) } else { 0 };
        self.since = since;
        (self.retry_at, self.failures) = (now.after_millis(self.pause()), 0);
    }

    /// An attempt begins; the next one has to wait.
    pub(in crate::peer) fn tries(&mut self, now: Instant) {
        let doublings = self.failures.min(MOST_DOUBLINGS);
        self.retry_at =
            now.after_millis(FIRST_WAIT.checked_shl(doublings.into()).unwrap_or(u64::MAX));
        self.failures = self.failures.saturating_add(1);
    }

    /// How long a session that has just begun is left alone, in milliseconds: the longer, the more often it was replaced
    /// lately. Whoever breaks sessions on purpose cannot make it a handshake after the other.
    pub(super) fn pause(&self) -> u64 {
        (FIRST_WAIT / 8).checked_shl(self.short_lived.min(3).into()).unwrap_or(FIRST_WAIT)
    }

    /// A first message in its name has not verified.
    pub(in crate::peer) fn disturbed(&mut self, now: Instant) {
        if matches!(self.state, State::Open) && self.failures == 0 {
            self.retry_at = self.retry_at.max(now.after_millis(self.pause()));
        }
    }

    /// The wish for a new handshake and when it may be granted.
    pub(in crate::peer) fn wanted_at(&self) -> Option<Instant> {
        self.id?;
        let grace = if self.initiator { 0 } else { GRACE_MILLIS };
        let since = Instant::from_millis(u64::from(self.since) << SINCE_BITS);
        let stale = since.after_millis(STALE_MILLIS.saturating_add(grace));
        match self.state {
            State::Broken { .. } => Some(self.retry_at),
            State::Open if self.session.sent >= STALE_RECORDS => Some(self.retry_at),
            State::Open => Some(stale.max(self.retry_at)),
            _ => None,
        }
    }

    /// Whether this peer has had a handshake so lately that another one has to wait.
    pub(in crate::peer) fn is_restless(&self, now: Instant) -> bool {
        let opening = matches!(self.state, State::Opening { .. });
        self.is_ending() || !opening && self.failures == 0 && now < self.retry_at
    }

    /// When time alone changes something.
    pub(in crate::peer) fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Closing { .. } | State::Opening { .. } => Some(self.retry_at),
            // Its last word has left: it can be forgotten.
            _ if self.is_over() => Some(Instant::from_millis(0)),
            _ => self.wanted_at(),
        }
    }
}
