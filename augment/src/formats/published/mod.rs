//! Data sets as others publish them.

mod medmnist;
mod nih;
mod nih_subset;

pub use medmnist::MedMnist;
pub use nih::{NihFiles, NihLists};
pub use nih_subset::NihSubset;
