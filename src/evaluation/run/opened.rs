//! What an evaluation reads before it looks at images, so that a wrong file is found first.

use burn::tensor::Device;

use super::EvaluationError;
use super::reports::check_files;
use super::retrieval::{self, Texts};
use crate::config::{EvaluationConfig, LpipsConfig};
use crate::evaluation::features::networks::Lpips;
use crate::evaluation::features::{ClassifierScores, FeatureNetwork};

/// Networks and texts of the settings.
pub(super) struct Opened<'a> {
    pub(super) networks: Vec<Box<dyn FeatureNetwork>>,
    pub(super) judges: Vec<ClassifierScores>,
    pub(super) lpips: Option<(&'a LpipsConfig, Lpips)>,
    pub(super) texts: Option<Texts>,
}

impl<'a> Opened<'a> {
    pub(super) fn of(config: &'a EvaluationConfig, device: &Device) -> Result<Self, EvaluationError> {
        let networks = config.networks.iter().map(|choice| choice.open(config.resize, config.dtype, device));
        let networks = networks.collect::<Result<Vec<_>, _>>()?;
        let judge =
            |choice| ClassifierScores::open(choice, config.resize, device).map(|scores| scores.computed_in(config.dtype));
        let judges = config.judges.iter().map(judge).collect::<Result<Vec<_>, _>>()?;
        let lpips = match &config.lpips {
            Some(files) => Some((files, Lpips::open(&files.network, &files.weights, device)?)),
            None => None,
        };
        let texts = retrieval::open(config, &networks, device)?;
        check_files(&config.reports)?;
        Ok(Self { networks, judges, lpips, texts })
    }
}

/// Refuses settings whose files can't be used: before hours of work that they would be needed after.
///
/// # Errors
/// What [`evaluate`](super::evaluate) would say of them.
pub fn check_measures(config: &EvaluationConfig, device: &Device) -> Result<(), EvaluationError> {
    Opened::of(config, device).map(drop)
}
