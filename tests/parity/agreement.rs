//! Topic `17_quality`: agreement of raters, intervals, calibration, subgroups, F1 of labels, and the bootstrap over seeds and patients.

use roentgen::evaluation::text::{UncertainAs, findings_f1};
use roentgen_augment::record::{Label, Vocabulary};
use roentgen_classifier::metrics::{
    AgreementWeights, ArmScores, Bootstrap, CalibrationLine, Draw, F1, F1Table, GroupFinding, GroupedScores, Interval,
    Patients, Proportion, Ranking, Ratings, Scope, ScoreTable, Subgroups, Summary, brier_score, brier_skill,
};

use super::{Array, Case, Outputs};

/// The outputs of a case, by name; `None` for a case that this file doesn't know.
pub fn compute(case: &Case) -> Option<Outputs> {
    Some(match case.name.split('/').collect::<Vec<_>>()[..] {
        ["kappa", "fleiss"] => fleiss(case),
        ["kappa", "gwet"] => gwet(case),
        ["kappa", _] => two_raters(case),
        ["hanley", _] => hanley(case),
        ["proportion"] => proportion(case),
        ["calibration", _] => calibration(case),
        ["fairness", "subgroups"] => subgroups(case),
        ["f1", _] => f1(case),
        ["bootstrap", "seeds_and_patients"] => seeds_and_patients(case),
        _ => return None,
    })
}

/// Categories are whole numbers; NaN is no rating.
fn ratings(values: &[f64]) -> Vec<Option<i64>> {
    values.iter().map(|value| (!value.is_nan()).then_some(*value as i64)).collect()
}

fn scale(case: &Case) -> Option<Vec<i64>> {
    let labels = case.params.get("labels")?.as_array().expect("a list of labels");
    Some(labels.iter().map(|label| label.as_i64().expect("a whole number")).collect())
}

/// Ratings on the scale of the params, or of what is present.
fn on_scale(case: &Case, values: &[Option<i64>], raters: usize) -> Ratings {
    match scale(case) {
        Some(scale) => Ratings::new(values, raters, &scale).unwrap(),
        None => Ratings::of_present(values, raters).unwrap(),
    }
}

fn two_raters(case: &Case) -> Outputs {
    let (first, second) = (ratings(&case.input("rater_1").values), ratings(&case.input("rater_2").values));
    let pairs: Vec<_> = first.into_iter().zip(second).flat_map(|(first, second)| [first, second]).collect();
    let (given, present) = (on_scale(case, &pairs, 2), Ratings::of_present(&pairs, 2).unwrap());
    let plain = AgreementWeights::Unweighted;
    vec![
        named("kappa", scalar(given.cohen(0, 1, plain))),
        named("linear", scalar(given.cohen(0, 1, AgreementWeights::Linear))),
        named("quadratic", scalar(given.cohen(0, 1, AgreementWeights::Quadratic))),
        named("linear_present", scalar(present.cohen(0, 1, AgreementWeights::Linear))),
        named("quadratic_present", scalar(present.cohen(0, 1, AgreementWeights::Quadratic))),
        named("ac1", scalar(given.gwet(plain).map(|gwet| gwet.coefficient))),
        named("agreement", scalar(given.agreement(plain))),
    ]
}

fn fleiss(case: &Case) -> Outputs {
    let input = case.input("ratings");
    let values = ratings(&input.values);
    let (given, present) = (on_scale(case, &values, input.shape[1]), Ratings::of_present(&values, input.shape[1]).unwrap());
    vec![
        named("fleiss", scalar(given.fleiss().unwrap())),
        named("randolph", scalar(given.randolph().unwrap())),
        named("randolph_present", scalar(present.randolph().unwrap())),
    ]
}

fn gwet(case: &Case) -> Outputs {
    let input = case.input("ratings");
    let given = on_scale(case, &ratings(&input.values), input.shape[1]);
    let weights = [
        ("ac1", AgreementWeights::Unweighted),
        ("ac2_linear", AgreementWeights::Linear),
        ("ac2_quadratic", AgreementWeights::Quadratic),
    ];
    let outputs = weights.into_iter().flat_map(|(name, weights)| {
        let gwet = given.gwet(weights).expect("a defined coefficient");
        let parts = vector(vec![gwet.agreement, gwet.chance]);
        [named(name, scalar(Some(gwet.coefficient))), named(&format!("{name}_parts"), parts)]
    });
    outputs.collect()
}

