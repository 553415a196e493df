//! Cryptography that protects nothing and costs nothing: keys agree, an altered byte is noticed, and that is all a
//! simulation asks of it. So thousands of systems run in the time of a few real handshakes.

use pysock_proto::{
    Suite,
    crypto::{Crypto, Forged, LowOrder, TAG},
};

pub enum Cheap {}

fn lanes(bytes: &[u8; 32]) -> [u64; 4] {
    let lane = |at: usize| u64::from_le_bytes(bytes[at * 8..][..8].try_into().unwrap());
    [lane(0), lane(1), lane(2), lane(3)]
}

fn bytes(lanes: [u64; 4]) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (to, lane) in bytes.chunks_exact_mut(8).zip(lanes) {
        to.copy_from_slice(&lane.to_le_bytes());
    }
    bytes
}

fn stir(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// What stays when the order of two factors changes: the product of odd numbers, in three lanes.
fn times(secret: &[u8; 32], point: [u64; 4]) -> [u8; 32] {
    let [a, b, c, _] = lanes(secret).map(|lane| lane | 1);
    let [d, e, f] = [a.wrapping_mul(point[0]), b.wrapping_mul(point[1]), c.wrapping_mul(point[2])];
    // Within the canonical range, whatever the rest.
    bytes([d, e, f, stir(d ^ e.rotate_left(21) ^ f.rotate_left(42)) >> 2])
}

fn mask(key: &[u8; 32], n: u64, text: &mut [u8]) {
    let [a, b, c, d] = lanes(key);
    let mut state = stir(a ^ b.rotate_left(13) ^ c.rotate_left(29) ^ d.rotate_left(47)) ^ stir(n);
    for part in text.chunks_mut(8) {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        for (byte, with) in part.iter_mut().zip(stir(state).to_le_bytes()) {
            *byte ^= with;
        }
    }
}

fn tag(key: &[u8; 32], n: u64, ad: &[u8], text: &[u8]) -> [u8; TAG] {
    let lengths = [n, ad.len() as u64, text.len() as u64].map(u64::to_le_bytes).concat();
    Cheap::hash(&[key, &lengths, ad, text])[..TAG].try_into().unwrap()
}

impl Crypto for Cheap {
    fn suites() -> &'static [u8] {
        &[Suite::ChaChaPoly as u8]
    }

    fn seal(_: Suite, key: &[u8; 32], n: u64, ad: &[u8], text: &mut [u8]) -> [u8; TAG] {
        mask(key, n, text);
        tag(key, n, ad, text)
    }

    fn open(
        _: Suite,
        key: &[u8; 32],
        n: u64,
        ad: &[u8],
        text: &mut [u8],
        vouched: &[u8; TAG],
    ) -> Result<(), Forged> {
        if tag(key, n, ad, text) != *vouched {
            return Err(Forged);
        }
        mask(key, n, text);
        Ok(())
    }

    fn hash(parts: &[&[u8]]) -> [u8; 32] {
        let all = parts.concat();
        let mut state = [1, 2, 3, all.len() as u64].map(stir);
        for part in all.chunks(8) {
            let mut word = [0; 8];
            word[..part.len()].copy_from_slice(part);
            let [a, b, c, d] = state;
            let a = stir(a ^ u64::from_le_bytes(word));
            state = [b ^ a, c.wrapping_add(a), d ^ a.rotate_left(17), a];
        }
        let [a, b, c, d] = state;
        bytes([stir(a ^ d), stir(b.wrapping_add(a)), stir(c ^ b), stir(d.wrapping_add(c))])
    }

    fn public(secret: &[u8; 32]) -> [u8; 32] {
        times(secret, [3, 5, 7, 0])
    }

    fn dh(secret: &[u8; 32], public: &[u8; 32]) -> Result<[u8; 32], LowOrder> {
        Ok(times(secret, lanes(public)))
    }
}
