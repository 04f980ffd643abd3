use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{Details, Label, Origin, PatientId, Sex, View};

/// A man of 57, PA.
pub(super) fn record(labels: [Label; 3]) -> CxrRecord {
    CxrRecord {
        id: "a".to_owned(),
        patient_id: Some(PatientId::new("1")),
        labels: labels.to_vec(),
        age: Some(57.0),
        sex: Some(Sex::Male),
        view: Some(View::Pa),
        report: None,
        split: None,
        origin: Origin::Real,
        details: Details::default(),
    }
}

pub(super) fn vocabulary() -> Vocabulary {
    Vocabulary::parse(["Cardiomegaly", "Effusion", "Pleural_Thickening"]).unwrap()
}

fn words(text: &str) -> usize {
    text.split_whitespace().count() + 2
}

fn reported(report: &str) -> CxrRecord {
    CxrRecord { report: Some(report.to_owned()), ..record([Label::Positive, Label::Negative, Label::Negative]) }
}

const REPORT: &str = "IMPRESSION: Stable ___ cardiomegaly, no effusion seen.";

fn prompt(settings: &PromptSettings, record: &CxrRecord) -> Result<Prompt, Dropped> {
    settings.prompt(record, &vocabulary(), &words)
}

fn from(from: PromptFrom) -> PromptSettings {
    PromptSettings { from, ..PromptSettings::default() }
}

#[test]
fn a_prompt_says_what_kind_of_text_it_is() {
    let report = Prompt { text: "Stable cardiomegaly, no effusion seen.".to_owned(), kind: PromptKind::Report };
    let template = "Frontal chest radiograph, PA view, 57 year old male. Cardiomegaly.";
    let template = Prompt { text: template.to_owned(), kind: PromptKind::Template };
    assert_eq!(prompt(&from(PromptFrom::Report), &reported(REPORT)), Ok(report.clone()));
    assert_eq!(prompt(&from(PromptFrom::ReportElseTemplate), &reported(REPORT)), Ok(report));
    assert_eq!(prompt(&from(PromptFrom::Template), &reported(REPORT)), Ok(template.clone()));
    assert_eq!(prompt(&from(PromptFrom::ReportElseTemplate), &reported("Normal.")), Ok(template));
    assert_eq!(prompt(&from(PromptFrom::Report), &reported("Normal.")), Err(Dropped::TooShort));
}

#[test]
fn demographics_begin_the_prompt_as_in_roentgen_v2() {
    let settings = |from| PromptSettings { from, demographics: true, ..PromptSettings::default() };
    let text = |from, record: &CxrRecord| prompt(&settings(from), record).unwrap().text;
    assert_eq!(text(PromptFrom::Report, &reported(REPORT)), "57 year old male. Stable cardiomegaly, no effusion seen.");
    let template = text(PromptFrom::Template, &reported(REPORT));
    assert_eq!(template, "57 year old male. Frontal chest radiograph, PA view. Cardiomegaly.");
    // Nobody's race is made up.
    let details = Details { race: Some("Asian".to_owned()), ..Details::default() };
    let known = CxrRecord { details, sex: Some(Sex::Female), ..reported(REPORT) };
    assert!(text(PromptFrom::Report, &known).starts_with("57 year old Asian female. Stable"));
    let unknown = CxrRecord { age: None, sex: None, ..reported(REPORT) };
    assert!(text(PromptFrom::Report, &unknown).starts_with("Stable"));
}

#[test]
fn the_longest_prompt_counts_its_prefix() {
    let cleaning = ReportCleaning { max_tokens: 10, ..ReportCleaning::default() };
    let short = PromptSettings { from: PromptFrom::Report, cleaning, ..PromptSettings::default() };
    assert!(prompt(&short, &reported(REPORT)).is_ok());
    assert_eq!(prompt(&PromptSettings { demographics: true, ..short }, &reported(REPORT)), Err(Dropped::TooLong));
}

#[test]
fn the_data_sets_own_template_text_is_template_text() {
    let details = Details { template: Some("Mild cardiomegaly.".to_owned()), ..Details::default() };
    let row = CxrRecord { details, ..record([Label::Positive; 3]) };
    let found = prompt(&PromptSettings::default(), &row).unwrap();
    assert_eq!(found, Prompt { text: "Mild cardiomegaly.".to_owned(), kind: PromptKind::Template });
    assert_eq!(prompt(&from(PromptFrom::Report), &row), Err(Dropped::NoReport));
}

#[test]
fn every_row_is_accounted_for() {
    let rows: Vec<_> = [REPORT, "Normal.", "FINDINGS: clear.", "___", REPORT].map(|text| Arc::new(reported(text))).to_vec();
    let strict = from(PromptFrom::Report).apply(&rows, &vocabulary(), &words);
    assert_eq!(strict.rows.len(), 2);
    let dropped = [(Dropped::NoImpression, 1), (Dropped::Empty, 1), (Dropped::TooShort, 1)];
    let expected = PromptSummary { kept: 2, reports: 2, templates: 0, dropped: BTreeMap::from(dropped) };
    assert_eq!(strict.summary, expected);
    let json = serde_json::to_string(&strict.summary).unwrap();
    assert!(json.contains(r#""too-short":1"#), "{json}");
    assert_eq!(serde_json::from_str::<PromptSummary>(&json).unwrap(), expected);
    assert_eq!(
        strict.summary.to_string(),
        "2 prompts: 2 from reports, 0 template text; 3 rows dropped: no impression in the report 1, nothing left of the \
         report 1, report too short 1"
    );
    let lenient = PromptSettings::default().apply(&rows, &vocabulary(), &words).summary;
    assert_eq!((lenient.kept, lenient.reports, lenient.templates, lenient.dropped()), (5, 2, 3, 0));
}

#[test]
fn limits_that_nothing_can_keep_are_refused() {
    let mut settings = PromptSettings::default();
    settings.validate().unwrap();
    settings.cleaning.max_tokens = 5;
    let error = settings.validate().unwrap_err().to_string();
    assert_eq!(error, "prompts.cleaning.max_tokens is 5; write at least 7");
}

proptest! {
    #[test]
    fn wordings_vary_over_rows_and_stay(seed: u64) {
        let settings = PromptSettings { from: PromptFrom::Template, vary: true, seed, ..PromptSettings::default() };
        let row = |i: usize| CxrRecord { id: format!("{i}.png"), ..record([Label::Positive; 3]) };
        let texts: Vec<_> = (0..64).map(|i| prompt(&settings, &row(i)).unwrap().text).collect();
        // In another order, and alone.
        for i in (0..64).rev() {
            prop_assert_eq!(&prompt(&settings, &row(i)).unwrap().text, &texts[i]);
        }
        let distinct: std::collections::BTreeSet<_> = texts.iter().collect();
        prop_assert_eq!(distinct.len() as u64, WORDINGS);
    }
}
