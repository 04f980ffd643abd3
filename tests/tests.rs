//! The one integration binary: burn is linked once.
//!
//! | module | what it holds |
//! |---|---|
//! | `cli` | the program as a user types it: results, resume after a kill, and every bad input with its message |
//! | `parity` | every case of a parity tree, computed by the product's public code |
//! | `own_classifier` | the example of a classifier that is not ours, trained |

mod cli;
mod parity;

#[allow(dead_code, reason = "its `main` is for `cargo run --example own_classifier`")]
#[path = "../augment/examples/own_classifier.rs"]
mod own_classifier;
