//! Resamples of training runs and patients together.

use super::resample::drawn;
use super::{ArmScores, AurocBootstrap, Bootstrap, measure};
use crate::metrics::{MetricsError, Patients};

/// One resample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draw {
    /// How often each run of an arm counts; `None`: each once.
    pub(super) runs: Option<Vec<u32>>,
    /// How often each row counts.
    pub(super) rows: Vec<u32>,
}

impl Draw {
    /// From the numbers of the drawn runs and patients, each as often as it was drawn; patients are numbered in the order in which they
    /// first appear. `draw` is the number of the draw, for errors.
    ///
    /// # Errors
    /// [`MetricsError::Draw`] for a number that is too large, and without a run.
    pub fn new(draw: usize, runs: &[usize], count: usize, patients: (&[usize], &Patients)) -> Result<Self, MetricsError> {
        let times = |what, drawn: &[usize], count: usize| {
            let mut times = vec![0_u32; count];
            for &found in drawn {
                *times.get_mut(found).ok_or(MetricsError::Draw { draw, what, found, count })? += 1;
            }
            Ok(times)
        };
        if runs.is_empty() {
            return Err(MetricsError::Draw { draw, what: "run", found: 0, count: 0 });
        }
        let (drawn, patients) = patients;
        let rows = patients.rows_of(&times("patient", drawn, patients.count())?);
        Ok(Self { runs: Some(times("run", runs, count)?), rows })
    }

    pub(super) fn times(&self, run: usize) -> u32 {
        self.runs.as_ref().map_or(1, |runs| runs[run])
    }
}

impl Bootstrap {
    /// Resamples runs and patients: the same runs (seeds) of every arm, as many as there are, with replacement, and the patients of
    /// [`Bootstrap::run`]. An arm's AUROC is the mean over the drawn runs. Its intervals cover the choice of seeds as well as that of test
    /// patients; with few runs they are too narrow all the same (three seeds give ten different draws).
    ///
    /// # Errors
    /// [`MetricsError::UnequalRuns`] where the arms have unequal numbers of runs, and as [`Bootstrap::run`].
    pub fn run_with_seeds(&self, input: &ArmScores<'_>) -> Result<AurocBootstrap, MetricsError> {
        let runs = equal_runs(input)?;
        let count = u32::try_from(runs).expect("fewer than 2^32 runs");
        measure(input, self.replicates, |replicate| {
            let replicate = replicate as u64;
            // Streams of their own, so that the patients are those of `run`.
            let runs = drawn(count, self.seed, replicate | 1 << 63);
            Draw { runs: Some(runs), rows: input.patients.weights(self.seed, replicate) }
        })
    }

    /// The same for given draws, made elsewhere.
    ///
    /// # Errors
    /// As [`Bootstrap::run_with_seeds`], and [`MetricsError::Length`] for a draw of another number of runs or rows.
    pub fn of_draws(input: &ArmScores<'_>, draws: &[Draw]) -> Result<AurocBootstrap, MetricsError> {
        let runs = equal_runs(input)?;
        for draw in draws {
            let (rows, drawn) = (input.patients.rows(), draw.runs.as_ref().map_or(runs, Vec::len));
            if draw.rows.len() != rows {
                return Err(MetricsError::Length { what: "a draw of patients", expected: rows, found: draw.rows.len() });
            }
            if drawn != runs {
                return Err(MetricsError::Length { what: "a draw of runs", expected: runs, found: drawn });
            }
        }
        measure(input, draws.len(), |replicate| draws[replicate].clone())
    }
}

