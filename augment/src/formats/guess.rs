//! Which layout files have, from the names of their columns, arrays and folders.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::list::FORMATS;
use super::npz::Npz;
use super::registry::{DataSource, Format, Place};
use super::sheet::{Rows, Sheet};
use super::{MissingImages, TableError};
use crate::AugmentError;
use crate::record::NIH_14;

/// Most columns that are set aside as unknown.
const MOST_EXTRA: usize = 500;

/// A layout that files look like, and can be read in.
#[derive(Clone, Debug)]
pub struct Guess {
    /// The layout.
    pub format: Format,
    /// What it was recognised by.
    pub why: String,
    /// Where its files are, and which columns are not read.
    pub source: DataSource,
}

/// What is seen of a file or a folder at first sight. Each layout's entry in [`FORMATS`] says whether it looks like it.
pub(super) enum Sighting {
    /// Columns of a table.
    Columns(Vec<String>),
    /// Arrays of an archive.
    Arrays(Vec<String>),
    /// One of the files of a data set that may have several.
    Shard {
        /// Its kind: `tar` or `parquet`.
        kind: &'static str,
        /// Columns of a Parquet file.
        columns: Vec<String>,
    },
    /// What is in a folder.
    Folder {
        /// Names of files.
        files: Vec<String>,
        /// Names of folders with those of the files in each.
        folders: Vec<(String, Vec<String>)>,
        /// Columns of the first Parquet file.
        columns: Vec<String>,
    },
}

/// The layout of the table, archive or folder at `path`: the first in [`FORMATS`] that it looks like and that reads it. Of a folder, the
/// tables and archives directly in it are looked at too.
///
/// # Errors
/// [`AugmentError::NoLayout`] with what was tried, [`AugmentError::SeveralLayouts`] for a folder with several data sets, or why the path
/// can't be looked at.
pub fn guess(path: &Path) -> Result<Guess, AugmentError> {
    guess_for(path, &DataSource::default())
}

/// As [`guess`], with options that hold whatever the layout is. Synthetic images have one of the layouts in which a row can say how its
/// image was made, or are in folders of classes.
///
/// # Errors
/// As [`guess`].
pub fn guess_for(path: &Path, asked: &DataSource) -> Result<Guess, AugmentError> {
    let seen = Sighting::of(path)?;
    if seen.is_boxes() {
        // Refused by NIH's reader, which says what they are.
        Format::named("nih")?.read(&DataSource { labels: Some(path.to_owned()), ..DataSource::default() })?;
    }
    let mut tried = Vec::new();
    let mut found: Vec<Guess> = first_that_reads(path, &seen, asked, &mut tried).into_iter().collect();
    if let Sighting::Folder { files, .. } = &seen
        && found.is_empty()
    {
        for file in files.iter().filter(|name| may_be_labels(name)).map(|name| path.join(name)) {
            match Sighting::of(&file) {
                // No images of its own: they are those of another table.
                Ok(seen) if seen.is_boxes() => tried.push(format!("{}: boxes in images, not labels of them", file.display())),
                Ok(seen) => found.extend(first_that_reads(&file, &seen, asked, &mut tried)),
                Err(error) => tried.push(format!("{error}")),
            }
        }
    }
    if found.len() > 1 {
        let files = found.iter().filter_map(|guess| Some(guess.source.labels.as_ref()?.display().to_string()));
        let found = files.collect::<Vec<_>>().join(", ");
        return Err(AugmentError::SeveralLayouts { path: path.to_owned(), found });
    }
    let nothing = || {
        let tried = match tried.is_empty() {
            true => "; it holds no table, no archive and no folders of images".to_owned(),
            false => tried.iter().map(|tried| format!("\n  {tried}")).collect(),
        };
        AugmentError::NoLayout { path: path.to_owned(), tried }
    };
    found.pop().ok_or_else(nothing)
}

/// The first layout that `path` looks like and that reads it without a fault, or else with faults of rows; what doesn't read it goes to
/// `tried`.
fn first_that_reads(path: &Path, seen: &Sighting, asked: &DataSource, tried: &mut Vec<String>) -> Option<Guess> {
    let mut with_faults = None;
    for format in FORMATS.iter().filter(|format| !asked.synthetic || format.synthetic) {
        let Some(why) = format.looks_like(seen) else { continue };
        let place = match format.place {
            Place::Images => DataSource { images: Some(path.to_owned()), ..asked.clone() },
            _ => DataSource { labels: Some(path.to_owned()), ..asked.clone() },
        };
        match with_extra_columns(*format, DataSource { missing: MissingImages::Keep, ..place }) {
            Ok((source, true)) => return Some(Guess { format: *format, why, source }),
            Ok((source, false)) => {
                with_faults.get_or_insert(Guess { format: *format, why, source });
            }
            Err(error) => tried.push(format!("as `{}` ({why}): {error}", format.name)),
        }
    }
    with_faults
}

