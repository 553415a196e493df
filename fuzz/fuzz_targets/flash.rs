//! See `pysock_fuzz::flash`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| pysock_fuzz::flash::run(data));
