//! What owner and members tell each other about a group, and the header of a message to it.

use core::fmt;

use super::GroupError;
use crate::{
    id::{MAX_NAME, Name},
    key::PublicKey,
    wire::{Reader, Writer},
};

/// Length of what a message to a group begins with.
pub const HEADER: usize = 16 + 4 + 4;
/// Length of the longest control body: one member of a snapshot.
pub const MAX_CONTROL: usize = 16 + 4 + 1 + 2 + 4 + 32 + 1 + MAX_NAME;

/// A group: 16 random bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub [u8; 16]);

impl GroupId {
    /// Which group a message or a control body is about. Both begin with it.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        bytes.first_chunk().map(|id| GroupId(*id))
    }
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One thing to tell about a group, in the epoch that it leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Control {
    /// The group.
    pub group: GroupId,
    /// From the owner: the epoch in which it holds. From a member: the member's own epoch.
    pub epoch: u32,
    /// What it says.
    pub op: Op,
}

/// What a [`Control`] says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    /// Owner: a snapshot follows, that is, the whole group.
    Begin {
        /// What the owner calls the group.
        label: Name,
        /// How many members follow.
        members: u16,
    },
    /// Owner: the next member of the snapshot, by rising key.
    Member {
        /// From 0 upwards.
        index: u16,
        /// The epoch in which it was added.
        since: u32,
        /// Its key.
        key: PublicKey,
        /// What the owner calls it.
        name: Name,
    },
    /// Owner: the snapshot is complete and holds from now on. Its receiver may receive.
    Joined,
    /// Owner: everybody has been told of the receiver, which may send from now on.
    Active,
    /// Owner: there is one more member, or one begins anew.
    Added {
        /// Its key.
        key: PublicKey,
        /// What the owner calls it.
        name: Name,
    },
    /// Owner: somebody, perhaps the receiver, is not a member any more.
    Removed(PublicKey),
    /// Owner: the group is no more.
    Dissolved,
    /// Member: it does not want to be one any more.
    Leave,
    /// Member: it wants a snapshot. Epoch 0: it remembers nothing.
    Stale,
}

/// The bytes of a [`Control`]: the body of a request on
/// [`GROUP_CONTROL`](crate::peer::channel::GROUP_CONTROL).
pub struct ControlBytes(Writer<MAX_CONTROL>);

impl ControlBytes {
    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        self.0.as_slice()
    }
}

mod code {
    pub(super) const BEGIN: u8 = 1;
    pub(super) const MEMBER: u8 = 2;
    pub(super) const JOINED: u8 = 3;
    pub(super) const ACTIVE: u8 = 4;
    pub(super) const ADDED: u8 = 5;
    pub(super) const REMOVED: u8 = 6;
    pub(super) const DISSOLVED: u8 = 7;
    pub(super) const LEAVE: u8 = 0x81;
    pub(super) const STALE: u8 = 0x82;
}

fn put_name(to: &mut Writer<MAX_CONTROL>, name: &Name) {
    let text = name.as_bytes();
    // A name has at most 32 bytes.
    to.put(&[text.len() as u8]).put(text);
}

fn take_name(from: &mut Reader<'_>) -> Option<Name> {
    let len = from.u8()?;
    Name::from_bytes(from.bytes(len.into())?).ok()
}

impl Control {
    /// The bytes to send.
    pub fn encode(&self) -> ControlBytes {
        let mut to = Writer::new();
        to.put(&self.group.0).put(&self.epoch.to_be_bytes());
        match &self.op {
            Op::Begin { label, members } => {
                to.put(&[code::BEGIN]).put(&members.to_be_bytes());
                put_name(&mut to, label);
            }
            Op::Member { index, since, key, name } => {
                to.put(&[code::MEMBER]).put(&index.to_be_bytes()).put(&since.to_be_bytes());
                to.put(&key.0);
                put_name(&mut to, name);
            }
            Op::Added { key, name } => {
                to.put(&[code::ADDED]).put(&key.0);
                put_name(&mut to, name);
            }
            Op::Removed(key) => {
                to.put(&[code::REMOVED]).put(&key.0);
            }
            Op::Joined => drop(to.put(&[code::JOINED])),
            Op::Active => drop(to.put(&[code::ACTIVE])),
            Op::Dissolved => drop(to.put(&[code::DISSOLVED])),
            Op::Leave => drop(to.put(&[code::LEAVE])),
            Op::Stale => drop(to.put(&[code::STALE])),
        }
        ControlBytes(to)
    }

