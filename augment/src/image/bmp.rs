//! BMP files, to Pillow's pixels: `image`'s decoder rounds 5 and 6 bits to 8 in another way.

use std::io::{BufRead, Read, Seek, SeekFrom};

use super::decode::{Fault, Target};
use super::error::ImageFileError;

/// Bytes of the header before the one that says its own size.
const FILE_HEADER: u32 = 14;

/// Decodes a file into `target`; `check` refuses a size.
///
/// # Errors
/// Headers, depths, compressions and masks that Pillow refuses too, and files that end before their last row.
pub(super) fn decode(
    mut file: impl BufRead + Seek,
    check: impl Fn((usize, usize)) -> Result<(), ImageFileError>,
    target: &mut impl Target,
) -> Result<(), Fault> {
    let header = Header::read(&mut file)?;
    check(header.size).map_err(Fault::Pixels)?;
    let colours = header.palette(&mut file)?;
    let pixels = match header.offset {
        0 => file.stream_position()?,
        offset => u64::from(offset),
    };
    file.seek(SeekFrom::Start(pixels))?;
    let (width, height) = header.size;
    target.begin(header.size, false);
    let mut row = vec![0; width * 3];
    match header.layout {
        Layout::Runs { nibbles } => {
            let indices = runs(&mut file, header.size, nibbles)?;
            for y in 0..height {
                let y = if header.top_down { y } else { height - 1 - y };
                let pixels = row.as_chunks_mut::<3>().0.iter_mut().zip(&indices[y * width..][..width]);
                pixels.for_each(|(pixel, &index)| *pixel = colours[usize::from(index)]);
                target.rgb(&row, 3);
            }
        }
        Layout::Rows(samples) => {
            let stride = (width * header.bits as usize).div_ceil(32) * 4;
            let mut packed = vec![0; stride];
            for y in 0..height {
                if !header.top_down {
                    file.seek(SeekFrom::Start(pixels + ((height - 1 - y) * stride) as u64))?;
                }
                // The padding of the last row may be missing.
                let last = if header.top_down { y + 1 == height } else { y == 0 };
                let wanted = if last { (width * header.bits as usize).div_ceil(8) } else { stride };
                file.read_exact(&mut packed[..wanted])?;
                let pixels = row.as_chunks_mut::<3>().0.iter_mut().enumerate();
                pixels.for_each(|(x, pixel)| *pixel = samples.pixel(&packed, x, &colours));
                target.rgb(&row, 3);
            }
        }
    }
    Ok(())
}

struct Header {
    /// Columns and rows.
    size: (usize, usize),
    top_down: bool,
    bits: u16,
    layout: Layout,
    /// Entries of the palette, each in this many bytes; none where pixels are colours.
    palette: (usize, usize),
    /// Where the file says that its pixels begin.
    offset: u32,
}

/// How the pixels are stored.
enum Layout {
    Rows(Samples),
    /// Run-length encoded indices of 8 bits, or of 4.
    Runs {
        nibbles: bool,
    },
}

/// A pixel in a row.
#[derive(Clone, Copy)]
enum Samples {
    /// Bits of an index into the palette: 1, 4 or 8.
    Index(u8),
    /// 5 bits each, or 6 of green.
    Words { green: u8 },
    /// This many bytes, with red, green and blue at these.
    Bytes { count: usize, at: [usize; 3] },
}

impl Samples {
    #[inline(always)]
    fn pixel(self, row: &[u8], x: usize, palette: &[[u8; 3]; 256]) -> [u8; 3] {
        match self {
            Self::Index(8) => palette[usize::from(row[x])],
            Self::Index(4) => palette[usize::from(row[x / 2] >> (4 - 4 * (x % 2)) & 15)],
            Self::Index(_) => palette[usize::from(row[x / 8] >> (7 - x % 8) & 1)],
            Self::Words { green } => {
                let word = u32::from(u16::from_le_bytes([row[2 * x], row[2 * x + 1]]));
                // Pillow rounds down.
                let spread = |shift: u8, bits: u8| ((word >> shift & ((1 << bits) - 1)) * 255 / ((1 << bits) - 1)) as u8;
                [spread(5 + green, 5), spread(5, green), spread(0, 5)]
            }
            Self::Bytes { count, at } => at.map(|offset| row[x * count + offset]),
        }
    }
}

