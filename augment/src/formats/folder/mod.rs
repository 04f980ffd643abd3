//! Image files by the names that a table gives them.
//!
//! A name is tried in this order, and the first rule that finds exactly one file decides. A rule that finds several is an error with two of
//! them: which of them is the radiograph can't be known.
//!
//! 1. the path as written, from the folder of the images (or absolute, or from `~/`), also where the name begins with the folder's own name;
//! 2. files below the folder whose path ends in the name, component by component;
//! 3. the same with another image extension, or one where the name has none;
//! 4. both again in other case, with a note.

mod error;
mod files;

use std::collections::{BTreeMap, HashMap};
use std::env;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{MAIN_SEPARATOR_STR, Path, PathBuf};

use super::MissingImages;
use crate::AugmentError;
pub use error::FolderError;
use files::{Files, Found, Wanted};

/// Most folders that a note names.
const NAMED: usize = 4;

/// A folder of images. It is listed when a name is first not found as written.
#[derive(Debug)]
pub(super) struct ImageFolder {
    root: PathBuf,
    files: Option<Files>,
    /// Folders in which a file was looked for in vain and those above them, down to the first that isn't there (false).
    folders: HashMap<String, bool>,
    /// Rows whose name was found in other case: how many, and the first with its file.
    other_case: Option<(usize, String, String)>,
    /// How many names without a folder were found in each kind of folder below this one.
    searched: BTreeMap<String, usize>,
    /// Whether a name without a folder was found in this folder itself.
    flat: bool,
    /// The first name without a folder that was found deeper, and its file.
    deeper: Option<(String, PathBuf)>,
    /// Rows by the digest of their file's path.
    taken: HashMap<u64, u64>,
}

impl ImageFolder {
    /// The folder `root`, of which nothing is listed yet.
    ///
    /// # Errors
    /// [`FolderError::NoFolder`].
    pub(super) fn open(root: &Path) -> Result<Self, AugmentError> {
        // A table in the working folder has an empty parent.
        if root != Path::new("") && !root.is_dir() {
            return Err(FolderError::NoFolder { path: root.to_owned(), key: "images".to_owned() }.into());
        }
        Ok(Self {
            root: root.to_owned(),
            files: None,
            folders: HashMap::new(),
            other_case: None,
            searched: BTreeMap::new(),
            flat: false,
            deeper: None,
            taken: HashMap::new(),
        })
    }

    /// The folder.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The file of the image named `name` in a row of a table; `None` if the row is to be skipped.
    ///
    /// # Errors
    /// [`FolderError::MissingImage`], [`FolderError::AmbiguousImage`], [`FolderError::ScatteredImages`],
    /// [`AugmentError::DuplicateImage`], or why the folder can't be listed.
    pub(super) fn locate(
        &mut self,
        name: &str,
        (table, row): (&Path, u64),
        missing: MissingImages,
    ) -> Result<Option<PathBuf>, AugmentError> {
        let wanted = Wanted::of(name);
        if let Some(path) = self.search(name, &wanted, (table, row))? {
            let mut hasher = DefaultHasher::new();
            path.hash(&mut hasher);
            return match self.taken.insert(hasher.finish(), row) {
                // Another spelling of a name must not stand in for an image that isn't there.
                Some(first) => {
                    Err(AugmentError::DuplicateImage { path: table.to_owned(), image: self.below(&path), row, first })
                }
                None => Ok(Some(path)),
            };
        }
        match missing {
            MissingImages::Refuse => Err(FolderError::MissingImage {
                path: table.to_owned(),
                row,
                image: name.to_owned(),
                folder: self.root.clone(),
                hint: self.files.as_ref().map(|files| files.hint(&wanted, &self.root)).unwrap_or_default(),
            }
            .into()),
            MissingImages::Skip => Ok(None),
            MissingImages::Keep => Ok(Some(self.root.join(name))),
        }
    }

