//! A classifier's scores against the labels that were asked for.

use roentgen_classifier::metrics::{Bootstrap, Confusion, MetricsError, Patients};
use roentgen_classifier::predict::op_norm;

use super::heads::{Shared, shared};
use super::report::{Averages, CorrectnessError, CorrectnessReport, Decisions, FindingCorrectness, SetCorrectness};
use super::scores::{Aurocs, FEWEST, Scored, blank_rare, estimate};
use crate::report::Estimate;

/// A set of images with the scores of a classifier and the labels that were asked for. `N` images, `C` outputs, `L` labels.
#[derive(Clone, Copy, Debug)]
pub struct Judged<'a> {
    /// Names of the classifier's outputs.
    pub outputs: &'a [String],
    /// Probabilities `[N, C]`, before any scaling to operating points.
    pub scores: &'a [f64],
    /// Names of the labels.
    pub labels: &'a [String],
    /// Labels `[N, L]`: 1, 0, or NaN where a prompt says nothing.
    pub targets: &'a [f64],
    /// Patient of each image; of a synthetic one, the patient or the row it was requested from. Images of a group are resampled together.
    pub groups: &'a [&'a str],
}

/// How a set is judged.
#[derive(Clone, Debug)]
pub struct CorrectnessSettings {
    /// Operating point of each output, as torchxrayvision's `op_threshs`: NaN for an output that was never trained. 0.5 without.
    pub thresholds: Option<Vec<f32>>,
    /// Fewest images with and without a finding for it to be judged; 1 judges whatever is defined.
    pub fewest: usize,
    /// The resamples that intervals come from.
    pub bootstrap: Bootstrap,
}

impl Default for CorrectnessSettings {
    fn default() -> Self {
        Self { thresholds: None, fewest: FEWEST, bootstrap: Bootstrap { replicates: 1000, seed: 0 } }
    }
}

/// Judges synthetic images, and real ones beside them, by the same classifier.
///
/// AUROCs of single findings are of the scores as they are. The micro average and F1 compare scores of different outputs, so they are of
/// the scores scaled to operating points where these are given ([`op_norm`]). Averages, of both sets, are over the findings that are defined on
/// all sets. The two sets are resampled apart.
///
/// # Errors
/// [`CorrectnessError`] for empty sets, tables that don't fit, scores that are no probabilities, operating points that are none, or no
/// finding in common.
pub fn judge(
    synthetic: &Judged<'_>,
    real: Option<&Judged<'_>>,
    settings: &CorrectnessSettings,
) -> Result<CorrectnessReport, CorrectnessError> {
    check("synthetic", synthetic)?;
    if let Some(real) = real {
        check("real", real)?;
        if real.outputs != synthetic.outputs {
            return Err(CorrectnessError::OtherClassifier);
        }
    }
    let outputs = synthetic.outputs;
    let thresholds = thresholds(outputs, settings)?;
    let both = shared(outputs, synthetic.labels)?;
    if both.is_empty() {
        let (outputs, labels) = (outputs.join(", "), synthetic.labels.join(", "));
        return Err(CorrectnessError::NothingShared { outputs, labels });
    }
    let all_half = |set: &Judged<'_>, output: usize| column(set.scores, outputs.len(), output).all(|score| score == 0.5);
    let is_untrained = |output: usize| {
        thresholds.as_ref().is_some_and(|points| points[output].is_nan())
            || all_half(synthetic, output) && real.is_none_or(|real| all_half(real, output))
    };
    let judged: Vec<Shared> = both.iter().copied().filter(|pair| !is_untrained(pair.output)).collect();
    let labels_of_real = real.map(|real| shared(outputs, real.labels)).transpose()?;
    let real_pair = |pair: &Shared| labels_of_real.as_ref()?.iter().find(|other| other.output == pair.output).copied();

    let ours: Vec<Option<Shared>> = judged.iter().copied().map(Some).collect();
    let theirs: Vec<Option<Shared>> = judged.iter().map(real_pair).collect();
    let ours = Table::new("synthetic", synthetic, &ours, thresholds.as_deref(), settings)?;
    let theirs = real.map(|real| Table::new("real", real, &theirs, thresholds.as_deref(), settings)).transpose()?;
    let defined = |column: &usize| {
        !ours.aurocs.findings[*column].is_nan()
            && theirs.as_ref().is_none_or(|theirs| !theirs.aurocs.findings[*column].is_nan())
    };
    let averaged: Vec<usize> = (0..judged.len()).filter(defined).collect();
    let our_averages = ours.averages("synthetic", &averaged, settings)?;
    let their_averages = theirs.as_ref().map(|theirs| theirs.averages("real", &averaged, settings)).transpose()?;

    let findings = judged.iter().enumerate().map(|(column, pair)| FindingCorrectness {
        finding: synthetic.labels[pair.label].clone(),
        output: outputs[pair.output].clone(),
        synthetic: ours.finding(column),
        real: theirs.as_ref().filter(|_| real_pair(pair).is_some()).map(|theirs| theirs.finding(column)),
        difference: theirs.as_ref().and_then(|theirs| difference(&ours, theirs, column)),
    });
    let name = |output: usize| outputs[output].clone();
    let without_label = (0..outputs.len()).filter(|output| both.iter().all(|pair| pair.output != *output)).map(name);
    let without_output = (0..synthetic.labels.len()).filter(|label| both.iter().all(|pair| pair.label != *label));
    Ok(CorrectnessReport {
        images: synthetic.groups.len(),
        groups: ours.patients.count(),
        real_images: real.map(|real| real.groups.len()),
        findings: findings.collect(),
        averaged: averaged.iter().map(|column| synthetic.labels[judged[*column].label].clone()).collect(),
        macro_difference: their_averages.as_ref().and_then(|(theirs, replicates)| {
            let (ours, own) = &our_averages;
            let value = ours.macro_auroc?.value - theirs.macro_auroc?.value;
            estimate(value, own.iter().zip(replicates).map(|(own, other)| own.macro_average - other.macro_average))
        }),
        synthetic: our_averages.0,
        real: their_averages.map(|(averages, _)| averages),
        untrained: both.iter().map(|pair| pair.output).filter(|output| is_untrained(*output)).map(name).collect(),
        without_label: without_label.collect(),
        without_output: without_output.map(|label| synthetic.labels[label].clone()).collect(),
        operating_points: thresholds.is_some(),
        notes: [Some(&ours), theirs.as_ref()].into_iter().flatten().filter_map(Table::unlabelled).collect(),
    })
}

