//! A second Noise, written from the specification for the worked examples: it knows both sides' secrets and simply
//! computes what has to travel. It shares nothing with the core but the primitives.
#![allow(dead_code, unreachable_pub, reason = "every test file uses its own part of this module")]

use blake2::{Blake2s256, Digest};
use chacha20poly1305::{ChaCha20Poly1305, KeyInit, aead::AeadInOut};

pub type Key = [u8; 32];

pub fn hash(data: &[u8]) -> Key {
    Blake2s256::digest(data).into()
}

pub fn public(secret: &Key) -> Key {
    x25519_dalek::x25519(*secret, x25519_dalek::X25519_BASEPOINT_BYTES)
}

/// RFC 2104 over BLAKE2s, whose block has 64 bytes.
fn hmac(key: &Key, data: &[u8]) -> Key {
    let pad = |byte: u8| -> Vec<u8> {
        (0..64).map(|i| key.get(i).copied().unwrap_or_default() ^ byte).collect()
    };
    let inner = hash(&[&pad(0x36), data].concat());
    hash(&[&pad(0x5c), &inner[..]].concat())
}

/// Noise §4.3 with three outputs, of which a caller takes what it needs.
fn hkdf(ck: &Key, material: &[u8]) -> [Key; 3] {
    let temp = hmac(ck, material);
    let first = hmac(&temp, &[1]);
    let second = hmac(&temp, &[&first[..], &[2]].concat());
    let third = hmac(&temp, &[&second[..], &[3]].concat());
    [first, second, third]
}

/// Ciphertext and tag with AESGCM: Noise §12.4.
fn encrypt_aes(key: &Key, n: u64, ad: &[u8], text: &[u8]) -> Vec<u8> {
    use aes_gcm::{
        Aes256Gcm, KeyInit,
        aead::{Aead, Payload},
    };
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&n.to_be_bytes());
    Aes256Gcm::new(key.into()).encrypt(&nonce.into(), Payload { msg: text, aad: ad }).unwrap()
}

/// Ciphertext and tag with the cipher of that name.
fn encrypt_with(cipher: &str, key: &Key, n: u64, ad: &[u8], text: &[u8]) -> Vec<u8> {
    match cipher {
        "AESGCM" => encrypt_aes(key, n, ad, text),
        _ => encrypt(key, n, ad, text),
    }
}

/// Ciphertext and tag with ChaChaPoly: §12.3.
pub fn encrypt(key: &Key, n: u64, ad: &[u8], text: &[u8]) -> Vec<u8> {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&n.to_le_bytes());
    let mut out = text.to_vec();
    let cipher = ChaCha20Poly1305::new(&(*key).into());
    let tag = cipher.encrypt_inout_detached(&nonce.into(), ad, out.as_mut_slice().into()).unwrap();
    out.extend_from_slice(&tag);
    out
}

/// Noise §4.2 `REKEY`.
pub fn rekey(key: &Key) -> Key {
    encrypt(key, u64::MAX, &[], &[0; 32])[..32].try_into().unwrap()
}

/// One record of the first suite as it travels.
pub fn record(key: &Key, n: u64, text: &[u8]) -> Vec<u8> {
    record_with("ChaChaPoly", key, n, text)
}

/// One record as it travels.
pub fn record_with(cipher: &str, key: &Key, n: u64, text: &[u8]) -> Vec<u8> {
    let sealed = encrypt_with(cipher, key, n, &[], text);
    [&u16::try_from(sealed.len()).unwrap().to_be_bytes()[..], &sealed].concat()
}

/// One record between clients as it travels: the counter in front is the nonce.
pub fn labelled(key: &Key, label: u8, counter: u32, text: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = counter.to_be_bytes();
    [&[label, a, b, c][..], &encrypt(key, counter.into(), &[], text)].concat()
}

/// Everything that both sides together put into a handshake. Of each pair, the initiator's part is first.
pub struct Inputs<'a> {
    /// `XX`, `XK` or `KK`.
    pub pattern: &'a str,
    /// `ChaChaPoly` or `AESGCM`.
    pub cipher: &'a str,
    pub psk: Option<&'a Key>,
    pub prologue: Vec<u8>,
    pub statics: [Key; 2],
    pub ephemerals: [Key; 2],
    pub payloads: &'a [&'a [u8]],
}