fn hanley(case: &Case) -> Outputs {
    let ranking = Ranking::new(&case.input("scores").values, &case.input("labels").values).unwrap();
    let found = ranking.hanley_mcneil().expect("both classes");
    vec![
        named("auc", scalar(Some(found.auroc))),
        named("se", scalar(Some(found.standard_error))),
        named("ci95", vector(vec![found.interval.lower, found.interval.upper])),
    ]
}

fn proportion(case: &Case) -> Outputs {
    let confidence = 1.0 - case.params["alpha"].as_f64().expect("alpha in params");
    let (k, n) = (case.input("k"), case.input("n"));
    let each = |interval: &dyn Fn(Proportion) -> Option<Interval>| {
        let proportions = k.values.iter().zip(&n.values).map(|(k, n)| Proportion::new(*k as usize, *n as usize).unwrap());
        let ends =
            proportions.flat_map(|proportion| interval(proportion).map_or([f64::NAN; 2], |found| [found.lower, found.upper]));
        Array { shape: vec![k.values.len(), 2], values: ends.collect() }
    };
    vec![
        named("wilson", each(&|of| of.wilson(confidence).unwrap())),
        named("beta", each(&|of| of.clopper_pearson(confidence).unwrap())),
        named("normal", each(&|of| of.normal(confidence).unwrap())),
    ]
}

fn calibration(case: &Case) -> Outputs {
    let (labels, probabilities) = (&case.input("labels").values, &case.input("probabilities").values);
    let clip = case.params["clip"].as_f64().expect("a clip in params");
    let line = CalibrationLine::new(probabilities, labels, clip).unwrap().expect("a finite line");
    vec![
        named("slope", scalar(Some(line.slope))),
        named("slope_se", scalar(Some(line.slope_error))),
        named("intercept", scalar(Some(line.intercept))),
        named("intercept_se", scalar(Some(line.intercept_error))),
        named("in_the_large", scalar(Some(line.in_the_large))),
        named("brier", scalar(brier_score(probabilities, labels).unwrap())),
        named("brier_skill", scalar(brier_skill(probabilities, labels).unwrap())),
    ]
}

fn subgroups(case: &Case) -> Outputs {
    let (labels, scores, groups) = (case.input("labels"), case.input("scores"), case.input("groups"));
    let findings = labels.shape[1];
    let count = case.params["groups"].as_u64().expect("a number of groups") as usize;
    let threshold = case.params["threshold"].as_f64().expect("a threshold");
    let groups: Vec<Option<usize>> = groups.values.iter().map(|group| (*group >= 0.0).then_some(*group as usize)).collect();
    let figures = Subgroups::new(&GroupedScores {
        table: ScoreTable::new(&scores.values, &labels.values, findings).unwrap(),
        groups: &groups,
        count,
        thresholds: &vec![threshold; findings],
        left_out: &[],
    })
    .unwrap()
    .figures();
    let table = |value: fn(&GroupFinding) -> Option<f64>| {
        let values = figures.groups.iter().flat_map(|group| &group.findings).map(|finding| value(finding).unwrap_or(f64::NAN));
        Array { shape: vec![count, findings], values: values.collect() }
    };
    let gaps = |value: fn(&GroupFinding) -> Option<f64>| {
        (0..findings).map(|finding| figures.gap(|group| value(&group.findings[finding]))).collect::<Vec<_>>()
    };
    let sizes = |value| vector(gaps(value).into_iter().map(|gap| gap.map_or(f64::NAN, |gap| gap.size)).collect());
    let worst = gaps(|finding| finding.auroc).into_iter().map(|gap| gap.map_or(-1.0, |gap| gap.lowest as f64));
    let missed = figures.groups.iter().map(|group| group.underdiagnosis.unwrap_or(f64::NAN));
    vec![
        named("auroc", table(|finding| finding.auroc)),
        named("fnr", table(|finding| finding.false_negative_rate)),
        named("fpr", table(|finding| finding.false_positive_rate)),
        named("positives", table(|finding| Some(finding.positives as f64))),
        named("auroc_gap", sizes(|finding| finding.auroc)),
        named("fnr_gap", sizes(|finding| finding.false_negative_rate)),
        named("fpr_gap", sizes(|finding| finding.false_positive_rate)),
        named("worst_group", vector(worst.collect())),
        named("underdiagnosis", vector(missed.collect())),
        named("underdiagnosis_gap", scalar(figures.gap(|group| group.underdiagnosis).map(|gap| gap.size))),
    ]
}