/// The source with which `format` reads, columns that it doesn't know set aside, and whether no row has a fault.
fn with_extra_columns(format: Format, mut source: DataSource) -> Result<(DataSource, bool), AugmentError> {
    loop {
        match format.read(&source) {
            Err(AugmentError::Table(TableError::UnknownColumn { columns, .. }))
                if source.extra_columns.len() + columns.len() <= MOST_EXTRA && !source.extra_columns.contains(&columns[0]) =>
            {
                source.extra_columns.extend(columns);
            }
            Err(error) => return Err(error),
            Ok(data) => return Ok((source, data.faults().is_empty())),
        }
    }
}

/// Whether a file in a folder may say what its images show.
fn may_be_labels(name: &str) -> bool {
    let name = name.to_lowercase();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    [".csv", ".tsv", ".npz"].iter().any(|extension| name.ends_with(extension))
}

impl Sighting {
    fn of(path: &Path) -> Result<Self, AugmentError> {
        if path.is_dir() {
            let (files, folders) = entries(path)?;
            let folders = folders.into_iter().map(|name| Ok((name.clone(), entries(&path.join(name))?.0)));
            let folders = folders.collect::<Result<_, AugmentError>>()?;
            let mut seen = Self::Folder { files, folders, columns: Vec::new() };
            if let (Some(file), Self::Folder { columns, .. }) = (seen.has_shards("parquet"), &mut seen) {
                *columns = parquet_columns(&path.join(file));
            }
            return Ok(seen);
        }
        let failed = |source| AugmentError::Io { action: "read", path: path.to_owned(), source };
        let mut start = Vec::new();
        File::open(path).map_err(failed)?.take(262).read_to_end(&mut start).map_err(failed)?;
        if start.starts_with(b"PAR1") {
            return Ok(Self::Shard { kind: "parquet", columns: parquet_columns(path) });
        }
        if start.get(257..) == Some(b"ustar") {
            return Ok(Self::Shard { kind: "tar", columns: Vec::new() });
        }
        // A zip archive, whatever its name.
        if start.starts_with(b"PK") {
            return Ok(Self::Arrays(Npz::open(path)?.arrays()));
        }
        Ok(Self::Columns(Sheet::read_for(path, Rows::Ragged, None, MissingImages::Keep)?.columns))
    }

    /// Why this is NIH's table.
    pub(super) fn nih(&self) -> Option<String> {
        self.has_columns(&["Image Index", "Finding Labels"])
            .then(|| "`Image Index` and `Finding Labels` are columns of NIH's table".to_owned())
    }

    /// Whether this is NIH's table of boxes.
    fn is_boxes(&self) -> bool {
        self.has_columns(&["Image Index", "Finding Label"]) && !self.has_columns(&["Finding Labels"])
    }

    /// Why this is a table of NIH's findings. One that tells radiographs from images that were made is the project's own.
    pub(super) fn nih_subset(&self) -> Option<String> {
        (self.has_columns(&["image", "patient_id"]) && self.has_columns(&NIH_14) && !self.has_columns(&["origin"]))
            .then(|| "it has the columns `image`, `patient_id` and the 14 findings of NIH".to_owned())
    }

    /// Why this is one of MedMNIST's archives.
    pub(super) fn medmnist(&self) -> Option<String> {
        let Self::Arrays(arrays) = self else { return None };
        let has = |name: &str| arrays.iter().any(|array| array == name);
        (has("train_images") && has("train_labels")).then(|| "it has the arrays `train_images` and `train_labels`".to_owned())
    }

    /// Why this is a table with one row per image.
    pub(super) fn table(&self) -> Option<String> {
        let Self::Columns(columns) = self else { return None };
        let shown: Vec<_> = columns.iter().take(6).map(|column| format!("`{column}`")).collect();
        let more = if columns.len() > shown.len() { ", …" } else { "" };
        Some(format!("it is a table with the columns {}{more}", shown.join(", ")))
    }

    /// Why this is an `imagefolder`.
    pub(super) fn imagefolder(&self) -> Option<String> {
        let Self::Folder { files, folders, .. } = self else { return None };
        let here = files.iter().map(|file| (String::new(), file));
        let below = folders.iter().flat_map(|(folder, files)| files.iter().map(move |file| (format!("{folder}/"), file)));
        let mut metadata = here.chain(below).filter(|(_, file)| matches!(file.as_str(), "metadata.csv" | "metadata.jsonl"));
        metadata.next().map(|(folder, file)| format!("it has a {folder}{file}"))
    }

