//! The `[generator]` table.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use roentgen_augment::AugmentError;
use roentgen_augment::record::{Finding, by_finding};
use roentgen_augment::text::PromptSettings;
use serde::{Deserialize, Serialize};

use super::{ConfigError, DiffusionConfig};

pub use roentgen_augment::supply::SupplyMode;

/// What makes synthetic images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GeneratorConfig {
    /// Kind of generator.
    pub kind: GeneratorKind,
    /// Side of its images in pixels; that of `[preprocess]` if absent.
    #[serde(default)]
    pub size: Option<usize>,
    /// What is asked for.
    #[serde(default)]
    pub plan: PlanConfig,
    /// Seed of the requests: which training rows are asked for, with which noise.
    #[serde(default)]
    pub seed: u64,
    /// How prompts are made from training rows; read by `kind = "diffusion"` alone.
    #[serde(default)]
    pub prompts: PromptSettings,
    /// `cached` (a missing sample is an error), `on-demand` (nothing is kept), or `cache-then-generate`.
    #[serde(default)]
    pub supply: SupplyMode,
    /// Folder of the sample cache; `cache` in the run folder if absent.
    #[serde(default)]
    pub cache: Option<PathBuf>,
    /// Most MiB that the cache may take; no bound if absent.
    #[serde(default)]
    pub cache_mib: Option<u64>,
    /// The checkpoint and how it samples; with `kind = "diffusion"`, and only then.
    #[serde(default)]
    pub diffusion: Option<DiffusionConfig>,
}

impl GeneratorConfig {
    /// Images made at a time.
    #[must_use]
    pub fn batch(&self) -> NonZeroUsize {
        const DRAWN: NonZeroUsize = NonZeroUsize::new(32).expect("32 is not 0");
        self.diffusion.as_ref().map_or(DRAWN, |diffusion| diffusion.batch_size)
    }

    /// What the report must say of it.
    #[must_use]
    pub fn caveat(&self) -> String {
        match self.diffusion.as_ref().and_then(|diffusion| diffusion.trained_on.as_ref()) {
            Some(trained_on) => format!("Synthetic images come from a {}. It was trained on {trained_on}", self.kind.title()),
            None => self.kind.caveat().to_owned(),
        }
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        match (self.kind, &self.diffusion) {
            (GeneratorKind::Diffusion, None) => {
                let expected = "a [generator.diffusion] table that names the pipeline";
                Err(ConfigError::value("generator.kind", "diffusion", expected))
            }
            (GeneratorKind::Diffusion, Some(diffusion)) => {
                self.prompts.validate().map_err(|error| match error {
                    AugmentError::BadSetting { key, found, expected } => {
                        ConfigError::value(format!("generator.{key}"), found, expected)
                    }
                    other => ConfigError::value("generator.prompts", other, "valid settings"),
                })?;
                diffusion.validate()
            }
            (_, None) if self.prompts != PromptSettings::default() => Err(ConfigError::value(
                "generator.prompts",
                "set",
                "nothing, or kind = \"diffusion\": phantoms are drawn from labels",
            )),
            (_, None) => Ok(()),
            (_, Some(_)) => Err(ConfigError::value("generator.diffusion", "set", "nothing, or kind = \"diffusion\"")),
        }
    }
}

/// What is asked for. Labels come from training rows or from a table, never from held-out rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlanConfig {
    /// The training rows in turn, one replica after the other: every finding as often as there.
    #[default]
    Prevalence,
    /// Every finding equally often: more replicas of the rows with rare ones.
    Balanced,
    /// So many images of each finding; `"No Finding"` stands for rows without any.
    Counts(#[serde(deserialize_with = "by_finding")] BTreeMap<Finding, usize>),
    /// The rows of a table of prompts in turn.
    Prompts(PathBuf),
}

/// Kinds of generator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GeneratorKind {
    /// The analytic chest phantom, drawn as faithfully as it can be.
    Phantom,
    /// The analytic chest phantom as a deliberately less faithful simulator.
    ShiftedPhantom,
    /// A Stable Diffusion checkpoint, see [`DiffusionConfig`].
    Diffusion,
}

impl GeneratorKind {
    /// Name for people.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Phantom => "analytic chest phantom",
            Self::ShiftedPhantom => "shifted simulator (phantom, less faithful)",
            Self::Diffusion => "latent diffusion model",
        }
    }

    /// What the report must say of it where the run file does not say more.
    fn caveat(self) -> &'static str {
        match self {
            Self::Phantom => {
                "Synthetic images come from the analytic chest phantom, not from a generative model: they are a control."
            }
            Self::ShiftedPhantom => {
                "Synthetic images come from a shifted simulator: the analytic chest phantom made deliberately less faithful. \
                 They stand in for a generative model; nothing here says anything about one."
            }
            Self::Diffusion => {
                "What the checkpoint itself was trained on, and whether held-out patients are among it, only its makers can say."
            }
        }
    }
}
