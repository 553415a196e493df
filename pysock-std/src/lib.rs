//! pysock on the desktop (being built).
#![forbid(unsafe_code)]

mod file;
pub mod state;

pub use file::FileError;
