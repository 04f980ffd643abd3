use super::*;
use crate::evaluation::correctness::Averages;

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Forty images of twenty patients, with the scores of a classifier and labels.
struct Set {
    outputs: Vec<String>,
    labels: Vec<String>,
    scores: Vec<f64>,
    targets: Vec<f64>,
    groups: Vec<String>,
}

impl Set {
    fn new(
        outputs: &[&str],
        labels: &[&str],
        score: impl Fn(usize, usize) -> f64,
        target: impl Fn(usize, usize) -> f64,
    ) -> Self {
        let table = |columns: usize, cell: &dyn Fn(usize, usize) -> f64| -> Vec<f64> {
            (0..40 * columns).map(|i| cell(i / columns, i % columns)).collect()
        };
        Self {
            scores: table(outputs.len(), &score),
            targets: table(labels.len(), &target),
            outputs: names(outputs),
            labels: names(labels),
            groups: (0..40).map(|image| format!("p{}", image / 2)).collect(),
        }
    }

    fn judge(&self, real: Option<&Self>, settings: &CorrectnessSettings) -> Result<CorrectnessReport, CorrectnessError> {
        let (ours, theirs) = (self.groups(), real.map(Self::groups));
        let real = real.zip(theirs.as_ref()).map(|(set, groups)| set.judged(groups));
        judge(&self.judged(&ours), real.as_ref(), settings)
    }

    fn groups(&self) -> Vec<&str> {
        self.groups.iter().map(String::as_str).collect()
    }

    fn judged<'a>(&'a self, groups: &'a [&'a str]) -> Judged<'a> {
        let Self { outputs, scores, labels, targets, .. } = self;
        Judged { outputs, scores, labels, targets, groups }
    }
}

fn quick() -> CorrectnessSettings {
    CorrectnessSettings { bootstrap: Bootstrap { replicates: 200, seed: 7 }, ..CorrectnessSettings::default() }
}

fn odd(image: usize) -> f64 {
    f64::from(u8::from(image % 2 == 1))
}

/// Every second image is asked for an effusion, every fourth for a mass; the scores follow, or don't.
fn pair(obeys: bool) -> Set {
    let wanted =
        |image: usize, label: usize| if label == 0 { odd(image) } else { f64::from(u8::from(image.is_multiple_of(4))) };
    let score = move |image: usize, output: usize| {
        let noise = (image * 7 + 3 * output) % 10;
        let signal = if obeys { wanted(image, output) } else { 0.5 };
        0.05 + 0.6 * signal + 0.01 * noise as f64
    };
    Set::new(&["Effusion", "Mass", "Hernia"], &["Pleural Effusion", "Mass", "No Finding"], score, wanted)
}

#[test]
fn images_that_show_what_was_asked_for_reach_one() {
    let report = pair(true).judge(Some(&pair(true)), &quick()).unwrap();
    let named: Vec<_> = report.findings.iter().map(|finding| (finding.finding.as_str(), finding.output.as_str())).collect();
    assert_eq!(named, [("Pleural Effusion", "Effusion"), ("Mass", "Mass")]);
    assert_eq!(report.averaged, ["Pleural Effusion", "Mass"]);
    assert_eq!((report.without_label, report.without_output), (names(&["Hernia"]), names(&["No Finding"])));
    let Averages { macro_auroc, micro_auroc, weighted_auroc, macro_f1, micro_f1 } = report.synthetic;
    for auroc in [macro_auroc, micro_auroc, weighted_auroc] {
        assert_eq!(auroc.unwrap().value, 1.0);
    }
    assert_eq!((macro_f1, micro_f1), (Some(1.0), Some(1.0)));
    assert_eq!(report.macro_difference.unwrap().value, 0.0);
    assert_eq!((report.images, report.groups, report.real_images), (40, 20, Some(40)));
    assert!(report.notes.is_empty());
}

