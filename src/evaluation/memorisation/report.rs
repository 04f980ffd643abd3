//! What was found, for reports, and why nothing could be.

use roentgen_augment::AugmentError;
use serde::{Deserialize, Serialize};

use super::Space;
use crate::evaluation::RowsError;

/// How near synthetic images are to the training set, in one [`Space`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpaceReport {
    /// What was compared.
    pub space: Space,
    /// Training images.
    pub train: usize,
    /// Held-out images that were compared: real, of patients who are not in the training set.
    pub held_out: usize,
    /// Held-out images that were left out, since their patient or they themselves are in the training set.
    pub same_patient: usize,
    /// Synthetic images.
    pub synthetic: usize,
    /// The share of the held-out images whose distances are below the limit.
    pub quantile: f64,
    /// Distance below which an image is flagged; `None` without held-out images.
    pub limit: Option<f64>,
    /// From synthetic images to their nearest training image.
    pub synthetic_distances: Distances,
    /// From held-out images to theirs.
    pub held_out_distances: Option<Distances>,
    /// Synthetic images below the limit.
    pub flagged: Option<usize>,
    /// Held-out images below it: what chance alone flags.
    pub held_out_flagged: Option<usize>,
    /// Probability that a synthetic image is nearer to the training set than a held-out one is, ties counting one half: 0.5 where the
    /// two are alike, towards 1 for copies, towards 0 for images that are unlike any radiograph of the training set.
    pub nearer: Option<f64>,
    /// Images that were requested from a row of the training set; `None` if none was.
    pub own_source: Option<OwnSource>,
    /// Synthetic images that are copies of one another; `None` for fewer than two or without a limit.
    pub repeats: Option<Repeats>,
    /// What is doubtful, a sentence each.
    pub notes: Vec<String>,
}

/// Quantiles of distances, each one that was measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Distances {
    /// The smallest.
    pub least: f64,
    /// 5 % are smaller.
    pub low: f64,
    /// The median.
    pub median: f64,
    /// 5 % are larger.
    pub high: f64,
    /// The largest.
    pub most: f64,
}

impl Distances {
    /// Quantiles of rising distances, `None` of none.
    pub(super) fn of(sorted: &[f64]) -> Option<Self> {
        let at = |share| quantile(sorted, share);
        Some(Self { least: at(0.0)?, low: at(0.05)?, median: at(0.5)?, high: at(0.95)?, most: at(1.0)? })
    }
}

/// The number below which at most that share of the rising ones are, as the gate takes it.
pub(super) fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    sorted.get((share * (sorted.len().max(1) - 1) as f64).floor() as usize).copied()
}

/// Whether an image shows the very row that its prompt and labels came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnSource {
    /// Synthetic images whose source row is a training image.
    pub known: usize,
    /// Those of them whose nearest training image is that row's. Without memorisation about one in as many as there are training images
    /// with the same labels.
    pub nearest: usize,
}

/// Copies of one another in the synthetic set, and in the held-out one for comparison.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Repeats {
    /// Among the synthetic images.
    pub synthetic: Repeated,
    /// Among the held-out images, of different patients; `None` for fewer than two patients.
    pub held_out: Option<Repeated>,
}

/// How many images of a set have a near copy in the same set.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Repeated {
    /// Images that have a neighbour at all.
    pub images: usize,
    /// Those whose nearest neighbour is below the limit.
    pub repeated: usize,
    /// From an image to its nearest neighbour in the set.
    pub distances: Distances,
}

/// A synthetic image and the training image nearest to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    /// Place in the synthetic set.
    pub synthetic: usize,
    /// Name of the synthetic image.
    pub image: String,
    /// Place in the training set.
    pub train: usize,
    /// Name of the training image.
    pub nearest: String,
    /// Distance of the two.
    pub distance: f64,
    /// Whether the distance is below the limit; `None` without one.
    pub flagged: Option<bool>,
    /// Whether the synthetic image was requested from that very row; `None` if its source is not known or not in the training set.
    pub own_source: Option<bool>,
    /// The synthetic image nearest to this one, and its distance; `None` for a single image.
    pub like: Option<(String, f64)>,
}

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MemorisationError {
    /// A set has no image.
    #[error("the {set} set has no image; without one there is no nearest image")]
    Empty {
        /// Which set.
        set: &'static str,
    },
    /// Rows and images are not the same number.
    #[error("the {set} set has {images} images and {rows} rows; give one row per image")]
    Count {
        /// Which set.
        set: &'static str,
        /// Images named.
        images: usize,
        /// Rows given.
        rows: usize,
    },
    /// A quantile that is none.
    #[error("memorisation.quantile is {found}; write a number from 0 to below 1")]
    Quantile {
        /// What was given.
        found: f64,
    },
    /// A row of zeros has no cosine with any other.
    #[error("row {row} of the {set} set is all zeros, so it has no cosine: the image or the network's weights are at fault")]
    NoDirection {
        /// Which set.
        set: &'static str,
        /// Row, from 0.
        row: usize,
    },
    /// An image can't be read.
    #[error(transparent)]
    Image(#[from] AugmentError),
    /// Rows that can't be compared.
    #[error("the {set} set: {source}")]
    Rows {
        /// Which set.
        set: &'static str,
        /// The cause.
        source: RowsError,
    },
}

/// Counts neighbours below `limit`; `None` if no image has a neighbour.
pub(super) fn repeated(mut distances: Vec<f64>, limit: f64) -> Option<Repeated> {
    distances.sort_by(f64::total_cmp);
    let quantiles = Distances::of(&distances)?;
    let repeated = distances.partition_point(|distance| *distance < limit);
    Some(Repeated { images: distances.len(), repeated, distances: quantiles })
}
