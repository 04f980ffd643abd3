//! Images by name in a folder, or in the tree that NIH's archives unpack to.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::MissingImages;
use super::sheet::{Line, Sheet};
use crate::AugmentError;

/// NIH's archives unpack to `images_001/images/00000001_000.png`.
const DEPTH: usize = 2;

/// The image files under a folder, by file name with and without its extension; of several the first in path order.
#[derive(Debug)]
pub(super) struct ImageFolder {
    root: PathBuf,
    files: HashMap<String, PathBuf>,
}

impl ImageFolder {
    /// Lists PNG, JPEG and BMP files in `root` and two levels below.
    pub(super) fn scan(root: &Path) -> Result<Self, AugmentError> {
        let mut files = HashMap::new();
        scan(root, DEPTH, &mut files)?;
        Ok(Self { root: root.to_owned(), files })
    }

    /// The file of the image named `name` in `line` of `sheet`; its extension need not be the name's, as resized copies of a
    /// PNG data set are often JPEG.
    ///
    /// `None` if the row is to be skipped.
    pub(super) fn locate(
        &self,
        name: &str,
        (sheet, line): (&Sheet, &Line),
        missing: MissingImages,
    ) -> Result<Option<PathBuf>, AugmentError> {
        if let Some(path) = self.files.get(name).or_else(|| self.files.get(bare(name)?)) {
            return Ok(Some(path.clone()));
        }
        absent(name, &self.root, (sheet, line), missing)
    }
}

/// What becomes of a row whose image `name` isn't under `root`.
pub(super) fn absent(
    name: &str,
    root: &Path,
    (sheet, line): (&Sheet, &Line),
    missing: MissingImages,
) -> Result<Option<PathBuf>, AugmentError> {
    match missing {
        MissingImages::Refuse => Err(AugmentError::MissingImage {
            path: sheet.path.clone(),
            row: line.number,
            image: name.to_owned(),
            folder: root.to_owned(),
        }),
        MissingImages::Skip => Ok(None),
        MissingImages::Keep => Ok(Some(root.join(name))),
    }
}

/// The name without its extension, if that is one of an image.
fn bare(name: &str) -> Option<&str> {
    let (bare, extension) = name.rsplit_once('.')?;
    let image = ["png", "jpg", "jpeg", "bmp"].iter().any(|known| extension.eq_ignore_ascii_case(known));
    image.then_some(bare)
}

fn scan(folder: &Path, depth: usize, files: &mut HashMap<String, PathBuf>) -> Result<(), AugmentError> {
    let failed = |source| AugmentError::Io { action: "list", path: folder.to_owned(), source };
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        if let Some((name, bare)) = name.and_then(|name| Some((name, bare(name)?))) {
            for key in [name, bare] {
                let first = files.entry(key.to_owned()).or_insert_with(|| path.clone());
                if path < *first {
                    first.clone_from(&path);
                }
            }
        } else if depth > 0 && path.is_dir() {
            scan(&path, depth - 1, files)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exact_name_comes_first_and_then_path_order() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for path in ["b/x.png", "a/x.png", "x.jpg", "deep/er/y.bmp"] {
            fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            fs::write(root.join(path), "").unwrap();
        }
        let files = ImageFolder::scan(root).unwrap().files;
        assert_eq!(files["x.png"], root.join("a/x.png"));
        assert_eq!(files["x"], root.join("a/x.png"));
        assert_eq!(files["x.jpg"], root.join("x.jpg"));
        assert_eq!(files["y"], root.join("deep/er/y.bmp"));
    }
}
