//! What the comparison of texts refuses.

use std::path::PathBuf;

use roentgen_classifier::metrics::MetricsError;

use super::MOST_TOKENS;

/// Why texts can't be compared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// Unequal numbers of texts.
    #[error(
        "{hypotheses} hypotheses for {references} references; give one of each per image, in the same order, an empty text where there is none"
    )]
    Unequal {
        /// References.
        references: usize,
        /// Hypotheses.
        hypotheses: usize,
    },
    /// Another list that has not one entry per report.
    #[error("{what}: {found} for {reports} reports; give one per report, in the same order")]
    Count {
        /// The list.
        what: &'static str,
        /// Reports.
        reports: usize,
        /// Its entries.
        found: usize,
    },
    /// No text at all.
    #[error("there is no report to compare; check that the images have reports")]
    Empty,
    /// References without a word: nothing can be like them.
    #[error("none of the {references} references has a word; check the column of reports")]
    Blank {
        /// References.
        references: usize,
    },
    /// A text too long to align.
    #[error(
        "{which} {report} has {tokens} words, at most {MOST_TOKENS} are compared; give one report per image, not a file of them"
    )]
    Long {
        /// `reference` or `hypothesis`.
        which: &'static str,
        /// Its number, from 0.
        report: usize,
        /// Its tokens.
        tokens: usize,
    },
    /// Labels of another number of findings than the vocabulary has.
    #[error("report {report} has {found} labels, the vocabulary {expected} findings")]
    Labels {
        /// Its number, from 0.
        report: usize,
        /// Findings.
        expected: usize,
        /// Its labels.
        found: usize,
    },
    /// A file that can't be read.
    #[error("can't read {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A line of an entity file.
    #[error(
        "{path}, line {line}: {message}; a line is {{\"id\": \"REPORT\", \"entities\": {{\"1\": {{\"tokens\": \"effusion\", \"label\": \"OBS-DP\", \"relations\": []}}}}}}"
    )]
    Entities {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// A row of a file of reports.
    #[error("{path}, line {line}: {message}; the columns are `id`, `generated` and, where wanted, `reference`")]
    Reports {
        /// The file.
        path: PathBuf,
        /// The line that the row begins on, from 1.
        line: u64,
        /// What is wrong.
        message: String,
    },
    /// A report that one of two entity files lacks.
    #[error(
        "report `{id}` is in {has} and not in {lacks}; both need the same reports, one with empty `entities` where nothing was found"
    )]
    Unpaired {
        /// Its id.
        id: String,
        /// File that has it.
        has: PathBuf,
        /// File that lacks it.
        lacks: PathBuf,
    },
    /// Statistics.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
}
