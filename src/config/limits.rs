//! The largest numbers that run files and flags may hold.
//!
//! Far above any sensible value, and low enough that their sums and products fit their types and that no number alone causes a
//! large allocation. For the memory of the machine, see [`memory`](crate::memory).

use std::fmt::{Debug, Display};
use std::ops::RangeInclusive;

use roentgen_augment::image::MAX_SIDE;
use roentgen_augment::request::MAX_REQUESTS;

use super::ConfigError;

/// Optimiser steps, and steps between two events.
pub const MOST_STEPS: u64 = 1_000_000_000;
/// Images of a batch.
pub const MOST_BATCH: usize = 65_536;
/// Threads that load images.
pub const MOST_WORKERS: usize = 256;
/// Least side of a picture in pixels.
pub const LEAST_SIDE: usize = 32;
/// Side of an image in pixels.
pub const MOST_PIXELS: usize = MAX_SIDE;
/// Samples of an arm, a plan or a set of images.
pub const MOST_SAMPLES: usize = MAX_REQUESTS;
/// Phantom images of one split.
pub const MOST_PHANTOMS: usize = 1_000_000;
/// MiB of a cache: one PiB.
pub const MOST_CACHE_MIB: u64 = 1 << 30;
/// Resamples of the test patients.
pub const MOST_REPLICATES: usize = 1_000_000;
/// Entries of a list such as `seeds` or `arms`.
pub const MOST_ENTRIES: usize = 10_000;
/// Images that one request may be tried with.
pub const MOST_ATTEMPTS: u32 = 1_000;
/// Sampling steps of one image.
pub const MOST_SAMPLING_STEPS: usize = 10_000;
/// Classifier-free guidance scale.
pub const MOST_GUIDANCE: f64 = 1_000.0;
/// Learning rate of a fine-tuning.
pub const MOST_LEARNING_RATE: f64 = 10_000.0;
/// Tokens of a padded text.
pub const MOST_TOKENS: usize = 8_192;
/// Seeds are written into TOML, whose integers are signed.
pub const MOST_SEED: u64 = i64::MAX as u64;

/// Refuses a number outside `range`; NaN is in none.
pub(crate) fn within<T: PartialOrd + Display + Debug>(
    key: impl Into<String>,
    value: T,
    range: RangeInclusive<T>,
) -> Result<(), ConfigError> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(ConfigError::value(key, value, format!("at least {:?} and at most {:?}", range.start(), range.end())))
}

/// Refuses a list of more than [`MOST_ENTRIES`].
pub(crate) fn entries(key: &str, count: usize) -> Result<(), ConfigError> {
    if count <= MOST_ENTRIES {
        return Ok(());
    }
    Err(ConfigError::value(key, format!("a list of {count}"), format!("at most {MOST_ENTRIES} entries")))
}
