//! Whether images are any good: features, fidelity, diversity, correctness, fairness, retrieval, text, memorisation.

pub mod correctness;
pub mod diversity;
pub mod fairness;
pub mod features;
pub mod fidelity;
pub mod images;
pub mod memorisation;
pub mod probe;
pub mod query;
pub mod retrieval;
mod rows;
pub mod run;
pub mod text;

pub use rows::{Rows, RowsError};
