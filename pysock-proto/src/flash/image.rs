//! A range in memory.

use core::ops::Range;

use super::{Fault, KeyStoreError, Log, Region, Step, Task, Want, entry::Entry};
use crate::{id::Name, key::SecretKey};

/// A range of flash in memory: what it holds, byte for byte, and what can be done with it.
///
/// The bytes are as long as the range of the device. Where it begins in the flash does not matter.
pub struct Image<'b> {
    bytes: &'b mut [u8],
    log: Log,
}

impl<'b> Image<'b> {
    /// Erases `bytes`, and stores the identity of a device there, and its name if it has one. `unit` and `page` are what
    /// the device's flash writes and erases at once.
    ///
    /// # Errors
    /// [`KeyStoreError::Region`] if the length does not suit the pages.
    pub fn provision(
        bytes: &'b mut [u8],
        unit: u32,
        page: u32,
        secret: &SecretKey,
        name: Option<&Name>,
    ) -> Result<Self, KeyStoreError> {
        let log = Log::new(Region::new(range(bytes), unit, page));
        bytes.fill(0xff);
        let mut image = Image { bytes, log };
        image.run(Want::Provision(secret, name))?;
        Ok(image)
    }

    /// Opens an image, and finishes in it what a loss of power interrupted.
    ///
    /// # Errors
    /// As a device: whatever is not a whole store is refused.
    pub fn open(bytes: &'b mut [u8], unit: u32, page: u32) -> Result<Self, KeyStoreError> {
        let log = Log::new(Region::new(range(bytes), unit, page));
        let mut image = Image { bytes, log };
        image.run(Want::Open)?;
        Ok(image)
    }

    /// Reads or changes it. See [`Want`] for the answers.
    ///
    /// # Errors
    /// As [`Task::answer`].
    pub fn run(&mut self, want: Want<'_>) -> Result<Option<Entry>, KeyStoreError> {
        let mut task = Task::new(&mut self.log, &want);
        let mut last = Ok(());
        loop {
            last = match task.step(last) {
                Step::Read { at, to } => part(self.bytes, at, to.len()).map(|from| copy(to, from)),
                Step::Write { at, bytes } => {
                    part(self.bytes, at, bytes.len()).map(|to| copy(to, bytes))
                }
                Step::Erase { from, to } => {
                    part(self.bytes, from, to.saturating_sub(from) as usize).map(|to| to.fill(0xff))
                }
                Step::Done => return task.answer(),
            };
        }
    }
}

/// Nothing, if the bytes are more than a flash may have.
fn range(bytes: &[u8]) -> Range<u32> {
    0..u32::try_from(bytes.len()).unwrap_or(0)
}

fn part(bytes: &mut [u8], from: u32, len: usize) -> Result<&mut [u8], Fault> {
    let rest = bytes.get_mut(from as usize..);
    rest.and_then(|rest| rest.get_mut(..len)).ok_or(Fault::OutOfBounds)
}

fn copy(to: &mut [u8], from: &[u8]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}
