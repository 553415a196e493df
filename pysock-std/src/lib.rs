//! pysock on the desktop (being built).
#![forbid(unsafe_code)]

pub mod config;
mod file;
pub mod state;

pub use file::FileError;
