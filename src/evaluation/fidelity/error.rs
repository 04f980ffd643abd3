//! Features of which nothing can be said.

use crate::evaluation::rows::RowsError;

/// Why there is no figure.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FidelityError {
    /// The features themselves.
    #[error(transparent)]
    Rows(#[from] RowsError),
    /// A set is too small.
    #[error("{what} needs at least {needed} images in each set, {set} has {found}: give more images{remedy}")]
    TooFew {
        /// The figure.
        what: &'static str,
        /// The set that is too small.
        set: &'static str,
        /// Its images.
        found: usize,
        /// The smallest number that will do.
        needed: usize,
        /// What else would help; empty or begins with a comma.
        remedy: &'static str,
    },
    /// A setting that is zero.
    #[error("{setting} is 0, expected at least {least}")]
    Setting {
        /// The setting.
        setting: &'static str,
        /// The smallest value.
        least: usize,
    },
    /// An image index that the set does not have.
    #[error("image {index} of a set of {images}")]
    Index {
        /// The index, from 0.
        index: usize,
        /// Images in the set.
        images: usize,
    },
    /// Two subsets that should have one size.
    #[error("a subset of {found} images beside one of {expected}: both must have one size")]
    SubsetSize {
        /// Size of the second.
        found: usize,
        /// Size of the first.
        expected: usize,
    },
    /// A row whose direction is asked for, and that has none.
    #[error(
        "the features of image {row} are all 0: a cosine has no direction to go by; the image or the network's weights are at fault"
    )]
    Zero {
        /// Row, from 0.
        row: usize,
    },
    /// Similarities that are none.
    #[error("the similarity of {row} and {column} is {value}, expected {expected}")]
    Kernel {
        /// Row, from 0.
        row: usize,
        /// Column, from 0.
        column: usize,
        /// What stands there.
        value: f64,
        /// What may stand there.
        expected: &'static str,
    },
    /// Numbers so large that their products are not finite.
    #[error(
        "{what} is not finite: the features are too large (the largest is {largest:e}); the network's weights are at fault"
    )]
    Overflow {
        /// The figure.
        what: &'static str,
        /// The largest feature by magnitude.
        largest: f64,
    },
    /// A decomposition that found no answer.
    #[error("the {what} of a matrix of {size} rows did not converge")]
    Decomposition {
        /// The decomposition.
        what: &'static str,
        /// Rows of the matrix.
        size: usize,
    },
}
