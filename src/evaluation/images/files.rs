//! A folder of image files, of which nothing but their names is known.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use roentgen_augment::dataset::CxrDataset;
use roentgen_augment::image::{EXTENSIONS, ImageFiles};
use roentgen_augment::record::{CxrRecord, Label, Vocabulary};

use super::ImageSetError;

/// Most files of one folder of images: more is considered a mistake, such as the root of a file system.
pub(super) const MOST_FILES: usize = 10_000_000;

/// Image files below a folder, of which only their names are known; `None` if there is none.
pub(super) fn files(root: &Path) -> Result<Option<CxrDataset>, ImageSetError> {
    let mut found: Vec<PathBuf> = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let failed = |source| ImageSetError::List { path: folder.clone(), source };
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let (path, kind) = (entry.path(), entry.file_type().map_err(failed)?);
            let is_hidden = entry.file_name().as_encoded_bytes().first() == Some(&b'.');
            if is_hidden {
                continue;
            }
            let ending = path.extension().and_then(|ending| ending.to_str()).map(str::to_ascii_lowercase);
            // A folder that is a link may lead back.
            if kind.is_dir() {
                folders.push(path);
            } else if ending.is_some_and(|ending| EXTENSIONS.contains(&ending.as_str())) {
                found.push(path);
            }
            if found.len() > MOST_FILES {
                return Err(ImageSetError::TooMany { path: root.to_owned() });
            }
        }
    }
    if found.is_empty() {
        return Ok(None);
    }
    found.sort();
    let record = |path: &PathBuf| {
        let id = path.strip_prefix(root).unwrap_or(path).display().to_string().replace('\\', "/");
        CxrRecord::real(id, None, vec![Label::Missing])
    };
    let records = found.iter().map(record).collect();
    let vocabulary = Arc::new(Vocabulary::parse(["No Finding"])?);
    let name = root.display().to_string();
    let note = format!("{name} is read as a folder of image files: no labels, patients and prompts are known");
    let data = CxrDataset::from_records(&name, vocabulary, records, Arc::new(ImageFiles::new(found)))?;
    Ok(Some(data.with_note(note)))
}
