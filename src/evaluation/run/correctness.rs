//! Whether images show what they were asked for, by each judge that is given.

use roentgen_classifier::metrics::Bootstrap;

use super::groups::by_groups;
use super::report::JudgeReport;
use super::{EvaluationError, EvaluationJob};
use crate::evaluation::correctness::{Columns, CorrectnessError, CorrectnessSettings, Judged, agreements, judge};
use crate::evaluation::features::{ClassifierScores, Extraction, FeatureNetwork, NetworkChoice, extract};
use crate::evaluation::images::{ImageSet, Look};

/// Resamples of an interval.
const REPLICATES: usize = 1_000;

/// What one judge says of both sets.
///
/// # Errors
/// [`EvaluationError`] where it can't judge; that no finding is shared is said in the report.
pub(super) fn by(
    job: &EvaluationJob<'_>,
    choice: &NetworkChoice,
    scores: &ClassifierScores,
    looks: [&[Look]; 2],
) -> Result<JudgeReport, EvaluationError> {
    let extraction = Extraction { batch: job.config.batch, cache: job.cache, progress: job.progress };
    let of = |set, looks| Table::new(set, scores, looks, extraction);
    let (real, synthetic) = (of(job.real, looks[0])?, of(job.synthetic, looks[1])?);
    let settings = CorrectnessSettings {
        thresholds: scores.op_threshs().map(<[f32]>::to_vec),
        bootstrap: Bootstrap { replicates: REPLICATES, seed: job.config.seed },
        ..CorrectnessSettings::default()
    };
    let (labels, real_labels) = (names(job.synthetic), names(job.real));
    let (judged, real_judged) = (synthetic.judged(scores, &labels), real.judged(scores, &real_labels));
    let (correctness, undefined) = match judge(&judged, Some(&real_judged), &settings) {
        Ok(report) => (Some(report), None),
        Err(error @ CorrectnessError::NothingShared { .. }) => (None, Some(error.to_string())),
        Err(error) => return Err(error.into()),
    };
    let records = || (0..job.synthetic.len()).map(|image| job.synthetic.record(image));
    let columns = Columns::of_records(records());
    let agreements = agreements(&judged, &columns, &settings)?;
    let sets = [("synthetic", job.synthetic, &judged), ("real", job.real, &real_judged)];
    let groups = correctness.iter().flat_map(|found| sets.map(|set| by_groups(set, found, settings.bootstrap)));
    let groups = groups.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
    let (weights, preparation) = (choice.to_string(), scores.preparation());
    Ok(JudgeReport { weights, preparation, correctness, undefined, agreements, groups })
}

/// Scores and targets of one set.
struct Table<'a> {
    scores: Vec<f64>,
    targets: Vec<f64>,
    groups: Vec<&'a str>,
}

impl<'a> Table<'a> {
    fn new(
        set: &'a ImageSet,
        scores: &ClassifierScores,
        looks: &[Look],
        extraction: Extraction<'_>,
    ) -> Result<Self, EvaluationError> {
        let made = extract(scores, set, looks, extraction)?;
        Ok(Self {
            scores: made.values.iter().map(|score| f64::from(*score)).collect(),
            targets: (0..set.len()).flat_map(|image| set.targets(image)).collect(),
            groups: (0..set.len()).map(|image| set.patient(image)).collect(),
        })
    }

    fn judged<'b>(&'b self, scores: &'b ClassifierScores, labels: &'b [String]) -> Judged<'b> {
        Judged { outputs: scores.outputs(), scores: &self.scores, labels, targets: &self.targets, groups: &self.groups }
    }
}

fn names(set: &ImageSet) -> Vec<String> {
    set.vocabulary().findings().iter().map(|finding| finding.name().to_owned()).collect()
}
