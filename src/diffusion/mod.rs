//! Stable Diffusion: the latent diffusion model that RoentGen is, from and to the folders that diffusers reads and writes.
//!
//! | room | what it holds |
//! |---|---|
//! | [`text`] | text to ids to text states: tokenizers, CLIP, BERT |
//! | [`autoencoder`] | pixels to latents and back |
//! | [`unet`] | the denoiser |
//! | [`samplers`] | from noise to latents |
//! | [`pipeline`] | all of them: prompts to radiographs |
//! | [`weights`] | tensors of a checkpoint into a model and back |
//!
//! Letters in shapes: `B` batch, `C` channels, `H` height, `W` width, `L` tokens, `D` width of a token.

pub mod autoencoder;
mod error;
mod options;
pub mod pipeline;
mod resnet;
pub mod samplers;
pub mod text;
mod trace;
pub mod unet;
pub mod weights;

pub use error::DiffusionError;
pub use trace::Trace;

// Names under their former path, while others move over.
#[doc(hidden)]
pub use autoencoder::{
    Autoencoder, AutoencoderConfig, AutoencoderKlConfig, AutoencoderKlKeys, Posterior, Slices, Tile, is_taesd, write_taesd,
};
#[doc(hidden)]
pub use pipeline::{
    Checkpoint, Depth, EncodedText, ImageRequest, ModelIndex, OpenOptions, Picture, ROENTGEN_GUIDANCE, ROENTGEN_STEPS,
    RandomSize, SamplingPreset, Settings, StableDiffusion, Start, Step, initial_pixels, inspect, write_phantom_pipeline,
    write_random_pipeline, write_text_projection,
};
#[doc(hidden)]
pub use text::{Encoded, TextEncoder, TextEncoderConfig, TextEncoderModel, TextInput, Tokenizer};
#[doc(hidden)]
pub use unet::{UNet, UNetConfig};
