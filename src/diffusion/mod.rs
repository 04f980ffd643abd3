//! Stable Diffusion, the latent diffusion model behind RoentGen, read from and written to diffusers' folders.
//!
//! | room | what it holds |
//! |---|---|
//! | [`text`] | text to ids to text states: tokenizers, CLIP, BERT |
//! | [`autoencoder`] | pixels to latents and back |
//! | [`unet`] | the denoiser |
//! | [`samplers`] | from noise to latents |
//! | [`pipeline`] | all of them: prompts to images |
//! | [`single_file`] | checkpoints in one file, in the training code's names, to folders |
//! | [`weights`] | loading a checkpoint's tensors into a model, and saving them |
//!
//! Letters in shapes: `B` batch, `C` channels, `H` height, `W` width, `L` tokens, `D` width of a token.

pub mod autoencoder;
mod error;
pub(crate) mod options;
mod part;
pub mod pipeline;
mod resnet;
pub mod samplers;
pub mod single_file;
pub mod text;
mod trace;
pub mod unet;
pub mod weights;
pub(crate) mod write;

pub use error::DiffusionError;
pub use part::Part;
pub use trace::Trace;
