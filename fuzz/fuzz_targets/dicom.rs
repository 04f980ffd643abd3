//! DICOM files of any content, in both ways of reading them.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use roentgen_augment::image::{DicomValues, GrayImage, Preprocess};
use roentgen_fuzz::{allow_caught_panics, decode, said};

/// Without it another decoder would be fuzzed.
const SIGNATURE: &[u8] = b"DICM";

fuzz_target!(init: allow_caught_panics(), |bytes: &[u8]| {
    let elements = bytes.strip_prefix(&[0; 128]).unwrap_or(bytes);
    let file = [&[0; 128], SIGNATURE, elements.strip_prefix(SIGNATURE).unwrap_or(elements)].concat();
    decode(&file);
    let shown = Preprocess { dicom: Some(DicomValues::Window), ..Preprocess::default() };
    if let Err(error) = GrayImage::decode_for(&file, Path::new("fuzzed"), &shown) {
        said(&error);
    }
});
