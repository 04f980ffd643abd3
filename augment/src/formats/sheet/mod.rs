//! A CSV table, whatever program wrote it, with errors that name file, row and column.
//!
//! A table is read twice or more: once by [`Sheet::read`], which settles its form and refuses what can't be right, and once for every
//! [`Sheet::lines`]. So only one row is in memory, and every row is known to be sound before the first one is used.

mod bad_rows;
mod dialect;
mod fault;
mod identifiers;
mod lines;
mod names;
mod source;
mod split;

use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};

use self::bad_rows::{BadRow, BadRows};
use self::dialect::{Dialect, Unclear};
use self::fault::MAX_ROWS;
use self::identifiers::{Identifiers, Reading};
use self::lines::{Skipped, trim};
use self::source::Source;
use self::split::{Raw, Splitter, Stop};
use crate::AugmentError;
use crate::formats::cells::{DASH, is_blank};
use crate::formats::{MissingImages, TableError};
use crate::record::{Label, PatientId};

pub use self::dialect::Delimiter;
pub use self::fault::TextFault;
pub(super) use self::lines::{Line, Lines};
pub(super) use self::names::read_names;

/// Bytes of a table that its delimiter is guessed from.
const HEAD: u64 = 1 << 18;

/// A table: its columns and, on demand, its rows.
#[derive(Debug)]
pub(super) struct Sheet {
    pub(super) path: PathBuf,
    /// The columns that are read, in order. Columns without a name are not among them.
    pub(super) columns: Vec<String>,
    source: Source,
    dialect: Dialect,
    /// The header of the file, and which of its columns are read.
    header: Vec<(String, bool)>,
    rows: Rows,
    /// Whether rows that can't be read are left out.
    leaves_out: bool,
    /// Those that were.
    bad_rows: BadRows,
    /// Numbers of the rows, where they are not the lines of a file.
    numbers: Vec<u64>,
    identifiers: Vec<Identifiers>,
    notes: Vec<String>,
}

/// Whether rows may be longer than the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rows {
    Equal,
    /// Rows of some copies of the NIH table end with a comma that the header lacks.
    Ragged,
}

impl Sheet {
    /// Reads the header of a CSV, packed with gzip or not, and goes through its rows. Its delimiter is guessed if none is given.
    pub(super) fn read(path: &Path, rows: Rows, delimiter: Option<Delimiter>) -> Result<Self, AugmentError> {
        Self::read_for(path, rows, delimiter, MissingImages::Refuse)
    }

    /// As [`Sheet::read`]. Where rows are kept whatever is missing, those that can't be read are left out, if the others can:
    /// [`faults`](Self::faults) has them.
    pub(super) fn read_for(
        path: &Path,
        rows: Rows,
        delimiter: Option<Delimiter>,
        missing: MissingImages,
    ) -> Result<Self, AugmentError> {
        let source = Source::new(path).map_err(|source| read_error(path, source))?;
        Self { rows, leaves_out: missing == MissingImages::Keep, ..Self::of_source(path, source) }.opened(delimiter)
    }

    /// A table from elsewhere than a CSV: its columns, and its rows with their numbers.
    pub(super) fn of(path: &Path, columns: &[String], rows: &[(u64, Vec<String>)]) -> Result<Self, AugmentError> {
        const IN_MEMORY: &str = "memory takes every row, and rows are as long as the header";
        let mut csv = csv::Writer::from_writer(Vec::new());
        for row in std::iter::once(columns).chain(rows.iter().map(|(_, cells)| cells.as_slice())) {
            csv.write_record(row).expect(IN_MEMORY);
        }
        let source = Source::Memory(csv.into_inner().expect(IN_MEMORY));
        let numbers = rows.iter().map(|(number, _)| *number).collect();
        Self { numbers, ..Self::of_source(path, source) }.opened(Some(Delimiter::Comma))
    }

