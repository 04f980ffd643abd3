//! A CSV table read whole, with errors that name file, row and column.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use csv::{ErrorKind, ReaderBuilder, StringRecord};
use flate2::read::MultiGzDecoder;

use crate::AugmentError;
use crate::formats::TableError;

/// A table: its columns and its rows.
#[derive(Debug)]
pub(super) struct Sheet {
    pub(super) path: PathBuf,
    pub(super) columns: Vec<String>,
    pub(super) lines: Vec<Line>,
}

/// A row and the line of the file it starts on.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) number: u64,
    cells: StringRecord,
}

impl Line {
    /// The trimmed cell of that column; blank where a ragged row ends before it.
    pub(super) fn cell(&self, column: usize) -> &str {
        self.cells.get(column).unwrap_or("").trim()
    }
}

/// Whether rows may be longer or shorter than the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rows {
    Equal,
    /// Some copies of the NIH table have one empty column more in the header than in the rows, or the other way round.
    Ragged,
}

impl Sheet {
    /// Reads a `.csv`, or a `.csv.gz`.
    pub(super) fn read(path: &Path, rows: Rows) -> Result<Self, AugmentError> {
        let file = File::open(path).map_err(|source| AugmentError::Io { action: "read", path: path.to_owned(), source })?;
        let bytes: Box<dyn Read> =
            if path.extension().is_some_and(|e| e == "gz") { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
        let mut reader = ReaderBuilder::new().flexible(rows == Rows::Ragged).from_reader(bytes);
        let failed = |error| csv_error(path, error);
        let columns =
            reader.headers().map_err(failed)?.iter().map(|c| c.trim_start_matches('\u{feff}').trim().to_owned()).collect();
        let mut lines = Vec::new();
        for cells in reader.records() {
            let cells = cells.map_err(failed)?;
            let number = cells.position().map_or(lines.len() as u64 + 2, csv::Position::line);
            lines.push(Line { number, cells });
        }
        Ok(Self { path: path.to_owned(), columns, lines })
    }

    /// A table from elsewhere than a CSV: its rows, each with its number.
    pub(super) fn of(path: &Path, columns: Vec<String>, rows: Vec<(u64, StringRecord)>) -> Self {
        let lines = rows.into_iter().map(|(number, cells)| Line { number, cells }).collect();
        Self { path: path.to_owned(), columns, lines }
    }

    /// The column of that name, if there is one.
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column == name)
    }

    /// The column of that name.
    pub(super) fn column(&self, name: &str) -> Result<usize, AugmentError> {
        let missing = || TableError::MissingColumn {
            path: self.path.clone(),
            column: name.to_owned(),
            found: self.columns.iter().map(|c| format!("`{c}`")).collect::<Vec<_>>().join(", "),
        };
        Ok(self.find(name).ok_or_else(missing)?)
    }

    /// The error of a cell that `parse` refused.
    pub(super) fn bad_cell(&self, line: &Line, column: usize, expected: &str) -> AugmentError {
        TableError::BadCell {
            path: self.path.clone(),
            row: line.number,
            column: self.columns[column].clone(),
            value: line.cell(column).to_owned(),
            expected: expected.to_owned(),
        }
        .into()
    }

    /// The cell as `parse` reads it.
    pub(super) fn parse<T>(
        &self,
        line: &Line,
        column: usize,
        (expected, parse): (&str, impl Fn(&str) -> Option<T>),
    ) -> Result<T, AugmentError> {
        parse(line.cell(column)).ok_or_else(|| self.bad_cell(line, column, expected))
    }

    /// The cell as `parse` reads it; `None` if it is blank or the table has no such column.
    pub(super) fn parse_optional<T>(
        &self,
        line: &Line,
        column: Option<usize>,
        cell: (&str, impl Fn(&str) -> Option<T>),
    ) -> Result<Option<T>, AugmentError> {
        match column {
            Some(column) if !line.cell(column).is_empty() => self.parse(line, column, cell).map(Some),
            _ => Ok(None),
        }
    }
}

fn csv_error(path: &Path, error: csv::Error) -> AugmentError {
    let path = path.to_owned();
    let row = error.position().map_or(1, csv::Position::line);
    if !matches!(error.kind(), ErrorKind::Io(_)) {
        let error = match error.kind() {
            ErrorKind::Utf8 { err, .. } => TableError::NotUtf8 { path, row, field: err.field() + 1, source: error },
            &ErrorKind::UnequalLengths { expected_len: expected, len: found, .. } => {
                TableError::RowLength { path, row, found, expected }
            }
            _ => TableError::Csv { path, row, source: error },
        };
        return error.into();
    }
    match error.into_kind() {
        ErrorKind::Io(source) => AugmentError::Io { action: "read", path, source },
        _ => unreachable!("the kind was checked to be Io"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Sheet, AugmentError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        std::fs::write(&path, bytes).unwrap();
        Sheet::read(&path, Rows::Equal)
    }

    fn message(bytes: &[u8]) -> String {
        let error = read(bytes).unwrap_err().to_string();
        error[error.find("t.csv").unwrap()..].to_owned()
    }

    #[test]
    fn faults_are_named_by_row_and_field() {
        assert_eq!(message(b"a,b\n1,2\n3,\xff\n"), "t.csv, row 3, field 2: not UTF-8; save the table as UTF-8");
        assert_eq!(
            message(b"a,b\n1,2\n3\n"),
            "t.csv, row 3: 1 fields, expected 2 as in the header; quote fields that hold commas"
        );
    }

    #[test]
    fn a_missing_column_lists_those_there_are() {
        let error = read(b"\xef\xbb\xbfimage, age\nx,1\n").unwrap().column("sex").unwrap_err().to_string();
        assert!(error.ends_with("no column `sex`; the columns are `image`, `age`"), "{error}");
    }

    #[test]
    fn rows_are_lines_of_the_file() {
        let sheet = read(b"image,report\na,\"two\nlines\"\nb,one\n").unwrap();
        assert_eq!(sheet.lines.iter().map(|line| line.number).collect::<Vec<_>>(), [2, 4]);
    }
}
