//! Classification statistics at the sizes of a large test set and of one `compare`.

use divan::{Bencher, black_box};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use roentgen_classifier::metrics::{ArmScores, Bootstrap, DeLong, MultiLabelReport, Patients, Ranking, ScoreTable};

const FINDINGS: usize = 14;

fn main() {
    divan::main();
}

/// Probabilities `[rows, findings]` that follow their targets (one positive in ten) with noise.
fn scores(rows: usize, findings: usize, seed: u64) -> (Vec<f64>, Vec<f64>) {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    (0..rows * findings)
        .map(|_| {
            let target = f64::from(u8::from(generator.random_bool(0.1)));
            (0.8 * generator.random::<f64>() + 0.2 * target, target)
        })
        .unzip()
}

/// AUROC of every finding: rows x findings.
#[divan::bench(args = [1_000, 100_000])]
fn auroc_14_findings(bencher: Bencher, rows: usize) {
    let (scores, targets) = scores(rows, FINDINGS, 0);
    bencher.bench_local(|| {
        let table = ScoreTable::new(black_box(&scores), &targets, FINDINGS).expect("valid scores");
        (0..FINDINGS).map(|finding| table.ranking(finding).auroc()).collect::<Vec<_>>()
    });
}

/// Everything that a report shows, micro average and calibration included.
#[divan::bench(args = [1_000, 100_000])]
fn report_14_findings(bencher: Bencher, rows: usize) {
    let (scores, targets) = scores(rows, FINDINGS, 0);
    bencher.bench_local(|| {
        let table = ScoreTable::new(black_box(&scores), &targets, FINDINGS).expect("valid scores");
        MultiLabelReport::new(&table)
    });
}

/// Two scores on the same cases: covariance and paired test.
#[divan::bench(args = [1_000, 100_000])]
fn delong_2_scores(bencher: Bencher, rows: usize) {
    let (first, targets) = scores(rows, 1, 0);
    let mut generator = ChaCha8Rng::seed_from_u64(1);
    let second: Vec<f64> = first.iter().map(|score| 0.5 * score + 0.5 * generator.random::<f64>()).collect();
    bencher.bench_local(|| {
        let delong = DeLong::new(black_box(&[&first, &second]), &targets).expect("valid scores").expect("both classes");
        (delong.covariance(0, 1), delong.paired_test(0, 1))
    });
}

/// One replicate's AUROC from weights, on a ranking that is already sorted.
#[divan::bench(args = [309, 100_000])]
fn auroc_weighted_1_finding(bencher: Bencher, rows: usize) {
    let (scores, targets) = scores(rows, 1, 0);
    let ranking = Ranking::new(&scores, &targets).expect("valid scores");
    let weights = Patients::new(&(0..rows / 2 * 2 + 2).map(|row| row / 2).take(rows).collect::<Vec<_>>()).weights(0, 0);
    bencher.bench_local(|| ranking.auroc_weighted(black_box(&weights)));
}

/// 1,000 replicates on 309 rows x 14 findings (two rows per patient), for a number of training runs in all.
#[divan::bench(args = [1, 30])]
fn bootstrap_1000_replicates_309_rows_14_findings_of_runs(bencher: Bencher, runs: usize) {
    let (_, targets) = scores(309, FINDINGS, 0);
    let runs: Vec<Vec<f64>> = (0..runs).map(|run| scores(309, FINDINGS, run as u64).0).collect();
    let arms: Vec<Vec<&[f64]>> = runs.iter().map(|run| vec![run.as_slice()]).collect();
    let patients = Patients::new(&(0..309).map(|row| row / 2).collect::<Vec<usize>>());
    bencher.bench_local(|| {
        let input = ArmScores { arms: &arms, targets: &targets, findings: FINDINGS, patients: &patients };
        Bootstrap { replicates: 1_000, seed: 0 }.run(black_box(&input))
    });
}
