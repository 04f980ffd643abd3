//! The request inside a sample: PNG files of any content, and a sound PNG with any text in its chunk.

#![no_main]

use libfuzzer_sys::fuzz_target;
use png::{BitDepth, ColorType, Encoder};
use roentgen_augment::supply::{decode_sample, encode_sample};

/// The keyword that samples have.
const KEYWORD: &str = "roentgen:request";

fuzz_target!(|bytes: &[u8]| {
    let file = match std::str::from_utf8(bytes) {
        Ok(text) => sample(text),
        Err(_) => bytes.to_vec(),
    };
    match decode_sample(&file) {
        // What was read is written and read again.
        Ok((image, origin)) => {
            let again = encode_sample(&image, &origin).expect("a sample that was read can be written");
            assert_eq!(decode_sample(&again).expect("a sample that was written can be read"), (image, origin));
        }
        Err(defect) => assert!(!defect.to_string().is_empty()),
    }
});

/// Two gray pixels, and the text.
fn sample(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, 2, 1);
    encoder.set_color(ColorType::Grayscale);
    encoder.set_depth(BitDepth::Eight);
    encoder.add_itxt_chunk(KEYWORD.to_owned(), text.to_owned()).expect("the keyword is valid");
    let mut writer = encoder.write_header().expect("the header is valid");
    writer.write_image_data(&[7, 8]).expect("there are two pixels");
    writer.finish().expect("memory can be written");
    bytes
}
