//! The networks of a pipeline, by name.

use std::fmt;

/// A network of a pipeline: what can train, and what an adapter can be for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// The denoiser.
    Unet,
    /// CLIP, BERT or RoBERTa.
    TextEncoder,
    /// The layer between a text encoder and a U-Net of another width.
    TextProjection,
    /// The autoencoder.
    Vae,
}

impl Part {
    /// Its folder in a pipeline's, and the first word of its weights' names.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unet => "unet",
            Self::TextEncoder => "text_encoder",
            Self::TextProjection => "text_projection",
            Self::Vae => "vae",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
