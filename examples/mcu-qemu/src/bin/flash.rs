//! Flash keeps what is written over resets of every kind, and nothing else is allowed than on real flash. Each start
//! writes one more word; `resets=N` starts over by itself until there are as many. `flash=PATH` names the file.
#![no_std]
#![no_main]

use board::{
    Board, entry,
    flash::{FlashError, HostFlash},
    println, semihosting,
};
use embedded_storage::nor_flash::{NorFlash, NorFlashErrorKind, ReadNorFlash};

const SIZE: usize = 4096;
/// Where the words are; what is in front of it is for trying things out.
const WORDS: u32 = 1024;

fn run(path: &str, resets: u64) -> Result<u64, FlashError> {
    let mut flash = HostFlash::<SIZE>::open(path)?;
    let mut starts = 0;
    let mut word = [0; 4];
    loop {
        flash.read(WORDS + 4 * starts, &mut word)?;
        if word == [0xFF; 4] {
            break;
        }
        assert!(word == starts.to_be_bytes(), "word {starts} is {word:?}");
        starts += 1;
    }
    flash.write(WORDS + 4 * starts, &starts.to_be_bytes())?;

    flash.erase(0, 1024)?;
    flash.write(8, b"whatever")?;
    assert_eq!(flash.write(4, &[0; 12]), Err(FlashError::NotErased { at: 8 }));
    flash.read(4, &mut word)?;
    assert_eq!(word, [0xFF; 4], "a refused write writes nothing");
    let not_aligned = Err(FlashError::Arguments(NorFlashErrorKind::NotAligned));
    assert_eq!(flash.write(2, &[0; 4]), not_aligned);
    assert_eq!(flash.write(0, &[0; 3]), not_aligned);
    assert_eq!(flash.erase(0, 1000), not_aligned);
    let out_of_bounds = Err(FlashError::Arguments(NorFlashErrorKind::OutOfBounds));
    assert_eq!(flash.read(SIZE as u32 - 3, &mut word), out_of_bounds);
    assert_eq!(flash.erase(0, 2 * SIZE as u32), out_of_bounds);

    let starts = u64::from(starts) + 1;
    println!("start {starts}");
    if starts < resets { board::reset() } else { Ok(starts) }
}

#[entry]
fn main() -> ! {
    let board = Board::take();
    let path = board.args.get("flash").unwrap_or("flash.bin");
    match run(path, board.args.number("resets").unwrap_or(0)) {
        Ok(starts) => println!("flash is right after {starts} starts"),
        Err(error) => panic!("{error:?}"),
    }
    semihosting::exit(0)
}
