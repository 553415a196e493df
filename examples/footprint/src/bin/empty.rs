//! The baseline: everything that a program has without pysock.
#![no_std]
#![no_main]

use board::Register;

/// Moves bytes as the other programs do, so that only pysock is in the difference.
// SAFETY: the only `main` in the program; the reset code expects exactly this signature.
#[unsafe(no_mangle)]
extern "C" fn main() -> ! {
    let mut memory = board::bytes::<32>(Register::Stored);
    loop {
        let n = board::receive(&mut memory);
        board::send(memory.get(..n).unwrap_or_default());
        board::show(&memory);
        board::sleep(Some(board::now()));
    }
}
