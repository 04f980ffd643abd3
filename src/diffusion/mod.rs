//! Stable Diffusion: the latent diffusion model that RoentGen is, from and to the folders that diffusers reads and writes.
//!
//! | file | what it holds |
//! |---|---|
//! | `tokenizer` | text to ids, for CLIP, BERT and RoBERTa |
//! | `text_encoder`, `clip`, `bert` | ids to text states |
//! | `vae`, `tiny_vae` | pixels to latents and back |
//! | `unet` | the denoiser |
//! | `samplers` | from noise to latents |
//! | `pipeline` | all of them: prompts to radiographs |
//! | `weights` | tensors of a checkpoint into a model and back |
//!
//! Letters in shapes: `B` batch, `C` channels, `H` height, `W` width, `L` tokens, `D` width of a token.

mod autoencoder;
mod bert;
mod checkpoint;
mod clip;
mod error;
mod inspect;
mod options;
mod phantom_pipeline;
mod pipeline;
mod random_pipeline;
mod resnet;
pub mod samplers;
mod text_encoder;
mod text_projection;
mod tiny_vae;
mod tokenizer;
mod trace;
mod unet;
mod vae;
pub mod weights;

pub use autoencoder::{Autoencoder, AutoencoderConfig, Slices, Tile};
pub use bert::{BertConfig, BertModel};
pub use checkpoint::ModelIndex;
pub use clip::{ClipTextConfig, ClipTextModel};
pub use error::DiffusionError;
pub use inspect::{Component, Inspection, Weights, inspect};
pub use phantom_pipeline::write_phantom_pipeline;
pub(crate) use pipeline::TextCache;
pub use pipeline::{
    Checkpoint, Depth, EncodedText, ImageRequest, OpenOptions, Picture, ROENTGEN_GUIDANCE, ROENTGEN_STEPS, SamplingPreset,
    Settings, StableDiffusion, Start, Step, initial_pixels,
};
pub(crate) use random_pipeline::draw_text_projection;
pub use random_pipeline::{RandomSize, write_random_pipeline, write_text_projection};
pub use text_encoder::{TextEncoder, TextEncoderConfig, TextEncoderModel, TextInput, TextStates};
pub(crate) use text_projection::TEXT_PROJECTION;
pub use text_projection::{TextProjection, TextProjectionConfig, TextProjectionKeys};
pub use tiny_vae::{
    Activation as TinyActivation, AutoencoderTiny, AutoencoderTinyConfig, AutoencoderTinyKeys, is_taesd, write_taesd,
};
pub use tokenizer::{Encoded, Tokenizer};
pub use trace::Trace;
pub use unet::{UNet, UNetBlock, UNetConfig, UNetKeys, UNetLevel};
pub use vae::{AutoencoderKl, AutoencoderKlConfig, AutoencoderKlKeys, Posterior};
