//! Intervals of figures over queries.

use rayon::prelude::*;
use roentgen_classifier::metrics::{Bootstrap, Patients, Summary};

use crate::report::Estimate;

/// Each of `figures` figures with its bootstrap interval: `of` gives one from its place and from how often each query is drawn, NaN where it is
/// undefined. Queries of a patient are drawn together.
pub(super) fn estimates(
    patients: &[&str],
    bootstrap: Bootstrap,
    figures: usize,
    of: impl Fn(usize, &[u32]) -> f64 + Sync,
) -> Vec<Option<Estimate>> {
    let patients = Patients::new(patients);
    let all = |weights: &[u32]| (0..figures).map(|figure| of(figure, weights)).collect::<Vec<f64>>();
    let values = all(&vec![1; patients.rows()]);
    // Every replicate has its own stream, so their order on threads doesn't matter.
    let replicates: Vec<Vec<f64>> = (0..bootstrap.replicates)
        .into_par_iter()
        .map(|replicate| all(&patients.weights(bootstrap.seed, replicate as u64)))
        .collect();
    let estimate = |(figure, value): (usize, f64)| {
        let of_figure: Vec<f64> = replicates.iter().map(|replicate| replicate[figure]).collect();
        let interval = Summary::new(&of_figure).interval?;
        (!value.is_nan()).then_some(Estimate { value, low: interval.lower, high: interval.upper })
    };
    values.into_iter().enumerate().map(estimate).collect()
}
