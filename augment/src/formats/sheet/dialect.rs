//! What separates the cells of a table.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::split::{Raw, Splitter, Stop};

/// Rows of the beginning of a table that its delimiter is guessed from.
const SAMPLED: usize = 200;

/// What stands between two cells of a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Delimiter {
    /// `,`
    #[default]
    #[serde(rename = ",")]
    Comma,
    /// `;`, which spreadsheets write where the comma separates decimals.
    #[serde(rename = ";")]
    Semicolon,
    /// A tab.
    #[serde(rename = "\t", alias = "tab")]
    Tab,
    /// `|`
    #[serde(rename = "|")]
    Pipe,
}

impl Delimiter {
    const ALL: [Self; 4] = [Self::Comma, Self::Semicolon, Self::Tab, Self::Pipe];

    pub(super) fn byte(self) -> u8 {
        match self {
            Self::Comma => b',',
            Self::Semicolon => b';',
            Self::Tab => b'\t',
            Self::Pipe => b'|',
        }
    }
}

impl fmt::Display for Delimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Comma => "`,`",
            Self::Semicolon => "`;`",
            Self::Tab => "tabs",
            Self::Pipe => "`|`",
        })
    }
}

/// The form of a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Dialect {
    pub(super) delimiter: Delimiter,
    /// Whether the first line is Excel's `sep=`, and the second the header.
    pub(super) declared: bool,
    /// Whether the delimiter was guessed.
    pub(super) guessed: bool,
}

/// Why the form of a table is not known.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unclear {
    /// A first line `sep=` with something else.
    Declaration(String),
    /// Several delimiters give equal rows.
    Ambiguous(Delimiter, Delimiter),
}

impl Dialect {
    /// The form of the table that begins with `head`, which is all of it if `whole`; with that delimiter, if one is given.
    pub(super) fn of(head: &[u8], whole: bool, forced: Option<Delimiter>) -> Result<Self, Unclear> {
        let declaration = declaration(head);
        let declared = declaration.is_some();
        if let Some(delimiter) = forced {
            return Ok(Self { delimiter, declared, guessed: false });
        }
        if let Some(text) = declaration {
            let is_declared = |delimiter: &Delimiter| text.as_bytes() == [delimiter.byte()];
            let found = Delimiter::ALL.into_iter().find(is_declared);
            let delimiter = found.ok_or_else(|| Unclear::Declaration(text.to_owned()))?;
            return Ok(Self { delimiter, declared, guessed: false });
        }
        let counted = Delimiter::ALL.map(|delimiter| (delimiter, Counts::of(head, whole, delimiter)));
        let viable: Vec<_> = counted.iter().filter(|(_, counts)| counts.columns > 1).collect();
        let even: Vec<_> = viable.iter().filter(|(_, counts)| counts.even).collect();
        let delimiter = match (&even[..], &viable[..]) {
            ([(only, _)], _) | ([], [(only, _)]) => *only,
            ([(one, _), (other, _), ..], _) => return Err(Unclear::Ambiguous(*one, *other)),
            ([], []) => Delimiter::Comma,
            // Every choice will be refused for its rows: by the one that the header speaks for most.
            ([], several) => {
                several.iter().rev().max_by_key(|(_, counts)| counts.columns).map_or(Delimiter::Comma, |most| most.0)
            }
        };
        Ok(Self { delimiter, declared, guessed: delimiter != Delimiter::Comma })
    }
}

/// What follows `sep=` if that is the first line.
fn declaration(head: &[u8]) -> Option<&str> {
    let line = head.split(|byte| matches!(byte, b'\r' | b'\n')).next()?;
    let line = std::str::from_utf8(line).ok()?.trim_start_matches('\u{feff}').trim_matches('"');
    let (key, value) = line.split_at_checked(4)?;
    key.eq_ignore_ascii_case("sep=").then_some(value)
}

/// How a table falls apart at one delimiter.
struct Counts {
    /// Cells of the header; 0 if it can't be read so.
    columns: usize,
    /// Whether every row can be read and has as many.
    even: bool,
}

impl Counts {
    fn of(head: &[u8], whole: bool, delimiter: Delimiter) -> Self {
        let mut splitter = Splitter::new(head, delimiter.byte());
        let mut row = Raw::default();
        if !matches!(splitter.read(&mut row, None), Ok(true)) {
            return Self { columns: 0, even: false };
        }
        let columns = row.ends.len();
        // Columns without a name at the end of the header may be missing from the rows.
        let named =
            row.cells().collect::<Vec<_>>().iter().rposition(|name| !name.trim_ascii().is_empty()).map_or(0, |at| at + 1);
        let mut even = true;
        for _ in 0..SAMPLED {
            let read = splitter.read(&mut row, None);
            // The last row of a part may be cut.
            if !whole && splitter.is_at_end() {
                break;
            }
            match read {
                Ok(true) => even &= (named..=columns).contains(&row.ends.len()),
                Ok(false) => break,
                Err(Stop::Io(_) | Stop::Fault { .. }) => {
                    even = false;
                    break;
                }
            }
        }
        Self { columns, even }
    }
}
