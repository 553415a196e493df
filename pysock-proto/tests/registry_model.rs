//! The registry against a model that scans a map and knows nothing of indices.

use std::collections::BTreeMap;

use proptest::prelude::*;
use pysock_proto::{
    Name, PeerId, PublicKey, Refusal,
    registry::{Admitted, BindError, Claim, Entry, FixedRegistry, Policy, Registry, Slot},
    store::Fixed,
};

const ROOM: usize = 5;

#[derive(Clone, Debug)]
enum Op {
    Bind(u8, u8),
    Claim(u8, u8),
    /// Picks one of the claims under way.
    Confirm(usize),
    Withdraw(usize),
    /// The connection of this key, or an older one.
    Offline(u8, bool),
    Remove(u8),
    Retain(u8),
    SetPolicy(Policy),
}

fn policy() -> impl Strategy<Value = Policy> {
    prop_oneof![
        Just(Policy::AllowList),
        (0..6u32).prop_map(|quota| Policy::ClaimOnce { quota }),
        Just(Policy::Open),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let (key, name) = (0..7u8, 0..6u8);
    prop_oneof![
        2 => (key.clone(), name.clone()).prop_map(|(k, n)| Op::Bind(k, n)),
        8 => (key.clone(), name).prop_map(|(k, n)| Op::Claim(k, n)),
        6 => any::<usize>().prop_map(Op::Confirm),
        2 => any::<usize>().prop_map(Op::Withdraw),
        4 => (key.clone(), any::<bool>()).prop_map(|(k, late)| Op::Offline(k, late)),
        1 => key.clone().prop_map(Op::Remove),
        1 => key.prop_map(Op::Retain),
        1 => policy().prop_map(Op::SetPolicy),
    ]
}

#[derive(Clone, Debug, PartialEq)]
struct Known {
    name: u8,
    peer: u32,
    bound: bool,
    claims: u32,
    slot: Option<u32>,
}

struct Model {
    policy: Policy,
    last: u32,
    by_key: BTreeMap<u8, Known>,
}

impl Model {
    fn by_name(&self, name: u8) -> Option<(u8, &Known)> {
        self.by_key.iter().find(|(_, k)| k.name == name).map(|(key, k)| (*key, k))
    }

    fn by_peer(&mut self, peer: PeerId) -> Option<&mut Known> {
        self.by_key.values_mut().find(|k| k.peer == peer.0)
    }

    fn add(&mut self, key: u8, name: u8) -> Option<&mut Known> {
        if self.by_key.len() == ROOM {
            return None;
        }
        self.last += 1;
        let known = Known { name, peer: self.last, bound: false, claims: 0, slot: None };
        Some(self.by_key.entry(key).or_insert(known))
    }

    fn forget_unneeded(&mut self) {
        self.by_key.retain(|_, k| k.bound || k.claims > 0 || k.slot.is_some());
    }

    fn bind(&mut self, key: u8, name: u8) -> Result<u32, BindError> {
        if let Some((_, other)) = self.by_name(name).filter(|(other, _)| *other != key) {
            return Err(BindError::NameTaken(PeerId(other.peer)));
        }
        if let Some(known) = self.by_key.get_mut(&key) {
            if known.name != name {
                return Err(BindError::KeyHasName(PeerId(known.peer)));
            }
            known.bound = true;
            return Ok(known.peer);
        }
        let known = self.add(key, name).ok_or(BindError::Full)?;
        known.bound = true;
        Ok(known.peer)
    }

    fn claim(&mut self, key: u8, name: u8) -> Result<(u32, bool), Refusal> {
        let policy = self.policy;
        if self.by_key.get(&key).is_some_and(|k| k.name != name) {
            return Err(Refusal::KeyHasName);
        }
        let bound = self.by_key.get(&key).is_some_and(|k| k.bound);
        if policy == Policy::AllowList && !bound {
            return Err(Refusal::NotAllowed);
        }
        if let Some((_, other)) = self.by_name(name).filter(|(other, _)| *other != key) {
            return Err(if other.bound { Refusal::NameTaken } else { Refusal::NameInUse });
        }
        let others = self.by_key.keys().filter(|k| **k != key).count();
        if matches!(policy, Policy::ClaimOnce { quota } if !bound && others >= quota as usize) {
            return Err(Refusal::Full);
        }
        if !self.by_key.contains_key(&key) {
            self.add(key, name).ok_or(Refusal::Full)?;
        }
        let known = self.by_key.get_mut(&key).unwrap();
        known.claims += 1;
        Ok((known.peer, matches!(policy, Policy::ClaimOnce { .. }) && !bound))
    }

    fn confirm(&mut self, peer: PeerId, fresh: bool, slot: u32) -> Result<Admitted, Refusal> {
        let policy = self.policy;
        let known = self.by_peer(peer).ok_or(Refusal::NotAllowed)?;
        known.claims -= 1;
        known.bound |= fresh;
        let answer = match policy {
            _ if known.slot.is_some_and(|newer| newer > slot) => Err(Refusal::Replaced),
            Policy::AllowList if !known.bound => Err(Refusal::NotAllowed),
            Policy::ClaimOnce { .. } if !known.bound => Err(Refusal::Trouble),
            _ => Ok(Admitted { peer, replaced: known.slot.replace(slot).map(Slot) }),
        };
        self.forget_unneeded();
        answer
    }
}

fn key(k: u8) -> PublicKey {
    // Not in the order of the numbers, so that the index has something to sort.
    PublicKey([k.wrapping_mul(101); 32])
}

fn name(n: u8) -> Name {
    Name::new(["zoe", "amy", "bob", "z", "a-1", "m"][usize::from(n)]).unwrap()
}

fn agree(real: &FixedRegistry<ROOM>, model: &Model) {
    for k in 0..7 {
        let seen = real
            .by_key(&key(k))
            .map(|e| (*e.name(), e.peer().0, e.is_bound(), e.slot().map(|s| s.0)));
        let known = model.by_key.get(&k);
        assert_eq!(seen, known.map(|k| (name(k.name), k.peer, k.bound, k.slot)));
        if let Some(known) = known {
            assert_eq!(real.get(PeerId(known.peer)).map(Entry::key), Some(&key(k)));
            let may_stay = known.bound || model.policy != Policy::AllowList;
            assert_eq!(real.still_allowed(PeerId(known.peer)), may_stay);
        }
    }
    for n in 0..6 {
        assert_eq!(real.by_name(&name(n)).map(|e| *e.key()), model.by_name(n).map(|(k, _)| key(k)));
    }
    let mut online: Vec<u32> =
        model.by_key.values().filter(|k| k.slot.is_some()).map(|k| k.peer).collect();
    online.sort_unstable();
    let (mut paged, mut last) = (Vec::new(), PeerId(0));
    while let Some(entry) = real.next_online_after(last) {
        last = entry.peer();
        paged.push(last.0);
    }
    assert_eq!(paged, online);
    assert_eq!(real.count_online(), online.len());
    assert_eq!(real.count_bound(), model.by_key.values().filter(|k| k.bound).count());
    assert_eq!(real.entries().len(), model.by_key.len());
    assert!(real.no_longer_allowed().all(|e| !real.still_allowed(e.peer())));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..Default::default() })]

    #[test]
    fn the_registry_does_what_the_model_does(
        start in policy(),
        ops in prop::collection::vec(op(), 1..80),
    ) {
        let mut real: FixedRegistry<ROOM> =
            Registry::new(start, Fixed::new(), Fixed::new(), Fixed::new());
        let mut model = Model { policy: start, last: 0, by_key: BTreeMap::new() };
        let (mut claims, mut slot) = (Vec::<(Claim, u32)>::new(), 0);
        for op in ops {
            match op {
                Op::Bind(k, n) => {
                    let got = real.bind(&key(k), &name(n));
                    prop_assert_eq!(got.map(|p| p.0), model.bind(k, n));
                }
                Op::Claim(k, n) => {
                    // A connection has its number before it asks, and so they may be in in any order.
                    slot += 1;
                    let got = real.claim(&key(k), &name(n));
                    let seen = got.as_ref().map(|c| (c.peer().0, c.must_persist()));
                    prop_assert_eq!(seen.map_err(|e| *e), model.claim(k, n));
                    claims.extend(got.map(|claim| (claim, slot)));
                }
                Op::Confirm(at) if !claims.is_empty() => {
                    let (claim, slot) = claims.swap_remove(at % claims.len());
                    let expected = model.confirm(claim.peer(), claim.must_persist(), slot);
                    prop_assert_eq!(real.confirm(claim, Slot(slot)), expected);
                }
                Op::Withdraw(at) if !claims.is_empty() => {
                    let (claim, _) = claims.swap_remove(at % claims.len());
                    if let Some(known) = model.by_peer(claim.peer()) {
                        known.claims -= 1;
                    }
                    model.forget_unneeded();
                    real.withdraw(claim);
                }
                Op::Confirm(_) | Op::Withdraw(_) => {}
                Op::Offline(k, late) => {
                    let Some(known) = model.by_key.get_mut(&k) else { continue };
                    let peer = PeerId(known.peer);
                    let gone = if late { 0 } else { known.slot.unwrap_or(0) };
                    let active = gone > 0;
                    if active {
                        known.slot = None;
                    }
                    model.forget_unneeded();
                    prop_assert_eq!(real.offline(peer, Slot(gone)), active);
                }
                Op::Remove(k) => {
                    let Some(known) = model.by_key.remove(&k) else { continue };
                    let removed = real.remove(PeerId(known.peer));
                    prop_assert_eq!(removed.and_then(|e| e.slot()), known.slot.map(Slot));
                }
                Op::Retain(n) => {
                    model.by_key.retain(|_, known| known.name != n % 6);
                    real.retain(|e| *e.name() != name(n % 6));
                }
                Op::SetPolicy(policy) => {
                    model.policy = policy;
                    real.set_policy(policy);
                }
            }
            agree(&real, &model);
        }
    }
}
