//! What is counted.

use std::hint::black_box;

use pysock_proto::{Crypto, Identity, Keypair, SecretKey, Suite};

use crate::pair::Pair;

/// The names of what [`all`] counts, in its order.
pub(crate) const ROWS: [&str; 8] = [
    "handshake XX, both sides",
    "handshake XK, both sides",
    "send 64 B",
    "receive 64 B",
    "send 256 x 64 B in a record",
    "receive 256 x 64 B in a record",
    "send 16 KiB",
    "receive 16 KiB",
];

/// Valgrind counts what runs inside, and writes a figure down at each return.
#[inline(never)]
fn counted<T>(work: impl FnOnce() -> T) -> T {
    black_box(work())
}

/// Everything once. `false` if this computer does not have the suite.
pub(crate) fn all<C: Crypto>(suite: Suite) -> bool {
    if !C::suites().contains(&(suite as u8)) {
        return false;
    }
    let keys = || [[1; 32], [2; 32]].map(|key| Keypair::<C>::new(SecretKey::from_bytes(key)));
    let server = keys()[1].public();
    // What happens only once in the life of a program, such as asking the processor what it can, is over after this.
    Pair::new(suite, keys(), None).shake_hands();

    let mut pair = Pair::new(suite, keys(), None);
    counted(|| pair.shake_hands());
    let mut pair = Pair::new(suite, keys(), Some(&server));
    counted(|| pair.shake_hands());
    for (count, length) in [(1, 64), (256, 64), (1, 16 * 1024)] {
        let bytes = vec![7; length];
        counted(|| pair.send(count, &bytes));
        pair.carry();
        assert_eq!(counted(|| pair.receive()), count);
    }
    true
}
