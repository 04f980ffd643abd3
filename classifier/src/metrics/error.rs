//! Input that the statistics refuse.

/// Input on which a statistic would be meaningless. A statistic that is merely undefined (one class only, no cases) is `None`
/// instead.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MetricsError {
    /// Two slices that describe the same rows differ in length.
    #[error("{what} has {found} values, {expected} expected; give one value per row (and finding), in the same order")]
    Length {
        /// The slice of the wrong length.
        what: &'static str,
        /// Length of the slice that it must match.
        expected: usize,
        /// Its own length.
        found: usize,
    },
    /// A row-major table whose length isn't a multiple of its number of findings.
    #[error("a table of {values} values cannot have rows of {findings} findings; check the number of findings")]
    Ragged {
        /// Values in the table.
        values: usize,
        /// Findings per row.
        findings: usize,
    },
    /// A target that is neither 0, 1 nor missing.
    #[error("target {found} in row {row}, finding {finding}; use 0, 1, or NaN for a missing label")]
    Target {
        /// Row, from 0.
        row: usize,
        /// Finding (column), from 0.
        finding: usize,
        /// The value.
        found: f64,
    },
    /// A score that cannot be ranked.
    #[error("the score in row {row}, finding {finding} is NaN; check the predictions for non-finite logits")]
    NanScore {
        /// Row, from 0.
        row: usize,
        /// Finding (column), from 0.
        finding: usize,
    },
    /// A score outside `[0, 1]` where a probability is needed.
    #[error("score {found} in row {row}, finding {finding} is not a probability; apply the sigmoid to logits first")]
    Probability {
        /// Row, from 0.
        row: usize,
        /// Finding (column), from 0.
        finding: usize,
        /// The value.
        found: f64,
    },
    /// A calibration without bins.
    #[error("calibration needs at least one bin; 10 or 15 are usual")]
    NoBins,
    /// An arm of a comparison without predictions.
    #[error("arm {arm} has no runs; give the scores of at least one training run")]
    NoRuns {
        /// The arm, from 0.
        arm: usize,
    },
}
