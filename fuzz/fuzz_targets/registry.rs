//! See `pysock_fuzz::registry`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| pysock_fuzz::registry::run(data));
