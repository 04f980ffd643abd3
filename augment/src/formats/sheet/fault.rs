//! What can be wrong with the text of a table, before any column has a meaning.

use std::fmt;

/// Most bytes of a cell. A report has a few thousand.
pub(super) const MAX_CELL: usize = 1 << 20;
/// Most bytes of a row.
pub(super) const MAX_ROW: usize = 16 << 20;
/// Most columns.
pub(super) const MAX_COLUMNS: usize = 1 << 16;
/// Most rows.
pub(super) const MAX_ROWS: u64 = 10_000_000;
/// Characters of a cell that an error repeats.
const SHOWN: usize = 40;

/// A row that can't be read as one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TextFault {
    /// A quote that nothing closes.
    OpenQuote,
    /// Text between a closing quote and the end of its cell.
    AfterQuote {
        /// Line on which the quote closes.
        line: u64,
        /// The text.
        found: String,
    },
    /// A quote inside a cell that does not begin with one.
    StrayQuote,
    /// A quoted cell whose first line ends as a whole row does, so that it seems to hold rows of the table.
    Swallowed {
        /// The end of that line.
        end: String,
    },
    /// Bytes that are not text.
    NotUtf8,
    /// A byte 0.
    Nul,
    /// Text in a column that has no name.
    Nameless(String),
    /// A cell beyond the bound.
    LongCell,
    /// A row beyond the bound.
    LongRow,
    /// A header beyond the bound.
    ManyColumns,
    /// Rows beyond the bound.
    ManyRows,
}

impl fmt::Display for TextFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OpenQuote => f.write_str("the quote that opens here is never closed; close it at the end of its cell"),
            Self::AfterQuote { line, found } => write!(
                f,
                "the quoted cell that opens here is closed on line {line} and goes on with `{found}`; close the quote at the end of its \
                 cell, and write a quote inside a quoted cell twice"
            ),
            Self::StrayQuote => f.write_str(
                "a quote in the middle of a cell; put the whole cell in quotes, and write a quote inside a quoted cell twice",
            ),
            Self::Swallowed { end } => write!(
                f,
                "the quoted cell that opens here holds several lines, and the first ends as a row does (`{end}`), so it seems to hold \
                 rows of the table; close the quote at the end of its cell, or, if the text is meant, take out that line break"
            ),
            Self::NotUtf8 => f.write_str(
                "not UTF-8; save the table as UTF-8 (Excel: `CSV UTF-8`; elsewhere `iconv -f WINDOWS-1252 -t UTF-8`, with the encoding that it has)",
            ),
            Self::Nameless(found) => {
                write!(f, "found `{found}` in a column that has no name; name it in the header, or take it out")
            }
            Self::Nul => f.write_str("a byte 0, which no text has; save the table as UTF-8 (UTF-16 needs its byte order mark)"),
            Self::LongCell => write!(f, "a cell of more than {MAX_CELL} bytes; check the quotes around it"),
            Self::LongRow => write!(f, "a row of more than {MAX_ROW} bytes; check its quotes and line ends"),
            Self::ManyColumns => write!(f, "more than {MAX_COLUMNS} cells; check its line ends"),
            Self::ManyRows => write!(f, "more than {MAX_ROWS} rows; read the table in parts"),
        }
    }
}

/// The beginning of a text that an error repeats.
pub(super) fn shown(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let mut kept: String = text.chars().take(SHOWN).collect();
    if kept.len() < text.len() {
        kept.push('…');
    }
    kept
}
