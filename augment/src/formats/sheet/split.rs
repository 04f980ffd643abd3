//! Rows and cells of the bytes of a table.
//!
//! As RFC 4180 has them, with any delimiter and line end. The `csv` crate gives every sequence of bytes some meaning; here a quote that is
//! misplaced is a fault, because a guess about it moves labels to other images.

use std::io::{self, BufRead};

use super::fault::{MAX_CELL, MAX_COLUMNS, MAX_ROW, TextFault, shown};
use crate::record::Label;

/// UTF-8's byte order mark, which stands in the middle of tables that were joined.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// A row as bytes.
#[derive(Debug, Default)]
pub(super) struct Raw {
    /// The line it starts on, from 1.
    pub(super) line: u64,
    /// Its cells one after the other, without quotes.
    pub(super) bytes: Vec<u8>,
    /// Where each cell ends.
    pub(super) ends: Vec<usize>,
}

impl Raw {
    pub(super) fn cells(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.ends.len()).map(|at| &self.bytes[self.start(at)..self.ends[at]])
    }

    /// Where cell `at` starts.
    pub(super) fn start(&self, at: usize) -> usize {
        if at == 0 { 0 } else { self.ends[at - 1] }
    }

    /// The bytes of the cell that is being read.
    fn current(&self) -> &[u8] {
        &self.bytes[self.start(self.ends.len())..]
    }
}

/// Why there is no row.
#[derive(Debug)]
pub(super) enum Stop {
    Io(io::Error),
    /// A fault of the row that starts on that line, in that cell.
    Fault {
        line: u64,
        cell: usize,
        fault: TextFault,
    },
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Plain,
    Quoted,
    /// After a quote within quotes, which closes the cell or is the first of two.
    Closed,
    /// After blanks behind the closing quote.
    Behind,
}

/// Reads row after row.
pub(super) struct Splitter<R> {
    source: R,
    delimiter: u8,
    /// Bytes that mean something outside of quotes.
    special: [bool; 256],
    /// Line of the next byte.
    line: u64,
    /// Whether the byte before was CR, so that LF belongs to it.
    after_cr: bool,
}

impl<R: BufRead> Splitter<R> {
    pub(super) fn new(source: R, delimiter: u8) -> Self {
        let mut special = [false; 256];
        for byte in [delimiter, b'"', b'\r', b'\n', 0] {
            special[usize::from(byte)] = true;
        }
        Self { source, delimiter, special, line: 1, after_cr: false }
    }

    /// Skips the rest of the line.
    pub(super) fn skip_line(&mut self) -> io::Result<()> {
        loop {
            let chunk = self.source.fill_buf()?;
            if chunk.is_empty() {
                return Ok(());
            }
            let end = chunk.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
            let used = end.map_or(chunk.len(), |end| end + 1);
            self.after_cr = end.is_some_and(|end| chunk[end] == b'\r');
            self.source.consume(used);
            if end.is_some() {
                self.line += 1;
                return Ok(());
            }
        }
    }

