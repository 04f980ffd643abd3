//! Statistics of classifiers: how good one is, and whether another one is better.
//!
//! Pure functions in f64 over slices. `N` is the number of rows (images), `C` that of findings; tables are row-major `[N, C]`.
//! Scores are any real numbers where only their order counts and probabilities in `[0, 1]` where their value does. Targets are 1
//! (positive), 0 (negative) or NaN (missing: the case is left out). A statistic that the data leave undefined, such as the AUROC
//! of a finding without positives, is `None` and is never replaced by 0.5 or dropped without being counted.
//!
//! ```
//! use roentgen_classifier::metrics::{DeLong, Ranking};
//!
//! let targets = [0.0, 0.0, 1.0, 1.0, f64::NAN, 0.0];
//! let (old, new) = ([0.1, 0.4, 0.35, 0.8, 0.9, 0.2], [0.1, 0.3, 0.4, 0.8, 0.9, 0.5]);
//! let ranking = Ranking::new(&old, &targets)?;
//! assert_eq!(ranking.auroc(), Some(5.0 / 6.0));
//!
//! let delong = DeLong::new(&[&new, &old], &targets)?.expect("two cases of each class");
//! assert_eq!(delong.paired_test(0, 1).p_value, Some(1.0));
//! # Ok::<(), roentgen_classifier::metrics::MetricsError>(())
//! ```

mod agreement;
mod bootstrap;
mod calibration;
mod decisions;
mod delong;
mod error;
mod hanley;
mod proportion;
mod ranking;
mod report;
mod significance;
mod subgroups;
mod table;
#[cfg(test)]
mod testing;

pub use agreement::{AgreementWeights, Gwet, Ratings};
pub use bootstrap::{
    ArmScores, AurocBootstrap, AurocDifference, AurocEstimate, Bootstrap, Draw, Interval, Patients, Scope, Summary,
};
pub use calibration::{Calibration, CalibrationLine, DEFAULT_BINS, ReliabilityBin, brier_score, brier_skill};
pub use decisions::{Confusion, F1, F1Table};
pub use delong::{DeLong, PairedTest};
pub use error::MetricsError;
pub use hanley::HanleyMcNeil;
pub use proportion::Proportion;
pub use ranking::{Ranking, RocCurve};
pub use report::{Average, FindingReport, MultiLabelReport};
pub use significance::{holm, two_sided_p};
pub use subgroups::{Gap, GroupFigures, GroupFinding, GroupedScores, SubgroupFigures, Subgroups};
pub use table::ScoreTable;
