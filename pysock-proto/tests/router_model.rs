//! The router against a model that scans a list of memberships.

use std::collections::BTreeMap;

use proptest::prelude::*;
use pysock_proto::{
    ChannelId, ChannelName, Failure, Name, PeerId, PublicKey, RequestId,
    message::{Kind, Party},
    registry::{FixedRegistry, Policy, Registry, Slot},
    router::{Channel, CreateError, FixedRouter, JoinError, Member, Route, Router, Sender},
    store::Fixed,
};

const CHANNELS: usize = 3;
const MEMBERSHIPS: usize = 6;
const PER_SLOT: u16 = 2;
/// Connections 1 to 3 are admitted as peers 1 to 3, connection 4 is not; peer 4 does not exist.
const ADMITTED: u32 = 3;

#[derive(Clone, Debug)]
enum Op {
    Create(u8),
    Remove(u8),
    Join(u32, u16, u8),
    Leave(u32, u16),
    Drop(u32),
    Route(u32, u32, u16, u32, u8),
}

fn op() -> impl Strategy<Value = Op> {
    let (slot, local, name) = (1..5u32, 0..3u16, 0..4u8);
    let party = prop_oneof![0..5u32, Just(u32::MAX)];
    prop_oneof![
        2 => name.clone().prop_map(Op::Create),
        1 => name.clone().prop_map(Op::Remove),
        6 => (slot.clone(), local.clone(), name).prop_map(|(s, l, n)| Op::Join(s, l, n)),
        2 => (slot.clone(), local.clone()).prop_map(|(s, l)| Op::Leave(s, l)),
        1 => slot.clone().prop_map(Op::Drop),
        6 => (slot.clone(), slot, local, party, 0..3u8)
            .prop_map(|(s, p, l, to, kind)| Op::Route(s, p, l, to, kind)),
    ]
}

#[derive(Default)]
struct Model {
    made: u32,
    channels: BTreeMap<u8, u32>,
    /// (connection, its number, channel).
    on: Vec<(u32, u16, u32)>,
}

impl Model {
    fn create(&mut self, name: u8) -> Result<Channel, CreateError> {
        if let Some(channel) = self.channels.get(&name) {
            return Err(CreateError::Exists(Channel(*channel)));
        }
        if self.channels.len() == CHANNELS {
            return Err(CreateError::Full);
        }
        self.channels.insert(name, self.made);
        self.made += 1;
        Ok(Channel(self.made - 1))
    }

    fn join(&mut self, slot: u32, local: u16, name: u8) -> Result<Channel, JoinError> {
        let channel = *self.channels.get(&name).ok_or(JoinError::NoChannel)?;
        let mine: Vec<_> = self.on.iter().filter(|m| m.0 == slot).collect();
        if let Some(open) = mine.iter().find(|m| m.2 == channel) {
            return Err(JoinError::AlreadyOpen(ChannelId(open.1)));
        }
        if mine.iter().any(|m| m.1 == local) {
            return Err(JoinError::NumberInUse);
        }
        if mine.len() == usize::from(PER_SLOT) {
            return Err(JoinError::TooMany);
        }
        if self.on.len() == MEMBERSHIPS {
            return Err(JoinError::Full);
        }
        self.on.push((slot, local, channel));
        Ok(Channel(channel))
    }

    fn resolve(&self, slot: u32, local: u16) -> Option<Channel> {
        self.on.iter().find(|m| (m.0, m.1) == (slot, local)).map(|m| Channel(m.2))
    }

    fn local(&self, slot: u32, channel: u32) -> Option<ChannelId> {
        self.on.iter().find(|m| (m.0, m.2) == (slot, channel)).map(|m| ChannelId(m.1))
    }

    fn members(&self, channel: u32) -> Vec<Member> {
        let mut members: Vec<_> = self.on.iter().filter(|m| m.2 == channel).collect();
        members.sort();
        members.iter().map(|m| Member { slot: Slot(m.0), local: ChannelId(m.1) }).collect()
    }

