//! The `[data]` table.

use std::collections::BTreeMap;
use std::path::PathBuf;

use roentgen_augment::AugmentError;
use roentgen_augment::formats::{Delimiter, Format, Place, Readers};
use roentgen_augment::record::{Finding, LabelPolicy, Target, View, Vocabulary};
use serde::{Deserialize, Serialize};

use super::ConfigError;
use super::limits::{MOST_CACHE_MIB, MOST_PHANTOMS, MOST_SAMPLES, entries, within};

/// The data for training, validation and test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// Layout of the data set.
    pub format: Format,
    /// Name in the report; the format's if absent.
    #[serde(default)]
    pub name: Option<String>,
    /// The label table, the `.npz` of MedMNIST; absent for folders and for the phantom.
    #[serde(default)]
    pub labels: Option<PathBuf>,
    /// The folder of the images, or for the NIH subset its `.npz`; the label table's folder if absent. Required of formats without a table.
    #[serde(default)]
    pub images: Option<PathBuf>,
    /// Findings to learn, in this order; all that the data set has if absent.
    #[serde(default)]
    pub findings: Option<Vec<String>>,
    /// Column of a field or a finding of the table, by the name of either.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub columns: BTreeMap<String, String>,
    /// Findings outside the public vocabularies that the table may have.
    #[serde(default)]
    pub custom_findings: Vec<String>,
    /// Columns of the table to ignore.
    #[serde(default)]
    pub extra_columns: Vec<String>,
    /// Columns of the table that are kept for `[fairness]`, which names them.
    #[serde(skip)]
    pub kept_columns: Vec<String>,
    /// The table's column of reports; `report` if absent.
    #[serde(default)]
    pub report: Option<String>,
    /// How labels of several readers become one: `majority` or `any`; by majority if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readers: Option<Readers>,
    /// What separates the cells of the table: `","`, `";"`, `"\t"` or `"|"`; guessed if absent.
    #[serde(default)]
    pub delimiter: Option<Delimiter>,
    /// Views that are read; all if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub views: Vec<View>,
    /// Whether only the first image of each patient is read.
    #[serde(default, skip_serializing_if = "is_false")]
    pub one_image_per_patient: bool,
    /// What becomes of rows whose images aren't there.
    #[serde(default, skip_serializing_if = "MissingConfig::is_default")]
    pub missing: MissingConfig,
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
    /// Further data sets that are read with this one, each with the keys that say what and where it is, and with a `split` of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<DataConfig>,
}

fn default_cache() -> usize {
    1024
}

// Keys that version 0.1.0 did not know are written only where they say something: its run folders are read as they are.

fn is_false(value: &bool) -> bool {
    !value
}

/// What becomes of rows whose images aren't there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MissingConfig {
    /// The data set is refused.
    #[default]
    Refuse,
    /// They are left out.
    Skip,
}

impl MissingConfig {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
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
        /// Another seed gives another split.
        #[serde(default)]
        seed: u64,
    },
}

/// Numbers of phantom images. A patient's images stay in one split, so counts can be off by a few.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PhantomConfig {
    /// Images in training.
    pub train: usize,
    /// Images in validation.
    pub valid: usize,
    /// Images in test.
    pub test: usize,
    /// Another seed gives other bodies.
    pub seed: u64,
}

impl Default for PhantomConfig {
    fn default() -> Self {
        Self { train: 300, valid: 300, test: 600, seed: 1 }
    }
}

impl DataConfig {
    /// Every path in the table.
    pub(crate) fn paths_mut(&mut self) -> Vec<&mut PathBuf> {
        let also = self.also.iter_mut().flat_map(Self::paths_mut);
        self.labels.iter_mut().chain(self.images.iter_mut()).chain(also).collect()
    }

    /// Tells the sets that are tables of any columns to keep these.
    pub(super) fn keep(&mut self, columns: &[String]) {
        if self.format.has_columns {
            self.kept_columns = columns.to_vec();
        }
        self.also.iter_mut().for_each(|set| set.keep(columns));
    }

    /// The data sets that are read: this one and those beside it.
    pub fn sets(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(&self.also)
    }

    /// What labels become on the rows that are read. Where several sets are, their blank labels are no longer: see
    /// [`CxrDataset::merged`](roentgen_augment::dataset::CxrDataset::merged).
    #[must_use]
    pub fn policy_of_rows(&self) -> LabelPolicy {
        match self.also.is_empty() {
            true => self.policy.clone(),
            false => LabelPolicy { blank: Target::Ignore, blank_for: BTreeMap::new(), ..self.policy.clone() },
        }
    }

