//! One Parquet file: its columns, and which of them is what.

use std::fs::File;
use std::io::BufReader;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};

use parquet::basic::{ConvertedType, LogicalType, Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::reader::FileReader;
use parquet::file::serialized_reader::SerializedFileReader;
use parquet::schema::types::ColumnDescriptor;
use serde_json::Value;

use super::cells::{Shape, texts};
use super::pages;
use crate::AugmentError;
use crate::formats::objects::{Keys, Objects};

/// Most rows of a file.
const MAX_ROWS: i64 = 10_000_000;
/// Most columns of a file.
const MAX_COLUMNS: usize = 1 << 12;

/// A file whose footer was read.
pub(super) struct ParquetFile {
    pub(super) path: PathBuf,
    pub(super) metadata: ParquetMetaData,
    /// The column with the bytes of images.
    pub(super) bytes: Option<usize>,
    /// The column with their paths.
    paths: Option<usize>,
    /// Columns that are not read.
    skipped: Vec<String>,
}

/// Names of the columns of a file.
pub(in crate::formats) fn columns(path: &Path) -> Result<Vec<String>, AugmentError> {
    let file = File::open(path).map_err(|source| AugmentError::Io { action: "read", path: path.to_owned(), source })?;
    let reader = guarded(path, "its footer", || SerializedFileReader::new(file))?;
    let schema = reader.metadata().file_metadata().schema();
    Ok(schema.get_fields().iter().take(MAX_COLUMNS).map(|field| field.name().to_owned()).collect())
}

/// What the rows of a file say.
pub(super) struct Rows {
    pub(super) cells: Objects,
    /// The path of each image.
    pub(super) paths: Vec<Option<String>>,
}

impl ParquetFile {
    /// Reads the footer of a file, whose images are in the column `image` or the one that is named.
    pub(super) fn open(path: &Path, image: Option<&str>) -> Result<Self, AugmentError> {
        let failed = |source| AugmentError::Io { action: "read", path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        let reader = guarded(path, "its footer", || SerializedFileReader::new(file))?;
        let metadata = reader.metadata().clone();
        let schema = metadata.file_metadata().schema_descr_ptr();
        let bad = |found: String, expected: &str| Err(bad(path, found, expected));
        if schema.num_columns() > MAX_COLUMNS {
            return bad(format!("{} columns", schema.num_columns()), &format!("at most {MAX_COLUMNS}"));
        }
        let rows = metadata.row_groups().iter().try_fold(0_i64, |rows, group| rows.checked_add(group.num_rows()));
        if rows.is_none_or(|rows| !(0..=MAX_ROWS).contains(&rows))
            || metadata.row_groups().iter().any(|group| group.num_rows() < 0)
        {
            return bad("more rows than can be".to_owned(), &format!("at most {MAX_ROWS}"));
        }
        for column in metadata.row_groups().iter().flat_map(|group| group.columns()) {
            // The crate trusts a footer, and panics at negative numbers in it.
            let start = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
            let [start, bytes] = [start, column.compressed_size()].map(|number| u64::try_from(number).ok());
            if start.zip(bytes).and_then(|(start, bytes)| start.checked_add(bytes)).is_none_or(|end| end > length) {
                return bad(format!("column `{}` is cut off", column.column_path().string()), "a whole file; fetch it again");
            }
        }
        let image = image.unwrap_or("image");
        let place = |name: &str| schema.columns().iter().position(|column| column.path().string() == name);
        let whole = place(image).or_else(|| if image == "image" { place("file_name") } else { None });
        let (bytes, paths) = match whole {
            Some(column) if is_text(&schema.columns()[column]) => (None, Some(column)),
            Some(column) => (Some(column), None),
            None => (place(&format!("{image}.bytes")), place(&format!("{image}.path"))),
        };
        if let Some(column) = bytes.filter(|column| schema.columns()[*column].physical_type() != Type::BYTE_ARRAY) {
            return bad(
                format!("column `{}` has no bytes", schema.columns()[column].path().string()),
                "the bytes of image files",
            );
        }
        if bytes.is_none() && paths.is_none() {
            let names: Vec<_> =
                schema.columns().iter().take(20).map(|column| format!("`{}`", column.path().string())).collect();
            let found = format!("no column `{image}` of images (there are {})", names.join(", "));
            return bad(
                found,
                "a column with `bytes` and `path`, or one of paths; `columns = { image = \"…\" }` in [data] says which",
            );
        }
        let mut file = Self { path: path.to_owned(), metadata, bytes, paths, skipped: Vec::new() };
        // Paths stand for the images where no bytes are.
        if file.paths.is_some() && file.bytes.is_some_and(|column| file.is_empty(column)) {
            file.bytes = None;
        }
        let read = |column: &usize| Shape::of(&schema.columns()[*column]).is_some();
        let others = (0..schema.num_columns())
            .filter(|column| !read(column) && ![file.bytes, bytes, file.paths].contains(&Some(*column)));
        file.skipped = others.map(|column| schema.columns()[column].path().string()).collect();
        file.look()?;
        Ok(file)
    }

    /// Looks at the pages of the columns that are read.
    fn look(&self) -> Result<(), AugmentError> {
        let failed = |source| AugmentError::Io { action: "read", path: self.path.clone(), source };
        let mut file = BufReader::new(File::open(&self.path).map_err(failed)?);
        let schema = self.metadata.file_metadata().schema_descr_ptr();
        for group in self.metadata.row_groups() {
            for (place, column) in group.columns().iter().enumerate() {
                let shape = Shape::of(&schema.columns()[place]);
                if shape.is_none() && self.bytes != Some(place) {
                    continue;
                }
                let list = schema.columns()[place].max_rep_level() > 0;
                if let Err(fault) = pages::look(&mut file, column, group.num_rows(), list).map_err(failed)? {
                    let (found, expected) = fault.words();
                    return Err(bad(&self.path, format!("column `{}` is {found}", column.column_path().string()), &expected));
                }
            }
        }
        Ok(())
    }

    pub(super) fn has_bytes(&self) -> bool {
        self.bytes.is_some()
    }

    /// Whether a column is known to have no value at all.
    fn is_empty(&self, column: usize) -> bool {
        self.metadata.row_groups().iter().all(|group| {
            let nulls = group.column(column).statistics().and_then(|statistics| statistics.null_count_opt());
            nulls == u64::try_from(group.num_rows()).ok()
        })
    }

    /// What the rows say, column by column.
    pub(super) fn rows(&self, keys: &mut Keys) -> Result<Rows, AugmentError> {
        let rows: usize = self.metadata.row_groups().iter().map(|group| group.num_rows() as usize).sum();
        let (mut cells, mut paths) = (Objects::default(), Vec::new());
        // Memory is taken for rows as they are read, not as the footer promises them.
        let schema = self.metadata.file_metadata().schema_descr_ptr();
        let classes = self.classes();
        for column in 0..schema.num_columns() {
            let descriptor = &schema.columns()[column];
            let name = descriptor.path().parts().first().cloned().unwrap_or_default();
            let Some(shape) = Shape::of(descriptor).filter(|_| Some(column) != self.bytes) else { continue };
            let names = classes.iter().find(|(known, _)| *known == name).map(|(_, names)| &names[..]);
            let texts = guarded(&self.path, &format!("column `{name}`"), || texts(self, column, &shape, names))?;
            if texts.len() != rows {
                return Err(bad(
                    &self.path,
                    format!("column `{name}` has {} values for {rows} rows", texts.len()),
                    "one for each",
                ));
            }
            if cells.is_empty() {
                (1..=rows as u64).for_each(|row| cells.begin(row));
            }
            if Some(column) == self.paths {
                paths = texts;
                continue;
            }
            for (row, text) in texts.into_iter().enumerate() {
                cells.put_in(keys, row, &name, text.unwrap_or_default());
            }
        }
        if cells.is_empty() {
            return Err(bad(&self.path, "no column of labels".to_owned(), "columns of findings beside the images"));
        }
        paths.resize(rows, None);
        Ok(Rows { cells, paths })
    }

    /// Names of the classes of columns, from what `datasets` writes beside the schema.
    fn classes(&self) -> Vec<(String, Vec<String>)> {
        let pairs = self.metadata.file_metadata().key_value_metadata();
        let text = pairs.into_iter().flatten().find(|pair| pair.key == "huggingface").and_then(|pair| pair.value.as_deref());
        let Some(Value::Object(features)) =
            text.and_then(|text| serde_json::from_str::<Value>(text).ok()).map(|mut value| value["info"]["features"].take())
        else {
            return Vec::new();
        };
        let names = |feature: &Value| {
            let list = feature.get("names").or_else(|| feature.get("feature")?.get("names"))?.as_array()?;
            list.iter().map(|name| name.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()
        };
        features.iter().filter_map(|(column, feature)| Some((column.clone(), names(feature)?))).collect()
    }

    /// What is doubtful in the columns, a sentence each.
    pub(super) fn notes(&self) -> Option<String> {
        let names = self.skipped.iter().take(10).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        (!names.is_empty())
            .then(|| format!("{}: columns within others, or of other types, are not read: {names}", self.path.display()))
    }
}

fn is_text(column: &ColumnDescriptor) -> bool {
    column.converted_type() == ConvertedType::UTF8 || matches!(column.logical_type_ref(), Some(LogicalType::String))
}

/// What the crate makes of a file: its errors and its panics are faults of the file.
pub(super) fn guarded<T>(path: &Path, what: &str, read: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, AugmentError> {
    let damaged = |why: &str| bad(path, format!("{what} is damaged or cut off{why}"), "a whole Parquet file; fetch it again");
    match panic::catch_unwind(AssertUnwindSafe(read)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(damaged(&format!(" ({error})"))),
        Err(_) => Err(damaged("")),
    }
}

pub(super) fn bad(path: &Path, found: String, expected: &str) -> AugmentError {
    AugmentError::BadLayout { path: path.to_owned(), found, expected: expected.to_owned() }
}
