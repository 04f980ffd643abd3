//! The exact meaning of a mixture of real and synthetic images.

use serde::{Deserialize, Serialize};

use crate::AugmentError;
use crate::mix::{Phase, Schedule};

/// Largest number of images that may be added per real one; more is considered a mistake.
const MAX_PER_REAL: f64 = 10_000.0;

/// Most images of one epoch; more is considered a mistake, as the order of an epoch is held in memory.
pub const MAX_EPOCH: usize = 100_000_000;

/// What an epoch is made of. `n` is the number of real training images; products are rounded to the nearest whole number,
/// halves up.
///
/// In a run file: `"real-only"`, `{ add = { synthetic_per_real = 1.0 } }`, `{ replace = { fraction = 0.5 } }`,
/// `{ synthetic = { size = 2000 } }`, `{ duplicate-real = { per_real = 1.0 } }`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum MixMode {
    /// Each real image once.
    #[default]
    RealOnly,
    /// Each real image once, and `synthetic_per_real * n` synthetic ones: the epoch grows.
    Add {
        /// From 0; 1 doubles the epoch.
        synthetic_per_real: f64,
    },
    /// `n` images of which `fraction * n` are synthetic: the epoch keeps its size. The real ones take turns, so that over the
    /// epochs each is seen equally often.
    Replace {
        /// In `[0, 1]`.
        fraction: f64,
    },
    /// `size` synthetic images and no real one.
    Synthetic {
        /// From 1 to [`MAX_EPOCH`], whatever the number of real images.
        size: usize,
    },
    /// Each real image once, and `per_real * n` real ones a second time: the control that shows the effect of a longer epoch by
    /// itself.
    DuplicateReal {
        /// From 0; 1 shows every image twice.
        per_real: f64,
    },
}

/// How many images of each kind an epoch has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EpochCounts {
    /// Real images, each at most once.
    pub real: usize,
    /// Real images shown again.
    pub duplicated: usize,
    /// Synthetic images.
    pub synthetic: usize,
}

impl EpochCounts {
    /// Length of the epoch.
    #[must_use]
    pub fn len(self) -> usize {
        self.real + self.duplicated + self.synthetic
    }

    /// Whether the epoch has no image.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

impl MixMode {
    /// The make-up of an epoch over `n` real images.
    #[must_use]
    pub fn counts(self, n: usize) -> EpochCounts {
        // The cast saturates; `validate` keeps the product far below that.
        let share = |ratio: f64| (ratio * n as f64).round() as usize;
        match self {
            Self::RealOnly => EpochCounts { real: n, ..EpochCounts::default() },
            Self::Add { synthetic_per_real } => {
                EpochCounts { real: n, synthetic: share(synthetic_per_real), ..EpochCounts::default() }
            }
            Self::Replace { fraction } => {
                let synthetic = share(fraction).min(n);
                EpochCounts { real: n - synthetic, synthetic, ..EpochCounts::default() }
            }
            Self::Synthetic { size } => EpochCounts { synthetic: size, ..EpochCounts::default() },
            Self::DuplicateReal { per_real } => EpochCounts { real: n, duplicated: share(per_real), ..EpochCounts::default() },
        }
    }

    /// Refuses invalid ratios; `place` is the beginning of the key in the message.
    pub(crate) fn validate(self, place: &str) -> Result<(), AugmentError> {
        let (key, value, most, expected) = match self {
            Self::RealOnly => return Ok(()),
            Self::Add { synthetic_per_real } => {
                ("synthetic_per_real", synthetic_per_real, MAX_PER_REAL, "a number from 0 to 10000")
            }
            Self::Replace { fraction } => ("fraction", fraction, 1.0, "a number from 0 to 1"),
            Self::DuplicateReal { per_real } => ("per_real", per_real, MAX_PER_REAL, "a number from 0 to 10000"),
            Self::Synthetic { size: 1..=MAX_EPOCH } => return Ok(()),
            Self::Synthetic { size } => {
                return Err(AugmentError::BadMixture {
                    key: format!("{place}size"),
                    found: size.to_string(),
                    expected: "a number from 1 to 100000000",
                });
            }
        };
        // NaN is in no range.
        if (0.0..=most).contains(&value) {
            return Ok(());
        }
        Err(AugmentError::BadMixture { key: format!("{place}{key}"), found: value.to_string(), expected })
    }
}

/// Which images of the synthetic pool an epoch takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Balance {
    /// Each finding as often as in the pool.
    #[default]
    AsPool,
    /// Every finding equally often, and as often the images without any: rare findings are repeated. An image of several
    /// findings is taken for each of them.
    PerFinding,
}

