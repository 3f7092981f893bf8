//! `cargo xtask fuzz predicate`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vmward_fuzz::predicate(data));
