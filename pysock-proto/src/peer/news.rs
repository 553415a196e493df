//! What the caller has not heard yet of a session: a few counters and flags, so that nothing is forgotten and nothing grows.

use core::mem::take;

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
    #[inline(never)] // As part of its caller it would take some 80 bytes more flash.
    pub(super) fn next(&mut self) -> Option<PeerEvent<'static>> {
        let news = self;
        Some(if news.unknown > 0 {
            PeerEvent::Unknown(take(&mut news.unknown))
        } else if news.undelivered > 0 {
            PeerEvent::Undelivered(take(&mut news.undelivered))
        } else if news.open.is_some() && news.over.is_some() {
            news.over.take()?.event()
        } else if take(&mut news.reset) {
            PeerEvent::Reset
        } else if let Some(fresh) = news.open.take() {
            PeerEvent::Open { fresh }
        } else if news.lost > 0 {
            PeerEvent::Lost(take(&mut news.lost))
        } else {
            news.over.take()?.event()
        })
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
