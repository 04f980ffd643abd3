//! `roentgen` trains multi-label chest X-ray classifiers on mixtures of real and synthetic radiographs, and reports with intervals
//! whether the synthetic ones helped.
//!
//! The command line is a thin layer over this crate: a [run file](config::RunConfig) becomes [data](data::open), a
//! [comparison](compare::Comparison) and a [report](report::ComparisonReport).
//!
//! ```
//! use std::path::Path;
//!
//! use roentgen::config::RunConfig;
//!
//! let text = r#"
//!     data = { format = "phantom" }
//!     generator = { kind = "shifted-phantom" }
//!     arms = [{ name = "real" }, { name = "mixed", mode = { add = { synthetic_per_real = 1.0 } } }]
//! "#;
//! let config = RunConfig::parse(text, Path::new("study.toml"), Path::new("."))?;
//! config.validate()?;
//! assert_eq!(config.arms[1].pool_size(300), 300);
//! # Ok::<(), roentgen::config::ConfigError>(())
//! ```

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod adapters;
pub mod compare;
pub mod config;
pub mod data;
pub mod device;
pub mod diffusion;
pub mod evaluation;
pub mod finetune;
pub mod generate;
pub mod guess;
pub mod hub;
pub mod memory;
pub mod report;
pub mod run_folder;
pub mod study;