/// Labels as CheXbert numbers them.
fn labels(array: &Array) -> Vec<Vec<Label>> {
    let label = |value: &f64| match *value as i64 {
        0 => Label::Missing,
        1 => Label::Positive,
        2 => Label::Negative,
        3 => Label::Uncertain,
        other => panic!("{other} is no label of CheXbert's"),
    };
    array.values.chunks(array.shape[1]).map(|row| row.iter().map(label).collect()).collect()
}

fn f1(case: &Case) -> Outputs {
    let names = case.params["findings"].as_array().expect("findings in params");
    let vocabulary = Vocabulary::parse(names.iter().map(|name| name.as_str().expect("a name"))).unwrap();
    let uncertain = match case.name.as_str() {
        "f1/rrg" => UncertainAs::Present,
        "f1/uncertain_negative" => UncertainAs::Absent,
        other => panic!("{other} is no policy that is known"),
    };
    let found =
        findings_f1(&labels(case.input("references")), &labels(case.input("hypotheses")), &vocabulary, uncertain).unwrap();
    let rows = |figures: &[F1]| {
        let values = figures.iter().flat_map(|figures| [figures.precision, figures.recall, figures.f1]).collect();
        Array { shape: vec![figures.len(), 3], values }
    };
    let averages = |table: &F1Table| rows(&[table.micro, table.macro_average, table.weighted, table.samples]);
    let five = found.five.as_ref().expect("the five main findings");
    vec![
        named("per_finding", rows(&found.all.findings)),
        named("support", vector(found.all.support.iter().map(|support| *support as f64).collect())),
        named("averages_14", averages(&found.all)),
        named("averages_5", averages(five)),
        named("exact_5", scalar(Some(five.exact))),
    ]
}

fn seeds_and_patients(case: &Case) -> Outputs {
    let (a, b) = (case.input("scores_a"), case.input("scores_b"));
    let (seeds, rows) = (a.shape[0], a.shape[1]);
    let arms: Vec<Vec<&[f64]>> = [a, b].map(|arm| arm.values.chunks(rows).collect()).into();
    let patients = Patients::new(&case.input("patients").values.iter().map(|patient| *patient as i64).collect::<Vec<_>>());
    let input = ArmScores { arms: &arms, targets: &case.input("labels").values, findings: 1, patients: &patients };
    let numbers = |name: &str| -> Vec<Vec<usize>> {
        let array = case.input(name);
        array.values.chunks(array.shape[1]).map(|row| row.iter().map(|number| *number as usize).collect()).collect()
    };
    let pairs = numbers("seed_draws").into_iter().zip(numbers("patient_draws"));
    let draws: Vec<Draw> =
        pairs.enumerate().map(|(at, (runs, drawn))| Draw::new(at, &runs, seeds, (&drawn, &patients)).unwrap()).collect();
    let found = Bootstrap::of_draws(&input, &draws).unwrap();
    let (ours, theirs) = (found.replicates(0, Scope::Macro), found.replicates(1, Scope::Macro));
    let columns = [ours.clone(), theirs.clone(), ours.iter().zip(&theirs).map(|(a, b)| b - a).collect::<Vec<_>>()];
    let difference = found.difference(1, 0, Scope::Macro);
    let point = [found.auroc(0, Scope::Macro).value, found.auroc(1, Scope::Macro).value, difference.absolute];
    let summaries = columns.each_ref().map(|column| Summary::new(column));
    let each = |value: fn(&Summary) -> Option<f64>| {
        summaries.iter().map(|summary| value(summary).unwrap_or(f64::NAN)).collect::<Vec<_>>()
    };
    let ends = [each(|summary| Some(summary.interval?.lower)), each(|summary| Some(summary.interval?.upper))].concat();
    let values = (0..draws.len()).flat_map(|draw| columns.each_ref().map(|column| column[draw]));
    vec![
        named("values", Array { shape: vec![draws.len(), 3], values: values.collect() }),
        named("point", vector(point.map(|value| value.unwrap_or(f64::NAN)).to_vec())),
        named("valid", scalar(Some(summaries[2].valid as f64))),
        named("ci95", Array { shape: vec![2, 3], values: ends }),
        named("mean", vector(each(|summary| summary.mean))),
        named("std", vector(each(|summary| summary.standard_deviation))),
        named("p_value", scalar(difference.p_value)),
    ]
}

/// An undefined statistic is NaN in the fixtures.
fn scalar(value: Option<f64>) -> Array {
    Array::scalar(value.unwrap_or(f64::NAN))
}

fn vector(values: Vec<f64>) -> Array {
    Array { shape: vec![values.len()], values }
}

fn named(name: &str, array: Array) -> (String, Array) {
    (name.to_owned(), array)
}
