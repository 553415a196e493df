//! What only the inside can show: sessions with room for one handshake.

extern crate std;

use std::{
    sync::atomic::{AtomicU32, Ordering},
    vec::Vec,
};

use super::*;
use crate::{Ephemeral, Identity, Keypair, RustCrypto, SecretKey, Unit, wire::inner::step};

struct Side {
    key: Keypair<RustCrypto>,
    info: PeerInfo,
    peers: FixedPeers<RustCrypto, 1, 1>,
}

fn side(seed: u8, name: &str) -> Side {
    let key = Keypair::new(SecretKey::from_bytes([seed; 32]));
    let name = name.parse().unwrap();
    let info = PeerInfo { id: PeerId(seed.into()), key: key.public(), name };
    let peers = FixedPeers::new(name, Limits::SMALL, Fixed::new(), Fixed::new());
    Side { key, info, peers }
}

fn written(side: &mut Side) -> Vec<u8> {
    let env = Env { now: Instant::from_millis(1_000), identity: &side.key };
    let mut out = [0; LONGEST];
    let len = side.peers.handshake_due(&mut out, &env).map_or(0, |(_, len)| len);
    out[..len].to_vec()
}

#[test]
fn two_that_call_at_once_meet_with_room_for_one_handshake_each() {
    for (first, second) in [(1, 2), (2, 1), (3, 7), (9, 4)] {
        let mut sides = [side(51, "alice"), side(52, "bob")];
        let infos = [sides[0].info, sides[1].info];
        let now = Instant::from_millis(1_000);
        let by = now.after_millis(3_000);
        for (side, (other, seed)) in sides.iter_mut().zip([(infos[1], first), (infos[0], second)]) {
            let e = Ephemeral::new::<RustCrypto>([seed; 32]);
            let env = Env { now, identity: &side.key };
            side.peers.handshake(&other, Acquaintance::Known, e, by, &env).unwrap();
        }
        let mut under_way = sides.each_mut().map(written);
        for round in 0..3 {
            under_way.reverse();
            for (at, unit) in under_way.iter_mut().enumerate() {
                let Side { key, peers, .. } = &mut sides[at];
                let env = Env { now, identity: key };
                let mut incoming = peers.receive(&infos[1 - at], Unit::Handshake, unit, &env);
                if let Some(PeerEvent::Greeting(greeting)) = peers.next(&mut incoming) {
                    let e = Ephemeral::new::<RustCrypto>([100 + round; 32]);
                    peers.answer(greeting, e, by).unwrap();
                }
            }
            under_way = sides.each_mut().map(written);
        }
        // One is open; the other waits for the first record.
        let open = sides.iter().filter(|side| side.peers.sessions().len() == 1).count();
        assert_eq!(open, 1, "{first} and {second}");
    }
}

/// Two with a session, as far as the first has come: it may send.
fn open() -> [Side; 2] {
    let mut sides = [side(51, "alice"), side(52, "bob")];
    let infos = [sides[0].info, sides[1].info];
    let now = Instant::from_millis(1_000);
    let by = now.after_millis(3_000);
    let e = |seed| Ephemeral::new::<RustCrypto>([seed; 32]);
    let Side { key, peers, .. } = &mut sides[0];
    let env = Env { now, identity: key };
    peers.handshake(&infos[1], Acquaintance::Known, e(61), by, &env).unwrap();
    for (from, to) in [(0, 1), (1, 0)] {
        let mut unit = written(&mut sides[from]);
        let Side { key, peers, .. } = &mut sides[to];
        let env = Env { now, identity: key };
        let mut incoming = peers.receive(&infos[from], Unit::Handshake, &mut unit, &env);
        if let Some(PeerEvent::Greeting(greeting)) = peers.next(&mut incoming) {
            peers.answer(greeting, e(62), by).unwrap();
        }
    }
    sides
}

/// Whatever the server prevents, no counter comes twice: a session in which no new handshake succeeds falls silent.
#[test]
fn a_session_falls_silent_before_its_counter_ends() {
    let [mut alice, _] = open();
    let peer = alice.peers.sessions.as_mut_slice().first_mut().unwrap();
    assert!(peer.is_open());
    peer.session.sent = session::MAX_RECORDS - 1;
    assert!(peer.is_open() && peer.may_seal());
    let mut unit = [0; 64];
    let len = peer.start(&mut unit) + crate::crypto::TAG;
    peer.seal::<RustCrypto>(&mut unit[..len]);
    assert_eq!(&unit[1..4], [0xff, 0xff, 0xfe], "2^24 - 2 is the last one");
    assert!(!peer.is_open() && !peer.may_seal());
}

/// A key that counts how often it is used.
struct Counting(Keypair<RustCrypto>, AtomicU32);

impl Identity for Counting {
    fn public(&self) -> PublicKey {
        self.0.public()
    }

    fn dh(&self, peer: &PublicKey) -> Result<[u8; 32], crate::crypto::LowOrder> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.dh(peer)
    }
}

#[test]
fn guesses_at_a_key_cost_bounded_work() {
    let Side { key, mut peers, .. } = side(51, "alice");
    let key = Counting(key, AtomicU32::new(0));
    let name = "eve".parse().unwrap();
    for n in 0..10_000u32 {
        // Ten seconds, a guess every millisecond, each in another stranger's name.
        let env = Env { now: Instant::from_millis(u64::from(n)), identity: &key };
        let stranger = Keypair::<RustCrypto>::new(SecretKey::from_bytes([(n % 250) as u8; 32]));
        let from = PeerInfo { id: PeerId(n + 1), key: stranger.public(), name };
        let e = n.to_be_bytes();
        let mut unit = [&[step::KK_1][..], &e, &e, &[9; 76]].concat();
        let mut incoming = peers.receive(&from, Unit::Handshake, &mut unit, &env);
        assert!(peers.next(&mut incoming).is_none());
    }
    // Two for each guess: 32 at once, and 32 in each second, of all strangers together.
    let used = key.1.load(Ordering::Relaxed);
    assert!((500..720).contains(&used), "{used} times");
}
