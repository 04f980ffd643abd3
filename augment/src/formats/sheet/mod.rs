//! A CSV table, whatever program wrote it, with errors that name file, row and column.
//!
//! A table is read twice or more: once by [`Sheet::read`], which settles its form and refuses what can't be right, and once for every
//! [`Sheet::lines`]. So only one row is in memory, and every row is known to be sound before the first one is used.

mod dialect;
mod fault;
mod identifiers;
mod lines;
mod source;
mod split;

use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};

use self::dialect::{Dialect, Unclear};
use self::fault::MAX_ROWS;
use self::identifiers::{Identifiers, Reading};
use self::lines::{Skipped, trim};
use self::source::Source;
use self::split::{Raw, Splitter, Stop};
use crate::AugmentError;
use crate::formats::TableError;
use crate::formats::cells::{DASH, is_blank};
use crate::record::{Label, PatientId};

pub use self::dialect::Delimiter;
pub use self::fault::TextFault;
pub(super) use self::lines::{Line, Lines};

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
        let source = Source::new(path).map_err(|source| read_error(path, source))?;
        Self::of_source(path, source, rows, delimiter, Vec::new())
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
        Self::of_source(path, source, Rows::Equal, Some(Delimiter::Comma), numbers)
    }

    fn of_source(
        path: &Path,
        source: Source,
        rows: Rows,
        delimiter: Option<Delimiter>,
        numbers: Vec<u64>,
    ) -> Result<Self, AugmentError> {
        let failed = |source| read_error(path, source);
        let mut head = Vec::new();
        let mut text = source.open(path).map_err(failed)?.take(HEAD + 1);
        text.read_to_end(&mut head).map_err(failed)?;
        drop(text);
        let whole = head.len() as u64 <= HEAD;
        let dialect = Dialect::of(&head, whole, delimiter).map_err(|unclear| unclear_error(path, unclear))?;
        let mut sheet = Self {
            path: path.to_owned(),
            columns: Vec::new(),
            source,
            dialect,
            header: Vec::new(),
            rows,
            numbers,
            identifiers: Vec::new(),
            notes: Vec::new(),
        };
        if dialect.guessed {
            sheet.notes.push(format!("{}: cells are taken to be separated by {}", path.display(), dialect.delimiter));
        }
        sheet.read_header()?;
        sheet.examine()?;
        Ok(sheet)
    }

    fn read_header(&mut self) -> Result<(), AugmentError> {
        let (mut splitter, mut raw) = (self.splitter()?, Raw::default());
        splitter.read(&mut raw, None).map_err(|stop| self.stopped(stop))?;
        let bad = |column| self.malformed(raw.line, column, TextFault::NotUtf8);
        let name = |(column, name)| std::str::from_utf8(name).map(|name| trim(name).to_owned()).map_err(|_| bad(column));
        let names = raw.cells().enumerate().map(name).collect::<Result<Vec<_>, _>>()?;
        drop(splitter);
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
        self.header = names.into_iter().map(|name| (name.clone(), !is_index(&name))).collect();
        self.columns = self.header.iter().filter(|(_, read)| *read).map(|(name, _)| name.clone()).collect();
        Ok(())
    }

    /// Goes through all rows once.
    fn examine(&mut self) -> Result<(), AugmentError> {
        let mut identifiers = vec![Identifiers::default(); self.columns.len()];
        let mut lines = self.lines()?;
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
        drop(lines);
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

/// A column without a name, or with the one that pandas gives it: the index of a data frame that was written with the data.
fn is_index(name: &str) -> bool {
    let number = name.strip_prefix("Unnamed: ");
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

/// The lines of a list of names, each with its number from 1; blank ones are left out.
pub(super) fn read_names(path: &Path) -> Result<Vec<(u64, String)>, AugmentError> {
    let failed = |source| read_error(path, source);
    let source = Source::new(path).map_err(failed)?;
    // A name has no delimiter that this could be.
    let (mut splitter, mut raw) = (Splitter::new(source.open(path).map_err(failed)?, b'\n'), Raw::default());
    let mut names = Vec::new();
    let fault = |row, fault| TableError::Text { path: path.to_owned(), row, column: "1".to_owned(), fault };
    loop {
        match splitter.read(&mut raw, None) {
            Ok(true) => {}
            Ok(false) => return Ok(names),
            Err(Stop::Io(source)) => return Err(failed(source)),
            Err(Stop::Fault { line, fault: found, .. }) => return Err(fault(line, found).into()),
        }
        let name = std::str::from_utf8(&raw.bytes).map_err(|_| fault(raw.line, TextFault::NotUtf8))?;
        if !trim(name).is_empty() {
            names.push((raw.line, trim(name).to_owned()));
        }
    }
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
