//! From prompts to images: the whole of Stable Diffusion.
//!
//! ```text
//! prompts ─► tokenizer ─► ids [B, 77] ─► text encoder ─► states [B, 77, D] ─┐
//! seeds ─► noise [B, 4, H/8, W/8] ─► (sampler × U-Net with guidance) × steps ─► latents ─► VAE decoder ─► [B, 3, H, W] ─► gray
//! ```
//!
//! | file | what it holds |
//! |---|---|
//! | `source`, `model_index`, `checkpoint` | a folder in diffusers' layout, before and while its weights are read |
//! | `settings` | how images are sampled; presets |
//! | `footprint` | whether the machine can hold them |
//! | `text`, `tokens` | prompts to text states; new tokens |
//! | `start`, `denoise`, `picture` | from noise or a picture to latents, and from the decoder's pixels to gray |
//! | `inspect` | the description of a folder, without loading it |
//! | `random`, `phantom` | untrained pipelines for tests, and the trained one that comes with the program |
//!
//! Reference: diffusers 0.42.1, `StableDiffusionPipeline.__call__`.

mod checkpoint;
mod denoise;
mod footprint;
mod inspect;
mod model_index;
mod phantom;
mod picture;
mod random;
mod settings;
mod source;
mod start;
mod text;
mod tokens;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::{Device, FloatDType, Tensor};
use roentgen_augment::digest::Fingerprint;
use roentgen_augment::supply::AdapterCard;
use serde_json::{Value, json};

use crate::diffusion::autoencoder::{Autoencoder, Slices};
use crate::diffusion::text::{TEXT_PROJECTION, TextEncoderModel, TextProjection, TextProjectionKeys};
use crate::diffusion::unet::{UNet, UNetConfig};
use crate::diffusion::weights::{Stem, save};
use crate::diffusion::write::write;
use crate::diffusion::{DiffusionError, weights};
use denoise::{Denoise, ImageNoise};

pub(in crate::diffusion) use checkpoint::texts;
pub use checkpoint::{Checkpoint, OpenOptions};
pub use denoise::Step;
pub use inspect::{Component, Inspection, Weights, inspect};
pub use model_index::ModelIndex;
pub use phantom::write_phantom_pipeline;
pub use picture::{Depth, Picture};
pub(crate) use random::draw_text_projection;
pub(in crate::diffusion) use random::{Configs, index, token_files};
pub use random::{RandomSize, write_random_pipeline, write_text_projection};
pub use settings::{ROENTGEN_GUIDANCE, ROENTGEN_STEPS, SamplingPreset, Settings};
pub use source::{Folders, PipelineSource};
pub use start::{Start, initial_pixels};
pub use text::EncodedText;
pub(crate) use text::TextCache;

/// One image to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageRequest {
    /// The prompt.
    pub prompt: String,
    /// What the images should not show; empty for nothing. Has no influence without guidance.
    pub negative_prompt: String,
    /// Seed of all its noise.
    pub seed: u64,
}

/// A checkpoint folder, loaded.
#[derive(Clone, Debug)]
pub struct StableDiffusion {
    pub(crate) checkpoint: Checkpoint,
    pub(crate) text_encoder: Part<TextEncoderModel>,
    pub(crate) projection: Option<Part<TextProjection>>,
    pub(crate) unet: Part<UNet>,
    pub(crate) vae: Part<Autoencoder>,
    /// Where it computes.
    pub(crate) device: Device,
    /// Compute type of text encoder and U-Net.
    pub(crate) dtype: FloatDType,
    fingerprint: Fingerprint,
    /// What its weights were changed by since they were read.
    pub(crate) adapters: Vec<AdapterCard>,
    /// Files that are written as they were read, by path in the folder.
    texts: Vec<(PathBuf, Vec<u8>)>,
}

/// A network, kept on the compute device or, between its uses, on the host.
#[derive(Clone, Debug)]
pub(crate) struct Part<M> {
    pub(crate) model: M,
    /// The type of its tensors in the files.
    pub(crate) stored: FloatDType,
}

impl<M: Module> Part<M> {
    /// The network on `device`; nothing is copied if it is kept there.
    fn on(&self, device: &Device) -> M {
        self.model.clone().to_device(device)
    }
}

