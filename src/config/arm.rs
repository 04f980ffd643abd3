//! The `[generator]` table and the `[[arms]]` tables.

use std::path::PathBuf;

use roentgen_augment::{AugmentError, Balance, MixMode, Mixture, PromptSettings, Schedule};
use roentgen_classifier::Augmentation;
use serde::{Deserialize, Serialize};

use super::{ConfigError, DiffusionConfig};

pub use roentgen_augment::SupplyMode;

/// What makes synthetic images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GeneratorConfig {
    /// Kind of generator.
    pub kind: GeneratorKind,
    /// Side of its images in pixels; that of `[preprocess]` if absent.
    #[serde(default)]
    pub size: Option<usize>,
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
            Self::Diffusion => "Stable Diffusion checkpoint",
        }
    }

    /// What the report must say of it.
    #[must_use]
    pub fn caveat(self) -> &'static str {
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

/// One arm: what its training set is made of. Everything else is the same in every arm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArmConfig {
    /// Name, unique; also its folder's.
    pub name: String,
    /// Words for the report.
    #[serde(default)]
    pub description: String,
    /// What an epoch holds: `"real-only"`, `{ add = { synthetic_per_real = 1.0 } }`, `{ replace = { fraction = 0.5 } }`,
    /// `{ synthetic = { size = 1000 } }` or `{ duplicate-real = { per_real = 1.0 } }`.
    #[serde(default)]
    pub mode: MixMode,
    /// What epochs hold over time, in place of `mode`: `[{ epochs = 5, mode = … }, { mode = … }]`; the last phase lasts.
    #[serde(default)]
    pub phases: Option<Schedule>,
    /// `as-pool`, or `per-finding` to show rare findings more often among the synthetic images.
    #[serde(default)]
    pub balance: Balance,
    /// Distinct synthetic images to draw from; as many as one epoch holds if absent.
    #[serde(default)]
    pub pool: Option<usize>,
    /// Ask for more of the rare findings when the pool is planned.
    #[serde(default)]
    pub balanced_requests: bool,
    /// Classical augmentation of this arm, in place of `training.augmentation`.
    #[serde(default)]
    pub augmentation: Option<Augmentation>,
}

impl ArmConfig {
    /// Its mixture.
    #[must_use]
    pub fn mixture(&self) -> Mixture {
        let phases = self.phases.clone().unwrap_or_else(|| Schedule::constant(self.mode));
        Mixture { phases, balance: self.balance }
    }

    /// Distinct synthetic images it draws from, with `n` real ones.
    #[must_use]
    pub fn pool_size(&self, n: usize) -> usize {
        let phases = &self.mixture().phases;
        let most = phases.0.iter().map(|phase| phase.mode.counts(n).synthetic).max().unwrap_or(0);
        if most == 0 { 0 } else { self.pool.unwrap_or(most) }
    }

    /// A mixture's fault under the key that the user wrote: an arm without `phases` wrote `mode`.
    fn mixture_error(&self, error: AugmentError) -> ConfigError {
        let AugmentError::BadMixture { key, found, expected } = error else {
            return ConfigError::value(format!("arms.{}", self.name), error, "a valid mixture");
        };
        let key = if self.phases.is_none() { key.replace("phases[0]", "mode") } else { key };
        ConfigError::value(format!("arms.{}.{key}", self.name), found, expected)
    }

    pub(super) fn validate(&self, has_generator: bool) -> Result<(), ConfigError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "+-_.".contains(c);
        if self.name.is_empty() || self.name.starts_with('.') || !self.name.chars().all(plain) {
            return Err(ConfigError::value("arms.name", &self.name, "letters, digits, + - _ . (it names a folder)"));
        }
        if self.phases.is_some() && self.mode != MixMode::default() {
            return Err(ConfigError::value(format!("arms.{}.mode", self.name), "set beside `phases`", "one of the two"));
        }
        self.mixture().validate().map_err(|error| self.mixture_error(error))?;
        if self.pool == Some(0) {
            return Err(ConfigError::value(format!("arms.{}.pool", self.name), 0, "at least 1"));
        }
        if self.pool_size(1000) > 0 && !has_generator {
            return Err(ConfigError::value(
                format!("arms.{}", self.name),
                "a mixture with synthetic images",
                "a [generator] table that says what makes them",
            ));
        }
        Ok(())
    }
}
