//! What a judge says of the images of each group of patients.

use roentgen_classifier::metrics::Bootstrap;
use roentgen_classifier::predict::{PredictedRow, Predictions};

use crate::config::FairnessConfig;
use crate::evaluation::correctness::{CorrectnessError, CorrectnessReport, FindingCorrectness, Judged};
use crate::evaluation::fairness::{Attribute, FairnessJob, JudgedRun, attributes};
use crate::evaluation::images::ImageSet;
use crate::report::FairnessReport;

/// AUROC and under-diagnosis of a set by the sex, age, view and race that its images have or were asked for, over the findings that were
/// judged. `None` if it records none.
///
/// # Errors
/// [`CorrectnessError::Metrics`].
pub(super) fn by_groups(
    (name, set, judged): (&'static str, &ImageSet, &Judged<'_>),
    found: &CorrectnessReport,
    bootstrap: Bootstrap,
) -> Result<Option<FairnessReport>, CorrectnessError> {
    let config = FairnessConfig::default();
    let records: Vec<_> = (0..set.len()).map(|image| Some(set.record(image))).collect();
    let (attributes, _) = attributes(&records, &config);
    let rows =
        (0..set.len()).map(|image| PredictedRow { image: set.id(image).to_owned(), patient: set.patient(image).to_owned() });
    of_rows((name, rows.collect(), judged), &attributes, found, bootstrap)
}

fn of_rows(
    (name, rows, judged): (&'static str, Vec<PredictedRow>, &Judged<'_>),
    attributes: &[Attribute],
    found: &CorrectnessReport,
    bootstrap: Bootstrap,
) -> Result<Option<FairnessReport>, CorrectnessError> {
    let place = |names: &[String], name: &String| names.iter().position(|known| known == name);
    let columns = found.findings.iter().filter_map(|finding| {
        let (output, label) = (place(judged.outputs, &finding.output)?, place(judged.labels, &finding.finding)?);
        Some((finding, output, label))
    });
    let columns: Vec<_> = columns.collect();
    if columns.is_empty() {
        return Ok(None);
    }
    let of = |table: &[f64], width: usize, column: fn(&(&FindingCorrectness, usize, usize)) -> usize| -> Vec<f64> {
        table.chunks(width).flat_map(|row| columns.iter().map(move |columns| row[column(columns)])).collect()
    };
    let test = Predictions {
        rows,
        findings: columns.iter().map(|(finding, ..)| finding.finding.clone()).collect(),
        scores: of(judged.scores, judged.outputs.len(), |(_, output, _)| *output),
        targets: of(judged.targets, judged.labels.len(), |(_, _, label)| *label),
    };
    // The classifier's own, whatever set it judges.
    let threshold =
        |(finding, ..): &(&FindingCorrectness, usize, usize)| finding.synthetic.decisions.map(|decisions| decisions.threshold);
    let thresholds = Some(columns.iter().map(threshold).collect());
    let operating_point = match found.operating_points {
        true => "the classifier's own, one per finding",
        false => "a probability of 0.5, as the classifier has none of its own",
    };
    let arms = [(name.to_owned(), vec![JudgedRun { test, thresholds }])];
    let job = FairnessJob { arms: &arms, attributes, config: &FairnessConfig::default(), operating_point, bootstrap };
    job.report().map_err(|source| CorrectnessError::Metrics { set: name, source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::correctness::{CorrectnessSettings, judge};

    /// 240 images, every other one of a woman; the classifier, which names its outputs in another order, sees effusions in men alone.
    #[test]
    fn the_sex_that_is_not_served_is_named_with_the_classifiers_own_operating_points() {
        let names = |names: [&str; 3]| names.map(str::to_owned).to_vec();
        let (outputs, labels) = (names(["Nodule", "Effusion", "Mass"]), names(["Mass", "Effusion", "Hernia"]));
        let noise = |i: usize, salt: usize| ((i * 7919 + salt * 104_729) % 1000) as f64 / 1000.0;
        let (mut scores, mut targets) = (Vec::new(), Vec::new());
        for i in 0..240 {
            let [mass, effusion] = [i / 2 % 4 == 0, i / 2 % 3 == 0].map(|is| f64::from(u8::from(is)));
            let seen = if i % 2 == 0 { 0.5 } else { effusion };
            scores.extend([0.5, 0.1 + 0.6 * seen + 0.2 * noise(i, 1), 0.2 + 0.4 * mass + 0.3 * noise(i, 2)]);
            targets.extend([mass, effusion, f64::NAN]);
        }
        let patients: Vec<String> = (0..240).map(|i| format!("p{i}")).collect();
        let groups: Vec<&str> = patients.iter().map(String::as_str).collect();
        let judged = Judged { outputs: &outputs, scores: &scores, labels: &labels, targets: &targets, groups: &groups };
        let bootstrap = Bootstrap { replicates: 100, seed: 1 };
        let settings =
            CorrectnessSettings { thresholds: Some(vec![0.5, 0.55, 0.5]), bootstrap, ..CorrectnessSettings::default() };
        let found = judge(&judged, None, &settings).unwrap();
        let sex = (0..240).map(|i| Some((0, ["female", "male"][i % 2].to_owned())));
        let attributes = [Attribute::new("sex".to_owned(), sex.collect())];
        let rows =
            || patients.iter().map(|patient| PredictedRow { image: patient.clone(), patient: patient.clone() }).collect();
        let report = of_rows(("synthetic", rows(), &judged), &attributes, &found, bootstrap).unwrap().unwrap();
        assert_eq!(report.operating_point.as_deref(), Some("the classifier's own, one per finding"));
        let sex = &report.attributes[0];
        assert_eq!(sex.findings, ["Effusion", "Mass"]);
        let (auroc, missed) = (sex.arms[0].auroc_gap.as_ref().unwrap(), sex.arms[0].underdiagnosis_gap.as_ref().unwrap());
        assert!(auroc.worst == "female" && auroc.size.low > 0.1, "{auroc:?}");
        assert!(missed.worst == "female" && missed.size.low > 0.1, "{missed:?}");
        // Nothing is said where nothing is recorded.
        assert!(of_rows(("synthetic", rows(), &judged), &[], &found, bootstrap).unwrap().is_none());
    }
}