impl StableDiffusion {
    /// Digest of every weight, configuration and vocabulary, and of the compute type.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The same after the components named by `changed` got other weights: they are written in F32 from now on, and the
    /// fingerprint is another.
    pub(crate) fn retrained(mut self, changed: impl Fn(&str) -> bool) -> Self {
        let mut digests = vec![self.fingerprint.0];
        let mut refresh = |name: &str, digest: &dyn Fn() -> Fingerprint, stored: &mut FloatDType| {
            if changed(name) {
                digests.push(digest().0);
                *stored = FloatDType::F32;
            }
        };
        let unet = &mut self.unet;
        refresh("unet", &|| weights::digest(&unet.model, &self.checkpoint.unet.keys()), &mut unet.stored);
        let text = &mut self.text_encoder;
        refresh("text_encoder", &|| weights::digest(&text.model, self.checkpoint.text_encoder.keys()), &mut text.stored);
        if let Some(projection) = &mut self.projection {
            refresh(TEXT_PROJECTION, &|| weights::digest(&projection.model, &TextProjectionKeys), &mut projection.stored);
        }
        let vae = &mut self.vae;
        refresh("vae", &|| weights::digest(&vae.model, vae.model.keys()), &mut vae.stored);
        let parts: Vec<&[u8]> = digests.iter().map(<[u8; 32]>::as_slice).collect();
        self.fingerprint = Fingerprint::of(&parts);
        self
    }

    /// The files that its weights were changed by since they were read, in order.
    #[must_use]
    pub fn adapters(&self) -> &[AdapterCard] {
        &self.adapters
    }

    /// The folder it was read from.
    #[must_use]
    pub fn folder(&self) -> &std::path::Path {
        self.checkpoint.index.folders.root()
    }

    /// The configurations it was made from.
    #[must_use]
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Its denoiser.
    #[must_use]
    pub fn unet(&self) -> &UNet {
        &self.unet.model
    }

    /// RoentGen's steps and guidance with this folder's scheduler and native size.
    #[must_use]
    pub fn settings(&self) -> Settings {
        self.checkpoint.settings()
    }

