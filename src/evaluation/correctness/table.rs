//! A set's scores of the findings that are judged.

use roentgen_classifier::metrics::{Bootstrap, Confusion, MetricsError, Patients};
use roentgen_classifier::predict::op_norm;

use super::heads::Shared;
use super::judge::{CorrectnessSettings, Judged};
use super::report::{Averages, CorrectnessError, Decisions, SetCorrectness};
use super::scores::{Aurocs, Scored, blank_rare, estimate};
use crate::report::Estimate;

/// A column of a row-major table.
pub(super) fn column(values: &[f64], columns: usize, column: usize) -> impl Iterator<Item = f64> {
    values.iter().skip(column).step_by(columns).copied()
}

/// One set's scores of the judged findings, with what came of them.
pub(super) struct Table {
    set: &'static str,
    /// Row-major `[N, F]`.
    plain: Vec<f64>,
    scaled: Vec<f64>,
    /// Without those of rare findings.
    targets: Vec<f64>,
    thresholds: Vec<f64>,
    pub patients: Patients,
    cases: Vec<usize>,
    positives: Vec<usize>,
    unlabelled: usize,
    fewest: usize,
    decisions: Vec<Option<Decisions>>,
    pub aurocs: Aurocs,
    pub replicates: Vec<Aurocs>,
}

impl Table {
    /// The columns of `pairs`; a finding without a pair has no label in this set.
    pub fn new(
        set: &'static str,
        judged: &Judged<'_>,
        pairs: &[Option<Shared>],
        thresholds: Option<&[f32]>,
        settings: &CorrectnessSettings,
    ) -> Result<Self, CorrectnessError> {
        let wrong = |source| CorrectnessError::Metrics { set, source };
        let (images, findings) = (judged.groups.len(), pairs.len());
        let outputs = judged.outputs.len();
        let (mut plain, mut scaled, mut targets) = (Vec::new(), Vec::new(), Vec::new());
        for row in 0..images {
            for (finding, pair) in pairs.iter().enumerate() {
                let Some(Shared { output, label }) = *pair else {
                    [&mut plain, &mut scaled, &mut targets].into_iter().for_each(|values| values.push(f64::NAN));
                    continue;
                };
                let (score, target) =
                    (judged.scores[row * outputs + output], judged.targets[row * judged.labels.len() + label]);
                if !target.is_nan() && !(0.0..=1.0).contains(&score) {
                    return Err(wrong(MetricsError::Probability { row, finding, found: score }));
                }
                plain.push(score);
                scaled.push(thresholds.map_or(score, |points| f64::from(op_norm(score as f32, points[output]))));
                targets.push(target);
            }
        }
        let known = |values: &[f64]| values.iter().any(|target| !target.is_nan());
        let unlabelled = targets.chunks(findings.max(1)).filter(|row| !known(row)).count();
        let cases = (0..findings).map(|finding| column(&targets, findings, finding).filter(|target| !target.is_nan()).count());
        let cases: Vec<usize> = cases.collect();
        let points =
            pairs.iter().map(|pair| thresholds.zip(*pair).map_or(0.5, |(points, pair)| f64::from(points[pair.output])));
        let decisions = (0..findings).map(|finding| {
            let (scores, wanted): (Vec<f64>, Vec<f64>) =
                column(&scaled, findings, finding).zip(column(&targets, findings, finding)).unzip();
            Confusion::new(&scores, &wanted, 0.5)
        });
        let decisions: Vec<Confusion> = decisions.collect::<Result<_, _>>().map_err(wrong)?;
        let thresholds: Vec<f64> = points.collect();
        let decisions = decisions.iter().zip(&thresholds).map(|(counts, threshold)| {
            Some(Decisions {
                threshold: *threshold,
                precision: counts.precision()?,
                recall: counts.recall()?,
                f1: counts.f1()?,
            })
        });
        let decisions = decisions.collect();
        let positives = blank_rare(&mut targets, findings, settings.fewest.max(1));
        let patients = Patients::new(judged.groups);
        let (aurocs, replicates) = if findings == 0 {
            let none =
                Aurocs { findings: Vec::new(), macro_average: f64::NAN, micro_average: f64::NAN, weighted_average: f64::NAN };
            (none, Vec::new())
        } else {
            let scored = Scored::new(&plain, &scaled, targets.clone(), findings).map_err(wrong)?;
            (scored.observed(), scored.resampled(&patients, stream(set, settings.bootstrap)))
        };
        Ok(Self {
            set,
            plain,
            scaled,
            targets,
            thresholds,
            patients,
            cases,
            positives,
            unlabelled,
            fewest: settings.fewest.max(1),
            decisions,
            aurocs,
            replicates,
        })
    }

