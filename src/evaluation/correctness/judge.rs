//! A classifier's scores against the labels that were asked for.

use roentgen_classifier::metrics::Bootstrap;

use super::heads::{Shared, shared};
use super::report::{CorrectnessError, CorrectnessReport, FindingCorrectness};
use super::scores::{FEWEST, estimate};
use super::table::{Table, column};
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
/// the scores scaled to operating points where these are given ([`op_norm`](roentgen_classifier::predict::op_norm)). Averages, of both sets, are over the findings that are defined on
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

fn difference(ours: &Table, theirs: &Table, column: usize) -> Option<Estimate> {
    let value = ours.aurocs.findings[column] - theirs.aurocs.findings[column];
    let pairs = ours.replicates.iter().zip(&theirs.replicates);
    estimate(value, pairs.map(|(own, other)| own.findings[column] - other.findings[column]))
}

#[cfg(test)]
mod tests;
