//! Features of images: the networks behind one trait, and the files that keep what they made.

mod choice;
mod classifier;
mod compute;
mod extract;
mod network;
pub mod networks;
mod path;
mod scores;
mod store;

use roentgen_augment::digest::Fingerprint;

use crate::evaluation::{Rows, RowsError};

pub use choice::{NetworkChoice, NetworkKind, NotANetwork, kinds};
pub use classifier::ClassifierFeatures;
pub use extract::{Extraction, extract};
pub use network::{FeatureError, FeatureNetwork};
pub use path::{Planes, ResizePath};
pub use scores::ClassifierScores;

/// Features of a set of images, one row per image in the set's order.
#[derive(Clone, Debug)]
pub struct Features {
    /// Name of the network.
    pub network: String,
    /// How images were prepared, in words.
    pub preparation: String,
    /// Of the network and the preparation: features are comparable only where it is equal.
    pub fingerprint: Fingerprint,
    /// Features per image.
    pub width: usize,
    /// Row-major, finite.
    pub values: Vec<f32>,
}

impl Features {
    /// The features as rows.
    ///
    /// # Errors
    /// [`RowsError`] if they are no whole rows of finite numbers.
    pub fn rows(&self) -> Result<Rows<'_>, RowsError> {
        Rows::new(&self.values, self.width)
    }

    /// Number of images.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len().checked_div(self.width).unwrap_or_default()
    }

    /// Whether there is no image.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The features of the images at `indices`, in that order.
    ///
    /// # Panics
    /// If there is no such image.
    #[must_use]
    pub fn select(&self, indices: &[usize]) -> Self {
        let row = |&index: &usize| &self.values[index * self.width..][..self.width];
        let values = indices.iter().flat_map(row).copied().collect();
        Self { network: self.network.clone(), preparation: self.preparation.clone(), values, ..*self }
    }
}
