//! One other client: the session with it, and the count of messages that outlives sessions.

use core::num::NonZeroU32;

use super::{
    event::PeerEvent,
    half::HalfOpen,
    session::{MAX_RECORDS, Opened, Receiving, STALE_RECORDS, Session},
};
use crate::{
    error::{CloseReason, FrameError},
    id::PeerId,
    key::PublicKey,
    noise::Role,
    stream::Streams,
    time::Instant,
    wire::inner::{self, RECORD_HEADER, Received, Takes, Terms},
};

/// Age at which a session should be replaced, in milliseconds; its initiator is the one to do it, unless that does
/// not happen for some time.
const STALE_MILLIS: u64 = 3_600_000;
const GRACE_MILLIS: u64 = 600_000;
/// Messages received after which the other side is told how many, if nothing else says so.
const TELL_EVERY: u32 = 64;
/// The first wait between attempts to replace a session, in milliseconds; each failure doubles it.
const FIRST_WAIT: u64 = 1_000;
const MOST_DOUBLINGS: u8 = 6;

/// A client that this one has, or had, a session with. Kept in storage that the caller supplies.
pub struct Peer {
    pub(super) key: PublicKey,
    /// Its number at the present server; `None` until the server has named it since the connection began.
    id: Option<NonZeroU32>,
    pub(super) session: Session,
    /// What still arrives in the session before.
    old: Option<Receiving>,
    /// Streams go on in the present session.
    continued: bool,
    pub(super) theirs: Takes,
    pub(super) streams: Streams,
    pub(super) counts: Counts,
    /// Records that this side sent in the session before.
    pub(super) sent_before: u32,
    since: Instant,
    /// No new attempt before then, on either side's initiative; of a session that is closing, its end.
    retry_at: Instant,
    failures: u8,
    initiator: bool,
    pub(super) due: Due,
    news: News,
    state: State,
}

/// Messages, counted over all sessions since the two last began anew. The numbers wrap.
#[derive(Default)]
pub(super) struct Counts {
    /// Begun by this side.
    pub(super) sent: u32,
    /// What the other side has told of them.
    told: Received,
    /// Begun by the other side, as far as this side knows, and how many of them never arrived.
    pub(super) received: Received,
}

/// Frames and records that are due.
#[derive(Default)]
pub(super) struct Due {
    /// A record, whatever is in it.
    pub(super) record: bool,
    pub(super) received: bool,
    pub(super) close: Option<CloseReason>,
}

/// What the caller has not heard yet.
#[derive(Default)]
struct News {
    unknown: u32,
    undelivered: u32,
    lost: u32,
    reset: bool,
    open: Option<bool>,
    closed: Option<CloseReason>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// The other side has not yet accepted this side's key: nothing is sent but the first record.
    Opening {
        fresh: bool,
    },
    Open,
    /// Something was or may be lost, so streams cannot go on: only a new handshake helps.
    Broken,
    /// This side has closed, and waits for the answer.
    Closing,
    /// Over; the answer to the other side's close may be due.
    Over,
}

impl Peer {
    /// The first session with a client.
    pub(super) fn new(half: &HalfOpen, session: Session) -> Self {
        Peer {
            key: half.peer.key,
            id: None,
            session,
            old: None,
            continued: false,
            theirs: half.ours.takes,
            streams: Streams::default(),
            counts: Counts::default(),
            sent_before: 0,
            since: Instant::default(),
            retry_at: Instant::default(),
            failures: 0,
            initiator: false,
            due: Due::default(),
            news: News::default(),
            state: State::Opening { fresh: true },
        }
    }

    /// Begins the session that a handshake has made; `before` is whether this client was known before it.
    pub(super) fn begin(&mut self, half: &HalfOpen, theirs: &Terms, before: bool, now: Instant) {
        let resumed = before && half.ours.previous == theirs.previous;
        self.continued = resumed && half.ours.continues && theirs.continues;
        if !resumed {
            self.news.unknown = self.news.unknown.wrapping_add(self.counts.unknown());
            self.counts = Counts::default();
            (self.old, self.sent_before) = (None, 0);
        }
        if !self.continued {
            self.streams = Streams::default();
            self.news.reset = before;
        }
        self.is_called(half.peer.id);
        (self.theirs, self.since) = (theirs.takes, now);
        (self.retry_at, self.failures) = (now.after_millis(FIRST_WAIT / 8), 0);
        self.initiator = half.role == Role::Initiator;
        // The first record of an initiator lets the responder go on; the responder's says what it has.
        let records = Due { record: true, received: !self.initiator, close: None };
        self.due = records;
        let accepted = !self.initiator || half.is_kk();
        self.state = if accepted { State::Open } else { State::Opening { fresh: !resumed } };
        self.news.open = accepted.then_some(!resumed);
    }

