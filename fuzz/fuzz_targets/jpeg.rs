//! JPEG files of any content.

#![no_main]

use libfuzzer_sys::fuzz_target;
use roentgen_fuzz::decode;

/// Without it another decoder would be fuzzed.
const SIGNATURE: &[u8] = b"\xff\xd8";

fuzz_target!(|bytes: &[u8]| decode(&[SIGNATURE, bytes.strip_prefix(SIGNATURE).unwrap_or(bytes)].concat()));
