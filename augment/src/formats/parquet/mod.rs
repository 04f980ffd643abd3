//! Parquet files with embedded images, as Hugging Face's `datasets` write them, or with paths of images.

mod cells;
mod file;
mod images;
mod pages;

use std::collections::HashSet;
use std::path::Path;

use self::file::ParquetFile;
use self::images::Embedded;
use super::objects::Keys;
use super::table::{Part, Table};
use super::webdataset::{files, split_of};
use crate::AugmentError;
use crate::dataset::CxrDataset;

pub(super) use self::file::columns;

/// Reads the files that `table`'s path names: a folder of them, a pattern, or one.
///
/// A column `image` has the bytes of each image and, where known, its path; or it has paths, relative to the folder of the files. All other columns are
/// those of a table: numbers, truth values, text and lists of text. Classes whose names the file has (`ClassLabel`) are read by them. What begins with
/// `train`, `validation` or `test` among files is of that split, unless there is a column that says it.
///
/// Labels are read column by column in one pass; images stay where they are, and each is read by its page.
///
/// # Errors
/// [`AugmentError::BadLayout`] names the file and the column that is damaged or not read; those of [`Table::read`].
pub(super) fn read(table: &Table) -> Result<CxrDataset, AugmentError> {
    let root = &table.path;
    let mut opened = Vec::new();
    for path in files(root, "parquet")? {
        opened.push(ParquetFile::open(&path, table.columns.get("image").map(String::as_str))?);
    }
    let (mut keys, mut read) = (Keys::default(), Vec::new());
    for file in &opened {
        read.push(file.rows(&mut keys)?);
    }
    let embedded = opened.iter().any(ParquetFile::has_bytes);
    // Images are called by their paths where these are different for all.
    let mut seen = HashSet::new();
    let named =
        read.iter().all(|rows| rows.paths.iter().all(|path| path.as_ref().is_some_and(|path| seen.insert(path.clone()))));
    drop(seen);
    let (mut parts, mut notes) = (Vec::new(), Vec::new());
    for (file, mut rows) in opened.iter().zip(read) {
        let name = file.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for (row, path) in rows.paths.iter().enumerate() {
            let id = match path {
                Some(path) if named || !embedded => path.clone(),
                _ if embedded => format!("{name}/{}", row + 1),
                _ => String::new(),
            };
            rows.cells.put_in(&mut keys, row, "image", id);
        }
        let sheet = rows.cells.sheet(&keys, &file.path)?;
        let split = split_of(&file.path).filter(|_| !keys.contains("split"));
        parts.push(Part { sheet, prefix: String::new(), split, split_of_path: false });
        notes.extend(file.notes());
    }
    // The column of images is called `image` now, whatever it was called.
    let mut columns = table.columns.clone();
    if let Some(name) = columns.get_mut("image") {
        "image".clone_into(name);
    }
    let table = Table { columns, ..table.clone() };
    let data = if embedded {
        table.read_rows(&parts, Embedded::new(root, opened))?
    } else {
        let folder = if root.is_dir() { root.as_path() } else { root.parent().unwrap_or(Path::new("")) };
        table.read_parts(&parts, folder)?
    };
    Ok(notes.into_iter().fold(data, CxrDataset::with_note))
}

#[cfg(test)]
mod tests;
