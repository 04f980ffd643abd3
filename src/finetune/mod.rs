//! Fine-tuning: images and texts into the weights of a Stable Diffusion pipeline.
//!
//! | file | what it holds |
//! |---|---|
//! | `assembly` | a pipeline's folder from components of several origins: what training starts from |
//! | `scratch` | first weights of networks that begin from nothing |
//! | `strategy` | which parts train, and how |
//! | `config` | the run file |
//! | `settings` | everything that the mathematics depends on, in one value |
//! | `batch` | what a step is given |
//! | `objective` | targets, weights and losses of the denoiser |
//! | `vae` | the loss of the autoencoder |
//! | `leaves` | the weights under training, flat and by name |
//! | `lora` | low-rank adapters: made, applied, merged, read and written |
//! | `networks` | the pipeline's networks with those weights in them |
//! | `clip`, `optimizer`, `ema`, `learning_rate` | a step: gradient norm, AdamW, moving average, schedule |
//! | `learner` | these together: gradients in, weights out |
//! | `state` | all of it as named tensors, to go on another day |
//! | `forward` | the loss of a batch |
//! | `trainee` | the whole, as the training loop sees it |
//! | `run` | the training loop, with everything around it: data, caches, checkpoints, logs |
//!
//! Outside `run`, nothing draws a random number but the first weights of new layers, which come from a seed and their names: noise,
//! timesteps and left-out captions arrive in the batch. Equal states and equal batches give equal bits on the same machine.
//!
//! Letters in shapes: `B` batch, `C` channels, `H` height, `W` width, `L` tokens, `D` width of a token.

mod assembly;
mod batch;
mod clip;
mod config;
mod ema;
mod error;
mod forward;
mod learner;
mod learning_rate;
mod leaves;
pub(crate) mod lora;
mod networks;
mod objective;
mod optimizer;
mod run;
mod scratch;
mod settings;
mod state;
mod strategy;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod trainee;
mod vae;

pub use assembly::{Assembly, Origin};
pub use batch::{Denoising, ImageCodes, Latents, Reconstruction, TextCondition, TrainBatch};
pub use config::{FinetuneConfig, OptimizerConfig, Precision, Preset, SampleConfig, ScheduleConfig, ValidationConfig};
pub use ema::{Ema, EmaConfig};
pub use error::FinetuneError;
pub use learner::StepReport;
pub use learning_rate::LearningRateSchedule;
pub use lora::{Lora, LoraSettings};
pub use objective::Objective;
pub use optimizer::AdamWConfig;
pub use run::{
    BinnedLoss, CacheConfig, CheckpointConfig, Devices, ExchangeKind, ExportChoice, INTERRUPTED, Metric, Opened, Run, RunError,
    RunOutcome, TrainMetric, ValidMetric, WatchConfig, end_at_first_signal, read_metrics,
};
pub use settings::{LearningRates, TraineeSettings};
pub use state::TraineeState;
pub use strategy::{Part, Strategy, Tuning};
pub use trainee::{MicroLoss, Trainee, Which};
pub use vae::{Distance, ReconstructionObjective};
