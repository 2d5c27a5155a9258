#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| surprisal_fuzz::config(bytes));
