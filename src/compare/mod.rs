//! The main job: train every arm over several seeds, and say with intervals how they differ.

mod assess;
mod folder;
mod grid;
mod pool;
mod run;

pub use assess::{ArmAssessment, assess};
pub use folder::{FolderError, RunFolder};
pub use grid::sample_grid;
pub use pool::{cache_warning, pools, supply};
pub use run::{CompareError, Comparison, SeedRun, batcher, macro_auroc, run_seed};
