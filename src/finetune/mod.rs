//! Fine-tuning: training the weights of a Stable Diffusion pipeline on images and texts.
//!
//! | file | what it holds |
//! |---|---|
//! | `assembly` | assembling a pipeline's folder from components of several origins |
//! | `config` | the run file |
//! | `strategy`, `settings` | which parts train, and how; all settings that results depend on, in one value |
//! | `batch` | the input of a step |
//! | `objective` | the losses of the denoiser and of the autoencoder |
//! | `lora` | low-rank adapters under training; their files are [`adapters`](crate::adapters)' |
//! | `networks` | the weights under training, and the pipeline's networks with them in it |
//! | `trainee`, `forward`, `state` | a pipeline under training: steps, the loss of a batch, and all of it as named tensors |
//! | `run` | the training loop, with everything around it: data, caches, checkpoints |
//!
//! Clipping, AdamW, the moving average, schedules and logs are those of [`roentgen_classifier::training`].
//!
//! Outside `run`, only the initial weights of new layers are random, and they follow from a seed and their names: noise,
//! timesteps and dropped captions arrive in the batch. Equal states and equal batches give equal bits on the same machine.
//!
//! Letters in shapes: `B` batch, `C` channels, `H` height, `W` width, `L` tokens, `D` width of a token.

mod assembly;
mod batch;
mod config;
mod error;
mod forward;
pub(crate) mod lora;
mod networks;
mod objective;
pub mod run;
mod settings;
mod state;
mod strategy;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod trainee;

pub use assembly::{Assembly, Origin};
pub use batch::{Denoising, ImageCodes, Latents, Reconstruction, TextCondition, TrainBatch};
pub use config::{FinetuneConfig, OptimizerConfig, Preset, SampleConfig, ScheduleConfig, ValidationConfig};
pub use error::FinetuneError;
pub use lora::LoraSettings;
pub use objective::{Distance, Objective, ReconstructionObjective};
pub use settings::{LearningRates, TraineeSettings};
pub use state::TraineeState;
pub use strategy::{Strategy, Tuning};
pub use trainee::{MicroLoss, StepReport, Trainee, Which};
