//! Template text: prompts made by rule from what a row knows.

use crate::record::{CxrRecord, Finding, Label, Sex, View, Vocabulary};

/// Number of wordings.
pub(super) const WORDINGS: u64 = 4;

/// Template text of a row; it is not a radiologist's report.
///
/// It names the positive findings, with side and severity where the row knows them, and at most `negatives` of those that the row
/// denies. A row whose labels are all unknown gives text without findings.
pub(super) struct Template<'a> {
    pub record: &'a CxrRecord,
    pub vocabulary: &'a Vocabulary,
    /// Whether to state age and sex.
    pub demographics: bool,
    /// Most findings that are denied.
    pub negatives: usize,
    /// What is said where some label is known and none is positive.
    pub no_finding: &'a str,
    /// Which of the denied findings is the first.
    pub turn: u64,
}

impl Template<'_> {
    /// The text in one of the [`WORDINGS`]; others count on from 0 again.
    ///
    /// 0. `Frontal chest radiograph, PA view, 57 year old male. Cardiomegaly and moderate left effusion.`
    /// 1. `PA chest x-ray of a 57 year old male showing cardiomegaly and moderate left effusion.`
    /// 2. `Cardiomegaly. Moderate left effusion. 57 year old male, PA view.`
    /// 3. `Chest radiograph (PA): cardiomegaly, moderate left effusion. 57 year old male.`
    pub fn text(&self, wording: u64) -> String {
        let findings = self.findings();
        let person = self.demographics.then(|| person(self.record, None)).flatten();
        let view = self.record.view.map(view);
        let text = match wording % WORDINGS {
            0 => {
                let technique = match self.record.view {
                    Some(View::Lateral) => "Lateral chest radiograph".to_owned(),
                    Some(other) => format!("Frontal chest radiograph, {} view", self::view(other)),
                    None => "Chest radiograph".to_owned(),
                };
                let technique = [Some(technique), person].into_iter().flatten().collect::<Vec<_>>().join(", ");
                sentences([Some(technique), (!findings.is_empty()).then(|| enumeration(&findings))])
            }
            1 => {
                let view = view.map(|view| format!("{view} ")).unwrap_or_default();
                let of = person.map(|person| format!(" of a {person}")).unwrap_or_default();
                let showing = if findings.is_empty() { String::new() } else { format!(" showing {}", enumeration(&findings)) };
                sentences([Some(format!("{view}chest x-ray{of}{showing}"))])
            }
            2 => {
                let view = view.map(|view| format!("{view} view"));
                let technique: Vec<_> = person.into_iter().chain(view).collect();
                let technique = (!technique.is_empty()).then(|| technique.join(", "));
                let text = sentences(findings.into_iter().map(Some).chain([technique]));
                if text.is_empty() { sentences([Some("Chest radiograph".to_owned())]) } else { text }
            }
            _ => {
                let view = view.map(|view| format!(" ({view})")).unwrap_or_default();
                let list = if findings.is_empty() { String::new() } else { format!(": {}", findings.join(", ")) };
                sentences([Some(format!("Chest radiograph{view}{list}")), person])
            }
        };
        match self.denied() {
            Some(denied) => format!("{text} {denied}"),
            None => text,
        }
    }

    /// `No effusion, pneumothorax or edema.`
    fn denied(&self) -> Option<String> {
        let labels = self.vocabulary.findings().iter().zip(&self.record.labels);
        let mut names: Vec<_> = labels
            .filter(|(finding, label)| **label == Label::Negative && finding.name() != "No Finding")
            .map(|(finding, _)| name(*finding))
            .collect();
        if names.is_empty() || self.negatives == 0 {
            return None;
        }
        let first = self.turn % names.len() as u64;
        names.rotate_left(first as usize);
        names.truncate(self.negatives);
        Some(format!("No {}.", joined(&names, "or")))
    }

    /// The positive findings as phrases; `no_finding` where some label is known and none is positive.
    fn findings(&self) -> Vec<String> {
        let labels = &self.record.labels;
        let positive = self.vocabulary.findings().iter().zip(labels).filter(|(_, label)| **label == Label::Positive);
        let names: Vec<String> = positive
            .map(|(finding, _)| {
                let detail = self.record.details.of(*finding);
                let severity = detail.and_then(|detail| detail.severity).map(|severity| format!("{severity} "));
                let side = detail.and_then(|detail| detail.side).map(|side| format!("{side} "));
                format!("{}{}{}", severity.unwrap_or_default(), side.unwrap_or_default(), name(*finding))
            })
            .filter(|name| name != "no finding")
            .collect();
        if names.is_empty() && labels.iter().any(|label| *label != Label::Missing) {
            return vec![self.no_finding.to_owned()];
        }
        names
    }
}

/// Age and sex as RoentGen-v2's prompts have them (`57 year old male`), with the race if one is given (`57 year old Asian male`);
/// `None` if neither age nor sex is known.
pub(super) fn person(record: &CxrRecord, race: Option<&str>) -> Option<String> {
    let race = race.map(|race| format!("{race} ")).unwrap_or_default();
    let sex = record.sex.map(|sex| match sex {
        Sex::Female => "female",
        Sex::Male => "male",
    });
    match (record.age, sex) {
        (Some(age), Some(sex)) => Some(format!("{} year old {race}{sex}", age.floor())),
        (Some(age), None) => Some(format!("{} year old {race}patient", age.floor())),
        (None, Some(sex)) => Some(format!("{race}{sex}")),
        (None, None) => None,
    }
}

