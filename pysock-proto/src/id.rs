//! Names for people, and the small numbers that stand for them on the wire.

use core::{fmt, str::FromStr};

use crate::error::NameError;

/// Longest client name, in bytes.
pub const MAX_NAME: usize = 32;
/// Longest channel name, in bytes.
pub const MAX_CHANNEL_NAME: usize = 64;

/// Text of at most `N` bytes, kept inline.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Label<const N: usize> {
    bytes: [u8; N],
    len: u8,
}

impl<const N: usize> Label<N> {
    /// Checks every byte of `text` with `allowed` and copies it.
    fn new(text: &[u8], allowed: fn(u8) -> bool) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        let len = match u8::try_from(text.len()) {
            Ok(len) if usize::from(len) <= N => len,
            _ => return Err(NameError::TooLong { max: N as u8 }),
        };
        if let Some(at) = text.iter().position(|b| !allowed(*b)) {
            // `at` < `len` ≤ N, which fits.
            return Err(NameError::BadCharacter { at: u8::try_from(at).unwrap_or(u8::MAX) });
        }
        let mut bytes = [0; N];
        for (to, from) in bytes.iter_mut().zip(text) {
            *to = *from;
        }
        Ok(Label { bytes, len })
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

macro_rules! label {
    ($name:ident, $max:ident, $allowed:expr) => {
        impl $name {
            /// Checks `text` and copies it.
            ///
            /// # Errors
            /// Says whether the text is empty, too long, or which byte is not allowed.
            pub fn new(text: &str) -> Result<Self, NameError> {
                Self::from_bytes(text.as_bytes())
            }

            /// Checks the text `bytes`, which may come from anywhere, and copies it.
            ///
            /// # Errors
            /// As [`new`](Self::new).
            pub fn from_bytes(bytes: &[u8]) -> Result<Self, NameError> {
                Label::new(bytes, $allowed).map($name)
            }

            /// The text. All of it is ASCII.
            pub fn as_str(&self) -> &str {
                core::str::from_utf8(self.as_bytes()).unwrap_or_default()
            }

            /// The text as bytes.
            pub fn as_bytes(&self) -> &[u8] {
                self.0.as_bytes()
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.as_str(), f)
            }
        }

        impl Ord for $name {
            fn cmp(&self, other: &Self) -> core::cmp::Ordering {
                self.as_bytes().cmp(other.as_bytes())
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }
    };
}

/// The name of a client: 1–32 bytes of `a-z 0-9 . _ -`. A label bound to a key, never an identity.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Name(Label<MAX_NAME>);

label!(Name, MAX_NAME, |b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'));

/// The name of a channel: 1–64 bytes of `a-z 0-9 . _ / -`. `* + # $ >` stay reserved for wildcards.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChannelName(Label<MAX_CHANNEL_NAME>);

label!(
    ChannelName,
    MAX_CHANNEL_NAME,
    |b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'/' | b'-')
);

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($int:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name(pub $int);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// A channel on one connection. The client numbers its channels from 0 upwards and never reuses
    /// a number within a connection; both directions use it.
    ChannelId(u16)
}

number! {
    /// An identity (a public key) as one server numbers it. From 1 upwards; never reused while that server
    /// runs, so a late answer can never reach somebody else. 0 and `u32::MAX` are not peers: see
    /// [`Party`](crate::Party).
    PeerId(u32)
}

number! {
    /// A request, as its requester numbers it. Scoped to (requester, responder, channel).
    RequestId(u32)
}

number! {
    /// A large message under way in one direction of one connection: 0 up to the receiver's announced
    /// number of streams, exclusive. Free again after its end.
    StreamId(u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_take_what_the_protocol_allows() {
        assert_eq!(Name::new("sensor-7.kitchen_2").unwrap().as_str(), "sensor-7.kitchen_2");
        assert_eq!(Name::new(&"x".repeat(32)).unwrap().as_ref().len(), 32);
        assert_eq!(Name::new(""), Err(NameError::Empty));
        assert_eq!(Name::new(&"x".repeat(33)), Err(NameError::TooLong { max: 32 }));
        assert_eq!(Name::new(&"x".repeat(300)), Err(NameError::TooLong { max: 32 }));
        assert_eq!(Name::new("aB"), Err(NameError::BadCharacter { at: 1 }));
        assert_eq!(Name::new("a/b"), Err(NameError::BadCharacter { at: 1 }));
        assert_eq!(Name::new("na\u{ef}ve"), Err(NameError::BadCharacter { at: 2 }));
    }

    #[test]
    fn channels_keep_wildcards_reserved() {
        assert!(ChannelName::new("house/kitchen/temp-1").is_ok());
        for wild in ["*", "a/+", "a/#", "$sys", "a.>"] {
            assert!(
                matches!(ChannelName::new(wild), Err(NameError::BadCharacter { .. })),
                "{wild}"
            );
        }
        assert_eq!(ChannelName::new(&"c".repeat(65)), Err(NameError::TooLong { max: 64 }));
    }

    #[test]
    fn names_order_as_text() {
        let mut names = ["b", "ab", "a"].map(|n| Name::new(n).unwrap());
        names.sort();
        assert_eq!(names.map(|n| n.as_str().len()), [1, 2, 1]);
    }
}
