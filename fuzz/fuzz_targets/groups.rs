//! See `pysock_fuzz::groups`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| pysock_fuzz::groups::run(data));