    /// Puts a new session in the place of the present one, of which only the receiving half is kept.
    pub(super) fn replace(&mut self, session: Session) {
        self.sent_before = self.session.sent;
        let old = core::mem::replace(&mut self.session, session);
        self.old = Some(old.into_receiving());
    }

    /// Opens a record of the present session or of the one before.
    pub(super) fn open<'b, C: crate::crypto::Crypto>(
        &mut self,
        unit: &'b mut [u8],
    ) -> Option<(Opened<'b>, bool)> {
        let label = *unit.first()?;
        if self.session.receiving.label == label {
            return Some((self.session.receiving.open::<C>(unit)?, true));
        }
        Some((self.old.as_mut()?.open::<C>(unit)?, false))
    }

    /// A record has authenticated; what it says of those before it. `false`: it breaks a rule.
    pub(super) fn arrived(
        &mut self,
        record: &Opened<'_>,
        present: bool,
        number: u32,
        sent: u32,
    ) -> bool {
        if present && record.first {
            // Nothing of the session before can come any more.
            let complete = self.old.take().is_none_or(|old| old.next == sent);
            if self.continued && !complete {
                self.breaks();
            }
        }
        if record.gap > 0 {
            self.breaks();
        }
        if let (State::Opening { fresh }, true) = (self.state, present) {
            self.state = State::Open;
            self.news.open = Some(fresh);
        }
        let lost = number.wrapping_sub(self.counts.received.next);
        if lost > u32::MAX / 2 {
            return false;
        }
        if lost > 0 {
            self.counts.received.next = number;
            self.misses(lost);
        }
        true
    }

    /// The server calls it so now.
    pub(super) fn is_called(&mut self, id: PeerId) {
        self.id = NonZeroU32::new(id.0);
    }

    /// Nothing of the session before can come any more.
    pub(super) fn retire(&mut self) {
        self.old = None;
    }

    /// Whether a record with this header has come already, or too late.
    pub(super) fn is_late(&self, header: [u8; RECORD_HEADER]) -> bool {
        let (label, counter) = inner::decode_record_header(header);
        let seen = |half: &Receiving| half.label == label && counter < half.next;
        seen(&self.session.receiving) || self.old.as_ref().is_some_and(seen)
    }

    /// Whether what the other side says does not matter any more.
    pub(super) fn is_deaf(&self) -> bool {
        self.state == State::Over
    }

    /// Messages that the other side has begun never came.
    pub(super) fn misses(&mut self, n: u32) {
        self.counts.received.missed = self.counts.received.missed.wrapping_add(n);
        self.news.lost = self.news.lost.saturating_add(n);
        self.due.received = true;
    }

    /// A message of the other side has begun.
    pub(super) fn counted(&mut self) {
        let counts = &mut self.counts;
        counts.received.next = counts.received.next.wrapping_add(1);
        if counts.received.next.is_multiple_of(TELL_EVERY) {
            self.due.received = true;
        }
    }

    /// The other side was told what has arrived.
    pub(super) fn said_received(&mut self) {
        self.due.received = false;
    }

    /// The other side tells what it has.
    pub(super) fn told(&mut self, received: Received) -> Result<(), FrameError> {
        let counts = &mut self.counts;
        let ahead = counts.sent.wrapping_sub(received.next);
        let news = received.missed.wrapping_sub(counts.told.missed);
        // Neither more than was sent, nor less than it has said before.
        if ahead > counts.unknown() || news > u32::MAX / 2 {
            return Err(FrameError::Body);
        }
        counts.told = received;
        self.news.undelivered = self.news.undelivered.saturating_add(news);
        Ok(())
    }

    /// Streams cannot go on, and messages may be missing: a new handshake settles it.
    pub(super) fn breaks(&mut self) {
        if matches!(self.state, State::Open | State::Opening { .. }) {
            self.state = State::Broken;
        }
    }

    /// The server says that it is not there: what was under way may be lost, and an answer will not come.
    pub(super) fn is_gone(&mut self) {
        if self.state == State::Closing {
            self.retry_at = Instant::default();
        }
        self.breaks();
    }

    /// The connection is another one now: what was under way may be lost.
    pub(super) fn reconnected(&mut self) {
        self.id = None;
        self.breaks();
        if self.state == State::Over {
            // There is no way left for a last word.
            self.due.close = None;
        }
    }

    /// An attempt begins; the next one has to wait.
    pub(super) fn tries(&mut self, now: Instant) {
        let doublings = self.failures.min(MOST_DOUBLINGS);
        self.retry_at =
            now.after_millis(FIRST_WAIT.checked_shl(doublings.into()).unwrap_or(u64::MAX));
        self.failures = self.failures.saturating_add(1);
    }

    /// Closes as soon as that is written.
    pub(super) fn close(&mut self, why: CloseReason, until: Instant) {
        if matches!(self.state, State::Open | State::Opening { .. } | State::Broken) {
            self.due.close = Some(why);
            (self.state, self.retry_at) = (State::Closing, until);
        }
    }

    /// The other side has closed, or answered.
    pub(super) fn closed(&mut self, why: CloseReason) {
        if self.state != State::Closing {
            self.due.close = Some(CloseReason::Answered);
        }
        self.state = State::Over;
        self.news.closed = Some(why);
    }

    /// The other side broke a rule: it is told, and nothing more comes of it.
    pub(super) fn fail(&mut self) {
        self.due.close = Some(CloseReason::Protocol);
        self.state = State::Over;
    }

    /// Whether nothing more will come or go.
    pub(super) fn is_over(&self) -> bool {
        self.state == State::Over && self.due.close.is_none() && !self.has_news()
    }

    /// A close that was not answered in time.
    pub(super) fn give_up(&mut self, now: Instant) {
        if self.state == State::Closing && now >= self.retry_at {
            self.due.close = None;
            self.state = State::Over;
            self.news.unknown = self.news.unknown.wrapping_add(self.counts.unknown());
            self.news.closed = Some(CloseReason::Done);
        }
    }

    /// Whether messages can be sent now.
    pub fn is_open(&self) -> bool {
        self.state == State::Open && self.id.is_some() && self.session.sent < MAX_RECORDS
    }

    /// Its identity.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// Its number at the present server, once that is known.
    pub fn id(&self) -> Option<PeerId> {
        self.id.map(|id| PeerId(id.get()))
    }

    /// Whether records may still leave: also the last ones.
    pub(super) fn may_seal(&self) -> bool {
        self.id.is_some() && self.session.sent < MAX_RECORDS
    }

    /// Whether a stream of the session in which a record came is one of the present streams.
    pub(super) fn streams_count(&self, present: bool) -> bool {
        (present || self.continued) && self.state != State::Broken
    }

    /// Whether the next session can take streams over.
    pub(super) fn continues(&self) -> bool {
        matches!(self.state, State::Open)
    }

    /// The wish for a new handshake and when it may be granted.
    pub(super) fn wanted_at(&self) -> Option<Instant> {
        self.id?;
        let grace = if self.initiator { 0 } else { GRACE_MILLIS };
        let stale = self.since.after_millis(STALE_MILLIS.saturating_add(grace));
        match self.state {
            State::Broken => Some(self.retry_at),
            State::Open if self.session.sent >= STALE_RECORDS => Some(self.retry_at),
            State::Open => Some(stale.max(self.retry_at)),
            _ => None,
        }
    }

    /// Whether this peer has had a handshake so lately that another one has to wait.
    pub(super) fn is_restless(&self, now: Instant) -> bool {
        self.failures == 0 && now < self.retry_at
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Closing => Some(self.retry_at),
            _ => self.wanted_at(),
        }
    }

    fn has_news(&self) -> bool {
        let News { unknown, undelivered, lost, reset, open, closed } = &self.news;
        (*unknown | *undelivered | *lost) > 0 || *reset || open.is_some() || closed.is_some()
    }

    /// What the caller has not heard yet, in the order in which it makes sense.
    pub(super) fn news(&mut self) -> Option<PeerEvent<'static>> {
        let news = &mut self.news;
        let count = |n: &mut u32, event: fn(u32) -> PeerEvent<'static>| match core::mem::take(n) {
            0 => None,
            n => Some(event(n)),
        };
        count(&mut news.unknown, PeerEvent::Unknown)
            .or_else(|| count(&mut news.undelivered, PeerEvent::Undelivered))
            .or_else(|| core::mem::take(&mut news.reset).then_some(PeerEvent::Reset))
            .or_else(|| news.open.take().map(|fresh| PeerEvent::Open { fresh }))
            .or_else(|| count(&mut news.lost, PeerEvent::Lost))
            .or_else(|| news.closed.take().map(PeerEvent::Closed))
    }
}

impl Counts {
    /// Messages of this side of which nobody knows whether they have arrived.
    fn unknown(&self) -> u32 {
        self.sent.wrapping_sub(self.told.next)
    }
}

// The goal for each peer; the figure is recorded with the footprint.
const _: () = assert!(size_of::<Peer>() <= 400);
