//! AWS-LC against published vectors, and against RustCrypto.

use pysock_proto::{
    Crypto, RustCrypto, Suite,
    crypto::{Forged, LowOrder},
};

use super::AwsLc;

fn hex(text: &str) -> Vec<u8> {
    let text: String = text.split_whitespace().collect();
    (0..text.len() / 2).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap()).collect()
}

fn key(text: &str) -> [u8; 32] {
    hex(text).try_into().unwrap()
}

/// The same bytes in every run.
struct Seeded(u64);

impl Seeded {
    fn next(&mut self) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }

    fn key(&mut self) -> [u8; 32] {
        self.bytes(32).try_into().unwrap()
    }
}

#[test]
fn chacha20_poly1305_of_rfc_8439() {
    // Appendix A.5, whose nonce begins with four zero bytes as Noise's does.
    let k = key("1c9240a5eb55d38af333888604f6b5f0473917c1402b80099dca5cbc207075c0");
    let n = u64::from_le_bytes(hex("0102030405060708").try_into().unwrap());
    let ad = hex("f33388860000000000004e91");
    let sealed = hex("64a0861575861af460f062c79be643bd5e805cfd345cf389f108670ac76c8cb2
        4c6cfc18755d43eea09ee94e382d26b0bdb7b73c321b0100d4f03b7f355894cf332f830e710b97ce98c8a84abd0b94811
        4ad176e008d33bd60f982b1ff37c8559797a06ef4f0ef61c186324e2b3506383606907b6a7c02b0f9f6157b53c867e4b9
        166c767b804d46a59b5216cde7a4e99040c5a40433225ee282a1b0a06c523eaf4534d7f83fa1155b0047718cbc546a0d0
        72b04b3564eea1b422273f548271a0bb2316053fa76991955ebd63159434ecebb4e466dae5a1073a6727627097a1049e6
        17d91d361094fa68f0ff77987130305beaba2eda04df997b714d6c6f2c29a6ad5cb4022b02709b");
    let tag: [u8; 16] = hex("eead9d67890cbb22392336fea1851f38").try_into().unwrap();
    let mut text = sealed.clone();
    AwsLc::open(Suite::ChaChaPoly, &k, n, &ad, &mut text, &tag).unwrap();
    assert!(text.starts_with(b"Internet-Drafts are draft documents valid for"));
    assert_eq!(AwsLc::seal(Suite::ChaChaPoly, &k, n, &ad, &mut text), tag);
    assert_eq!(text, sealed);
}

#[test]
fn x25519_of_rfc_7748() {
    // §6.1, and the second vector of §5.2, whose point has bit 255 set.
    let a = key("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
    let b = key("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
    let public = key("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
    let shared = key("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
    assert_eq!(AwsLc::public(&a), public);
    assert_eq!(AwsLc::dh(&b, &public), Ok(shared));
    let secret = key("4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d");
    let point = key("e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493");
    let out = key("95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957");
    assert_eq!(AwsLc::dh(&secret, &point), Ok(out));
}

/// Points of low order in every encoding, canonical or not: RFC 7748 §6.1 asks for the check.
fn low_order() -> Vec<[u8; 32]> {
    let near_p = |low| {
        let mut point = [0xff; 32];
        (point[0], point[31]) = (low, 0x7f);
        point
    };
    let mut one = [0; 32];
    one[0] = 1;
    let mut points = vec![
        [0; 32],
        one,
        near_p(0xec),
        near_p(0xed),
        near_p(0xee),
        key("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
        key("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    ];
    for mut point in points.clone() {
        point[31] |= 0x80;
        points.push(point);
    }
    points
}

#[test]
fn low_order_points_are_refused() {
    let mut seeded = Seeded(7);
    for point in low_order() {
        for secret in [[0; 32], [0xff; 32], seeded.key()] {
            assert_eq!(AwsLc::dh(&secret, &point), Err(LowOrder), "{point:02x?}");
            assert_eq!(RustCrypto::dh(&secret, &point), Err(LowOrder), "{point:02x?}");
        }
    }
}

#[test]
fn x25519_is_the_same_in_both() {
    let mut seeded = Seeded(1);
    let mut secrets = vec![[0; 32], [0xff; 32], [1; 32]];
    let mut points = vec![[9; 32], [0xff; 32]];
    // Not canonical: p + 2 to p + 18, each with bit 255 clear and set.
    for low in 0xefu8..=0xff {
        let mut point = [0xff; 32];
        (point[0], point[31]) = (low, 0x7f);
        points.push(point);
        point[31] = 0xff;
        points.push(point);
    }
    for _ in 0..100 {
        secrets.push(seeded.key());
        points.push(seeded.key());
        // And a true public key, with a bit that does not count.
        let mut public = RustCrypto::public(&seeded.key());
        points.push(public);
        public[31] |= 0x80;
        points.push(public);
    }
    for secret in &secrets {
        assert_eq!(AwsLc::public(secret), RustCrypto::public(secret), "{secret:02x?}");
    }
    for (i, point) in points.iter().enumerate() {
        let secret = &secrets[i % secrets.len()];
        let shared = AwsLc::dh(secret, point);
        assert_eq!(shared, RustCrypto::dh(secret, point), "{secret:02x?} {point:02x?}");
        let mut without_top_bit = *point;
        without_top_bit[31] &= 0x7f;
        assert_eq!(shared, AwsLc::dh(secret, &without_top_bit));
    }
}

#[test]
fn hashes_are_the_same_in_both() {
    let mut seeded = Seeded(2);
    for len in [0, 1, 63, 64, 65, 127, 128, 129, 1000] {
        let data = seeded.bytes(len);
        let (first, second) = data.split_at(len / 3);
        assert_eq!(AwsLc::hash(&[first, second]), RustCrypto::hash(&[&data]));
    }
}

#[test]
fn what_it_offers_is_what_the_processor_is_good_at() {
    let all = if super::aws_lc::has_aes() { &[2, 1][..] } else { &[1] };
    assert_eq!(AwsLc::suites(), all);
    assert_eq!(RustCrypto::suites(), [1]);
}

#[test]
fn aes_256_gcm_of_nist() {
    // McGrew and Viega, "The Galois/Counter Mode of Operation", test cases 13 and 14: nonce 0.
    let tag = hex("530f8afbc74536b9a963b4f1c4cb738b");
    assert_eq!(AwsLc::seal(Suite::AesGcm, &[0; 32], 0, &[], &mut []).to_vec(), tag);
    let mut text = [0; 16];
    let tag = hex("d0d1c8a799996bf0265b98b5d48ab919");
    assert_eq!(AwsLc::seal(Suite::AesGcm, &[0; 32], 0, &[], &mut text).to_vec(), tag);
    assert_eq!(text.to_vec(), hex("cea7403d4d606b6e074ec5d3baf39d18"));
}

#[test]
fn aes_256_gcm_is_that_of_rustcrypto() {
    use aes_gcm::{Aes256Gcm, KeyInit, aead::AeadInPlace};
    let mut seeded = Seeded(5);
    let suite = Suite::AesGcm;
    for len in lengths(&mut seeded) {
        let (k, n, text) = (seeded.key(), seeded.next(), seeded.bytes(len));
        let ad_len = [0, 32, seeded.next() as usize % 80][len % 3];
        let ad = seeded.bytes(ad_len);
        // Noise §12.4: 32 zero bits, then the number in big-endian order.
        let nonce = [&[0; 4][..], &n.to_be_bytes()].concat();
        let (mut ours, mut theirs) = (text.clone(), text.clone());
        let tag = AwsLc::seal(suite, &k, n, &ad, &mut ours);
        let cipher = Aes256Gcm::new(&k.into());
        let their_tag =
            cipher.encrypt_in_place_detached(nonce.as_slice().into(), &ad, &mut theirs).unwrap();
        assert_eq!((tag.to_vec(), &ours), (their_tag.to_vec(), &theirs), "{len}");
        AwsLc::open(suite, &k, n, &ad, &mut theirs, &tag).unwrap();
        assert_eq!(theirs, text);
    }
}

/// Lengths at which implementations change their ways, and random ones.
fn lengths(seeded: &mut Seeded) -> Vec<usize> {
    let mut all: Vec<usize> = (0..=300).collect();
    all.extend([511, 512, 513, 1023, 1024, 1025, 4095, 4096, 4097, 16_383, 16_384, 65_519]);
    all.extend((0..100).map(|_| (seeded.next() % 20_000) as usize));
    all
}

#[test]
fn chacha20_poly1305_is_the_same_in_both() {
    let mut seeded = Seeded(3);
    let suite = Suite::ChaChaPoly;
    for len in lengths(&mut seeded) {
        let (k, n, text) = (seeded.key(), seeded.next(), seeded.bytes(len));
        let ad_len = [0, 32, seeded.next() as usize % 80][len % 3];
        let ad = seeded.bytes(ad_len);
        let (mut ours, mut theirs) = (text.clone(), text.clone());
        let tag = AwsLc::seal(suite, &k, n, &ad, &mut ours);
        assert_eq!(tag, RustCrypto::seal(suite, &k, n, &ad, &mut theirs), "{len}");
        assert_eq!(ours, theirs, "{len}");
        RustCrypto::open(suite, &k, n, &ad, &mut ours, &tag).unwrap();
        AwsLc::open(suite, &k, n, &ad, &mut theirs, &tag).unwrap();
        assert_eq!((&ours, &theirs), (&text, &text));
    }
}

#[test]
fn whatever_is_changed_does_not_open() {
    let mut seeded = Seeded(4);
    for suite in [Suite::ChaChaPoly, Suite::AesGcm] {
        for len in [0, 1, 16, 64, 1000] {
            let (k, n, ad) = (seeded.key(), seeded.next() >> 1, seeded.bytes(32));
            let mut sealed = seeded.bytes(len);
            let tag = AwsLc::seal(suite, &k, n, &ad, &mut sealed);
            let open = |k: &[u8; 32], n, ad: &[u8], text: &[u8], tag: &[u8; 16]| {
                AwsLc::open(suite, k, n, ad, &mut text.to_vec(), tag)
            };
            assert_eq!(open(&k, n, &ad, &sealed, &tag), Ok(()));
            for bit in 0..tag.len() * 8 {
                let mut bad = tag;
                bad[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(open(&k, n, &ad, &sealed, &bad), Err(Forged));
            }
            for at in 0..len {
                let mut bad = sealed.clone();
                bad[at] ^= 0x10;
                assert_eq!(open(&k, n, &ad, &bad, &tag), Err(Forged));
            }
            let mut other = k;
            other[31] ^= 1;
            assert_eq!(open(&other, n, &ad, &sealed, &tag), Err(Forged));
            assert_eq!(open(&k, n + 1, &ad, &sealed, &tag), Err(Forged));
            assert_eq!(open(&k, n, &ad[1..], &sealed, &tag), Err(Forged));
            if len > 0 {
                assert_eq!(open(&k, n, &ad, &sealed[1..], &tag), Err(Forged));
            }
        }
    }
}
