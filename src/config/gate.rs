//! The `[gate]` table.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::PathBuf;

use roentgen_augment::AugmentError;
use roentgen_augment::gate::ImageSanity;
use roentgen_augment::record::{Finding, by_finding};
use serde::{Deserialize, Serialize};

use super::ConfigError;
use super::limits::{MOST_ATTEMPTS, entries, within};

/// The checks that a sample must pass before it trains in an arm with `gate = true`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GateConfig {
    /// Attempts per request, the first included.
    pub attempts: NonZeroU32,
    /// Which judges are used.
    pub judges: Vec<JudgeKind>,
    /// Limits of `sanity`.
    pub sanity: ImageSanity,
    /// Limits of `agreement`.
    pub agreement: AgreementConfig,
    /// Limits of `copies`.
    pub copies: CopiesConfig,
}

impl Default for GateConfig {
    fn default() -> Self {
        Self {
            attempts: NonZeroU32::new(4).expect("4 is not 0"),
            judges: vec![JudgeKind::Sanity, JudgeKind::Agreement, JudgeKind::Copies],
            sanity: ImageSanity::default(),
            agreement: AgreementConfig::default(),
            copies: CopiesConfig::default(),
        }
    }
}

/// Which judges are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JudgeKind {
    /// Blank, saturated and coloured images.
    Sanity,
    /// A classifier that checks what was requested.
    Agreement,
    /// Images nearer to a training image than images of other people are.
    Copies,
}

/// How well a classifier has to agree with the requested labels.
///
/// A limit that is not given is learnt from the real validation images: a positive label requires a score that all but
/// `positive_quantile` of the real positives reach, a negative one a score that all but `negative_quantile` of the real negatives
/// stay below.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AgreementConfig {
    /// Share of real positives that would be rejected.
    pub positive_quantile: f64,
    /// Share of real negatives that would be rejected, of each finding.
    pub negative_quantile: f64,
    /// Limits of single findings, instead of the learnt ones.
    #[serde(deserialize_with = "by_finding")]
    pub limits: BTreeMap<Finding, FindingLimits>,
    /// Weights that `train` or `compare` wrote, from the same training split; trained in the run folder on the real training rows if
    /// absent.
    pub weights: Option<PathBuf>,
    /// Seed of the classifier that is trained; not an arm's seed, so that judge and judged are independent.
    pub seed: u64,
}

impl Default for AgreementConfig {
    fn default() -> Self {
        Self { positive_quantile: 0.1, negative_quantile: 0.01, limits: BTreeMap::new(), weights: None, seed: 1_000_000 }
    }
}

/// Limits on the scores of one finding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FindingLimits {
    /// Smallest probability where the finding was requested.
    pub positive: Option<f32>,
    /// Largest probability where its absence was requested.
    pub negative: Option<f32>,
}

/// How near a sample may be to a training image.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CopiesConfig {
    /// Share of the real validation images that would be rejected.
    pub quantile: f64,
}

impl Default for CopiesConfig {
    fn default() -> Self {
        Self { quantile: 0.01 }
    }
}

impl GateConfig {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        if self.judges.is_empty() {
            return Err(ConfigError::value("gate.judges", "empty", "at least one of sanity, agreement, copies"));
        }
        entries("gate.judges", self.judges.len())?;
        within("gate.attempts", self.attempts.get(), 1..=MOST_ATTEMPTS)?;
        self.sanity.validate().map_err(|error| match error {
            AugmentError::BadSetting { key, found, expected } => ConfigError::value(key, found, expected),
            other => ConfigError::value("gate.sanity", other, "valid limits"),
        })?;
        let quantiles = [
            ("agreement.positive_quantile", self.agreement.positive_quantile),
            ("agreement.negative_quantile", self.agreement.negative_quantile),
            ("copies.quantile", self.copies.quantile),
        ];
        // NaN is in no range.
        if let Some((key, quantile)) = quantiles.into_iter().find(|(_, quantile)| !(0.0..1.0).contains(quantile)) {
            return Err(ConfigError::value(format!("gate.{key}"), quantile, "a number from 0 to below 1"));
        }
        for (finding, limits) in &self.agreement.limits {
            for limit in limits.positive.into_iter().chain(limits.negative) {
                if !(0.0..=1.0).contains(&limit) {
                    return Err(ConfigError::value(format!("gate.agreement.limits.{finding}"), limit, "a probability"));
                }
            }
        }
        Ok(())
    }
}
