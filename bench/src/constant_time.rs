//! Whether comparing secrets takes as long when the first byte differs as when the last one does: Welch's t-test over many timings of
//! two classes in random order, after Reparaz, Balasch and Verbauwhede, "Dude, is my code constant time?" (DATE 2017).
//!
//! It can show a leak and cannot show that there is none. One comparison that does leak stands beside the others, so that it is seen
//! whether this machine shows leaks at all.
#![allow(clippy::print_stdout, reason = "it is what this program is for")]

use std::{hint::black_box, time::Instant};

use pysock_std::{
    crypto::Native,
    proto::{Crypto, Psk, RustCrypto, SecretKey, Suite},
};

/// Beyond it, the authors take the classes for different.
const SUSPECT: f64 = 4.5;
/// Timings of each test, of both classes together.
const TIMINGS: usize = 400_000;
/// Operations of one timing: one alone is shorter than the clock's step.
const REPEATS: usize = 16;
/// The share of timings, the shortest, that counts: the rest were interrupted.
const KEPT: f64 = 0.9;

/// Where the difference is.
#[derive(Clone, Copy, PartialEq)]
enum Class {
    First,
    Last,
}

/// The mean of a class, and how it scatters, in one pass (Welford).
#[derive(Default)]
struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    fn add(&mut self, value: f64) {
        self.count += 1.0;
        let off = value - self.mean;
        self.mean += off / self.count;
        self.squares += off * (value - self.mean);
    }

    fn variance_of_mean(&self) -> f64 {
        self.squares / (self.count - 1.0) / self.count
    }
}

/// Welch's t for `operation` on one value or the other.
fn t<T>(values: &[T; 2], mut operation: impl FnMut(&T) -> bool) -> f64 {
    let mut timings = Vec::with_capacity(TIMINGS);
    let mut random: u64 = 0x9e37_79b9_7f4a_7c15;
    for _ in 0..TIMINGS {
        // xorshift64
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let class = if random >> 40 & 1 == 0 { Class::First } else { Class::Last };
        let value = black_box(&values[class as usize]);
        let begun = Instant::now();
        for _ in 0..REPEATS {
            black_box(operation(black_box(value)));
        }
        timings.push((begun.elapsed().as_nanos() as f64, class));
    }
    let mut sorted: Vec<f64> = timings.iter().map(|(nanos, _)| *nanos).collect();
    sorted.sort_by(f64::total_cmp);
    let longest = sorted[(TIMINGS as f64 * KEPT) as usize];
    let mut moments = [Moments::default(), Moments::default()];
    for (nanos, class) in timings.iter().filter(|(nanos, _)| *nanos <= longest) {
        moments[*class as usize].add(*nanos);
    }
    let [first, last] = moments;
    (first.mean - last.mean) / (first.variance_of_mean() + last.variance_of_mean()).sqrt()
}

/// `bytes` with another first, and with another last byte.
fn both<const N: usize>(bytes: [u8; N]) -> [[u8; N]; 2] {
    let mut both = [bytes; 2];
    both[0][0] ^= 1;
    both[1][N - 1] ^= 1;
    both
}

fn tags<C: Crypto>(suite: Suite) -> f64 {
    let key = [7; 32];
    let mut sealed = [1; 64];
    let tag = C::seal(suite, &key, 0, &[], &mut sealed);
    t(&both(tag), |tag| {
        let mut text = sealed;
        C::open(suite, &key, 0, &[], &mut text, tag).is_ok()
    })
}

/// Stops at the first difference.
#[inline(never)]
fn naive(a: &[u8; 32], b: &[u8; 32]) -> bool {
    a.iter().zip(b).all(|(a, b)| black_box(a) == b)
}

/// Measures all, and prints what was found.
pub(crate) fn run() {
    let secret = [5; 32];
    let key = SecretKey::from_bytes(secret);
    let psk = Psk::new([1; 8], secret);
    let mut lines = vec![
        ("a comparison that leaks", t(&both(secret), |other| naive(&secret, other))),
        ("secret keys", t(&both(secret).map(SecretKey::from_bytes), |other| key == *other)),
        ("pre-shared keys", t(&both(secret).map(|s| Psk::new([1; 8], s)), |other| psk == *other)),
        ("tags, ChaCha20-Poly1305, RustCrypto", tags::<RustCrypto>(Suite::ChaChaPoly)),
        ("tags, ChaCha20-Poly1305, AWS-LC", tags::<Native>(Suite::ChaChaPoly)),
    ];
    if Native::suites().contains(&(Suite::AesGcm as u8)) {
        lines.push(("tags, AES-256-GCM, AWS-LC", tags::<Native>(Suite::AesGcm)));
    }
    println!("{TIMINGS} timings each; |t| beyond {SUSPECT} is suspect");
    for (what, t) in lines {
        let verdict = if t.abs() > SUSPECT { "differs" } else { "no difference seen" };
        println!("  {what:<38} t = {t:>9.2}   {verdict}");
    }
}
