//! Files that change a pipeline: low-rank adapters, and vectors of new words.
//!
//! | file | what it holds |
//! |---|---|
//! | [`lora`] | low-rank adapters: read from the files of every tool, merged into weights, written |
//! | [`embedding`] | textual inversion: vectors of new tokens |
//! | `choice` | how both are named on command lines and in run files |
//! | `file` | the tensors of such a file, and where it is in a folder |
//! | `foreign` | what else a file may be, refused by name |
//! | `merged` | a pipeline folder with both in it |
//! | `inspect` | what a file is, for `roentgen inspect` |
//!
//! Whatever the tool, there is one representation: for a module the two factors and the number that their product is multiplied by. So
//! a file's own definition counts, module by module.

mod choice;
pub mod embedding;
mod error;
mod file;
mod foreign;
mod inspect;
pub mod lora;
mod merged;

pub use choice::{EmbeddingChoice, LoraChoice, adapter_places, add_all};
pub use error::AdapterError;
pub(crate) use file::{EMBEDDING_FILES, LORA_CONFIG, LORA_FILES};
pub use inspect::{AdapterInspection, LoraPart, inspect};
pub use merged::{MergeError, write_merged};
