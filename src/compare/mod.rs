//! The main job: train every arm over several seeds, and say with intervals how they differ.

mod assess;
mod card;
mod folder;
mod grid;
mod pool;
mod run;
mod seed;

pub use assess::{ArmAssessment, assess};
pub use folder::{FolderError, RunFolder};
pub use grid::sample_grid;
pub use pool::{PoolError, Pools, cache_warning, pools, supply};
pub use run::{CompareError, Comparison};
pub use seed::{SeedRun, batcher, macro_auroc};
