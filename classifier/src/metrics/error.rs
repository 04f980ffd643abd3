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
    /// Arms of a comparison with unequal numbers of runs, of which the same ones are drawn from each.
    #[error("arm {arm} has {found} runs, the first arm {expected}; draw runs only where every arm has the same seeds")]
    UnequalRuns {
        /// The arm, from 0.
        arm: usize,
        /// Runs of the first arm.
        expected: usize,
        /// Its own runs.
        found: usize,
    },
    /// A drawn run or patient that doesn't exist.
    #[error("draw {draw} has {what} {found}, there are {count}; number them from 0")]
    Draw {
        /// The draw, from 0.
        draw: usize,
        /// What was drawn.
        what: &'static str,
        /// The number that was drawn.
        found: usize,
        /// How many there are.
        count: usize,
    },
    /// Ratings that are no whole rows.
    #[error("{ratings} ratings are no whole rows of {raters} raters; give one per subject and rater, missing ones too")]
    Raters {
        /// Ratings.
        ratings: usize,
        /// Raters.
        raters: usize,
    },
    /// A category that is on its scale twice.
    #[error("category {category} is on the scale twice; list each once")]
    RepeatedCategory {
        /// The category.
        category: String,
    },
    /// A rating that is not on the scale.
    #[error(
        "subject {subject} has {found} from rater {rater}, the scale is {categories}; add the category to the scale, or leave the rating out"
    )]
    UnknownCategory {
        /// Row, from 0.
        subject: usize,
        /// Column, from 0.
        rater: usize,
        /// The rating.
        found: String,
        /// The scale.
        categories: String,
    },
    /// Subjects with unequal numbers of ratings where the coefficient needs equal ones.
    #[error(
        "subject {subject} has {found} ratings, the first one {expected}; use Gwet's coefficient, which takes missing ratings"
    )]
    UnequalRatings {
        /// Row, from 0.
        subject: usize,
        /// Ratings of the first subject.
        expected: usize,
        /// Its own ratings.
        found: usize,
    },
    /// More successes than cases.
    #[error("{successes} of {cases} is no proportion; check which is the total")]
    Proportion {
        /// Successes.
        successes: usize,
        /// Cases.
        cases: usize,
    },
    /// A confidence that is none.
    #[error("a confidence of {found} is not between 0 and 1; give 0.95 for 95 %")]
    Confidence {
        /// The value.
        found: f64,
    },
    /// A clip of probabilities that leaves nothing, or leaves 0 and 1.
    #[error("a clip of {found} is not between 0 and 1/2; 1e-12 leaves all but 0 and 1 alone")]
    Clip {
        /// The value.
        found: f64,
    },
    /// A group that doesn't exist.
    #[error(
        "row {row} is in group {found}, there are {groups}; number them from 0, and leave rows of unknown group out with None"
    )]
    Group {
        /// Row, from 0.
        row: usize,
        /// Its group.
        found: usize,
        /// Number of groups.
        groups: usize,
    },
    /// An operating point that no score can be compared with.
    #[error("the threshold of finding {finding} is NaN; choose one on validation data")]
    NanThreshold {
        /// Finding (column), from 0.
        finding: usize,
    },
}
