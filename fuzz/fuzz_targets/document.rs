#![no_main]

#[path = "../../grammar/tests/promises/mod.rs"]
#[allow(dead_code, reason = "each target has one of them")]
mod promises;

libfuzzer_sys::fuzz_target!(|text: &str| promises::document(text));