    /// The rules as the protocol has them, one after the other.
    fn route(
        &self,
        slot: u32,
        peer: u32,
        local: u16,
        to: Party,
        kind: Kind,
    ) -> Result<Seen, Failure> {
        if slot != peer || slot > ADMITTED {
            return Err(Failure::NoPeer);
        }
        let channel = self.resolve(slot, local).ok_or(Failure::NoChannel)?;
        match to {
            Party::Server => Ok(Seen::Server(channel)),
            Party::Everyone if kind != Kind::Message => Err(Failure::BadDestination),
            Party::Everyone => {
                let mut members = self.members(channel.0);
                members.retain(|m| m.slot.0 != slot);
                Ok(Seen::Members(members))
            }
            Party::Peer(PeerId(to)) if to == peer => Err(Failure::BadDestination),
            Party::Peer(PeerId(to)) if to > ADMITTED => Err(Failure::NoPeer),
            Party::Peer(PeerId(to)) => {
                let local = self.local(to, channel.0).ok_or(Failure::NotOnChannel)?;
                Ok(Seen::Peer(PeerId(to), Member { slot: Slot(to), local }))
            }
        }
    }
}

/// A [`Route`] that can be compared.
#[derive(Debug, PartialEq)]
enum Seen {
    Server(Channel),
    Peer(PeerId, Member),
    Members(Vec<Member>),
}

impl From<Route<'_>> for Seen {
    fn from(route: Route<'_>) -> Self {
        match route {
            Route::Server(channel) => Seen::Server(channel),
            Route::Peer { peer, to } => Seen::Peer(peer, to),
            Route::Members(members) => Seen::Members(members.collect()),
        }
    }
}

fn name(n: u8) -> ChannelName {
    ChannelName::new(["house/attic", "b", "house", "a"][usize::from(n)]).unwrap()
}

fn people() -> FixedRegistry<4> {
    let mut people = Registry::new(Policy::Open, Fixed::new(), Fixed::new(), Fixed::new());
    for n in 1..=ADMITTED {
        let name = Name::new(&format!("client-{n}")).unwrap();
        let claim = people.claim(&PublicKey([n as u8; 32]), &name).unwrap();
        assert_eq!(people.confirm(claim, Slot(n)).unwrap().peer, PeerId(n));
    }
    people
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..Default::default() })]

    #[test]
    fn the_router_does_what_the_model_does(ops in prop::collection::vec(op(), 1..80)) {
        let people = people();
        let mut real: FixedRouter<CHANNELS, MEMBERSHIPS> =
            Router::new(PER_SLOT, Fixed::new(), Fixed::new(), Fixed::new());
        let mut model = Model::default();
        for op in ops {
            match op {
                Op::Create(n) => prop_assert_eq!(real.create(&name(n)), model.create(n)),
                Op::Remove(n) => {
                    let gone = model.channels.remove(&n);
                    model.on.retain(|m| Some(m.2) != gone);
                    prop_assert_eq!(real.remove(&name(n)), gone.map(Channel));
                }
                Op::Join(s, l, n) => prop_assert_eq!(
                    real.join(Slot(s), ChannelId(l), &name(n)),
                    model.join(s, l, n)
                ),
                Op::Leave(s, l) => {
                    let left = model.resolve(s, l);
                    model.on.retain(|m| (m.0, m.1) != (s, l));
                    prop_assert_eq!(real.leave(Slot(s), ChannelId(l)), left);
                }
                Op::Drop(s) => {
                    model.on.retain(|m| m.0 != s);
                    real.drop_slot(Slot(s));
                }
                Op::Route(s, p, l, to, kind) => {
                    let from = Sender { slot: Slot(s), peer: PeerId(p) };
                    let to = Party::from_wire(to);
                    let id = RequestId(7);
                    let kind = [Kind::Message, Kind::Request(id), Kind::Reply(id)]
                        [usize::from(kind)];
                    let got = real.route(&people, from, ChannelId(l), to, kind);
                    prop_assert_eq!(got.map(Seen::from), model.route(s, p, l, to, kind));
                }
            }
            for s in 1..5 {
                for n in 0..3 {
                    prop_assert_eq!(real.resolve(Slot(s), ChannelId(n)), model.resolve(s, n));
                }
                for c in 0..=model.made {
                    prop_assert_eq!(real.local(Slot(s), Channel(c)), model.local(s, c));
                }
            }
            for c in 0..=model.made {
                let got: Vec<_> = real.members(Channel(c), None).collect();
                prop_assert_eq!(got, model.members(c));
            }
            for n in 0..4 {
                let channel = model.channels.get(&n).copied().map(Channel);
                prop_assert_eq!(real.find(&name(n)), channel);
            }
            prop_assert_eq!(real.channels().len(), model.channels.len());
        }
    }
}
