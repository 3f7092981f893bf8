//! `cargo xtask fuzz policy`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vmward_fuzz::policy(data));
