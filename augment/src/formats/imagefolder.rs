//! Hugging Face's `imagefolder`: images and a `metadata.csv` or `metadata.jsonl`, in one folder or in one per split.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::cells::SPLIT;
use super::objects::{Keys, Objects};
use super::sheet::{Rows, Sheet};
use super::table::{Part, Table};
use crate::AugmentError;
use crate::dataset::CxrDataset;
use crate::formats::TableError;

/// The files that may hold the metadata of a folder, in the order in which they are looked for.
const METADATA: [&str; 2] = ["metadata.csv", "metadata.jsonl"];

/// Reads the folder that is `table`'s path; its metadata are read as `table` says.
///
/// Metadata name their images in `file_name`, relative to themselves. Where they lie in `train`, `validation` and `test`, or where every
/// name begins with one of these and there is no column of splits, that is the split.
///
/// # Errors
/// [`AugmentError::BadLayout`] for a folder without metadata; those of [`Table::read`].
pub(super) fn read(table: &Table) -> Result<CxrDataset, AugmentError> {
    let root = &table.path;
    let mut parts = Vec::new();
    if let Some(file) = metadata(root)? {
        parts.push(Part { sheet: sheet(&file, table)?, prefix: String::new(), split: None, split_of_path: true });
    } else {
        for folder in folders(root)? {
            let Some(file) = metadata(&folder)? else { continue };
            let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let split = SPLIT.1(&name);
            if split.is_none() {
                let found = format!("{} lies in a folder that is no split", file.display());
                return Err(bad(root, found, "it in the folder itself, or one in each of train, validation and test"));
            }
            parts.push(Part { sheet: sheet(&file, table)?, prefix: format!("{name}/"), split, split_of_path: false });
        }
    }
    if parts.is_empty() {
        let found = "there is neither metadata.csv nor metadata.jsonl".to_owned();
        return Err(bad(root, found, "one of them; for a folder per class, write format = \"class-folders\""));
    }
    table.read_parts(&parts, root)
}

fn bad(root: &Path, found: String, expected: &str) -> AugmentError {
    AugmentError::BadLayout { path: root.to_owned(), found, expected: expected.to_owned() }
}

/// The metadata in a folder; two files may say different things.
fn metadata(folder: &Path) -> Result<Option<PathBuf>, AugmentError> {
    let files: Vec<PathBuf> = METADATA.iter().map(|name| folder.join(name)).filter(|path| path.is_file()).collect();
    match &files[..] {
        [] => Ok(None),
        [file] => Ok(Some(file.clone())),
        _ => Err(bad(folder, "there are both metadata.csv and metadata.jsonl".to_owned(), "one of them")),
    }
}

fn folders(root: &Path) -> Result<Vec<PathBuf>, AugmentError> {
    let failed = |source| AugmentError::Io { action: "list", path: root.to_owned(), source };
    let mut folders = Vec::new();
    for entry in fs::read_dir(root).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            folders.push(path);
        }
    }
    folders.sort();
    Ok(folders)
}

fn sheet(file: &Path, table: &Table) -> Result<Sheet, AugmentError> {
    if file.extension().is_some_and(|extension| extension == "csv") {
        return Sheet::read_for(file, Rows::Equal, table.delimiter, table.missing);
    }
    let failed = |source| AugmentError::Io { action: "read", path: file.to_owned(), source };
    let text = fs::read_to_string(file).map_err(failed)?;
    json_lines(&text, file)
}

