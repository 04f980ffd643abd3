//! The `[[arms]]` tables.

use roentgen_augment::AugmentError;
use roentgen_augment::mix::{Balance, MixMode, Mixture, Schedule};
use roentgen_classifier::training::Augmentation;
use serde::{Deserialize, Serialize};

use super::limits::{MOST_ENTRIES, MOST_SAMPLES, within};
use super::{ConfigError, GeneratorConfig, PlanConfig};

/// Epochs of one phase.
const MOST_EPOCHS: usize = 1_000_000;

/// Longest name of an arm in bytes: file systems take 255 for a folder, and temporary names are longer.
const LONGEST_NAME: usize = 100;

/// One arm: the composition of its training set. Everything else is the same in every arm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArmConfig {
    /// Unique name; also that of its folder.
    pub name: String,
    /// Text for the comparison report.
    #[serde(default)]
    pub description: String,
    /// What an epoch contains: `"real-only"`, `{ add = { synthetic_per_real = 1.0 } }`, `{ replace = { fraction = 0.5 } }`,
    /// `{ synthetic = { size = 1000 } }` or `{ duplicate-real = { per_real = 1.0 } }`.
    #[serde(default)]
    pub mode: MixMode,
    /// What epochs contain over time, instead of `mode`: `[{ epochs = 5, mode = … }, { mode = … }]`; the last phase continues.
    #[serde(default)]
    pub phases: Option<Schedule>,
    /// A share of the real images that is replaced, growing or shrinking over the epochs, instead of `mode`.
    #[serde(default)]
    pub ramp: Option<RampConfig>,
    /// `as-pool`, or `per-finding` to show rare findings more often among the synthetic images.
    #[serde(default)]
    pub balance: Balance,
    /// Distinct synthetic images to draw from; as many as one epoch holds if absent.
    #[serde(default)]
    pub pool: Option<usize>,
    /// Request more of the rare findings when the pool is planned.
    #[serde(default)]
    pub balanced_requests: bool,
    /// Whether samples must pass the `[gate]` before they train.
    #[serde(default)]
    pub gate: bool,
    /// Classical augmentation of this arm, instead of `training.augmentation`.
    #[serde(default)]
    pub augmentation: Option<Augmentation>,
}

/// A ramp: `from` in the first epoch, in equal steps to `to` in epoch `epochs`, and `to` from there on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RampConfig {
    /// Share of synthetic images in the first epoch, in `[0, 1]`.
    pub from: f64,
    /// Share in the last epoch of the ramp and all later ones, in `[0, 1]`.
    pub to: f64,
    /// Epochs of the ramp, from 1.
    pub epochs: usize,
}

