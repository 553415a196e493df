//! A file in the place of flash.

use std::{
    fs,
    io::{self, Write},
    path::PathBuf,
};

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash, check_erase, check_read, check_write,
};

/// A file in the place of 8 KiB of flash, in pages of 4 KiB that are written word by word.
#[derive(Debug)]
pub struct FileFlash {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl FileFlash {
    /// How many bytes it has.
    pub const SIZE: usize = 8192;

    /// Opens the file, or takes one that is erased, if there is none.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => vec![0xff; Self::SIZE],
            bytes => bytes?,
        };
        Ok(FileFlash { path, bytes })
    }

    fn part(&mut self, from: u32, len: usize) -> Result<&mut [u8], NorFlashErrorKind> {
        let rest = self.bytes.get_mut(from as usize..).and_then(|rest| rest.get_mut(..len));
        rest.ok_or(NorFlashErrorKind::OutOfBounds)
    }

    fn save(&self) -> Result<(), NorFlashErrorKind> {
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        // There is a secret key in it.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let saved = options.open(&self.path).and_then(|mut file| file.write_all(&self.bytes));
        saved.map_err(|_| NorFlashErrorKind::Other)
    }
}

impl ErrorType for FileFlash {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for FileFlash {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        check_read(self, offset, bytes.len())?;
        bytes.copy_from_slice(self.part(offset, bytes.len())?);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

impl NorFlash for FileFlash {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = 4096;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
        check_erase(self, from, to)?;
        self.part(from, to.saturating_sub(from) as usize)?.fill(0xff);
        self.save()
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        check_write(self, offset, bytes.len())?;
        // As flash does it: bits only go from one to zero.
        let part = self.part(offset, bytes.len())?;
        part.iter_mut().zip(bytes).for_each(|(to, from)| *to &= *from);
        self.save()
    }
}
