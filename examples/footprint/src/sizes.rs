//! Sizes of types on this target, for the report.

/// The size of a type: its name, padded, and the bytes.
#[repr(C)]
pub struct Size(pub [u8; 28], pub u32);

/// A table of sizes.
#[macro_export]
macro_rules! sizes {
    ($($name:literal $type:ty,)+) => {
        [$($crate::Size($crate::padded($name), size_of::<$type>() as u32)),+]
    };
}

/// A name, filled up with spaces.
pub const fn padded(name: &str) -> [u8; 28] {
    let (mut to, from, mut i) = ([b' '; 28], name.as_bytes(), 0);
    while i < from.len() {
        to[i] = from[i];
        i += 1;
    }
    to
}
