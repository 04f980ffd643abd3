//! Self-describing gray PNGs: pixels, the request behind them, and a digest of the pixels.

use std::io::Cursor;

use png::{BitDepth, ColorType, Compression, Decoder, Encoder};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::Fingerprint;
use crate::gate::{GateOutcome, NearestReal};
use crate::image::{GrayDepth, GrayImage};
use crate::request::SampleRequest;
use crate::supply::SynthesizerCard;

/// Keyword of the `iTXt` chunk (UTF-8) that holds the JSON of a [`SampleOrigin`].
const KEYWORD: &str = "roentgen:request";

/// Version of the JSON. A reader refuses others, so that an old program never misreads a new sample.
const VERSION: u32 = 1;

/// Deflate can't shrink by more than 1032 to 1 (zlib technical details), so a header that claims more is false, and gets
/// no memory.
const DEFLATE_LIMIT: usize = 1032;

/// The description inside a synthetic sample's file.
#[derive(Clone, Debug, PartialEq)]
pub struct SampleOrigin {
    /// The request that made it.
    pub request: SampleRequest,
    /// Fingerprint of the generator.
    pub fingerprint: Fingerprint,
    /// The generator's description of itself.
    pub card: SynthesizerCard,
    /// [`Synthesized::channel_spread`](crate::supply::Synthesized::channel_spread).
    pub channel_spread: Option<f32>,
    /// The outcome at the gate that judged it when it was made.
    pub gate: Option<GateOutcome>,
    /// The training image it is most similar to, if that gate compared it.
    pub nearest_real: Option<NearestReal>,
}

impl SampleOrigin {
    /// A sample of which no more is known, and which no gate has judged.
    #[must_use]
    pub fn new(request: SampleRequest, fingerprint: Fingerprint, card: SynthesizerCard) -> Self {
        Self { request, fingerprint, card, channel_spread: None, gate: None, nearest_real: None }
    }
}

/// Why a file is not a sample as it was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SampleDefect {
    /// Not a PNG, cut short, or a chunk fails its CRC.
    #[error("the PNG is damaged")]
    Png(#[from] png::DecodingError),
    /// A PNG, but not gray of 8 or 16 bits.
    #[error("the PNG is {color:?} of {depth:?} bits; samples are gray of 8 or 16 bits")]
    NotGray {
        /// Color type found.
        color: ColorType,
        /// Depth found.
        depth: BitDepth,
    },
    /// The text chunk is missing.
    #[error("the PNG has no `{KEYWORD}` text chunk, so it is not a synthetic sample")]
    NoOrigin,
    /// The text chunk is not the JSON it should be.
    #[error("the `{KEYWORD}` text chunk is not the JSON of a request")]
    BadOrigin(#[source] serde_json::Error),
    /// The text chunk is of another version of the format.
    #[error("the `{KEYWORD}` text chunk has format version {found}; this program reads {VERSION}")]
    Version {
        /// Version found.
        found: u32,
    },
    /// The header claims more pixels than the file can hold.
    #[error("the PNG claims {width}x{height} pixels, more than its bytes can hold")]
    TooLarge {
        /// Columns claimed.
        width: usize,
        /// Rows claimed.
        height: usize,
    },
    /// The pixels are not those that were written.
    #[error("the pixels differ from their digest")]
    Digest,
    /// The file is an intact sample of another request or generator.
    #[error("the file holds the sample of another request or generator than its name says")]
    OtherRequest,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    version: u32,
    #[serde(serialize_with = "to_hex", deserialize_with = "from_hex")]
    fingerprint: Fingerprint,
    #[serde(serialize_with = "to_hex", deserialize_with = "from_hex")]
    pixels: Fingerprint,
    card: SynthesizerCard,
    request: SampleRequest,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    channel_spread: Option<f32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gate: Option<GateOutcome>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nearest_real: Option<NearestReal>,
}

impl Header {
    fn origin(self) -> SampleOrigin {
        let Self { fingerprint, card, request, channel_spread, gate, nearest_real, .. } = self;
        SampleOrigin { request, fingerprint, card, channel_spread, gate, nearest_real }
    }
}

fn to_hex<S: Serializer>(digest: &Fingerprint, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(digest)
}

fn from_hex<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Fingerprint, D::Error> {
    // Digits are never escaped, so they are read where they stand.
    let hex = <&str>::deserialize(deserializer)?;
    let digest = blake3::Hash::from_hex(hex).map_err(serde::de::Error::custom)?;
    Ok(Fingerprint(*digest.as_bytes()))
}

/// The bytes of a self-describing PNG.
///
/// # Errors
/// [`png::EncodingError`] if the encoder refuses (an image wider than `u32::MAX`).
pub fn encode_sample(image: &GrayImage, origin: &SampleOrigin) -> Result<Vec<u8>, png::EncodingError> {
    let (depth, samples) = match image.depth() {
        GrayDepth::U8(samples) => (BitDepth::Eight, samples.to_vec()),
        GrayDepth::U16(samples) => (BitDepth::Sixteen, samples.iter().flat_map(|v| v.to_be_bytes()).collect()),
    };
    let header = Header {
        version: VERSION,
        fingerprint: origin.fingerprint,
        pixels: digest(image.width(), image.height(), depth, &samples),
        card: origin.card.clone(),
        request: origin.request.clone(),
        channel_spread: origin.channel_spread,
        gate: origin.gate,
        nearest_real: origin.nearest_real.clone(),
    };
    let text = serde_json::to_string(&header).map_err(std::io::Error::from)?;
    let side = |pixels: usize| u32::try_from(pixels).map_err(std::io::Error::other);
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, side(image.width())?, side(image.height())?);
    encoder.set_color(ColorType::Grayscale);
    encoder.set_depth(depth);
    encoder.set_compression(Compression::Fast);
    encoder.add_itxt_chunk(KEYWORD.to_owned(), text)?;
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&samples)?;
    writer.finish()?;
    Ok(bytes)
}

