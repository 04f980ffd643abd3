//! What turns images into features.

use std::path::PathBuf;

use roentgen_augment::AugmentError;
use roentgen_augment::digest::Fingerprint;
use roentgen_augment::image::RgbImage;
use roentgen_classifier::ClassifierError;

use crate::diffusion::DiffusionError;
use crate::evaluation::RowsError;

/// A network that describes every image by as many numbers.
///
/// It prepares the images itself: their size, the way there ([`ResizePath`](super::ResizePath)) and the range of their pixels belong to
/// the network as its weights do.
pub trait FeatureNetwork: Send {
    /// What it is, for reports and names of files: `xrv-densenet121`, `rad-dino`.
    fn name(&self) -> &str;

    /// How images are prepared, in words for reports: `bicubic to 224x224 (clean-fid), gray, (2x/255 - 1) * 1024`.
    fn preparation(&self) -> String;

    /// Features per image.
    fn width(&self) -> usize;

    /// A digest of the weights and of how images are prepared: features of one image are equal where it is, and comparable only there.
    fn fingerprint(&self) -> Fingerprint;

    /// Features of `images`, row-major, `images.len() * width` numbers.
    ///
    /// The row of an image doesn't depend on the images beside it, but for the last bits of sums.
    ///
    /// # Errors
    /// [`FeatureError`] if a row would have a number that isn't finite, or the network fails.
    fn features(&self, images: &[RgbImage]) -> Result<Vec<f32>, FeatureError>;
}

/// Why there are no features.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FeatureError {
    /// An image can't be read.
    #[error(transparent)]
    Image(#[from] AugmentError),
    /// Weights are no such network's, or damaged.
    #[error(transparent)]
    Weights(#[from] ClassifierError),
    /// A folder of Hugging Face's is no such network's, or damaged.
    #[error(transparent)]
    Folder(#[from] DiffusionError),
    /// A network's folder or file lacks something, or says something else than expected.
    #[error("{path} is no {expected}: {found}", path = path.display())]
    Network {
        /// The folder or file.
        path: PathBuf,
        /// Which network it should be.
        expected: String,
        /// What is wrong, and what to give instead.
        found: String,
    },
    /// Features of an image have a number that is NaN or infinite.
    #[error("{network} makes no features of {image}: {cause}")]
    Rows {
        /// The network.
        network: String,
        /// The image.
        image: String,
        /// Which number.
        cause: RowsError,
    },
    /// Kept features can't be read or written.
    #[error("can't {action} the features kept in {path}: {cause}", path = path.display())]
    Store {
        /// `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        cause: String,
    },
}
