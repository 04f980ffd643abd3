//! Rows that can't be read, of a table whose other rows can.

use std::collections::BTreeMap;

use super::TextFault;

/// Rows of one kind that are named; the others are counted.
const NAMED: usize = 3;

/// Why a row can't be read, while those after it can.
#[derive(Clone, Debug)]
pub(super) enum BadRow {
    /// It has so many cells.
    Length { row: u64, cells: usize },
    /// The text of a cell is at fault.
    Cell { row: u64, cell: usize, fault: TextFault },
}

impl BadRow {
    /// What rows of its kind have in common, in words that follow their number.
    fn kind(&self) -> &'static str {
        match self {
            Self::Length { .. } => "more rows have another number of cells than the header",
            Self::Cell { fault: TextFault::NotUtf8, .. } => "more rows are not UTF-8",
            Self::Cell { .. } => "more rows have text in a column that has no name",
        }
    }
}

/// The rows that were left out: the first few of each kind, and how many there are.
#[derive(Debug, Default)]
pub(super) struct BadRows {
    pub(super) named: Vec<BadRow>,
    counts: BTreeMap<&'static str, usize>,
}

impl BadRows {
    pub(super) fn push(&mut self, row: BadRow) {
        let count = self.counts.entry(row.kind()).or_insert(0);
        *count += 1;
        if *count <= NAMED {
            self.named.push(row);
        }
    }

    /// How many are not named, each kind by what it has in common.
    pub(super) fn unnamed(&self) -> impl Iterator<Item = (usize, &'static str)> {
        self.counts.iter().filter(|(_, count)| **count > NAMED).map(|(kind, count)| (count - NAMED, *kind))
    }
}