fn view(view: View) -> &'static str {
    match view {
        View::Pa => "PA",
        View::Ap => "AP",
        View::Lateral => "lateral",
    }
}

/// The name of a finding within a sentence.
fn name(finding: Finding) -> String {
    finding.name().replace('_', " ").to_lowercase()
}

/// `a`, `a and b`, `a, b and c`.
fn enumeration(names: &[String]) -> String {
    joined(names, "and")
}

/// As [`enumeration`], with another word before the last.
fn joined(names: &[String], word: &str) -> String {
    match names {
        [] => String::new(),
        [only] => only.clone(),
        [rest @ .., last] => format!("{} {word} {last}", rest.join(", ")),
    }
}

/// The non-empty parts as sentences.
fn sentences(parts: impl IntoIterator<Item = Option<String>>) -> String {
    let sentence = |part: String| {
        let mut letters = part.chars();
        let first = letters.next().into_iter().flat_map(char::to_uppercase);
        first.chain(letters).chain(['.']).collect::<String>()
    };
    parts.into_iter().flatten().map(sentence).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Details, FindingDetail, Laterality, Severity};
    use crate::text::prompt::tests::{record, vocabulary};

    fn texts(record: &CxrRecord) -> [String; 4] {
        let vocabulary = vocabulary();
        let template =
            Template { record, vocabulary: &vocabulary, demographics: true, negatives: 0, no_finding: "no finding", turn: 0 };
        [0, 1, 2, 3].map(|wording| template.text(wording))
    }

    #[test]
    fn every_wording_lists_the_positive_findings() {
        use Label::{Negative, Positive, Uncertain};
        assert_eq!(
            texts(&record([Positive, Positive, Negative])),
            [
                "Frontal chest radiograph, PA view, 57 year old male. Cardiomegaly and effusion.",
                "PA chest x-ray of a 57 year old male showing cardiomegaly and effusion.",
                "Cardiomegaly. Effusion. 57 year old male, PA view.",
                "Chest radiograph (PA): cardiomegaly, effusion. 57 year old male.",
            ]
        );
        assert!(texts(&record([Positive; 3]))[0].ends_with(" Cardiomegaly, effusion and pleural thickening."));
        assert!(texts(&record([Uncertain, Negative, Negative])).iter().all(|text| text.to_lowercase().contains("no finding")));
    }

    #[test]
    fn what_is_unknown_is_not_said() {
        let bare = CxrRecord { age: None, sex: None, view: None, ..record([Label::Missing; 3]) };
        assert_eq!(texts(&bare), ["Chest radiograph.", "Chest x-ray.", "Chest radiograph.", "Chest radiograph."]);
        let old = CxrRecord { sex: None, view: None, ..record([Label::Missing; 3]) };
        assert_eq!(texts(&old)[1], "Chest x-ray of a 57 year old patient.");
        let text = texts(&record([Label::Positive; 3])).concat().to_lowercase();
        assert!(!["left", "right", "bilateral", "mild", "severe"].iter().any(|word| text.contains(word)), "{text}");
    }

    #[test]
    fn sides_and_severities_come_from_the_row() {
        let findings = vocabulary().findings().to_vec();
        let detail = |at: usize, side, severity| FindingDetail { finding: findings[at], side, severity };
        let details = Details {
            findings: vec![
                detail(1, Some(Laterality::Both), Some(Severity::Moderate)),
                detail(0, None, Some(Severity::Mild)),
                // Not positive, so not named.
                detail(2, Some(Laterality::Left), None),
            ],
            ..Details::default()
        };
        let row = CxrRecord { details, ..record([Label::Positive, Label::Positive, Label::Negative]) };
        assert!(texts(&row)[0].ends_with(" Mild cardiomegaly and moderate bilateral effusion."));
    }

    #[test]
    fn denied_findings_are_named_up_to_a_number() {
        use Label::{Missing, Negative, Positive};
        let vocabulary = vocabulary();
        let text = |labels, negatives, turn, wording| {
            let record = record(labels);
            let template = Template {
                record: &record,
                vocabulary: &vocabulary,
                demographics: false,
                negatives,
                no_finding: "no acute findings",
                turn,
            };
            template.text(wording)
        };
        let ill = [Positive, Negative, Negative];
        assert_eq!(text(ill, 5, 0, 1), "PA chest x-ray showing cardiomegaly. No effusion or pleural thickening.");
        assert_eq!(text(ill, 1, 0, 3), "Chest radiograph (PA): cardiomegaly. No effusion.");
        assert_eq!(text(ill, 1, 3, 3), "Chest radiograph (PA): cardiomegaly. No pleural thickening.");
        assert_eq!(text(ill, 0, 0, 2), "Cardiomegaly. PA view.");
        let well = [Negative; 3];
        let expected = "Frontal chest radiograph, PA view. No acute findings. No cardiomegaly, effusion or pleural thickening.";
        assert_eq!(text(well, 3, 0, 0), expected);
        assert_eq!(text([Positive, Missing, Missing], 3, 0, 2), "Cardiomegaly. PA view.", "blank labels are not denied");
    }
}
