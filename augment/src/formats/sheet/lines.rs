//! The rows of a table, one at a time.

use std::io::BufRead;

use super::bad_rows::{BadRow, BadRows};
use super::split::{Raw, Splitter};
use super::{Rows, Sheet, TextFault, fault};
use crate::AugmentError;
use crate::formats::cells::is_blank;

/// A row and the line of the file it starts on.
#[derive(Debug, Default)]
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
    pub(in crate::formats) fn text(&self, column: usize) -> &str {
        let start = if column == 0 { 0 } else { self.ends[column - 1] };
        trim(&self.text[start..self.ends[column]])
    }
}

/// Without blanks and without byte order marks, which stand in the middle of tables that were joined.
pub(super) fn trim(text: &str) -> &str {
    if let [first, .., last] = text.as_bytes()
        && first.is_ascii_graphic()
        && last.is_ascii_graphic()
    {
        return text;
    }
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
    /// Rows of images among them.
    rows: usize,
    pub(super) skipped: Skipped,
    pub(super) bad_rows: BadRows,
}

impl<'a> Lines<'a> {
    /// The rows that `splitter` reads after the header.
    pub(super) fn new(sheet: &'a Sheet, splitter: Splitter<Box<dyn BufRead + 'a>>) -> Self {
        let (raw, skipped, bad_rows) = (Raw::default(), Skipped::default(), BadRows::default());
        Self { sheet, splitter, raw, read: 0, rows: 0, skipped, bad_rows }
    }

    /// How many rows of images there were so far, those included that were left out as they can't be read.
    pub(in crate::formats) fn rows(&self) -> usize {
        self.rows
    }

    /// Reads the next row into `line`; false at the end.
    pub(in crate::formats) fn read(&mut self, line: &mut Line) -> Result<bool, AugmentError> {
        let Self { sheet, splitter, raw, read, rows, skipped, bad_rows } = self;
        loop {
            if !splitter.read(raw, Some(sheet.header.len())).map_err(|stop| sheet.stopped(stop))? {
                return Ok(false);
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
                *rows += 1;
                match sheet.fill(line, raw) {
                    Ok(()) => return Ok(true),
                    Err(bad) if sheet.leaves_out => bad_rows.push(bad),
                    Err(bad) => return Err(sheet.bad_row(&bad)),
                }
            }
        }
    }
}

impl Iterator for Lines<'_> {
    type Item = Result<Line, AugmentError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut line = Line::default();
        self.read(&mut line).map(|read| read.then_some(line)).transpose()
    }
}

impl Sheet {
    /// Whether a row is the header again, as where tables were joined.
    fn is_header(&self, raw: &Raw) -> bool {
        let equal =
            |((name, _), cell): (&(String, bool), &[u8])| std::str::from_utf8(cell).is_ok_and(|cell| trim(cell) == name);
        raw.ends.len() == self.header.len() && self.header.iter().zip(raw.cells()).all(equal)
    }

    /// Makes `line` of the cells of a row that are read.
    fn fill(&self, line: &mut Line, raw: &Raw) -> Result<(), BadRow> {
        let (found, header) = (raw.ends.len(), &self.header);
        let is_blank = |cell: &[u8]| cell.trim_ascii().is_empty();
        // Columns without a name may be missing at the end.
        let least = header.iter().rposition(|(name, _)| !name.is_empty()).map_or(0, |last| last + 1);
        let surplus = found > header.len() && (self.rows == Rows::Equal || !raw.cells().skip(header.len()).all(is_blank));
        if found < least || surplus {
            return Err(BadRow::Length { row: raw.line, cells: found });
        }
        line.number = raw.line;
        line.text.clear();
        line.ends.clear();
        // At once, if every cell is text for itself.
        let text = std::str::from_utf8(&raw.bytes).ok();
        let whole = text.filter(|text| text.is_ascii() || raw.ends.iter().all(|end| text.is_char_boundary(*end)));
        if let Some(text) = whole
            && self.columns.len() == header.len()
        {
            line.text.push_str(&text[..raw.ends[found.min(header.len()) - 1]]);
            line.ends.extend_from_slice(&raw.ends[..found.min(header.len())]);
            return Ok(());
        }
        for (cell, bytes) in raw.cells().enumerate().take(header.len()) {
            let (name, read) = &header[cell];
            let bad = |fault| BadRow::Cell { row: raw.line, cell, fault };
            if *read {
                line.text.push_str(std::str::from_utf8(bytes).map_err(|_| bad(TextFault::NotUtf8))?);
                line.ends.push(line.text.len());
            } else if cell > 0 && name.is_empty() && !is_blank(bytes) {
                return Err(bad(TextFault::Nameless(fault::shown(bytes))));
            }
        }
        Ok(())
    }
}
