//! Planted truths: what a probe must find, and what it must not.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use roentgen_augment::progress::{Progress, Silent};
use roentgen_augment::record::Finding;
use roentgen_classifier::metrics::{Bootstrap, Patients};

use super::fit::{FitConfig, ProbeKind, Questions, folds, out_of_fold};
use super::measure::{Figures, OutOfFold, figures};
use crate::evaluation::Rows;

const FOLDS: usize = 5;

/// Numbers around 0.
fn noise(generator: &mut ChaCha8Rng) -> f32 {
    (0..6).map(|_| generator.random::<f32>() - 0.5).sum()
}

/// Figures of linear probes on two sets of embeddings; `groups` are the patients that folds know of.
fn probe(embeddings: [&[f32]; 2], width: usize, targets: &[f64], groups: &[usize]) -> Figures {
    let findings = [Finding::parse("Effusion").unwrap()];
    let folds = folds(groups, targets, 1, FOLDS, 3);
    let questions = Questions { findings: &findings, targets, folds: &folds, count: FOLDS };
    let fit = FitConfig { c: 0.1, balanced: true, hidden: 4, seed: 0 };
    let pair = embeddings.map(|values| {
        let rows = Rows::new(values, width).unwrap();
        let task = Silent.begin("", 0, "");
        let scores = out_of_fold(ProbeKind::Linear, &rows, &questions, &fit, task.as_ref()).unwrap();
        OutOfFold::new(&scores, targets, &folds, FOLDS).unwrap()
    });
    figures(&[pair], &Patients::new(groups), Bootstrap { replicates: 200, seed: 1 }).0[0]
}

#[test]
fn permuted_labels_are_at_chance_without_a_lean() {
    let (width, texts) = (12, 160);
    let (mut sum, mut covered) = (0.0, 0);
    const RUNS: u64 = 12;
    for seed in 0..RUNS {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        let values: Vec<f32> = (0..texts * width).map(|_| noise(&mut generator)).collect();
        // One in five is positive; labels have nothing to do with the embeddings.
        let targets: Vec<f64> = (0..texts).map(|_| f64::from(u8::from(generator.random::<f64>() < 0.2))).collect();
        let groups: Vec<usize> = (0..texts).map(|text| text / 2).collect();
        let auroc = probe([&values, &values], width, &targets, &groups).auroc;
        let interval = auroc.before.interval.unwrap();
        covered += u64::from(interval.lower <= 0.5 && 0.5 <= interval.upper);
        sum += auroc.before.value.unwrap();
        assert_eq!((auroc.absolute.value, auroc.relative.value), (Some(0.0), Some(0.0)), "the same embeddings");
        assert_eq!(auroc.absolute.interval.map(|interval| [interval.lower, interval.upper]), Some([0.0; 2]));
    }
    // The standard error of one AUROC is about 0.055 here, that of the mean of twelve 0.016.
    let mean = sum / RUNS as f64;
    assert!((mean - 0.5).abs() < 0.05, "{mean}");
    assert!(covered >= RUNS - 2, "{covered} of {RUNS} intervals hold 0.5");
}

#[test]
fn a_planted_signal_is_found_with_its_size() {
    let (width, texts) = (12, 200);
    let mut generator = ChaCha8Rng::seed_from_u64(5);
    let targets: Vec<f64> = (0..texts).map(|text: usize| f64::from(u8::from(text.is_multiple_of(4)))).collect();
    let groups: Vec<usize> = (0..texts).collect();
    let before: Vec<f32> = (0..texts * width).map(|_| noise(&mut generator)).collect();
    let mut after = before.clone();
    (0..texts).for_each(|text| after[text * width] += 2.0 * targets[text] as f32);
    let figures = probe([&before, &after], width, &targets, &groups);
    let change = figures.auroc;
    let [was, is] = [change.before, change.after].map(|quantity| quantity.value.unwrap());
    assert!(is > 0.9 && was < 0.65, "{was} {is}");
    assert_eq!(change.absolute.value, Some(is - was));
    assert_eq!(change.relative.value, Some((is - was) / was));
    assert!(change.absolute.interval.unwrap().lower > 0.1 && change.relative.interval.unwrap().lower > 0.1);
    for change in [figures.average_precision, figures.f1, figures.macro_f1] {
        assert!(change.absolute.interval.unwrap().lower > 0.0, "{change:?}");
    }
}

#[test]
fn a_patient_is_not_recognised() {
    // Texts of a patient are alike, and a patient has the finding in all of them or in none: whoever recognises patients knows all.
    let (width, patients, each) = (40, 60, 4);
    let mut generator = ChaCha8Rng::seed_from_u64(9);
    let own: Vec<f32> = (0..patients * width).map(|_| noise(&mut generator)).collect();
    let has: Vec<f64> = (0..patients).map(|_| f64::from(u8::from(generator.random::<bool>()))).collect();
    let owner = |text: usize| text / each;
    let texts = patients * each;
    let values: Vec<f32> = (0..texts)
        .flat_map(|text| own[owner(text) * width..][..width].to_vec())
        .map(|value| value + 0.01 * noise(&mut generator))
        .collect();
    let targets: Vec<f64> = (0..texts).map(|text| has[owner(text)]).collect();
    let grouped: Vec<usize> = (0..texts).map(owner).collect();
    let apart: Vec<usize> = (0..texts).collect();
    let auroc = |groups: &[usize]| probe([&values, &values], width, &targets, groups).auroc.before.value.unwrap();
    let (grouped, apart) = (auroc(&grouped), auroc(&apart));
    assert!(apart > 0.85 && (grouped - 0.5).abs() < 0.2, "{grouped} {apart}");
}

#[test]
fn figures_are_those_of_each_fold() {
    use roentgen_classifier::metrics::{Confusion, Ranking};
    let scores = [0.3, -0.2, 1.0, 0.1, -3.0, 5.0, 4.0, 4.5, 0.0];
    let targets = [1.0, 0.0, 1.0, 0.0, f64::NAN, 0.0, 1.0, 0.0, 1.0];
    let folds = [0, 0, 0, 0, 0, 1, 1, 1, 1];
    let measured = OutOfFold::new(&scores, &targets, &folds, 2).unwrap().measure(&[1; 9]);
    let fold = |from: usize, to: usize| Ranking::new(&scores[from..to], &targets[from..to]).unwrap();
    let (first, second) = (fold(0, 5), fold(5, 9));
    // Both folds have 2 positives and 2 negatives, so the means are plain.
    let mean = |value: fn(&Ranking) -> Option<f64>| (value(&first).unwrap() + value(&second).unwrap()) / 2.0;
    assert_eq!(measured[0], mean(Ranking::auroc));
    assert!((measured[1] - mean(Ranking::average_precision)).abs() < 1e-15);
    let counts = Confusion::new(&scores, &targets, 0.0).unwrap();
    assert_eq!(Some(measured[2]), counts.f1());
    // The F1 of the negatives: 1 true negative, 3 + 0 wrong.
    assert_eq!(measured[3], (counts.f1().unwrap() + 2.0 / 5.0) / 2.0);
    // A class that was not drawn.
    let positives: Vec<u32> = targets.iter().map(|target| u32::from(*target == 1.0)).collect();
    assert!(OutOfFold::new(&scores, &targets, &folds, 2).unwrap().measure(&positives).iter().all(|value| value.is_nan()));
}
