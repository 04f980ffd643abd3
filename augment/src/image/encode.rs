//! Gray PNGs without metadata.

use crate::image::{GrayDepth, GrayImage};

/// The image as a gray PNG of the same bit depth. White is 255 or 65535 in the file: samples of another white are spread.
#[must_use]
pub fn encode_png(image: &GrayImage) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = ::png::Encoder::new(&mut bytes, image.width() as u32, image.height() as u32);
    encoder.set_color(::png::ColorType::Grayscale);
    let samples = match image.depth() {
        GrayDepth::U8(samples) => samples.to_vec(),
        GrayDepth::U16(samples) => {
            encoder.set_depth(::png::BitDepth::Sixteen);
            let (white, most) = (u32::from(image.white()), u32::from(u16::MAX));
            let spread = |sample: u16| ((u32::from(sample) * most + white / 2) / white).min(most) as u16;
            samples.iter().flat_map(|&sample| spread(sample).to_be_bytes()).collect()
        }
    };
    let written = encoder.write_header().and_then(|mut writer| writer.write_image_data(&samples));
    written.expect("an image's samples fill its size, and memory takes every byte");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_to_the_same_samples() {
        for image in [GrayImage::from_u8(3, 2, vec![0u8, 1, 2, 3, 254, 255]), GrayImage::from_u16(2, 1, vec![258u16, 65535])] {
            let file = tempfile::NamedTempFile::with_suffix(".png").unwrap();
            std::fs::write(file.path(), encode_png(&image)).unwrap();
            assert_eq!(GrayImage::open(file.path()).unwrap(), image);
        }
    }
}
