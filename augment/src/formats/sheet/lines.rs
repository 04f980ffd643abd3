//! The rows of a table, one at a time.

use std::io::BufRead;

use super::split::{Raw, Splitter};
use super::{Rows, Sheet, TextFault, fault};
use crate::AugmentError;
use crate::formats::TableError;
use crate::formats::cells::is_blank;

/// A row and the line of the file it starts on.
#[derive(Debug)]
pub(in crate::formats) struct Line {
    pub(in crate::formats) number: u64,
    text: String,
    ends: Vec<usize>,
}

impl Line {
    /// The trimmed cell of that column; blank if it says that nothing is known (`nan`, `NA`, …).
    pub(in crate::formats) fn cell(&self, column: usize) -> &str {
        let text = self.text(column);
        if is_blank(text) { "" } else { text }
    }

    /// The trimmed cell as it is written.
    pub(super) fn text(&self, column: usize) -> &str {
        let start = if column == 0 { 0 } else { self.ends[column - 1] };
        trim(&self.text[start..self.ends[column]])
    }
}

/// Without blanks and without byte order marks, which stand in the middle of tables that were joined.
pub(super) fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || matches!(c, '\u{feff}' | '\u{200b}'))
}

/// Rows that are no images, counted, each kind with its first row.
#[derive(Debug, Default)]
pub(super) struct Skipped {
    pub(super) blank: Option<(u64, u64)>,
    pub(super) headers: Option<(u64, u64)>,
}

/// The rows of a [`Sheet`].
pub(in crate::formats) struct Lines<'a> {
    sheet: &'a Sheet,
    splitter: Splitter<Box<dyn BufRead + 'a>>,
    raw: Raw,
    /// Rows that were read.
    read: usize,
    pub(super) skipped: Skipped,
}

impl<'a> Lines<'a> {
    /// The rows that `splitter` reads after the header.
    pub(super) fn new(sheet: &'a Sheet, splitter: Splitter<Box<dyn BufRead + 'a>>) -> Self {
        Self { sheet, splitter, raw: Raw::default(), read: 0, skipped: Skipped::default() }
    }

    fn read(&mut self) -> Result<Option<Line>, AugmentError> {
        let Self { sheet, splitter, raw, read, skipped } = self;
        loop {
            if !splitter.read(raw, Some(sheet.header.len())).map_err(|stop| sheet.stopped(stop))? {
                return Ok(None);
            }
            if let Some(number) = sheet.numbers.get(*read) {
                raw.line = *number;
            }
            *read += 1;
            let count = |skipped: &mut Option<(u64, u64)>| skipped.get_or_insert((0, raw.line)).0 += 1;
            // A lone `""` is a cell that somebody left empty.
            if raw.cells().all(|cell| cell.trim_ascii().is_empty()) && (raw.ends.len() > 1 || !raw.bytes.is_empty()) {
                count(&mut skipped.blank);
            } else if raw.ends.len() > 1 && sheet.is_header(raw) {
                count(&mut skipped.headers);
            } else {
                return sheet.line(raw).map(Some);
            }
        }
    }
}

impl Iterator for Lines<'_> {
    type Item = Result<Line, AugmentError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

impl Sheet {
    /// Whether a row is the header again, as where tables were joined.
    fn is_header(&self, raw: &Raw) -> bool {
        let equal =
            |((name, _), cell): (&(String, bool), &[u8])| std::str::from_utf8(cell).is_ok_and(|cell| trim(cell) == name);
        raw.ends.len() == self.header.len() && self.header.iter().zip(raw.cells()).all(equal)
    }

    /// The cells of a row that are read.
    fn line(&self, raw: &Raw) -> Result<Line, AugmentError> {
        let (found, header) = (raw.ends.len(), &self.header);
        let is_blank = |cell: &[u8]| cell.trim_ascii().is_empty();
        // Columns without a name may be missing at the end.
        let least = header.iter().rposition(|(name, _)| !name.is_empty()).map_or(0, |last| last + 1);
        let surplus = found > header.len() && (self.rows == Rows::Equal || !raw.cells().skip(header.len()).all(is_blank));
        if found < least || surplus {
            let (path, delimiter) = (self.path.clone(), self.dialect.delimiter);
            return Err(TableError::RowLength { path, row: raw.line, found, expected: header.len(), delimiter }.into());
        }
        let (mut bytes, mut ends) = (Vec::with_capacity(raw.bytes.len()), Vec::with_capacity(self.columns.len()));
        for (column, cell) in raw.cells().enumerate().take(header.len()) {
            let (name, read) = &header[column];
            if *read {
                if std::str::from_utf8(cell).is_err() {
                    return Err(self.malformed(raw.line, column, TextFault::NotUtf8));
                }
                bytes.extend_from_slice(cell);
                ends.push(bytes.len());
            } else if column > 0 && name.is_empty() && !is_blank(cell) {
                return Err(self.malformed(raw.line, column, TextFault::Nameless(fault::shown(cell))));
            }
        }
        let text = String::from_utf8(bytes).expect("every cell is UTF-8");
        Ok(Line { number: raw.line, text, ends })
    }
}