impl Header {
    fn read(file: &mut (impl BufRead + Seek)) -> Result<Self, Fault> {
        let start: [u8; 18] = bytes(file)?;
        let offset = word32(&start, 10);
        let length = word32(&start, 14);
        let mut info = vec![0; 4];
        match length {
            12 => {}
            40 | 52 | 56 | 64 | 108 | 124 => {}
            _ => return Err(format!("a header of {length} bytes").into()),
        }
        info.resize(length as usize, 0);
        file.read_exact(&mut info[4..])?;
        let old = length == 12;
        let (width, height, bits, compression, colours) = if old {
            (i64::from(word16(&info, 4)), i64::from(word16(&info, 6)), word16(&info, 10), 0, 0)
        } else {
            let [width, height] = [4, 8].map(|at| word32(&info, at));
            // Only a height whose first byte is 0xFF is negative to Pillow; others that are would be too large anyway.
            (i64::from(width), i64::from(height as i32), word16(&info, 14), word32(&info, 16), word32(&info, 32))
        };
        let (top_down, height) = (height < 0, height.unsigned_abs());
        if width == 0 || height == 0 {
            return Err(format!("{width}x{height} pixels").into());
        }
        let samples = match (bits, compression) {
            (1 | 4 | 8, 0) => Layout::Rows(Samples::Index(bits as u8)),
            (8, 1) => Layout::Runs { nibbles: false },
            (4, 2) => Layout::Runs { nibbles: true },
            (16, 0) => Layout::Rows(Samples::Words { green: 5 }),
            (24, 0) => Layout::Rows(Samples::Bytes { count: 3, at: [2, 1, 0] }),
            (32, 0) => Layout::Rows(Samples::Bytes { count: 4, at: [2, 1, 0] }),
            (16 | 24 | 32, 3) => {
                let masks = if length >= 52 { [40, 44, 48].map(|at| word32(&info, at)) } else { masks(file)? };
                Layout::Rows(masked(bits, masks).ok_or_else(|| format!("masks of {masks:08x?} in {bits} bits"))?)
            }
            _ => return Err(format!("{bits} bits in compression {compression}").into()),
        };
        let indexed = bits <= 8;
        let colours = if colours > 0 { colours as usize } else { 1 << bits.min(8) };
        if indexed && colours > 65_536 {
            return Err(format!("a palette of {colours} colours").into());
        }
        let palette = (if indexed { colours } else { 0 }, if old { 3 } else { 4 });
        // Some writers leave the palette out of the offset.
        let left_out = if offset == FILE_HEADER + length { palette.0 * palette.1 } else { 0 };
        let offset = offset.saturating_add(left_out as u32);
        Ok(Self { size: (width as usize, height as usize), top_down, bits, layout: samples, palette, offset })
    }

    /// The palette, filled up with black; the gray levels where its entries are the first of these.
    fn palette(&self, file: &mut impl Read) -> Result<[[u8; 3]; 256], Fault> {
        let (entries, size) = self.palette;
        let mut packed = Vec::new();
        file.take((entries * size) as u64).read_to_end(&mut packed)?;
        let mut colours = [[0; 3]; 256];
        for (colour, packed) in colours.iter_mut().zip(packed.chunks_exact(size)) {
            *colour = [packed[2], packed[1], packed[0]];
        }
        let levels: [[u8; 3]; 256] = std::array::from_fn(|level| [level as u8; 3]);
        let gray = entries > 0 && colours.iter().zip(&levels).take(entries).all(|(colour, level)| colour == level);
        Ok(if gray { levels } else { colours })
    }
}

fn masks(file: &mut impl Read) -> Result<[u32; 3], Fault> {
    let masks: [u8; 12] = bytes(file)?;
    Ok([0, 4, 8].map(|at| word32(&masks, at)))
}

/// The layouts of masks that Pillow knows: 5-5-5, 5-6-5, and whole bytes.
fn masked(bits: u16, masks: [u32; 3]) -> Option<Samples> {
    match (bits, masks) {
        (16, [0x7C00, 0x3E0, 0x1F]) => Some(Samples::Words { green: 5 }),
        (16, [0xF800, 0x7E0, 0x1F]) => Some(Samples::Words { green: 6 }),
        (32, [0, 0, 0]) => Some(Samples::Bytes { count: 4, at: [2, 1, 0] }),
        (24 | 32, _) => {
            let count = usize::from(bits / 8);
            let place = |mask: u32| (0..count).find(|byte| mask == 0xFF << (8 * byte));
            let [r, g, b] = masks.map(place);
            Some(Samples::Bytes { count, at: [r?, g?, b?] })
        }
        _ => None,
    }
}

/// Indices of run-length encoded pixels, from the first row in the file. What is left out is index 0, as in Pillow's `BmpRleDecoder`.
fn runs(file: &mut impl BufRead, (width, height): (usize, usize), nibbles: bool) -> Result<Vec<u8>, Fault> {
    let all = width * height;
    let mut indices: Vec<u8> = Vec::new();
    let mut x = 0;
    while indices.len() < all {
        let [count, value] = bytes(file)?;
        let count = usize::from(count);
        match (count, value) {
            (0, 0) => {
                let row = indices.len().div_ceil(width) * width;
                indices.resize(row.min(all), 0);
                x = 0;
            }
            (0, 1) => break,
            (0, 2) => {
                let [right, down] = bytes(file)?;
                let skipped = usize::from(right) + usize::from(down) * width;
                indices.resize((indices.len() + skipped).min(all), 0);
                x = indices.len() % width;
            }
            (0, _) => {
                let literal = usize::from(value).min(all - indices.len());
                let mut read = vec![0; if nibbles { literal.div_ceil(2) } else { literal }];
                file.read_exact(&mut read)?;
                let index = |at: usize| if nibbles { read[at / 2] >> (4 - 4 * (at % 2)) & 15 } else { read[at] };
                indices.extend((0..literal).map(index));
                // Literals are padded to words; what follows the last pixel may be missing.
                if read.len() % 2 == 1 && indices.len() < all {
                    let [_] = bytes(file)?;
                }
                x += literal;
            }
            _ => {
                // A run ends at the end of its row.
                let kept = count.min(width.saturating_sub(x));
                let index = |at: usize| if nibbles { value >> (4 - 4 * (at % 2)) & 15 } else { value };
                indices.extend((0..kept).map(index));
                x += kept;
            }
        }
    }
    if indices.len() < all {
        return Err("the file ends before its last row".into());
    }
    Ok(indices)
}

fn bytes<const N: usize>(file: &mut impl Read) -> Result<[u8; N], Fault> {
    let mut bytes = [0; N];
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn word16(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn word32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
