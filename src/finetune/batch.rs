//! What a step is given.

use burn::tensor::Tensor;

use super::FinetuneError;
use crate::diffusion::autoencoder::Posterior;
use crate::diffusion::pipeline::Checkpoint;
use crate::diffusion::text::Encoded;

/// A batch of samples. Tensors are F32 on the compute device, without autodiff.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "a few handles of tensors, made once a step")]
pub enum TrainBatch {
    /// For [`Strategy::Denoise`](super::Strategy::Denoise).
    Denoise(Denoising),
    /// For [`Strategy::Reconstruct`](super::Strategy::Reconstruct).
    Reconstruct(Reconstruction),
}

/// Latents, noise and texts.
#[derive(Clone, Debug)]
pub struct Denoising {
    /// The clean latents.
    pub latents: Latents,
    /// Standard normal, `[B, C, H, W]`.
    pub noise: Tensor<4>,
    /// Standard normal, `[B, C, 1, 1]`: the noise that is equal in all pixels, for
    /// [`Objective::noise_offset`](super::Objective::noise_offset). `None` where that is 0.
    pub offset_noise: Option<Tensor<4>>,
    /// One a sample, below the schedule's length.
    pub timesteps: Vec<usize>,
    /// What the image shows.
    pub text: TextCondition,
}

/// Latents as the denoiser sees them, scaled.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "a few handles of tensors, made once a step")]
pub enum Latents {
    /// `[B, C, H, W]`, drawn or of an autoencoder that draws nothing.
    Drawn(Tensor<4>),
    /// To be drawn anew each time that the image is seen, as diffusers does: `(mean + std * noise) * scaling_factor`.
    Posterior {
        /// Of the encoder, unscaled.
        moments: Posterior,
        /// Standard normal, `[B, C, H, W]`.
        noise: Tensor<4>,
    },
}

/// Texts of the samples.
#[derive(Clone, Debug)]
pub enum TextCondition {
    /// `[B, L]` tokens, where the text encoder trains.
    Tokens(Encoded),
    /// `[B, L, D]` of a frozen encoder: what [`Trainee::encode_texts`](super::Trainee::encode_texts) gave, before any text projection.
    States(Tensor<3>),
}

/// Images, for the autoencoder.
#[derive(Clone, Debug)]
pub struct Reconstruction {
    /// `[B, 3, H, W]` in `[-1, 1]`.
    pub pixels: Tensor<4>,
    /// Standard normal, of the latents' shape; `None` decodes the most probable latents.
    pub posterior_noise: Option<Tensor<4>>,
}

/// What a frozen autoencoder makes of images.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "a few handles of tensors, made once a step")]
pub enum ImageCodes {
    /// `[B, C, H, W]`, scaled: of an autoencoder that gives latents.
    Latents(Tensor<4>),
    /// Unscaled: of one that gives a distribution.
    Moments(Posterior),
}

impl Denoising {
    /// Refuses tensors that don't fit each other or the pipeline; `latents` is their shape.
    pub(super) fn check(&self, latents: [usize; 4], checkpoint: &Checkpoint) -> Result<(), FinetuneError> {
        let [rows, channels, ..] = latents;
        let Checkpoint { unet, text_encoder, projection, scheduler, .. } = checkpoint;
        let timesteps = scheduler.noise_schedule().len();
        let refuse = |message: String| Err(FinetuneError::Batch { message });
        if channels != unet.in_channels {
            let expected = unet.in_channels;
            return refuse(format!(
                "latents have {channels} channels, the U-Net takes {expected}: encode images with this pipeline"
            ));
        }
        if self.noise.dims() != latents {
            return refuse(format!("noise is {:?}, latents are {latents:?}", self.noise.dims()));
        }
        if let Some(offset) = self.offset_noise.as_ref().filter(|offset| offset.dims() != [rows, channels, 1, 1]) {
            return refuse(format!("offset noise is {:?}, expected {:?}", offset.dims(), [rows, channels, 1, 1]));
        }
        if self.timesteps.len() != rows {
            return refuse(format!("{} timesteps for {rows} samples", self.timesteps.len()));
        }
        if let Some(timestep) = self.timesteps.iter().find(|timestep| **timestep >= timesteps) {
            return refuse(format!("timestep {timestep} of a schedule of {timesteps} (0 to {})", timesteps - 1));
        }
        let texts = match &self.text {
            TextCondition::Tokens(tokens) => tokens.input_ids.len(),
            TextCondition::States(states) => {
                let [texts, _, width] = states.dims();
                let expected = projection.map_or(unet.cross_attention_dim, |projection| projection.in_features);
                if width != expected {
                    return refuse(format!(
                        "text states are {width} wide, expected {expected}: encode texts with this pipeline"
                    ));
                }
                texts
            }
        };
        if texts != rows {
            return refuse(format!("{texts} texts for {rows} samples"));
        }
        let TextCondition::Tokens(tokens) = &self.text else { return Ok(()) };
        let known = text_encoder.vocabulary_size();
        match tokens.input_ids.iter().flatten().find(|id| **id as usize >= known) {
            Some(id) => refuse(format!("token {id} of a text encoder that embeds {known}: tokenise texts with this pipeline")),
            None => Ok(()),
        }
    }
}
