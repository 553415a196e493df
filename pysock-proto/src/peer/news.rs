//! What the caller has not heard yet of a session: a few counters and flags, so that nothing is forgotten and nothing grows.

use super::event::PeerEvent;
use crate::error::{CloseReason, PeerError};

/// What the caller has not heard yet.
#[derive(Default)]
pub(super) struct News {
    pub(super) unknown: u32,
    pub(super) undelivered: u32,
    pub(super) lost: u32,
    pub(super) reset: bool,
    pub(super) open: Option<bool>,
    pub(super) over: Option<Over>,
}

/// How a session ended.
#[derive(Clone, Copy)]
pub(super) enum Over {
    Closed(CloseReason),
    Unanswered,
    Failed(PeerError),
}

impl News {
    /// Whether there is anything.
    pub(super) fn is_some(&self) -> bool {
        let News { unknown, undelivered, lost, reset, open, over } = self;
        let counts = (*unknown | *undelivered | *lost) > 0;
        counts || *reset || open.is_some() || over.is_some()
    }

    /// What the caller has not heard yet, in the order in which it makes sense.
    pub(super) fn next(&mut self) -> Option<PeerEvent<'static>> {
        let news = self;
        let count = |n: &mut u32, event: fn(u32) -> PeerEvent<'static>| match core::mem::take(n) {
            0 => None,
            n => Some(event(n)),
        };
        count(&mut news.unknown, PeerEvent::Unknown)
            .or_else(|| count(&mut news.undelivered, PeerEvent::Undelivered))
            .or_else(|| news.open.and_then(|_| news.over.take()).map(Over::event))
            .or_else(|| core::mem::take(&mut news.reset).then_some(PeerEvent::Reset))
            .or_else(|| news.open.take().map(|fresh| PeerEvent::Open { fresh }))
            .or_else(|| count(&mut news.lost, PeerEvent::Lost))
            .or_else(|| news.over.take().map(Over::event))
    }
}

impl Over {
    fn event(self) -> PeerEvent<'static> {
        match self {
            Over::Closed(why) => PeerEvent::Closed(why),
            Over::Unanswered => PeerEvent::Unanswered,
            Over::Failed(why) => PeerEvent::Failed(why),
        }
    }
}
