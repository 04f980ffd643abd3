//! The scores of some findings on one set, and the statistics of each resample.

use rayon::iter::{IntoParallelIterator, ParallelIterator};
use roentgen_classifier::metrics::{Bootstrap, MetricsError, Patients, Ranking, ScoreTable, Summary};

use crate::report::Estimate;

/// Fewest images with and without a finding for it to be judged.
pub const FEWEST: usize = 10;

/// Blanks the targets of every finding that too few images were asked to show, or too few were asked not to show, and counts the
/// positives of each finding before; `targets` are row-major with one column per finding.
pub fn blank_rare(targets: &mut [f64], findings: usize, fewest: usize) -> Vec<usize> {
    let count = |targets: &[f64], column: usize, wanted: f64| {
        targets.iter().skip(column).step_by(findings).filter(|target| **target == wanted).count()
    };
    let mut positives = Vec::with_capacity(findings);
    for column in 0..findings {
        let asked_for = count(targets, column, 1.0);
        if asked_for < fewest || count(targets, column, 0.0) < fewest {
            targets.iter_mut().skip(column).step_by(findings).for_each(|target| *target = f64::NAN);
        }
        positives.push(asked_for);
    }
    positives
}

/// Scores of `findings` columns with their targets: of each finding ranked as the classifier gave them, and all together as they stand after
/// scaling to operating points.
pub(super) struct Scored {
    findings: Vec<Ranking>,
    pooled: Ranking,
    /// Row-major; the positives of a resample weigh the weighted mean.
    targets: Vec<f64>,
    rows: usize,
}

/// The AUROC of every finding and the three averages; NaN where undefined.
#[derive(Clone, Debug)]
pub(super) struct Aurocs {
    pub findings: Vec<f64>,
    pub macro_average: f64,
    pub micro_average: f64,
    pub weighted_average: f64,
}

impl Scored {
    /// `plain` and `scaled` are row-major like `targets`.
    pub fn new(plain: &[f64], scaled: &[f64], targets: Vec<f64>, findings: usize) -> Result<Self, MetricsError> {
        let table = ScoreTable::new(plain, &targets, findings)?;
        let rankings = (0..findings).map(|finding| table.ranking(finding)).collect();
        let pooled = ScoreTable::new(scaled, &targets, findings)?.pooled();
        let rows = table.rows();
        Ok(Self { findings: rankings, pooled, targets, rows })
    }

    /// Of the set itself.
    pub fn observed(&self) -> Aurocs {
        self.aurocs(&vec![1; self.rows])
    }

    /// Of every resample of `patients`.
    pub fn resampled(&self, patients: &Patients, bootstrap: Bootstrap) -> Vec<Aurocs> {
        let replicate = |replicate| self.aurocs(&patients.weights(bootstrap.seed, replicate as u64));
        (0..bootstrap.replicates).into_par_iter().map(replicate).collect()
    }

    fn aurocs(&self, weights: &[u32]) -> Aurocs {
        let columns = self.findings.len();
        let findings: Vec<f64> =
            self.findings.iter().map(|ranking| ranking.auroc_weighted(weights).unwrap_or(f64::NAN)).collect();
        let each: Vec<u32> = weights.iter().flat_map(|weight| std::iter::repeat_n(*weight, columns)).collect();
        let (mut sum, mut weighted, mut total) = (0.0, 0.0, 0.0);
        for (column, auroc) in findings.iter().enumerate() {
            let targets = self.targets.iter().skip(column).step_by(columns);
            let positives: f64 =
                targets.zip(weights).filter(|(target, _)| **target == 1.0).map(|(_, weight)| f64::from(*weight)).sum();
            sum += auroc;
            weighted += positives * auroc;
            total += positives;
        }
        Aurocs {
            macro_average: sum / columns as f64,
            micro_average: self.pooled.auroc_weighted(&each).unwrap_or(f64::NAN),
            weighted_average: weighted / total,
            findings,
        }
    }
}

/// A value with the interval of its replicates; `None` where either is undefined.
pub(super) fn estimate(value: f64, replicates: impl Iterator<Item = f64>) -> Option<Estimate> {
    let interval = Summary::new(&replicates.collect::<Vec<f64>>()).interval?;
    (!value.is_nan()).then_some(Estimate { value, low: interval.lower, high: interval.upper })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rare_findings_are_blanked_and_counted() {
        let mut targets = vec![1.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, f64::NAN];
        assert_eq!(blank_rare(&mut targets, 2, 2), [2, 1]);
        assert_eq!(targets.iter().step_by(2).copied().collect::<Vec<_>>(), [1.0, 0.0, 1.0, 0.0]);
        assert!(targets.iter().skip(1).step_by(2).all(|target| target.is_nan()));
    }

    #[test]
    fn averages_by_hand() {
        // First finding: 3 of 4 pairs in order; second: the only pair is in order.
        let scores = [0.9, 0.2, 0.3, 0.8, 0.6, 0.0, 0.1, 0.0];
        let targets = vec![1.0, 0.0, 1.0, 1.0, 0.0, f64::NAN, 0.0, f64::NAN];
        let scored = Scored::new(&scores, &scores, targets, 2).unwrap();
        let aurocs = scored.observed();
        assert_eq!((aurocs.findings.as_slice(), aurocs.macro_average), (&[0.75, 1.0][..], 0.875));
        // Two positives and one.
        assert!((aurocs.weighted_average - 2.5 / 3.0).abs() < 1e-12);
        // 0.9, 0.3, 0.8 against 0.2, 0.6, 0.1: 8 of 9.
        assert_eq!(aurocs.micro_average, 8.0 / 9.0);
        let patients = Patients::new(&["a", "b", "c", "d"]);
        let resampled = scored.resampled(&patients, Bootstrap { replicates: 200, seed: 3 });
        let found = estimate(0.75, resampled.iter().map(|aurocs| aurocs.findings[0])).unwrap();
        assert!(found.low <= 0.75 && found.high >= 0.75);
        assert!(estimate(f64::NAN, [0.5].into_iter()).is_none());
    }
}
