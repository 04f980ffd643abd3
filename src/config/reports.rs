//! The `[evaluation.reports]` table: whether images say what their reports do.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::ConfigError;
use crate::evaluation::text::UncertainAs;

/// What reads the images, and how the reports are compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReportsConfig {
    /// Train a small report decoder on the features of each network, and let it read both sets.
    pub decoder: bool,
    /// What an uncertain finding counts as.
    pub uncertain: UncertainAs,
    /// Reports that another program wrote for the synthetic images: a CSV with `id` and `generated`, and `reference` where wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub synthetic: Option<PathBuf>,
    /// The same for the real images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub real: Option<PathBuf>,
    /// Entities of the references and of the reports of `synthetic`, one JSON object per line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub synthetic_entities: Option<[PathBuf; 2]>,
    /// The same for those of `real`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub real_entities: Option<[PathBuf; 2]>,
}

impl ReportsConfig {
    /// Takes relative paths from `folder`.
    pub(super) fn resolve(&mut self, folder: &Path) {
        let entities = [&mut self.synthetic_entities, &mut self.real_entities].into_iter().flatten().flatten();
        let files = [&mut self.synthetic, &mut self.real].into_iter().flatten();
        files.chain(entities).for_each(|path| *path = super::resolve(folder, path));
    }

    /// Refuses entities of reports that aren't given.
    ///
    /// # Errors
    /// [`ConfigError::Value`].
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        for (set, reports, entities) in
            [("synthetic", &self.synthetic, &self.synthetic_entities), ("real", &self.real, &self.real_entities)]
        {
            if let (None, Some([_, generated])) = (reports, entities) {
                let key = format!("evaluation.reports.{set}_entities");
                let expected = format!("the reports themselves in evaluation.reports.{set}, which name the images");
                return Err(ConfigError::value(key, generated.display(), expected));
            }
        }
        Ok(())
    }
}
