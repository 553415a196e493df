//! What a message of the soak says: which one it is, and then bytes that follow from that, so that nothing can be
//! lost, doubled or altered unnoticed.

/// What is done, and where order is kept: for each kind, sender and place.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Kind {
    /// To the server.
    OneWay,
    /// A mebibyte for the server, read while it arrives.
    Large,
    /// A question, and its answer.
    Ask,
    /// To every client on a channel.
    Publish,
    /// To a client by its name, sometimes a mebibyte.
    Relay,
    /// To a client, end to end.
    Sealed,
}

const KINDS: [Kind; 6] =
    [Kind::OneWay, Kind::Large, Kind::Ask, Kind::Publish, Kind::Relay, Kind::Sealed];

/// A lane: messages of one kind, from one sender, to one place (a channel's or a client's number; 0 is the server).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Lane {
    pub(super) kind: Kind,
    pub(super) from: u32,
    pub(super) to: u32,
}

/// Which message it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stamp {
    pub(super) lane: Lane,
    pub(super) number: u64,
}

/// Kind, from, to, number, length of what follows.
const HEAD: usize = 1 + 4 + 4 + 8 + 4;
/// What small messages have at most beyond their head.
const SMALL: u64 = 300;
/// A large message, with its head.
pub(super) const LARGE: usize = 1 << 20;

/// Mixes bits well (SplitMix64).
pub(super) fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Stamp {
    fn seed(self) -> u64 {
        let Lane { kind, from, to } = self.lane;
        mix(mix(u64::from(from) << 32 | u64::from(to)) ^ (self.number << 3 | kind as u64))
    }

    /// The message.
    pub(super) fn message(self, large: bool) -> Vec<u8> {
        let seed = self.seed();
        let length = if large { LARGE - HEAD } else { (seed % SMALL) as usize };
        let mut out = Vec::with_capacity(HEAD + length + 8);
        out.push(self.lane.kind as u8);
        out.extend_from_slice(&self.lane.from.to_le_bytes());
        out.extend_from_slice(&self.lane.to.to_le_bytes());
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&(length as u32).to_le_bytes());
        let mut word = 0;
        while out.len() < HEAD + length {
            out.extend_from_slice(&mix(seed ^ word).to_le_bytes());
            word += 1;
        }
        out.truncate(HEAD + length);
        out
    }

    /// Which message it is, if it is one, to the last byte.
    pub(super) fn of(message: &[u8]) -> Option<Self> {
        let (kind, rest) = message.split_first()?;
        let (from, rest) = rest.split_first_chunk()?;
        let (to, rest) = rest.split_first_chunk()?;
        let number = u64::from_le_bytes(*rest.first_chunk()?);
        let kind = *KINDS.get(usize::from(*kind))?;
        let (from, to) = (u32::from_le_bytes(*from), u32::from_le_bytes(*to));
        let stamp = Stamp { lane: Lane { kind, from, to }, number };
        (stamp.message(message.len() == LARGE) == message).then_some(stamp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_says_which_it_is_and_nothing_of_it_may_change() {
        let lane = Lane { kind: Kind::Relay, from: 7, to: 9 };
        for (number, large) in [(0, false), (1, false), (u64::MAX, false), (5, true)] {
            let stamp = Stamp { lane, number };
            let message = stamp.message(large);
            assert_eq!(Stamp::of(&message), Some(stamp));
            for at in [0, 1, 5, 9, 17, message.len() - 1] {
                let mut altered = message.clone();
                altered[at] ^= 1;
                assert_ne!(Stamp::of(&altered), Some(stamp), "byte {at}");
            }
            assert_eq!(Stamp::of(&message[..message.len() - 1]), None);
            assert_eq!(Stamp::of(&[&message[..], &[0]].concat()), None);
        }
        assert_eq!(Stamp::of(&[]), None);
    }
}
