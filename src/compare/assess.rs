//! From predictions to the numbers of a comparison report.

use roentgen_classifier::metrics::{
    ArmScores, AurocBootstrap, Bootstrap, Calibration, DEFAULT_BINS, DeLong, Interval, MetricsError, MultiLabelReport,
    Patients, Ranking, ReliabilityBin, Scope, ScoreTable, holm,
};
use roentgen_classifier::predict::Predictions;

use crate::report::{CalibrationPoint, Difference, Estimate, FindingReport};

/// Most points of a plotted ROC curve.
const ROC_POINTS: usize = 100;

/// Results of one arm on the test set.
#[derive(Clone, Debug)]
pub struct ArmAssessment {
    /// Mean over seeds of the macro AUROC.
    pub macro_auroc: Option<Estimate>,
    /// Mean over seeds of the AUROC weighted by positives.
    pub weighted_auroc: Option<f64>,
    /// Mean over seeds of the micro AUROC.
    pub micro_auroc: Option<f64>,
    /// Findings without both classes.
    pub undefined: usize,
    /// Macro AUROC of each run.
    pub runs: Vec<Option<f64>>,
    /// By finding.
    pub findings: Vec<FindingReport>,
    /// To the baseline; `None` for the baseline.
    pub difference: Option<Difference>,
}

/// Assesses every arm on the same test rows; `arms[a][s]` are the predictions of arm `a` with seed `s`.
///
/// # Errors
/// [`MetricsError`] if predictions of different rows were mixed, or scores are not numbers.
///
/// # Panics
/// If there is no arm or an arm has no run.
pub fn assess(arms: &[Vec<Predictions>], baseline: usize, bootstrap: Bootstrap) -> Result<Vec<ArmAssessment>, MetricsError> {
    let first = &arms[0][0];
    let (findings, targets) = (first.findings.len(), first.targets.as_slice());
    let scores: Vec<Vec<&[f64]>> = arms.iter().map(|runs| runs.iter().map(|run| run.scores.as_slice()).collect()).collect();
    let patients = Patients::new(&first.patients());
    let resampled = bootstrap.run(&ArmScores { arms: &scores, targets, findings, patients: &patients })?;
    let ensembles: Vec<Vec<f64>> = scores.iter().map(|runs| mean_scores(runs)).collect();

    let arm_assessment = |arm: usize| -> Result<ArmAssessment, MetricsError> {
        let reports = scores[arm].iter().map(|run| MultiLabelReport::new(&ScoreTable::new(run, targets, findings)?));
        let reports: Vec<MultiLabelReport> = reports.collect::<Result<_, _>>()?;
        let against = (arm != baseline).then_some(baseline);
        let mut by_finding = Vec::with_capacity(findings);
        for finding in 0..findings {
            let column = |table: &[f64]| -> Vec<f64> { table.iter().skip(finding).step_by(findings).copied().collect() };
            let (labels, ours) = (column(targets), column(&ensembles[arm]));
            let p_delong = match against {
                Some(base) => {
                    DeLong::new(&[&ours, &column(&ensembles[base])], &labels)?.and_then(|d| d.paired_test(0, 1).p_value)
                }
                None => None,
            };
            let mean = |value: fn(&roentgen_classifier::metrics::FindingReport) -> Option<f64>| {
                mean_of(reports.iter().map(|report| value(&report.findings[finding])))
            };
            by_finding.push(FindingReport {
                finding: first.findings[finding].clone(),
                auroc: estimate(&resampled, arm, Scope::Finding(finding)),
                average_precision: mean(|report| report.average_precision),
                ece: mean(|report| report.calibration_error),
                roc: thinned(&Ranking::new(&ours, &labels)?),
                calibration: reliability(&ours, &labels)?,
                difference: against.and_then(|base| difference(&resampled, arm, base, Scope::Finding(finding), p_delong)),
            });
        }
        correct(&mut by_finding);
        Ok(ArmAssessment {
            macro_auroc: estimate(&resampled, arm, Scope::Macro),
            weighted_auroc: mean_of(reports.iter().map(|report| report.weighted_average.auroc)),
            micro_auroc: mean_of(reports.iter().map(|report| report.micro_average.auroc)),
            undefined: reports[0].undefined,
            runs: reports.iter().map(|report| report.macro_average.auroc).collect(),
            findings: by_finding,
            difference: against.and_then(|base| difference(&resampled, arm, base, Scope::Macro, None)),
        })
    };
    (0..arms.len()).map(arm_assessment).collect()
}

/// Scores averaged over runs.
fn mean_scores(runs: &[&[f64]]) -> Vec<f64> {
    let count = runs.len() as f64;
    (0..runs[0].len()).map(|i| runs.iter().map(|run| run[i]).sum::<f64>() / count).collect()
}

