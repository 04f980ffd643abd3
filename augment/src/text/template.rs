//! Template text: prompts made by rule from what a row knows.

use crate::record::{CxrRecord, Finding, FindingDetail, Label, Laterality, Location, Sex, View, Vocabulary};

/// Number of wordings.
pub(super) const WORDINGS: u64 = 4;

/// Template text of a row; it is not a radiologist's report.
///
/// It names the positive findings, with side, severity and location where the row knows them, and at most `negatives` of those that the row
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
        Some(format!("No {}.", joined(&names, " or")))
    }

    /// The positive findings as phrases; `no_finding` where some label is known and none is positive.
    fn findings(&self) -> Vec<String> {
        let labels = &self.record.labels;
        let positive = self.vocabulary.findings().iter().zip(labels).filter(|(_, label)| **label == Label::Positive);
        let names: Vec<String> = positive
            .map(|(finding, _)| match self.record.details.of(*finding) {
                Some(detail) => phrase(detail),
                None => name(*finding),
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

/// `moderate left lower lobe consolidation`, `small left effusion at the base`.
fn phrase(detail: &FindingDetail) -> String {
    let FindingDetail { finding, side, severity, location } = *detail;
    let both = side == Some(Laterality::Both);
    let (adjective, place) = match location {
        None => (None, ""),
        Some(Location::Apex) => (None, if both { " at the apices" } else { " at the apex" }),
        Some(Location::Base) => (None, if both { " at the bases" } else { " at the base" }),
        Some(Location::Lingula) => (None, " in the lingula"),
        Some(other) => (Some(other.name()), ""),
    };
    let words =
        [severity.map(|severity| severity.to_string()), side.map(|side| side.to_string()), adjective.map(str::to_owned)];
    let words: String = words.into_iter().flatten().map(|word| format!("{word} ")).collect();
    format!("{words}{}{place}", name(finding))
}

/// The name of a finding within a sentence.
fn name(finding: Finding) -> String {
    finding.name().replace('_', " ").to_lowercase()
}

/// `a`, `a and b`, `a, b and c`. After a place there is a comma, since the next finding may begin with one too: `pneumonia in the
/// lingula, and left upper lobe mass`.
fn enumeration(names: &[String]) -> String {
    match names {
        [.., place, _] if ends_in_place(place) => joined(names, ", and"),
        _ => joined(names, " and"),
    }
}

/// Whether a [`phrase`] ends in a place.
fn ends_in_place(phrase: &str) -> bool {
    [" in the ", " at the "].into_iter().any(|place| phrase.contains(place))
}

/// Commas between all but the last two, which `word` joins.
fn joined(names: &[String], word: &str) -> String {
    match names {
        [] => String::new(),
        [only] => only.clone(),
        [rest @ .., last] => format!("{}{word} {last}", rest.join(", ")),
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
    use proptest::prelude::*;

    use super::*;
    use crate::record::{Details, Severity};
    use crate::text::Labeler;
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
        let detail = |at: usize, side, severity| FindingDetail { finding: findings[at], side, severity, location: None };
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
    fn locations_are_said_as_readers_say_them() {
        use Laterality::{Both, Left, Right};
        let of = |name, side, severity, location| {
            let finding = Finding::parse(name).unwrap();
            phrase(&FindingDetail { finding, side, severity, location: Some(location) })
        };
        let small = Some(Severity::Mild);
        assert_eq!(of("Effusion", Some(Left), small, Location::Base), "mild left effusion at the base");
        assert_eq!(of("Atelectasis", Some(Both), None, Location::Base), "bilateral atelectasis at the bases");
        assert_eq!(of("Pneumothorax", Some(Right), None, Location::Apex), "right pneumothorax at the apex");
        assert_eq!(of("Consolidation", Some(Left), None, Location::LowerLobe), "left lower lobe consolidation");
        assert_eq!(of("Pneumonia", None, None, Location::Lingula), "pneumonia in the lingula");
        assert_eq!(of("Edema", Some(Both), small, Location::Perihilar), "mild bilateral perihilar edema");
        assert_eq!(of("Lung Opacity", None, None, Location::Retrocardiac), "retrocardiac lung opacity");
        assert_eq!(of("Mass", Some(Right), None, Location::UpperZone), "right upper zone mass");
    }

    #[test]
    fn a_place_does_not_reach_into_the_next_finding() {
        let findings = vocabulary().findings().to_vec();
        let detail = |at: usize, side, location| FindingDetail { finding: findings[at], side, severity: None, location };
        let details = Details {
            findings: vec![
                detail(0, None, Some(Location::Lingula)),
                detail(1, Some(Laterality::Left), Some(Location::UpperLobe)),
            ],
            ..Details::default()
        };
        let row = CxrRecord { details, ..record([Label::Positive, Label::Positive, Label::Negative]) };
        assert!(texts(&row)[1].ends_with("showing cardiomegaly in the lingula, and left upper lobe effusion."));
    }

    proptest! {
        /// What template text says of a row is what the labeler reads in it.
        #[test]
        fn the_labeler_reads_template_text_back(
            positive in prop::collection::vec(any::<bool>(), 5),
            sides in prop::collection::vec(0..4usize, 5),
            severities in prop::collection::vec(0..4usize, 5),
            locations in prop::collection::vec(0..=Location::ALL.len(), 5),
            wording in 0..WORDINGS,
        ) {
            let vocabulary = Vocabulary::parse(["Atelectasis", "Consolidation", "Effusion", "Pneumonia", "Pneumothorax"]).unwrap();
            let details: Vec<_> = (0..5)
                .filter(|at| positive[*at])
                .map(|at| FindingDetail {
                    finding: vocabulary.findings()[at],
                    side: [None, Some(Laterality::Left), Some(Laterality::Right), Some(Laterality::Both)][sides[at]],
                    severity: [None, Some(Severity::Mild), Some(Severity::Moderate), Some(Severity::Severe)][severities[at]],
                    location: Location::ALL.get(locations[at]).copied(),
                })
                .collect();
            let labels = positive.iter().map(|positive| if *positive { Label::Positive } else { Label::Negative }).collect();
            let row = CxrRecord { labels, details: Details { findings: details.clone(), ..Details::default() }, ..record([Label::Negative; 3]) };
            let template =
                Template { record: &row, vocabulary: &vocabulary, demographics: true, negatives: 2, no_finding: "no finding", turn: 0 };
            let text = template.text(wording);
            let read = Labeler::standard().label(&text);
            for detail in &details {
                let at = Labeler::standard().vocabulary().position(detail.finding).unwrap();
                prop_assert_eq!(read.labels[at], Label::Positive, "{}: {}", detail.finding, text);
                let known = detail.side.is_some() || detail.severity.is_some() || detail.location.is_some();
                let found = read.details.iter().find(|found| found.finding == detail.finding);
                prop_assert_eq!(found, known.then_some(detail), "{}", text);
            }
        }
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
