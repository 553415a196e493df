//! What a handshake and its ciphers know is overwritten once it has served: Noise asks for it of ephemerals and chaining keys
//! (§5.3 `Split`), and forward secrecy rests on it.

use super::*;
use crate::{
    crypto::{Crypto, Ephemeral, Keypair, RustCrypto, Suite},
    key::{Psk, SecretKey, witness::times},
};

type C = RustCrypto;

/// Both ends of a complete handshake XXpsk0, with these secrets.
fn ends(statics: [[u8; 32]; 2], ephemerals: [[u8; 32]; 2], psk: &Psk) -> [HandshakeState; 2] {
    let keys = statics.map(|secret| Keypair::<C>::new(SecretKey::from_bytes(secret)));
    let mut ends = [Role::Initiator, Role::Responder].map(|role| {
        let setup = Setup {
            role,
            pattern: Pattern::XX,
            suite: Suite::ChaChaPoly,
            prologue: [b"wiping", &[]],
            initiator: None,
            responder: None,
            psk: Some(psk.expose()),
        };
        HandshakeState::new::<C>(&setup, Ephemeral::new::<C>(ephemerals[role as usize]))
    });
    for step in 0..3 {
        let mut message = [0; 128];
        let message = &mut message[..ends[step % 2].overhead()];
        ends[step % 2].write::<C>(&keys[step % 2], &[], message).unwrap();
        ends[1 - step % 2].read::<C>(&keys[1 - step % 2], message).unwrap();
    }
    ends
}

#[test]
fn every_secret_of_a_handshake_is_wiped() {
    let (statics, ephemerals) = ([[11; 32], [12; 32]], [[13; 32], [14; 32]]);
    let psk = Psk::new([15; 8], [16; 32]);
    let [initiator, responder] = ends(statics, ephemerals, &psk);
    let keys = initiator.keys::<C>();
    let ciphers = (initiator.split::<C>(), responder.split::<C>());
    let unsplit = keys.map(|key| times(&key));
    drop((initiator, responder, psk));
    for secret in [statics, ephemerals, [[16; 32]; 2]].as_flattened() {
        assert!(times(secret) > 0, "{secret:?} is still there");
    }
    // Computed by itself: what each side has agreed on.
    let dh = |secret, public| C::dh(&secret, &C::public(&public)).unwrap();
    let [s_i, s_r] = statics;
    let [e_i, e_r] = ephemerals;
    for shared in [dh(e_i, e_r), dh(e_i, s_r), dh(s_i, e_r)] {
        assert_eq!(times(&shared), 2, "once on each side");
    }
    drop(ciphers);
    for (key, before) in keys.iter().zip(unsplit) {
        assert_eq!(times(key), before + 2, "a sending and a receiving cipher");
    }
}

#[test]
fn a_key_is_wiped_when_the_next_one_takes_its_place() {
    let mut cipher = CipherState::new([17; 32]);
    for _ in 0..1 << 16 {
        cipher.seal::<C>(Suite::ChaChaPoly, &mut []);
    }
    assert_eq!(times(&[17; 32]), 0);
    cipher.seal::<C>(Suite::ChaChaPoly, &mut []);
    assert_eq!(times(&[17; 32]), 1);
}

/// The ephemerals decide: whoever has a recording and both static keys, stolen later, has no key that is in it.
#[test]
fn static_keys_alone_do_not_give_the_keys() {
    let (statics, psk) = ([[11; 32], [12; 32]], Psk::new([15; 8], [16; 32]));
    let one = ends(statics, [[13; 32], [14; 32]], &psk)[0].keys::<C>();
    for ephemerals in [[[18; 32], [14; 32]], [[13; 32], [18; 32]]] {
        let other = ends(statics, ephemerals, &psk)[0].keys::<C>();
        assert!(one.iter().all(|key| !other.contains(key)));
    }
}