    /// Why these are WebDataset's shards.
    pub(super) fn webdataset(&self) -> Option<String> {
        self.has_shards("tar").map(|name| format!("{name} is a tar"))
    }

    /// Why these are Parquet files.
    pub(super) fn parquet(&self) -> Option<String> {
        self.has_shards("parquet").map(|name| format!("{name} is a Parquet file"))
    }

    /// The first file of that kind.
    fn has_shards(&self, kind: &str) -> Option<String> {
        let ours = |name: &&String| name.rsplit_once('.').is_some_and(|(_, extension)| extension.eq_ignore_ascii_case(kind));
        match self {
            Self::Shard { kind: found, .. } => (*found == kind).then(|| "it".to_owned()),
            Self::Folder { files, folders, .. } => {
                let below =
                    folders.iter().flat_map(|(folder, files)| files.iter().map(move |file| (format!("{folder}/"), file)));
                let here = files.iter().map(|file| (String::new(), file));
                here.chain(below).find(|(_, file)| ours(file)).map(|(folder, file)| format!("{folder}{file}"))
            }
            _ => None,
        }
    }

    /// Why this is a folder of classes.
    pub(super) fn class_folders(&self) -> Option<String> {
        let Self::Folder { files, folders, .. } = self else { return None };
        let is_told = files.iter().any(|name| may_be_labels(name));
        let is_told = is_told || self.has_shards("tar").or_else(|| self.has_shards("parquet")).is_some();
        let names: Vec<_> = folders.iter().take(6).map(|(name, _)| name.as_str()).collect();
        (!is_told && !folders.is_empty()).then(|| format!("it has no table, and the folders {}", names.join(", ")))
    }

    /// Names of the files in a folder; none of anything else.
    pub(super) fn files(&self) -> &[String] {
        if let Self::Folder { files, .. } = self { files } else { &[] }
    }

    /// Names of the folders in a folder, with those of the files in each; none of anything else.
    pub(super) fn folders(&self) -> &[(String, Vec<String>)] {
        if let Self::Folder { folders, .. } = self { folders } else { &[] }
    }

    /// Whether a table has all of these columns.
    pub(super) fn has_columns(&self, wanted: &[&str]) -> bool {
        let Self::Columns(columns) = self else { return false };
        has_all(columns, wanted)
    }

    /// Whether Parquet files have all of these columns.
    pub(super) fn has_parquet_columns(&self, wanted: &[&str]) -> bool {
        let (Self::Shard { columns, .. } | Self::Folder { columns, .. }) = self else { return false };
        has_all(columns, wanted)
    }
}

fn has_all(columns: &[String], wanted: &[&str]) -> bool {
    wanted.iter().all(|wanted| columns.iter().any(|column| column == wanted))
}

/// Columns of a Parquet file; none if they can't be read, as its reader will say.
fn parquet_columns(path: &Path) -> Vec<String> {
    super::parquet::columns(path).unwrap_or_default()
}

/// Names of the files and of the folders in a folder, sorted; hidden ones are left out.
fn entries(folder: &Path) -> Result<(Vec<String>, Vec<String>), AugmentError> {
    let failed = |source| AugmentError::Io { action: "list", path: folder.to_owned(), source };
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path: PathBuf = entry.map_err(failed)?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()).filter(|name| !name.starts_with('.')) else {
            continue;
        };
        if path.is_dir() { &mut folders } else { &mut files }.push(name.to_owned());
    }
    files.sort();
    folders.sort();
    Ok((files, folders))
}

#[cfg(test)]
mod tests {
    use super::super::npz::tests::write_npz;
    use super::*;

    /// A folder with these files; a name that ends in `/` is a folder.
    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    fn guessed(files: &[(&str, &str)], name: &str) -> Result<(&'static str, String, Vec<String>), String> {
        let folder = folder(files);
        let root = format!("{}/", folder.path().display());
        match guess(&folder.path().join(name)) {
            Ok(guess) => Ok((guess.format.name, guess.why, guess.source.extra_columns)),
            Err(error) => Err(error.to_string().replace(&root, "")),
        }
    }

    fn nih_columns() -> String {
        format!("image,patient_id,{}\na.png,1,{}\n", NIH_14.join(","), ["0"; 14].join(","))
    }

    const NIH: &str =
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position\na.png,Mass,0,1,58,M,PA\n";

