//! Which parts train, and how.

use roentgen_classifier::SettingError;
use serde::{Deserialize, Serialize};

use super::FinetuneError;
use super::lora::LoraSettings;
use crate::diffusion::Part;

/// How a part trains.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tuning {
    /// Nothing.
    #[default]
    Frozen,
    /// Every weight.
    Full,
    /// Low-rank adapters beside frozen weights.
    Lora(LoraSettings),
}

/// What training changes, and therefore its loss. Networks compute as they do in use: no dropout, whatever a text encoder's
/// configuration says (0.1 for BERT, meant for its pretraining; 0 for CLIP). Which encoder there is, and what is new in the pipeline, the
/// [assembly](super::Assembly) decides.
///
/// The strategies that RoentGen compares are [`unet_only`](Self::unet_only), [`text_encoder_only`](Self::text_encoder_only) and
/// [`both`](Self::both), each on a pipeline with its own encoder, with a domain encoder, or with a U-Net from scratch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Strategy {
    /// The denoiser and what conditions it learn to denoise latents; the autoencoder is frozen.
    Denoise {
        /// Of the U-Net.
        unet: Tuning,
        /// Of the text encoder.
        text_encoder: Tuning,
        /// Whether the text projection trains; a pipeline without one has nothing to train there.
        text_projection: bool,
    },
    /// The autoencoder learns to reconstruct images; the others are frozen. Latents change: a denoiser that was trained with the
    /// old ones has to be trained again.
    Reconstruct {
        /// Whether the encoder (and the convolution behind it) trains.
        encoder: bool,
        /// Whether the decoder (and the convolution before it) trains.
        decoder: bool,
    },
}

impl Strategy {
    /// The U-Net alone; a text projection, which is useless untrained, trains with it.
    #[must_use]
    pub const fn unet_only() -> Self {
        Self::Denoise { unet: Tuning::Full, text_encoder: Tuning::Frozen, text_projection: true }
    }

    /// The text encoder alone.
    #[must_use]
    pub const fn text_encoder_only() -> Self {
        Self::Denoise { unet: Tuning::Frozen, text_encoder: Tuning::Full, text_projection: true }
    }

    /// U-Net and text encoder.
    #[must_use]
    pub const fn both() -> Self {
        Self::Denoise { unet: Tuning::Full, text_encoder: Tuning::Full, text_projection: true }
    }

    /// Adapters in the U-Net.
    #[must_use]
    pub const fn unet_lora(settings: LoraSettings) -> Self {
        Self::Denoise { unet: Tuning::Lora(settings), text_encoder: Tuning::Frozen, text_projection: false }
    }

    /// Whether text is given as tokens, because the encoder's states change while it trains.
    #[must_use]
    pub const fn trains_text_encoder(&self) -> bool {
        matches!(self, Self::Denoise { text_encoder: Tuning::Full | Tuning::Lora(_), .. })
    }

    /// Whether anything is trained as adapters.
    #[must_use]
    pub const fn has_lora(&self) -> bool {
        matches!(self, Self::Denoise { unet: Tuning::Lora(_), .. } | Self::Denoise { text_encoder: Tuning::Lora(_), .. })
    }

    /// How much of a component trains, by its folder's name.
    pub(super) fn tuning_of(&self, component: &str) -> Tuning {
        let all = |trains: bool| if trains { Tuning::Full } else { Tuning::Frozen };
        match self {
            Self::Denoise { unet, text_encoder, text_projection } => match component {
                "unet" => unet.clone(),
                "text_encoder" => text_encoder.clone(),
                "text_projection" => all(*text_projection),
                _ => Tuning::Frozen,
            },
            Self::Reconstruct { encoder, decoder } => all(component == "vae" && (*encoder || *decoder)),
        }
    }

    /// Whether the weight `key` of a part that trains in full trains: one half of an autoencoder may train.
    pub(super) fn trains(&self, part: Part, key: &str) -> bool {
        match self {
            Self::Reconstruct { encoder, decoder } if part == Part::Vae => {
                let of_encoder = key.starts_with("encoder.") || key.starts_with("quant_conv.");
                if of_encoder { *encoder } else { *decoder }
            }
            _ => true,
        }
    }

    /// Refuses a strategy that trains nothing, and adapters out of range.
    pub(super) fn check(&self) -> Result<(), FinetuneError> {
        let nothing = |expected: &str| {
            Err(FinetuneError::Setting(SettingError {
                key: "strategy",
                value: "frozen throughout".to_owned(),
                expected: expected.to_owned(),
            }))
        };
        match self {
            Self::Denoise { unet: Tuning::Frozen, text_encoder: Tuning::Frozen, text_projection: false } => {
                nothing("a part that trains: unet, text_encoder or text_projection")
            }
            Self::Reconstruct { encoder: false, decoder: false } => nothing("a half that trains: encoder or decoder"),
            Self::Denoise { unet, text_encoder, .. } => [unet, text_encoder].into_iter().try_for_each(|tuning| match tuning {
                Tuning::Lora(settings) => settings.check(),
                Tuning::Frozen | Tuning::Full => Ok(()),
            }),
            Self::Reconstruct { .. } => Ok(()),
        }
    }
}
