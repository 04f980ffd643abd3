//! A data set of any layout, written once in the project's own: its table with images of one size, or shards of samples.
//!
//! Conversion is a function of the data set and of the settings. What a conversion that was interrupted has written is kept, and the
//! next start goes on; the result is that of an undisturbed one, byte for byte. Rows that can't be read are left out and listed.
//!
//! | file | what it holds |
//! |---|---|
//! | `names` | what an image is called where it is written |
//! | `folder` | one file per image |
//! | `shards` | `WebDataset`'s tar files |
//! | `record` | what a folder is the conversion of, and who is at it |

mod folder;
mod names;
mod record;
mod shards;

use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use crate::AugmentError;
use crate::atomic::write_atomic;
use crate::dataset::CxrDataset;
use crate::formats::{TableRow, table_bytes};
use crate::image::{BitDepth, GrayDepth, GrayImage, Preprocess, encode_png, white_of};
use crate::progress::Progress;
use record::Claim;

/// The table of the images.
pub const TABLE: &str = "labels.csv";
/// The rows that were left out.
pub const DROPPED: &str = "dropped.csv";
/// The folder of the images.
const IMAGES: &str = "images";

/// What becomes of the images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pixels {
    /// They stay where they are, and the table names their files.
    InPlace,
    /// Gray PNGs of the same size, of 8 bits or 16. Where fewer than 16 count, they are spread over all.
    Whole,
    /// 8-bit gray PNGs of the pictures that the data set's [`Preprocess`] makes.
    Resized,
}

/// How the result is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// [`TABLE`] and a file per image.
    Table,
    /// Tar files `SPLIT-NNNNNN.tar` with up to so many samples, each a PNG and a JSON object.
    Shards(NonZeroUsize),
}

/// A conversion.
#[derive(Clone, Copy, Debug)]
pub struct Conversion {
    /// What becomes of the images.
    pub pixels: Pixels,
    /// How the result is stored.
    pub storage: Storage,
}

/// A row that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// Its line in the source; `None` for what was refused before it had a record.
    pub row: Option<u64>,
    /// The image's name.
    pub image: String,
    /// Why.
    pub reason: String,
}

/// What a conversion wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Converted {
    /// Images in the result.
    pub images: usize,
    /// Of these, the ones that an earlier start had written.
    pub resumed: usize,
    /// What was left out, in order.
    pub dropped: Vec<Dropped>,
}

impl Conversion {
    /// Converts `data` into the folder `out`, which is created, or goes on with what an earlier start left there.
    ///
    /// # Errors
    /// [`AugmentError::BadSetting`] for images that can't stay in place or for a folder that holds something else,
    /// [`AugmentError::EmptyDataset`] if no row is left, [`AugmentError::Io`]. An image that can't be read is no error: it is in
    /// [`Converted::dropped`].
    pub fn run(&self, data: &CxrDataset, out: &Path, progress: &dyn Progress) -> Result<Converted, AugmentError> {
        self.check(data)?;
        let names = names::of(data);
        let claim = Claim::take(out, &self.describe(data, &names))?;
        let task = progress.begin("converting", data.rows().len() as u64, "images");
        let mut converted = match self.storage {
            Storage::Table => folder::write(*self, data, &names, out, &*task)?,
            Storage::Shards(samples) => shards::write(self.pixels, samples, data, &names, out, &*task)?,
        };
        drop(task);
        let refused = data.faults().iter().map(|fault| Dropped { row: None, image: String::new(), reason: fault.clone() });
        converted.dropped = refused.chain(converted.dropped).collect();
        write_dropped(&out.join(DROPPED), &converted.dropped)?;
        claim.finish(out)?;
        match converted.images {
            0 => Err(AugmentError::EmptyDataset { name: data.name().to_owned() }),
            _ => Ok(converted),
        }
    }

    /// Refuses what can't be done to any row, before the folder is touched.
    fn check(&self, data: &CxrDataset) -> Result<(), AugmentError> {
        let expected = "a side in pixels, or --full-size";
        match (self.pixels, self.storage) {
            (Pixels::InPlace, Storage::Shards(_)) => {
                Err(AugmentError::setting("--size", "absent", format!("{expected}: shards hold their images")))
            }
            (Pixels::InPlace, Storage::Table) => match (0..data.rows().len()).find(|&index| data.file(index).is_none()) {
                Some(index) => {
                    let found = format!("absent, and {} is no file of its own", data.describe(index));
                    Err(AugmentError::setting("--size", found, format!("{expected}: images in archives have to be written")))
                }
                None => Ok(()),
            },
            (Pixels::Whole | Pixels::Resized, _) => Ok(()),
        }
    }

    /// Settings and rows in words: equal for equal conversions.
    fn describe(&self, data: &CxrDataset, names: &[String]) -> String {
        let records = (0..data.rows().len()).map(|at| data.record(at));
        let rows = names.iter().zip(records).map(|(image, record)| TableRow { image, record, card: None });
        let rows = table_bytes(data.vocabulary(), &rows.collect::<Vec<_>>());
        let pixels = match self.pixels {
            Pixels::InPlace => "in place".to_owned(),
            // Of any size, but by depth and by the values of DICOM files.
            Pixels::Whole => format!("whole, by {}", Preprocess { size: 1, ..*data.preprocess() }.digest()),
            Pixels::Resized => format!("by {}", data.preprocess().digest()),
        };
        format!("{pixels}, {:?}, of {}", self.storage, crate::digest::Fingerprint::of(&[&rows]))
    }
}

/// The PNG of image `index`.
fn png(pixels: Pixels, data: &CxrDataset, index: usize) -> Result<Vec<u8>, AugmentError> {
    let image = match pixels {
        Pixels::Resized => data.sample(index)?.image.to_gray8(),
        Pixels::Whole | Pixels::InPlace => spread(data.decode(index)?, data.preprocess().depth()),
    };
    Ok(encode_png(&image))
}

/// The image with 65535 as its white, since a PNG can't say that it is another.
fn spread(image: GrayImage, depth: BitDepth) -> GrayImage {
    let GrayDepth::U16(samples) = image.depth() else { return image };
    let white = match depth {
        BitDepth::Bits(bits) => white_of(bits),
        BitDepth::Full => image.white(),
        // Whoever reads it so makes the same of any white.
        BitDepth::PerImageRange => u16::MAX,
    };
    let (most, white) = (u32::from(u16::MAX), u32::from(white));
    if white == most {
        return image;
    }
    let spread = |sample: &u16| ((u32::from(*sample) * most + white / 2) / white).min(most) as u16;
    GrayImage::from_u16(image.width(), image.height(), samples.iter().map(spread).collect::<Vec<u16>>())
}

fn dropped(data: &CxrDataset, index: usize, reason: String) -> Dropped {
    let row = &data.rows()[index];
    Dropped { row: Some(row.line), image: row.record.id.clone(), reason }
}

/// An error with its causes.
fn said(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

fn write_dropped(path: &Path, dropped: &[Dropped]) -> Result<(), AugmentError> {
    let write = |out: &mut io::BufWriter<&std::fs::File>| {
        let mut table = csv::Writer::from_writer(out);
        table.write_record(["row", "image", "reason"])?;
        for Dropped { row, image, reason } in dropped {
            table.write_record([&row.map_or_else(String::new, |row| row.to_string()), image, reason])?;
        }
        table.flush()
    };
    write_atomic(path, write).map_err(failed("write", path))
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> AugmentError {
    let path: PathBuf = path.to_owned();
    move |source| AugmentError::Io { action, path, source }
}

#[cfg(test)]
mod tests;
