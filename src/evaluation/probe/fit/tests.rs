//! The linear probe against scikit-learn, and both probes against what was planted.

use roentgen_augment::progress::{Progress, Silent};
use roentgen_augment::record::Finding;

use super::design::{Design, Standard};
use super::logistic::{Logistic, scores};
use super::{FitConfig, ProbeKind, Questions, out_of_fold};
use crate::evaluation::Rows;

/// `round(1000 sin(0.7 (i + 1)(j + 1) + j)) / 1000 · 10^(j mod 3)` and whether `sin(1.3 i) + sin(0.7 (i + 1)) / 2 > 0.4`.
fn data(rows: usize, width: usize) -> (Vec<f32>, Vec<f64>) {
    let value = |i: usize, j: usize| {
        let sine = (0.7 * ((i + 1) * (j + 1)) as f64 + j as f64).sin();
        ((1000.0 * sine).round() / 1000.0 * 10f64.powi((j % 3) as i32)) as f32
    };
    let values = (0..rows).flat_map(|i| (0..width).map(move |j| value(i, j))).collect();
    let positive = |i: usize| (1.3 * i as f64).sin() + 0.5 * (0.7 * (i + 1) as f64).sin() > 0.4;
    (values, (0..rows).map(|i| f64::from(u8::from(positive(i)))).collect())
}

/// scikit-learn 1.9.1: `StandardScaler()`, then `LogisticRegression(C=C, class_weight=w, solver="newton-cholesky", tol=1e-14,
/// max_iter=10000)`: the first five of `coef_`, `intercept_`, and `decision_function` of rows 0, 3 and 7. Its own solvers agree with each other
/// to 6e-8.
#[test]
#[expect(clippy::type_complexity, reason = "a table of expected numbers")]
fn the_minimum_is_that_of_scikit_learn() {
    let cases: [(usize, usize, f64, bool, [f64; 5], f64, [f64; 3]); 4] = [
        (
            40,
            5,
            1.0,
            false,
            [0.513306098158131, -0.331289568739771, 0.0999634610077384, 0.122792695514787, 0.0557311168755629],
            -0.5508946189583748,
            [-0.5799311386966644, -0.5114114137015162, -0.8142014121290073],
        ),
        (
            40,
            5,
            0.01,
            true,
            [0.051715445672765, -0.0347050840038812, 0.0120801800249167, 0.00666576702110249, -0.000248079019803159],
            -0.0056154762882518324,
            [-0.015804698201014336, -0.006344121013575497, -0.03801045897324795],
        ),
        (
            40,
            5,
            100.0,
            false,
            [0.573549330814586, -0.370203749918147, 0.109462862326351, 0.160172164285079, 0.0813821281775441],
            -0.5606160590277779,
            [-0.5813778219293431, -0.5019605309246455, -0.8321365067179518],
        ),
        (
            12,
            30,
            1.0,
            true,
            [0.189439079235464, -0.823781385362262, 0.00495438717535784, -0.411109618926779, -0.373996895120817],
            -0.48671687373823597,
            [-3.1789130981604754, -1.0950187550421047, -0.9358195243783625],
        ),
    ];
    for (rows, width, c, balanced, coefficients, intercept, decisions) in cases {
        let (values, targets) = data(rows, width);
        let embeddings = Rows::new(&values, width).unwrap();
        let at: Vec<usize> = (0..rows).collect();
        let design = Design::of(&embeddings, &at, &Standard::of(&embeddings, &at));
        let positives: f64 = targets.iter().sum();
        let weight = |target: &f64| {
            let class = if *target == 1.0 { positives } else { rows as f64 - positives };
            if balanced { rows as f64 / (2.0 * class) } else { 1.0 }
        };
        let weights: Vec<f64> = targets.iter().map(weight).collect();
        let fitted = Logistic { design: &design, targets: &targets, weights: &weights, c }.fit().unwrap();
        // scikit-learn stops at a gradient of 1e-14 of the mean loss; its steps are Newton's too.
        let close =
            |found: f64, expected: f64| assert!((found - expected).abs() < 1e-9 * (1.0 + expected.abs()), "{found} {expected}");
        coefficients.iter().enumerate().for_each(|(j, expected)| close(fitted[(j, 0)], *expected));
        close(fitted[(width, 0)], intercept);
        let logits = scores(design.matrix(), &fitted);
        [0, 3, 7].iter().zip(decisions).for_each(|(row, expected)| close(logits[(*row, 0)], expected));
    }
}

fn config() -> FitConfig {
    FitConfig { c: 1.0, balanced: true, hidden: 8, seed: 0 }
}

fn crossfit(kind: ProbeKind, values: &[f32], width: usize, targets: &[f64], folds: &[usize]) -> Vec<f64> {
    let findings = [Finding::parse("Effusion").unwrap()];
    let questions = Questions { findings: &findings, targets, folds, count: 4 };
    let rows = Rows::new(values, width).unwrap();
    out_of_fold(kind, &rows, &questions, &config(), Silent.begin("", 0, "").as_ref()).unwrap()
}

#[test]
fn a_hidden_layer_finds_what_no_line_divides() {
    // Exclusive or of two signs.
    let signs = |at: usize| [at.is_multiple_of(2), at.is_multiple_of(3)].map(|sign| if sign { 1.0f32 } else { -1.0 });
    let values: Vec<f32> = (0..240).flat_map(|at| signs(at).map(|sign| sign + 0.3 * (at as f32).sin())).collect();
    let targets: Vec<f64> = (0..240).map(|at| f64::from(u8::from(signs(at)[0] * signs(at)[1] > 0.0))).collect();
    let folds: Vec<usize> = (0..240).map(|at| at / 60).collect();
    let right = |kind| {
        let logits = crossfit(kind, &values, 2, &targets, &folds);
        logits.iter().zip(&targets).filter(|(logit, target)| (**logit > 0.0) == (**target == 1.0)).count()
    };
    assert!(right(ProbeKind::Mlp) > 230, "{}", right(ProbeKind::Mlp));
    assert!(right(ProbeKind::Linear) < 200, "{}", right(ProbeKind::Linear));
}

#[test]
fn no_score_depends_on_its_own_text() {
    let (values, targets) = data(48, 3);
    let folds: Vec<usize> = (0..48).map(|at| at % 4).collect();
    for kind in [ProbeKind::Linear, ProbeKind::Mlp] {
        let scores = crossfit(kind, &values, 3, &targets, &folds);
        assert_eq!(scores, crossfit(kind, &values, 3, &targets, &folds), "the same bits again");
        let mut turned = targets.clone();
        (0..48).filter(|at| folds[*at] == 1).for_each(|at| turned[at] = 1.0 - turned[at]);
        let others = crossfit(kind, &values, 3, &turned, &folds);
        for at in 0..48 {
            assert_eq!(scores[at] == others[at], folds[at] == 1, "text {at}: only fold 1 is fitted without its labels");
        }
        // A text without a label is scored, and has no influence.
        let mut unknown = targets.clone();
        unknown[0] = f64::NAN;
        let masked = crossfit(kind, &values, 3, &unknown, &folds);
        assert!(masked[0].is_finite() && masked[0] == scores[0]);
    }
}
