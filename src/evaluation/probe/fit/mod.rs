//! Fitting: folds by patient, standardised embeddings, two kinds of probe, and what they score on texts that they did not see.

mod crossfit;
mod design;
mod folds;
mod logistic;
mod mlp;
#[cfg(test)]
mod tests;

pub use crossfit::{FitConfig, ProbeKind};
pub(super) use crossfit::{Questions, out_of_fold};
pub(super) use folds::folds;
