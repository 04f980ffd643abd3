//! One file per image, and the table of them.

use std::io::Write;
use std::path::Path;

use rayon::iter::{IntoParallelIterator, ParallelIterator};

use super::{Conversion, Converted, Dropped, IMAGES, Pixels, TABLE, dropped, failed, png, said};
use crate::AugmentError;
use crate::atomic::write_atomic;
use crate::dataset::CxrDataset;
use crate::formats::{TableRow, write_table};
use crate::progress::Task;

/// What became of a row.
enum Outcome {
    Written(String),
    Resumed(String),
    Dropped(Dropped),
}

/// Writes the images in parallel, then the table.
pub(super) fn write(
    Conversion { pixels, .. }: Conversion,
    data: &CxrDataset,
    names: &[String],
    out: &Path,
    task: &dyn Task,
) -> Result<Converted, AugmentError> {
    let one = |index: usize| {
        let outcome = match pixels {
            Pixels::InPlace => in_place(data, index),
            Pixels::Whole | Pixels::Resized => image(pixels, data, index, &names[index], out),
        };
        task.advance(1);
        outcome
    };
    let outcomes = (0..data.rows().len()).into_par_iter().map(one).collect::<Result<Vec<_>, _>>()?;
    let (mut kept, mut left_out, mut resumed) = (Vec::new(), Vec::new(), 0);
    for (index, outcome) in outcomes.into_iter().enumerate() {
        match outcome {
            Outcome::Written(image) => kept.push((image, index)),
            Outcome::Resumed(image) => {
                resumed += 1;
                kept.push((image, index));
            }
            Outcome::Dropped(row) => left_out.push(row),
        }
    }
    let rows: Vec<_> = kept.iter().map(|(image, index)| TableRow { image, record: data.record(*index), card: None }).collect();
    if !rows.is_empty() {
        write_table(&out.join(TABLE), data.vocabulary(), &rows)?;
    }
    Ok(Converted { images: rows.len(), resumed, dropped: left_out })
}

/// The row with the path of its image where that is.
fn in_place(data: &CxrDataset, index: usize) -> Result<Outcome, AugmentError> {
    let file = data.file(index).expect("that every image has a file was checked");
    let path = std::path::absolute(file).map_err(failed("find", file))?;
    if !path.is_file() {
        let reason = format!("{} is not there", path.display());
        return Ok(Outcome::Dropped(dropped(data, index, reason)));
    }
    match path.to_str() {
        Some(path) => Ok(Outcome::Written(path.to_owned())),
        None => {
            let reason = "its path is not UTF-8, which a table can't hold".to_owned();
            Ok(Outcome::Dropped(dropped(data, index, reason)))
        }
    }
}

/// Writes an image unless an earlier start has.
fn image(pixels: Pixels, data: &CxrDataset, index: usize, name: &str, out: &Path) -> Result<Outcome, AugmentError> {
    let name = format!("{IMAGES}/{name}");
    let path = out.join(&name);
    if path.is_file() {
        return Ok(Outcome::Resumed(name));
    }
    match png(pixels, data, index) {
        Ok(bytes) => {
            write_atomic(&path, |file| file.write_all(&bytes)).map_err(failed("write", &path))?;
            Ok(Outcome::Written(name))
        }
        Err(error) => Ok(Outcome::Dropped(dropped(data, index, said(&error)))),
    }
}
