//! Data sets as others publish them.

pub(super) mod brax;
pub(super) mod chexpert;
mod medmnist;
pub(super) mod mimic;
pub(super) mod nih;
pub(super) mod openi;
pub(super) mod padchest;
mod rows;
pub(super) mod rsna;
pub(super) mod siim;
pub(super) mod synthetic;
#[cfg(test)]
mod testing;
pub(super) mod tuberculosis;
pub(super) mod vindr;

pub use medmnist::MedMnist;
pub use nih::{NihFiles, NihLists, NihSubset};