/// The make-up of every epoch of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mixture {
    /// Modes over the epochs; one phase unless the mixture changes.
    pub phases: Schedule,
    /// Which synthetic images are taken.
    pub balance: Balance,
}

impl Mixture {
    /// The same mode in every epoch.
    #[must_use]
    pub fn new(mode: MixMode) -> Self {
        Self { phases: Schedule::constant(mode), balance: Balance::AsPool }
    }

    /// Each real image once in every epoch, and `synthetic_per_real` synthetic ones for each: see [`MixMode::Add`].
    #[must_use]
    pub fn add(synthetic_per_real: f64) -> Self {
        Self::new(MixMode::Add { synthetic_per_real })
    }

    /// Modes that change over the epochs.
    #[must_use]
    pub fn scheduled(phases: Vec<Phase>) -> Self {
        Self { phases: Schedule(phases), balance: Balance::AsPool }
    }

    /// The same mixture with another choice of synthetic images.
    #[must_use]
    pub fn with_balance(self, balance: Balance) -> Self {
        Self { balance, ..self }
    }

    /// Refuses invalid ratios, and schedules without phases.
    ///
    /// # Errors
    /// [`AugmentError::BadMixture`] names the key and says what to write.
    pub fn validate(&self) -> Result<(), AugmentError> {
        self.phases.validate()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ratios_that_mean_nothing_are_refused() {
        let per_real = |r| MixMode::Add { synthetic_per_real: r };
        for mode in [
            per_real(-1.0),
            per_real(f64::NAN),
            per_real(f64::INFINITY),
            MixMode::Replace { fraction: 1.5 },
            MixMode::Replace { fraction: -0.1 },
            MixMode::DuplicateReal { per_real: -1.0 },
            MixMode::Synthetic { size: 0 },
            MixMode::Synthetic { size: usize::MAX },
        ] {
            let error = Mixture::new(mode).validate().unwrap_err();
            assert!(matches!(error, AugmentError::BadMixture { .. }), "{mode:?}: {error}");
        }
        let error = Mixture::new(per_real(-1.0)).validate().unwrap_err().to_string();
        assert_eq!(error, "mixture: phases[0].synthetic_per_real is -1; write a number from 0 to 10000");
    }

    #[test]
    fn the_file_form_is_strict() {
        let read = |json: &str| serde_json::from_str::<MixMode>(json);
        assert_eq!(read(r#""real-only""#).unwrap(), MixMode::RealOnly);
        assert_eq!(read(r#"{"add": {"synthetic_per_real": 2}}"#).unwrap(), MixMode::Add { synthetic_per_real: 2.0 });
        assert_eq!(read(r#"{"duplicate-real": {"per_real": 1}}"#).unwrap(), MixMode::DuplicateReal { per_real: 1.0 });
        assert!(read(r#"{"add": {"synthetic_per_real": 2, "ratio": 1}}"#).unwrap_err().to_string().contains("`ratio`"));
        assert!(read(r#"{"add": {}}"#).unwrap_err().to_string().contains("synthetic_per_real"));
        assert!(
            serde_json::from_str::<Mixture>(r#"{"ballance": "per-finding"}"#).unwrap_err().to_string().contains("ballance")
        );
    }

    proptest! {
        #[test]
        fn counts_are_what_was_asked(n in 0usize..5000, ratio in 0.0..3.0, fraction in 0.0..=1.0, size in 1usize..5000) {
            let add = MixMode::Add { synthetic_per_real: ratio }.counts(n);
            prop_assert_eq!((add.real, add.duplicated), (n, 0));
            prop_assert!((add.synthetic as f64 - ratio * n as f64).abs() <= 0.5);
            let replace = MixMode::Replace { fraction }.counts(n);
            prop_assert_eq!(replace.len(), n);
            prop_assert!((replace.synthetic as f64 - fraction * n as f64).abs() <= 0.5);
            prop_assert_eq!(MixMode::Synthetic { size }.counts(n), EpochCounts { synthetic: size, ..EpochCounts::default() });
            let twice = MixMode::DuplicateReal { per_real: ratio }.counts(n);
            prop_assert_eq!(twice.len(), add.len());
            prop_assert_eq!(twice.synthetic, 0);
        }
    }
}