/// The number of runs of every arm.
fn equal_runs(input: &ArmScores<'_>) -> Result<usize, MetricsError> {
    let expected = input.arms.first().map_or(0, Vec::len);
    match input.arms.iter().position(|runs| runs.len() != expected) {
        Some(arm) => Err(MetricsError::UnequalRuns { arm, expected, found: input.arms[arm].len() }),
        None => Ok(expected),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::testing::close;
    use crate::metrics::{Scope, Summary};

    const TARGETS: [f64; 8] = [0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0];
    const GOOD: [f64; 8] = [0.1, 0.9, 0.8, 0.2, 0.3, 0.6, 0.7, 0.4];
    const BAD: [f64; 8] = [0.9, 0.1, 0.2, 0.8, 0.7, 0.4, 0.3, 0.6];

    fn input<'a>(arms: &'a [Vec<&'a [f64]>], patients: &'a Patients) -> ArmScores<'a> {
        ArmScores { arms, targets: &TARGETS, findings: 1, patients }
    }

    #[test]
    fn a_draw_by_hand() {
        let patients = Patients::new(&[0, 0, 1, 1, 2, 2, 3, 3]);
        let arms = [vec![&GOOD[..], &BAD]];
        // The good run twice, the bad one not at all; then the good run twice and the bad one once.
        let draws = [(vec![0, 0], vec![0, 1, 2, 3]), (vec![0, 1, 0], vec![3, 3, 1])]
            .map(|(runs, drawn)| Draw::new(0, &runs, 2, (&drawn, &patients)).unwrap());
        let found = Bootstrap::of_draws(&input(&arms, &patients), &draws).unwrap();
        let values = found.replicates(0, Scope::Macro);
        assert!(close(values[0], 1.0) && close(values[1], 2.0 / 3.0), "{values:?}");
        assert_eq!(found.auroc(0, Scope::Macro).value, Some(0.5));
    }

    #[test]
    fn seeds_widen_the_interval_and_one_seed_changes_nothing() {
        let patients = Patients::new(&[0, 1, 2, 3, 4, 5, 6, 7]);
        let bootstrap = Bootstrap { replicates: 300, seed: 3 };
        let spread =
            |bootstrap: AurocBootstrap| Summary::new(&bootstrap.replicates(0, Scope::Macro)).standard_deviation.unwrap();
        let arms = [vec![&GOOD[..], &BAD]];
        let (fixed, drawn) = (bootstrap.run(&input(&arms, &patients)), bootstrap.run_with_seeds(&input(&arms, &patients)));
        // One run is always right and one always wrong: whatever the patients, the mean of both is 1/2.
        let (fixed, drawn) = (spread(fixed.unwrap()), spread(drawn.unwrap()));
        assert!(fixed < 1e-12 && drawn > 0.3, "{fixed} {drawn}");
        let single = [vec![&[0.3, 0.2, 0.8, 0.4, 0.1, 0.6, 0.3, 0.7][..]]];
        let (fixed, drawn) = (bootstrap.run(&input(&single, &patients)), bootstrap.run_with_seeds(&input(&single, &patients)));
        assert_eq!(fixed.unwrap().auroc(0, Scope::Macro), drawn.unwrap().auroc(0, Scope::Macro));
    }

    #[test]
    fn every_arm_has_the_same_seeds() {
        let patients = Patients::new(&[0, 1, 2, 3, 4, 5, 6, 7]);
        let arms = [vec![&GOOD[..], &BAD], vec![&GOOD[..], &BAD]];
        let found = Bootstrap { replicates: 50, seed: 1 }.run_with_seeds(&input(&arms, &patients)).unwrap();
        assert_eq!(found.replicates(0, Scope::Macro).len(), 50);
        let difference = found.difference(1, 0, Scope::Macro);
        assert_eq!(difference.bootstrap.standard_deviation, Some(0.0));
        let unequal = [vec![&GOOD[..], &BAD], vec![&GOOD[..]]];
        let refused = Bootstrap { replicates: 1, seed: 1 }.run_with_seeds(&input(&unequal, &patients)).unwrap_err();
        assert_eq!(refused, MetricsError::UnequalRuns { arm: 1, expected: 2, found: 1 });
    }

    #[test]
    fn draws_of_something_else_are_refused() {
        let patients = Patients::new(&[0, 1, 2, 3, 4, 5, 6, 7]);
        let draw = |runs: &[usize], drawn: &[usize]| Draw::new(4, runs, 2, (drawn, &patients));
        assert_eq!(draw(&[2], &[0]), Err(MetricsError::Draw { draw: 4, what: "run", found: 2, count: 2 }));
        assert_eq!(draw(&[0], &[8]), Err(MetricsError::Draw { draw: 4, what: "patient", found: 8, count: 8 }));
        assert!(matches!(draw(&[], &[0]), Err(MetricsError::Draw { .. })));
        let arms = [vec![&GOOD[..]]];
        let two_runs = draw(&[0, 1], &[0, 1]).unwrap();
        let refused = Bootstrap::of_draws(&input(&arms, &patients), &[two_runs]).unwrap_err();
        assert_eq!(refused, MetricsError::Length { what: "a draw of runs", expected: 1, found: 2 });
        let none: [Vec<&[f64]>; 1] = [vec![]];
        let refused = Bootstrap { replicates: 1, seed: 1 }.run_with_seeds(&input(&none, &patients)).unwrap_err();
        assert_eq!(refused, MetricsError::NoRuns { arm: 0 });
    }
}