/// What a handshake comes to.
pub struct Transcript {
    pub protocol: String,
    pub messages: Vec<Vec<u8>>,
    /// (h, ck) before the first message and after each.
    pub states: Vec<(Key, Key)>,
    /// The keys of the two directions, initiator's first.
    pub keys: [Key; 2],
}

struct Symmetric<'a> {
    cipher: &'a str,
    h: Key,
    ck: Key,
    k: Option<(Key, u64)>,
}

impl Symmetric<'_> {
    fn mix_hash(&mut self, data: &[u8]) {
        self.h = hash(&[&self.h[..], data].concat());
    }

    fn mix_key(&mut self, material: &[u8]) {
        let [ck, k, _] = hkdf(&self.ck, material);
        (self.ck, self.k) = (ck, Some((k, 0)));
    }

    fn mix_psk(&mut self, psk: &Key) {
        let [ck, temp, k] = hkdf(&self.ck, psk);
        self.mix_hash(&temp);
        (self.ck, self.k) = (ck, Some((k, 0)));
    }

    fn encrypt_and_hash(&mut self, text: &[u8]) -> Vec<u8> {
        let out = match &mut self.k {
            Some((k, n)) => {
                let out = encrypt_with(self.cipher, k, *n, &self.h, text);
                *n += 1;
                out
            }
            None => text.to_vec(),
        };
        self.mix_hash(&out);
        out
    }
}

/// Runs a whole handshake.
pub fn handshake(inputs: &Inputs<'_>) -> Transcript {
    let [(si, sr), (ei, er)] =
        [inputs.statics, inputs.ephemerals].map(|[initiator, responder]| (initiator, responder));
    let dh = |secret: &Key, other: &Key| x25519_dalek::x25519(*secret, public(other));
    let name = inputs.pattern;
    // Which static keys are known beforehand, and what each message says.
    let (known, patterns) = match name {
        "XX" => (vec![], vec!["e", "e ee s es", "s se"]),
        "XK" => (vec![sr], vec!["e es", "e ee", "s se"]),
        _ => (vec![si, sr], vec!["e es ss", "e ee se"]),
    };
    let modifier = if inputs.psk.is_some() { "psk0" } else { "" };
    let cipher = inputs.cipher;
    let protocol = format!("Noise_{name}{modifier}_25519_{cipher}_BLAKE2s");
    let mut h = [0; 32];
    match protocol.len() {
        // §5.2: what is no longer than a hash is padded.
        n @ 0..=32 => h[..n].copy_from_slice(protocol.as_bytes()),
        _ => h = hash(protocol.as_bytes()),
    }
    let mut state = Symmetric { cipher, h, ck: h, k: None };
    state.mix_hash(&inputs.prologue);
    for secret in known {
        state.mix_hash(&public(&secret));
    }
    let mut states = vec![(state.h, state.ck)];
    let mut messages = vec![];
    for (i, pattern) in patterns.into_iter().enumerate() {
        let mut message = vec![];
        if let (0, Some(psk)) = (i, inputs.psk) {
            state.mix_psk(psk);
        }
        let (s, e) = if i == 1 { (sr, er) } else { (si, ei) };
        for token in pattern.split(' ') {
            match token {
                "e" => {
                    message.extend(public(&e));
                    state.mix_hash(&public(&e));
                    if inputs.psk.is_some() {
                        state.mix_key(&public(&e));
                    }
                }
                "s" => message.extend(state.encrypt_and_hash(&public(&s))),
                "ee" => state.mix_key(&dh(&ei, &er)),
                "es" => state.mix_key(&dh(&ei, &sr)),
                "ss" => state.mix_key(&dh(&si, &sr)),
                _ => state.mix_key(&dh(&si, &er)),
            }
        }
        message.extend(state.encrypt_and_hash(inputs.payloads[i]));
        messages.push(message);
        states.push((state.h, state.ck));
    }
    let [first, second, _] = hkdf(&state.ck, &[]);
    Transcript { protocol, messages, states, keys: [first, second] }
}
