//! `registry`: who may be called what, against a model that is one list and knows nothing of indices.

use pysock_proto::{
    Name, PeerId, PublicKey, Refusal,
    registry::{Admitted, BindError, Claim, FixedRegistry, Policy, Registry, Slot},
    store::Fixed,
};

use crate::{end::name, input::Input};

const ROOM: usize = 5;
const NAMES: [&str; 6] = ["zoe", "amy", "bob", "z", "a-1", "m"];

/// Not in the order of the numbers, so that an index has something to sort.
fn key(n: u8) -> PublicKey {
    PublicKey([n.wrapping_mul(101); 32])
}

struct Known {
    key: PublicKey,
    name: Name,
    peer: PeerId,
    bound: bool,
    /// Admissions under way.
    claims: u32,
    slot: Option<Slot>,
}

struct Model {
    policy: Policy,
    peers: u32,
    known: Vec<Known>,
}

impl Model {
    fn of_key(&mut self, key: PublicKey) -> Option<&mut Known> {
        self.known.iter_mut().find(|known| known.key == key)
    }

    fn of_name(&self, name: Name) -> Option<&Known> {
        self.known.iter().find(|known| known.name == name)
    }

    fn learns(&mut self, key: PublicKey, name: Name) -> Option<&mut Known> {
        if self.known.len() == ROOM {
            return None;
        }
        self.peers += 1;
        let peer = PeerId(self.peers);
        self.known.push(Known { key, name, peer, bound: false, claims: 0, slot: None });
        self.known.last_mut()
    }

    /// Whoever is neither bound nor here nor about to be is nobody.
    fn forgets(&mut self) {
        self.known.retain(|known| known.bound || known.claims > 0 || known.slot.is_some());
    }

    fn binds(&mut self, key: PublicKey, name: Name) -> Result<PeerId, BindError> {
        if let Some(other) = self.of_name(name).filter(|other| other.key != key) {
            return Err(BindError::NameTaken(other.peer));
        }
        let known = match self.known.iter().position(|known| known.key == key) {
            Some(at) => &mut self.known[at],
            None => self.learns(key, name).ok_or(BindError::Full)?,
        };
        if known.name != name {
            return Err(BindError::KeyHasName(known.peer));
        }
        known.bound = true;
        Ok(known.peer)
    }

    fn claims(&mut self, key: PublicKey, name: Name) -> Result<(PeerId, bool), Refusal> {
        let (policy, all) = (self.policy, self.known.len());
        let mine = self.of_key(key).map(|known| (known.name, known.bound));
        let bound = mine.is_some_and(|(_, bound)| bound);
        if mine.is_some_and(|(other, _)| other != name) {
            return Err(Refusal::KeyHasName);
        }
        if policy == Policy::AllowList && !bound {
            return Err(Refusal::NotAllowed);
        }
        if let Some(other) = self.of_name(name).filter(|other| other.key != key) {
            return Err(if other.bound { Refusal::NameTaken } else { Refusal::NameInUse });
        }
        let once = matches!(policy, Policy::ClaimOnce { .. }) && !bound;
        if let Policy::ClaimOnce { quota } = policy
            && !bound
            && all - usize::from(mine.is_some()) >= quota as usize
        {
            return Err(Refusal::Full);
        }
        let known = match self.known.iter().position(|known| known.key == key) {
            Some(at) => &mut self.known[at],
            None => self.learns(key, name).ok_or(Refusal::Full)?,
        };
        known.claims += 1;
        Ok((known.peer, once))
    }

    fn confirms(&mut self, claim: &Claim, slot: Slot) -> Result<Admitted, Refusal> {
        let (policy, peer) = (self.policy, claim.peer());
        let known = self.known.iter_mut().find(|known| known.peer == peer);
        let known = known.ok_or(Refusal::NotAllowed)?;
        known.claims -= 1;
        known.bound |= claim.must_persist();
        let result = match policy {
            Policy::AllowList if !known.bound => Err(Refusal::NotAllowed),
            Policy::ClaimOnce { .. } if !known.bound => Err(Refusal::Trouble),
            _ => Ok(Admitted { peer, replaced: known.slot.replace(slot) }),
        };
        self.forgets();
        result
    }
}

