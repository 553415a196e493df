//! The header of a half: written last, and sealed, when its log is complete.

use super::{Bytes, Region, blank, crc32};

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
    /// It is whole, and a newer pysock wrote it, in this format.
    Newer(u8),
    /// It is whole, and for another layout.
    Geometry,
}

pub(super) fn encode(to: &mut Bytes, unit: u8, half: u32, seq: u32) {
    to.clear();
    to.put(&MAGIC);
    to.put(&[VERSION, unit, 0, 0]);
    to.put(&half.to_le_bytes());
    to.put(&seq.to_le_bytes());
    let crc = crc32(&[], to.all.get(..to.len).unwrap_or_default());
    to.put(&crc.to_le_bytes());
}

/// Reads the header at the beginning of `bytes`.
pub(super) fn decode(bytes: &[u8], region: &Region) -> Header {
    let unit = region.unit as usize;
    let (header, rest) = bytes.split_at_checked(region.seal() as usize).unwrap_or_default();
    let (seal, rest) = rest.split_at_checked(unit).unwrap_or_default();
    let retired = rest.get(..unit).unwrap_or_default();
    let unusable = if blank(seal) { Header::Unsealed } else { Header::Damaged };
    let checked = header.get(..HEADER - 4).unwrap_or_default();
    let ([magic, [version, its_unit, z0, z1], its_half, seq, crc, ..], _) = header.as_chunks()
    else {
        return unusable;
    };
    if *magic != MAGIC || crc32(&[], checked) != u32::from_le_bytes(*crc) {
        return unusable;
    }
    if *version > VERSION {
        return Header::Newer(*version);
    }
    if *version != VERSION || (*z0, *z1) != (0, 0) {
        return unusable;
    }
    if usize::from(*its_unit) != unit || u32::from_le_bytes(*its_half) != region.half {
        return Header::Geometry;
    }
    match (blank(seal), blank(retired)) {
        (true, _) => Header::Unsealed,
        (false, true) => Header::Live(u32::from_le_bytes(*seq)),
        (false, false) => Header::Retired,
    }
}
