//! `cargo xtask fuzz journal`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vmward_fuzz::journal(data));
