//! See `pysock_fuzz::link`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| pysock_fuzz::link::run(data));