    /// Reads the next row into `row`; false at the end. Empty lines are no rows. `width` is the number of columns, once it is known.
    pub(super) fn read(&mut self, row: &mut Raw, width: Option<usize>) -> Result<bool, Stop> {
        row.bytes.clear();
        row.ends.clear();
        let (mut state, mut begun, mut opened) = (State::Plain, false, self.line);
        loop {
            let chunk = self.source.fill_buf().map_err(Stop::Io)?;
            if chunk.is_empty() {
                let fault = |fault| Err(Stop::Fault { line: opened, cell: row.ends.len(), fault });
                return match (state, begun) {
                    (State::Quoted, _) => fault(TextFault::OpenQuote),
                    (_, false) => Ok(false),
                    _ => {
                        row.ends.push(row.bytes.len());
                        Ok(true)
                    }
                };
            }
            let mut at = 0;
            while at < chunk.len() {
                let byte = chunk[at];
                if std::mem::take(&mut self.after_cr) && byte == b'\n' {
                    if state == State::Quoted {
                        row.bytes.push(byte);
                    }
                    at += 1;
                    continue;
                }
                if !begun {
                    (row.line, opened) = (self.line, self.line);
                }
                let fault = |line, row: &Raw, fault| Err(Stop::Fault { line, cell: row.ends.len(), fault });
                let line_end = matches!(byte, b'\r' | b'\n');
                match state {
                    _ if byte == 0 => return fault(self.line, row, TextFault::Nul),
                    State::Quoted => {
                        let rest = &chunk[at..];
                        let run = rest.iter().position(|byte| matches!(byte, b'"' | b'\r' | b'\n' | 0)).unwrap_or(rest.len());
                        row.bytes.extend_from_slice(&rest[..run]);
                        at += run;
                        if row.current().len() > MAX_CELL {
                            return fault(opened, row, TextFault::LongCell);
                        }
                        match rest.get(run) {
                            Some(b'"') => state = State::Closed,
                            Some(&end @ (b'\r' | b'\n')) => {
                                if self.line == opened
                                    && let Some(end) = swallowed(row, self.delimiter, width)
                                {
                                    return fault(opened, row, TextFault::Swallowed { end });
                                }
                                row.bytes.push(end);
                                self.line += 1;
                                self.after_cr = end == b'\r';
                            }
                            // A byte 0 is met again.
                            _ => continue,
                        }
                        at += 1;
                        continue;
                    }
                    State::Closed if byte == b'"' => {
                        row.bytes.push(byte);
                        state = State::Quoted;
                    }
                    _ if byte == self.delimiter || line_end => {
                        if begun || !line_end {
                            row.ends.push(row.bytes.len());
                            begun = true;
                        }
                        state = State::Plain;
                    }
                    State::Closed | State::Behind if byte == b' ' || byte == b'\t' => state = State::Behind,
                    State::Closed | State::Behind => {
                        let found = shown(chunk[at..].split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default());
                        return fault(opened, row, TextFault::AfterQuote { line: self.line, found });
                    }
                    State::Plain if byte == b'"' => {
                        if !is_padding(row.current()) {
                            return fault(self.line, row, TextFault::StrayQuote);
                        }
                        row.bytes.truncate(row.start(row.ends.len()));
                        (state, begun, opened) = (State::Quoted, true, self.line);
                    }
                    State::Plain => {
                        let rest = &chunk[at..];
                        let run = rest.iter().position(|byte| self.special[usize::from(*byte)]).unwrap_or(rest.len());
                        row.bytes.extend_from_slice(&rest[..run]);
                        (at, begun) = (at + run, true);
                        if row.current().len() > MAX_CELL {
                            return fault(self.line, row, TextFault::LongCell);
                        }
                        continue;
                    }
                }
                if row.bytes.len() > MAX_ROW {
                    return fault(row.line, row, TextFault::LongRow);
                }
                if row.ends.len() > MAX_COLUMNS {
                    return fault(row.line, row, TextFault::ManyColumns);
                }
                at += 1;
                if line_end {
                    self.line += 1;
                    self.after_cr = byte == b'\r';
                    if begun {
                        self.source.consume(at);
                        return Ok(true);
                    }
                }
            }
            self.source.consume(at);
        }
    }
}

impl Splitter<&[u8]> {
    pub(super) fn is_at_end(&self) -> bool {
        self.source.is_empty()
    }
}

/// Whether there are only blanks and byte order marks, which may stand before a quote.
fn is_padding(mut bytes: &[u8]) -> bool {
    loop {
        bytes = bytes.trim_ascii_start();
        match bytes.strip_prefix(MARK) {
            Some(rest) => bytes = rest,
            None => return bytes.is_empty(),
        }
    }
}

/// The end of the first line of a quoted cell if, without the quote, the line would end the row: it then has a cell for every column that is
/// left, and these are label numbers or blank. A sentence that ends so is rare; an open quote that a later one closes is not.
fn swallowed(row: &Raw, delimiter: u8, width: Option<usize>) -> Option<String> {
    let left = width?.checked_sub(row.ends.len() + 1)?;
    let line = row.current();
    let mut cells = line.split(|byte| *byte == delimiter);
    let text = cells.next()?.len();
    let cells: Vec<&str> = cells.map(std::str::from_utf8).collect::<Result<_, _>>().ok()?;
    let is_number = |cell: &&str| cell.contains(|c: char| c.is_ascii_digit());
    let ends_a_row =
        cells.len() == left && cells.iter().all(|cell| Label::parse(cell).is_some()) && cells.iter().any(is_number);
    ends_a_row.then(|| shown(&line[text..]))
}