    /// A table of which nothing is read yet.
    fn of_source(path: &Path, source: Source) -> Self {
        Self {
            path: path.to_owned(),
            columns: Vec::new(),
            source,
            dialect: Dialect::default(),
            header: Vec::new(),
            rows: Rows::Equal,
            leaves_out: false,
            bad_rows: BadRows::default(),
            numbers: Vec::new(),
            identifiers: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Settles the form, and goes through header and rows.
    fn opened(mut self, delimiter: Option<Delimiter>) -> Result<Self, AugmentError> {
        let failed = |source| read_error(&self.path, source);
        let mut head = Vec::new();
        let mut text = self.source.open(&self.path).map_err(failed)?.take(HEAD + 1);
        text.read_to_end(&mut head).map_err(failed)?;
        drop(text);
        let whole = head.len() as u64 <= HEAD;
        self.dialect = Dialect::of(&head, whole, delimiter).map_err(|unclear| unclear_error(&self.path, unclear))?;
        if self.dialect.guessed {
            let path = self.path.display();
            self.notes.push(format!("{path}: cells are taken to be separated by {}", self.dialect.delimiter));
        }
        self.read_header()?;
        self.examine()?;
        Ok(self)
    }

    fn read_header(&mut self) -> Result<(), AugmentError> {
        let (mut splitter, mut raw) = (self.splitter()?, Raw::default());
        splitter.read(&mut raw, None).map_err(|stop| self.stopped(stop))?;
        let (mut names, mut unreadable) = (Vec::new(), Vec::new());
        for (cell, name) in raw.cells().enumerate() {
            names.push(trim(&String::from_utf8_lossy(name)).to_owned());
            if std::str::from_utf8(name).is_err() {
                unreadable.push(cell);
            }
        }
        drop(splitter);
        for cell in unreadable.iter().copied() {
            let bad = BadRow::Cell { row: raw.line, cell, fault: TextFault::NotUtf8 };
            if !self.leaves_out {
                return Err(self.bad_row(&bad));
            }
            self.bad_rows.push(bad);
        }
        for (column, name) in names.iter().enumerate() {
            if is_index(name) && names.len() > 1 && (column == 0 || !name.is_empty()) {
                let what = if name.is_empty() {
                    "the first column has no name".to_owned()
                } else {
                    format!("column `{name}` is an index")
                };
                self.notes.push(format!("{}: {what} and is ignored", self.path.display()));
            }
        }
        let read = |(column, name): (usize, String)| {
            let is_read = !is_index(&name) && !unreadable.contains(&column);
            (name, is_read)
        };
        self.header = names.into_iter().enumerate().map(read).collect();
        self.columns = self.header.iter().filter(|(_, read)| *read).map(|(name, _)| name.clone()).collect();
        Ok(())
    }

    /// Goes through all rows once.
    fn examine(&mut self) -> Result<(), AugmentError> {
        let mut identifiers = vec![Identifiers::default(); self.columns.len()];
        let of_header = std::mem::take(&mut self.bad_rows);
        let mut lines = self.lines()?;
        lines.bad_rows = of_header;
        let (mut rows, mut line) = (0, Line::default());
        while lines.read(&mut line)? {
            rows += 1;
            if rows > MAX_ROWS {
                return Err(self.malformed(line.number, 0, TextFault::ManyRows));
            }
            for (column, identifiers) in identifiers.iter_mut().enumerate() {
                let cell = line.cell(column);
                if !cell.is_empty() {
                    identifiers.see(cell, line.number);
                }
            }
        }
        let Skipped { blank, headers } = std::mem::take(&mut lines.skipped);
        let bad_rows = std::mem::take(&mut lines.bad_rows);
        drop(lines);
        self.bad_rows = bad_rows;
        for (skipped, what) in [(blank, "without any text"), (headers, "that repeat the header")] {
            if let Some((count, first)) = skipped {
                self.notes.push(format!("{}: {count} rows {what} are skipped (the first is row {first})", self.path.display()));
            }
        }
        self.identifiers = identifiers;
        Ok(())
    }

    /// The rows in order.
    pub(super) fn lines(&self) -> Result<Lines<'_>, AugmentError> {
        let (mut splitter, mut raw) = (self.splitter()?, Raw::default());
        splitter.read(&mut raw, None).map_err(|stop| self.stopped(stop))?;
        Ok(Lines::new(self, splitter))
    }

    /// The row that starts on that line, for an error about it.
    pub(super) fn line(&self, number: u64) -> Result<Line, AugmentError> {
        let (mut lines, mut line) = (self.lines()?, Line::default());
        while lines.read(&mut line)? && line.number != number {}
        Ok(line)
    }

    fn splitter(&self) -> Result<Splitter<Box<dyn BufRead + '_>>, AugmentError> {
        let failed = |source| read_error(&self.path, source);
        let mut splitter = Splitter::new(self.source.open(&self.path).map_err(failed)?, self.dialect.delimiter.byte());
        if self.dialect.declared {
            splitter.skip_line().map_err(failed)?;
        }
        Ok(splitter)
    }

