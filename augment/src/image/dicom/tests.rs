use std::io::Write;

use flate2::Compression;
use flate2::write::DeflateEncoder;
use proptest::prelude::*;

use super::testing::{BIG_ENDIAN, Dicom, EXPLICIT, IMPLICIT, Value, text};
use super::*;
use crate::image::GrayDepth;

const DEFLATED: &str = "1.2.840.10008.1.2.1.99";
const RLE: &str = "1.2.840.10008.1.2.5";
const JPEG: &str = "1.2.840.10008.1.2.4.50";
const LOSSLESS: &str = "1.2.840.10008.1.2.4.57";
const JPEG_2000: &str = "1.2.840.10008.1.2.4.90";

fn read(file: &[u8]) -> Result<DicomImage, String> {
    DicomImage::decode(file, Path::new("a.dcm")).map_err(|error| error.to_string())
}

fn refusal(file: &Dicom) -> String {
    match read(&file.bytes()) {
        Ok(_) => panic!("it is read"),
        Err(error) => error,
    }
}

fn levels(file: &Dicom, values: DicomValues) -> (Vec<u16>, u16) {
    let gray = GrayImage::decode_for(
        &file.bytes(),
        Path::new("a.dcm"),
        &crate::image::Preprocess { dicom: Some(values), ..Default::default() },
    );
    let gray = gray.unwrap();
    let samples = match gray.depth() {
        GrayDepth::U8(samples) => samples.iter().map(|&sample| sample.into()).collect(),
        GrayDepth::U16(samples) => samples.to_vec(),
    };
    (samples, gray.white())
}

/// The bytes of a file, deflated if its syntax says so.
fn bytes(file: &Dicom) -> Vec<u8> {
    if file.syntax != DEFLATED {
        return file.bytes();
    }
    let mut packed = DeflateEncoder::new(file.header(), Compression::fast());
    packed.write_all(&file.data()).unwrap();
    packed.finish().unwrap()
}

/// PackBits of one byte plane after the other, the most significant first.
fn rle(samples: &[u16], bytes: usize) -> Vec<u8> {
    let mut stream = vec![0; 64];
    stream[0] = bytes as u8;
    for plane in (0..bytes).rev() {
        let offset = stream.len() as u32;
        let at = 4 * (bytes - plane);
        stream[at..at + 4].copy_from_slice(&offset.to_le_bytes());
        let plane: Vec<u8> = samples.iter().map(|sample| (sample >> (8 * plane)) as u8).collect();
        let mut rest = &plane[..];
        while let Some(&first) = rest.first() {
            let run = rest.iter().take(128).take_while(|byte| **byte == first).count();
            if run > 1 {
                stream.extend([(257 - run) as u8, first]);
                rest = &rest[run..];
            } else {
                let literal = rest.windows(2).take(127).take_while(|pair| pair[0] != pair[1]).count().max(1);
                stream.push(literal as u8 - 1);
                stream.extend(&rest[..literal]);
                rest = &rest[literal..];
            }
        }
        if stream.len() % 2 == 1 {
            // A control byte that means nothing.
            stream.push(128);
        }
    }
    stream
}

