//! Paired bootstrap of AUROCs, resampled by patient.

mod draw;
mod resample;

use rayon::iter::{IntoParallelIterator, IntoParallelRefIterator, ParallelIterator};
use serde::Serialize;

use self::resample::bootstrap_p;
use super::{MetricsError, Ranking, ScoreTable};

pub use draw::Draw;
pub use resample::{Interval, Patients, Summary};

/// How a bootstrap is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bootstrap {
    /// Number of resamples.
    pub replicates: usize,
    /// Seed; the same seed gives the same resamples, whatever the number of threads.
    pub seed: u64,
}

/// Scores of several arms on the same rows.
#[derive(Clone, Copy, Debug)]
pub struct ArmScores<'a> {
    /// For each arm the scores of its training runs (seeds), each row-major `[N, C]`.
    pub arms: &'a [Vec<&'a [f64]>],
    /// Targets `[N, C]`: 1, 0 or NaN (missing).
    pub targets: &'a [f64],
    /// Number of findings, `C`.
    pub findings: usize,
    /// Patient of each of the `N` rows.
    pub patients: &'a Patients,
}

/// Which AUROC is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// That of one finding (column).
    Finding(usize),
    /// The plain mean over the findings that are defined on the whole set.
    Macro,
}

/// AUROCs of every arm on the whole set and on every resample.
///
/// An arm's AUROC is the **mean of its runs' AUROCs**, on the set as on each resample: it estimates what one training run of that
/// arm is expected to reach. (The AUROC of the averaged scores would describe an ensemble, which is a different and usually better
/// classifier.) All arms and findings see the same resamples, so differences are paired. The intervals of [`Bootstrap::run`] hold the runs fixed: they
/// cover the choice of test patients; [`AurocEstimate::runs`] shows how far apart the runs are. [`Bootstrap::run_with_seeds`] draws the runs
/// too.
///
/// A resample without both classes of a finding leaves that finding undefined there, and with it the macro mean, which is always
/// over the same findings; such replicates are left out and counted.
#[derive(Clone, Debug)]
pub struct AurocBootstrap {
    /// `[arm][run][scope]`, NaN where undefined; the last scope is the macro mean.
    runs: Vec<Vec<Vec<f64>>>,
    /// `[replicate][arm][scope]`, means over runs.
    replicates: Vec<Vec<Vec<f64>>>,
    findings: usize,
}

/// One arm's AUROC.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AurocEstimate {
    /// Mean of the runs on the whole set; `None` where undefined.
    pub value: Option<f64>,
    /// Each run on the whole set; empty where undefined.
    pub runs: Vec<f64>,
    /// The replicates of `value`.
    pub bootstrap: Summary,
}

/// Difference of two arms' AUROCs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AurocDifference {
    /// Arm minus baseline on the whole set; `None` where undefined.
    pub absolute: Option<f64>,
    /// `absolute` divided by the baseline's AUROC; `None` where undefined.
    pub relative: Option<f64>,
    /// The replicates of `absolute`.
    pub bootstrap: Summary,
    /// Percentile interval of `relative`.
    pub relative_interval: Option<Interval>,
    /// Two-sided p-value for "no difference": `min(1, 2·(1 + min(#{d ≤ 0}, #{d ≥ 0}))/(1 + B))` over the `B` valid replicates `d`,
    /// twice the smaller tail beyond 0 with the observed sample counted in (Davison & Hinkley 1997, eq. 4.11).
    pub p_value: Option<f64>,
}

impl Bootstrap {
    /// Resamples patients and measures every arm. Each run is sorted once; a replicate is one pass over its cases.
    ///
    /// # Errors
    /// [`MetricsError::NoRuns`] for an arm without scores, [`MetricsError::Length`] for patients or scores that don't match the
    /// targets, and as [`ScoreTable::new`].
    pub fn run(&self, input: &ArmScores<'_>) -> Result<AurocBootstrap, MetricsError> {
        let rows = |replicate| input.patients.weights(self.seed, replicate);
        measure(input, self.replicates, |replicate| Draw { runs: None, rows: rows(replicate as u64) })
    }
}

