//! Weights into a pipeline.

use std::path::Path;

use burn::tensor::{Device, FloatDType};
use roentgen_augment::digest::Fingerprint;

use super::folder::{Checkpoint, texts};
use super::{Part, StableDiffusion};
use crate::diffusion::DiffusionError;
use crate::diffusion::text_projection::{TEXT_PROJECTION, TextProjectionKeys};
use crate::diffusion::weights::{Loaded, Stem, load};

/// Where and in which precision a pipeline computes.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// The compute device.
    pub device: Device,
    /// Compute type of text encoder and U-Net: F32, or F16 or BF16 on a GPU. The autoencoder, whose activations overflow F16, and the
    /// sampler compute in F32.
    pub dtype: FloatDType,
    /// Keep each network on the host between its uses: less memory on the device, more copying.
    pub offload: bool,
}

impl OpenOptions {
    /// F32 on `device`, everything resident.
    #[must_use]
    pub fn new(device: &Device) -> Self {
        Self { device: device.clone(), dtype: FloatDType::F32, offload: false }
    }
}

impl StableDiffusion {
    /// Reads and loads a folder: [`Checkpoint::read`], then [`Checkpoint::load`].
    ///
    /// # Errors
    /// Those of both.
    pub fn open(folder: &Path, options: &OpenOptions, opened: impl FnMut(&str)) -> Result<Self, DiffusionError> {
        Checkpoint::read(folder)?.load(options, opened)
    }

    /// [`Checkpoint::load`], but that components named by `wide` are read in F32 whatever the compute type.
    pub(crate) fn load(
        checkpoint: Checkpoint,
        options: &OpenOptions,
        wide: impl Fn(&str) -> bool,
        mut opened: impl FnMut(&str),
    ) -> Result<Self, DiffusionError> {
        let dtype = |component: &str| if wide(component) { FloatDType::F32 } else { options.dtype };
        let Checkpoint { index, text_encoder, projection, unet, vae, .. } = &checkpoint;
        let home = if options.offload { Device::flex() } else { options.device.clone() };
        let mut digests = Vec::new();
        let mut part = |name: &str, digest: Fingerprint| {
            digests.push(digest);
            opened(name);
        };
        let loaded = text_encoder.load(&index.component("text_encoder"), dtype("text_encoder"), &home)?;
        part("text encoder", loaded.digest);
        let text_encoder = Part::from(loaded);
        let projection = match projection {
            Some(config) => {
                let folder = index.component(TEXT_PROJECTION);
                let loaded = load(config.init(&home), &folder, Stem::Diffusers, &TextProjectionKeys, dtype(TEXT_PROJECTION))?;
                part("text projection", loaded.digest);
                Some(Part::from(loaded))
            }
            None => None,
        };
        let loaded = load(unet.init(&home), &index.component("unet"), Stem::Diffusers, &unet.keys(), dtype("unet"))?;
        part("U-Net", loaded.digest);
        let unet = Part::from(loaded);
        let model = vae.init(&home);
        let keys = model.keys();
        let loaded = load(model, &index.component("vae"), Stem::Diffusers, keys, FloatDType::F32)?;
        part("autoencoder", loaded.digest);
        let vae = Part::from(loaded);

        let texts = texts(index)?;
        let mut parts: Vec<&[u8]> = digests.iter().map(|digest| digest.0.as_slice()).collect();
        parts.extend(texts.iter().filter(|(path, _)| !path.ends_with("model_index.json")).map(|(_, text)| text.as_slice()));
        let dtype = format!("{:?}", options.dtype);
        parts.push(dtype.as_bytes());
        let fingerprint = Fingerprint::of(&parts);
        let (device, dtype) = (options.device.clone(), options.dtype);
        Ok(Self { checkpoint, text_encoder, projection, unet, vae, device, dtype, fingerprint, texts })
    }
}

impl<M> From<Loaded<M>> for Part<M> {
    fn from(loaded: Loaded<M>) -> Self {
        Self { model: loaded.model, stored: loaded.stored }
    }
}
