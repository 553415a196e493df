//! What the fuzz targets do, as ordinary functions on bytes. See README.md beside this.

pub mod bytes;
pub mod chunking;
pub mod crypto;
pub mod end;
pub mod files;
pub mod flash;
pub mod frames;
pub mod groups;
pub mod input;
pub mod link;
pub mod peers;
pub mod registry;
pub mod router;
pub mod seeds;

/// A target: its name, and what it does with a fuzzer's bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: &[Target] = &[
    ("server_bytes", bytes::server),
    ("client_bytes", bytes::client),
    ("frames", frames::run),
    ("chunking", chunking::run),
    ("link", link::run),
    ("peers", peers::run),
    ("registry", registry::run),
    ("router", router::run),
    ("groups", groups::run),
    ("files", files::run),
    ("flash", flash::run),
];
