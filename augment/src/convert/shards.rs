//! `WebDataset`'s tar files: each sample is `KEY.png` and `KEY.json`.
//!
//! Reference: webdataset 1.0, `tariterators.py` (`base_plus_ext`): a key ends at the first dot after the last slash.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::path::Path;

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use serde_json::{Map, Value};

use super::{Converted, Dropped, Pixels, dropped, failed, png, said};
use crate::AugmentError;
use crate::atomic::write_atomic;
use crate::dataset::CxrDataset;
use crate::formats::{TableRow, table_bytes};
use crate::progress::Task;
use crate::record::Split;

/// Images that are encoded before they are written.
const BATCH: usize = 64;

/// Writes shard after shard, the images of each in parallel.
pub(super) fn write(
    pixels: Pixels,
    samples: NonZeroUsize,
    data: &CxrDataset,
    names: &[String],
    out: &Path,
    task: &dyn Task,
) -> Result<Converted, AugmentError> {
    let mut by_split: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, row) in data.rows().iter().enumerate() {
        by_split.entry(part(row.record.split)).or_default().push(index);
    }
    let mut converted = Converted { images: 0, resumed: 0, dropped: Vec::new() };
    for (split, rows) in &by_split {
        for (number, rows) in rows.chunks(samples.get()).enumerate() {
            let shard = Shard { pixels, data, names, rows };
            shard.write(&out.join(format!("{split}-{number:06}.tar")), &mut converted, task)?;
        }
    }
    converted.dropped.sort_by_key(|dropped| dropped.row);
    Ok(converted)
}

/// The first part of a shard's name.
fn part(split: Option<Split>) -> &'static str {
    match split {
        Some(Split::Train) => "train",
        Some(Split::Valid) => "valid",
        Some(Split::Test) => "test",
        None => "all",
    }
}

/// The samples of one file.
struct Shard<'a> {
    pixels: Pixels,
    data: &'a CxrDataset,
    names: &'a [String],
    rows: &'a [usize],
}

impl Shard<'_> {
    /// Writes the file, unless an earlier start has and what it left out can't be read now either.
    fn write(&self, path: &Path, converted: &mut Converted, task: &dyn Task) -> Result<(), AugmentError> {
        if let Some(keys) = keys(path)? {
            let absent: Vec<usize> = self.rows.iter().copied().filter(|&row| !keys.contains(&self.key(row))).collect();
            let errors: Vec<_> = absent.par_iter().map(|&row| (row, png(self.pixels, self.data, row).err())).collect();
            if let Some(left_out) = all_failed(self.data, &errors) {
                let images = self.rows.len() - absent.len();
                converted.images += images;
                converted.resumed += images;
                converted.dropped.extend(left_out);
                task.advance(self.rows.len() as u64);
                return Ok(());
            }
        }
        let (mut left_out, mut images) = (Vec::new(), 0);
        let build = |file: &mut io::BufWriter<&File>| {
            let mut tar = tar::Builder::new(file);
            for rows in self.rows.chunks(BATCH) {
                let encoded: Vec<_> = rows.par_iter().map(|&row| (row, png(self.pixels, self.data, row))).collect();
                for (row, png) in encoded {
                    match png {
                        Ok(png) => {
                            let key = self.key(row);
                            append(&mut tar, &format!("{key}.png"), &png)?;
                            append(&mut tar, &format!("{key}.json"), &self.json(row)?)?;
                            images += 1;
                        }
                        Err(error) => left_out.push(dropped(self.data, row, said(&error))),
                    }
                    task.advance(1);
                }
            }
            tar.into_inner().map(|_| ())
        };
        write_atomic(path, build).map_err(failed("write", path))?;
        converted.images += images;
        converted.dropped.extend(left_out);
        Ok(())
    }

    fn key(&self, row: usize) -> String {
        self.names[row].strip_suffix(".png").unwrap_or(&self.names[row]).to_owned()
    }

    /// The columns of the table as an object: numbers for labels and ages, texts for the rest; blank cells are left out.
    fn json(&self, row: usize) -> io::Result<Vec<u8>> {
        let row = TableRow { image: &self.names[row], record: self.data.record(row), card: None };
        let bytes = table_bytes(self.data.vocabulary(), &[row]);
        let mut table = csv::Reader::from_reader(bytes.as_slice());
        let header = table.headers().map_err(io::Error::other)?.clone();
        let mut object = Map::new();
        for record in table.records() {
            let record = record.map_err(io::Error::other)?;
            for (name, cell) in header.iter().zip(&record).filter(|(name, cell)| !cell.is_empty() && *name != "image") {
                let is_number = name == "age" || self.data.vocabulary().findings().iter().any(|finding| finding.name() == name);
                let number = if is_number { serde_json::from_str::<Value>(cell).ok().filter(Value::is_number) } else { None };
                object.insert(name.to_owned(), number.unwrap_or_else(|| Value::String(cell.to_owned())));
            }
        }
        serde_json::to_vec(&object).map_err(io::Error::other)
    }
}

/// What was left out, if every row failed again.
fn all_failed(data: &CxrDataset, rows: &[(usize, Option<AugmentError>)]) -> Option<Vec<Dropped>> {
    rows.iter().map(|(row, error)| Some(dropped(data, *row, said(error.as_ref()?)))).collect()
}

/// The keys of a shard that an earlier start wrote; `None` if there is none.
fn keys(path: &Path) -> Result<Option<HashSet<String>>, AugmentError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("read", path)(error)),
    };
    let read = || -> io::Result<HashSet<String>> {
        let mut keys = HashSet::new();
        for entry in tar::Archive::new(file).entries_with_seek()? {
            if let Some(key) = entry?.path()?.to_str().and_then(|name| name.strip_suffix(".png")) {
                keys.insert(key.to_owned());
            }
        }
        Ok(keys)
    };
    read().map(Some).map_err(failed("read", path))
}

/// Adds a member without owner or times, so that equal samples are equal bytes.
fn append(tar: &mut tar::Builder<impl io::Write>, name: &str, bytes: &[u8]) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    header.set_mtime(0);
    tar.append_data(&mut header, name, bytes)
}
