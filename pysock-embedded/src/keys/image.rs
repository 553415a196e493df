//! Flash in memory, to make an image of.

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash, check_erase, check_read, check_write,
};

/// Memory as if it were flash: a [`KeyStore`](super::KeyStore) that is provisioned over it leaves the very bytes that a
/// device reads, ready to be programmed into the range of its flash.
///
/// `UNIT` is the larger of the write size and the read size of the device's flash driver. The memory has to be as long as
/// the device's range.
///
/// ```
/// use pysock_embedded::{keys::{Image, KeyStore}, proto::{Name, PublicKey, SecretKey}};
///
/// // A device with pages of 4096 bytes, written in units of 8, that keeps its keys in two pages.
/// let mut bytes = vec![0; 2 * 4096];
/// let image = Image::<8>::new(&mut bytes);
/// let secret = SecretKey::from_bytes([1; 32]); // in earnest: random
/// let mut store = KeyStore::provision(image, 0..2 * 4096, &secret, Some(&Name::new("sensor-7")?))?;
/// store.pin_server(0, PublicKey([2; 32]), &[1])?;
/// // `bytes` is the image. It holds the secret: treat it as such.
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Image<'b, const UNIT: usize> {
    bytes: &'b mut [u8],
}

impl<'b, const UNIT: usize> Image<'b, UNIT> {
    /// Erases `bytes`, to be filled.
    pub fn new(bytes: &'b mut [u8]) -> Self {
        bytes.fill(0xff);
        Image { bytes }
    }

    fn part(&mut self, from: u32, len: usize) -> Result<&mut [u8], NorFlashErrorKind> {
        let from = usize::try_from(from).map_err(|_| NorFlashErrorKind::OutOfBounds)?;
        let part = self.bytes.get_mut(from..).and_then(|rest| rest.get_mut(..len));
        part.ok_or(NorFlashErrorKind::OutOfBounds)
    }
}

impl<const UNIT: usize> ErrorType for Image<'_, UNIT> {
    type Error = NorFlashErrorKind;
}

impl<const UNIT: usize> ReadNorFlash for Image<'_, UNIT> {
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

impl<const UNIT: usize> NorFlash for Image<'_, UNIT> {
    const WRITE_SIZE: usize = UNIT;
    /// Half of the image is erased at once, whatever its length: pages do not show in the bytes.
    const ERASE_SIZE: usize = UNIT;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
        check_erase(self, from, to)?;
        let len = to.saturating_sub(from) as usize;
        self.part(from, len)?.fill(0xff);
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        check_write(self, offset, bytes.len())?;
        self.part(offset, bytes.len())?.copy_from_slice(bytes);
        Ok(())
    }
}