/// ITU-T T.81 H: lossless JPEG with a code of five bits for every size of a difference.
fn lossless(samples: &[u16], (width, height): (u16, u16), precision: u8, predictor: u8) -> Vec<u8> {
    let mut stream = b"\xFF\xD8\xFF\xC3\0\x0B".to_vec();
    stream.push(precision);
    stream.extend(height.to_be_bytes());
    stream.extend(width.to_be_bytes());
    stream.extend(b"\x01\x01\x11\0\xFF\xC4\0\x24\0\0\0\0\0\x11\0\0\0\0\0\0\0\0\0\0\0");
    stream.extend(0..17);
    stream.extend(b"\xFF\xDA\0\x08\x01\x01\0");
    stream.extend([predictor, 0, 0]);
    let (mut bits, mut count) = (0_u64, 0);
    let mut put = |value: u32, size: u32| {
        bits = bits << size | u64::from(value);
        count += size;
        while count >= 8 {
            let byte = (bits >> (count - 8)) as u8;
            stream.push(byte);
            if byte == 0xFF {
                stream.push(0);
            }
            count -= 8;
        }
    };
    let width = usize::from(width);
    for (at, &sample) in samples.iter().enumerate() {
        let before = |back: usize| i32::from(samples[at - back]);
        let prediction = match (at % width, at / width) {
            (0, 0) => 1 << (precision - 1),
            (_, 0) => before(1),
            (0, _) => before(width),
            _ => match predictor {
                1 => before(1),
                2 => before(width),
                3 => before(width + 1),
                4 => before(1) + before(width) - before(width + 1),
                5 => before(1) + ((before(width) - before(width + 1)) >> 1),
                6 => before(width) + ((before(1) - before(width + 1)) >> 1),
                _ => (before(1) + before(width)) >> 1,
            },
        };
        let difference = i32::from((i32::from(sample) - prediction) as i16);
        let size = if difference == -32768 { 16 } else { 32 - difference.unsigned_abs().leading_zeros() };
        put(size, 5);
        if (1..16).contains(&size) {
            let value = if difference < 0 { difference + (1 << size) - 1 } else { difference };
            put(value as u32, size);
        }
    }
    put(0x7F, 7);
    stream.extend(b"\xFF\xD9");
    stream
}

/// The file with its pixels compressed.
fn compressed(file: &Dicom, syntax: &'static str, fragments: Vec<Vec<u8>>) -> Dicom {
    Dicom { syntax, ..file.clone() }.with(0x7FE0_0010, Value::Fragments(fragments))
}

