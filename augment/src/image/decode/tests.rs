use image::ExtendedColorType;

use super::super::testing::fixtures;
use super::*;
use crate::image::GrayDepth;

fn encoded(format: ImageFormat, samples: &[u8], color: ExtendedColorType) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image::write_buffer_with_format(&mut bytes, samples, 64, 64, color, format).unwrap();
    bytes.into_inner()
}

/// 64x64 gray levels that no codec predicts well, so that a JPEG scan takes most of its file.
fn texture() -> Vec<u8> {
    (0..64 * 64u32).map(|i| (i * i % 251) as u8).collect()
}

#[test]
fn gray_survives_png_and_bmp() {
    for format in [ImageFormat::Png, ImageFormat::Bmp] {
        let image = GrayImage::decode(&encoded(format, &texture(), ExtendedColorType::L8), Path::new("texture")).unwrap();
        assert_eq!(image, GrayImage::from_u8(64, 64, texture()));
    }
}

#[test]
fn luma_weights_are_pillows() {
    // Pillow 13.0.0: Image.new("RGB", (1, 1), c).convert("L") for pure red, green, blue and white.
    let lumas = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]].map(luma);
    assert_eq!(lumas, [76, 150, 29, 255]);
}

#[test]
fn cut_off_files_are_named() {
    for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Bmp] {
        let whole = encoded(format, &texture(), ExtendedColorType::L8);
        assert!(GrayImage::decode(&whole, Path::new("whole")).is_ok());
        for cut in (0..whole.len() - 16).step_by(7) {
            let error = GrayImage::decode(&whole[..cut], Path::new("cut.img")).unwrap_err().to_string();
            assert!(error.contains("cut.img"), "{format:?} cut at {cut}: {error}");
        }
    }
}

#[test]
fn a_missing_file_is_named() {
    let error = GrayImage::open(Path::new("no/such.png")).unwrap_err().to_string();
    assert_eq!(error, "cannot read no/such.png");
}

