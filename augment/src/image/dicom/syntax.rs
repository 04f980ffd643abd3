//! Transfer syntaxes: how a file is written, and which of them are read.

use super::fault::DicomFault;

/// How elements and pixels are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Syntax {
    pub(super) encoding: Encoding,
    pub(super) codec: Codec,
}

/// How elements are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Encoding {
    /// Whether elements say what type they have.
    pub(super) explicit: bool,
    pub(super) big_endian: bool,
}

/// How pixels are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    Native,
    /// Everything behind the header of the file is deflated.
    Deflated,
    Rle,
    /// Any process; the stream says which.
    Jpeg,
    Jpeg2000,
}

pub(super) const EXPLICIT: Encoding = Encoding { explicit: true, big_endian: false };
pub(super) const IMPLICIT: Encoding = Encoding { explicit: false, big_endian: false };
const BIG_ENDIAN: Encoding = Encoding { explicit: true, big_endian: true };

const DECOMPRESS: &str = "decompress it first, as with `gdcmconv --raw IN OUT`";
const EXPORT: &str = "export the radiograph as a DICOM image of one frame, or drop its row";

impl Encoding {
    /// The transfer syntax of elements alone.
    pub(super) fn uid(self) -> &'static str {
        match (self.explicit, self.big_endian) {
            (false, _) => "1.2.840.10008.1.2",
            (true, false) => "1.2.840.10008.1.2.1",
            (true, true) => "1.2.840.10008.1.2.2",
        }
    }
}

impl Syntax {
    /// The transfer syntax of that identifier.
    pub(super) fn of(uid: &str) -> Result<Self, DicomFault> {
        // Identifiers that are not the standard's are not repeated: they may be anything.
        let Some(short) =
            uid.strip_prefix("1.2.840.10008.1.2").filter(|rest| rest.bytes().all(|b| b"0123456789.".contains(&b)))
        else {
            return Err(DicomFault::not_read("in a private or unknown transfer syntax", DECOMPRESS));
        };
        let known = |encoding, codec| Ok(Self { encoding, codec });
        let refused = |what: &'static str| Err(DicomFault::not_read(what, DECOMPRESS));
        match short {
            "" => known(IMPLICIT, Codec::Native),
            ".1" | ".1.98" => known(EXPLICIT, Codec::Native),
            ".1.99" => known(EXPLICIT, Codec::Deflated),
            ".2" => known(BIG_ENDIAN, Codec::Native),
            ".5" => known(EXPLICIT, Codec::Rle),
            ".4.50" | ".4.51" | ".4.57" | ".4.70" => known(EXPLICIT, Codec::Jpeg),
            ".4.90" | ".4.91" => known(EXPLICIT, Codec::Jpeg2000),
            ".4.80" | ".4.81" => refused("compressed as JPEG-LS"),
            ".4.201" | ".4.202" | ".4.203" => refused("compressed as high-throughput JPEG 2000"),
            ".4.110" | ".4.111" | ".4.112" => refused("compressed as JPEG XL"),
            // MPEG-2, MPEG-4 and HEVC.
            video if video.strip_prefix(".4.10").is_some() => Err(DicomFault::not_read("of a video", EXPORT)),
            other => Err(DicomFault::not_read(format!("in the transfer syntax 1.2.840.10008.1.2{other}"), DECOMPRESS)),
        }
    }
}
