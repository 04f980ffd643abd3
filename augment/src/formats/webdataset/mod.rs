//! WebDataset: shards of tar, in which the files of one stem are a sample.

mod member;
mod shard;
mod shards;

use std::path::Path;

use self::shard::{Contents, Shard};
use self::shards::Shards;
use super::cells::SPLIT;
use super::objects::Keys;
use super::table::{Part, Table};
use crate::AugmentError;
use crate::dataset::CxrDataset;
use crate::record::Split;

pub(super) use self::shards::files;

/// Reads the shards that `table`'s path names: a folder of them, a pattern such as `shard-{000000..000123}.tar`, or one.
///
/// A sample has an image (`a.png`, `a.jpg`, `a.dcm`, …) and, where known, `a.json` with the columns of a table, `a.txt` with the report, and
/// `a.cls` with its findings, or with 0 or 1 where one finding is asked for. What begins with `train`, `val` or `test` among shards is of that split, unless
/// there is a column that says it.
///
/// Every shard is gone through once, from header to header; images stay where they are and are read by position.
///
/// # Errors
/// [`AugmentError::BadLayout`] names the shard and the member that is cut off, not read, or there twice; those of [`Table::read`].
pub(super) fn read(table: &Table) -> Result<CxrDataset, AugmentError> {
    let root = &table.path;
    let (mut keys, mut parts, mut shards, mut notes) = (Keys::default(), Vec::new(), Shards::new(root), Contents::default());
    let mut read = Vec::new();
    for path in files(root, "tar")? {
        let shard = Shard::read(&path, table, &mut keys, &mut notes)?;
        read.push((path, shard));
    }
    for (path, shard) in read {
        let sheet = shard.rows.sheet(&keys, &path)?;
        let split = split_of(&path).filter(|_| !keys.contains("split"));
        parts.push(Part { sheet, prefix: String::new(), split, split_of_path: false });
        shards.add(&path, shard.images);
    }
    let data = table.read_rows(&parts, shards)?;
    Ok(notes.notes(root).into_iter().fold(data, CxrDataset::with_note))
}

/// The split that the name of a file begins with: `train-000000.tar`, `test-00000-of-00003.parquet`; else that of its folder.
pub(super) fn split_of(path: &Path) -> Option<Split> {
    let word = |name: &str| {
        let end = name.find(|letter: char| !letter.is_ascii_alphabetic()).unwrap_or(name.len());
        SPLIT.1(&name[..end].to_lowercase())
    };
    let name = path.file_name().and_then(|name| name.to_str()).and_then(word);
    name.or_else(|| path.parent()?.file_name()?.to_str().and_then(SPLIT.1))
}

#[cfg(test)]
mod tests;