#[test]
fn every_kind_of_png_and_bmp_has_pillows_pixels() {
    let files = fixtures("pixels.zip");
    let images: Vec<_> = files.iter().filter(|(name, _)| name.ends_with(".png") || name.ends_with(".bmp")).collect();
    assert_eq!(images.len(), 91);
    let mut wrong = Vec::new();
    for (name, bytes) in images {
        let pillows = &files[&format!("{name}.gray")];
        let ours = match GrayImage::decode(bytes, Path::new(name)) {
            Ok(image) => image,
            Err(error) if pillows.is_empty() => {
                assert!(error.to_string().contains(name.as_str()), "{error}");
                continue;
            }
            Err(error) => {
                wrong.push(format!("{name}: {error:?}"));
                continue;
            }
        };
        let same = match ours.depth() {
            GrayDepth::U8(samples) => **samples == **pillows,
            GrayDepth::U16(samples) if pillows.len() == 2 * samples.len() => {
                samples.iter().flat_map(|sample| sample.to_le_bytes()).eq(pillows.iter().copied())
            }
            // Pillow keeps the high bytes of colours of 16 bits; ours keeps all, and the luma of high bytes is at most one level off.
            GrayDepth::U16(samples) => {
                assert!(name.starts_with("rgb") || name.starts_with("gray-alpha"), "{name}");
                samples.len() == pillows.len() && samples.iter().zip(pillows).all(|(a, b)| ((a >> 8) as u8).abs_diff(*b) <= 1)
            }
        };
        if !same {
            wrong.push(format!("{name}: {ours:?} has other pixels than Pillow's {} bytes", pillows.len()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_file_is_whole_where_pillow_says_so() {
    let files = fixtures("pixels.zip");
    let mut compared = 0;
    for (name, least) in files.iter().filter_map(|(name, least)| Some((name.strip_suffix(".least")?, least))) {
        let least: usize = std::str::from_utf8(least).unwrap().parse().unwrap();
        let (whole, path) = (&files[name], Path::new(name));
        let image = GrayImage::decode(whole, path).unwrap();
        for cut in 0..whole.len() {
            match GrayImage::decode(&whole[..cut], path) {
                Ok(cut_off) => {
                    assert!(cut >= least && cut_off == image, "{name} of {cut} bytes, of which Pillow wants {least}")
                }
                Err(error) => {
                    assert!(cut < least, "{name} of {cut} bytes, of which Pillow wants {least}: {error:?}");
                    assert!(error.to_string().contains(name), "{error}");
                }
            }
        }
        compared += 1;
    }
    assert_eq!(compared, 8);
}

#[test]
fn other_formats_are_named_with_the_remedy() {
    for (bytes, kind) in [
        (&b"II*\0\x08\0\0\0"[..], "a TIFF file"),
        (b"RIFF\x24\0\0\0WEBPVP8 ", "a WebP file"),
        (b"GIF89a\x01\0", "a GIF file"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 file"),
        (b"  <!DOCTYPE html><html>", "a web page or XML, as a failed download leaves it"),
        (b"version https://git-lfs.github.com/spec/v1", "a pointer of Git LFS"),
        (b"", "empty"),
        (b"anything else", "of a kind that is not known"),
    ] {
        let error = GrayImage::decode(bytes, Path::new("a.png")).unwrap_err().to_string();
        let expected = format!(
            "cannot decode a.png: it is {kind}; PNG, JPEG, BMP and DICOM are read: convert it to one of them, or drop its row"
        );
        assert_eq!(error, expected);
    }
}

/// A PNG header that promises an image of that size.
fn promising(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let encoder = ::png::Encoder::new(&mut bytes, width, height);
    drop(encoder.write_header().unwrap());
    bytes
}

#[test]
fn too_many_pixels_are_refused_by_the_header_alone() {
    let refused = |bytes: &[u8]| GrayImage::decode(bytes, Path::new("a.png")).unwrap_err().to_string();
    assert_eq!(
        refused(&promising(22_000, 22_000)),
        "cannot decode a.png: 22000x22000 pixels; images of at most 178956970 pixels and 1000000 per side are read: shrink it or drop its row"
    );
    for (width, height) in [(u32::MAX >> 1, 1), (1, 1_000_001), (13_378, 13_378)] {
        assert!(refused(&promising(width, height)).contains("are read: shrink it"), "{width}x{height}");
    }
    // As large as Pillow reads: what fails is the missing pixels.
    assert!(refused(&promising(13_377, 13_377)).contains("damaged"));
    let mut bmp = fixtures("pixels.zip")["bgr.bmp"].clone();
    bmp[18..26].copy_from_slice(&[0, 0, 1, 0, 0, 0, 1, 0]);
    assert!(refused(&bmp).contains("65536x65536 pixels"), "{}", refused(&bmp));
}

#[test]
fn changed_bytes_never_panic() {
    let files = fixtures("pixels.zip");
    for (name, bytes) in files.iter().filter(|(name, _)| name.ends_with(".png") || name.ends_with(".bmp")) {
        for at in 0..bytes.len().min(200) {
            for change in [0x5A, 0xFF, 0x80] {
                let mut bytes = bytes.clone();
                bytes[at] ^= change;
                let _ = GrayImage::decode(&bytes, Path::new(name));
            }
        }
    }
}

#[test]
fn a_jpeg_at_a_part_of_its_size_is_still_large_enough() {
    let samples: Vec<u8> = (0..300 * 200u32).map(|i| (i % 300 / 2 + i / 300 / 2) as u8).collect();
    let mut bytes = Vec::new();
    image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 95)
        .encode(&samples, 300, 200, ExtendedColorType::L8)
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jpg");
    std::fs::write(&path, bytes).unwrap();
    let size = |least: usize| {
        let image = GrayImage::open_scaled(&path, &|width, height| width.min(height) >= least).unwrap();
        (image.width(), image.height())
    };
    assert_eq!(
        [20, 25, 26, 50, 100, 101, 500].map(size),
        [(38, 25), (38, 25), (75, 50), (75, 50), (150, 100), (300, 200), (300, 200)]
    );
}
