//! Weights in and out: our own files and those of torchvision, torchxrayvision and, of DINOv2, transformers.
//!
//! Read, by content and not by name: safetensors; PyTorch state dicts (zip, and the pickle stream of versions before 1.6),
//! bare, under `state_dict`, or with the `module.` prefix of `DataParallel`; whole pickled modules as torchxrayvision publishes
//! them. Pickles are never executed: a machine of our own builds plain values of them.
//!
//! Written: safetensors with a [`Card`], and PyTorch state dicts. Both carry torchvision's tensor names, transformers' of a DINOv2.

mod card;
mod config;
mod difference;
mod families;
mod folder;
mod load;
mod pickle;
mod pytorch;
mod safetensors;
mod save;
mod source;
mod state_dict;
mod stored;
#[cfg(test)]
mod testing;

pub use card::{Card, find_card, read_card};
pub use config::infer_config;
pub use difference::{Difference, WrongShape};
pub use families::published_name;
pub use folder::weights_file;
pub use load::{LoadOptions, LoadedWeights, load_weights};
pub use pytorch::{open_pytorch, pytorch_text};
pub use safetensors::{SafetensorsFile, open_f32, open_safetensors, safetensors_header, write_f32};
pub use save::save_weights;
pub use source::open_tensors;
pub use state_dict::save_state_dict;
pub use stored::StoredTensor;
