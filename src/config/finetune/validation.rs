//! The `[validation]` table.

use serde::{Deserialize, Serialize};

use super::ConfigError;

/// The loss on the validation split, on noise and timesteps that are the same each time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ValidationConfig {
    /// Steps between two validations; 0 for none. The last step is validated too.
    pub every: u64,
    /// Images, the first of the split in its order; all if there are fewer.
    pub images: usize,
    /// Equal ranges of timesteps, each with its own mean: a model can get better where noise is strong and worse where it is weak.
    /// Every image has one timestep in each.
    pub bins: usize,
}

impl Default for ValidationConfig {
    fn default() -> Self {
        Self { every: 500, images: 64, bins: 5 }
    }
}

impl ValidationConfig {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        /// Timesteps of the shortest schedules in use.
        const MOST: usize = 100;
        if self.bins == 0 || self.bins > MOST {
            return Err(ConfigError::value("validation.bins", self.bins, format!("1 to {MOST}")));
        }
        if self.images == 0 && self.every > 0 {
            return Err(ConfigError::value(
                "validation.images",
                0,
                "at least 1 (validation.every = 0 switches validation off)",
            ));
        }
        Ok(())
    }
}
