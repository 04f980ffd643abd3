//! A fine-tuning run: everything around the training steps.
//!
//! | file | what it holds |
//! |---|---|
//! | `open`, `start` | from a run file to a run; the pipeline it starts from |
//! | `pairs` | radiographs with their texts |
//! | `random` | every random number and the order of the rows, each a function of the seed and its purpose |
//! | `samples`, `cache` | samples on the host, batches of them on the device, and the outputs of frozen networks, on disk |
//! | `steps` | the loop |
//! | `replicas` | the same weights on several devices, and the sum of their gradients |
//! | `evaluation` | losses on held-out images, images of fixed prompts |
//! | `checkpoints`, `interrupt` | the state that a run continues from, and Ctrl-C |
//! | `log`, `outlook` | progress bar, `metrics.jsonl`, TensorBoard, the loss plot; how long the run will take |

mod cache;
mod checkpoints;
mod error;
mod evaluation;
mod interrupt;
mod log;
mod open;
mod outlook;
mod pairs;
mod random;
mod replicas;
mod samples;
mod start;
mod steps;

pub use cache::CacheConfig;
pub use checkpoints::{CheckpointConfig, ExportChoice};
pub use error::RunError;
pub use interrupt::{INTERRUPTED, end_at_first_signal};
pub use open::{Devices, Opened};
pub use replicas::ExchangeKind;
pub use steps::{Run, RunOutcome};
