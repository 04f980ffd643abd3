//! What a layout is, and what its reader is told.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::guess::Sighting;
use super::list::FORMATS;
use super::{Delimiter, FolderError, MissingImages, PhantomGroups};
use crate::AugmentError;
use crate::dataset::CxrDataset;
use crate::record::{View, Vocabulary};

/// The location of a data set, and the options of its reader. Each layout reads what it needs.
#[derive(Clone, Debug, Default)]
pub struct DataSource {
    /// The label table, or the archive.
    pub labels: Option<PathBuf>,
    /// The folder of the images, or their archive; `None` for the label table's folder.
    pub images: Option<PathBuf>,
    /// Findings that are asked for; `None` for all there are. In order, they name the label columns of an archive that doesn't.
    pub findings: Option<Vocabulary>,
    /// Whether labels may be missing altogether, as where images are only scored.
    pub unlabelled: bool,
    /// Column of a field or a finding of the table, by the name of either.
    pub columns: BTreeMap<String, String>,
    /// Findings outside the public vocabularies that the table may have.
    pub custom_findings: Vec<String>,
    /// Columns of the table to ignore.
    pub extra_columns: Vec<String>,
    /// Columns of the table whose cells are kept; of layouts that have [columns](Format::has_columns).
    pub kept_columns: Vec<String>,
    /// The table's column of reports; `None` for `report`.
    pub report: Option<String>,
    /// Whether rows that don't say what they are, are synthetic, as in a pool of images made elsewhere.
    pub synthetic: bool,
    /// What becomes of a row without its image.
    pub missing: MissingImages,
    /// The views that are read; empty for all.
    pub views: Vec<View>,
    /// Whether only the first image of each patient is read.
    pub one_image_per_patient: bool,
    /// What separates the table's cells; guessed if `None`.
    pub delimiter: Option<Delimiter>,
    /// How labels of several readers become one; by majority if `None`.
    pub readers: Option<Readers>,
    /// Numbers of phantom images.
    pub phantom: PhantomGroups,
}

/// How the labels that several readers gave an image become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Readers {
    /// A finding is there if more than half of them saw it.
    #[default]
    Majority,
    /// A finding is there if one of them saw it.
    Any,
}

impl DataSource {
    /// The error with the keys of a run file that say all this.
    fn named(&self, error: AugmentError) -> AugmentError {
        // Nothing else is asked for synthetic rows.
        let table = if self.synthetic { "generator.images.from" } else { "data" };
        match error {
            AugmentError::Folder(FolderError::NoFolder { path, key }) => {
                FolderError::NoFolder { path, key: format!("{table}.{key}") }.into()
            }
            AugmentError::BadSetting { key, found, expected } => {
                let key = key.strip_prefix("data.").map_or_else(|| key.clone(), |key| format!("{table}.{key}"));
                AugmentError::BadSetting { key, found, expected }
            }
            other => other,
        }
    }
}

/// The key of `[data]` that says where a layout lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// `labels`: a table or an archive.
    Labels,
    /// `images`: a folder that says everything itself.
    Images,
    /// None: it is made.
    Nowhere,
}

/// A layout of data sets: a run file names it, help and documentation list it.
#[derive(Clone, Copy)]
pub struct Format {
    /// Its name in run files.
    pub name: &'static str,
    /// Name in reports, for a data set without one.
    pub title: &'static str,
    /// What it reads: its line in `docs/run-file.md` and, without marks, in `roentgen data --help`.
    pub reads: &'static str,
    /// The key that it can't be without.
    pub place: Place,
    /// Whether it is a table of any columns: which they are can be said.
    pub has_columns: bool,
    /// Keys of `[data]` that not every layout has a use for, and this one has: `report`, `readers`.
    pub keys: &'static [&'static str],
    /// Whether its images can be synthetic.
    pub synthetic: bool,
    pub(super) looks_like: fn(&Sighting) -> Option<String>,
    pub(super) read: fn(&DataSource) -> Result<CxrDataset, AugmentError>,
}

impl Format {
    /// The layout of that name.
    ///
    /// # Errors
    /// [`AugmentError::BadSetting`] lists the names.
    pub fn named(name: &str) -> Result<Self, AugmentError> {
        let names = || FORMATS.iter().map(|format| format!("`{}`", format.name)).collect::<Vec<_>>().join(", ");
        let found = FORMATS.iter().find(|format| format.name == name).copied();
        found.ok_or_else(|| AugmentError::setting("data.format", format!("`{name}`"), format!("one of {}", names())))
    }

    /// Why `seen` looks like this layout, if it does.
    pub(super) fn looks_like(&self, seen: &Sighting) -> Option<String> {
        (self.looks_like)(seen)
    }

