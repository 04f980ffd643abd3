//! Which column of a table holds what.

use std::collections::BTreeMap;

use super::columns::{DETAIL_COLUMNS, LOCATION_COLUMN, SEVERITY_COLUMN, SIDE_COLUMN};
use super::field::{Field, alike};
use crate::AugmentError;
use crate::formats::TableError;
use crate::formats::sheet::Sheet;
use crate::record::Finding;

/// What is said of a table's columns beside their names.
#[derive(Clone, Copy, Debug)]
pub(in crate::formats) struct Declared<'a> {
    /// Column of a field or finding, by the name of either (`data.columns`). Where there is one, columns that nothing else explains are
    /// ignored.
    pub(in crate::formats) columns: &'a BTreeMap<String, String>,
    /// The column of reports (`data.report`).
    pub(in crate::formats) report: Option<&'a str>,
    /// Findings outside the public vocabularies.
    pub(in crate::formats) custom: &'a [Finding],
    /// Columns to ignore.
    pub(in crate::formats) extra: &'a [String],
    /// Columns whose cells are kept, whatever else they are.
    pub(in crate::formats) kept: &'a [String],
    /// Whether well-known names of other tables are taken for fields.
    pub(in crate::formats) guess: bool,
}

/// The columns of fields and findings.
#[derive(Debug)]
pub(in crate::formats) struct Header {
    fields: [Option<usize>; Field::COUNT],
    guessed: Vec<Field>,
    /// Label columns, in the table's order.
    pub(super) findings: Vec<(Finding, usize)>,
    pub(super) sides: Vec<(Finding, usize)>,
    pub(super) severities: Vec<(Finding, usize)>,
    pub(super) locations: Vec<(Finding, usize)>,
    /// Columns that are kept, by the names under which they were asked for; those that this file has.
    pub(super) kept: Vec<(String, usize)>,
    /// What is doubtful, a sentence each.
    pub(super) notes: Vec<String>,
}

/// What a column was found to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Field(Field),
    Finding(Finding),
    Side(Finding),
    Severity(Finding),
    Location(Finding),
}

impl Header {
    /// Finds the columns of `sheet`: those that are declared, then those with the name of a field or a finding in any case, then the
    /// well-known names of other tables.
    pub(in crate::formats) fn of(sheet: &Sheet, declared: Declared<'_>) -> Result<Self, AugmentError> {
        let mut uses = stated(sheet, declared)?;
        let stated = uses.clone();
        let is_extra = |name: &str| declared.extra.iter().any(|extra| alike(extra, name));
        if let Some((_, name)) = sheet.columns.iter().enumerate().find(|(at, name)| uses[*at].is_some() && is_extra(name)) {
            let expected = "it there or in data.columns, not in both";
            return Err(AugmentError::setting(
                "data.extra_columns",
                format!("`{name}`, which data.columns names too"),
                expected,
            ));
        }
        let mut shadowed = Vec::new();
        for (at, name) in sheet.columns.iter().enumerate() {
            if uses[at].is_some() || is_extra(name) {
                continue;
            }
            let Some(found) = by_name(name, declared.custom) else { continue };
            match uses.iter().position(|other| *other == Some(found)) {
                None => uses[at] = Some(found),
                Some(first) if stated[first].is_some() && !declared.columns.is_empty() => shadowed.push(name),
                Some(first) => return Err(duplicate(sheet, name, first)),
            }
        }
        let guessed = if declared.guess { guess(sheet, &mut uses, &shadowed, is_extra)? } else { Vec::new() };
        if declared.guess && !uses.contains(&Some(Use::Field(Field::Image))) {
            let found = quoted(sheet.columns.iter());
            return Err(TableError::NoImageColumn { path: sheet.path.clone(), found }.into());
        }
        let kept: Vec<_> =
            declared.kept.iter().filter_map(|name| Some((name.clone(), kept_column(sheet, name).ok()?))).collect();
        let is_kept = |at: usize| kept.iter().any(|(_, column)| *column == at);
        let unknown = sheet.columns.iter().enumerate();
        let unknown = unknown.filter(|(at, name)| uses[*at].is_none() && !is_extra(name) && !is_kept(*at));
        let unknown: Vec<&String> = unknown.map(|(_, name)| name).collect();
        if let Some(first) = unknown.first().filter(|_| declared.columns.is_empty()) {
            return Err(unknown_column(sheet, first, &unknown, declared.guess));
        }
        let mut notes = guess_note(sheet, &uses, &guessed).into_iter().collect::<Vec<_>>();
        notes.extend(ignored_note(sheet, &unknown));
        Ok(Self { guessed, kept, ..Self::sorted(&uses, notes) })
    }