    #[test]
    fn tables_are_told_by_their_columns() {
        let nih = guessed(&[("x.csv", NIH)], "x.csv").unwrap();
        assert_eq!((nih.0, nih.1.as_str()), ("nih", "`Image Index` and `Finding Labels` are columns of NIH's table"));
        assert_eq!(guessed(&[("x.csv", &nih_columns())], "x.csv").unwrap().0, "nih-subset");
        let own = guessed(&[("x.csv", "image,Mass\na.png,1\n")], "x.csv").unwrap();
        assert_eq!((own.0, own.1.as_str()), ("table", "it is a table with the columns `image`, `Mass`"));
        // 14 findings that are not all 0 or 1 are a table's.
        let blank = nih_columns().replacen(",0", ",", 1);
        assert_eq!(guessed(&[("x.csv", &blank)], "x.csv").unwrap().0, "table");
    }

    #[test]
    fn synthetic_rows_are_not_taken_for_radiographs() {
        let text = nih_columns().replace("image,patient_id", "image,patient_id,origin").replace("a.png,1", "a.png,1,synthetic");
        assert!(guessed(&[("x.csv", &text)], "x.csv").unwrap_err().contains("as `table`"), "it lacks seed, prompt and model");
        let folder = folder(&[("x.csv", &text), ("y.csv", &nih_columns())]);
        let pool = DataSource { synthetic: true, ..DataSource::default() };
        for name in ["x.csv", "y.csv"] {
            let guess = guess_for(&folder.path().join(name), &pool).unwrap();
            assert_eq!(guess.format.name, "table");
            let data = guess.format.read(&guess.source).unwrap();
            assert!(data.record(0).origin.is_synthetic(), "{name}");
        }
    }

    #[test]
    fn columns_that_nothing_explains_are_set_aside_by_name() {
        let own = guessed(&[("x.csv", "image,Mass,scanner,accession\na.png,1,s,7\n")], "x.csv").unwrap();
        assert_eq!((own.0, own.2), ("table", vec!["scanner".to_owned(), "accession".to_owned()]));
    }

    #[test]
    fn a_folder_is_told_by_what_lies_in_it() {
        let own = guessed(&[("labels.csv", "image,Mass\na.png,1\n"), ("a.png", "")], "").unwrap();
        assert_eq!(own.0, "table");
        let classes = guessed(&[("Pneumonia/a.png", ""), ("NORMAL/b.png", "")], "").unwrap();
        assert_eq!((classes.0, classes.1.as_str()), ("class-folders", "it has no table, and the folders NORMAL, Pneumonia"));
        let faces = guessed(&[("metadata.csv", "file_name,Mass\na.png,1\n"), ("a.png", "")], "").unwrap();
        assert_eq!((faces.0, faces.1.as_str()), ("imagefolder", "it has a metadata.csv"));
        let split =
            guessed(&[("train/metadata.jsonl", "{\"file_name\": \"a.png\", \"Mass\": 1}\n"), ("train/a.png", "")], "").unwrap();
        assert_eq!((split.0, split.1.as_str()), ("imagefolder", "it has a train/metadata.jsonl"));
    }

    #[test]
    fn archives_are_told_by_their_arrays() {
        let folder = folder(&[]);
        let path = folder.path().join("chestmnist_64.npz");
        let mut arrays = Vec::new();
        let names: Vec<_> =
            ["train", "val", "test"].iter().flat_map(|s| [format!("{s}_images"), format!("{s}_labels")]).collect();
        for name in &names {
            let shape: &[u64] = if name.ends_with("images") { &[1, 1, 1] } else { &[1, 14] };
            arrays.push((name.as_str(), shape, vec![0; shape.iter().product::<u64>() as usize]));
        }
        write_npz(&path, &arrays);
        assert_eq!(guess(&path).unwrap().format.name, "medmnist");
        write_npz(&path, &[("images", &[1, 1, 1], vec![0])]);
        assert!(guess(&path).unwrap_err().to_string().contains("no layout reads it"));
    }

    #[test]
    fn what_cannot_be_guessed_says_what_was_tried() {
        let two =
            guessed(&[("a.csv", "image,Mass\nx.png,1\n"), ("b.csv", "image,Mass\nx.png,0\n"), ("x.png", "")], "").unwrap_err();
        assert!(two.contains("several data sets: a.csv, b.csv; give one of them"), "{two}");
        let none = guessed(&[("a.csv", "x,y\n1,2\n")], "a.csv").unwrap_err();
        assert!(
            none.contains("a.csv: no layout reads it")
                && none.contains("as `table` (it is a table with the columns `x`, `y`): "),
            "{none}"
        );
        let empty = guessed(&[("notes.txt", "")], "").unwrap_err();
        assert!(empty.contains("it holds no table, no archive and no folders of images"), "{empty}");
        assert!(guessed(&[], "gone.csv").unwrap_err().starts_with("cannot read gone.csv"));
    }
}
