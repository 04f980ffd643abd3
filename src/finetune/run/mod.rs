//! A run of the trainer: everything around the mathematics.
//!
//! | file | what it holds |
//! |---|---|
//! | `open`, `start` | from a run file to a run; the pipeline it starts from |
//! | `pairs` | radiographs with their texts |
//! | `random`, `order` | every random number, each a function of the seed and its purpose |
//! | `sample`, `cache`, `codes` | samples on the host, what frozen networks make of them, batches on the device |
//! | `steps` | the loop |
//! | `replicas`, `exchange` | the same weights on several devices, and the sum of their gradients |
//! | `validation`, `sheet`, `watch` | losses on held-out images, pictures of fixed prompts, a loss that runs away |
//! | `checkpoints`, `interrupt` | what a run goes on from, and Ctrl-C |
//! | `log`, `metrics`, `events`, `memory` | progress bar, `metrics.jsonl`, TensorBoard, memory |

mod cache;
mod checkpoints;
mod codes;
mod error;
mod events;
mod exchange;
mod interrupt;
mod log;
mod memory;
mod metrics;
mod open;
mod order;
mod pairs;
mod random;
mod replicas;
mod sample;
mod sheet;
mod start;
mod steps;
mod validation;
mod watch;

pub use cache::CacheConfig;
pub use checkpoints::{CheckpointConfig, ExportChoice};
pub use error::RunError;
pub use exchange::ExchangeKind;
pub use interrupt::{INTERRUPTED, end_at_first_signal};
pub use metrics::{BinnedLoss, Metric, TrainMetric, ValidMetric, read as read_metrics};
pub use open::{Devices, Opened};
pub use steps::{Run, RunOutcome};
pub use watch::WatchConfig;
