//! The key store, over a driver that does next to nothing.
#![no_std]
#![no_main]

use core::hint::black_box;

use board::{Register, Size, sizes};
use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash};
use pysock_embedded::{
    Entropy, NoEntropy,
    keys::{KeyStore, KeyStoreError, KnownServer},
    proto::{Name, PublicKey, flash},
};

// SAFETY: the section exists for this table alone; it is kept in the file and never loaded.
#[unsafe(link_section = ".pysock_sizes")]
#[used]
static SIZES: [Size; 3] = sizes! {
    "KeyStore without its driver" flash::Log,
    "a task of KeyStore" flash::Task<'static>,
    "Option<KnownServer>" Option<KnownServer>,
};

/// Flash behind a register.
struct Flash;

impl ErrorType for Flash {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for Flash {
    const READ_SIZE: usize = 1;

    fn read(&mut self, at: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        board::write(Register::Wish, at);
        bytes.fill_with(|| board::read(Register::Stored) as u8);
        Ok(())
    }

    fn capacity(&self) -> usize {
        256 * 1024
    }
}

impl NorFlash for Flash {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = 4096;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
        board::write(Register::Wish, from);
        board::write(Register::Wish, to);
        Ok(())
    }

    fn write(&mut self, at: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        board::write(Register::Wish, at);
        board::show(bytes);
        Ok(())
    }
}

struct Random;

impl Entropy for Random {
    fn fill(&mut self, bytes: &mut [u8; 32]) -> Result<(), NoEntropy> {
        *bytes = board::bytes(Register::Random);
        Ok(())
    }
}

/// All that a client does with its keys.
fn run() -> Result<(), KeyStoreError> {
    let Ok(name) = Name::new("sensor-7") else { return Ok(()) };
    let mut store =
        KeyStore::open_or_provision(Flash, 0x3_e000..0x4_0000, &mut Random, Some(&name))?;
    let key = PublicKey(board::bytes(Register::Receive));
    loop {
        // What a program does with the answers is not measured.
        match board::read(Register::Wish) {
            0 => {
                black_box(&store.identity());
            }
            1 => {
                black_box(&store.server(0));
            }
            2 => {
                black_box(&store.pin_server(0, key, &[1, 2]));
            }
            3 => {
                black_box(&store.peer(&name));
            }
            4 => {
                black_box(&store.pin_peer(&name, key));
            }
            _ => {
                black_box(&store.peer_label(&key));
            }
        }
    }
}

// SAFETY: the only `main` in the program; the reset code expects exactly this signature.
#[unsafe(no_mangle)]
extern "C" fn main() -> ! {
    if let Err(error) = run() {
        black_box(error);
    }
    board::halt()
}
