//! The one integration binary: burn is linked once.
//!
//! | module | what it holds |
//! |---|---|
//! | `parity` | every case of a parity tree, computed by the product's public code |

mod parity;