#[test]
fn an_element_of_an_unknown_type_takes_no_memory() {
    // Taken for a long type, the four bytes behind the length would be one: 808,465,713 bytes of memory for a file of some hundred.
    let sound = Dicom::gray(EXPLICIT, (2, 2), 12, &[0, 1000, 2000, 4095]).with(0x0028_1051, text(b"DS", "1500"));
    assert!(read(&sound.bytes()).is_ok());
    for tag in [0x0028_1051, 0x0028_0010] {
        let error = refusal(&sound.clone().with(tag, text(b"HS", "1500")));
        assert!(error.contains(&format!("damaged in element (0028,{:04x})", tag & 0xFFFF)), "{error}");
    }
    // Eight bytes a number of which two are there, four of which six are, and elements within: what follows would be taken for a length.
    let items = Value::Items { items: vec![vec![(0x0028_0010, text(b"HS", "1500"))]], with_length: true };
    for value in [Value::Bytes(*b"FD", vec![11, 0]), Value::Bytes(*b"UL", vec![1; 6]), items] {
        let error = refusal(&sound.clone().with(0x0028_0102, value));
        assert!(error.contains("damaged in element (0028,0102)"), "{error}");
    }
    // Elements that aren't read may be of any.
    assert!(read(&sound.with(0x0028_1060, text(b"HS", "1500")).bytes()).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_written_is_read_in_every_encoding(
        width in 1_u16..20,
        height in 1_u16..20,
        bits in 8_u16..=16,
        signed: bool,
        runs in 1_u32..40,
        predictor in 1_u8..=7,
        above: u16,
        seed: u32,
    ) {
        let count = usize::from(width) * usize::from(height);
        let mask = u16::MAX >> (16 - bits);
        let sample = |at: usize| ((at as u32 / runs).wrapping_add(1).wrapping_mul(2_654_435_761).wrapping_add(seed) >> 13) as u16 & mask;
        let samples: Vec<u16> = (0..count).map(sample).collect();
        let expected: Vec<i32> = samples.iter().map(|&sample| stored(sample, bits.into(), signed)).collect();
        let sign = |file: &Dicom| file.clone().with(0x0028_0103, file.short(signed.into()));
        let check = |what: &str, file: &Dicom| {
            let image = read(&bytes(&sign(file))).map_err(|error| TestCaseError::fail(format!("{what}: {error}")))?;
            prop_assert_eq!((image.width(), image.height()), (usize::from(width), usize::from(height)));
            prop_assert_eq!(image.stored().collect::<Vec<_>>(), expected.clone(), "{}", what);
            Ok(())
        };
        for syntax in [IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN] {
            check(syntax, &Dicom::gray(syntax, (width, height), bits, &samples))?;
            // Overlays in the bits that don't count.
            let above = if bits == 8 { 0 } else { above & !mask };
            let overlaid: Vec<u16> = samples.iter().map(|sample| sample | above).collect();
            check(syntax, &Dicom::gray(syntax, (width, height), bits, &overlaid))?;
            if bits > 8 {
                let shift = 16 - bits;
                let shifted: Vec<u16> = samples.iter().map(|sample| sample << shift | (above >> bits)).collect();
                let file = Dicom::gray(syntax, (width, height), bits, &shifted);
                check("high bits", &file.clone().with(0x0028_0102, file.short(15)))?;
            }
        }
        let file = Dicom::gray(EXPLICIT, (width, height), bits, &samples);
        check("RLE", &compressed(&file, RLE, vec![rle(&samples, if bits == 8 { 1 } else { 2 })]))?;
        let stream = lossless(&samples, (width, height), bits as u8, predictor);
        check("lossless", &compressed(&file, LOSSLESS, vec![stream.clone()]))?;
        // In fragments, whose ends mean nothing.
        let cut = (stream.len() / 2) & !1;
        check("fragments", &compressed(&file, LOSSLESS, vec![stream[..cut].to_vec(), stream[cut..].to_vec()]))?;
        if bits > 8 {
            let wide = lossless(&samples, (width, height), 16, predictor);
            check("lossless of 16 bits", &compressed(&file, LOSSLESS, vec![wide]))?;
        }
    }

    #[test]
    fn damage_is_an_error_or_an_image_and_never_a_panic(at in 0_usize..2000, change: u8, cut: bool, kind in 0_usize..6) {
        let samples: Vec<u16> = (0..64).map(|at| at * 37 % 4096).collect();
        let file = Dicom::gray(EXPLICIT, (8, 8), 12, &samples);
        let items = |with_length| Value::Items { items: vec![vec![(0x0010_0010, text(b"PN", "A"))]], with_length };
        let file = file.with(0x0008_1140, items(true)).with(0x0008_1111, items(false));
        let mut bytes = match kind {
            0 => file.bytes(),
            1 => super::tests::bytes(&Dicom { syntax: DEFLATED, ..file }),
            2 => compressed(&file, RLE, vec![rle(&samples, 2)]).bytes(),
            3 => compressed(&file, LOSSLESS, vec![lossless(&samples, (8, 8), 12, 1)]).bytes(),
            4 => compressed(&Dicom::gray(EXPLICIT, (8, 6), 12, &[]), JPEG_2000, vec![J2K_12.to_vec()]).bytes(),
            _ => Dicom::gray(IMPLICIT, (8, 8), 12, &samples).with(0x0008_1111, items(false)).bytes(),
        };
        let at = 132 + at % (bytes.len() - 132);
        match cut {
            true => bytes.truncate(at),
            false => bytes[at] ^= change,
        }
        if let Err(error) = read(&bytes) {
            prop_assert!(error.contains("a.dcm"), "{}", error);
        }
    }
}

/// OpenJPEG 2.5.4 by Pillow 13.0.0: `arange(48).reshape(6, 8) * 421 % 4096`, lossless.
const J2K_12: &[u8; 176] = b"\
    \xFF\x4F\xFF\x51\x00\x29\x00\x00\x00\x00\x00\x08\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x08\
    \x00\x00\x00\x06\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x0F\x01\x01\xFF\x52\x00\x0C\x00\x00\x00\x01\x00\x02\x04\
    \x04\x00\x01\xFF\x5C\x00\x0A\x40\x80\x88\x88\x90\x88\x88\x90\xFF\x90\x00\x0A\x00\x00\x00\x00\x00\x67\x00\x01\xFF\
    \x93\xCF\xFC\x30\x24\x08\x81\x94\xF8\x50\xAA\xE8\x4E\xEF\xC0\x3F\x60\x78\x1F\xE0\x12\x03\xFC\x02\x00\x09\x6F\x32\
    \x51\xBB\x98\xE7\x03\x88\x79\xA1\x04\x3E\x4C\xDF\xC0\xFF\x00\xF8\x1F\xE0\x42\x07\xFE\x00\x10\x21\x7A\x97\xA9\xE6\
    \x4E\x28\x38\xDD\x77\xD8\x7E\x58\x37\x6F\x03\xD2\xDC\x84\x30\xC4\x77\x53\x7B\x2F\x78\xB9\xAC\xF9\xA1\x37\x1F\xF3\
    \x17\x6E\x69\x88\xE5\x1F\xFF\xD9";
/// The same with `* 37 % 256` and 8 bits.
const J2K_8: &[u8; 154] = b"\
    \xFF\x4F\xFF\x51\x00\x29\x00\x00\x00\x00\x00\x08\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x08\
    \x00\x00\x00\x06\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x07\x01\x01\xFF\x52\x00\x0C\x00\x00\x00\x01\x00\x02\x04\
    \x04\x00\x01\xFF\x5C\x00\x0A\x40\x40\x48\x48\x50\x48\x48\x50\xFF\x90\x00\x0A\x00\x00\x00\x00\x00\x51\x00\x01\xFF\
    \x93\xDF\x80\x30\x07\x74\xD8\x03\x56\x7F\xCF\xC0\x1A\x1F\x50\x1C\x7E\x00\x60\x0E\x6D\x5E\xFB\xEE\x3F\x0B\x49\xCF\
    \x0B\xFF\x5F\xCF\xC0\x2E\x7E\x01\x71\xF8\x03\x00\x1C\xFC\x4F\x37\xEB\xE2\x3A\xF6\xCA\x49\xE9\x14\xBE\x48\x41\xFE\
    \xBD\x3B\x80\xD2\x1B\xCA\x0D\x71\xF6\x64\x0F\xA4\xFF\xD9";

#[test]
fn jpeg_2000_is_read() {
    for (bits, factor, stream) in [(12, 421_u32, &J2K_12[..]), (8, 37, J2K_8)] {
        let file = compressed(&Dicom::gray(EXPLICIT, (8, 6), bits, &[]), JPEG_2000, vec![stream.to_vec()]);
        let expected: Vec<i32> = (0..48).map(|at| (at * factor % (1 << bits)) as i32).collect();
        assert_eq!(read(&file.bytes()).unwrap().stored().collect::<Vec<_>>(), expected);
        let other = file.clone().with(0x0028_0011, file.short(9));
        assert_eq!(
            refusal(&other),
            "cannot decode a.dcm: Columns (0028,0011) is 9, expected 8, as in the JPEG 2000 stream; export the file again or drop its row"
        );
        let cut = compressed(&file, JPEG_2000, vec![stream[..stream.len() / 2].to_vec()]);
        let _ = read(&cut.bytes());
    }
    // Values that the stated bits can't hold are refused.
    let narrow = compressed(&Dicom::gray(EXPLICIT, (8, 6), 10, &[]), JPEG_2000, vec![J2K_12.to_vec()]);
    assert!(refusal(&narrow).contains("BitsStored (0028,0101) is 10, expected more"), "{}", refusal(&narrow));
}

#[test]
fn baseline_jpeg_has_the_pixels_of_the_file_itself() {
    let samples: Vec<u8> = (0..40 * 24_u32).map(|at| (at * at % 251) as u8).collect();
    let mut stream = Vec::new();
    image::codecs::jpeg::JpegEncoder::new_with_quality(&mut stream, 90)
        .encode(&samples, 40, 24, image::ExtendedColorType::L8)
        .unwrap();
    let alone = GrayImage::decode(&stream, Path::new("a.jpg")).unwrap();
    let file = compressed(&Dicom::gray(EXPLICIT, (40, 24), 8, &[]), JPEG, vec![stream.clone()]);
    assert_eq!(GrayImage::decode(&file.bytes(), Path::new("a.dcm")).unwrap(), alone);
    let cut = compressed(&file, JPEG, vec![stream[..stream.len() / 2].to_vec()]);
    assert!(refusal(&cut).contains("PixelData (7fe0,0010) can't be decoded as JPEG"), "{}", refusal(&cut));
    let deeper = compressed(&Dicom::gray(EXPLICIT, (40, 24), 12, &[]), JPEG, vec![stream]);
    assert!(refusal(&deeper).contains("BitsStored (0028,0101) is 12, expected 8"), "{}", refusal(&deeper));
}

#[test]
fn what_is_not_read_is_named_with_a_remedy() {
    let file = Dicom::gray(EXPLICIT, (2, 2), 12, &[0, 1, 2, 3]);
    let named = |file: &Dicom, what: &str| {
        let said = refusal(file);
        assert!(said.starts_with(&format!("cannot decode a.dcm: it is a DICOM file {what}, which is not read; ")), "{said}");
        assert!(said.contains("gdcmconv --raw") || said.contains("export the radiograph"), "{said}");
    };
    for (syntax, what) in [
        ("1.2.840.10008.1.2.4.80", "compressed as JPEG-LS"),
        ("1.2.840.10008.1.2.4.201", "compressed as high-throughput JPEG 2000"),
        ("1.2.840.10008.1.2.4.110", "compressed as JPEG XL"),
        ("1.2.840.10008.1.2.4.102", "of a video"),
        ("1.2.840.10008.1.2.7", "in the transfer syntax 1.2.840.10008.1.2.7"),
        ("1.2.3.4.PLANTED", "in a private or unknown transfer syntax"),
    ] {
        named(&Dicom { syntax, ..file.clone() }, what);
    }
    named(&file.clone().with(0x0028_0008, text(b"IS", "12")), "of 12 frames");
    named(&file.clone().with(0x0028_0004, text(b"CS", "RGB")), "in colour (RGB)");
    let mut pdf = file.clone().with(0x0042_0011, Value::Bytes(*b"OB", b"%PDF".to_vec()));
    pdf.elements.retain(|(tag, _)| *tag != 0x7FE0_0010);
    named(&pdf, "with an encapsulated document, such as a PDF");
    let mut sixteen = vec![0xFF, 0xD8, 0xFF, 0xC1, 0, 0x0B, 12, 0, 2, 0, 2, 1, 1, 0x11, 0];
    sixteen.extend(b"\xFF\xDA\0\x08\x01\x01\0\0\x3F\0\xFF\xD9");
    named(&compressed(&file, "1.2.840.10008.1.2.4.51", vec![sixteen]), "compressed as JPEG of 12 bits");
    let mut restarts = lossless(&[0, 1, 2, 3], (2, 2), 12, 1);
    restarts.splice(2..2, *b"\xFF\xDD\0\x04\0\x02");
    named(&compressed(&file, LOSSLESS, vec![restarts]), "compressed as lossless JPEG with restarts or fewer bits");
}

#[test]
fn wrong_elements_are_named_with_their_tags() {
    let file = Dicom::gray(EXPLICIT, (2, 2), 12, &[0, 1, 2, 3]);
    let short = |tag, value| file.clone().with(tag, file.short(value));
    let without = |tag| {
        let mut file = file.clone();
        file.elements.retain(|(known, _)| *known != tag);
        file
    };
    for (file, said) in [
        (short(0x0028_0101, 4), "BitsStored (0028,0101) is 4, expected 8 to 16"),
        (short(0x0028_0100, 32), "BitsAllocated (0028,0100) is 32, expected 8 or 16"),
        (short(0x0028_0102, 3), "HighBit (0028,0102) is 3, expected 11 to 15"),
        (short(0x0028_0103, 2), "PixelRepresentation (0028,0103) is 2, expected 0 or 1"),
        (short(0x0028_0002, 3), "SamplesPerPixel (0028,0002) is 3, expected 1"),
        (short(0x0028_0010, 0), "Rows (0028,0010) is 0, expected 1 to 65535"),
        (short(0x0028_0010, 3), "PixelData (7fe0,0010) is 8 bytes, expected 12 bytes"),
        (short(0x0028_0010, 1), "PixelData (7fe0,0010) is 8 bytes, expected 4 bytes"),
        (without(0x0028_0011), "Columns (0028,0011) is absent"),
        (without(0x0028_0004), "PhotometricInterpretation (0028,0004) is absent"),
        (without(0x7FE0_0010), "PixelData (7fe0,0010) is absent"),
        (file.clone().with(0x0028_0004, text(b"CS", "PLANTED")), "PhotometricInterpretation (0028,0004) is another"),
    ] {
        let found = refusal(&file);
        assert!(found.starts_with(&format!("cannot decode a.dcm: {said}")) && !found.contains("PLANTED"), "{found}\n{said}");
    }
    // As many pixels as Pillow refuses, before memory is taken for them.
    let large = file.clone().with(0x0028_0010, file.short(65535)).with(0x0028_0011, file.short(65535));
    assert!(refusal(&large).contains("65535x65535 pixels; images of at most"), "{}", refusal(&large));
    // A window that can't be right matters only where it is used.
    let narrow = file.with(0x0028_1050, text(b"DS", "40")).with(0x0028_1051, text(b"DS", "0"));
    let image = read(&narrow.bytes()).unwrap();
    assert_eq!(image.stored().collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert_eq!(
        image.gray(DicomValues::Window).unwrap_err().to_string(),
        "WindowWidth (0028,1051) is 0, expected at least 1; export the file again or drop its row"
    );
}

#[test]
fn a_cut_off_file_names_the_element() {
    let file = Dicom::gray(EXPLICIT, (4, 4), 12, &[7; 16]).with(0x0010_0010, text(b"PN", "PLANTED^NAME")).bytes();
    let mut named = 0;
    for cut in 133..file.len() {
        let error = read(&file[..cut]).err().unwrap_or_else(|| panic!("cut at {cut}"));
        assert!(error.starts_with("cannot decode a.dcm: ") && !error.contains("PLANTED"), "{error}");
        named += usize::from(error.contains("cut off or damaged in element (7fe0,0010)"));
    }
    assert!(named >= 32);
}

#[test]
fn files_without_a_preamble_are_recognised_where_that_is_certain() {
    let file = Dicom::gray(EXPLICIT, (2, 2), 12, &[0, 1, 2, 3]).with(0x0008_0005, text(b"CS", "ISO_IR 100"));
    let whole = GrayImage::decode(&file.bytes(), Path::new("a.dcm")).unwrap();
    let without = file.bytes()[132..].to_vec();
    assert_eq!(without[..4], [2, 0, 0x10, 0]);
    // The header begins with its length in nearly all files.
    let with_length = [b"\x02\0\0\0UL\x04\0\x1C\0\0\0", &without[..]].concat();
    let implicit = Dicom { syntax: IMPLICIT, ..file.clone() }.bytes();
    let start = 132 + 8 + 18;
    assert_eq!(implicit[start..start + 4], [8, 0, 5, 0]);
    let explicit = &file.bytes()[132 + 8 + 20..];
    for bytes in [&with_length, &implicit[start..].to_vec(), &explicit.to_vec()] {
        assert_eq!(GrayImage::decode(bytes, Path::new("a.dcm")).unwrap(), whole);
    }
    assert!(!is_dicom(b"\x08\0\x05\0anything else that is long enough"));
}

#[test]
fn monochrome1_is_turned_over_and_padding_is_black() {
    let file = Dicom::gray(EXPLICIT, (4, 1), 12, &[0, 100, 4000, 4095]);
    assert_eq!(levels(&file, DicomValues::Stored), (vec![0, 100, 4000, 4095], 4095));
    let inverted = file.clone().with(0x0028_0004, text(b"CS", "MONOCHROME1"));
    assert_eq!(levels(&inverted, DicomValues::Stored), (vec![4095, 3995, 95, 0], 4095));
    let padded = inverted.with(0x0028_0120, file.short(0));
    assert_eq!(levels(&padded, DicomValues::Stored).0, [0, 3995, 95, 0]);
    let range = file.clone().with(0x0028_0120, file.short(4095)).with(0x0028_0121, file.short(3000));
    assert_eq!(levels(&range, DicomValues::Stored).0, [0, 100, 0, 0]);
    let signed = Dicom::gray(EXPLICIT, (4, 1), 12, &[0x800, 0xFFF, 0, 0x7FF]).with(0x0028_0103, file.short(1));
    assert_eq!(levels(&signed, DicomValues::Stored), (vec![0, 2047, 2048, 4095], 4095));
    let padded = signed.with(0x0028_0120, Value::Bytes(*b"SS", (-1_i16).to_le_bytes().to_vec()));
    assert_eq!(levels(&padded, DicomValues::Stored).0, [0, 0, 2048, 4095]);
}

#[test]
fn windows_and_tables_are_applied_in_order() {
    let file = Dicom::gray(EXPLICIT, (5, 1), 12, &[0, 1000, 2000, 3000, 4095]);
    let windowed = file.clone().with(0x0028_1050, text(b"DS", "2000\\40")).with(0x0028_1051, text(b"DS", "2000\\400"));
    // The first window: from 1000, whose half is 1999.5, to 2999.
    assert_eq!(levels(&windowed, DicomValues::Window), (vec![0, 0, 32784, 65535, 65535], 65535));
    assert_eq!(levels(&windowed, DicomValues::Stored).0, [0, 1000, 2000, 3000, 4095]);
    let negative = file.clone().with(0x0028_1053, text(b"DS", "-1")).with(0x0028_1052, text(b"DS", "4095"));
    assert_eq!(levels(&negative, DicomValues::Window).0, [65535, 49531, 33528, 17524, 0]);
    // Tables: values below and above their entries have the first and the last.
    for with_length in [true, false] {
        for syntax in [EXPLICIT, IMPLICIT, BIG_ENDIAN] {
            let file = Dicom::gray(syntax, (5, 1), 12, &[0, 1000, 1001, 1002, 4095]);
            let words = |words: &[u16]| words.iter().flat_map(|word| file.word(*word)).collect::<Vec<u8>>();
            let item = vec![
                (0x0028_3002, Value::Bytes(*b"US", words(&[3, 1000, 10]))),
                (0x0028_3006, Value::Bytes(*b"OW", words(&[0, 512, 1023]))),
            ];
            let table = |item| Value::Items { items: vec![item], with_length };
            let shown = file.clone().with(0x0028_3010, table(item.clone()));
            assert_eq!(levels(&shown, DicomValues::Window).0, [0, 0, 32800, 65535, 65535], "{syntax}");
            let both = shown.with(0x0028_1050, text(b"DS", "0")).with(0x0028_1051, text(b"DS", "1"));
            assert_eq!(levels(&both, DicomValues::Window).0[2], 32800, "a table comes before a window");
            let modality = file.clone().with(0x0028_3000, table(item));
            assert_eq!(read(&modality.bytes()).unwrap().modality().unwrap(), [0.0, 0.0, 512.0, 1023.0, 1023.0]);
            let short =
                vec![(0x0028_3002, Value::Bytes(*b"US", words(&[9, 0, 16]))), (0x0028_3006, Value::Bytes(*b"OW", vec![0; 4]))];
            let error = read(&file.with(0x0028_3010, table(short)).bytes()).unwrap().voi().unwrap_err().to_string();
            assert!(error.starts_with("LUTData (0028,3006) is 4 bytes, expected two for every entry"), "{error}");
        }
    }
}

#[test]
fn sequences_within_sequences_end_somewhere() {
    let mut inner = vec![(0x0010_0010, text(b"PN", "A"))];
    for _ in 0..30 {
        inner = vec![(0x0008_1111, Value::Items { items: vec![inner], with_length: false })];
    }
    let file = |elements: &Vec<(u32, Value)>| {
        let mut file = Dicom::gray(EXPLICIT, (2, 2), 12, &[0, 1, 2, 3]);
        file.elements.extend(elements.clone());
        file.elements.sort_by_key(|(tag, _)| *tag);
        file
    };
    assert!(read(&file(&inner).bytes()).is_ok());
    for _ in 0..60 {
        inner = vec![(0x0008_1111, Value::Items { items: vec![inner], with_length: false })];
    }
    assert!(refusal(&file(&inner)).contains("damaged in element (0008,1111)"), "{}", refusal(&file(&inner)));
}
