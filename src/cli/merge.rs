//! `merge`.

use std::path::PathBuf;

use clap::Args;
use roentgen::adapters::{EmbeddingChoice, LoraChoice};
use roentgen::config::ConfigError;
use roentgen::hub::Place;

use super::generate::check_scales;
use super::{embedding, lora, place};

/// `merge`.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "The folder is as large as the pipeline and needs no adapter any more; merged.json in it says what it was made of.\n\n\
    roentgen merge --pipeline sd15 --lora chest.safetensors:0.8 --lora view.safetensors:0.5 --out chest-pipeline"
)]
pub struct MergeArgs {
    /// Checkpoint folder in diffusers' layout, with model_index.json in it, or its name on the Hugging Face hub
    #[arg(long, value_name = "FOLDER|NAME", value_parser = place())]
    pub pipeline: Place,
    /// A LoRA file of kohya's scripts or diffusers, a folder of diffusers or peft, or a name on the hub, with a scale of 1 unless one is
    /// given; may be given several times
    #[arg(long, value_name = "FILE[:SCALE]", value_parser = lora())]
    pub lora: Vec<LoraChoice>,
    /// Textual inversion, a file or a name on the hub, whose token is in the vocabulary then; may be given several times
    #[arg(long, value_name = "[TOKEN=]FILE", value_parser = embedding())]
    pub embedding: Vec<EmbeddingChoice>,
    /// Folder to write, which must not exist yet
    #[arg(long)]
    pub out: PathBuf,
    /// Print JSON for scripts; progress is lines on standard error, not bars
    #[arg(long)]
    pub json: bool,
}

impl MergeArgs {
    /// Refuses scales that no adapter needs.
    ///
    /// # Errors
    /// [`ConfigError::Value`] with the flag, its value and the bound.
    pub fn check(&self) -> Result<(), ConfigError> {
        check_scales(&self.lora)
    }
}
