//! `router`: where a message goes, against a model that is a list of who is where.

use pysock_proto::{
    ChannelId, ChannelName, Failure, PeerId, PublicKey, RequestId,
    message::{Kind, Party},
    registry::{FixedRegistry, Policy, Registry, Slot},
    router::{Channel, CreateError, FixedRouter, JoinError, Member, Route, Router, Sender},
    store::Fixed,
};

use crate::{end::name, input::Input};

const CHANNELS: usize = 3;
const MEMBERSHIPS: usize = 6;
const PER_SLOT: u16 = 2;
/// Connections 1 to 3 are admitted, as the peers of the same number; 4 is not.
const ADMITTED: u32 = 3;
const NAMES: [&str; 4] = ["house/attic", "b", "house", "a"];

struct On {
    slot: Slot,
    local: ChannelId,
    channel: Channel,
}

#[derive(Default)]
struct Model {
    made: u32,
    channels: Vec<(ChannelName, Channel)>,
    on: Vec<On>,
}

/// A [`Route`] that can be compared.
#[derive(Debug, PartialEq)]
enum Seen {
    Server(Channel),
    Peer(PeerId, Member),
    Members(Vec<Member>),
}

impl Model {
    fn find(&self, name: ChannelName) -> Option<Channel> {
        self.channels.iter().find(|(other, _)| *other == name).map(|(_, channel)| *channel)
    }

    fn creates(&mut self, name: ChannelName) -> Result<Channel, CreateError> {
        match self.find(name) {
            Some(channel) => Err(CreateError::Exists(channel)),
            None if self.channels.len() == CHANNELS => Err(CreateError::Full),
            None => {
                self.channels.push((name, Channel(self.made)));
                self.made += 1;
                Ok(Channel(self.made - 1))
            }
        }
    }

    fn joins(
        &mut self,
        slot: Slot,
        local: ChannelId,
        name: ChannelName,
    ) -> Result<Channel, JoinError> {
        let channel = self.find(name).ok_or(JoinError::NoChannel)?;
        let mine: Vec<&On> = self.on.iter().filter(|on| on.slot == slot).collect();
        if let Some(already) = mine.iter().find(|on| on.channel == channel) {
            return Err(JoinError::AlreadyOpen(already.local));
        }
        if mine.iter().any(|on| on.local == local) {
            return Err(JoinError::NumberInUse);
        }
        if mine.len() == usize::from(PER_SLOT) {
            return Err(JoinError::TooMany);
        }
        if self.on.len() == MEMBERSHIPS {
            return Err(JoinError::Full);
        }
        self.on.push(On { slot, local, channel });
        Ok(channel)
    }

    fn resolves(&self, slot: Slot, local: ChannelId) -> Option<Channel> {
        let on = self.on.iter().find(|on| (on.slot, on.local) == (slot, local))?;
        Some(on.channel)
    }

    fn members(&self, channel: Channel, but: Option<Slot>) -> Vec<Member> {
        let on = self.on.iter().filter(|on| on.channel == channel && Some(on.slot) != but);
        let mut members: Vec<Member> =
            on.map(|on| Member { slot: on.slot, local: on.local }).collect();
        members.sort_by_key(|member| member.slot);
        members
    }

    /// The rules as the protocol has them, one after the other.
    fn routes(
        &self,
        from: Sender,
        local: ChannelId,
        to: Party,
        kind: Kind,
    ) -> Result<Seen, Failure> {
        if from.slot.0 != from.peer.0 || from.slot.0 > ADMITTED {
            return Err(Failure::NoPeer);
        }
        let channel = self.resolves(from.slot, local).ok_or(Failure::NoChannel)?;
        match to {
            Party::Server => Ok(Seen::Server(channel)),
            Party::Everyone if kind != Kind::Message => Err(Failure::BadDestination),
            Party::Everyone => Ok(Seen::Members(self.members(channel, Some(from.slot)))),
            Party::Peer(to) if to == from.peer => Err(Failure::BadDestination),
            Party::Peer(to) if to.0 > ADMITTED => Err(Failure::NoPeer),
            Party::Peer(to) => {
                let mut members = self.members(channel, None);
                members.retain(|member| member.slot.0 == to.0);
                members.pop().map(|member| Seen::Peer(to, member)).ok_or(Failure::NotOnChannel)
            }
        }
    }
}

fn people() -> FixedRegistry<4> {
    let mut people = Registry::new(Policy::Open, Fixed::new(), Fixed::new(), Fixed::new());
    for n in 1..=ADMITTED {
        let claim = people.claim(&PublicKey([n as u8; 32]), &name(&format!("client-{n}")));
        let admitted = people.confirm(claim.expect("room"), Slot(n)).expect("nobody else");
        assert_eq!(admitted.peer, PeerId(n));
    }
    people
}

/// Operations on a router.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let people = people();
    let mut real: FixedRouter<CHANNELS, MEMBERSHIPS> =
        Router::new(PER_SLOT, Fixed::new(), Fixed::new(), Fixed::new());
    let mut model = Model::default();
    let names = NAMES.map(|text| text.parse::<ChannelName>().expect("a name"));
    while !input.is_empty() {
        let (op, who) = (input.byte(), input.byte());
        let slot = Slot(u32::from(who & 3) + 1);
        let local = ChannelId(u16::from(who >> 2 & 3));
        let name = names[usize::from(who >> 4 & 3)];
        match op % 16 {
            0..=2 => assert_eq!(real.create(&name), model.creates(name)),
            3 => {
                let gone = model.find(name);
                model.channels.retain(|(other, _)| *other != name);
                model.on.retain(|on| Some(on.channel) != gone);
                assert_eq!(real.remove(&name), gone);
            }
            4..=8 => {
                assert_eq!(real.join(slot, local, &name), model.joins(slot, local, name));
            }
            9 => {
                let left = model.resolves(slot, local);
                model.on.retain(|on| (on.slot, on.local) != (slot, local));
                assert_eq!(real.leave(slot, local), left);
            }
            10 => {
                model.on.retain(|on| on.slot != slot);
                real.drop_slot(slot);
            }
            _ => {
                let lies = who >> 6 == 3;
                let peer = PeerId(if lies { slot.0 % 4 + 1 } else { slot.0 });
                let from = Sender { slot, peer };
                let to = Party::from_wire(input.pick(&[0, 1, 2, 3, 4, u32::MAX]));
                let id = RequestId(7);
                let kind = input.pick(&[Kind::Message, Kind::Request(id), Kind::Reply(id)]);
                let seen = real.route(&people, from, local, to, kind).map(|route| match route {
                    Route::Server(channel) => Seen::Server(channel),
                    Route::Peer { peer, to } => Seen::Peer(peer, to),
                    Route::Members(members) => Seen::Members(members.collect()),
                });
                assert_eq!(seen, model.routes(from, local, to, kind));
            }
        }
        for slot in (1..=4).map(Slot) {
            for local in (0..4).map(ChannelId) {
                assert_eq!(real.resolve(slot, local), model.resolves(slot, local));
            }
        }
        for channel in (0..=model.made).map(Channel) {
            let members: Vec<Member> = real.members(channel, None).collect();
            assert_eq!(members, model.members(channel, None));
        }
        for name in names {
            assert_eq!(real.find(&name), model.find(name));
        }
        assert_eq!(real.channels().len(), model.channels.len());
    }
}
