//! The files below a folder, and the rules by which a name finds one of them.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use rayon::iter::{IntoParallelIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;
use unicode_normalization::{UnicodeNormalization, is_nfc};

use super::error::FolderError;
use crate::AugmentError;
use crate::image::EXTENSIONS;

/// A name from a table, in parts that can be compared with paths.
pub(super) struct Wanted<'a> {
    /// Components in NFC, without `.`, split at slashes and backslashes; the file name is the last.
    pub(super) parts: Vec<Cow<'a, str>>,
    /// Whether it names a place from the root of a file system.
    pub(super) absolute: bool,
}

impl<'a> Wanted<'a> {
    pub(super) fn of(name: &'a str) -> Self {
        let bytes = name.as_bytes();
        let drive = bytes.first().is_some_and(u8::is_ascii_alphabetic) && bytes.get(1) == Some(&b':');
        let absolute = drive || name.starts_with(['/', '\\', '~']);
        let parts = name.split(['/', '\\']).filter(|part| !part.is_empty() && *part != ".").map(composed).collect();
        Self { parts, absolute }
    }
}

/// The text in Unicode's composed form: archives made on macOS have decomposed names.
fn composed(text: &str) -> Cow<'_, str> {
    if text.is_ascii() || is_nfc(text) { text.into() } else { text.nfc().collect() }
}

/// The same of a component of a path, whatever its bytes are.
fn lossy(part: &OsStr) -> Cow<'_, str> {
    match part.to_str() {
        Some(part) => composed(part),
        None => composed(&part.to_string_lossy()).into_owned().into(),
    }
}

/// The name without its extension, if that is one of an image; the whole name otherwise.
fn stem(name: &str) -> &str {
    match name.rsplit_once('.') {
        Some((stem, extension)) if EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known)) => stem,
        _ => name,
    }
}

/// What a rule found, as indices of [`Files::paths`].
pub(super) enum Found {
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
pub(super) struct Files {
    /// In path order.
    pub(super) paths: Vec<PathBuf>,
    /// Each file by [`key`], sorted: files whose paths end alike are neighbours.
    by_end: Vec<(String, usize)>,
    /// Components of the folder itself, which are no part of a name.
    above: usize,
}

impl Files {
    pub(super) fn list(root: &Path) -> Result<Self, AugmentError> {
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
                        return Err(FolderError::FolderLoop { path }.into());
                    }
                    if !linked.insert(target) {
                        continue;
                    }
                }
                folders.push(path);
            }
        }
        Ok(Self::of(paths, root.components().count()))
    }

    /// These paths, of which the first `above` components are no part of a name.
    pub(super) fn of(mut paths: Vec<PathBuf>, above: usize) -> Self {
        paths.sort_unstable();
        let mut files = Self { paths, by_end: Vec::new(), above };
        files.by_end =
            (0..files.paths.len()).into_par_iter().map(|index| (key(&files.end(index, usize::MAX)), index)).collect();
        files.by_end.par_sort_unstable();
        files
    }

    pub(super) fn find(&self, wanted: &Wanted<'_>) -> Found {
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
    pub(super) fn ending_in(&self, parts: &[Cow<'_, str>]) -> &[(String, usize)] {
        if self.by_end.is_empty() {
            return &[];
        }
        let prefix = key(parts);
        let first = self.by_end.partition_point(|(key, _)| *key < prefix);
        let count = self.by_end[first..].partition_point(|(key, _)| key.starts_with(&prefix));
        &self.by_end[first..first + count]
    }

    fn by_rule(&self, rule: Rule, wanted: &Wanted<'_>, candidates: &[(String, usize)]) -> Found {
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
    fn end(&self, index: usize, count: usize) -> Vec<Cow<'_, str>> {
        let all = self.paths[index].components();
        let skipped = self.above.max(all.clone().count().saturating_sub(count));
        all.skip(skipped).map(|part| lossy(part.as_os_str())).collect()
    }

    /// Where a file of the name lies whose path is another.
    pub(super) fn hint(&self, wanted: &Wanted<'_>, root: &Path) -> String {
        let name = wanted.parts.last().map_or(&[][..], std::slice::from_ref);
        let Some((_, file)) = self.ending_in(name).first() else { return String::new() };
        let path = self.paths[*file].strip_prefix(root).unwrap_or(&self.paths[*file]);
        format!(", and {} has another path than the table gives", path.display())
    }
}

/// What holds copies and caches: names that begin with a dot, and what macOS adds to archives.
fn is_hidden(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| name.starts_with('.') || name == "__MACOSX")
}

/// Components from the last to the first, without the extension of an image, in lower case: equal ends of paths are equal beginnings of
/// keys.
fn key(parts: &[Cow<'_, str>]) -> String {
    let mut key = String::with_capacity(parts.iter().map(|part| part.len() + 1).sum());
    for (index, part) in parts.iter().rev().enumerate() {
        let part = if index == 0 { stem(part) } else { part };
        match part.is_ascii() {
            true => key.extend(part.chars().map(|letter| letter.to_ascii_lowercase())),
            false => key.push_str(&part.to_lowercase()),
        }
        // No component of a path holds it.
        key.push('\0');
    }
    key
}

/// Whether the components of a file end in those of the name.
fn ends_with(file: &[Cow<'_, str>], wanted: &[Cow<'_, str>], rule: Rule) -> bool {
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
