//! Labels from the names of findings: a list in a cell, or the folder an image lies in.

use std::collections::{BTreeMap, BTreeSet};

use crate::AugmentError;
use crate::record::{Finding, Label, Vocabulary};

/// What a name in a list says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::formats) enum Named {
    Finding(Finding),
    /// `No Finding`, `Normal`: every finding is absent.
    Nothing,
}

/// The meaning of `name`; `None` if it is neither a known nor a custom finding.
pub(in crate::formats) fn named(name: &str, custom: &[Finding]) -> Option<Named> {
    let name = name.trim();
    if name.eq_ignore_ascii_case("normal") || name.eq_ignore_ascii_case("no findings") {
        return Some(Named::Nothing);
    }
    let finding = Finding::parse(name).ok().or_else(|| custom.iter().copied().find(|finding| finding.name() == name))?;
    Some(if finding.name() == NO_FINDING { Named::Nothing } else { Named::Finding(finding) })
}

const NO_FINDING: &str = "No Finding";

/// The findings that lists can name, with the labels of a list: a finding that it doesn't name is negative.
#[derive(Debug)]
pub(in crate::formats) struct FindingSets {
    pub(in crate::formats) vocabulary: Vocabulary,
}

impl FindingSets {
    /// Of the findings that some list names, and those `wanted`; in the order of their names.
    pub(in crate::formats) fn new(seen: &BTreeSet<Finding>, wanted: Option<&Vocabulary>) -> Result<Self, AugmentError> {
        let wanted = wanted.into_iter().flat_map(|vocabulary| vocabulary.findings()).copied();
        let findings: BTreeMap<&str, Finding> = seen.iter().copied().chain(wanted).map(|f| (f.name(), f)).collect();
        Ok(Self { vocabulary: Vocabulary::new(findings.into_values())? })
    }

    /// The labels of a list. `No Finding`, where it is wanted as a label, is positive if no finding is named.
    pub(in crate::formats) fn labels(&self, list: &[Finding]) -> Vec<Label> {
        let label = |finding: &Finding| match finding.name() {
            NO_FINDING => list.is_empty(),
            _ => list.contains(finding),
        };
        let binary = |positive| if positive { Label::Positive } else { Label::Negative };
        self.vocabulary.findings().iter().map(|finding| binary(label(finding))).collect()
    }
}

/// The findings of a list of names: none for `No Finding` alone.
pub(in crate::formats) enum List {
    /// These findings and no other.
    Findings(Vec<Finding>),
    /// Names that are no findings.
    Unknown(Vec<String>),
    /// `No Finding` beside a finding.
    Contradiction,
}

impl List {
    pub(in crate::formats) fn of<'a>(names: impl Iterator<Item = &'a str>, custom: &[Finding]) -> Self {
        let (mut findings, mut unknown, mut nothing) = (Vec::new(), Vec::new(), false);
        for name in names {
            match named(name, custom) {
                Some(Named::Finding(finding)) if findings.contains(&finding) => {}
                Some(Named::Finding(finding)) => findings.push(finding),
                Some(Named::Nothing) => nothing = true,
                None => unknown.push(name.trim().to_owned()),
            }
        }
        match (unknown.is_empty(), nothing && !findings.is_empty()) {
            (false, _) => Self::Unknown(unknown),
            (_, true) => Self::Contradiction,
            _ => Self::Findings(findings),
        }
    }
}

/// How names are separated in a column of lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::formats) struct Separator(Option<char>);

impl Separator {
    /// `|` if a cell has one, else `;`, else `,`; no name of a finding has any of them.
    pub(in crate::formats) fn of<'a>(cells: impl Iterator<Item = &'a str> + Clone) -> Self {
        let found = ['|', ';', ','].into_iter().find(|separator| cells.clone().any(|cell| cell.contains(*separator)));
        Self(found)
    }

    /// The names in a cell, without the brackets and quotes of a Python list.
    pub(in crate::formats) fn names(self, cell: &str) -> impl Iterator<Item = &str> {
        let cell = cell.trim();
        let bare = cell.strip_prefix('[').and_then(|cell| cell.strip_suffix(']')).unwrap_or(cell);
        let parts: Box<dyn Iterator<Item = &str>> = match self.0 {
            Some(separator) => Box::new(bare.split(separator)),
            None => Box::new(std::iter::once(bare)),
        };
        parts.map(unquoted).filter(|name| !name.is_empty())
    }
}

fn unquoted(name: &str) -> &str {
    let name = name.trim();
    ['\'', '"'].into_iter().find_map(|quote| name.strip_prefix(quote)?.strip_suffix(quote)).unwrap_or(name).trim()
}
