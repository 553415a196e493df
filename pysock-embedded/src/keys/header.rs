//! The header of a half: written last, and sealed, when its log is complete.
//!
//! ```text
//! "pysk" │ format 1, u8 │ unit u8 │ 0 0 │ length of the half u32 │ number u32 │ CRC-32 of the rest, u32
//! ```

use super::{
    KeyStoreError,
    entry::{Bytes, crc32},
    log::blank,
};

/// Length of a header.
pub(super) const HEADER: usize = 20;
const MAGIC: [u8; 4] = *b"pysk";
const VERSION: u8 = 1;

/// What the header of a half says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Header {
    /// It holds the store, unless the other one does with a higher number.
    Live(u32),
    /// It held the store, before that moved to the other half.
    Retired,
    /// It has not been finished, or is erased.
    Unsealed,
    /// It was finished, and is not whole any more; or its erasure was cut short.
    Damaged,
}

pub(super) fn encode(to: &mut Bytes, unit: u8, half: u32, seq: u32) {
    let fields = MAGIC.into_iter().chain([VERSION, unit, 0, 0]);
    let fields = fields.chain(half.to_le_bytes()).chain(seq.to_le_bytes());
    for (to, from) in to.all.iter_mut().zip(fields) {
        *to = from;
    }
    to.len = HEADER;
    if let Some((fields, rest)) = to.all.split_at_mut_checked(HEADER - 4) {
        let crc = crc32(&[fields]);
        for (to, from) in rest.iter_mut().zip(crc.to_le_bytes()) {
            *to = from;
        }
    }
}

/// Reads the header at the beginning of `bytes`.
///
/// # Errors
/// It is whole, and written by a newer pysock or for another layout.
pub(super) fn decode(bytes: &[u8], unit: usize, half: u32) -> Result<Header, KeyStoreError> {
    let (header, rest) = bytes.split_at_checked(HEADER.next_multiple_of(unit)).unwrap_or_default();
    let (seal, rest) = rest.split_at_checked(unit).unwrap_or_default();
    let retired = rest.get(..unit).unwrap_or_default();
    let unusable = if blank(seal) { Header::Unsealed } else { Header::Damaged };
    let Some(fields) = header.first_chunk::<HEADER>() else { return Ok(unusable) };
    let [m0, m1, m2, m3, version, its_unit, z0, z1, fields @ ..] = *fields;
    let [h0, h1, h2, h3, s0, s1, s2, s3, crc @ ..] = fields;
    let checked = header.get(..HEADER - 4).unwrap_or_default();
    if [m0, m1, m2, m3] != MAGIC || crc32(&[checked]) != u32::from_le_bytes(crc) {
        return Ok(unusable);
    }
    if version > VERSION {
        return Err(KeyStoreError::NewerFormat { version });
    }
    if version != VERSION || [z0, z1] != [0, 0] {
        return Ok(unusable);
    }
    if usize::from(its_unit) != unit || u32::from_le_bytes([h0, h1, h2, h3]) != half {
        return Err(KeyStoreError::OtherGeometry);
    }
    Ok(match (blank(seal), blank(retired)) {
        (true, _) => Header::Unsealed,
        (false, true) => Header::Live(u32::from_le_bytes([s0, s1, s2, s3])),
        (false, false) => Header::Retired,
    })
}
