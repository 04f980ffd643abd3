//! The main job: train every arm over several seeds, and say with intervals how they differ.

mod adherence;
mod agreement;
mod assess;
mod attempts;
mod card;
mod folder;
mod gate;
mod generator;
mod grid;
mod pool;
mod run;
mod seed;

pub use agreement::{ClassifierJudge, JudgeParts};
pub use assess::{ArmAssessment, assess};
pub use folder::{FolderError, RunFolder};
pub use generator::{supply, synthesizer};
pub use grid::sample_grid;
pub use pool::{PoolError, PoolJob, Pools, cache_warning, fill, pools};
pub use run::{CompareError, Comparison};
pub use seed::{SeedRun, batcher, macro_auroc};
