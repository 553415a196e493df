//! One message larger than a record, on its way out part by part.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};
use pysock_proto::{Failure, SendError, StreamId};
use tokio::time::Instant;

use super::ways::Out;
use crate::{
    outbox::{Body, Outgoing, Report, Sequence},
    transfer::{Chunk, Part, Parts},
};

/// Where the rest of a large message comes from.
enum Source {
    Whole(Bytes),
    Parts {
        parts: Parts,
        current: Option<Chunk>,
        complete: bool,
    },
    /// Nowhere any more.
    GivenUp(Failure),
}

/// A large message that is being sent.
pub(super) struct Active {
    pub(super) stream: StreamId,
    /// What has to wait for its end.
    pub(super) sequence: Sequence,
    source: Source,
    pub(super) cost: usize,
    report: Report,
    /// Since when the receiver has granted too little credit, and what it has taken since, in bytes.
    slow: Option<(Instant, usize)>,
    /// Since when its source is watched, and what it has given since, in bytes.
    watched: (Instant, usize),
    /// What was queued of the same sequence since.
    pub(super) behind: VecDeque<Outgoing>,
}

/// What one turn of a large message did.
pub(super) enum Step {
    Sent,
    /// No credit, or no part there yet.
    Nothing,
    Full,
    Over,
}

impl Active {
    /// The message `item`, which was begun as `stream`.
    pub(super) fn new(stream: StreamId, item: Outgoing) -> Self {
        let (sequence, cost) = (item.sequence(), item.cost());
        let source = match item.body {
            Body::Whole(bytes) => Source::Whole(bytes),
            Body::Parts(parts) => Source::Parts { parts, current: None, complete: false },
            Body::Joined(_) | Body::Packed(_) | Body::Failed(_) => Source::Whole(Bytes::new()),
        };
        let (report, behind) = (item.report, VecDeque::new());
        let watched = (Instant::now(), 0);
        Active { stream, sequence, source, cost, report, slow: None, watched, behind }
    }

    /// It is another client's, which has to give the rest of it.
    fn is_relayed(&self) -> bool {
        self.sequence.1.is_some() && matches!(self.source, Source::Parts { complete: false, .. })
    }

    /// Since when its source is watched, if it is another client.
    pub(super) fn watched_since(&self) -> Option<Instant> {
        self.is_relayed().then_some(self.watched.0)
    }

    /// Watches its source anew. Says what it has given in the time before, in bytes.
    pub(super) fn watch(&mut self, now: Instant) -> usize {
        std::mem::replace(&mut self.watched, (now, 0)).1
    }

    /// Its source has to go on.
    pub(super) fn is_starved(&self) -> bool {
        matches!(&self.source, Source::Parts { parts, current: None, .. } if parts.is_starved())
    }

    /// Its source does not go on, and others want its number.
    pub(super) fn give_up(&mut self) {
        let gone = Source::GivenUp(Failure::Incomplete);
        if let Source::Parts { parts, .. } = std::mem::replace(&mut self.source, gone) {
            parts.refuse(Failure::Busy);
        }
    }

    /// Since when its receiver holds up others, to whom the same message is going.
    pub(super) fn holds_up_since(&self) -> Option<Instant> {
        match &self.source {
            Source::Parts { parts, .. } if parts.published => Some(self.slow?.0),
            _ => None,
        }
    }

    /// The connection is over before its end. Gives what has waited for that.
    pub(super) fn lost(self) -> VecDeque<Outgoing> {
        self.report.tell(Failure::Cancelled);
        self.behind
    }

    /// The receiver wants no more of it. Gives what has waited for its end.
    pub(super) fn stopped(self, why: Failure) -> VecDeque<Outgoing> {
        self.report.tell(why);
        if let Source::Parts { parts, .. } = self.source {
            parts.refuse(why);
        }
        self.behind
    }

    /// Sends the next part, if there is one and it may be sent.
    pub(super) fn advance(&mut self, out: &mut impl Out, least: usize) -> Step {
        let rest = match &mut self.source {
            Source::Whole(bytes) if bytes.is_empty() => return self.end(out),
            Source::Whole(bytes) => bytes,
            Source::Parts { complete: true, .. } => return self.end(out),
            Source::GivenUp(why) => {
                let why = *why;
                return self.abort(why, out);
            }
            Source::Parts { parts, current, complete } => {
                if current.is_none() {
                    match parts.try_next() {
                        None => {
                            // The receiver has all there is.
                            self.slow = None;
                            return Step::Nothing;
                        }
                        Some(Part::Chunk(chunk)) if chunk.bytes.is_empty() => return Step::Sent,
                        Some(Part::Chunk(chunk)) => {
                            self.watched.1 += chunk.bytes.len();
                            *current = Some(chunk);
                        }
                        Some(Part::End) => {
                            *complete = true;
                            return Step::Sent;
                        }
                        Some(Part::Aborted(why)) => return self.abort(why, out),
                    }
                }
                match current {
                    Some(chunk) => &mut chunk.bytes,
                    None => return Step::Nothing,
                }
            }
        };
        match out.chunk(self.stream, rest) {
            Ok(n) => {
                rest.advance(n);
                if let Some((_, taken)) = &mut self.slow {
                    *taken += n;
                    if *taken >= least {
                        self.slow = None;
                    }
                }
                if let Source::Parts { current, .. } = &mut self.source
                    && current.as_ref().is_some_and(|chunk| chunk.bytes.is_empty())
                {
                    *current = None;
                }
                Step::Sent
            }
            Err(SendError::Full(_)) => Step::Full,
            Err(SendError::NoCredit) => {
                self.slow.get_or_insert_with(|| (Instant::now(), 0));
                Step::Nothing
            }
            Err(SendError::NotOpen) => Step::Nothing,
            // The program wrote more than it declared.
            Err(_) => self.abort(Failure::Cancelled, out),
        }
    }

    fn end(&mut self, out: &mut impl Out) -> Step {
        match out.end(self.stream) {
            Ok(()) => {
                if let Source::Parts { parts, .. } = &self.source {
                    parts.sent();
                }
                Step::Over
            }
            Err(SendError::NoStream) => Step::Over,
            Err(SendError::Full(_)) => Step::Full,
            Err(SendError::NotOpen) => Step::Nothing,
            // The program wrote less than it declared.
            Err(_) => self.abort(Failure::Cancelled, out),
        }
    }

    fn abort(&mut self, why: Failure, out: &mut impl Out) -> Step {
        match out.abort(self.stream, why) {
            Err(SendError::Full(_)) => {
                // Again with the next room.
                if let Source::Parts { current, .. } = &mut self.source {
                    *current = None;
                }
                Step::Full
            }
            _ => {
                std::mem::replace(&mut self.report, Report::Nobody).tell(why);
                Step::Over
            }
        }
    }
}