    /// What is doubtful in how the table is read, `patient` being its column of patients.
    pub(super) fn notes(&self, patient: Option<usize>) -> Vec<String> {
        let patients = patient.and_then(|column| self.identifiers[column].note());
        let patients = patients.map(|note| format!("{}: {note}", self.path.display()));
        self.notes.iter().cloned().chain(patients).collect()
    }

    /// The faults of rows that were left out, and for each kind of them how many more there are.
    pub(super) fn faults(&self) -> (Vec<AugmentError>, Vec<(usize, &'static str)>) {
        (self.bad_rows.named.iter().map(|row| self.bad_row(row)).collect(), self.bad_rows.unnamed().collect())
    }

    /// The error of a row that can't be read.
    fn bad_row(&self, bad: &BadRow) -> AugmentError {
        match bad {
            BadRow::Length { row, cells } => TableError::RowLength {
                path: self.path.clone(),
                row: *row,
                found: *cells,
                expected: self.header.len(),
                delimiter: self.dialect.delimiter,
            }
            .into(),
            BadRow::Cell { row, cell, fault } => self.malformed(*row, *cell, fault.clone()),
        }
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
        let found = self.find(name).ok_or_else(missing)?;
        if self.columns[found + 1..].iter().any(|column| column == name) {
            let (column, first) = (name.to_owned(), name.to_owned());
            return Err(TableError::DuplicateColumn { path: self.path.clone(), column, first }.into());
        }
        Ok(found)
    }

    /// The error of a cell that `parse` refused.
    pub(super) fn bad_cell(&self, line: &Line, column: usize, expected: &str) -> AugmentError {
        TableError::BadCell {
            path: self.path.clone(),
            row: line.number,
            column: self.columns[column].clone(),
            value: fault::shown(line.text(column).as_bytes()),
            expected: expected.to_owned(),
        }
        .into()
    }

    /// The cell as `parse` reads it. Where `;` separates cells, a number may have a decimal comma.
    pub(super) fn parse<T>(
        &self,
        line: &Line,
        column: usize,
        cell: (&str, impl Fn(&str) -> Option<T>),
    ) -> Result<T, AugmentError> {
        self.parse_text(line, column, line.cell(column), cell)
    }

    /// `text`, which is that of the cell, as `parse` reads it.
    fn parse_text<T>(
        &self,
        line: &Line,
        column: usize,
        text: &str,
        (expected, parse): (&str, impl Fn(&str) -> Option<T>),
    ) -> Result<T, AugmentError> {
        let with_point = || match self.dialect.delimiter {
            Delimiter::Semicolon => parse(&decimal_point(text)?),
            _ => None,
        };
        parse(text).or_else(with_point).ok_or_else(|| self.bad_cell(line, column, expected))
    }

    /// The cell as `parse` reads it; `None` if it is blank or the table has no such column.
    pub(super) fn parse_optional<T>(
        &self,
        line: &Line,
        column: Option<usize>,
        cell: (&str, impl Fn(&str) -> Option<T>),
    ) -> Result<Option<T>, AugmentError> {
        let Some((column, text)) = column.map(|column| (column, line.cell(column))).filter(|(_, text)| !text.is_empty()) else {
            return Ok(None);
        };
        self.parse_text(line, column, text, cell).map(Some)
    }

    /// The label in a cell. A dash is blank elsewhere, but may mean "negative" here.
    pub(super) fn label(
        &self,
        line: &Line,
        column: usize,
        cell: (&str, impl Fn(&str) -> Option<Label>),
    ) -> Result<Label, AugmentError> {
        match line.text(column) {
            DASH => Err(self.bad_cell(line, column, cell.0)),
            text => self.parse_text(line, column, if is_blank(text) { "" } else { text }, cell),
        }
    }

    /// The patient of a row, if the table has such a column and the cell isn't blank.
    pub(super) fn patient(&self, line: &Line, column: Option<usize>) -> Result<Option<PatientId>, AugmentError> {
        let Some((column, cell)) = column.map(|column| (column, line.cell(column))).filter(|(_, cell)| !cell.is_empty()) else {
            return Ok(None);
        };
        if cell.contains(['\n', '\r']) {
            return Err(self.bad_cell(line, column, "an identifier on one line"));
        }
        match self.identifiers[column].reading() {
            Reading::AsWritten => Ok(Some(PatientId::new(cell))),
            Reading::Whole => Ok(Some(PatientId::new(identifiers::whole(cell)))),
            Reading::Refused(row, expected) if row == line.number => Err(self.bad_cell(line, column, expected)),
            // The row that is refused comes later.
            Reading::Refused(..) => Ok(Some(PatientId::new(cell))),
        }
    }

    fn malformed(&self, row: u64, cell: usize, fault: TextFault) -> AugmentError {
        let column = self.header.get(cell).map(|(name, _)| name.clone()).filter(|name| !name.is_empty());
        TableError::Text { path: self.path.clone(), row, column: column.unwrap_or_else(|| (cell + 1).to_string()), fault }
            .into()
    }

    fn stopped(&self, stop: Stop) -> AugmentError {
        match stop {
            Stop::Io(source) => read_error(&self.path, source),
            Stop::Fault { line, cell, fault } => self.malformed(line, cell, fault),
        }
    }
}

/// A column without a name, or with the one that pandas gives it: the index of a data frame that was written with the data, to a CSV or to
/// Parquet.
fn is_index(name: &str) -> bool {
    let in_parquet = name.strip_prefix("__index_level_").and_then(|name| name.strip_suffix("__"));
    let number = name.strip_prefix("Unnamed: ").or(in_parquet);
    name.is_empty() || number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// `57,5` as `57.5`; `None` for anything else.
fn decimal_point(cell: &str) -> Option<String> {
    let (number, decimals) = cell.split_once(',')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // Three digits may be thousands.
    let is_decimal = digits(number.strip_prefix('-').unwrap_or(number)) && digits(decimals) && decimals.len() != 3;
    is_decimal.then(|| format!("{number}.{decimals}"))
}

fn read_error(path: &Path, source: io::Error) -> AugmentError {
    AugmentError::Io { action: "read", path: path.to_owned(), source }
}

fn unclear_error(path: &Path, unclear: Unclear) -> AugmentError {
    let path = path.to_owned();
    match unclear {
        Unclear::Declaration(found) => TableError::UnknownDelimiter { path, found }.into(),
        Unclear::Ambiguous(one, other) => TableError::AmbiguousDelimiter { path, one, other }.into(),
    }
}

#[cfg(test)]
mod tests;
