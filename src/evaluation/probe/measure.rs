//! What out-of-fold scores are worth, before and after, and by how much they differ.

use rayon::iter::{IntoParallelIterator, ParallelIterator};
use roentgen_classifier::metrics::{Bootstrap, Interval, MetricsError, Patients, Ranking, Summary};
use serde::Serialize;

/// Figures of one probe on one finding.
pub(super) const METRICS: usize = 4;

/// Scores of one finding by one probe on the embeddings of one encoder, each made by a fit that did not see the text.
#[derive(Clone, Debug)]
pub(super) struct OutOfFold {
    /// One ranking per fold, over all rows: those of other folds have no target.
    folds: Vec<Ranking>,
    /// The texts with a target.
    cases: Vec<Case>,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    row: usize,
    fold: usize,
    positive: bool,
    called: bool,
}

impl OutOfFold {
    /// `scores` are logits; `targets` 1, 0 or NaN; `folds` below `count`.
    ///
    /// # Errors
    /// As [`Ranking::new`].
    pub(super) fn new(scores: &[f64], targets: &[f64], folds: &[usize], count: usize) -> Result<Self, MetricsError> {
        let within = |fold: usize| {
            let known = |row: usize| if folds[row] == fold { targets[row] } else { f64::NAN };
            Ranking::new(scores, &(0..scores.len()).map(known).collect::<Vec<_>>())
        };
        let rankings = (0..count).map(within).collect::<Result<_, _>>()?;
        let case = |row: usize| {
            let known = !targets[row].is_nan();
            known.then(|| Case { row, fold: folds[row], positive: targets[row] == 1.0, called: scores[row] >= 0.0 })
        };
        Ok(Self { folds: rankings, cases: (0..scores.len()).filter_map(case).collect() })
    }

    /// AUROC, average precision, F1 and macro F1 where row `r` counts `weights[r]` times; NaN where undefined.
    ///
    /// AUROC and average precision compare texts of one fold alone, as the scores of another come from another fit: the AUROC is the share
    /// of the pairs of a positive and a negative within a fold that are in order, the average precision the mean over folds, weighted by
    /// their positives. F1 is of all texts, at a probability of 1/2; macro F1 is the mean of the F1 of the positives and of the negatives.
    pub(super) fn measure(&self, weights: &[u32]) -> [f64; METRICS] {
        let mut classes = vec![[0.0; 2]; self.folds.len()];
        let mut counts = [[0.0; 2]; 2];
        for case in &self.cases {
            let weight = f64::from(weights[case.row]);
            classes[case.fold][usize::from(case.positive)] += weight;
            counts[usize::from(case.positive)][usize::from(case.called)] += weight;
        }
        let (mut area, mut pairs, mut precision, mut positives) = (0.0, 0.0, 0.0, 0.0);
        for (ranking, [negative, positive]) in self.folds.iter().zip(classes) {
            if let Some(auroc) = ranking.auroc_weighted(weights) {
                area += auroc * negative * positive;
                pairs += negative * positive;
            }
            if let Some(average) = ranking.average_precision_weighted(weights) {
                precision += average * positive;
                positives += positive;
            }
        }
        let [[true_negative, false_positive], [false_negative, true_positive]] = counts;
        let wrong = false_positive + false_negative;
        // With scikit-learn's zero_division of 0.
        let f1 = |right: f64| if right + wrong == 0.0 { 0.0 } else { 2.0 * right / (2.0 * right + wrong) };
        let is_both = pairs > 0.0;
        let macro_f1 = (f1(true_positive) + f1(true_negative)) / 2.0;
        let of_classes = |value: f64| if is_both { value } else { f64::NAN };
        [area / pairs, precision / positives, of_classes(f1(true_positive)), of_classes(macro_f1)]
    }
}

/// A number with its 95 % interval over resampled patients.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Quantity {
    /// On all texts; `None` where undefined.
    pub value: Option<f64>,
    /// Percentile interval; `None` without valid resamples.
    pub interval: Option<Interval>,
    /// Resamples in which it was undefined, as one of the two classes was not drawn; they are left out.
    pub undefined: usize,
}

impl Quantity {
    fn new(value: f64, replicates: &[f64]) -> Self {
        let Summary { interval, undefined, .. } = Summary::new(replicates);
        let value = (!value.is_nan()).then_some(value);
        Self { value, interval: interval.filter(|_| value.is_some()), undefined }
    }
}

/// One figure before and after.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Change {
    /// With the embeddings of the encoder before.
    pub before: Quantity,
    /// With those of the encoder after.
    pub after: Quantity,
    /// After minus before, on the same resamples.
    pub absolute: Quantity,
    /// That divided by before.
    pub relative: Quantity,
}

/// The figures of one probe, on one finding or as the mean over several.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// Area under the ROC curve, over pairs of texts within a fold.
    pub auroc: Change,
    /// Average precision, the mean over folds weighted by positives.
    pub average_precision: Change,
    /// F1 of the positives at a probability of 1/2.
    pub f1: Change,
    /// Mean of the F1 of the positives and of the negatives.
    pub macro_f1: Change,
}

/// Figures of every finding, and the plain mean over findings. All see the same resamples.
///
/// `pairs` has the scores before and after of each finding.
pub(super) fn figures(pairs: &[[OutOfFold; 2]], patients: &Patients, bootstrap: Bootstrap) -> (Vec<Figures>, Figures) {
    let measured = |weights: &[u32]| -> Vec<[[f64; METRICS]; 2]> {
        let mut found: Vec<_> = pairs.iter().map(|pair| [0, 1].map(|side| pair[side].measure(weights))).collect();
        let count = found.len() as f64;
        let mean = |side: usize| std::array::from_fn(|metric| found.iter().map(|pair| pair[side][metric]).sum::<f64>() / count);
        let means = [mean(0), mean(1)];
        found.push(means);
        found
    };
    let whole = measured(&vec![1; patients.rows()]);
    let replicates: Vec<_> = (0..bootstrap.replicates as u64)
        .into_par_iter()
        .map(|replicate| measured(&patients.weights(bootstrap.seed, replicate)))
        .collect();
    let change = |at: usize, metric: usize| {
        let quantity = |value: &dyn Fn(f64, f64) -> f64| {
            let of = |found: &[[[f64; METRICS]; 2]]| value(found[at][0][metric], found[at][1][metric]);
            Quantity::new(of(&whole), &replicates.iter().map(|found| of(found)).collect::<Vec<_>>())
        };
        Change {
            before: quantity(&|before, _| before),
            after: quantity(&|_, after| after),
            absolute: quantity(&|before, after| after - before),
            relative: quantity(&|before, after| if before > 0.0 { (after - before) / before } else { f64::NAN }),
        }
    };
    let figures = |at: usize| Figures {
        auroc: change(at, 0),
        average_precision: change(at, 1),
        f1: change(at, 2),
        macro_f1: change(at, 3),
    };
    ((0..pairs.len()).map(figures).collect(), figures(pairs.len()))
}

/// AUROC of one score on all texts, over pairs within a fold; `None` where undefined.
pub(super) fn auroc(scores: &[f64], targets: &[f64], folds: &[usize], count: usize) -> Result<Option<f64>, MetricsError> {
    let [auroc, ..] = OutOfFold::new(scores, targets, folds, count)?.measure(&vec![1; scores.len()]);
    Ok((!auroc.is_nan()).then_some(auroc))
}
