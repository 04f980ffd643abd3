//! What the runs of a study will take.

use std::sync::Arc;

use burn::data::dataset::Dataset;
use roentgen_augment::dataset::Splits;

use crate::config::{Architecture, RunConfig};
use crate::report::{FORWARD, Outlook, Work};

/// Larger pictures can be made smaller before a study becomes another one.
const SMALL_PICTURE: usize = 64;

/// The outlook on `runs` runs of a study that are not trained yet.
#[must_use]
pub fn outlook(config: &RunConfig, splits: &Splits, runs: usize) -> Arc<Outlook> {
    let training = &config.training;
    let images = training.steps.div_ceil(training.eval_every) * splits.valid().len() + splits.test().len();
    let mut cheaper = Vec::new();
    if config.network.architecture != Architecture::Small && config.network.weights.is_none() {
        cheaper.push("`network.architecture = \"small\"`");
    }
    if config.preprocess.size > SMALL_PICTURE {
        cheaper.push("a smaller `preprocess.size`");
    }
    cheaper.push("fewer `training.steps`");
    if config.seeds.len() > 1 {
        cheaper.push("fewer `seeds`");
    }
    let judged = FORWARD * images as f64 / training.batch_size as f64;
    Outlook::new(Work::training(runs, training.steps, judged, cheaper))
}