    /// One picture per request, in order. Picture `i` depends on request `i` and the settings alone: made in another batch, it
    /// differs by rounding at most.
    ///
    /// `watch` is called after every step and may stop the run.
    ///
    /// # Errors
    /// [`DiffusionError::Setting`] for a setting out of range; [`DiffusionError::NonFiniteImage`]; [`DiffusionError::Stopped`].
    pub fn generate(
        &self,
        requests: &[ImageRequest],
        settings: &Settings,
        start: &Start,
        watch: &mut dyn FnMut(&Step<'_>) -> ControlFlow<()>,
    ) -> Result<Vec<Picture>, DiffusionError> {
        Ok(self.pictures(self.latents(requests, settings, start, watch)?, settings))
    }

    /// One picture of each latents `[B, C, H/8, W/8]`.
    pub(crate) fn pictures(&self, latents: Tensor<4>, settings: &Settings) -> Vec<Picture> {
        picture::pictures(self.decode(latents, settings.tiled), settings.depth)
    }

    /// The latents `[B, C, H/8, W/8]` of a request each, before the decoder.
    ///
    /// # Errors
    /// As [`generate`](Self::generate).
    pub fn latents(
        &self,
        requests: &[ImageRequest],
        settings: &Settings,
        start: &Start,
        watch: &mut dyn FnMut(&Step<'_>) -> ControlFlow<()>,
    ) -> Result<Tensor<4>, DiffusionError> {
        // Before the encoder runs, too: it panics for layers that it has not.
        self.checkpoint.check(settings)?;
        let states = self.encode(&settings.texts(requests), settings.clip_skip)?.states;
        let seeds: Vec<_> = requests.iter().map(|request| request.seed).collect();
        self.latents_from(states, &seeds, settings, start, watch)
    }

    /// [`latents`](Self::latents) with the states of [`Settings::texts`] at hand, `[B, L, D]`, or with guidance `[2B, L, D]`.
    pub(crate) fn latents_from(
        &self,
        states: Tensor<3>,
        seeds: &[u64],
        settings: &Settings,
        start: &Start,
        watch: &mut dyn FnMut(&Step<'_>) -> ControlFlow<()>,
    ) -> Result<Tensor<4>, DiffusionError> {
        self.checkpoint.check(settings)?;
        let sampler = settings.scheduler.sampler(settings.steps)?;
        let mut noises: Vec<_> = seeds.iter().map(|seed| ImageNoise::new(*seed)).collect();
        let (latents, begin) = self.begin(start, &mut noises, settings, sampler.as_ref())?;
        let guidance = settings.is_guided().then_some((settings.guidance_scale, settings.guidance_rescale));
        let unet = self.unet.on(&self.device);
        Denoise { unet: &unet, sampler, states, guidance, dtype: self.dtype, begin }.run(latents, &mut noises, watch)
    }

    /// Latents `[B, C, H/8, W/8]` to pixels `[B, 3, H, W]`, about [-1, 1]; one image at a time, and in tiles if `tiled`.
    #[must_use]
    pub fn decode(&self, latents: Tensor<4>, tiled: bool) -> Tensor<4> {
        let vae = self.vae.on(&self.device);
        let slices = Slices { one_by_one: true, tile: tiled.then(|| vae.default_tile()) };
        vae.from_latents(latents, &slices)
    }
}

impl StableDiffusion {
    /// Writes the whole folder in diffusers' layout: configurations and vocabularies byte for byte, but for a `sample_size` that
    /// fine-tuning changed; weights as safetensors in the
    /// type that their files had (exact, unless the pipeline computes in a narrower one). `model_index.json` is written last,
    /// so that a folder with one is complete. The safety checker, which is not read, is listed as absent.
    ///
    /// # Errors
    /// [`DiffusionError::Io`].
    pub fn save(&self, folder: &Path) -> Result<(), DiffusionError> {
        let write = |path: &Path, bytes: &[u8]| write(&folder.join(path), bytes);
        let (indices, others): (Vec<_>, Vec<_>) =
            self.texts.iter().partition(|(path, _)| path.as_path() == Path::new("model_index.json"));
        for (path, bytes) in others {
            match path.as_path() == Path::new("unet/config.json") {
                true => write(path, &with_sample_size(bytes, &self.checkpoint.unet))?,
                false => write(path, bytes)?,
            }
        }
        let file = |component: &str, stem: Stem| folder.join(component).join(stem.file_name());
        let text = &self.text_encoder;
        save(&text.model, &file("text_encoder", Stem::Transformers), self.checkpoint.text_encoder.keys(), text.stored)?;
        if let (Some(projection), Some(config)) = (&self.projection, self.checkpoint.projection) {
            write(&Path::new(TEXT_PROJECTION).join("config.json"), config.to_json().as_bytes())?;
            save(&projection.model, &file(TEXT_PROJECTION, Stem::Diffusers), &TextProjectionKeys, projection.stored)?;
        }
        let unet = &self.unet;
        save(&unet.model, &file("unet", Stem::Diffusers), &self.checkpoint.unet.keys(), unet.stored)?;
        let vae = &self.vae;
        save(&vae.model, &file("vae", Stem::Diffusers), vae.model.keys(), vae.stored)?;
        for (path, bytes) in indices {
            write(path, &without_checker(bytes))?;
        }
        Ok(())
    }
}

/// The U-Net's configuration with the `sample_size` of `unet`; unchanged if it is that.
fn with_sample_size(config: &[u8], unet: &UNetConfig) -> Vec<u8> {
    let text = String::from_utf8_lossy(config);
    let before = UNetConfig::parse(&text, Path::new("unet/config.json")).ok().and_then(|unet| unet.sample_size);
    let (Some([height, width]), Ok(mut value)) = (unet.sample_size, serde_json::from_slice::<Value>(config)) else {
        return config.to_vec();
    };
    if before == unet.sample_size {
        return config.to_vec();
    }
    value["sample_size"] = if height == width { json!(height) } else { json!([height, width]) };
    format!("{value:#}\n").into_bytes()
}

/// The index with components that are not in the folder listed as absent; unchanged if there are none.
pub(in crate::diffusion) fn without_checker(index: &[u8]) -> Vec<u8> {
    let mut value: Value = serde_json::from_slice(index).expect("the index was read when the folder was opened");
    let mut changed = false;
    for component in ["safety_checker", "feature_extractor", "image_encoder"] {
        if let Some(entry) = value.get_mut(component).filter(|entry| entry.get(0).is_some_and(|library| !library.is_null())) {
            *entry = json!([null, null]);
            changed = true;
        }
    }
    if !changed {
        return index.to_vec();
    }
    value["requires_safety_checker"] = json!(false);
    let mut text = serde_json::to_vec_pretty(&value).expect("JSON values can be written");
    text.push(b'\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_size_alone_changes_the_configuration() {
        let config = br#"{"sample_size": 64, "cross_attention_dim": 768}"#;
        let mut unet = UNetConfig::parse(std::str::from_utf8(config).unwrap(), Path::new("config.json")).unwrap();
        assert_eq!(with_sample_size(config, &unet), config);
        unet.sample_size = Some([32, 32]);
        let value: Value = serde_json::from_slice(&with_sample_size(config, &unet)).unwrap();
        assert_eq!(value, json!({"sample_size": 32, "cross_attention_dim": 768}));
    }

    #[test]
    fn a_checker_that_is_left_out_is_entered_as_absent() {
        let plain = br#"{"unet": ["diffusers", "UNet2DConditionModel"], "safety_checker": [null, null]}"#;
        assert_eq!(without_checker(plain), plain);
        let with = br#"{"safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"], "unet": ["a", "b"]}"#;
        let value: Value = serde_json::from_slice(&without_checker(with)).unwrap();
        assert_eq!(value["safety_checker"], json!([null, null]));
        assert_eq!(value["requires_safety_checker"], json!(false));
    }
}
