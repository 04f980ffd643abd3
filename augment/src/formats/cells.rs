//! How cells spell nothing, ages, sexes, views and splits; the latter with the words of their errors.

use crate::record::{Label, Laterality, Location, Severity, Sex, Split, View};
use crate::text::PromptKind;

/// A cell that says nothing, in whole: what pandas takes for missing, in upper or lower case, and a dash.
const BLANKS: [&str; 12] = ["nan", "na", "n/a", "none", "null", "<na>", "nat", "-nan", "#n/a", "#na", "#n/a n/a", DASH];

/// Blank everywhere but in a column of labels, where it may mean "negative".
pub(super) const DASH: &str = "-";

/// Whether a trimmed cell says that nothing is known.
pub(super) fn is_blank(cell: &str) -> bool {
    // Few cells begin like one.
    let begins_so = matches!(cell.as_bytes().first(), Some(b'n' | b'N' | b'<' | b'-' | b'#'));
    cell.is_empty() || (begins_so && cell.len() <= 8 && BLANKS.iter().any(|blank| blank.eq_ignore_ascii_case(cell)))
}

/// A cell's meaning: what an error says was expected, and the reading itself.
pub(super) type Cell<T> = (&'static str, fn(&str) -> Option<T>);

pub(super) const LABEL: Cell<Label> = ("1, 0, -1 (uncertain) or blank", Label::parse);
pub(super) const BINARY: Cell<Label> =
    ("1 or 0", |cell| Label::parse(cell).filter(|l| matches!(l, Label::Positive | Label::Negative)));
pub(super) const AGE: Cell<f32> = ("an age in years such as 57 or 057Y", age);
pub(super) const SEX: Cell<Sex> = ("M or F", sex);
pub(super) const VIEW: Cell<View> = ("PA, AP or L", view);
pub(super) const SIDE: Cell<Laterality> = ("left, right or both", side);
pub(super) const SEVERITY: Cell<Severity> = ("mild, moderate or severe", severity);
pub(super) const LOCATION: Cell<Location> =
    ("upper, middle or lower lobe, upper, middle or lower zone, lingula, apex, base, perihilar or retrocardiac", location);
pub(super) const PROMPT_KIND: Cell<PromptKind> = ("report, template or free", prompt_kind);
pub(super) const SPLIT: Cell<Split> = ("train, valid or test", split);

/// A date or a number, as something that can be compared.
pub(super) const ORDER: Cell<f64> = ("a number or a date such as 2019-03-31 or 2019-03-31 14:05:00", order);
pub(super) const FRONTAL_LATERAL: Cell<Option<View>> =
    ("Frontal or Lateral", |cell| match cell.to_ascii_lowercase().as_str() {
        "frontal" => Some(None),
        "lateral" => Some(Some(View::Lateral)),
        _ => None,
    });

/// `57`, or DICOM's age string `057Y`, `006M`, `003W`, `012D` (PS3.5, value representation AS).
fn age(cell: &str) -> Option<f32> {
    let (number, per_year) = match cell.chars().last()? {
        'Y' => (&cell[..cell.len() - 1], 1.0),
        'M' => (&cell[..cell.len() - 1], 12.0),
        'W' => (&cell[..cell.len() - 1], 52.18),
        'D' => (&cell[..cell.len() - 1], 365.25),
        _ => (cell, 1.0),
    };
    let number: f32 = number.parse().ok()?;
    (number.is_finite() && number >= 0.0).then_some(number / per_year)
}

fn sex(cell: &str) -> Option<Sex> {
    match cell.to_ascii_lowercase().as_str() {
        "m" | "male" => Some(Sex::Male),
        "f" | "female" => Some(Sex::Female),
        _ => None,
    }
}

fn side(cell: &str) -> Option<Laterality> {
    match cell.to_ascii_lowercase().as_str() {
        "left" => Some(Laterality::Left),
        "right" => Some(Laterality::Right),
        "both" | "bilateral" => Some(Laterality::Both),
        _ => None,
    }
}

fn severity(cell: &str) -> Option<Severity> {
    match cell.to_ascii_lowercase().as_str() {
        "mild" => Some(Severity::Mild),
        "moderate" => Some(Severity::Moderate),
        "severe" => Some(Severity::Severe),
        _ => None,
    }
}

/// In any case, and with `_` for the blank.
fn location(cell: &str) -> Option<Location> {
    let cell = cell.replace('_', " ");
    Location::ALL.into_iter().find(|location| location.name().eq_ignore_ascii_case(&cell))
}

fn prompt_kind(cell: &str) -> Option<PromptKind> {
    [PromptKind::Report, PromptKind::Template, PromptKind::Free].into_iter().find(|kind| kind.name() == cell)
}

fn view(cell: &str) -> Option<View> {
    match cell.to_ascii_uppercase().as_str() {
        "PA" => Some(View::Pa),
        "AP" => Some(View::Ap),
        "L" | "LL" | "LATERAL" => Some(View::Lateral),
        _ => None,
    }
}

fn split(cell: &str) -> Option<Split> {
    match cell.to_ascii_lowercase().as_str() {
        "train" => Some(Split::Train),
        "valid" | "val" | "validate" | "validation" => Some(Split::Valid),
        "test" => Some(Split::Test),
        _ => None,
    }
}

/// A number, or the digits of a date and a time as one.
fn order(cell: &str) -> Option<f64> {
    if let Ok(number) = cell.parse::<f64>() {
        return number.is_finite().then_some(number);
    }
    let (date, time) = cell.split_once([' ', 'T']).map_or((cell, None), |(date, time)| (date, Some(time)));
    let numbers =
        |text: &str, separator: char| text.split(separator).map(|part| part.parse::<f64>().ok()).collect::<Option<Vec<_>>>();
    let separator = if date.contains('/') { '/' } else { '-' };
    let day = match numbers(date, separator)?[..] {
        // A year of four digits comes first: 03/04/2019 may be two days.
        [year, month, day] if year >= 1000.0 && (1.0..=12.0).contains(&month) && (1.0..=31.0).contains(&day) => {
            (year * 100.0 + month) * 100.0 + day
        }
        _ => return None,
    };
    let Some(time) = time else { return Some(day) };
    let seconds = match numbers(time.trim_end_matches('Z'), ':')?[..] {
        [hour, minute] => hour * 3600.0 + minute * 60.0,
        [hour, minute, second] => hour * 3600.0 + minute * 60.0 + second,
        _ => return None,
    };
    (0.0..=86_400.0).contains(&seconds).then_some(day + seconds / 100_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_of_both_nih_tables() {
        assert_eq!(age("57"), Some(57.0));
        assert_eq!(age("058Y"), Some(58.0));
        assert_eq!(age("006M"), Some(0.5));
        for bad in ["", "Y", "-3", "old", "nan"] {
            assert_eq!(age(bad), None, "{bad}");
        }
    }

    #[test]
    fn locations_are_one_list() {
        for known in Location::ALL {
            assert_eq!(location(known.name()), Some(known));
            assert_eq!(location(&known.name().to_uppercase().replace(' ', "_")), Some(known));
            assert!(LOCATION.0.contains(known.name().split(' ').next().unwrap()), "{known}");
        }
        assert_eq!(location("lobe"), None);
    }

    #[test]
    fn validation_has_many_names() {
        assert!(["val", "Valid", "validate", "validation"].iter().all(|name| split(name) == Some(Split::Valid)));
        assert_eq!(split("dev"), None);
    }
}
