//! Topic `09_metrics`: the statistics of classifiers.

use roentgen_classifier::metrics::{
    Calibration, Confusion, DeLong, FindingReport, MultiLabelReport, Ranking, ScoreTable, Summary, brier_score,
};

use super::{Array, Case, Outputs};

/// The outputs of a case, by name; `None` for a case that this topic doesn't know.
pub fn compute(case: &Case) -> Option<Outputs> {
    Some(match case.name.split('/').collect::<Vec<_>>()[..] {
        ["auc", "multilabel"] => multilabel(case),
        ["auc", _] => auc(case),
        ["threshold", _] => threshold(case),
        ["delong", _] => delong(case),
        ["bootstrap", "auroc"] => bootstrap(case),
        ["calibration"] => calibration(case),
        _ => return None,
    })
}

fn auc(case: &Case) -> Outputs {
    let (labels, scores) = (case.input("labels"), case.input("scores"));
    let ranking = Ranking::new(&scores.values, &labels.values).unwrap();
    let curve = ranking.roc_curve().unwrap();
    named([
        ("auroc", scalar(ranking.auroc())),
        ("average_precision", scalar(ranking.average_precision())),
        ("fpr", vector(curve.false_positive_rate)),
        ("tpr", vector(curve.true_positive_rate)),
    ])
}

fn multilabel(case: &Case) -> Outputs {
    let (labels, scores) = (case.input("labels"), case.input("scores"));
    let table = ScoreTable::new(&scores.values, &labels.values, labels.shape[1]).unwrap();
    let report = MultiLabelReport::new(&table).unwrap();
    let each = |value: fn(&FindingReport) -> Option<f64>| {
        vector(report.findings.iter().map(|finding| value(finding).unwrap_or(f64::NAN)).collect())
    };
    named([
        ("auroc", each(|finding| finding.auroc)),
        ("average_precision", each(|finding| finding.average_precision)),
        ("prevalence", each(|finding| finding.prevalence)),
        ("macro_auroc", scalar(report.macro_average.auroc)),
        ("macro_average_precision", scalar(report.macro_average.average_precision)),
        ("weighted_auroc", scalar(report.weighted_average.auroc)),
        ("micro_auroc", scalar(report.micro_average.auroc)),
    ])
}

fn threshold(case: &Case) -> Outputs {
    let (labels, scores) = (case.input("labels"), case.input("scores"));
    let threshold = case.params["threshold"].as_f64().expect("a threshold in params");
    let findings = labels.shape[1];
    let column = |values: &[f64], finding| values.iter().skip(finding).step_by(findings).copied().collect::<Vec<_>>();
    let columns: Vec<_> =
        (0..findings).map(|finding| (column(&scores.values, finding), column(&labels.values, finding))).collect();
    let counts: Vec<_> = columns.iter().map(|(scores, labels)| Confusion::new(scores, labels, threshold).unwrap()).collect();
    let each =
        |value: fn(&Confusion) -> Option<f64>| vector(counts.iter().map(|counts| value(counts).unwrap_or(f64::NAN)).collect());
    let brier = columns.iter().map(|(scores, labels)| brier_score(scores, labels).unwrap().unwrap_or(f64::NAN)).collect();
    named([
        ("precision", each(Confusion::precision)),
        ("recall", each(Confusion::recall)),
        ("f1", each(Confusion::f1)),
        ("brier", vector(brier)),
    ])
}

fn delong(case: &Case) -> Outputs {
    let (labels, first, second) = (case.input("labels"), case.input("scores_1"), case.input("scores_2"));
    let delong = DeLong::new(&[&first.values, &second.values], &labels.values).unwrap().expect("two cases of each class");
    let test = delong.paired_test(0, 1);
    let square = |values: Vec<f64>| Array { shape: vec![2, 2], values };
    let pairs = [(0, 0), (0, 1), (1, 0), (1, 1)];
    named([
        ("auc", vector(vec![delong.auroc(0), delong.auroc(1)])),
        ("covariance", square(pairs.map(|(i, j)| delong.covariance(i, j)).to_vec())),
        ("z", scalar(test.z)),
        ("p_value", scalar(test.p_value)),
        ("ci95", square([0, 1].map(|i| delong.interval(i)).iter().flat_map(|ci| [ci.lower, ci.upper]).collect())),
    ])
}

fn bootstrap(case: &Case) -> Outputs {
    let (labels, scores, indices) = (case.input("labels"), case.input("scores"), case.input("indices"));
    let ranking = Ranking::new(&scores.values, &labels.values).unwrap();
    let replicates: Vec<f64> = indices
        .values
        .chunks(indices.shape[1])
        .map(|drawn| {
            let mut weights = vec![0; ranking.rows()];
            for &row in drawn {
                weights[row as usize] += 1;
            }
            ranking.auroc_weighted(&weights).unwrap_or(f64::NAN)
        })
        .collect();
    let summary = Summary::new(&replicates);
    let interval = summary.interval.expect("a valid replicate");
    named([
        ("values", vector(replicates)),
        ("valid", vector(vec![summary.valid as f64])),
        ("ci95", vector(vec![interval.lower, interval.upper])),
        ("mean", scalar(summary.mean)),
        ("std", scalar(summary.standard_deviation)),
    ])
}

fn calibration(case: &Case) -> Outputs {
    let (labels, probabilities) = (case.input("labels"), case.input("probabilities"));
    let mut outputs = vec![("brier".to_owned(), scalar(brier_score(&probabilities.values, &labels.values).unwrap()))];
    for bins in case.params["bins"].as_array().expect("a list of bin counts in params") {
        let bins = bins.as_u64().expect("a bin count") as usize;
        let calibration = Calibration::new(&probabilities.values, &labels.values, bins).unwrap().expect("some cases");
        let counts = calibration.bins.iter().map(|bin| bin.count as f64).collect();
        outputs.extend([
            (format!("ece_{bins}"), scalar(Some(calibration.expected_error))),
            (format!("mce_{bins}"), scalar(Some(calibration.maximum_error))),
            (format!("rmsce_{bins}"), scalar(Some(calibration.root_mean_square_error))),
            (format!("counts_{bins}"), vector(counts)),
        ]);
    }
    outputs
}

/// An undefined statistic is NaN in the fixtures.
fn scalar(value: Option<f64>) -> Array {
    Array::scalar(value.unwrap_or(f64::NAN))
}

fn named<const N: usize>(outputs: [(&str, Array); N]) -> Outputs {
    outputs.into_iter().map(|(name, array)| (name.to_owned(), array)).collect()
}

fn vector(values: Vec<f64>) -> Array {
    Array { shape: vec![values.len()], values }
}
