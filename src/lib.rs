//! `roentgen` trains multi-label chest X-ray classifiers on mixtures of real and synthetic radiographs, and says with intervals
//! whether the synthetic ones helped.

#![warn(missing_docs)]

pub mod compare;
pub mod config;
pub mod data;
pub mod device;
pub mod progress;
pub mod report;
