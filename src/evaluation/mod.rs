//! Whether images are any good: features, fidelity, diversity, correctness, retrieval, text, memorisation.

mod rows;

pub use rows::{Rows, RowsError};