/// Operations on a registry.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let policy = policy(&mut input);
    let mut real: FixedRegistry<ROOM> =
        Registry::new(policy, Fixed::new(), Fixed::new(), Fixed::new());
    let mut model = Model { policy, peers: 0, known: vec![] };
    let (mut claims, mut slots) = (Vec::<Claim>::new(), 0);
    while !input.is_empty() {
        let op = input.byte();
        let who = input.byte();
        let (key, name) = (key(who % 7), name(NAMES[usize::from(who >> 4) % 6]));
        match op % 16 {
            0 | 1 => assert_eq!(real.bind(&key, &name), model.binds(key, name)),
            2..=6 => {
                let claim = real.claim(&key, &name);
                let seen = claim.as_ref().map(|claim| (claim.peer(), claim.must_persist()));
                assert_eq!(seen.map_err(|why| *why), model.claims(key, name));
                claims.extend(claim);
            }
            7..=9 if !claims.is_empty() => {
                let claim = claims.swap_remove(usize::from(who) % claims.len());
                slots += 1;
                let expected = model.confirms(&claim, Slot(slots));
                assert_eq!(real.confirm(claim, Slot(slots)), expected);
            }
            10 if !claims.is_empty() => {
                let claim = claims.swap_remove(usize::from(who) % claims.len());
                if let Some(known) = model.known.iter_mut().find(|k| k.peer == claim.peer()) {
                    known.claims -= 1;
                }
                model.forgets();
                real.withdraw(claim);
            }
            11 | 12 => {
                // The connection that counts ends, or one that another has replaced.
                let Some(known) = model.of_key(key) else { continue };
                let peer = known.peer;
                let slot = known.slot.filter(|_| who < 128);
                if slot.is_some() {
                    known.slot = None;
                }
                model.forgets();
                assert_eq!(real.offline(peer, slot.unwrap_or(Slot(0))), slot.is_some());
            }
            13 => {
                let Some(at) = model.known.iter().position(|known| known.key == key) else {
                    continue;
                };
                let known = model.known.remove(at);
                let removed = real.remove(known.peer).expect("it is known");
                assert_eq!((*removed.key(), removed.slot()), (known.key, known.slot));
            }
            14 => {
                model.known.retain(|known| known.name != name);
                real.retain(|entry| *entry.name() != name);
            }
            15 => {
                model.policy = self::policy(&mut input);
                real.set_policy(model.policy);
            }
            _ => {}
        }
        agree(&real, &mut model);
    }
}

fn policy(input: &mut Input<'_>) -> Policy {
    match input.byte() % 8 {
        0 => Policy::AllowList,
        1 => Policy::Open,
        quota => Policy::ClaimOnce { quota: u32::from(quota) - 2 },
    }
}

fn agree(real: &FixedRegistry<ROOM>, model: &mut Model) {
    for n in 0..7 {
        let seen = real.by_key(&key(n));
        let seen = seen.map(|e| (*e.name(), e.peer(), e.is_bound(), e.slot()));
        let known = model.of_key(key(n));
        assert_eq!(seen, known.map(|k| (k.name, k.peer, k.bound, k.slot)));
    }
    for text in NAMES {
        let seen = real.by_name(&name(text)).map(|entry| *entry.key());
        assert_eq!(seen, model.of_name(name(text)).map(|known| known.key));
    }
    model.known.sort_by_key(|known| known.peer);
    let online: Vec<PeerId> =
        model.known.iter().filter(|known| known.slot.is_some()).map(|known| known.peer).collect();
    let mut paged = vec![];
    while let Some(entry) = real.next_online_after(paged.last().copied().unwrap_or(PeerId(0))) {
        paged.push(entry.peer());
    }
    assert_eq!(paged, online);
    assert_eq!(real.count_online(), online.len());
    assert_eq!(real.count_bound(), model.known.iter().filter(|known| known.bound).count());
    assert_eq!(real.entries().len(), model.known.len());
    for known in &model.known {
        assert_eq!(real.get(known.peer).map(|entry| *entry.key()), Some(known.key));
        let stays = known.bound || model.policy != Policy::AllowList;
        assert_eq!(real.still_allowed(known.peer), stays);
    }
}
