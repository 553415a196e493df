//! The count of messages, which outlives sessions.

use crate::wire::inner::Received;

/// Messages received after which the other side is told how many, if nothing else says so.
const TELL_EVERY: u32 = 64;

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

impl Counts {
    /// Messages of this side of which nobody knows whether they have arrived.
    pub(super) fn unknown(&self) -> u32 {
        self.sent.wrapping_sub(self.told.next)
    }

    /// Nobody will tell any more what arrived.
    pub(super) fn close(&mut self) {
        self.told.next = self.sent;
    }

    /// The other side tells what it has: so many more of this side's messages never arrived. `None`: it breaks a rule.
    pub(super) fn told(&mut self, received: Received) -> Option<u32> {
        let ahead = self.sent.wrapping_sub(received.next);
        let undelivered = received.missed.wrapping_sub(self.told.missed);
        // Neither more than was sent, nor less than it has said before.
        if ahead > self.unknown() || undelivered > u32::MAX / 2 {
            return None;
        }
        self.told = received;
        Some(undelivered)
    }

    /// The other side's next message has this number: so many before it never came. `None`: it breaks a rule.
    pub(super) fn passed_over(&mut self, number: u32) -> Option<u32> {
        let lost = number.wrapping_sub(self.received.next);
        if lost > u32::MAX / 2 {
            return None;
        }
        self.received.next = number;
        Some(lost)
    }

    /// Messages that the other side has begun never came.
    pub(super) fn missed(&mut self, n: u32) {
        self.received.missed = self.received.missed.wrapping_add(n);
    }

    /// A message of the other side has begun: whether it is time to tell how many.
    pub(super) fn arrived(&mut self) -> bool {
        self.received.next = self.received.next.wrapping_add(1);
        self.received.next.is_multiple_of(TELL_EVERY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(next: u32, missed: u32) -> Received {
        Received { next, missed }
    }

    #[test]
    fn nobody_can_have_more_than_was_sent_nor_less_than_before() {
        let mut counts = Counts { sent: 10, ..Counts::default() };
        assert_eq!(counts.told(received(11, 0)), None);
        assert_eq!(counts.told(received(4, 1)), Some(1));
        assert_eq!(counts.unknown(), 6);
        assert_eq!(counts.told(received(3, 1)), None);
        assert_eq!(counts.told(received(4, 0)), None);
        assert_eq!(counts.told(received(10, 3)), Some(2));
        assert_eq!(counts.unknown(), 0);
        counts.sent += 1;
        counts.close();
        assert_eq!(counts.unknown(), 0);
    }

    #[test]
    fn numbers_wrap_and_half_of_them_are_ahead() {
        let half = u32::MAX / 2;
        for start in [0, half, u32::MAX] {
            let counts = || Counts {
                sent: start,
                told: received(start, start),
                received: received(start, 0),
            };
            assert_eq!(counts().told(received(start, start.wrapping_add(half))), Some(half));
            assert_eq!(counts().told(received(start, start.wrapping_add(half + 1))), None);
            assert_eq!(counts().passed_over(start.wrapping_add(half)), Some(half));
            assert_eq!(counts().passed_over(start.wrapping_add(half + 1)), None);
        }
    }
}