/// Checks the input and measures every draw.
fn measure(
    input: &ArmScores<'_>,
    replicates: usize,
    draw: impl Fn(usize) -> Draw + Sync,
) -> Result<AurocBootstrap, MetricsError> {
    if let Some(arm) = input.arms.iter().position(Vec::is_empty) {
        return Err(MetricsError::NoRuns { arm });
    }
    // Checks the targets even without arms.
    let rows = ScoreTable::new(input.targets, input.targets, input.findings)?.rows();
    if input.patients.rows() != rows {
        return Err(MetricsError::Length { what: "the list of patients", expected: rows, found: input.patients.rows() });
    }
    let tables = input.arms.iter().map(|runs| {
        runs.iter().map(|scores| ScoreTable::new(scores, input.targets, input.findings)).collect::<Result<Vec<_>, _>>()
    });
    let tables = tables.collect::<Result<Vec<_>, _>>()?;
    let arms: Vec<Vec<RankedRun>> = tables.par_iter().map(|runs| runs.par_iter().map(RankedRun::new).collect()).collect();

    let replicates = (0..replicates)
        .into_par_iter()
        .map(|replicate| {
            let draw = draw(replicate);
            let mean = |runs: &Vec<RankedRun>| {
                let drawn =
                    runs.iter().enumerate().map(|(run, ranked)| (draw.times(run), ranked)).filter(|(times, _)| *times > 0);
                mean_of_runs(drawn.map(|(times, run)| (times, run.aurocs(&draw.rows))), input.findings + 1)
            };
            arms.iter().map(mean).collect()
        })
        .collect();
    let ones = vec![1; rows];
    let runs = arms.iter().map(|runs| runs.iter().map(|run| run.aurocs(&ones)).collect()).collect();
    Ok(AurocBootstrap { runs, replicates, findings: input.findings })
}

impl AurocBootstrap {
    /// AUROC of an arm.
    ///
    /// # Panics
    /// If the arm or finding doesn't exist; so do the other methods.
    #[must_use]
    pub fn auroc(&self, arm: usize, scope: Scope) -> AurocEstimate {
        let column = self.column(scope);
        let runs: Vec<f64> = self.runs[arm].iter().map(|run| run[column]).filter(|auroc| !auroc.is_nan()).collect();
        let bootstrap = Summary::new(&self.replicates(arm, scope));
        AurocEstimate { value: self.observed(arm, column), runs, bootstrap }
    }

    /// AUROC of an arm on every resample, NaN where undefined.
    #[must_use]
    pub fn replicates(&self, arm: usize, scope: Scope) -> Vec<f64> {
        let column = self.column(scope);
        self.replicates.iter().map(|replicate| replicate[arm][column]).collect()
    }

    /// Paired difference of two arms: `arm` minus `baseline`.
    #[must_use]
    pub fn difference(&self, arm: usize, baseline: usize, scope: Scope) -> AurocDifference {
        let column = self.column(scope);
        let pairs = || self.replicates.iter().map(|replicate| (replicate[arm][column], replicate[baseline][column]));
        let absolute: Vec<f64> = pairs().map(|(ours, theirs)| ours - theirs).collect();
        // A baseline of exactly 0 gives an infinite or undefined share; Summary leaves out NaN only.
        let relative: Vec<f64> =
            pairs().map(|(ours, theirs)| if theirs > 0.0 { (ours - theirs) / theirs } else { f64::NAN }).collect();
        let observed = self.observed(arm, column).zip(self.observed(baseline, column));
        AurocDifference {
            absolute: observed.map(|(ours, theirs)| ours - theirs),
            relative: observed.filter(|(_, theirs)| *theirs > 0.0).map(|(ours, theirs)| (ours - theirs) / theirs),
            p_value: bootstrap_p(&absolute),
            bootstrap: Summary::new(&absolute),
            relative_interval: Summary::new(&relative).interval,
        }
    }

    fn observed(&self, arm: usize, column: usize) -> Option<f64> {
        let runs = &self.runs[arm];
        let mean = runs.iter().map(|run| run[column]).sum::<f64>() / runs.len() as f64;
        (!mean.is_nan()).then_some(mean)
    }

    fn column(&self, scope: Scope) -> usize {
        match scope {
            Scope::Finding(finding) => {
                assert!(finding < self.findings, "finding {finding} of {}", self.findings);
                finding
            }
            Scope::Macro => self.findings,
        }
    }
}

/// One training run's findings, each sorted once.
struct RankedRun(Vec<Ranking>);

impl RankedRun {
    fn new(table: &ScoreTable<'_>) -> Self {
        Self((0..table.findings()).map(|finding| table.ranking(finding)).collect())
    }

