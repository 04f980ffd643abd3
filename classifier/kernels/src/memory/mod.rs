//! Memory of the kernels: what they read, what they write, and the matrix products in between.

pub(crate) mod float;
pub(crate) mod output;
pub(crate) mod pages;
pub(crate) mod product;
pub(crate) mod scratch;
pub(crate) mod transpose;
pub(crate) mod values;
