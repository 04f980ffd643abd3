//! Text that conditions a generator.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::template::{Template, WORDINGS, person};
use crate::AugmentError;
use crate::digest::Fingerprint;
use crate::record::{CxrRecord, Vocabulary};
use crate::text::{Dropped, ReportCleaning};

/// What kind of text a prompt is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PromptKind {
    /// Words of a radiologist's report, cleaned.
    Report,
    /// Made by rule from labels, age, sex and view. Never called a report.
    Template,
    /// Typed by somebody, or of unknown origin.
    #[default]
    Free,
}

impl PromptKind {
    /// The word for it in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Report => "report",
            Self::Template => "template",
            Self::Free => "free",
        }
    }

    /// Whether this is [`PromptKind::Free`], which files leave out.
    pub(crate) fn is_free(&self) -> bool {
        *self == Self::Free
    }
}

/// A prompt and the kind of its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// The words.
    pub text: String,
    /// Where they come from.
    pub kind: PromptKind,
}

/// Where the words of prompts come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PromptFrom {
    /// Reports; rows whose report gives no prompt are dropped.
    Report,
    /// Template text for every row.
    Template,
    /// Reports, and template text for the rows whose report gives no prompt.
    #[default]
    ReportElseTemplate,
}

/// Most characters of what is said of an image without findings.
const LONGEST_NO_FINDING: usize = 200;

/// How prompts are made from rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PromptSettings {
    /// Where the words come from.
    pub from: PromptFrom,
    /// Begin every prompt with RoentGen-v2's `<age> year old <race> <male or female>.`, as far as the row knows these.
    pub demographics: bool,
    /// Vary the wording of template text by seed and row; the first wording if false.
    pub vary: bool,
    /// Seed of that choice.
    pub seed: u64,
    /// Most findings that template text denies (`No effusion or edema.`): the first that the row has labelled negative, or, with `vary`, such
    /// that another row begins with another. 0 denies none.
    pub negatives: usize,
    /// What template text says of a row with known labels of which none is positive, such as `no acute findings`.
    pub no_finding: String,
    /// How reports are cleaned, and how long prompts may be.
    pub cleaning: ReportCleaning,
}

impl Default for PromptSettings {
    fn default() -> Self {
        Self {
            from: PromptFrom::default(),
            demographics: false,
            vary: false,
            seed: 0,
            negatives: 0,
            no_finding: "no finding".to_owned(),
            cleaning: ReportCleaning::default(),
        }
    }
}

/// A row with its prompt.
#[derive(Clone, Debug, PartialEq)]
pub struct PromptedRow {
    /// The row.
    pub record: Arc<CxrRecord>,
    /// Its prompt.
    pub prompt: Prompt,
}

/// Rows with prompts, and what became of the others.
#[derive(Clone, Debug, PartialEq)]
pub struct PromptedRows {
    /// The rows that have a prompt, in their order.
    pub rows: Vec<PromptedRow>,
    /// How many rows there were and what became of them; to be shown to the user.
    pub summary: PromptSummary,
}

/// Template text for every row, in the first wording: prompts that need no tokenizer, for generators that read labels.
#[must_use]
pub fn template_prompts(rows: &[Arc<CxrRecord>], vocabulary: &Vocabulary) -> Vec<PromptedRow> {
    let settings = PromptSettings::default();
    let prompted = |record: &Arc<CxrRecord>| {
        let prompt = Prompt { text: settings.template(record, vocabulary), kind: PromptKind::Template };
        PromptedRow { record: Arc::clone(record), prompt }
    };
    rows.iter().map(prompted).collect()
}

impl PromptSettings {
    /// Refuses limits that nothing can keep.
    ///
    /// # Errors
    /// [`AugmentError::BadSetting`].
    pub fn validate(&self) -> Result<(), AugmentError> {
        let said = self.no_finding.trim();
        if said.is_empty() || said.chars().count() > LONGEST_NO_FINDING || said.contains(char::is_control) {
            let expected = format!("text of one line and at most {LONGEST_NO_FINDING} characters, such as `no acute findings`");
            return Err(AugmentError::BadSetting {
                key: "prompts.no_finding".to_owned(),
                found: format!("`{said}`"),
                expected,
            });
        }
        let ReportCleaning { min_tokens, max_tokens, .. } = self.cleaning;
        if max_tokens >= min_tokens.max(1) {
            return Ok(());
        }
        let (key, found) = ("prompts.cleaning.max_tokens".to_owned(), max_tokens.to_string());
        Err(AugmentError::BadSetting { key, found, expected: format!("at least {}", min_tokens.max(1)) })
    }

    /// The prompt of a row.
    ///
    /// `count` gives the tokens of a text as the text encoder sees it, begin and end tokens included. Equal settings, rows and
    /// counts give equal prompts.
    ///
    /// # Errors
    /// [`Dropped`] says why the row has none.
    pub fn prompt(
        &self,
        record: &CxrRecord,
        vocabulary: &Vocabulary,
        count: &dyn Fn(&str) -> usize,
    ) -> Result<Prompt, Dropped> {
        let template = || {
            let text = self.prefixed(record, self.template(record, vocabulary));
            Prompt { text, kind: PromptKind::Template }
        };
        match self.from {
            PromptFrom::Report => self.report(record, count),
            PromptFrom::Template => Ok(template()),
            PromptFrom::ReportElseTemplate => Ok(self.report(record, count).unwrap_or_else(|_| template())),
        }
    }

