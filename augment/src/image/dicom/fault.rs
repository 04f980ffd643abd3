//! Why a DICOM file gives no image.

use std::borrow::Cow;

/// Group and number of an element.
pub(super) type Tag = (u16, u16);

/// What is wrong with a DICOM file. Values of elements are quoted only where they are numbers of the image itself or words of the standard:
/// names, dates, comments and identifiers of people and places never are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DicomFault {
    /// A file that is sound, and of a kind that is not read.
    #[error("it is a DICOM file {what}, which is not read; {remedy}")]
    NotRead {
        /// `compressed as JPEG-LS`
        what: Cow<'static, str>,
        /// What to do.
        remedy: &'static str,
    },
    /// An element that is absent or holds what it may not.
    #[error("{name} ({:04x},{:04x}) is {found}, expected {expected}; export the file again or drop its row", tag.0, tag.1)]
    Element {
        /// Its keyword.
        name: &'static str,
        /// Its tag.
        tag: (u16, u16),
        /// What it holds.
        found: String,
        /// What it should hold.
        expected: Cow<'static, str>,
    },
    /// A file that ends inside an element, or whose elements don't follow each other.
    #[error("the DICOM file is cut off or damaged in element ({:04x},{:04x}), at byte {at} of its data; fetch it again", tag.0, tag.1)]
    Damaged {
        /// The element.
        tag: (u16, u16),
        /// Where it begins, counted from the end of the file's header.
        at: usize,
    },
    /// Compressed pixels that are damaged.
    #[error("PixelData (7fe0,0010) can't be decoded as {codec}: {found}; fetch the file again or drop its row")]
    Pixels {
        /// `RLE`
        codec: &'static str,
        /// What is wrong.
        found: Cow<'static, str>,
    },
}

impl DicomFault {
    pub(super) fn element(
        (name, tag): (&'static str, Tag),
        found: impl ToString,
        expected: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::Element { name, tag, found: found.to_string(), expected: expected.into() }
    }

    pub(super) fn pixels(codec: &'static str, found: impl Into<Cow<'static, str>>) -> Self {
        Self::Pixels { codec, found: found.into() }
    }

    pub(super) fn not_read(what: impl Into<Cow<'static, str>>, remedy: &'static str) -> Self {
        Self::NotRead { what: what.into(), remedy }
    }
}
