//! NOR flash in a file of the host: what survives a reset.

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash, check_erase, check_read,
    check_write,
};

use crate::semihosting::{File, HostError, Mode};

/// What erasing leaves.
const ERASED: u8 = 0xFF;

/// How much is worked on at once.
const PIECE: usize = 64;

/// Why flash did not do what it should.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FlashError {
    /// Not aligned, or out of bounds.
    Arguments(NorFlashErrorKind),
    /// Written to a word that is not erased: real flash might keep some mixture.
    NotErased {
        /// Where the word is.
        at: u32,
    },
    /// The file has another length than the flash.
    Length(usize),
    /// The host fails.
    Host(HostError),
}

impl NorFlashError for FlashError {
    fn kind(&self) -> NorFlashErrorKind {
        match self {
            FlashError::Arguments(kind) => *kind,
            _ => NorFlashErrorKind::Other,
        }
    }
}

impl From<NorFlashErrorKind> for FlashError {
    fn from(kind: NorFlashErrorKind) -> Self {
        FlashError::Arguments(kind)
    }
}

impl From<HostError> for FlashError {
    fn from(error: HostError) -> Self {
        FlashError::Host(error)
    }
}

/// Flash of `SIZE` bytes that holds firmware to the rules of real flash. Every write is with the host before the call
/// returns, so the end of the emulator at any moment is a power cut.
pub struct HostFlash<const SIZE: usize> {
    file: File,
}

impl<const SIZE: usize> HostFlash<SIZE> {
    /// The flash in the file at `path`; erased, if there is no such file.
    ///
    /// # Errors
    /// [`FlashError::Length`]: it is another flash. [`FlashError::Host`].
    pub fn open(path: &str) -> Result<Self, FlashError> {
        const { assert!(SIZE.is_multiple_of(Self::ERASE_SIZE)) };
        if let Ok(file) = File::open(path, Mode::Update) {
            let length = file.length()?;
            return if length == SIZE {
                Ok(HostFlash { file })
            } else {
                Err(FlashError::Length(length))
            };
        }
        let mut flash = HostFlash { file: File::open(path, Mode::Create)? };
        flash.clear(0, SIZE)?;
        Ok(flash)
    }

    fn clear(&mut self, from: usize, to: usize) -> Result<(), FlashError> {
        self.file.seek(from)?;
        for _ in (from..to).step_by(PIECE) {
            self.file.write(&[ERASED; PIECE])?;
        }
        Ok(())
    }
}

impl<const SIZE: usize> ErrorType for HostFlash<SIZE> {
    type Error = FlashError;
}

impl<const SIZE: usize> ReadNorFlash for HostFlash<SIZE> {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), FlashError> {
        check_read(self, offset, bytes.len())?;
        self.file.seek(offset as usize)?;
        Ok(self.file.read(bytes)?)
    }

    fn capacity(&self) -> usize {
        SIZE
    }
}

impl<const SIZE: usize> NorFlash for HostFlash<SIZE> {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = 1024;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), FlashError> {
        check_erase(self, from, to)?;
        self.clear(from as usize, to as usize)
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), FlashError> {
        check_write(self, offset, bytes.len())?;
        // Looks at everything before it writes anything.
        self.file.seek(offset as usize)?;
        let mut at = offset;
        for piece in bytes.chunks(PIECE) {
            let mut there = [0; PIECE];
            let there = &mut there[..piece.len()];
            self.file.read(there)?;
            if let Some(wrong) = there.iter().position(|byte| *byte != ERASED) {
                return Err(FlashError::NotErased { at: at + wrong as u32 / 4 * 4 });
            }
            at += piece.len() as u32;
        }
        self.file.seek(offset as usize)?;
        Ok(self.file.write(bytes)?)
    }
}
