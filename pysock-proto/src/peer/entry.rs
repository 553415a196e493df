//! One other client: the session with it, and what outlives sessions.

mod pace;

use core::num::NonZeroU32;

use super::{
    counts::Counts,
    event::PeerEvent,
    half::{First, HalfOpen},
    news::{News, Over},
    session::{MAX_RECORDS, Opened, Receiving, Session},
};
use crate::{
    error::{CloseReason, FrameError, PeerError},
    id::PeerId,
    key::PublicKey,
    limits::CLOSE_MILLIS,
    noise::Role,
    stream::Streams,
    time::Instant,
    wire::inner::{self, Attempt, RECORD_HEADER, Received, Takes, Terms},
};

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
    /// When the session began, in units of 1024 milliseconds.
    since: u32,
    /// No new attempt before then, on either side's initiative; of a session that is opening or closing, the end of
    /// that.
    retry_at: Instant,
    failures: u8,
    /// Sessions in a row that were replaced soon after they began.
    short_lived: u8,
    initiator: bool,
    pub(super) due: Due,
    news: News,
    state: State,
}

/// Frames and records that are due.
#[derive(Default)]
pub(super) struct Due {
    /// A record, whatever is in it.
    pub(super) record: bool,
    pub(super) received: bool,
    pub(super) close: Option<CloseReason>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// The other side has not yet accepted this side's key: nothing is sent but the first record.
    Opening {
        fresh: bool,
        /// The other side has asked for patience.
        waits: bool,
    },
    Open,
    /// Something was or may be lost, so streams cannot go on: only a new handshake helps.
    Broken {
        /// That it began anew the caller has not heard yet.
        fresh: bool,
    },
    /// This side has closed, and waits for the answer.
    Closing {
        broken: bool,
    },
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
            since: 0,
            retry_at: Instant::default(),
            failures: 0,
            short_lived: 0,
            initiator: false,
            due: Due::default(),
            news: News::default(),
            state: State::Opening { fresh: true, waits: false },
        }
    }

    /// Begins the session that a handshake has made; `before` is whether this client was known before it.
    pub(super) fn begin(&mut self, half: &HalfOpen, theirs: &Terms, before: bool, now: Instant) {
        let is_same = half.ours.previous == theirs.previous && theirs.previous != [0; 8];
        let resumed = before && is_same;
        let was_broken = matches!(self.state, State::Broken { .. });
        // The session before may have begun anew, and never opened.
        let unheard = before
            && matches!(
                self.state,
                State::Opening { fresh: true, .. } | State::Broken { fresh: true }
            );
        let fresh = !resumed || unheard;
        self.continued = resumed && half.ours.continues && theirs.continues;
        if !resumed {
            self.forgotten();
            self.counts = Counts::default();
            (self.old, self.sent_before) = (None, 0);
        }
        if !self.continued {
            match resumed {
                true => self.cut_off(),
                false => self.streams = Streams::default(),
            }
            self.news.reset = before;
        }
        self.is_called(half.peer.id);
        self.theirs = theirs.takes;
        self.starts(before, now);
        self.initiator = half.role == Role::Initiator;
        // The first record of an initiator lets the responder go on. Both say what they have, for what they have said
        // of it before may be lost.
        self.due = Due { record: true, received: true, close: None };
        let accepted = !self.initiator || half.is_kk();
        self.news.open = accepted.then_some(fresh);
        self.state = State::Open;
        if !accepted {
            self.state = State::Opening { fresh, waits: half.waits };
            self.retry_at = half.deadline;
        }
        if was_broken && self.continued {
            // It broke after this side had promised to go on with its streams: the next handshake takes that back.
            (self.state, self.news.open) = (State::Broken { fresh: unheard }, None);
        }
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
        first: First,
        now: Instant,
    ) -> bool {
        let First { number, records } = first;
        if present {
            // Nothing of the session before can come any more: it would be older than this.
            let complete = self.old.take().is_none_or(|old| record.first && old.next() == records);
            if self.continued && !complete {
                self.breaks();
            }
        }
        if record.gap > 0 {
            self.breaks();
        }
        if let (State::Opening { fresh, .. }, true) = (self.state, present) {
            self.state = State::Open;
            self.retry_at = now.after_millis(self.pause());
            self.news.open = Some(fresh);
        }
        // Not open any more, or not again: but what follows belongs to the new beginning. So does what comes in the session
        // before: if that one were not part of it, its keys would be gone.
        if let State::Opening { fresh: fresh @ true, .. } | State::Broken { fresh: fresh @ true } =
            &mut self.state
        {
            *fresh = false;
            self.news.open = Some(true);
        }
        let Some(lost) = self.counts.passed_over(number) else { return false };
        self.misses(lost);
        true
    }

    /// The server calls it so now.
    pub(super) fn is_called(&mut self, id: PeerId) {
        self.id = NonZeroU32::new(id.0);
    }

    /// Whether a record with this header has come already, or too late.
    pub(super) fn is_late(&self, header: [u8; RECORD_HEADER]) -> bool {
        let (label, counter) = inner::decode_record_header(header);
        let seen = |half: &Receiving| half.label == label && counter < half.next();
        seen(&self.session.receiving) || self.old.as_ref().is_some_and(seen)
    }

    /// Whether what the other side says does not matter any more.
    pub(super) fn is_deaf(&self) -> bool {
        self.state == State::Over
    }

    /// Messages that the other side has begun never came.
    pub(super) fn misses(&mut self, n: u32) {
        if n == 0 {
            return;
        }
        self.counts.missed(n);
        self.news.lost = self.news.lost.saturating_add(n);
        self.due.received = true;
    }

    /// A message of the other side has begun.
    pub(super) fn counted(&mut self) {
        if self.counts.arrived() {
            self.due.received = true;
        }
    }

    /// The other side was told what has arrived.
    pub(super) fn said_received(&mut self) {
        self.due.received = false;
    }

    /// The other side tells what it has.
    pub(super) fn told(&mut self, received: Received) -> Result<(), FrameError> {
        let undelivered = self.counts.told(received).ok_or(FrameError::Body)?;
        self.news.undelivered = self.news.undelivered.saturating_add(undelivered);
        Ok(())
    }

    /// Streams cannot go on, and messages may be missing: a new handshake settles it.
    #[inline(never)] // One copy for its many callers: 0.2 KiB of flash.
    pub(super) fn breaks(&mut self) {
        if matches!(self.state, State::Opening { .. }) {
            self.retry_at = Instant::default();
        }
        match &mut self.state {
            State::Open => self.state = State::Broken { fresh: false },
            State::Opening { fresh, .. } => self.state = State::Broken { fresh: *fresh },
            State::Closing { broken } => *broken = true,
            State::Broken { .. } | State::Over => {}
        }
    }

    /// The server says that it is not there: what was under way may be lost, and an answer will not come.
    pub(super) fn is_gone(&mut self) {
        if matches!(self.state, State::Closing { .. }) {
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

    /// Closes as soon as that is written.
    pub(super) fn close(&mut self, why: CloseReason, until: Instant) {
        match self.state {
            // Before it is accepted, this side says nothing.
            State::Opening { .. } => {
                self.ends();
                self.due = Due::default();
                self.news.over = Some(Over::Closed(why));
            }
            State::Open | State::Broken { .. } => {
                self.cut_off();
                self.due.close = Some(why);
                (self.state, self.retry_at) = (State::Closing { broken: true }, until);
            }
            State::Closing { .. } | State::Over => {}
        }
    }

    /// The close has left, and the time for its answer begins: it may have waited for room.
    pub(super) fn said_close(&mut self, now: Instant) {
        self.due.close = None;
        if matches!(self.state, State::Closing { .. }) {
            self.retry_at = now.after_millis(CLOSE_MILLIS);
        }
    }

    /// Streams will not go on. What has begun to arrive and will not end is as good as lost.
    fn cut_off(&mut self) {
        self.misses(self.streams.receiving());
        self.streams = Streams::default();
    }

    /// The other side has closed, or answered.
    pub(super) fn closed(&mut self, why: CloseReason) {
        if !matches!(self.state, State::Closing { .. }) {
            self.due.close = Some(CloseReason::Answered);
        }
        self.cut_off();
        self.ends();
        self.news.over = Some(Over::Closed(why));
    }

    /// The other side broke a rule: it is told, and nothing more comes of it.
    pub(super) fn fail(&mut self) {
        if self.state != State::Over {
            self.due.close = Some(CloseReason::Protocol);
            self.ends();
        }
    }

    /// Nobody will tell any more what became of these messages. Of a stream that was sent to its end, only its `Done` says
    /// that it arrived.
    fn forgotten(&mut self) {
        let unconfirmed = self.counts.unknown().saturating_add(self.streams.unconfirmed());
        self.news.unknown = self.news.unknown.saturating_add(unconfirmed);
    }

    /// Nobody will tell any more what arrived.
    fn ends(&mut self) {
        self.state = State::Over;
        self.forgotten();
        self.counts.close();
    }

    /// The other side has not accepted this side's key, or somebody says so.
    pub(super) fn rejected(&mut self, why: PeerError) {
        let State::Opening { fresh, .. } = self.state else { return };
        self.news.over = Some(Over::Failed(why));
        if fresh {
            self.ends();
        } else {
            self.state = State::Broken { fresh: false };
        }
    }

    /// Whether the other side has still to accept this side's key, in the session that is called so.
    pub(super) fn is_opening(&self, name: Attempt) -> bool {
        matches!(self.state, State::Opening { .. }) && self.session.id.starts_with(&name)
    }

    /// Somebody has to be asked on the other side: once.
    pub(super) fn has_patience(&mut self, until: Instant) -> bool {
        match &mut self.state {
            State::Opening { waits, .. } if !*waits => {
                *waits = true;
                self.retry_at = until;
                true
            }
            _ => false,
        }
    }

    /// Whether this session is ending: the next one has nothing to do with it.
    fn is_ending(&self) -> bool {
        matches!(self.state, State::Closing { .. } | State::Over)
    }

    /// The session that the next one follows.
    pub(super) fn previous(&self) -> [u8; 8] {
        if self.is_ending() { [0; 8] } else { self.session.id }
    }

    /// Whether frames may leave.
    pub(super) fn may_speak(&self) -> bool {
        !matches!(self.state, State::Opening { .. })
    }

    /// Whether nothing more will come or go.
    pub(super) fn is_over(&self) -> bool {
        let silent = self.due.close.is_none() || !self.may_seal();
        self.state == State::Over && silent && !self.news.is_some()
    }

    /// A close that was not answered in time, or a key that was not accepted in time.
    pub(super) fn give_up(&mut self, now: Instant) {
        if now < self.retry_at {
            return;
        }
        if matches!(self.state, State::Closing { .. }) {
            self.due.close = None;
            self.ends();
            self.news.over = Some(Over::Unanswered);
        }
        self.rejected(PeerError::TimedOut);
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
    pub(crate) fn may_seal(&self) -> bool {
        self.id.is_some() && self.session.sent < MAX_RECORDS
    }

    /// Whether a stream of the session in which a record came is one of the present streams.
    pub(super) fn streams_count(&self, present: bool) -> bool {
        let broken = matches!(self.state, State::Broken { .. } | State::Closing { broken: true });
        (present || self.continued) && !broken
    }

    /// Whether the next session can take streams over.
    pub(super) fn continues(&self) -> bool {
        matches!(self.state, State::Open)
    }

    /// What the caller has not heard yet.
    pub(super) fn news(&mut self) -> Option<PeerEvent<'static>> {
        self.news.next()
    }
}

// The goal for each peer; the figure is recorded with the footprint.
const _: () = assert!(size_of::<Peer>() <= 400);
