//! What is said of the reports, as numbers.

use serde::{Deserialize, Serialize};

use crate::evaluation::text::{DecoderCard, UncertainAs};

/// Reports that were read off the images beside those that the images were made from or belong to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReportsReport {
    /// Who wrote them: `a small decoder on NETWORK`, or `files`.
    pub by: String,
    /// The decoder, where one was trained here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decoder: Option<DecoderCard>,
    /// What uncertain findings count as.
    pub uncertain: UncertainAs,
    /// Of the synthetic images, against the texts that they were made from.
    pub synthetic: SetText,
    /// Of the real images, against their own reports: the upper row.
    pub real: SetText,
    /// What to know before quoting a number, a sentence each.
    #[serde(skip)]
    pub notes: Vec<String>,
}

/// The reports of one set of images.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SetText {
    /// Pairs that are compared.
    pub reports: usize,
    /// Reports without a word. They count, as 0.
    pub blank: usize,
    /// The figures; empty where there are none.
    pub figures: Vec<TextRow>,
    /// F1 of each finding.
    pub findings: Vec<FindingRow>,
    /// Why there is no figure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undefined: Option<String>,
}

/// One figure with its floors.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TextRow {
    /// Its name, with the reading.
    pub name: String,
    /// BLEU of sacrebleu from 0 to 100, all others from 0 to 1; higher is better.
    pub value: f64,
    /// Ends of the 95 % interval over resamples of patients.
    pub interval: Option<[f64; 2]>,
    /// The same reports dealt to other images: what their language alone gives. `None` for entities.
    pub shuffled: Option<f64>,
    /// The most frequent training report for every image; `None` where no decoder was trained.
    pub most_frequent: Option<f64>,
}

/// One finding.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FindingRow {
    /// Its name.
    pub finding: String,
    /// References that have it.
    pub references: usize,
    /// F1; 0 where no reference has it.
    pub f1: f64,
}

impl SetText {
    /// There is none.
    pub(super) fn undefined(reason: impl Into<String>) -> Self {
        Self { undefined: Some(reason.into()), ..Self::default() }
    }

    /// The figure of that name.
    #[must_use]
    pub fn figure(&self, name: &str) -> Option<&TextRow> {
        self.figures.iter().find(|row| row.name == name)
    }
}

/// A report with the image that it was read off, for `reports.csv`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadReport {
    /// As [`ReportsReport::by`].
    pub by: String,
    /// `real` or `synthetic`.
    pub set: &'static str,
    /// The image.
    pub id: String,
    /// What was read.
    pub generated: String,
    /// What it is compared with.
    pub reference: String,
}