    /// Whether the images are drawn, not read.
    #[must_use]
    pub fn is_phantom(&self) -> bool {
        self.format.place == Place::Nowhere
    }

    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        let lists = [
            ("data.findings", self.findings.as_ref().map_or(0, Vec::len)),
            ("data.custom_findings", self.custom_findings.len()),
            ("data.extra_columns", self.extra_columns.len()),
            ("data.columns", self.columns.len()),
            ("data.views", self.views.len()),
        ];
        lists.into_iter().try_for_each(|(key, count)| entries(key, count))?;
        if self.custom_findings.iter().any(|name| name.trim().is_empty()) {
            return Err(ConfigError::value("data.custom_findings", "a blank name", "names of findings"));
        }
        self.vocabulary().map_err(|error| ConfigError::value("data.findings", error, "names of findings, each once"))?;
        self.validate_place()?;
        self.validate_also()?;
        within("data.cache_mib", self.cache_mib as u64, 0..=MOST_CACHE_MIB)?;
        within("data.train_images", self.train_images.unwrap_or(1), 1..=MOST_SAMPLES)?;
        let PhantomConfig { train, valid, test, .. } = self.phantom;
        for (key, count) in [("train", train), ("valid", valid), ("test", test)] {
            within(format!("data.phantom.{key}"), count, 0..=MOST_PHANTOMS)?;
        }
        if let SplitConfig::Patient { valid, test, .. } = self.split {
            for (key, share) in [("valid", valid), ("test", test)] {
                // NaN is in no range.
                if !(0.0..1.0).contains(&share) {
                    return Err(ConfigError::value(format!("data.split.{key}"), share, "a number from 0 to below 1"));
                }
            }
            if valid + test >= 1.0 {
                let value = format!("{valid} beside a test share of {test}");
                return Err(ConfigError::value("data.split.valid", value, "shares that leave something to train on"));
            }
        }
        Ok(())
    }

    /// Refuses keys that the layout lacks or doesn't know.
    fn validate_place(&self) -> Result<(), ConfigError> {
        match (self.format.place, &self.labels, &self.images) {
            (Place::Labels, None, _) => {
                return Err(ConfigError::value("data.labels", "absent", "the path of the label table"));
            }
            (Place::Images, _, None) => return Err(ConfigError::value("data.images", "absent", "the path of the folder")),
            (Place::Images, Some(labels), _) => {
                let expected = format!("data.images alone for `{}`: labels are in that folder", self.format.name);
                return Err(ConfigError::value("data.labels", labels.display(), expected));
            }
            _ => {}
        }
        let columns = ("data.columns", "a table", !self.columns.is_empty() && !self.format.has_columns);
        // The phantom has neither files nor two images of a kind.
        let is_made = self.format.place == Place::Nowhere;
        let missing = ("data.missing", "\"skip\"", is_made && !self.missing.is_default());
        let is_unused = |key: &str| !self.format.keys.contains(&key);
        let report = ("data.report", "a column", self.report.is_some() && is_unused("report"));
        let readers = ("data.readers", "a rule", self.readers.is_some() && is_unused("readers"));
        if let Some((key, value, _)) = [columns, missing, report, readers].into_iter().find(|(.., is_refused)| *is_refused) {
            return Err(ConfigError::value(key, value, format!("nothing: `{}` has no use for it", self.format.name)));
        }
        if self.columns.contains_key("order") && !self.one_image_per_patient {
            let expected = "one_image_per_patient = true beside it: it says which image that is";
            return Err(ConfigError::value("data.columns.order", &self.columns["order"], expected));
        }
        if let Some((key, _)) = self.columns.iter().find(|(_, column)| column.trim().is_empty()) {
            return Err(ConfigError::value(format!("data.columns.{key}"), "blank", "the name of a column"));
        }
        Ok(())
    }

    /// Refuses keys of a further set that are not its own to say.
    fn validate_also(&self) -> Result<(), ConfigError> {
        entries("data.also", self.also.len())?;
        if !self.also.is_empty() && self.is_phantom() {
            return Err(ConfigError::value("data.also", "set", "nothing: the phantom isn't mixed with radiographs"));
        }
        for (at, set) in self.also.iter().enumerate() {
            let key = format!("data.also[{at}]");
            let others = [
                (!set.also.is_empty(), "also", "nothing: list every set in data.also"),
                (set.policy != Default::default(), "policy", "nothing: data.policy is that of all sets"),
                (set.train_images.is_some(), "train_images", "nothing: data.train_images is that of all sets"),
                (set.cache_mib != default_cache(), "cache_mib", "nothing: data.cache_mib is that of all sets"),
                (set.is_phantom(), "format", "a layout of images on disk: the phantom isn't mixed with radiographs"),
            ];
            if let Some((_, name, expected)) = others.into_iter().find(|(is_set, ..)| *is_set) {
                return Err(ConfigError::value(format!("{key}.{name}"), "set", expected));
            }
            set.validate().map_err(|error| error.below("data", &key))?;
        }
        let names: Vec<&str> = self.sets().map(Self::set_name).collect();
        if let Some(twice) = (1..names.len()).find(|&at| names[..at].contains(&names[at])) {
            let expected = "another `name` for each set: it is put before the names of its images and patients";
            return Err(ConfigError::value(format!("data.also[{}].name", twice - 1), names[twice], expected));
        }
        if let Some(name) = names.iter().find(|name| names.len() > 1 && (name.trim().is_empty() || name.contains('/'))) {
            return Err(ConfigError::value("data.name", name, "a name without `/`"));
        }
        Ok(())
    }

    /// What stands before the names of a set's images and patients where several are read.
    #[must_use]
    pub fn set_name(&self) -> &str {
        self.name.as_deref().unwrap_or(self.format.name)
    }

    /// The findings to learn, custom ones declared first; `None` for all that the data set has.
    ///
    /// # Errors
    /// [`AugmentError::UnknownFinding`] and the like.
    pub fn vocabulary(&self) -> Result<Option<Vocabulary>, AugmentError> {
        for name in self.sets().flat_map(|set| &set.custom_findings) {
            let _declared = Finding::custom(name);
        }
        self.findings.as_ref().map(Vocabulary::parse).transpose()
    }

    /// Name in the report.
    #[must_use]
    pub fn title(&self) -> String {
        let title = |set: &Self| set.name.clone().unwrap_or_else(|| set.format.title.to_owned());
        self.sets().map(title).collect::<Vec<_>>().join(" + ")
    }
}