/// Tables of the right size with an image.
pub(super) fn check(set: &'static str, judged: &Judged<'_>) -> Result<(), CorrectnessError> {
    let images = judged.groups.len();
    if images == 0 {
        return Err(CorrectnessError::Empty { set });
    }
    let tables = [
        ("scores", judged.scores.len(), judged.outputs.len(), "output"),
        ("targets", judged.targets.len(), judged.labels.len(), "label"),
    ];
    for (what, found, columns, per) in tables {
        let expected = images * columns;
        if found != expected {
            return Err(CorrectnessError::Length { set, what, found, expected, per });
        }
    }
    Ok(())
}

/// The operating points, one per output.
pub(super) fn thresholds(outputs: &[String], settings: &CorrectnessSettings) -> Result<Option<Vec<f32>>, CorrectnessError> {
    let Some(points) = &settings.thresholds else { return Ok(None) };
    if points.len() != outputs.len() {
        return Err(CorrectnessError::Thresholds { found: points.len(), outputs: outputs.len() });
    }
    let possible = |point: &f32| point.is_nan() || (*point > 0.0 && *point < 1.0);
    match points.iter().position(|point| !possible(point)) {
        Some(at) => Err(CorrectnessError::Threshold { output: outputs[at].clone(), found: points[at] }),
        None => Ok(Some(points.clone())),
    }
}

fn column(values: &[f64], columns: usize, column: usize) -> impl Iterator<Item = f64> {
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
    fn averages(
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

    fn unlabelled(&self) -> Option<String> {
        let (set, none, all) = (self.set, self.unlabelled, self.patients.rows());
        let say = || format!("{none} of {all} {set} images have no label of any judged finding; they are not judged.");
        (none > 0).then(say)
    }
}

/// Resamples of the two sets are drawn apart.
pub(super) fn stream(set: &'static str, bootstrap: Bootstrap) -> Bootstrap {
    Bootstrap { seed: if set == "real" { bootstrap.seed ^ 0x5EED_4EA1 } else { bootstrap.seed }, ..bootstrap }
}

fn difference(ours: &Table, theirs: &Table, column: usize) -> Option<Estimate> {
    let value = ours.aurocs.findings[column] - theirs.aurocs.findings[column];
    let pairs = ours.replicates.iter().zip(&theirs.replicates);
    estimate(value, pairs.map(|(own, other)| own.findings[column] - other.findings[column]))
}

#[cfg(test)]
mod tests;