    /// AUROC of each finding (NaN where undefined), then their macro mean over the findings that are defined without weights:
    /// NaN where one of those is undefined here.
    fn aurocs(&self, weights: &[u32]) -> Vec<f64> {
        let mut aurocs: Vec<f64> = self.0.iter().map(|ranking| ranking.auroc_weighted(weights).unwrap_or(f64::NAN)).collect();
        let defined = self.0.iter().filter(|ranking| ranking.is_defined()).count();
        let sum: f64 = self.0.iter().zip(&aurocs).filter(|(ranking, _)| ranking.is_defined()).map(|(_, auroc)| auroc).sum();
        // 0 / 0 is NaN, as wanted.
        aurocs.push(sum / defined as f64);
        aurocs
    }
}

/// Mean over runs, scope by scope; a run counts as often as it was drawn.
fn mean_of_runs(runs: impl Iterator<Item = (u32, Vec<f64>)>, scopes: usize) -> Vec<f64> {
    let (mut sums, mut count) = (vec![0.0; scopes], 0.0);
    for (times, run) in runs {
        let times = f64::from(times);
        count += times;
        for (sum, auroc) in sums.iter_mut().zip(run) {
            *sum += times * auroc;
        }
    }
    sums.iter().map(|sum| sum / count).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop, prop_assert, prop_assert_eq, proptest};

    use super::*;
    use crate::metrics::testing::close;

    const TARGETS: [f64; 12] = [0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0];
    const FIRST: [f64; 12] = [0.1, 0.9, 0.8, 0.2, 0.3, 0.4, 0.6, 0.5, 0.7, 0.3, 0.2, 0.1];
    const SECOND: [f64; 12] = [0.4, 0.3, 0.5, 0.6, 0.1, 0.2, 0.9, 0.5, 0.2, 0.6, 0.1, 0.8];
    const PATIENTS: [&str; 6] = ["p", "p", "q", "r", "r", "s"];

    fn run(arms: &[Vec<&[f64]>], replicates: usize) -> AurocBootstrap {
        let patients = Patients::new(&PATIENTS);
        let input = ArmScores { arms, targets: &TARGETS, findings: 2, patients: &patients };
        Bootstrap { replicates, seed: 5 }.run(&input).unwrap()
    }

    #[test]
    fn an_arm_against_itself_does_not_differ() {
        let bootstrap = run(&[vec![&FIRST], vec![&FIRST]], 200);
        let difference = bootstrap.difference(1, 0, Scope::Macro);
        assert_eq!((difference.absolute, difference.relative, difference.p_value), (Some(0.0), Some(0.0), Some(1.0)));
        assert_eq!(difference.bootstrap.interval, Some(Interval { lower: 0.0, upper: 0.0 }));
    }

    #[test]
    fn relative_differences_are_shares_of_the_baseline() {
        // A constant score has AUROC 1/2 on every resample, so every relative difference is twice the absolute one.
        let bootstrap = run(&[vec![&[0.5; 12]], vec![&FIRST]], 200);
        let difference = bootstrap.difference(1, 0, Scope::Finding(1));
        assert!(close(difference.relative.unwrap(), 2.0 * difference.absolute.unwrap()));
        let (relative, absolute) = (difference.relative_interval.unwrap(), difference.bootstrap.interval.unwrap());
        assert!(close(relative.lower, 2.0 * absolute.lower) && close(relative.upper, 2.0 * absolute.upper));
        assert!(absolute.lower < absolute.upper);
    }

    #[test]
    fn undefined_replicates_are_counted_and_shared_by_all_arms() {
        let bootstrap = run(&[vec![&FIRST], vec![&SECOND]], 500);
        for scope in [Scope::Finding(0), Scope::Finding(1), Scope::Macro] {
            let (first, second) = (bootstrap.auroc(0, scope), bootstrap.auroc(1, scope));
            assert_eq!(first.bootstrap.undefined, second.bootstrap.undefined);
            assert_eq!(first.bootstrap.valid + first.bootstrap.undefined, 500);
            // Four patients: some draws miss a class, most do not.
            assert!((1..250).contains(&first.bootstrap.undefined), "{}", first.bootstrap.undefined);
            assert_eq!(bootstrap.difference(0, 1, scope).bootstrap.undefined, first.bootstrap.undefined);
        }
    }

    #[test]
    fn an_arm_is_the_mean_of_its_runs() {
        let single = run(&[vec![&FIRST], vec![&SECOND]], 50);
        let both = run(&[vec![&FIRST, &SECOND]], 50);
        for scope in [Scope::Finding(0), Scope::Finding(1), Scope::Macro] {
            let (first, second) = (single.auroc(0, scope).value.unwrap(), single.auroc(1, scope).value.unwrap());
            let estimate = both.auroc(0, scope);
            assert!(close(estimate.value.unwrap(), (first + second) / 2.0));
            assert_eq!(estimate.runs, [first, second]);
            let column = both.column(scope);
            for (apart, together) in single.replicates.iter().zip(&both.replicates) {
                let mean = (apart[0][column] + apart[1][column]) / 2.0;
                assert!(mean.is_nan() && together[0][column].is_nan() || close(mean, together[0][column]));
            }
        }
    }

    #[test]
    fn threads_do_not_matter() {
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| run(&[vec![&FIRST], vec![&SECOND]], 64).difference(0, 1, Scope::Macro))
        };
        assert_eq!(on(1), on(3));
    }

    #[test]
    fn a_finding_that_is_never_defined_stays_out_of_the_macro_mean() {
        let targets: Vec<f64> = TARGETS.iter().enumerate().map(|(i, target)| if i % 2 == 1 { 0.0 } else { *target }).collect();
        let arms = [vec![&FIRST[..]]];
        let patients = Patients::new(&PATIENTS);
        let input = ArmScores { arms: &arms, targets: &targets, findings: 2, patients: &patients };
        let bootstrap = Bootstrap { replicates: 40, seed: 0 }.run(&input).unwrap();
        let never = bootstrap.auroc(0, Scope::Finding(1));
        assert_eq!((never.value, never.runs.len(), never.bootstrap.valid, never.bootstrap.undefined), (None, 0, 0, 40));
        assert_eq!(bootstrap.auroc(0, Scope::Macro), bootstrap.auroc(0, Scope::Finding(0)));
        assert_eq!(bootstrap.difference(0, 0, Scope::Finding(1)).p_value, None);
    }

    #[test]
    fn bad_input_is_refused() {
        let bootstrap = Bootstrap { replicates: 1, seed: 0 };
        let refused = |arms: &[Vec<&[f64]>], patients: &[&str]| {
            bootstrap.run(&ArmScores { arms, targets: &TARGETS, findings: 2, patients: &Patients::new(patients) }).unwrap_err()
        };
        assert_eq!(refused(&[vec![&FIRST], vec![]], &PATIENTS), MetricsError::NoRuns { arm: 1 });
        assert!(matches!(refused(&[vec![&FIRST]], &PATIENTS[..5]), MetricsError::Length { expected: 6, found: 5, .. }));
        assert!(matches!(refused(&[vec![&FIRST[..6]]], &PATIENTS), MetricsError::Length { expected: 12, found: 6, .. }));
    }

    proptest! {
        #[test]
        fn intervals_hold_their_replicates(
            rows in prop::collection::vec((0_u8..8, 0.0_f64..1.0, 0.0_f64..1.0, 0_u8..2), 4..40),
            seed in 0_u64..1000,
        ) {
            let column = |value: fn(&(u8, f64, f64, u8)) -> f64| rows.iter().map(value).collect::<Vec<f64>>();
            let (first, second, targets) = (column(|row| row.1), column(|row| row.2), column(|row| f64::from(row.3)));
            let patients = Patients::new(&rows.iter().map(|row| row.0).collect::<Vec<_>>());
            let arms = [vec![first.as_slice()], vec![second.as_slice()]];
            let input = ArmScores { arms: &arms, targets: &targets, findings: 1, patients: &patients };
            let bootstrap = Bootstrap { replicates: 60, seed }.run(&input).unwrap();
            let (there, back) = (bootstrap.difference(0, 1, Scope::Macro), bootstrap.difference(1, 0, Scope::Macro));
            prop_assert_eq!(there.p_value, back.p_value);
            if let (Some(there), Some(back)) = (there.bootstrap.interval, back.bootstrap.interval) {
                prop_assert!(there.lower <= there.upper);
                prop_assert!(close(there.lower, -back.upper) && close(there.upper, -back.lower));
            }
            if let Some(interval) = bootstrap.auroc(0, Scope::Macro).bootstrap.interval {
                prop_assert!(0.0 <= interval.lower && interval.upper <= 1.0);
            }
        }
    }
}