/// Reads what [`encode_sample`] wrote, and checks all of it: chunk CRCs, the text chunk, the digest of the pixels.
///
/// # Errors
/// [`SampleDefect`] says what is wrong.
pub fn decode_sample(bytes: &[u8]) -> Result<(GrayImage, SampleOrigin), SampleDefect> {
    let mut reader = Decoder::new(Cursor::new(bytes)).read_info()?;
    let info = reader.info();
    let (color, depth) = (info.color_type, info.bit_depth);
    if color != ColorType::Grayscale || !matches!(depth, BitDepth::Eight | BitDepth::Sixteen) {
        return Err(SampleDefect::NotGray { color, depth });
    }
    let chunk = info.utf8_text.iter().find(|chunk| chunk.keyword == KEYWORD).ok_or(SampleDefect::NoOrigin)?;
    let header: Header = serde_json::from_str(&chunk.get_text()?).map_err(SampleDefect::BadOrigin)?;
    if header.version != VERSION {
        return Err(SampleDefect::Version { found: header.version });
    }
    let (width, height) = (info.width as usize, info.height as usize);
    let claimed = reader.output_buffer_size().unwrap_or(usize::MAX);
    if claimed / DEFLATE_LIMIT > bytes.len() {
        return Err(SampleDefect::TooLarge { width, height });
    }
    let mut samples = vec![0; claimed];
    reader.next_frame(&mut samples)?;
    reader.finish()?;
    if digest(width, height, depth, &samples) != header.pixels {
        return Err(SampleDefect::Digest);
    }
    let image = match depth {
        BitDepth::Sixteen => {
            let samples: Vec<u16> = samples.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
            GrayImage::from_u16(width, height, samples)
        }
        _ => GrayImage::from_u8(width, height, samples),
    };
    Ok((image, header.origin()))
}

