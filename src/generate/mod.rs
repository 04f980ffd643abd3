//! Images made by a checkpoint: the generator, the set that `generate` writes, and the share of it that one machine makes.

mod notes;
mod opening;
mod sameness;
mod set;
mod shard;
pub mod store;
mod synthesizer;

pub use notes::{CutPrompts, colour_note, cut_tokens_note};
pub use opening::{Opening, OpeningError};
pub use sameness::SetFault;
pub use set::{ImageSet, ImageSetError, Outcome, Progress, make, merge, prompts};
pub use shard::Shard;
pub use synthesizer::DiffusionSynthesizer;