    /// Reads what somebody sent.
    ///
    /// # Errors
    /// [`GroupError::Malformed`]: it is cut short, too long, or breaks a rule.
    pub fn decode(bytes: &[u8]) -> Result<Self, GroupError> {
        Self::take(bytes).ok_or(GroupError::Malformed)
    }

    fn take(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader(bytes);
        let (group, epoch) = (GroupId(from.array()?), from.u32()?);
        let op = match from.u8()? {
            code::BEGIN => {
                let members = from.u16()?;
                Op::Begin { label: take_name(&mut from)?, members }
            }
            code::MEMBER => Op::Member {
                index: from.u16()?,
                since: from.u32()?,
                key: take_key(&mut from)?,
                name: take_name(&mut from)?,
            },
            code::JOINED => Op::Joined,
            code::ACTIVE => Op::Active,
            code::ADDED => Op::Added { key: take_key(&mut from)?, name: take_name(&mut from)? },
            code::REMOVED => Op::Removed(take_key(&mut from)?),
            code::DISSOLVED => Op::Dissolved,
            code::LEAVE => Op::Leave,
            code::STALE => Op::Stale,
            _ => return None,
        };
        from.0.is_empty().then_some(Control { group, epoch, op })
    }
}

/// A key in its one encoding: in another one it would be a member that no session can prove.
fn take_key(from: &mut Reader<'_>) -> Option<PublicKey> {
    from.array().map(PublicKey).filter(PublicKey::is_canonical)
}

/// The answer to a [`Control`], as the owner or the member gets it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// It is done. An empty reply.
    Done,
    /// The member's view is too old for a change: it takes a snapshot.
    Stale,
    /// It was refused. Also every code that this version does not know.
    Refused,
    /// Who answers is not in the group any more; or, if the owner answers, who asked is not.
    Gone,
    /// The member does not know the group, though it was added some time ago: it wants to begin anew.
    Forgotten,
    /// There was no answer. Never travels.
    Failed,
}

impl Answer {
    /// Reads the body of a reply.
    pub fn from_reply(bytes: &[u8]) -> Self {
        match bytes {
            [] => Answer::Done,
            [1] => Answer::Stale,
            [3] => Answer::Gone,
            [4] => Answer::Forgotten,
            _ => Answer::Refused,
        }
    }

    /// The body of the reply that says so.
    pub const fn as_reply(self) -> &'static [u8] {
        match self {
            Answer::Done => &[],
            Answer::Stale => &[1],
            Answer::Refused | Answer::Failed => &[2],
            Answer::Gone => &[3],
            Answer::Forgotten => &[4],
        }
    }
}

impl<T> From<&Result<T, GroupError>> for Answer {
    /// How to answer a control body after [`Group::apply`](super::Group::apply) or
    /// [`Group::join`](super::Group::join).
    fn from(result: &Result<T, GroupError>) -> Self {
        match result {
            Ok(_) => Answer::Done,
            Err(GroupError::Stale) => Answer::Stale,
            Err(GroupError::Over | GroupError::NotMember) => Answer::Gone,
            Err(GroupError::Forgotten) => Answer::Forgotten,
            Err(_) => Answer::Refused,
        }
    }
}

/// What a message to a group begins with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Header {
    pub(super) group: GroupId,
    pub(super) epoch: u32,
    pub(super) id: u32,
}