#[test]
fn images_that_show_anything_are_at_chance_and_below_the_real_ones() {
    let report = pair(false).judge(Some(&pair(true)), &quick()).unwrap();
    let (ours, theirs) = (report.synthetic.macro_auroc.unwrap(), report.real.unwrap().macro_auroc.unwrap());
    assert!(ours.low < 0.5 && ours.high > 0.5 && theirs.value == 1.0, "{ours:?} {theirs:?}");
    let difference = report.macro_difference.unwrap();
    assert!(difference.high < 0.0 && difference.value == ours.value - 1.0, "{difference:?}");
    assert!(report.findings[0].difference.unwrap().value < 0.0);
}

#[test]
fn operating_points_move_averages_and_decisions_alone() {
    // Scores of the second output are a tenth of the first's: pooled as they are, all of them are below.
    let score = |image: usize, output: usize| (0.2 + 0.5 * odd(image + output)) * if output == 0 { 1.0 } else { 0.1 };
    let set = Set::new(&["Effusion", "Mass"], &["Effusion", "Mass"], score, |image, label| odd(image + label));
    let plain = set.judge(None, &quick()).unwrap();
    let scaled = CorrectnessSettings { thresholds: Some(vec![0.4, 0.04]), ..quick() };
    let scaled = set.judge(None, &scaled).unwrap();
    assert!(scaled.operating_points && !plain.operating_points);
    for (a, b) in plain.findings.iter().zip(&scaled.findings) {
        assert_eq!(a.synthetic.auroc, b.synthetic.auroc);
    }
    assert_eq!(plain.synthetic.macro_auroc, scaled.synthetic.macro_auroc);
    assert_eq!(scaled.synthetic.micro_auroc.unwrap().value, 1.0);
    assert!(plain.synthetic.micro_auroc.unwrap().value < 0.8);
    let f1 = |report: &CorrectnessReport| report.findings[1].synthetic.decisions.unwrap().f1;
    assert_eq!((f1(&plain), f1(&scaled)), (0.0, 1.0));
    assert_eq!(scaled.findings[1].synthetic.decisions.unwrap().threshold, f64::from(0.04f32));
}

#[test]
fn outputs_that_were_never_trained_are_left_out_by_name() {
    let score = |image: usize, output: usize| if output == 1 { 0.5 } else { 0.3 + 0.4 * odd(image) };
    let set = Set::new(&["Effusion", "Mass", "Nodule"], &["Effusion", "Mass", "Nodule"], score, |image, _| odd(image));
    let thresholds = Some(vec![0.5, 0.5, f32::NAN]);
    let report = set.judge(None, &CorrectnessSettings { thresholds, ..quick() }).unwrap();
    assert_eq!((report.untrained, report.averaged), (names(&["Mass", "Nodule"]), names(&["Effusion"])));
    assert_eq!(report.findings.len(), 1);
    // A classifier none of whose outputs was trained has nothing to say, and says so.
    let none = Set::new(&["Mass"], &["Mass"], |_, _| 0.5, |image, _| odd(image)).judge(None, &quick()).unwrap();
    assert_eq!((none.untrained, none.synthetic), (names(&["Mass"]), Averages::default()));
}

#[test]
fn what_is_undefined_says_why() {
    let labels = ["Atelectasis", "Edema", "Effusion", "Mass", "Nodule"];
    let target = |image: usize, label: usize| match label {
        0 => 0.0,
        1 => 1.0,
        2 if image < 10 => f64::NAN,
        2 => odd(image),
        3 => f64::from(u8::from(image == 1)),
        _ => f64::NAN,
    };
    let set = Set::new(&labels, &labels, |image, _| 0.2 + 0.01 * image as f64, target);
    let report = set.judge(None, &quick()).unwrap();
    let why: Vec<_> = report.findings.iter().map(|finding| finding.synthetic.undefined.as_deref()).collect();
    assert_eq!(
        why,
        [
            Some("none of 40 images was asked to show it"),
            Some("all 40 images were asked to show it"),
            None,
            Some("1 images with and 39 without it, 10 of each are needed"),
            Some("no image has a label of it"),
        ]
    );
    assert_eq!((report.averaged, report.findings[2].synthetic.cases), (names(&["Effusion"]), 30));
    // Who wants it can have the one.
    let all = set.judge(None, &CorrectnessSettings { fewest: 1, ..quick() }).unwrap();
    assert_eq!(all.averaged, ["Effusion", "Mass"]);
}

