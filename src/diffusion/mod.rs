//! Stable Diffusion: the latent diffusion model that RoentGen is, from and to the folders that diffusers reads and writes.
//!
//! | file | what it holds |
//! |---|---|
//! | `tokenizer` | text to ids, for CLIP, BERT and RoBERTa |
//! | `text_encoder`, `clip`, `bert` | ids to text states |
//! | `autoencoder`, `vae`, `tiny_vae` | pixels to latents and back |
//! | `unet` | the denoiser |
//! | `samplers` | from noise to latents |
//! | `pipeline` | all of them: prompts to radiographs |
//! | `weights` | tensors of a checkpoint into a model and back |
//!
//! Letters in shapes: `B` batch, `C` channels, `H` height, `W` width, `L` tokens, `D` width of a token.

mod attention;
mod autoencoder;
mod bert;
mod clip;
mod error;
mod options;
mod resnet;
pub mod samplers;
mod text_encoder;
mod tiny_vae;
mod tokenizer;
mod trace;
mod unet;
mod vae;
pub mod weights;

pub use autoencoder::{Autoencoder, AutoencoderConfig, Slices, Tile};
pub use bert::{BertConfig, BertModel};
pub use clip::{ClipTextConfig, ClipTextModel};
pub use error::DiffusionError;
pub use text_encoder::{TextEncoder, TextEncoderConfig, TextEncoderModel, TextInput, TextStates};
pub use tiny_vae::{Activation as TinyActivation, AutoencoderTiny, AutoencoderTinyConfig, AutoencoderTinyKeys};
pub use tokenizer::{Encoded, Tokenizer};
pub use trace::Trace;
pub use unet::{UNet, UNetBlock, UNetConfig, UNetKeys, UNetLevel};
pub use vae::{AutoencoderKl, AutoencoderKlConfig, AutoencoderKlKeys, Posterior};
