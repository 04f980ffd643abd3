//! Values that a run file starts from.

use serde::{Deserialize, Serialize};
use toml::Table;

/// A preset: values that the keys of a run file override.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// RoentGen (arXiv 2211.12737), as far as its settings are known.
    RoentgenV1,
    /// RoentGen-v2 (arXiv 2508.16783), from its published code.
    RoentgenV2,
    /// A U-Net from scratch on images of 64 to 128 pixels, for one CPU or one small GPU. Ours.
    Small,
}

impl Preset {
    /// Every preset.
    pub const ALL: [Self; 3] = [Self::RoentgenV1, Self::RoentgenV2, Self::Small];

    /// Its run file, with the source of each value.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::RoentgenV1 => include_str!("presets/roentgen-v1.toml"),
            Self::RoentgenV2 => include_str!("presets/roentgen-v2.toml"),
            Self::Small => include_str!("presets/small.toml"),
        }
    }

    pub(super) fn table(self) -> Table {
        toml::from_str(self.text()).expect("presets are tested")
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::FinetuneConfig;

    fn config(preset: &str, more: &str) -> FinetuneConfig {
        let text = format!("preset = \"{preset}\"\n{more}\ndata = {{ format = \"phantom\" }}");
        let config = FinetuneConfig::parse(&text, Path::new("run.toml"), Path::new("."), &[]).unwrap();
        config.validate().unwrap();
        config
    }

    // The figures are those of the sources named in the presets.
    #[test]
    fn presets_have_their_sources_figures() {
        let v1 = config("roentgen-v1", "");
        assert_eq!((v1.preprocess.size, v1.batch_size, v1.schedule.steps), (512, 256, 12_500));
        assert_eq!(v1.trainee().learning_rates.unet, 5e-5);
        assert!(v1.strategy.trains_text_encoder());
        let v2 = config("roentgen-v2", "");
        assert_eq!((v2.schedule.warmup_steps, v2.schedule.steps, v2.batch_size), (500, 60_000, 48));
        assert_eq!(v2.trainee().learning_rates.text_encoder, 1e-5);
        assert!(v2.prompts.demographics);
        assert!(config("small", "").ema.is_some());
    }

    #[test]
    fn keys_override_their_presets() {
        let config = config("roentgen-v1", "schedule = { steps = 1000 }\nbatch_size = 8\naccumulation = 1");
        assert_eq!((config.schedule.steps, config.batch_size), (1_000, 8));
        assert_eq!(config.trainee().learning_rates.unet, 5e-5);
    }
}
