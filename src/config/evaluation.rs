//! The `[evaluation]` table: how synthetic images are measured.

use std::path::Path;

use roentgen_augment::record::Finding;
use serde::{Deserialize, Serialize};

use super::limits::{MOST_SEED, entries, within};
use super::measure_files::{LpipsConfig, TextsConfig};
use super::{ComputeType, ConfigError, ReportsConfig};
use crate::evaluation::features::{NetworkChoice, ResizePath};
use crate::hub::Asked;

/// How synthetic images are measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EvaluationConfig {
    /// The networks whose features are compared, as `KIND:PATH`; nothing is compared without one.
    pub networks: Vec<NetworkChoice>,
    /// The classifiers that judge whether images show what they were asked for, as `xrv:FILE` or `classifier:FILE`.
    pub judges: Vec<NetworkChoice>,
    /// The way from an image's size to a network's.
    pub resize: ResizePath,
    /// Compute type of networks and judges: 32-bit or brain floats.
    pub dtype: ComputeType,
    /// Findings with figures of their own; all that both sets know if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub findings: Option<Vec<String>>,
    /// Fewest images on each side of a figure.
    pub least_images: usize,
    /// Neighbours in precision, recall, density and coverage.
    pub neighbours: usize,
    /// Times that the sets are halved, for floors and intervals.
    pub splits: usize,
    /// Most prompts whose images are compared with each other.
    pub most_prompts: usize,
    /// Images that a network is given at once; results are the same but for the last bits.
    pub batch: usize,
    /// Seed of everything that is drawn.
    pub seed: u64,
    /// The files of LPIPS; it is not measured without them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lpips: Option<LpipsConfig>,
    /// Texts that ask for images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub texts: Option<TextsConfig>,
    /// Whether images say what their reports do.
    pub reports: ReportsConfig,
}

impl Default for EvaluationConfig {
    fn default() -> Self {
        Self {
            networks: Vec::new(),
            judges: Vec::new(),
            resize: ResizePath::default(),
            dtype: ComputeType::default(),
            findings: None,
            least_images: 20,
            neighbours: 5,
            splits: 20,
            most_prompts: 200,
            batch: 16,
            seed: 0,
            lpips: None,
            texts: None,
            reports: ReportsConfig::default(),
        }
    }
}

impl EvaluationConfig {
    /// Decides between paths and names on the hub; relative paths are taken from `folder`.
    pub(super) fn resolve(&mut self, folder: &Path) {
        for choice in self.networks.iter_mut().chain(&mut self.judges) {
            *choice = choice.clone().resolved(|path| super::resolve(folder, path));
        }
        self.lpips.iter_mut().for_each(|lpips| lpips.resolve(folder));
        self.texts.iter_mut().for_each(|texts| texts.resolve(folder));
        self.reports.resolve(folder);
    }

    /// The networks, which may be names on the hub.
    pub(super) fn checkpoints(&mut self) -> impl Iterator<Item = Asked<'_>> {
        let networks = self.networks.iter_mut().map(|network| network.asked("evaluation.networks"));
        let texts = self.texts.iter_mut().filter_map(|texts| Some(texts.network.as_mut()?.asked("evaluation.texts.network")));
        networks.chain(self.judges.iter_mut().map(|judge| judge.asked("evaluation.judges"))).chain(texts)
    }

    /// Refuses values that parse but are invalid.
    ///
    /// # Errors
    /// [`ConfigError::Value`] for the first one.
    pub fn validate(&self) -> Result<(), ConfigError> {
        entries("evaluation.networks", self.networks.len())?;
        entries("evaluation.judges", self.judges.len())?;
        within("evaluation.neighbours", self.neighbours, 1..=100)?;
        // Half of them must have as many neighbours.
        within("evaluation.least_images", self.least_images, 2 * (self.neighbours + 1)..=1_000_000)?;
        within("evaluation.splits", self.splits, 2..=1_000)?;
        within("evaluation.most_prompts", self.most_prompts, 1..=100_000)?;
        within("evaluation.batch", self.batch, 1..=1_024)?;
        within("evaluation.seed", self.seed, 0..=MOST_SEED)?;
        if self.dtype == ComputeType::F16 {
            // torchxrayvision's images go up to 1024, and sums over them beyond what half precision holds.
            return Err(ConfigError::value("evaluation.dtype", self.dtype, "f32 or bf16"));
        }
        self.network_of_texts()?;
        self.reports.validate()?;
        self.chosen_findings().map(drop)
    }

    /// The findings that are asked for.
    ///
    /// # Errors
    /// [`ConfigError::Value`] for a name that is no finding.
    pub fn chosen_findings(&self) -> Result<Option<Vec<Finding>>, ConfigError> {
        let parse = |name: &String| {
            Finding::parse(name).map_err(|error| ConfigError::value("evaluation.findings", name, error.to_string()))
        };
        self.findings.as_ref().map(|names| names.iter().map(parse).collect()).transpose()
    }
}
