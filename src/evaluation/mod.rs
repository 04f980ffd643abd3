//! Whether images are any good: features, fidelity, diversity, correctness, retrieval, text, memorisation.

pub mod diversity;
pub mod fidelity;
pub mod retrieval;
pub mod features;
pub mod images;
pub mod correctness;
pub mod memorisation;
mod rows;

pub use rows::{Rows, RowsError};