fn mean_of(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let values: Vec<f64> = values.collect::<Option<_>>()?;
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

fn estimate(bootstrap: &AurocBootstrap, arm: usize, scope: Scope) -> Option<Estimate> {
    let auroc = bootstrap.auroc(arm, scope);
    with_interval(auroc.value?, auroc.bootstrap.interval?)
}

fn with_interval(value: f64, interval: Interval) -> Option<Estimate> {
    Some(Estimate { value, low: interval.lower, high: interval.upper })
}

fn difference(bootstrap: &AurocBootstrap, arm: usize, base: usize, scope: Scope, p_delong: Option<f64>) -> Option<Difference> {
    let found = bootstrap.difference(arm, base, scope);
    Some(Difference {
        absolute: with_interval(found.absolute?, found.bootstrap.interval?)?,
        relative: with_interval(found.relative?, found.relative_interval?)?,
        p_bootstrap: found.p_value?,
        p_delong,
        p_holm: None,
    })
}

/// Holm's correction over the findings of one arm.
fn correct(findings: &mut [FindingReport]) {
    let p_values: Vec<Option<f64>> = findings.iter().map(|finding| finding.difference.map(|found| found.p_bootstrap)).collect();
    for (finding, corrected) in findings.iter_mut().zip(holm(&p_values)) {
        if let Some(found) = &mut finding.difference {
            found.p_holm = corrected;
        }
    }
}

/// At most [`ROC_POINTS`] points of the ROC curve, ends included.
fn thinned(ranking: &Ranking) -> Vec<[f64; 2]> {
    let Some(curve) = ranking.roc_curve() else { return Vec::new() };
    let last = curve.false_positive_rate.len() - 1;
    let stride = last.div_ceil(ROC_POINTS).max(1);
    (0..=last)
        .filter(|i| i % stride == 0 || *i == last)
        .map(|i| [curve.false_positive_rate[i], curve.true_positive_rate[i]])
        .collect()
}

/// The bins of a reliability diagram that have cases; none where not both outcomes occur.
fn reliability(probabilities: &[f64], labels: &[f64]) -> Result<Vec<CalibrationPoint>, MetricsError> {
    let occurs = |outcome: f64| labels.contains(&outcome);
    if !occurs(0.0) || !occurs(1.0) {
        return Ok(Vec::new());
    }
    let bins = Calibration::new(probabilities, labels, DEFAULT_BINS)?.map(|found| found.bins).unwrap_or_default();
    let point = |bin: &ReliabilityBin| {
        Some(CalibrationPoint { predicted: bin.confidence?, observed: bin.positive_rate?, count: bin.count })
    };
    Ok(bins.iter().filter_map(point).collect())
}

#[cfg(test)]
mod tests {
    use roentgen_classifier::predict::PredictedRow;

    use super::*;

    /// Ten patients, two findings; the second has no positive.
    fn predictions(scores: [f64; 10]) -> Predictions {
        let row = |i: usize| PredictedRow { image: format!("{i}.png"), patient: format!("p{i}") };
        Predictions {
            rows: (0..10).map(row).collect(),
            findings: vec!["Mass".into(), "Hernia".into()],
            scores: scores.iter().flat_map(|score| [*score, 0.5]).collect(),
            targets: (0..10).flat_map(|i| [f64::from(u8::from(i >= 5)), 0.0]).collect(),
        }
    }

    #[test]
    fn an_undefined_finding_stays_undefined_and_is_counted() {
        let perfect = predictions([0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]);
        let worse = predictions([0.0, 0.1, 0.2, 0.9, 0.4, 0.5, 0.6, 0.7, 0.8, 0.3]);
        let arms = [vec![perfect.clone(), perfect], vec![worse.clone(), worse]];
        let assessed = assess(&arms, 0, Bootstrap { replicates: 200, seed: 1 }).unwrap();
        assert_eq!(assessed[0].macro_auroc.unwrap().value, 1.0);
        assert_eq!((assessed[0].undefined, assessed[0].findings[1].auroc), (1, None));
        assert!(assessed[0].difference.is_none() && assessed[0].findings[0].difference.is_none());
        let difference = assessed[1].difference.unwrap();
        assert!((difference.absolute.value - (assessed[1].macro_auroc.unwrap().value - 1.0)).abs() < 1e-12);
        assert!(difference.absolute.value < 0.0 && difference.absolute.low <= difference.absolute.value);
        assert_eq!(
            assessed[1].findings[0].difference.unwrap().p_holm,
            Some(assessed[1].findings[0].difference.unwrap().p_bootstrap)
        );
    }

    #[test]
    fn reliability_is_that_of_the_bins_with_cases() {
        // Two cases near 0.1, one of them positive; two near 0.9, both positive.
        let points = reliability(&[0.1, 0.12, 0.9, 0.9], &[1.0, 0.0, 1.0, 1.0]).unwrap();
        let expected = [(0.11, 0.5, 2), (0.9, 1.0, 2)];
        assert_eq!(points.len(), 2);
        for (point, (predicted, observed, count)) in points.iter().zip(expected) {
            assert!((point.predicted - predicted).abs() < 1e-12, "{points:?}");
            assert_eq!((point.observed, point.count), (observed, count));
        }
        assert_eq!(reliability(&[0.1, 0.9], &[1.0, f64::NAN]).unwrap(), []);
    }

    #[test]
    fn roc_curves_are_thinned_with_their_ends() {
        let scores: Vec<f64> = (0..1000).map(|i| f64::from(i * 7 % 1000)).collect();
        let targets: Vec<f64> = (0..1000).map(|i| f64::from(u8::from(i % 3 == 0))).collect();
        let roc = thinned(&Ranking::new(&scores, &targets).unwrap());
        assert!(roc.len() <= ROC_POINTS + 2);
        assert_eq!((roc[0], roc[roc.len() - 1]), ([0.0, 0.0], [1.0, 1.0]));
    }
}