    /// Reads the data set, all splits together: of it the views that are asked for, and of those one image per patient if that is.
    ///
    /// # Errors
    /// [`AugmentError::BadSetting`] for a place that the layout needs and `source` lacks, or a setting that it doesn't know; the reader's
    /// own; [`AugmentError::RowsLost`] if nothing is left of the data set or of one of its splits.
    pub fn read(&self, source: &DataSource) -> Result<CxrDataset, AugmentError> {
        if !self.has_columns && !source.columns.is_empty() {
            let expected = format!("it for a table: `{}` knows its columns", self.name);
            return Err(AugmentError::setting("data.columns", "present", expected));
        }
        for (key, is_there) in [("report", source.report.is_some()), ("readers", source.readers.is_some())] {
            if is_there && !self.keys.contains(&key) {
                let expected = format!("nothing: `{}` has no use for it", self.name);
                return Err(source.named(AugmentError::setting(format!("data.{key}"), "present", expected)));
            }
        }
        let data = (self.read)(source).map_err(|error| source.named(error))?;
        let data = if source.views.is_empty() { data } else { data.with_views(&source.views)? };
        if source.one_image_per_patient { data.with_one_per_patient() } else { Ok(data) }
    }
}

impl PartialEq for Format {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Format {}

impl fmt::Debug for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Format({})", self.name)
    }
}

impl Serialize for Format {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name)
    }
}

impl<'de> Deserialize<'de> for Format {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::named(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

pub(super) fn labels(source: &DataSource) -> Result<PathBuf, AugmentError> {
    let absent = || AugmentError::setting("data.labels", "absent", "the path of the label table");
    source.labels.clone().ok_or_else(absent)
}

/// The folder of a layout without a table of its own.
pub(super) fn folder(source: &DataSource) -> Result<PathBuf, AugmentError> {
    let folder = alone(source)?;
    match folder.is_dir() {
        true => Ok(folder),
        false => Err(FolderError::NoFolder { path: folder, key: "images".to_owned() }.into()),
    }
}

/// The place of a layout without a table of its own: a folder, a file, or a pattern.
pub(super) fn alone(source: &DataSource) -> Result<PathBuf, AugmentError> {
    let absent = || AugmentError::setting("data.images", "absent", "the path of the folder");
    let folder = source.images.clone().ok_or_else(absent)?;
    if let Some(labels) = &source.labels {
        let found = format!("{}, which is not read", labels.display());
        return Err(AugmentError::setting("data.labels", found, "data.images alone: labels are in that folder"));
    }
    Ok(folder)
}

pub(super) fn folder_of(path: &Path) -> PathBuf {
    path.parent().map_or_else(PathBuf::new, Path::to_owned)
}

pub(super) fn images(source: &DataSource, labels: &Path) -> PathBuf {
    source.images.clone().unwrap_or_else(|| folder_of(labels))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_others_refused_by_name() {
        for format in FORMATS {
            let json = serde_json::to_string(format).unwrap();
            assert_eq!(serde_json::from_str::<Format>(&json).unwrap(), *format);
        }
        let error = serde_json::from_str::<Format>("\"nhi\"").unwrap_err().to_string();
        assert!(
            FORMATS.iter().all(|format| error.contains(&format!("`{}`", format.name))) && error.contains("`nhi`"),
            "{error}"
        );
    }

    #[test]
    fn a_layout_without_its_files_says_what_it_needs() {
        for format in FORMATS.iter().filter(|format| format.place != Place::Nowhere) {
            let error = format.read(&DataSource::default()).unwrap_err().to_string();
            let expected = match format.place {
                Place::Labels => "data.labels is absent; write the path of the label table",
                _ => "data.images is absent; write the path of the folder",
            };
            assert_eq!(error, expected, "{format:?}");
        }
        let groups = PhantomGroups { train: 2, valid: 1, test: 1, seed: 0, size: 8 };
        let data = Format::named("phantom").unwrap().read(&DataSource { phantom: groups, ..DataSource::default() }).unwrap();
        assert_eq!(data.rows().len(), 4);
    }

    #[test]
    fn a_key_is_named_as_it_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let labels = folder.path().join("t.csv");
        std::fs::write(&labels, "image,Mass\na.png,1\n").unwrap();
        for (synthetic, table) in [(false, "data"), (true, "generator.images.from")] {
            for name in ["table", "class-folders"] {
                let labels = (name == "table").then(|| labels.clone());
                let source = DataSource { labels, images: Some("no/where".into()), synthetic, ..DataSource::default() };
                let error = Format::named(name).unwrap().read(&source).unwrap_err().to_string();
                assert_eq!(error, format!("no such folder: no/where; `{table}.images` is the folder of the images"));
            }
            let columns = BTreeMap::from([("image".to_owned(), "Path".to_owned())]);
            let source = DataSource { labels: Some(labels.clone()), columns, synthetic, ..DataSource::default() };
            let error = Format::named("table").unwrap().read(&source).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{table}.columns.image is `Path`")), "{error}");
        }
    }

    #[test]
    fn settings_that_a_layout_does_not_know_are_refused() {
        let columns = BTreeMap::from([("image".to_owned(), "Path".to_owned())]);
        let source = DataSource { columns, ..DataSource::default() };
        for format in FORMATS.iter().filter(|format| !format.has_columns) {
            let error = format.read(&source).unwrap_err().to_string();
            assert!(error.starts_with("data.columns is present; write it for a table"), "{format:?}: {error}");
        }
        let labels = Some("t.csv".into());
        let source = DataSource { labels, images: Some("x".into()), ..DataSource::default() };
        for format in FORMATS.iter().filter(|format| format.place == Place::Images) {
            assert!(format.read(&source).unwrap_err().to_string().contains("data.labels is t.csv"), "{format:?}");
        }
    }
}
