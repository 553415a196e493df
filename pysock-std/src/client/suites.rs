//! Which cipher suite a client asks for.
//!
//! It asks for the best that both sides have, as far as it knows: what a server has, its authenticated `Welcome` says. A server that
//! does not have the suite can say so only in clear text, as can anybody on the path; therefore that leads to another suite of
//! equal strength, once, and to nothing else. If the configuration names a suite, there is no other one.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pysock_proto::{Crypto, Suite};

use crate::link::C;

/// Suites of one strength. One that withstands quantum computers will not be among them.
const EQUALS: [Suite; 2] = [Suite::AesGcm, Suite::ChaChaPoly];

/// What is known of the server's suites.
#[derive(Debug)]
pub(super) struct Suites {
    /// What this client has, best first, as prelude bytes.
    own: Vec<u8>,
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    /// What the server has listed, as prelude bytes; empty if it has not been heard.
    listed: Vec<u8>,
    /// That of the latest connection.
    used: Suite,
}

impl Suites {
    /// The `only` one of the configuration, if any, and what an earlier run has remembered of the server.
    pub(super) fn new(only: Option<Suite>, listed: Vec<u8>) -> Self {
        let own = only.map_or_else(|| C::suites().to_vec(), |suite| vec![suite as u8]);
        let used = best(&own, &listed);
        Suites { own, known: Mutex::new(Known { listed, used }) }
    }

    fn locked(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What to ask for first.
    pub(super) fn best(&self) -> Suite {
        best(&self.own, &self.locked().listed)
    }

    /// What to ask for after the server, or somebody in its name, has said that it does not have `refused`.
    pub(super) fn instead_of(&self, refused: Suite) -> Option<Suite> {
        instead_of(&self.own, refused)
    }

    /// Whether the authenticated server has ever said that it has this one.
    pub(super) fn is_listed(&self, suite: Suite) -> bool {
        self.locked().listed.contains(&(suite as u8))
    }

    /// A connection with `used` is in; its server has listed these. `true`: they are others than before.
    pub(super) fn learn(&self, used: Suite, listed: &[u8]) -> bool {
        let mut known = self.locked();
        known.used = used;
        let changed = known.listed != listed;
        if changed {
            known.listed = listed.to_vec();
        }
        changed
    }

    /// That of the latest connection.
    pub(super) fn used(&self) -> Suite {
        self.locked().used
    }
}

/// The best of `own` that the server has; the best of all if nothing is known, or if it has none of them.
fn best(own: &[u8], listed: &[u8]) -> Suite {
    let mut common = own.iter().filter(|suite| listed.is_empty() || listed.contains(suite));
    let best = common.next().or(own.first());
    best.and_then(|byte| Suite::from_byte(*byte)).unwrap_or(Suite::ChaChaPoly)
}

fn instead_of(own: &[u8], refused: Suite) -> Option<Suite> {
    if !EQUALS.contains(&refused) {
        return None;
    }
    EQUALS.into_iter().find(|suite| *suite != refused && own.contains(&(*suite as u8)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_that_both_have() {
        let chosen = |own: &[u8], listed: &[u8]| best(own, listed) as u8;
        assert_eq!(chosen(&[2, 1], &[]), 2);
        assert_eq!(chosen(&[2, 1], &[1]), 1);
        assert_eq!(chosen(&[2, 1], &[1, 2]), 2, "the client's order counts");
        assert_eq!(chosen(&[2, 1], &[7, 1, 9]), 1);
        assert_eq!(chosen(&[2, 1], &[7]), 2, "then its alert is what a person sees");
        assert_eq!(chosen(&[1], &[]), 1);
        assert_eq!(chosen(&[1], &[2]), 1);
    }

    #[test]
    fn only_equals_stand_in_for_each_other() {
        assert_eq!(instead_of(&[2, 1], Suite::AesGcm), Some(Suite::ChaChaPoly));
        assert_eq!(instead_of(&[2, 1], Suite::ChaChaPoly), Some(Suite::AesGcm));
        assert_eq!(instead_of(&[1], Suite::ChaChaPoly), None);
        assert_eq!(instead_of(&[], Suite::AesGcm), None);
    }
}
