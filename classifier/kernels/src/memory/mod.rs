//! Memory of the kernels.

pub(crate) mod output;
pub(crate) mod product;
pub(crate) mod scratch;