impl Header {
    pub(super) fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        let parts = [&self.group.0[..], &self.epoch.to_be_bytes(), &self.id.to_be_bytes()];
        for (to, from) in bytes.iter_mut().zip(parts.into_iter().flatten()) {
            *to = *from;
        }
        bytes
    }

    /// The header, and what follows it.
    pub(super) fn decode(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let mut from = Reader(bytes);
        let header = Header { group: GroupId(from.array()?), epoch: from.u32()?, id: from.u32()? };
        // Numbers begin with 1: 0 stands for none.
        (header.id != 0).then_some((header, from.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    extern crate std;
    use std::vec::Vec;

    fn every_op() -> [Op; 9] {
        let (key, name) = (PublicKey([7; 32]), Name::from_bytes(&[b'n'; MAX_NAME]).unwrap());
        [
            Op::Begin { label: name, members: 300 },
            Op::Member { index: 299, since: 70_000, key, name },
            Op::Joined,
            Op::Active,
            Op::Added { key, name },
            Op::Removed(key),
            Op::Dissolved,
            Op::Leave,
            Op::Stale,
        ]
    }

    #[test]
    fn a_control_round_trips_and_cut_or_longer_is_refused() {
        let mut longest = 0;
        for op in every_op() {
            let control = Control { group: GroupId([1; 16]), epoch: 0x0102_0304, op };
            let bytes = control.encode();
            let bytes = bytes.as_slice();
            longest = longest.max(bytes.len());
            assert_eq!(Control::decode(bytes), Ok(control));
            for len in 0..bytes.len() {
                assert_eq!(Control::decode(&bytes[..len]), Err(GroupError::Malformed), "{op:?}");
            }
            let longer: Vec<u8> = bytes.iter().copied().chain([0]).collect();
            assert_eq!(Control::decode(&longer), Err(GroupError::Malformed), "{op:?}");
        }
        assert_eq!(longest, MAX_CONTROL);
    }

    #[test]
    fn bytes_are_as_specified() {
        let name = Name::new("ab").unwrap();
        let op = Op::Member { index: 1, since: 2, key: PublicKey([9; 32]), name };
        let bytes = Control { group: GroupId([5; 16]), epoch: 3, op }.encode();
        let expected =
            [&[5; 16][..], &[0, 0, 0, 3, 2, 0, 1, 0, 0, 0, 2], &[9; 32], b"\x02ab"].concat();
        assert_eq!(bytes.as_slice(), expected);
        let header = Header { group: GroupId([5; 16]), epoch: 3, id: 4 }.encode();
        assert_eq!(header[..], [&[5; 16][..], &[0, 0, 0, 3, 0, 0, 0, 4]].concat());
    }

    #[test]
    fn a_wrong_code_name_or_key_is_refused() {
        let group = GroupId([1; 16]);
        for op in every_op() {
            let mut bytes = Control { group, epoch: 1, op }.encode().as_slice().to_vec();
            bytes[20] = 0x7f;
            assert_eq!(Control::decode(&bytes), Err(GroupError::Malformed));
        }
        let removed = Control { group, epoch: 1, op: Op::Removed(PublicKey([0xff; 32])) }.encode();
        assert_eq!(Control::decode(removed.as_slice()), Err(GroupError::Malformed));
        let label = Name::new("ab").unwrap();
        let begin = Control { group, epoch: 1, op: Op::Begin { label, members: 1 } }.encode();
        let mut begin = begin.as_slice().to_vec();
        begin[24] = b' ';
        assert_eq!(Control::decode(&begin), Err(GroupError::Malformed));
    }

    #[test]
    fn answers_round_trip_and_unknown_codes_refuse() {
        for answer in
            [Answer::Done, Answer::Stale, Answer::Refused, Answer::Gone, Answer::Forgotten]
        {
            assert_eq!(Answer::from_reply(answer.as_reply()), answer);
        }
        for unknown in [&[0][..], &[9], &[1, 1]] {
            assert_eq!(Answer::from_reply(unknown), Answer::Refused);
        }
    }
}
