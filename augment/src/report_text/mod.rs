//! Report text made fit to be a prompt.

mod passes;

use std::fmt;

use serde::{Deserialize, Serialize};

/// Which part of a text is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Section {
    /// The impression: what follows the last `IMPRESSION:` (or `CONCLUSION:`) up to the next heading. A text without any heading
    /// is taken whole, as tables often have a column of impressions.
    #[default]
    Impression,
    /// All of it.
    Whole,
}

/// How reports are cleaned. Every rule is a function of the text alone.
///
/// RoentGen's prompts are impressions of 7 to 77 CLIP tokens, as an independent replication implements it (bokunopica/diff-adj,
/// `scripts/datasets/mimic_datasets_preprocessing.py`). De-identification leaves marks that no film shows: `___` (MIMIC-CXR),
/// `XXXX` (Open-i) and `[** … **]` (older MIMIC releases); these always go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReportCleaning {
    /// The part that is taken.
    pub section: Section,
    /// Strip phrases such as `compared to the prior radiograph`, which no single film can show.
    pub strip_comparisons: bool,
    /// Fewest tokens of a cleaned report, begin and end tokens included.
    pub min_tokens: usize,
    /// Most tokens of a report with its prefix, begin and end tokens included. Template text may be longer, and is cut by the text
    /// encoder.
    pub max_tokens: usize,
}

impl Default for ReportCleaning {
    fn default() -> Self {
        Self { section: Section::Impression, strip_comparisons: false, min_tokens: 7, max_tokens: 77 }
    }
}

/// Why a row has no prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dropped {
    /// It has no report.
    NoReport,
    /// Its report has headings, and none of them is the impression's.
    NoImpression,
    /// Nothing is left of its report.
    Empty,
    /// Its report has fewer tokens than [`ReportCleaning::min_tokens`].
    TooShort,
    /// Its prompt has more tokens than [`ReportCleaning::max_tokens`].
    TooLong,
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoReport => "no report",
            Self::NoImpression => "no impression in the report",
            Self::Empty => "nothing left of the report",
            Self::TooShort => "report too short",
            Self::TooLong => "prompt too long",
        })
    }
}

impl ReportCleaning {
    /// The cleaned text, on one line. Cleaning it again changes nothing, and it is never longer than `text`.
    ///
    /// # Errors
    /// [`Dropped::NoImpression`] and [`Dropped::Empty`].
    pub fn clean(&self, text: &str) -> Result<String, Dropped> {
        let mut text = self.pass(text)?;
        // What one pass leaves can hold what the next one takes: a heading that a mark had hidden, say. Every pass that changes
        // the text takes characters from it or turns other white space into spaces, so this ends.
        loop {
            let next = self.pass(&text)?;
            if next == text {
                return Ok(text);
            }
            text = next;
        }
    }

    /// The cleaned text if it is long enough; `count` gives the tokens of a text, begin and end tokens included.
    ///
    /// # Errors
    /// As [`ReportCleaning::clean`], and [`Dropped::TooShort`].
    pub fn apply(&self, text: &str, count: &dyn Fn(&str) -> usize) -> Result<String, Dropped> {
        let text = self.clean(text)?;
        if count(&text) < self.min_tokens { Err(Dropped::TooShort) } else { Ok(text) }
    }

    fn pass(&self, text: &str) -> Result<String, Dropped> {
        let text = match self.section {
            Section::Whole => text,
            Section::Impression => passes::impression(text).ok_or(Dropped::NoImpression)?,
        };
        let text = passes::without_marks(text);
        let text = if self.strip_comparisons { passes::without_comparisons(&text) } else { text };
        let text = passes::tidy(&text);
        if text.chars().any(char::is_alphanumeric) { Ok(text) } else { Err(Dropped::Empty) }
    }
}

#[cfg(test)]
mod tests;
