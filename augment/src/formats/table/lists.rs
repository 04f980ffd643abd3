//! A column that lists the findings of each image (`Effusion|Mass`), as Kaggle's and NIH's tables have.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::columns::Wanted;
use super::labels::{FindingSets, List, Separator};
use crate::AugmentError;
use crate::formats::TableError;
use crate::formats::sheet::{Line, Sheet};
use crate::record::{Finding, Label, Vocabulary};

/// The lists in a column as they are written.
pub(super) struct Cells {
    column: usize,
    /// Each list that occurs, few of which differ, with its findings.
    found: Vec<(String, Vec<Finding>)>,
}

impl Cells {
    /// Reads the lists in `column`.
    pub(super) fn read(sheet: &Sheet, column: usize, custom: &[Finding]) -> Result<Self, AugmentError> {
        let mut cells = BTreeMap::<String, u64>::new();
        let (mut lines, mut line) = (sheet.lines()?, Line::default());
        while lines.read(&mut line)? {
            let cell = line.cell(column);
            if !cell.is_empty() && !cells.contains_key(cell) {
                cells.insert(cell.to_owned(), line.number);
            }
        }
        let separator = Separator::of(cells.keys().map(String::as_str));
        let (mut found, mut unknown) = (Vec::new(), Unknown::default());
        let mut cells: Vec<_> = cells.into_iter().collect();
        cells.sort_by_key(|(_, row)| *row);
        for (cell, row) in cells {
            match List::of(separator.names(&cell), custom) {
                List::Findings(findings) => found.push((cell, findings)),
                List::Unknown(names) => unknown.add(row, names),
                List::Contradiction => {
                    let (path, column) = (sheet.path.clone(), sheet.columns[column].clone());
                    let expected = "`No Finding` alone, or names of findings without it".to_owned();
                    return Err(TableError::BadCell { path, row, column, value: cell, expected }.into());
                }
            }
        }
        if let Some(row) = unknown.row {
            let column = sheet.columns[column].clone();
            return Err(TableError::UnknownNames { path: sheet.path.clone(), row, column, names: unknown.names }.into());
        }
        Ok(Self { column, found })
    }

    /// The findings that some list names.
    pub(super) fn findings(&self) -> impl Iterator<Item = Finding> {
        self.found.iter().flat_map(|(_, findings)| findings).copied()
    }
}

/// The lists of a table. A finding that a list doesn't name is negative; a blank cell says nothing.
pub(super) struct Lists {
    column: usize,
    sets: FindingSets,
    /// The labels of each list that occurs.
    cells: HashMap<String, Vec<Label>>,
    /// Findings that are asked for and that no list names.
    unnamed: Vec<Finding>,
}

impl Lists {
    /// The labels of the lists of a table that name the findings in `seen`, those of its other files included. Of an unlabelled table, only
    /// what some list names is a label.
    pub(super) fn new(
        Cells { column, found }: Cells,
        seen: &BTreeSet<Finding>,
        wanted: Wanted<'_>,
        sheet: &Sheet,
    ) -> Result<Self, AugmentError> {
        let asked = wanted.findings.filter(|_| !wanted.unlabelled);
        let (sets, cells) = match (seen.is_empty(), asked, wanted.findings) {
            // What these lists would have named is unknown.
            (true, None, Some(findings)) => (FindingSets::new(seen, Some(findings))?, HashMap::new()),
            (true, None, None) => return Err(TableError::NoFindingColumn { path: sheet.path.clone() }.into()),
            _ => {
                let sets = FindingSets::new(seen, asked)?;
                let cells = found.into_iter().map(|(cell, findings)| (cell, sets.labels(&findings))).collect();
                (sets, cells)
            }
        };
        let unnamed = asked.into_iter().flat_map(|asked| asked.findings());
        let unnamed = unnamed.filter(|finding| finding.name() != "No Finding" && !seen.contains(finding)).copied().collect();
        Ok(Self { column, sets, cells, unnamed })
    }

    pub(super) fn vocabulary(&self) -> &Vocabulary {
        &self.sets.vocabulary
    }

    pub(super) fn labels(&self, line: &Line) -> Vec<Label> {
        let unknown = || vec![Label::Missing; self.sets.vocabulary.len()];
        self.cells.get(line.cell(self.column)).cloned().unwrap_or_else(unknown)
    }

    /// What is doubtful: a finding that no row names has no positive image.
    pub(super) fn note(&self, sheet: &Sheet) -> Option<String> {
        let names = self.unnamed.iter().map(|finding| finding.name()).collect::<Vec<_>>().join(", ");
        let column = &sheet.columns[self.column];
        let note =
            format!("{}: no row of column `{column}` names {names}: all images are negative for it", sheet.path.display());
        (!names.is_empty()).then_some(note)
    }
}

/// Names that are no findings, with the first row that has one.
#[derive(Default)]
struct Unknown {
    row: Option<u64>,
    names: Vec<String>,
}

impl Unknown {
    fn add(&mut self, row: u64, names: Vec<String>) {
        self.row.get_or_insert(row);
        for name in names {
            if !self.names.contains(&name) {
                self.names.push(name);
            }
        }
    }
}