    fn sorted(uses: &[Option<Use>], notes: Vec<String>) -> Self {
        let mut header = Self {
            fields: [None; Field::COUNT],
            guessed: Vec::new(),
            findings: Vec::new(),
            sides: Vec::new(),
            severities: Vec::new(),
            locations: Vec::new(),
            kept: Vec::new(),
            notes,
        };
        for (at, found) in uses.iter().enumerate() {
            match *found {
                Some(Use::Field(field)) => header.fields[field as usize] = Some(at),
                Some(Use::Finding(finding)) => header.findings.push((finding, at)),
                Some(Use::Side(finding)) => header.sides.push((finding, at)),
                Some(Use::Severity(finding)) => header.severities.push((finding, at)),
                Some(Use::Location(finding)) => header.locations.push((finding, at)),
                None => {}
            }
        }
        header
    }

    /// The column of a field.
    pub(in crate::formats) fn find(&self, field: Field) -> Option<usize> {
        self.fields[field as usize]
    }

    /// The column of a field that the table must have.
    pub(in crate::formats) fn column(&self, field: Field, sheet: &Sheet) -> Result<usize, AugmentError> {
        self.find(field).map_or_else(|| sheet.column(field.name()), Ok)
    }

    /// Whether the column of `field` was taken for it by a name that other tables use.
    pub(super) fn is_guessed(&self, field: Field) -> bool {
        self.guessed.contains(&field)
    }
}

/// The columns that the run file names.
fn stated(sheet: &Sheet, declared: Declared<'_>) -> Result<Vec<Option<Use>>, AugmentError> {
    let mut uses = vec![None; sheet.columns.len()];
    let of_report = declared.report.map(|column| ("data.report".to_owned(), Use::Field(Field::Report), column));
    let mut entries: Vec<_> = of_report.into_iter().collect();
    for (name, column) in declared.columns {
        entries.push((format!("data.columns.{name}"), of_key(name, declared.custom)?, column));
    }
    for (at, (key, meaning, column)) in entries.iter().enumerate() {
        if let Some((first, ..)) = entries[..at].iter().find(|(_, other, _)| other == meaning) {
            return Err(AugmentError::setting(key, format!("`{column}`"), format!("it once: {first} says the same")));
        }
        let place = named_column(sheet, key, column)?;
        if uses[place].replace(*meaning).is_some() {
            return Err(AugmentError::setting(key, format!("`{column}`"), "a column that no other key names"));
        }
    }
    Ok(uses)
}

/// The meaning of a key of `data.columns`.
fn of_key(name: &str, custom: &[Finding]) -> Result<Use, AugmentError> {
    if let Some(field) = Field::all().find(|field| field.is_key() && field.name() == name) {
        return Ok(Use::Field(field));
    }
    finding(name, custom).map(Use::Finding).ok_or_else(|| {
        let known =
            "image, patient_id, labels, age, sex, view, split, report or another column of the table, or the name of a finding";
        AugmentError::setting("data.columns", format!("a table with the key `{name}`"), known)
    })
}

/// The place of a column that is to be kept.
pub(super) fn kept_column(sheet: &Sheet, name: &str) -> Result<usize, AugmentError> {
    named_column(sheet, "fairness.columns", name)
}

/// The column called `name`: exactly, or else in another case.
fn named_column(sheet: &Sheet, key: &str, name: &str) -> Result<usize, AugmentError> {
    if let Some(at) = sheet.find(name) {
        // Refuses a second column of that very name.
        return sheet.column(name).map(|_| at);
    }
    let alike: Vec<usize> = (0..sheet.columns.len()).filter(|at| alike(&sheet.columns[*at], name)).collect();
    match alike[..] {
        [at] => Ok(at),
        _ => {
            let columns = quoted(sheet.columns.iter());
            Err(AugmentError::setting(key, format!("`{name}`"), format!("a column of {}: {columns}", sheet.path.display())))
        }
    }
}

/// What a column is by its own name.
fn by_name(name: &str, custom: &[Finding]) -> Option<Use> {
    if let Some(field) = Field::all().find(|field| field.is_named(name)) {
        return Some(Use::Field(field));
    }
    // As written or in any case: the ending is ASCII.
    let ending = |ending: &str| {
        let at = name.len().checked_sub(ending.len()).filter(|at| name.is_char_boundary(*at))?;
        name[at..].eq_ignore_ascii_case(ending).then(|| &name[..at])
    };
    let detail = |name: Option<&str>, make: fn(Finding) -> Use| name.and_then(|name| finding(name, custom)).map(make);
    detail(ending(SIDE_COLUMN), Use::Side)
        .or_else(|| detail(ending(SEVERITY_COLUMN), Use::Severity))
        .or_else(|| detail(ending(LOCATION_COLUMN), Use::Location))
        .or_else(|| finding(name, custom).map(Use::Finding))
}

