//! One short file a verb.

pub mod compare;
pub mod data;
pub mod demo;
pub mod predict;
pub mod train;