impl ArmConfig {
    /// An arm of that name with the real training images alone.
    #[must_use]
    pub fn real_only(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            description: String::new(),
            mode: MixMode::RealOnly,
            phases: None,
            ramp: None,
            balance: Balance::default(),
            pool: None,
            balanced_requests: false,
            gate: false,
            augmentation: None,
        }
    }

    /// Its mixture.
    #[must_use]
    pub fn mixture(&self) -> Mixture {
        let phases = match (&self.phases, self.ramp) {
            (Some(phases), _) => phases.clone(),
            (None, Some(RampConfig { from, to, epochs })) => Schedule::ramp(from, to, epochs),
            (None, None) => Schedule::constant(self.mode),
        };
        Mixture { phases, balance: self.balance }
    }

    /// Distinct synthetic images it draws from, with `n` real ones.
    #[must_use]
    pub fn pool_size(&self, n: usize) -> usize {
        let phases = &self.mixture().phases;
        let most = phases.0.iter().map(|phase| phase.mode.counts(n).synthetic).max().unwrap_or(0);
        if most == 0 { 0 } else { self.pool.unwrap_or(most) }
    }

    /// Refuses epochs and pools that are too large with `n` real images.
    pub(super) fn validate_counts(&self, n: usize) -> Result<(), ConfigError> {
        let named = if self.phases.is_some() { "phases" } else { "mode" };
        for phase in &self.mixture().phases.0 {
            let counts = phase.mode.counts(n);
            let images = counts.real.saturating_add(counts.duplicated).saturating_add(counts.synthetic);
            let most = MOST_SAMPLES.max(n.saturating_mul(2));
            if images > most {
                let value = format!("an epoch of {images} images");
                return Err(ConfigError::value(format!("arms.{}.{named}", self.name), value, format!("at most {most}")));
            }
        }
        within(format!("arms.{}.pool", self.name), self.pool_size(n), 0..=MOST_SAMPLES)
    }

    /// The error of a mixture with the key that the user wrote: `mode` for an arm without `phases`.
    fn mixture_error(&self, error: AugmentError) -> ConfigError {
        let AugmentError::BadMixture { key, found, expected } = error else {
            return ConfigError::value(format!("arms.{}", self.name), error, "a valid mixture");
        };
        let key = match (&self.phases, &self.ramp) {
            (Some(_), _) => key,
            // The error is in the first epoch of a ramp or in a later one.
            (None, Some(_)) => {
                if key.starts_with("phases[0]") {
                    "ramp.from".to_owned()
                } else {
                    "ramp.to".to_owned()
                }
            }
            (None, None) => key.replace("phases[0]", "mode"),
        };
        ConfigError::value(format!("arms.{}.{key}", self.name), found, expected)
    }

    pub(super) fn validate(&self, has_generator: bool) -> Result<(), ConfigError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "+-_.".contains(c);
        if self.name.len() > LONGEST_NAME {
            let value = format!("{} bytes long", self.name.len());
            return Err(ConfigError::value("arms.name", value, format!("at most {LONGEST_NAME} (it names a folder)")));
        }
        if self.name.is_empty() || self.name.starts_with('.') || !self.name.chars().all(plain) {
            return Err(ConfigError::value("arms.name", &self.name, "letters, digits, + - _ . (it names a folder)"));
        }
        let ways = [self.phases.is_some(), self.ramp.is_some(), self.mode != MixMode::default()];
        if ways.into_iter().filter(|set| *set).count() > 1 {
            let key = format!("arms.{}.mode", self.name);
            return Err(ConfigError::value(key, "set beside `phases` or `ramp`", "one of the three"));
        }
        if let Some(ramp) = self.ramp {
            within(format!("arms.{}.ramp.epochs", self.name), ramp.epochs, 1..=MOST_ENTRIES)?;
        }
        if let Some(phases) = &self.phases {
            within(format!("arms.{}.phases", self.name), phases.0.len(), 1..=MOST_ENTRIES)?;
            for (at, phase) in phases.0.iter().enumerate() {
                within(format!("arms.{}.phases[{at}].epochs", self.name), phase.epochs, 0..=MOST_EPOCHS)?;
            }
        }
        self.mixture().validate().map_err(|error| self.mixture_error(error))?;
        within(format!("arms.{}.pool", self.name), self.pool.unwrap_or(1), 1..=MOST_SAMPLES)?;
        // Without any real image, `synthetic.size` alone decides the number.
        self.validate_counts(0)?;
        if let Some(augmentation) = &self.augmentation {
            validate_augmentation(&format!("arms.{}.augmentation", self.name), augmentation)?;
        }
        if self.gate && self.pool_size(1000) == 0 {
            return Err(ConfigError::value(format!("arms.{}.gate", self.name), true, "false: it has no synthetic images"));
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

    /// Refuses settings of an arm that the generator's plan already decides.
    pub(super) fn validate_plan(&self, generator: &GeneratorConfig) -> Result<(), ConfigError> {
        let fixed = match generator.plan {
            PlanConfig::Counts(_) if self.pool.is_some() => Some(("pool", "nothing: generator.plan counts the images")),
            PlanConfig::Counts(_) | PlanConfig::Prompts(_) if self.balanced_requests => {
                Some(("balanced_requests", "false: generator.plan decides what is requested"))
            }
            _ => None,
        };
        fixed.map_or(Ok(()), |(key, expected)| Err(ConfigError::value(format!("arms.{}.{key}", self.name), "set", expected)))
    }
}

/// Refuses invalid ranges, and ranges that would invert an image.
pub(super) fn validate_augmentation(place: &str, augmentation: &Augmentation) -> Result<(), ConfigError> {
    let Augmentation { rotation, shift, scale, intensity, flip } = *augmentation;
    within(format!("{place}.rotation"), rotation, 0.0..=180.0)?;
    within(format!("{place}.shift"), shift, 0.0..=1.0)?;
    within(format!("{place}.scale"), scale, 0.0..=0.99)?;
    within(format!("{place}.intensity"), intensity, 0.0..=1.0)?;
    within(format!("{place}.flip"), flip, 0.0..=1.0)
}
