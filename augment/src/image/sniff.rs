//! What a file is, by its first bytes.

use super::dicom::is_dicom;

/// Endings of names that files of the formats that are read mostly have.
pub const EXTENSIONS: [&str; 6] = ["png", "jpg", "jpeg", "bmp", "dcm", "dicom"];

/// A format that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Png,
    Jpeg,
    Bmp,
    Dicom,
}

/// Beginnings of files that people take for radiographs.
const OTHERS: [(&[u8], &str); 15] = [
    (b"II*\0", "a TIFF file"),
    (b"MM\0*", "a TIFF file"),
    (b"GIF8", "a GIF file"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 file"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 file"),
    (b"\xff\xd8\xff\xf7", "a JPEG-LS file"),
    (b"P5", "a PGM file"),
    (b"P6", "a PPM file"),
    (b"\x1f\x8b", "compressed with gzip"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"%PDF", "a PDF file"),
    (b"version https://git-lfs", "a pointer of Git LFS"),
    (b"<", "a web page or XML, as a failed download leaves it"),
    (b"{", "JSON, as a failed download leaves it"),
];

/// The format of a file that begins with `head`, if it is read; otherwise what the file is.
pub(super) fn format_of(head: &[u8]) -> Result<Kind, &'static str> {
    if head.starts_with(b"\x89PNG\r\n\x1a\n") {
        return Ok(Kind::Png);
    }
    if head.starts_with(b"\xff\xd8") && !head.starts_with(b"\xff\xd8\xff\xf7") {
        return Ok(Kind::Jpeg);
    }
    if head.starts_with(b"BM") {
        return Ok(Kind::Bmp);
    }
    if head.is_empty() {
        return Err("empty");
    }
    if is_dicom(head) {
        return Ok(Kind::Dicom);
    }
    if head.starts_with(b"RIFF") && head.get(8..12) == Some(b"WEBP") {
        return Err("a WebP file");
    }
    if matches!(head.get(4..12), Some(b"ftypheic" | b"ftypmif1" | b"ftypavif")) {
        return Err("a HEIC or AVIF file");
    }
    let text = head.trim_ascii_start();
    let other = OTHERS.iter().find(|(mark, _)| head.starts_with(mark) || text.starts_with(mark));
    Err(other.map_or("of a kind that is not known", |(_, kind)| kind))
}
