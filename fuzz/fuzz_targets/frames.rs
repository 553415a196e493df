//! See `pysock_fuzz::frames`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| pysock_fuzz::frames::run(data));
