//! See `pysock_fuzz::router`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| pysock_fuzz::router::run(data));
