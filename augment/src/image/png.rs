//! PNG files: the `png` crate's rows, as they come.

use std::io::{BufRead, Seek};

use ::png::{BitDepth, ColorType, Decoder, InterlaceInfo, Limits, Transformations, expand_interlaced_row};

use super::decode::{Fault, Target};
use super::error::ImageFileError;

/// Most bytes that a chunk beside the pixels may take; text and profiles are skipped anyway.
const MOST_BYTES: usize = 64 << 20;

const ENDED: &str = "the file ends before its last row";

/// The first column and row of each pass of Adam7, and its step between rows.
const PASSES: [(usize, usize, usize); 7] = [(0, 0, 8), (4, 0, 8), (0, 4, 8), (2, 0, 4), (0, 2, 4), (1, 0, 2), (0, 1, 2)];

/// Decodes the first image of a file into `target`; `check` refuses a size.
///
/// As in Pillow, samples of fewer than 8 bits are spread over 0 to 255, palettes become their colours, alpha and transparent colours are
/// dropped, and chunks about gamma, colour and time are ignored. An animation gives its first image. What follows the last row is not
/// looked at.
pub(super) fn decode(
    file: impl BufRead + Seek,
    check: impl Fn((usize, usize)) -> Result<(), ImageFileError>,
    target: &mut impl Target,
) -> Result<(), Fault> {
    let mut decoder = Decoder::new_with_limits(file, Limits { bytes: MOST_BYTES });
    decoder.set_transformations(Transformations::EXPAND);
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let header = decoder.read_header_info()?;
    let size = (header.width as usize, header.height as usize);
    check(size).map_err(Fault::Pixels)?;
    let mut reader = decoder.read_info()?;
    let (color, depth) = reader.output_color_type();
    let deep = depth == BitDepth::Sixteen;
    let channels = color.samples();
    let row_bytes = size.0 * channels * if deep { 2 } else { 1 };
    target.begin(size, deep);
    let mut put = |rows: &[u8]| match (color, deep) {
        (ColorType::Grayscale, false) => target.gray(rows),
        (ColorType::Grayscale, true) => target.gray16(rows),
        (ColorType::GrayscaleAlpha, false) => target.gray(&first_of(rows, 2, 1)),
        (ColorType::GrayscaleAlpha, true) => target.gray16(&first_of(rows, 4, 2)),
        (_, false) => target.rgb(rows, channels),
        (_, true) => target.rgb16(rows, channels),
    };
    if reader.info().interlaced {
        let (mut whole, pixel_bits) = (vec![0; row_bytes * size.1], (row_bytes / size.0 * 8) as u8);
        // Not `next_frame`: it wants to see the end of the stream, too.
        for _ in 0..interlaced_rows(size) {
            let row = reader.next_interlaced_row()?.ok_or(ENDED)?;
            let InterlaceInfo::Adam7(place) = row.interlace() else { return Err("rows that are not interlaced".into()) };
            expand_interlaced_row(&mut whole, row_bytes, row.data(), place, pixel_bits);
        }
        put(&whole);
        return Ok(());
    }
    for _ in 0..size.1 {
        let row = reader.next_row()?.ok_or(ENDED)?;
        put(&row.data()[..row_bytes]);
    }
    Ok(())
}

/// Rows of all passes of an interlaced image.
fn interlaced_rows((width, height): (usize, usize)) -> usize {
    let passes = PASSES.iter().filter(|(left, ..)| *left < width);
    passes.map(|(_, top, step)| height.saturating_sub(*top).div_ceil(*step)).sum()
}

/// The first `kept` bytes of every `size`.
fn first_of(rows: &[u8], size: usize, kept: usize) -> Vec<u8> {
    rows.chunks_exact(size).flat_map(|pixel| &pixel[..kept]).copied().collect()
}
