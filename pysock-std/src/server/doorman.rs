//! Places for connections that have not proven who they are: few in all, fewer from one address.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard},
};

#[derive(Default)]
struct Waiting {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// Counts who is at the door.
pub(super) struct Doorman {
    waiting: Mutex<Waiting>,
    most: usize,
    most_per_address: usize,
}

/// A place at the door, free again when dropped.
pub(super) struct Pass {
    doorman: Arc<Doorman>,
    address: IpAddr,
}

/// What counts as one address: an IPv6 customer has a whole /64 of them.
fn neighbourhood(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            std::net::Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 => v4,
    }
}

impl Doorman {
    pub(super) fn new(most: usize, most_per_address: usize) -> Self {
        Doorman { waiting: Mutex::default(), most, most_per_address }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// A place for a connection from `address`, if there is one.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Pass> {
        let address = neighbourhood(address);
        let mut waiting = self.lock();
        let here = waiting.by_address.get(&address).copied().unwrap_or(0);
        if waiting.all >= self.most || here >= self.most_per_address {
            return None;
        }
        waiting.all += 1;
        waiting.by_address.insert(address, here + 1);
        Some(Pass { doorman: self.clone(), address })
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut waiting = self.doorman.lock();
        waiting.all -= 1;
        match waiting.by_address.get_mut(&self.address) {
            Some(here) if *here > 1 => *here -= 1,
            _ => {
                waiting.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_in_all_and_per_address() {
        let doorman = Arc::new(Doorman::new(3, 2));
        let (a, b): (IpAddr, IpAddr) = ([127, 0, 0, 1].into(), [127, 0, 0, 2].into());
        let first = doorman.enter(a).unwrap();
        let _second = doorman.enter(a).unwrap();
        assert!(doorman.enter(a).is_none(), "a third from one address");
        let _third = doorman.enter(b).unwrap();
        assert!(doorman.enter(b).is_none(), "a fourth in all");
        drop(first);
        assert!(doorman.enter(a).is_some());
    }

    #[test]
    fn an_ipv6_network_counts_as_one_address() {
        let doorman = Arc::new(Doorman::new(9, 1));
        let _first = doorman.enter("2001:db8::1".parse().unwrap()).unwrap();
        assert!(doorman.enter("2001:db8::ffff:2".parse().unwrap()).is_none());
        assert!(doorman.enter("2001:db8:0:1::1".parse().unwrap()).is_some());
    }
}