#[test]
fn prompts_without_a_label_are_counted() {
    let target = |image: usize, _| if image < 12 { f64::NAN } else { odd(image) };
    let set = Set::new(&["Mass"], &["Mass"], |image, _| 0.1 + 0.5 * odd(image), target);
    let report = set.judge(None, &quick()).unwrap();
    assert_eq!(report.notes, ["12 of 40 synthetic images have no label of any judged finding; they are not judged."]);
    let silent = Set::new(&["Mass"], &["Mass"], |_, _| 0.1, |_, _| f64::NAN).judge(None, &quick()).unwrap();
    assert_eq!((silent.averaged, silent.synthetic.macro_auroc), (Vec::new(), None));
}

#[test]
fn averages_are_over_what_is_defined_on_both_sets() {
    let labels = ["Effusion", "Mass"];
    let score = |image: usize, _| 0.1 + 0.5 * odd(image);
    let synthetic = Set::new(&labels, &labels, score, |image, _| odd(image));
    let real = Set::new(&labels, &["Effusion"], score, |image, _| odd(image));
    let report = synthetic.judge(Some(&real), &quick()).unwrap();
    assert_eq!((report.averaged, report.findings[1].real.is_none()), (names(&["Effusion"]), true));
    assert!(report.findings[1].synthetic.auroc.is_some());
}

#[test]
fn impossible_input_is_refused() {
    let good = || Set::new(&["Mass"], &["Mass"], |image, _| 0.1 + 0.5 * odd(image), |image, _| odd(image));
    let refused = |set: &Set, settings: &CorrectnessSettings| set.judge(None, settings).unwrap_err().to_string();
    let logits = Set { scores: vec![3.0; 40], ..good() };
    assert!(refused(&logits, &quick()).contains("not a probability"));
    let nan = Set { scores: vec![f64::NAN; 40], ..good() };
    assert!(refused(&nan, &quick()).contains("score NaN in row 0"));
    let short = Set { scores: vec![0.5; 39], ..good() };
    assert_eq!(refused(&short, &quick()), "the synthetic set has 39 scores, 40 expected: one per image and output");
    assert!(
        refused(&Set { scores: Vec::new(), targets: Vec::new(), groups: Vec::new(), ..good() }, &quick()).contains("no image")
    );
    let other = Set { labels: names(&["Hernia"]), ..good() };
    assert!(refused(&other, &quick()).contains("it has Mass; the labels are Hernia"));
    let thresholds = |points: &[f32]| CorrectnessSettings { thresholds: Some(points.to_vec()), ..quick() };
    assert!(refused(&good(), &thresholds(&[0.5, 0.5])).contains("2 operating points for 1 outputs"));
    for point in [0.0, 1.0, -0.5, f32::INFINITY] {
        assert!(refused(&good(), &thresholds(&[point])).starts_with("the operating point of `Mass`"));
    }
    let outputs = names(&["Nodule"]);
    let stranger = Set { labels: outputs.clone(), outputs, ..good() };
    assert_eq!(good().judge(Some(&stranger), &quick()).unwrap_err(), CorrectnessError::OtherClassifier);
    let target = Set { targets: vec![7.0; 40], ..good() };
    assert!(refused(&target, &quick()).contains("target 7"));
}

#[test]
fn the_order_of_images_changes_no_value() {
    let set = pair(true);
    let turned = {
        let rows = |values: &[f64]| -> Vec<f64> { values.chunks(3).rev().flatten().copied().collect() };
        let (scores, targets) = (rows(&set.scores), rows(&set.targets));
        Set { scores, targets, groups: set.groups.iter().rev().cloned().collect(), ..pair(true) }
    };
    let values = |set: &Set| -> Vec<Option<f64>> {
        let report = set.judge(None, &quick()).unwrap();
        report.findings.iter().map(|finding| finding.synthetic.auroc.map(|auroc| auroc.value)).collect()
    };
    assert_eq!(values(&set), values(&turned));
}
