//! The loss of an autoencoder.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::FinetuneError;
use super::settings::within;
use crate::diffusion::autoencoder::{Autoencoder, Slices};

/// How far an image is from its original.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Distance {
    /// Mean absolute difference: sharper.
    #[default]
    L1,
    /// Mean squared difference.
    L2,
}

/// Reconstruction loss plus `kl_weight` times the divergence of the latents from a standard normal distribution, both means a
/// sample: the loss of Rombach et al. 2022, "High-Resolution Image Synthesis with Latent Diffusion Models", appendix G, without
/// its perceptual and adversarial terms.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReconstructionObjective {
    /// Between the image and its reconstruction, a mean over pixels.
    pub distance: Distance,
    /// Of the divergence in nats, divided by the image's number of values like the reconstruction; 1e-6 is Stable Diffusion's. An
    /// autoencoder that gives latents has none.
    pub kl_weight: f64,
}

impl Default for ReconstructionObjective {
    fn default() -> Self {
        Self { distance: Distance::L1, kl_weight: 1e-6 }
    }
}

impl ReconstructionObjective {
    /// Refuses numbers out of range.
    pub(super) fn check(&self) -> Result<(), FinetuneError> {
        let weight = self.kl_weight;
        within("reconstruction.kl_weight", weight, weight.is_finite() && weight >= 0.0, "a number of at least 0")
    }

    /// Losses `[B]` of `pixels` `[B, 3, H, W]`, through latents drawn by `noise` or, without it, through the most probable ones.
    pub(super) fn losses(&self, vae: &Autoencoder, pixels: Tensor<4>, noise: Option<Tensor<4>>) -> Tensor<1> {
        let [_, channels, height, width] = pixels.dims();
        let (latents, divergence) = match vae {
            Autoencoder::Kl(kl) => {
                let posterior = kl.encode(pixels.clone());
                let divergence = posterior.kl();
                let latents = match noise {
                    Some(noise) => posterior.sample(noise),
                    None => posterior.mode(),
                };
                (latents * vae.scaling_factor(), Some(divergence))
            }
            Autoencoder::Tiny(_) => (vae.to_latents(pixels.clone(), None, &Slices::default()), None),
        };
        let images = vae.from_latents(latents, &Slices::default());
        let [_, _, made_height, made_width] = images.dims();
        // An autoencoder cuts sides that are no multiple of its factor, or adds to them.
        let [height, width] = [height.min(made_height), width.min(made_width)];
        let part = |image: Tensor<4>| image.narrow(2, 0, height).narrow(3, 0, width);
        let difference = part(images) - part(pixels);
        let distance = match self.distance {
            Distance::L1 => difference.abs(),
            Distance::L2 => difference.square(),
        };
        let reconstruction: Tensor<1> = distance.flatten::<2>(1, 3).mean_dim(1).squeeze_dim(1);
        match divergence {
            Some(divergence) if self.kl_weight > 0.0 => {
                reconstruction + divergence * (self.kl_weight / (channels * height * width) as f64)
            }
            _ => reconstruction,
        }
    }
}
