//! Rows that are not read: for a fault, or as their images aren't there.

mod faults;
mod skipped;

pub(super) use faults::RowFaults;
pub(super) use skipped::Skipped;
