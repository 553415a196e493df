//! See `pysock_fuzz::chunking`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| pysock_fuzz::chunking::run(data));
