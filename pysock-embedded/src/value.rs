//! Values as messages: what client and server have in common.

use core::fmt;

use serde::{Serialize, de::DeserializeOwned};

/// The longest value that is sent with `send_value` and its like, encoded, in bytes.
pub const LONGEST_VALUE: usize = 256;

/// Why a value was not sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ValueError<E> {
    /// It has no encoding, or one of more than [`LONGEST_VALUE`] bytes.
    Value,
    /// The message could not be sent.
    Send(E),
}

impl<E> From<E> for ValueError<E> {
    fn from(why: E) -> Self {
        ValueError::Send(why)
    }
}

impl<E: fmt::Display> fmt::Display for ValueError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ValueError::Value => {
                write!(f, "the value takes more than {LONGEST_VALUE} bytes, or cannot be encoded")
            }
            ValueError::Send(why) => why.fmt(f),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> core::error::Error for ValueError<E> {}

pub(crate) fn encode<'b, T: Serialize, E>(
    value: &T,
    to: &'b mut [u8],
) -> Result<&'b [u8], ValueError<E>> {
    postcard::to_slice(value, to).map(|bytes| &*bytes).map_err(|_| ValueError::Value)
}

/// The value that is all of `bytes`: what follows it would belong to another one.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, postcard::Error> {
    match postcard::take_from_bytes(bytes)? {
        (value, []) => Ok(value),
        _ => Err(postcard::Error::SerdeDeCustom),
    }
}