    /// The prompts of many rows, in their order.
    #[must_use]
    pub fn apply(&self, rows: &[Arc<CxrRecord>], vocabulary: &Vocabulary, count: &dyn Fn(&str) -> usize) -> PromptedRows {
        let mut prompted = PromptedRows { rows: Vec::with_capacity(rows.len()), summary: PromptSummary::default() };
        for record in rows {
            let prompt = self.prompt(record, vocabulary, count);
            prompted.summary.add(&prompt);
            prompted.rows.extend(prompt.ok().map(|prompt| PromptedRow { record: Arc::clone(record), prompt }));
        }
        prompted
    }

    fn report(&self, record: &CxrRecord, count: &dyn Fn(&str) -> usize) -> Result<Prompt, Dropped> {
        let report = record.report.as_deref().ok_or(Dropped::NoReport)?;
        let text = self.prefixed(record, self.cleaning.apply(report, count)?);
        if count(&text) > self.cleaning.max_tokens {
            return Err(Dropped::TooLong);
        }
        Ok(Prompt { text, kind: PromptKind::Report })
    }

    /// Template text without the prefix. The data set's own template text is a wording like the others, and the first one.
    fn template(&self, record: &CxrRecord, vocabulary: &Vocabulary) -> String {
        let own = record.details.template.as_deref();
        let wording =
            if self.vary { self.draw(b"roentgen wording 1", record) % (WORDINGS + u64::from(own.is_some())) } else { 0 };
        match (own, wording) {
            (Some(own), 0) => own.to_owned(),
            (Some(_), wording) => self.built(record, vocabulary, wording - 1),
            (None, wording) => self.built(record, vocabulary, wording),
        }
    }

    fn built(&self, record: &CxrRecord, vocabulary: &Vocabulary, wording: u64) -> String {
        // With the prefix, age and sex are already stated.
        let demographics = !self.demographics;
        let turn = if self.vary { self.draw(b"roentgen negatives 1", record) } else { 0 };
        let Self { negatives, no_finding, .. } = self;
        Template { record, vocabulary, demographics, negatives: *negatives, no_finding: no_finding.trim(), turn }.text(wording)
    }

    /// A number that follows from the seed and the row.
    fn draw(&self, purpose: &[u8], record: &CxrRecord) -> u64 {
        let digest = Fingerprint::of(&[purpose, &self.seed.to_le_bytes(), record.id.as_bytes()]);
        let (first, _) = digest.0.split_first_chunk().expect("a digest has 32 bytes");
        u64::from_le_bytes(*first)
    }

    /// The text with the prefix, if one is wanted.
    fn prefixed(&self, record: &CxrRecord, text: String) -> String {
        let person = self.demographics.then(|| person(record, record.details.race.as_deref())).flatten();
        match person {
            Some(person) => format!("{person}. {text}"),
            None => text,
        }
    }
}

/// Counts of rows by what became of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromptSummary {
    /// Rows with a prompt.
    pub kept: usize,
    /// Those of them whose prompt is a report.
    pub reports: usize,
    /// Those of them whose prompt is template text.
    pub templates: usize,
    /// Rows without a prompt, by the rule that dropped them.
    pub dropped: BTreeMap<Dropped, usize>,
}

impl PromptSummary {
    /// Counts one more row.
    pub fn add(&mut self, prompt: &Result<Prompt, Dropped>) {
        match prompt {
            Ok(prompt) => {
                self.kept += 1;
                self.reports += usize::from(prompt.kind == PromptKind::Report);
                self.templates += usize::from(prompt.kind == PromptKind::Template);
            }
            Err(dropped) => *self.dropped.entry(*dropped).or_default() += 1,
        }
    }

    /// Rows without a prompt.
    #[must_use]
    pub fn dropped(&self) -> usize {
        self.dropped.values().sum()
    }
}

impl fmt::Display for PromptSummary {
    /// `412 prompts: 400 from reports, 12 template text; 30 rows dropped: report too short 28, no report 2`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} prompts: {} from reports, {} template text", self.kept, self.reports, self.templates)?;
        if self.dropped() > 0 {
            let rules = self.dropped.iter().map(|(rule, count)| format!("{rule} {count}"));
            write!(f, "; {} rows dropped: {}", self.dropped(), rules.collect::<Vec<_>>().join(", "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::record::{Details, Label, PatientId, Sex, View};

    /// A man of 57, PA.
    pub(crate) fn record(labels: [Label; 3]) -> CxrRecord {
        CxrRecord {
            age: Some(57.0),
            sex: Some(Sex::Male),
            view: Some(View::Pa),
            ..CxrRecord::real("a".to_owned(), Some(PatientId::new("1")), labels.to_vec())
        }
    }

    pub(crate) fn vocabulary() -> Vocabulary {
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
        for bad in ["", " \t", "a\nb", &"x".repeat(201)] {
            let settings = PromptSettings { no_finding: bad.to_owned(), ..PromptSettings::default() };
            assert!(settings.validate().unwrap_err().to_string().starts_with("prompts.no_finding is "), "{bad:?}");
        }
    }

    #[test]
    fn template_text_denies_and_says_that_nothing_is_there() {
        let settings =
            PromptSettings { negatives: 2, no_finding: "no acute findings".to_owned(), ..from(PromptFrom::Template) };
        let well = prompt(&settings, &record([Label::Negative; 3])).unwrap();
        let expected = "Frontal chest radiograph, PA view, 57 year old male. No acute findings. No cardiomegaly or effusion.";
        assert_eq!(well, Prompt { text: expected.to_owned(), kind: PromptKind::Template });
        let varied = PromptSettings { vary: true, negatives: 1, ..settings };
        let denied: std::collections::BTreeSet<_> = (0..64)
            .map(|i| prompt(&varied, &CxrRecord { id: format!("{i}.png"), ..record([Label::Negative; 3]) }).unwrap().text)
            .filter_map(|text| text.rsplit("No ").next().map(str::to_owned))
            .collect();
        assert_eq!(denied.len(), 3, "{denied:?}");
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
}
