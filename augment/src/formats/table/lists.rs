//! A column that lists the findings of each image (`Effusion|Mass`), as Kaggle's and NIH's tables have.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::columns::Wanted;
use super::labels::{FindingSets, List, Separator};
use crate::AugmentError;
use crate::formats::TableError;
use crate::formats::sheet::{Line, Sheet};
use crate::record::{Finding, Label, Vocabulary};

/// The lists of a table. A finding that a list doesn't name is negative; a blank cell says nothing.
pub(super) struct Lists {
    column: usize,
    sets: FindingSets,
    /// Each cell that occurs: few differ.
    cells: HashMap<String, Vec<Label>>,
    /// Findings that are asked for and that no list names.
    unnamed: Vec<Finding>,
}

impl Lists {
    /// Reads the lists in `column`. Of an unlabelled table, only what some list names is a label.
    pub(super) fn read(sheet: &Sheet, column: usize, custom: &[Finding], wanted: Wanted<'_>) -> Result<Self, AugmentError> {
        let mut cells = BTreeMap::<String, u64>::new();
        for line in sheet.lines()? {
            let line = line?;
            let cell = line.cell(column);
            if !cell.is_empty() && !cells.contains_key(cell) {
                cells.insert(cell.to_owned(), line.number);
            }
        }
        let separator = Separator::of(cells.keys().map(String::as_str));
        let (mut found, mut seen, mut unknown) = (Vec::new(), BTreeSet::new(), Unknown::default());
        let mut cells: Vec<_> = cells.into_iter().collect();
        cells.sort_by_key(|(_, row)| *row);
        for (cell, row) in cells {
            match List::of(separator.names(&cell), custom) {
                List::Findings(findings) => {
                    seen.extend(findings.iter().copied());
                    found.push((cell, findings));
                }
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
        let asked = wanted.findings.filter(|_| !wanted.unlabelled);
        if seen.is_empty() && asked.is_none() {
            if let Some(findings) = wanted.findings {
                let sets = FindingSets::new(&seen, Some(findings))?;
                return Ok(Self { column, sets, cells: HashMap::new(), unnamed: Vec::new() });
            }
            return Err(TableError::NoFindingColumn { path: sheet.path.clone() }.into());
        }
        let sets = FindingSets::new(&seen, asked)?;
        let unnamed =
            asked.into_iter().flat_map(|asked| asked.findings()).filter(|f| f.name() != "No Finding" && !seen.contains(f));
        let unnamed = unnamed.copied().collect();
        let cells = found.into_iter().map(|(cell, findings)| (cell, sets.labels(&findings))).collect();
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
