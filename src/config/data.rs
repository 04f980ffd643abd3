//! The `[data]` table.

use std::path::PathBuf;

use roentgen_augment::AugmentError;
use roentgen_augment::formats::Format;
use roentgen_augment::record::{Finding, LabelPolicy, Vocabulary};
use serde::{Deserialize, Serialize};

/// What is learnt from and judged on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// Layout of the data set.
    pub format: Format,
    /// Name in the report; the format's if absent.
    #[serde(default)]
    pub name: Option<String>,
    /// The label table, the `.npz` of MedMNIST; absent for the phantom.
    #[serde(default)]
    pub labels: Option<PathBuf>,
    /// The folder of the images, or for the NIH subset its `.npz`; the label table's folder if absent.
    #[serde(default)]
    pub images: Option<PathBuf>,
    /// Findings to learn, in this order; all that the data set has if absent.
    #[serde(default)]
    pub findings: Option<Vec<String>>,
    /// Findings outside the public vocabularies that the table may have.
    #[serde(default)]
    pub custom_findings: Vec<String>,
    /// Columns of the table to leave alone.
    #[serde(default)]
    pub extra_columns: Vec<String>,
    /// The table's column of reports; `report` if absent.
    #[serde(default)]
    pub report: Option<String>,
    /// What uncertain and blank labels become.
    #[serde(default)]
    pub policy: LabelPolicy,
    /// How patients are split.
    #[serde(default)]
    pub split: SplitConfig,
    /// Train on this many images (whole patients, chosen by `split` seed): for learning curves. All if absent.
    #[serde(default)]
    pub train_images: Option<usize>,
    /// MiB of decoded images kept in memory, those of validation first; 0 decodes anew each time.
    #[serde(default = "default_cache")]
    pub cache_mib: usize,
    /// The phantom's size and seed, for `format = "phantom"`.
    #[serde(default)]
    pub phantom: PhantomConfig,
}

fn default_cache() -> usize {
    1024
}

/// How patients are split.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "kebab-case", deny_unknown_fields)]
pub enum SplitConfig {
    /// The data set's own split column or lists.
    #[default]
    Given,
    /// By a hash of the patient.
    Patient {
        /// Share of the patients in validation.
        valid: f64,
        /// Share of the patients in test.
        test: f64,
        /// Another seed, another split.
        #[serde(default)]
        seed: u64,
    },
}

/// How much phantom there is. A patient's films stay in one split, so that counts can be off by a few.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PhantomConfig {
    /// Films in training.
    pub train: usize,
    /// Films in validation.
    pub valid: usize,
    /// Films in test.
    pub test: usize,
    /// Another seed, other bodies.
    pub seed: u64,
}

impl Default for PhantomConfig {
    fn default() -> Self {
        Self { train: 300, valid: 300, test: 600, seed: 1 }
    }
}

impl DataConfig {
    /// Every path in the table.
    pub(super) fn paths_mut(&mut self) -> Vec<&mut PathBuf> {
        self.labels.iter_mut().chain(self.images.iter_mut()).collect()
    }

    /// The findings asked for, custom ones declared first; `None` for all that the data set has.
    ///
    /// # Errors
    /// [`AugmentError::UnknownFinding`] and the like.
    pub fn vocabulary(&self) -> Result<Option<Vocabulary>, AugmentError> {
        for name in &self.custom_findings {
            let _declared = Finding::custom(name);
        }
        self.findings.as_ref().map(Vocabulary::parse).transpose()
    }

    /// Name in the report.
    #[must_use]
    pub fn title(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.format.title.to_owned())
    }
}
