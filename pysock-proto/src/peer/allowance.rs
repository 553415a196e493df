//! How often something may happen: a few times at once, then at a steady pace, for each source and for all together. So
//! one source that overdoes it holds up nobody else.

use crate::{id::PeerId, time::Instant};

/// What may happen at once, and milliseconds after which it may happen once more: for one source, for all.
const ONE: (u8, u32) = (8, 125);
const ALL: (u8, u32) = (32, 31);
/// Sources that are told apart: the latest.
const SOURCES: usize = 4;

#[derive(Clone, Copy)]
struct Bucket {
    left: u8,
    since: Instant,
}

pub(super) struct Allowance {
    all: Bucket,
    sources: [(PeerId, Bucket); SOURCES],
}

impl Bucket {
    const fn new((burst, _): (u8, u32)) -> Self {
        Bucket { left: burst, since: Instant::from_millis(0) }
    }

    fn refill(&mut self, (burst, pace): (u8, u32), now: Instant) {
        let millis = u32::try_from(now.millis_since(self.since)).unwrap_or(u32::MAX);
        let more = millis.checked_div(pace).unwrap_or(0);
        if more > 0 {
            let left = u32::from(self.left).saturating_add(more).min(burst.into());
            (self.left, self.since) = (left as u8, now);
        }
    }
}

impl Allowance {
    pub(super) const fn new() -> Self {
        let nobody = (PeerId(0), Bucket::new(ONE));
        Allowance { all: Bucket::new(ALL), sources: [nobody; SOURCES] }
    }

    /// Whether it may happen now, on account of this source.
    pub(super) fn allows(&mut self, source: PeerId, now: Instant) -> bool {
        self.all.refill(ALL, now);
        let known = self.sources.iter_mut().find(|(known, _)| *known == source);
        let left = match known {
            Some((_, bucket)) => {
                bucket.refill(ONE, now);
                bucket.left
            }
            None => ONE.0,
        };
        self.all.left > 0 && left > 0
    }

    /// It has happened.
    pub(super) fn take(&mut self, source: PeerId, now: Instant) {
        self.all.left = self.all.left.saturating_sub(1);
        let known = self.sources.iter().position(|(known, _)| *known == source);
        // The source of longest ago gives way.
        let (at, fresh) = known.map_or((SOURCES.saturating_sub(1), true), |at| (at, false));
        if let Some(latest) = self.sources.get_mut(..=at) {
            latest.rotate_right(1);
        }
        if let Some(first) = self.sources.first_mut() {
            if fresh {
                *first = (source, Bucket { since: now, ..Bucket::new(ONE) });
            }
            first.1.left = first.1.left.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn many(allowance: &mut Allowance, source: u32, now: u64) -> usize {
        let now = Instant::from_millis(now);
        let happens = |_: &usize| {
            let may = allowance.allows(PeerId(source), now);
            if may {
                allowance.take(PeerId(source), now);
            }
            may
        };
        (0..100).filter(happens).count()
    }

    #[test]
    fn one_source_that_overdoes_it_holds_up_nobody_else() {
        let mut allowance = Allowance::new();
        assert_eq!(many(&mut allowance, 1, 1_000), 8);
        assert_eq!(many(&mut allowance, 1, 1_124), 0);
        assert_eq!(many(&mut allowance, 2, 1_124), 8);
        assert_eq!(many(&mut allowance, 1, 1_125), 1);
        assert_eq!(many(&mut allowance, 1, 2_125), 8);
    }

    #[test]
    fn many_sources_share_what_all_may() {
        let mut allowance = Allowance::new();
        let all: usize = (1..100).map(|source| many(&mut allowance, source, 1_000)).sum();
        assert_eq!(all, 32);
    }
}
