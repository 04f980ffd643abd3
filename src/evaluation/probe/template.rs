//! Whether a text is template text: made by rule from labels.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use roentgen_augment::record::{Finding, Location, Vocabulary};

/// What the project's templates say beside findings, and what RoentGen-v2's prompts begin with.
const FRAME: [&str; 36] = [
    "frontal",
    "lateral",
    "chest",
    "radiograph",
    "x",
    "ray",
    "xray",
    "view",
    "pa",
    "ap",
    "of",
    "a",
    "an",
    "the",
    "showing",
    "with",
    "year",
    "old",
    "male",
    "female",
    "patient",
    "man",
    "woman",
    "and",
    "or",
    "no",
    "normal",
    "acute",
    "mild",
    "moderate",
    "severe",
    "left",
    "right",
    "bilateral",
    "small",
    "large",
];

/// Words of the findings of the public vocabularies, in any of their spellings, and of places in the lung.
static NAMES: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
    let names = Finding::known().flat_map(|(finding, others)| std::iter::once(finding.name()).chain(others.iter().copied()));
    let places = Location::ALL.map(Location::name);
    let names = names.chain(places).flat_map(|name| words(name).collect::<Vec<_>>());
    names.chain(["findings", "in", "at", "apices", "bases"].map(str::to_owned)).collect()
});

/// Whether every word of a text is one that a template has, and a finding is named or denied in it: it is a list of labels.
///
/// A terse report (`Large left effusion.`) is such a list too. What tells templates from reports is how many of the texts are.
pub(in crate::evaluation) fn is_list_of_labels(text: &str, vocabulary: &Vocabulary) -> bool {
    let own: BTreeSet<String> =
        vocabulary.findings().iter().filter(|finding| !finding.is_known()).flat_map(|finding| words(finding.name())).collect();
    let is_number = |word: &str| word.bytes().all(|byte| byte.is_ascii_digit());
    let mut any = false;
    words(text).all(|word| {
        any = true;
        FRAME.contains(&word.as_str()) || NAMES.contains(&word) || own.contains(&word) || is_number(&word)
    }) && any
}

/// Words in small letters; a name's underscores and changes of case part them.
pub(super) fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase)
}

#[cfg(test)]
mod tests {
    use roentgen_augment::record::{CxrRecord, Details, FindingDetail, Label, Laterality, Origin, Severity, Sex, View};
    use roentgen_augment::text::{PromptFrom, PromptSettings};

    use super::*;

    #[test]
    fn every_template_is_seen_and_reports_are_not() {
        let vocabulary = Vocabulary::nih();
        for label in 0..vocabulary.len() {
            let mut labels = vec![Label::Negative; vocabulary.len()];
            labels[label] = Label::Positive;
            labels[(label + 3) % vocabulary.len()] = Label::Positive;
            let finding = vocabulary.findings()[label];
            let details = Details {
                findings: vec![FindingDetail {
                    finding,
                    side: [Some(Laterality::Both), Some(Laterality::Left), None][label % 3],
                    severity: Some(Severity::Mild),
                    location: Location::ALL.get(label).copied(),
                }],
                ..Details::default()
            };
            let record = CxrRecord {
                id: "a".to_owned(),
                patient_id: None,
                labels,
                age: Some(57.0),
                sex: Some(Sex::Female),
                view: Some([View::Pa, View::Ap, View::Lateral][label % 3]),
                report: None,
                split: None,
                origin: Origin::Real,
                details,
            };
            // Every wording, with and without the prefix.
            for seed in 0..24 {
                let settings = PromptSettings {
                    from: PromptFrom::Template,
                    vary: true,
                    seed,
                    negatives: seed as usize % 4,
                    demographics: seed % 2 == 0,
                    no_finding: "no acute findings".to_owned(),
                    ..PromptSettings::default()
                };
                let prompt = settings.prompt(&record, &vocabulary, &|_| 10).unwrap();
                assert!(is_list_of_labels(&prompt.text, &vocabulary), "{}", prompt.text);
            }
        }
        for text in [
            "No acute cardiopulmonary process.",
            "Interval increase in the left pleural effusion, now moderate.",
            "Heart size is normal. Lungs are clear.",
            "",
            "...",
        ] {
            assert!(!is_list_of_labels(text, &vocabulary), "{text}");
        }
        // A terse report is a list too.
        assert!(is_list_of_labels("Large left effusion.", &vocabulary));
        let own = Vocabulary::new([Finding::custom("Scoliosis of Mine")]).unwrap();
        assert!(is_list_of_labels("Chest radiograph: scoliosis of mine.", &own));
    }
}
