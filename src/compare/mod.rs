//! The main job: train every arm over several seeds, and report their differences with intervals.

mod adherence;
mod agreement;
mod assess;
mod card;
mod evaluation;
mod gate;
mod outlook;
mod pool;
mod run;
mod seed;
mod supply;

pub use agreement::{ClassifierJudge, JudgeParts};
pub use assess::{ArmAssessment, assess};
pub use card::sample_grid;
pub use evaluation::check_networks;
pub use outlook::outlook;
pub use pool::{Filled, Pools, fill, notes_after, pools};
pub use run::{CompareError, Compared, Comparison};
pub use seed::{SeedRun, batcher, macro_auroc};
pub use supply::{PoolError, PoolJob, supply, synthesizer};