fn finding(name: &str, custom: &[Finding]) -> Option<Finding> {
    custom.iter().copied().find(|finding| finding.name() == name.trim()).or_else(|| Finding::parse(name).ok())
}

/// Fills in fields whose column has one of their well-known names; one column each, or the run file must say which.
fn guess(
    sheet: &Sheet,
    uses: &mut [Option<Use>],
    shadowed: &[&String],
    is_extra: impl Fn(&str) -> bool,
) -> Result<Vec<Field>, AugmentError> {
    let mut guessed = Vec::new();
    let has_findings = uses.iter().any(|found| matches!(found, Some(Use::Finding(_))));
    for field in Field::all() {
        if uses.contains(&Some(Use::Field(field))) || (field == Field::Labels && has_findings) {
            continue;
        }
        let free =
            |at: &usize| uses[*at].is_none() && !is_extra(&sheet.columns[*at]) && !shadowed.contains(&&sheet.columns[*at]);
        let candidates: Vec<usize> =
            (0..sheet.columns.len()).filter(free).filter(|at| field.may_be(&sheet.columns[*at])).collect();
        match candidates[..] {
            [] => {}
            [at] => {
                uses[at] = Some(Use::Field(field));
                guessed.push(field);
            }
            _ => {
                let names = quoted(candidates.iter().map(|at| &sheet.columns[*at]));
                let expected = format!(
                    "which column of {} it is, of {names}; name the others in data.extra_columns",
                    sheet.path.display()
                );
                return Err(AugmentError::setting(format!("data.columns.{}", field.name()), "absent", expected));
            }
        }
    }
    Ok(guessed)
}

fn duplicate(sheet: &Sheet, name: &str, first: usize) -> AugmentError {
    let (column, first) = (name.to_owned(), sheet.columns[first].clone());
    TableError::DuplicateColumn { path: sheet.path.clone(), column, first }.into()
}

/// The error names the nearest finding, as a misspelt one is what happens most.
fn unknown_column(sheet: &Sheet, first: &str, unknown: &[&String], of_images: bool) -> AugmentError {
    let bare = DETAIL_COLUMNS.iter().find_map(|ending| first.strip_suffix(ending)).unwrap_or(first);
    let suggestion = match Finding::parse(bare) {
        Err(AugmentError::UnknownFinding { suggestion, .. }) => suggestion,
        _ => String::new(),
    };
    let list = unknown.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
    let remedy = if of_images {
        format!(
            "in [data], `extra_columns = [{list}]` ignores what is not needed, `custom_findings` names labels outside the public \
             vocabularies, and `columns = {{ image = \"…\" }}` says which column is which"
        )
    } else {
        "name labels of your own in `custom_findings` of [data] (`generate --custom-finding`), and columns to ignore in `extra_columns` \
         (`generate --extra-column`)"
            .to_owned()
    };
    let columns = unknown.iter().map(|name| (*name).clone()).collect();
    TableError::UnknownColumn { path: sheet.path.clone(), columns, suggestion, remedy }.into()
}

fn guess_note(sheet: &Sheet, uses: &[Option<Use>], guessed: &[Field]) -> Option<String> {
    let column = |field: &Field| uses.iter().position(|found| *found == Some(Use::Field(*field)));
    // CheXpert's column has no other reading.
    let stated = guessed.iter().filter(|field| field.is_key());
    let pairs: Vec<_> =
        stated.filter_map(|field| Some(format!("{} = {:?}", field.name(), sheet.columns[column(field)?]))).collect();
    let note = format!(
        "{}: columns are read as `columns = {{ {} }}`; [data] can say otherwise",
        sheet.path.display(),
        pairs.join(", ")
    );
    (!pairs.is_empty()).then_some(note)
}

fn ignored_note(sheet: &Sheet, unknown: &[&String]) -> Option<String> {
    let names = quoted(unknown.iter().copied());
    let note = format!(
        "{}: columns that data.columns does not name and that are no findings are ignored: {names}",
        sheet.path.display()
    );
    (!unknown.is_empty()).then_some(note)
}

fn quoted<'a>(names: impl Iterator<Item = &'a String>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