/// Digest of size, depth and samples, the latter as PNG stores them (16 bits: high byte first).
fn digest(width: usize, height: usize, depth: BitDepth, samples: &[u8]) -> Fingerprint {
    Fingerprint::of(&[&(width as u64).to_le_bytes(), &(height as u64).to_le_bytes(), &[depth as u8], samples])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::{Label, PatientId, Sex, View};
    use crate::request::RequestSource;
    use crate::supply::{AdapterCard, AdapterKind};
    use crate::text::PromptKind;

    fn origin() -> SampleOrigin {
        let source = RequestSource { id: "a_000.png".to_owned(), patient_id: PatientId::new("a"), fold: Some(2) };
        SampleOrigin {
            request: SampleRequest {
                prompt: "kleiner Erguß links, \u{2265} 2 cm".to_owned(),
                prompt_kind: PromptKind::Report,
                labels: vec![Label::Positive, Label::Missing],
                seed: u64::MAX,
                replica: 3,
                source: Some(source),
                age: Some(63.7),
                sex: Some(Sex::Female),
                view: Some(View::Ap),
            },
            fingerprint: Fingerprint::of(&[b"weights"]),
            card: SynthesizerCard {
                steps: Some(50),
                guidance_scale: Some(7.5),
                negative_prompt: Some("text, \"marks\"".to_owned()),
                adapters: vec![AdapterCard {
                    kind: AdapterKind::Lora,
                    name: "chest.safetensors".to_owned(),
                    digest: "0123456789abcdef0".to_owned(),
                    scale: Some(0.8),
                    token: None,
                }],
                ..SynthesizerCard::named("fake")
            },
            channel_spread: Some(0.25),
            gate: Some(GateOutcome::Passed(2)),
            nearest_real: Some(NearestReal { id: "b.png".to_owned(), distance: 0.5 }),
        }
    }

    #[test]
    fn a_sample_round_trips_at_both_depths() {
        let gray8 = GrayImage::from_u8(3, 2, vec![0u8, 1, 2, 253, 254, 255]);
        let gray16 = GrayImage::from_u16(2, 2, vec![0u16, 255, 256, 65535]);
        for image in [gray8, gray16] {
            let bytes = encode_sample(&image, &origin()).unwrap();
            assert_eq!(decode_sample(&bytes).unwrap(), (image, origin()));
        }
    }

    #[test]
    fn the_pixels_are_bound_to_their_digest() {
        let image = GrayImage::from_u8(2, 1, vec![7u8, 8]);
        let sample = encode_sample(&image, &origin()).unwrap();
        let other = encode_sample(&GrayImage::from_u8(2, 1, vec![7u8, 9]), &origin()).unwrap();
        // The pixel chunk of one sound file in the other: every CRC holds, only the digest can tell.
        let start = |bytes: &[u8]| bytes.windows(4).position(|w| w == b"IDAT").unwrap() - 4;
        let mixed = [&sample[..start(&sample)], &other[start(&other)..]].concat();
        assert!(matches!(decode_sample(&mixed), Err(SampleDefect::Digest)));
    }

    #[test]
    fn any_other_png_is_no_sample() {
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes, 1, 1);
        encoder.set_color(ColorType::Grayscale);
        encoder.write_header().unwrap().write_image_data(&[0]).unwrap();
        assert!(matches!(decode_sample(&bytes), Err(SampleDefect::NoOrigin)));
        assert!(matches!(decode_sample(b"not a PNG"), Err(SampleDefect::Png(_))));
    }

    proptest! {
        #[test]
        fn damage_is_noticed_or_harmless(position in 0usize..10_000, flip in 1u8..=255, cut: bool) {
            let image = GrayImage::from_u8(16, 16, (0..=255u8).collect::<Vec<_>>());
            let mut bytes = encode_sample(&image, &origin()).unwrap();
            let position = position % bytes.len();
            if cut { bytes.truncate(position) } else { bytes[position] ^= flip }
            if let Ok(read) = decode_sample(&bytes) {
                prop_assert_eq!(read, (image, origin()));
            }
        }
    }
}
