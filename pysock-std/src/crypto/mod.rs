//! The primitives of the desktop, behind the core's [`Crypto`](pysock_proto::Crypto).
//!
//! With the feature `aws-lc`, which is on by default, they are AWS-LC's; without it those of RustCrypto, written in Rust alone.
//! Both sides of a connection may differ: it is the same protocol.

#[cfg(feature = "aws-lc")]
mod aws_lc;

#[cfg(feature = "aws-lc")]
pub use aws_lc::AwsLc;

/// The primitives that this crate uses.
#[cfg(feature = "aws-lc")]
pub type Native = AwsLc;

/// The primitives that this crate uses.
#[cfg(not(feature = "aws-lc"))]
pub type Native = pysock_proto::RustCrypto;

#[cfg(all(test, feature = "aws-lc"))]
mod tests;
