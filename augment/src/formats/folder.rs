//! Image files by the names that a table gives them.
//!
//! A name is tried in this order, and the first rule that finds exactly one file decides. A rule that finds several is an error with two of
//! them: which of them is the radiograph can't be known.
//!
//! 1. the path as written, from the folder of the images (or absolute, or from `~/`), also where the name begins with the folder's own name;
//! 2. files below the folder whose path ends in the name, component by component;
//! 3. the same with another image extension, or one where the name has none;
//! 4. both again in other case, with a note.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use rayon::iter::{IntoParallelIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;
use unicode_normalization::{UnicodeNormalization, is_nfc};

use super::MissingImages;
use crate::AugmentError;

/// Extensions of the formats that are read.
const EXTENSIONS: [&str; 4] = ["png", "jpg", "jpeg", "bmp"];

/// Most folders that a note names.
const NAMED: usize = 4;

/// A folder of images. It is listed when a name is first not found as written.
#[derive(Debug)]
pub(super) struct ImageFolder {
    root: PathBuf,
    files: Option<Files>,
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
    /// [`AugmentError::NoFolder`].
    pub(super) fn open(root: &Path) -> Result<Self, AugmentError> {
        // A table in the working folder has an empty parent.
        if root != Path::new("") && !root.is_dir() {
            return Err(AugmentError::NoFolder { path: root.to_owned() });
        }
        Ok(Self {
            root: root.to_owned(),
            files: None,
            other_case: None,
            searched: BTreeMap::new(),
            flat: false,
            deeper: None,
            taken: HashMap::new(),
        })
    }

