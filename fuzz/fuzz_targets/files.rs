//! See `pysock_fuzz::files`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| pysock_fuzz::files::run(data));
