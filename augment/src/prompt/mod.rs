//! Text that conditions a generator.

mod summary;
mod template;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use self::template::{Template, WORDINGS, person};
use crate::{AugmentError, CxrRecord, Dropped, Fingerprint, ReportCleaning, Vocabulary};

pub use summary::PromptSummary;

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

/// A prompt that knows what kind of text it is.
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
    /// Reports; rows whose report gives no prompt are left out.
    Report,
    /// Template text for every row.
    Template,
    /// Reports, and template text for the rows whose report gives no prompt.
    #[default]
    ReportElseTemplate,
}

/// How prompts are made from rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PromptSettings {
    /// Where the words come from.
    pub from: PromptFrom,
    /// Begin every prompt with RoentGen-v2's `<age> year old <race> <male or female>.`, as far as the row knows these.
    pub demographics: bool,
    /// Word template text in several ways, chosen by seed and row; in the first way if false.
    pub vary: bool,
    /// Seed of that choice.
    pub seed: u64,
    /// How reports are cleaned, and how long prompts may be.
    pub cleaning: ReportCleaning,
}

/// A row with its prompt.
#[derive(Clone, Debug, PartialEq)]
pub struct PromptedRow {
    /// The row.
    pub record: Arc<CxrRecord>,
    /// What it asks for.
    pub prompt: Prompt,
}

/// Rows with prompts, and what became of the others.
#[derive(Clone, Debug, PartialEq)]
pub struct PromptedRows {
    /// The rows that have a prompt, in their order.
    pub rows: Vec<PromptedRow>,
    /// How many rows there were and what became of them; to be shown to whoever asked for the prompts.
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
        let wording = if self.vary { self.wording(record, WORDINGS + u64::from(own.is_some())) } else { 0 };
        match (own, wording) {
            (Some(own), 0) => own.to_owned(),
            (Some(_), wording) => self.built(record, vocabulary, wording - 1),
            (None, wording) => self.built(record, vocabulary, wording),
        }
    }

    fn built(&self, record: &CxrRecord, vocabulary: &Vocabulary, wording: u64) -> String {
        // With the prefix, age and sex are said already.
        Template { record, vocabulary, demographics: !self.demographics }.text(wording)
    }

    fn wording(&self, record: &CxrRecord, wordings: u64) -> u64 {
        let digest = Fingerprint::of(&[b"roentgen wording 1", &self.seed.to_le_bytes(), record.id.as_bytes()]);
        let (first, _) = digest.0.split_first_chunk().expect("a digest has 32 bytes");
        u64::from_le_bytes(*first) % wordings
    }

    /// The text with the prefix, if there is to be one.
    fn prefixed(&self, record: &CxrRecord, text: String) -> String {
        let person = self.demographics.then(|| person(record, record.details.race.as_deref())).flatten();
        match person {
            Some(person) => format!("{person}. {text}"),
            None => text,
        }
    }
}

#[cfg(test)]
mod tests;