    fn search(&mut self, name: &str, wanted: &Wanted<'_>, (table, row): (&Path, u64)) -> Result<Option<PathBuf>, AugmentError> {
        let bare = wanted.parts.len() == 1 && !wanted.absolute;
        let written = if self.files.is_none() || !bare { self.as_written(name, wanted) } else { None };
        let (path, other_case) = match written {
            Some(path) => (path, false),
            None => {
                if self.files.is_none() {
                    self.files = Some(Files::list(&self.root)?);
                }
                let files = self.files.as_ref().expect("listed above");
                match files.find(wanted) {
                    Found::None => return Ok(None),
                    Found::One { file, other_case } => (files.paths[file].clone(), other_case),
                    Found::Several(first, second) => {
                        let [first, second] = [first, second].map(|file| files.paths[file].clone());
                        return Err(FolderError::AmbiguousImage {
                            path: table.to_owned(),
                            row,
                            image: name.to_owned(),
                            first,
                            second,
                        }
                        .into());
                    }
                }
            }
        };
        if bare && path.parent() == Some(&self.root) {
            if let Some((earlier, deeper)) = &self.deeper {
                return Err(FolderError::ScatteredImages {
                    path: table.into(),
                    row,
                    image: name.into(),
                    file: path.into(),
                    earlier: earlier.as_str().into(),
                    deeper: deeper.as_path().into(),
                }
                .into());
            }
            self.flat = true;
        } else if bare && self.flat {
            // The others are in the folder itself: what is only deeper is something else.
            return Ok(None);
        } else if bare {
            *self.searched.entry(kind(&self.below(path.parent().unwrap_or(&path)))).or_insert(0) += 1;
            self.deeper.get_or_insert_with(|| (name.to_owned(), path.clone()));
        }
        if other_case {
            let found = self.below(&path);
            self.other_case.get_or_insert((0, name.to_owned(), found)).0 += 1;
        }
        Ok(Some(path))
    }

    /// A path as seen from the folder.
    fn below(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).display().to_string()
    }

    /// What is doubtful in what was found, a sentence each.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if let Some((count, name, found)) = &self.other_case {
            let images = if *count == 1 { "1 image was".to_owned() } else { format!("{count} images were") };
            notes.push(format!("{images} found in other case only: `{name}` as {found}"));
        }
        if self.searched.len() > 1 {
            let mut kinds: Vec<_> = self.searched.iter().collect();
            kinds.sort_by_key(|(kind, count)| (usize::MAX - **count, (*kind).clone()));
            let more = kinds.len().saturating_sub(NAMED);
            let mut named: Vec<_> = kinds.iter().take(NAMED).map(|(kind, count)| format!("{kind} ({count})")).collect();
            if more > 0 {
                named.push(format!("{more} more"));
            }
            let named = named.join(", ");
            notes.push(format!(
                "images named without a folder were found in folders of several kinds: {named}; if one of them holds no radiographs, \
                 name the other with `images`"
            ));
        }
        notes
    }

    /// The file at the path that `name` is.
    fn as_written(&mut self, name: &str, wanted: &Wanted<'_>) -> Option<PathBuf> {
        if let Some(rest) = name.strip_prefix("~/") {
            return Some(env::home_dir()?.join(rest)).filter(|path| path.is_file());
        }
        let found = self.file(name);
        if found.is_some() || wanted.absolute {
            return found;
        }
        // Backslashes may be part of a name; where they are not, they separate.
        let path = wanted.parts.join(MAIN_SEPARATOR_STR);
        let found = if path == name { None } else { self.file(&path) };
        found.or_else(|| self.overlapping(Path::new(&path)).filter(|path| path.is_file()))
    }

    /// The file of that path from the folder. Where many files are missing their folders mostly are too: the system is asked for each once.
    fn file(&mut self, name: &str) -> Option<PathBuf> {
        // What `..` goes back from need not be there on every system.
        let folders = name.match_indices('/').map(|(end, _)| &name[..end]);
        let folders = folders.filter(|folder| !folder.is_empty() && !name.contains(".."));
        if folders.clone().map_while(|folder| self.folders.get(folder)).any(|is_there| !is_there) {
            return None;
        }
        let path = self.root.join(name);
        if path.is_file() {
            return Some(path);
        }
        for folder in folders {
            let known = self.folders.get(folder).copied();
            let is_there = known.unwrap_or_else(|| self.root.join(folder).is_dir());
            if known.is_none() {
                self.folders.insert(folder.to_owned(), is_there);
            }
            if !is_there {
                break;
            }
        }
        None
    }

    /// `CheXpert/train/1.jpg` under `…/CheXpert`: the root's last components are the path's first.
    fn overlapping(&self, path: &Path) -> Option<PathBuf> {
        let first = path.components().next()?;
        let mut parent = self.root.as_path();
        while let Some(last) = parent.file_name() {
            parent = parent.parent()?;
            if first.as_os_str() == last {
                let whole = parent.join(path);
                return whole.starts_with(&self.root).then_some(whole);
            }
        }
        None
    }
}

/// The name of a folder with its digits as `#`: the folders of one archive's parts are of one kind.
fn kind(folder: &str) -> String {
    let mut kind = String::new();
    for letter in folder.chars() {
        match letter.is_ascii_digit() {
            true if kind.ends_with('#') => {}
            true => kind.push('#'),
            false => kind.push(letter),
        }
    }
    kind
}

#[cfg(test)]
mod tests;
