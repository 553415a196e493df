//! Numbers that look random and are not: the boards have no generator.

use pysock_embedded::{Entropy, NoEntropy};
use pysock_proto::{RustCrypto, crypto::Crypto};

use crate::println;

/// A generator for tests: who knows the seed knows everything that comes. A product takes a hardware generator.
pub struct TestEntropy {
    seed: u64,
    drawn: u64,
}

impl TestEntropy {
    /// Begins with a seed, and says loudly what this is.
    pub(crate) fn new(seed: u64) -> Self {
        println!("WARNING: TEST ENTROPY from seed {seed}: every key of this run is predictable");
        TestEntropy { seed, drawn: 0 }
    }

    /// The next 32 bytes.
    pub fn bytes(&mut self) -> [u8; 32] {
        self.drawn += 1;
        let parts = [self.seed.to_be_bytes(), self.drawn.to_be_bytes()];
        RustCrypto::hash(&[b"test entropy", &parts[0], &parts[1]])
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.bytes();
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }
}

impl Entropy for TestEntropy {
    fn fill(&mut self, bytes: &mut [u8; 32]) -> Result<(), NoEntropy> {
        *bytes = self.bytes();
        Ok(())
    }
}
