//! See `pysock_fuzz::bytes`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| pysock_fuzz::bytes::server(data));