    /// What came of one finding.
    pub fn finding(&self, column: usize) -> SetCorrectness {
        let auroc = estimate(self.aurocs.findings[column], self.replicates.iter().map(|aurocs| aurocs.findings[column]));
        let (cases, positives, fewest) = (self.cases[column], self.positives[column], self.fewest);
        let negatives = cases - positives;
        let undefined = if cases == 0 {
            Some("no image has a label of it".to_owned())
        } else if positives == 0 {
            Some(format!("none of {cases} images was asked to show it"))
        } else if negatives == 0 {
            Some(format!("all {cases} images were asked to show it"))
        } else if positives.min(negatives) < fewest {
            Some(format!("{positives} images with and {negatives} without it, {fewest} of each are needed"))
        } else {
            None
        };
        SetCorrectness { cases, positives, auroc, undefined, decisions: self.decisions[column] }
    }

    /// Averages over these columns, and the resamples of them.
    pub fn averages(
        &self,
        set: &'static str,
        columns: &[usize],
        settings: &CorrectnessSettings,
    ) -> Result<(Averages, Vec<Aurocs>), CorrectnessError> {
        if columns.is_empty() {
            return Ok((Averages::default(), Vec::new()));
        }
        let all = self.thresholds.len();
        let chosen = |values: &[f64]| -> Vec<f64> {
            values.chunks(all).flat_map(|row| columns.iter().map(|column| row[*column])).collect()
        };
        let (targets, scaled) = (chosen(&self.targets), chosen(&self.scaled));
        let wrong = |source| CorrectnessError::Metrics { set, source };
        let micro_f1 = Confusion::new(&scaled, &targets, 0.5).map_err(wrong)?.f1();
        let f1: Vec<f64> = columns.iter().filter_map(|column| Some(self.decisions[*column]?.f1)).collect();
        let scored = Scored::new(&chosen(&self.plain), &scaled, targets, columns.len()).map_err(wrong)?;
        let observed = scored.observed();
        let replicates = scored.resampled(&self.patients, stream(set, settings.bootstrap));
        let of = |value: fn(&Aurocs) -> f64| -> Option<Estimate> { estimate(value(&observed), replicates.iter().map(value)) };
        let averages = Averages {
            macro_auroc: of(|aurocs| aurocs.macro_average),
            micro_auroc: of(|aurocs| aurocs.micro_average),
            weighted_auroc: of(|aurocs| aurocs.weighted_average),
            macro_f1: Some(f1.iter().sum::<f64>() / f1.len() as f64),
            micro_f1,
        };
        Ok((averages, replicates))
    }

    /// Scores of an image, scaled to operating points.
    pub fn scaled(&self, image: usize) -> &[f64] {
        let findings = self.thresholds.len();
        &self.scaled[image * findings..][..findings]
    }

    /// A sentence on images without any label.
    pub fn unlabelled(&self) -> Option<String> {
        let (set, none, all) = (self.set, self.unlabelled, self.patients.rows());
        let say = || format!("{none} of {all} {set} images have no label of any judged finding; they are not judged.");
        (none > 0).then(say)
    }
}

/// Resamples of the two sets are drawn apart.
pub(super) fn stream(set: &'static str, bootstrap: Bootstrap) -> Bootstrap {
    Bootstrap { seed: if set == "real" { bootstrap.seed ^ 0x5EED_4EA1 } else { bootstrap.seed }, ..bootstrap }
}
