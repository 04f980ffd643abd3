//! The headers of compressed streams, which must agree with the elements around them before memory is taken.

/// What the header of a JPEG stream says.
pub(super) struct JpegFrame {
    /// Its marker: 0xC0 baseline, 0xC3 lossless, 0xF7 JPEG-LS, …
    pub(super) process: u8,
    /// Bits of a sample.
    pub(super) precision: u8,
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) components: usize,
    /// Whether the decoder starts anew within the image.
    pub(super) restarts: bool,
    /// Lower bits that are left out of the first scan.
    pub(super) point_transform: u8,
}

impl JpegFrame {
    /// Reads the segments up to the first scan.
    pub(super) fn of(stream: &[u8]) -> Option<Self> {
        if !stream.starts_with(b"\xFF\xD8") {
            return None;
        }
        let (mut at, mut restarts, mut frame) = (2, false, None);
        loop {
            // Any number of bytes FF may stand before a marker.
            while stream.get(at..at + 2)? == b"\xFF\xFF" {
                at += 1;
            }
            let (0xFF, marker) = (*stream.get(at)?, *stream.get(at + 1)?) else { return None };
            let length = usize::from(u16::from_be_bytes(*stream.get(at + 2..)?.first_chunk()?));
            let segment = stream.get(at + 4..at + 2 + length)?;
            at += 2 + length;
            match marker {
                0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF | 0xF7 => {
                    let [precision, h1, h0, w1, w0, components] = *segment.first_chunk()?;
                    let (width, height) = (u16::from_be_bytes([w1, w0]).into(), u16::from_be_bytes([h1, h0]).into());
                    let (components, point_transform) = (components.into(), 0);
                    let process = marker;
                    frame = Some(Self { process, precision, width, height, components, restarts, point_transform });
                }
                0xDD => restarts = segment.iter().any(|byte| *byte != 0),
                0xDA => {
                    let point_transform = segment.last()? & 15;
                    return frame.map(|frame| Self { restarts, point_transform, ..frame });
                }
                _ => {}
            }
        }
    }
}

/// What the header of a JPEG 2000 stream says.
pub(super) struct Jpeg2000 {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) components: usize,
    pub(super) bits: u32,
    pub(super) signed: bool,
    pub(super) tiles: usize,
    /// Whether it is cut into precincts of fewer than 16 columns or rows.
    pub(super) small_precincts: bool,
}

impl Jpeg2000 {
    /// Reads the main header of a codestream, or of the one in a JP2 file.
    pub(super) fn of(stream: &[u8]) -> Option<Self> {
        const START: &[u8] = b"\xFF\x4F\xFF\x51";
        let start = if stream.starts_with(START) { 0 } else { stream.windows(4).take(4096).position(|at| at == START)? };
        let stream = &stream[start..];
        let word = |at: usize| Some(u32::from_be_bytes(*stream.get(at..)?.first_chunk()?) as usize);
        let short = |at: usize| Some(usize::from(u16::from_be_bytes(*stream.get(at..)?.first_chunk()?)));
        let [right, bottom, left, top] = [word(8)?, word(12)?, word(16)?, word(20)?];
        let [tile_width, tile_height] = [word(24)?, word(28)?];
        let components = short(40)?;
        let [depth, across, down] = *stream.get(42..)?.first_chunk()?;
        let sound = tile_width > 0 && tile_height > 0 && across == 1 && down == 1;
        let (width, height) = (right.checked_sub(left)?, bottom.checked_sub(top)?);
        let mut found = Self {
            width,
            height,
            components,
            bits: u32::from(depth & 0x7F) + 1,
            signed: depth & 0x80 != 0,
            tiles: right.div_ceil(tile_width.max(1)).saturating_mul(bottom.div_ceil(tile_height.max(1))),
            small_precincts: false,
        };
        let mut at = 4 + short(4)?;
        // Up to the first tile.
        while let (0xFF, marker @ 0x50..0x90) = (*stream.get(at)?, *stream.get(at + 1)?) {
            let length = short(at + 2)?;
            let segment = stream.get(at + 4..at + 2 + length)?;
            let precincts = match marker {
                // COD says in its first bit whether precincts follow the ten bytes of the code blocks, COC of one component in its second byte.
                0x52 if segment.first()? & 1 == 1 => segment.get(10..)?,
                0x53 if segment.get(1)? & 1 == 1 => segment.get(7..)?,
                _ => &[],
            };
            found.small_precincts |= precincts.iter().any(|sides| (sides & 15) < 4 || (sides >> 4) < 4);
            at += 2 + length;
        }
        sound.then_some(found)
    }
}
