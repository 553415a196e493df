//! See `pysock_fuzz::peers`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| pysock_fuzz::peers::run(data));
