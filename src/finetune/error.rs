//! What can go wrong in fine-tuning.

use std::path::PathBuf;

use roentgen_classifier::SettingError;
use roentgen_classifier::weights::Difference;

use crate::adapters::AdapterError;
use crate::diffusion::DiffusionError;

/// Everything that can go wrong in fine-tuning. Weights, moments and averages are as before whenever one is returned, but for
/// [`StateUnread`](Self::StateUnread).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FinetuneError {
    /// The pipeline: its files, its weights, its tokenizer.
    #[error(transparent)]
    Diffusion(#[from] DiffusionError),
    /// A setting is out of its range, or two don't go together.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// A loss is not finite.
    #[error(
        "step {step}: the loss of sample {sample} (timestep {timestep}) is {value}; continue from the last checkpoint with a lower \
         learning rate, or in 32-bit floats"
    )]
    NonFiniteLoss {
        /// Optimiser step, from 1, that was being prepared.
        step: u64,
        /// Row of the batch.
        sample: usize,
        /// Its timestep; 0 for an autoencoder, which has none.
        timestep: usize,
        /// NaN or infinite.
        value: f32,
    },
    /// A gradient is not finite.
    #[error(
        "step {step}: the gradient of `{tensor}` has norm {norm}; continue from the last checkpoint with a lower learning rate, or in \
         32-bit floats"
    )]
    NonFiniteGradient {
        /// Optimiser step, from 1.
        step: u64,
        /// The first such parameter.
        tensor: String,
        /// NaN or infinite.
        norm: f64,
    },
    /// A step without a batch.
    #[error("step {step}: no gradient was accumulated; give at least one batch per step")]
    NoGradient {
        /// Optimiser step, from 1.
        step: u64,
    },
    /// A batch does not fit the networks.
    #[error("the batch does not fit: {message}")]
    Batch {
        /// Both sizes, and what to do.
        message: String,
    },
    /// A saved state is of another training run.
    #[error(
        "the saved state is not of this training run:{difference}\nresume with the run file that it was saved under, or start a new run"
    )]
    StateDiffers {
        /// Every tensor concerned.
        difference: Box<Difference>,
    },
    /// A saved state's file fails while it is read. A part of the run has that state by then: restore another, or end.
    #[error("the saved state's `{tensor}` can't be read: {message}; start again to continue from the last readable checkpoint")]
    StateUnread {
        /// `weight.NAME` and the like.
        tensor: String,
        /// The system's message.
        message: String,
    },
    /// A LoRA file or folder can't be used.
    #[error(transparent)]
    Adapter(Box<AdapterError>),
    /// A LoRA file or folder does not go with the settings.
    #[error("{}: {message}", path.display())]
    Lora {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong, and what to do.
        message: String,
    },
}

impl From<AdapterError> for FinetuneError {
    fn from(error: AdapterError) -> Self {
        Self::Adapter(Box::new(error))
    }
}