    /// The file of the image named `name` in a row of a table; `None` if the row is to be skipped.
    ///
    /// # Errors
    /// [`AugmentError::MissingImage`], [`AugmentError::AmbiguousImage`], [`AugmentError::ScatteredImages`],
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
            MissingImages::Refuse => Err(AugmentError::MissingImage {
                path: table.to_owned(),
                row,
                image: name.to_owned(),
                folder: self.root.clone(),
                hint: self.files.as_ref().map(|files| files.hint(&wanted, &self.root)).unwrap_or_default(),
            }),
            MissingImages::Skip => Ok(None),
            MissingImages::Keep => Ok(Some(self.root.join(name))),
        }
    }

    fn search(&mut self, name: &str, wanted: &Wanted, (table, row): (&Path, u64)) -> Result<Option<PathBuf>, AugmentError> {
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
                        return Err(AugmentError::AmbiguousImage {
                            path: table.to_owned(),
                            row,
                            image: name.to_owned(),
                            first,
                            second,
                        });
                    }
                }
            }
        };
        if bare && path.parent() == Some(&self.root) {
            if let Some((earlier, deeper)) = &self.deeper {
                return Err(AugmentError::ScatteredImages {
                    path: table.into(),
                    row,
                    image: name.into(),
                    file: path.into(),
                    earlier: earlier.as_str().into(),
                    deeper: deeper.as_path().into(),
                });
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
    fn as_written(&self, name: &str, wanted: &Wanted) -> Option<PathBuf> {
        let file = |path: PathBuf| path.is_file().then_some(path);
        if let Some(rest) = name.strip_prefix("~/") {
            return file(env::home_dir()?.join(rest));
        }
        file(self.root.join(name)).or_else(|| {
            // Backslashes may be part of a name; where they are not, they separate.
            let path: PathBuf = wanted.parts.iter().collect();
            if wanted.absolute { None } else { file(self.root.join(&path)).or_else(|| file(self.overlapping(&path)?)) }
        })
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

/// A name from a table, in parts that can be compared with paths.
struct Wanted {
    /// Components in NFC, without `.`, split at slashes and backslashes; the file name is the last.
    parts: Vec<String>,
    /// Whether it names a place from the root of a file system.
    absolute: bool,
}

impl Wanted {
    fn of(name: &str) -> Self {
        let bytes = name.as_bytes();
        let drive = bytes.first().is_some_and(u8::is_ascii_alphabetic) && bytes.get(1) == Some(&b':');
        let absolute = drive || name.starts_with(['/', '\\', '~']);
        let parts = name.split(['/', '\\']).filter(|part| !part.is_empty() && *part != ".").map(composed).collect();
        Self { parts, absolute }
    }
}

/// The text in Unicode's composed form: archives made on macOS have decomposed names.
fn composed(text: &str) -> String {
    if is_nfc(text) { text.to_owned() } else { text.nfc().collect() }
}

/// The name without its extension, if that is one of an image; the whole name otherwise.
fn stem(name: &str) -> &str {
    match name.rsplit_once('.') {
        Some((stem, extension)) if EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known)) => stem,
        _ => name,
    }
}

/// What a rule found, as indices of [`Files::paths`].
enum Found {
    None,
    One { file: usize, other_case: bool },
    Several(usize, usize),
}

/// How a file's name must agree with the one wanted.
#[derive(Clone, Copy)]
struct Rule {
    extension: bool,
    case: bool,
}

impl Rule {
    const ALL: [Self; 4] = [
        Self { extension: true, case: true },
        Self { extension: false, case: true },
        Self { extension: true, case: false },
        Self { extension: false, case: false },
    ];

    fn agree(self, file: &str, wanted: &str) -> bool {
        if self.case { file == wanted } else { file.to_lowercase() == wanted.to_lowercase() }
    }
}

/// Every file below a folder.
#[derive(Debug)]
struct Files {
    /// In path order.
    paths: Vec<PathBuf>,
    /// Each file by [`key`], sorted: files whose paths end alike are neighbours.
    by_end: Vec<(String, usize)>,
    /// Components of the folder itself, which are no part of a name.
    above: usize,
}

impl Files {
    fn list(root: &Path) -> Result<Self, AugmentError> {
        let (mut paths, mut folders, mut linked) = (Vec::new(), vec![root.to_owned()], HashSet::new());
        while let Some(folder) = folders.pop() {
            let failed = |source| AugmentError::Io { action: "list", path: folder.clone(), source };
            // An empty path is the working folder.
            let listed = if folder == Path::new("") { Path::new(".") } else { &folder };
            for entry in fs::read_dir(listed).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                let (name, mut kind) = (entry.file_name(), entry.file_type().map_err(failed)?);
                let path = folder.join(&name);
                if is_hidden(&name) {
                    continue;
                }
                let link = kind.is_symlink();
                if link {
                    // A link that leads nowhere is no file.
                    let Ok(target) = fs::metadata(&path) else { continue };
                    kind = target.file_type();
                }
                if !kind.is_dir() {
                    paths.push(path);
                    continue;
                }
                if link {
                    let target = fs::canonicalize(&path).map_err(failed)?;
                    if fs::canonicalize(listed).map_err(failed)?.starts_with(&target) {
                        return Err(AugmentError::FolderLoop { path });
                    }
                    if !linked.insert(target) {
                        continue;
                    }
                }
                folders.push(path);
            }
        }
        paths.sort_unstable();
        let above = root.components().count();
        let mut files = Self { paths, by_end: Vec::new(), above };
        files.by_end =
            (0..files.paths.len()).into_par_iter().map(|index| (key(&files.end(index, usize::MAX)), index)).collect();
        files.by_end.par_sort_unstable();
        Ok(files)
    }

    fn find(&self, wanted: &Wanted) -> Found {
        let candidates = self.ending_in(&wanted.parts);
        if wanted.absolute || candidates.is_empty() {
            return Found::None;
        }
        let found = |rule: &Rule| match self.by_rule(*rule, wanted, candidates) {
            Found::None => None,
            found => Some(found),
        };
        Rule::ALL.iter().find_map(found).unwrap_or(Found::None)
    }

    /// The files whose last components are these, whatever the case and the extension.
    fn ending_in(&self, parts: &[String]) -> &[(String, usize)] {
        let prefix = key(parts);
        let first = self.by_end.partition_point(|(key, _)| *key < prefix);
        let count = self.by_end[first..].partition_point(|(key, _)| key.starts_with(&prefix));
        &self.by_end[first..first + count]
    }

    fn by_rule(&self, rule: Rule, wanted: &Wanted, candidates: &[(String, usize)]) -> Found {
        let mut found: Option<usize> = None;
        for index in candidates.iter().map(|(_, index)| *index) {
            let (count, depth) = (wanted.parts.len(), self.paths[index].components().count() - self.above);
            if !ends_with(&self.end(index, count), &wanted.parts, rule) {
                continue;
            }
            // The path as written comes first, whatever lies deeper.
            if depth == count && rule.extension && rule.case {
                return Found::One { file: index, other_case: false };
            }
            match found {
                None => found = Some(index),
                // One file by two links is one file.
                Some(first) if same_file(&self.paths[first], &self.paths[index]) => {}
                Some(first) => return Found::Several(first, index),
            }
        }
        found.map_or(Found::None, |file| Found::One { file, other_case: !rule.case })
    }

    /// The last components of file `index` below the folder, at most `count`.
    fn end(&self, index: usize, count: usize) -> Vec<String> {
        let all = self.paths[index].components();
        let skipped = self.above.max(all.clone().count().saturating_sub(count));
        all.skip(skipped).map(|part| composed(&part.as_os_str().to_string_lossy())).collect()
    }

    /// Where a file of the name lies whose path is another.
    fn hint(&self, wanted: &Wanted, root: &Path) -> String {
        let name = wanted.parts.last().map_or(&[][..], std::slice::from_ref);
        let Some((_, file)) = self.ending_in(name).first() else { return String::new() };
        let path = self.paths[*file].strip_prefix(root).unwrap_or(&self.paths[*file]);
        format!(", and {} has another path than the table gives", path.display())
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

/// What holds copies and caches: names that begin with a dot, and what macOS adds to archives.
fn is_hidden(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| name.starts_with('.') || name == "__MACOSX")
}

/// Components from the last to the first, without the extension of an image, in lower case: equal ends of paths are equal beginnings of
/// keys.
fn key(parts: &[String]) -> String {
    let mut key = String::new();
    for (index, part) in parts.iter().rev().enumerate() {
        key.push_str(&if index == 0 { stem(part) } else { part }.to_lowercase());
        // No component of a path holds it.
        key.push('\0');
    }
    key
}

/// Whether the components of a file end in those of the name.
fn ends_with(file: &[String], wanted: &[String], rule: Rule) -> bool {
    let (Some(((name, folders), (wanted_name, wanted_folders))), true) =
        (file.split_last().zip(wanted.split_last()), file.len() >= wanted.len())
    else {
        return false;
    };
    let names = if rule.extension { rule.agree(name, wanted_name) } else { rule.agree(stem(name), stem(wanted_name)) };
    let above = &folders[folders.len() - wanted_folders.len()..];
    names && above.iter().zip(wanted_folders).all(|(folder, wanted)| rule.agree(folder, wanted))
}

fn same_file(a: &Path, b: &Path) -> bool {
    matches!((fs::canonicalize(a), fs::canonicalize(b)), (Ok(a), Ok(b)) if a == b)
}

#[cfg(test)]
mod tests;