/// One JSON object per line; its keys are the columns.
fn json_lines(text: &str, path: &Path) -> Result<Sheet, AugmentError> {
    let (mut keys, mut rows) = (Keys::default(), Objects::default());
    for (number, line) in (1..).zip(text.trim_start_matches('\u{feff}').lines()) {
        if line.trim().is_empty() {
            continue;
        }
        let object: Map<String, Value> =
            serde_json::from_str(line).map_err(|source| TableError::Json { path: path.to_owned(), row: number, source })?;
        rows.begin(number);
        rows.put_all(&mut keys, &object);
    }
    rows.sheet(&keys, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Label, Split};

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            match *text {
                "" => image::save_buffer(path, &[7], 1, 1, image::ExtendedColorType::L8).unwrap(),
                text => fs::write(path, text).unwrap(),
            }
        }
        folder
    }

    fn open(files: &[(&str, &str)]) -> Result<CxrDataset, String> {
        let folder = folder(files);
        read(&Table::new(folder.path()))
            .map_err(|error| error.to_string().replace(&folder.path().display().to_string(), "ROOT"))
    }

    fn rows(data: &CxrDataset) -> Vec<String> {
        let cells = |labels: &[Label]| labels.iter().map(|label| label.cell()).collect::<Vec<_>>().join(" ");
        let split = |split: Option<Split>| split.map_or("-".to_owned(), |split| split.to_string());
        let row =
            |row: &crate::dataset::Row| format!("{} {} {}", row.record.id, split(row.record.split), cells(&row.record.labels));
        data.rows().iter().map(row).collect()
    }

    #[test]
    fn one_file_of_metadata_beside_the_images() {
        let table = "file_name,Mass,age\na.png,1,57\nb.png,,\n";
        let data = open(&[("a.png", ""), ("b.png", ""), ("metadata.csv", table)]).unwrap();
        assert_eq!(rows(&data), ["a.png - 1", "b.png - "]);
        assert_eq!(data.record(0).age, Some(57.0));
        let table = "file_name,Mass\ntrain/a.png,1\ntest/b.png,0\n";
        let data = open(&[("train/a.png", ""), ("test/b.png", ""), ("metadata.csv", table)]).unwrap();
        assert_eq!(rows(&data), ["train/a.png train 1", "test/b.png test 0"]);
    }

    #[test]
    fn lines_of_json_are_rows() {
        let lines = "{\"file_name\": \"a.png\", \"Mass\": 1, \"Effusion\": null, \"report\": \"Two\\nlines.\"}\n\n\
                     {\"Effusion\": true, \"file_name\": \"b.png\", \"Mass\": -1.0}\n";
        let data = open(&[("a.png", ""), ("b.png", ""), ("metadata.jsonl", lines)]).unwrap();
        assert_eq!(data.vocabulary().findings().iter().map(|f| f.name()).collect::<Vec<_>>(), ["Effusion", "Mass"]);
        assert_eq!(rows(&data), ["a.png -  1", "b.png - 1 -1"]);
        assert_eq!((data.record(0).report.as_deref(), data.rows()[1].line), (Some("Two\nlines."), 3));
        let error = open(&[("metadata.jsonl", "{\"file_name\": \"a.png\"}\n[1]\n")]).unwrap_err();
        assert!(error.starts_with("ROOT/metadata.jsonl, row 2: not a JSON object"), "{error}");
    }

    #[test]
    fn lists_of_findings_are_joined_over_splits() {
        let of = |name: &str, labels: &str| format!("{{\"file_name\": \"{name}\", \"labels\": {labels}}}\n");
        let files = [
            ("train/a.png", String::new()),
            ("validation/a.png", String::new()),
            ("test/a.png", String::new()),
            ("train/metadata.jsonl", of("a.png", "[\"Mass\", \"Effusion\"]")),
            ("validation/metadata.jsonl", of("a.png", "[\"Hernia\"]")),
            ("test/metadata.jsonl", of("a.png", "[\"No Finding\"]")),
        ];
        let files: Vec<_> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
        let data = open(&files).unwrap();
        assert_eq!(data.vocabulary().findings().iter().map(|f| f.name()).collect::<Vec<_>>(), ["Effusion", "Hernia", "Mass"]);
        assert_eq!(rows(&data), ["test/a.png test 0 0 0", "train/a.png train 1 0 1", "validation/a.png valid 0 1 0"]);
    }

    #[test]
    fn what_holds_for_all_splits_is_said_once() {
        let files = [
            ("train/a.png", ""),
            ("test/a.png", ""),
            ("train/metadata.csv", "file_name,Mass,Gender\na.png,1,M\n"),
            ("test/metadata.csv", "file_name,Mass,Gender\na.png,1,F\n"),
        ];
        let folder = folder(&files);
        let data = read(&Table::new(folder.path())).unwrap();
        let said = "columns are read as `columns = { sex = \"Gender\" }`; [data] can say otherwise";
        assert_eq!(data.notes(), [format!("{}: {said}", folder.path().display())]);
        // One file is named by itself.
        fs::write(folder.path().join("test/metadata.csv"), "file_name,Mass,sex\na.png,1,F\n").unwrap();
        let data = read(&Table::new(folder.path())).unwrap();
        assert_eq!(data.notes(), [format!("{}/train/metadata.csv: {said}", folder.path().display())]);
    }

    #[test]
    fn what_is_no_imagefolder_is_said() {
        assert!(open(&[("Mass/a.png", "")]).unwrap_err().contains("class-folders"));
        let both = open(&[("metadata.csv", "file_name,Mass\n"), ("metadata.jsonl", "{}")]).unwrap_err();
        assert_eq!(both, "ROOT: there are both metadata.csv and metadata.jsonl, expected one of them");
        let stray = open(&[("first/metadata.csv", "file_name,Mass\n")]).unwrap_err();
        assert!(stray.contains("no split"), "{stray}");
        let files = [
            ("train/a.png", ""),
            ("test/a.png", ""),
            ("train/metadata.csv", "file_name,Mass\na.png,1\n"),
            ("test/metadata.csv", "file_name,Hernia\na.png,1\n"),
        ];
        assert!(open(&files).unwrap_err().contains("are not those of ROOT/test/metadata.csv"));
    }
}
