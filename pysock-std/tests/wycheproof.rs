//! The primitives against Project Wycheproof's vectors, which are made to catch implementations that are almost right: every one of
//! X25519, and of the AEADs those with a nonce that the protocol can make (four zero bytes, then a number).

use pysock_std::{
    crypto::Native,
    proto::{Crypto, RustCrypto, Suite, crypto::LowOrder},
};
use wycheproof::{TestResult, aead, xdh};

/// How many were tried, so that a test that tries none fails.
fn x25519<C: Crypto>() -> usize {
    let set = xdh::TestSet::load(xdh::TestName::X25519).unwrap();
    let mut tried = 0;
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let secret: [u8; 32] = test.private_key[..].try_into().unwrap();
        // A longer key is none: it has no place in a message or a configuration.
        let Ok(public) = <[u8; 32]>::try_from(&test.public_key[..]) else { continue };
        // What is "acceptable" there, such as points on the twist, RFC 7748 defines. All-zero results are always refused.
        let expected = match test.shared_secret[..].try_into() {
            Ok(shared) if shared != [0; 32] => Ok(shared),
            _ => Err(LowOrder),
        };
        assert_eq!(C::dh(&secret, &public), expected, "{}: {}", test.tc_id, test.comment);
        tried += 1;
    }
    tried
}

fn aead<C: Crypto>(suite: Suite, name: aead::TestName) -> usize {
    let set = aead::TestSet::load(name).unwrap();
    let mut tried = 0;
    for group in &set.test_groups {
        for test in &group.tests {
            let (Ok(key), Ok(tag)) = (test.key[..].try_into(), test.tag[..].try_into()) else {
                continue;
            };
            let [0, 0, 0, 0, number @ ..] = &test.nonce[..] else { continue };
            let Ok(number) = <[u8; 8]>::try_from(number) else { continue };
            let n = match suite {
                Suite::AesGcm => u64::from_be_bytes(number),
                _ => u64::from_le_bytes(number),
            };
            let mut text = test.ct.to_vec();
            let opened = C::open(suite, &key, n, &test.aad, &mut text, &tag);
            assert_eq!(opened.is_ok(), test.result == TestResult::Valid, "{}", test.tc_id);
            if opened.is_ok() {
                assert_eq!(text, test.pt[..]);
                assert_eq!(C::seal(suite, &key, n, &test.aad, &mut text), tag);
                assert_eq!(text, test.ct[..]);
                tried += forgeries::<C>(suite, &key, n, test, &tag);
            }
            tried += 1;
        }
    }
    tried
}

/// Of the forgeries in the vectors none has such a nonce: so each bit of a valid one is changed here. Says how many.
fn forgeries<C: Crypto>(
    suite: Suite,
    key: &[u8; 32],
    n: u64,
    test: &aead::Test,
    tag: &[u8; 16],
) -> usize {
    let parts = [&test.aad[..], &test.ct[..], tag];
    let mut tried = 0;
    for (part, bytes) in parts.iter().enumerate() {
        for bit in 0..bytes.len() * 8 {
            let mut forged = parts.map(<[u8]>::to_vec);
            forged[part][bit / 8] ^= 1 << (bit % 8);
            let [aad, mut text, tag] = forged;
            let opened = C::open(suite, key, n, &aad, &mut text, &tag.try_into().unwrap());
            assert!(opened.is_err(), "{}: bit {bit} of part {part}", test.tc_id);
            tried += 1;
        }
    }
    tried
}

#[test]
fn x25519_holds_in_every_implementation() {
    assert!(x25519::<RustCrypto>() >= 500);
    assert!(x25519::<Native>() >= 500);
}

#[test]
fn the_aeads_hold_in_every_implementation() {
    let chacha = aead::TestName::ChaCha20Poly1305;
    assert!(aead::<RustCrypto>(Suite::ChaChaPoly, chacha) >= 1_000);
    assert!(aead::<Native>(Suite::ChaChaPoly, chacha) >= 1_000);
    if Native::suites().contains(&(Suite::AesGcm as u8)) {
        assert!(aead::<Native>(Suite::AesGcm, aead::TestName::AesGcm) >= 128);
    }
}
