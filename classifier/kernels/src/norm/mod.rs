//! Norms and the activation after them.

pub(crate) mod backend;
pub(crate) mod batch;
pub(crate) mod fixed;
pub(crate) mod group;
pub(crate) mod layer;
pub(crate) mod moments;
pub(crate) mod plane;
