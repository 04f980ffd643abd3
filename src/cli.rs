//! What a user types.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use roentgen::device::DeviceChoice;

/// Train chest X-ray classifiers on real and synthetic radiographs, and learn with intervals whether the synthetic ones helped.
///
/// Start with `roentgen demo`: it needs no data and no download. Then write a run file (see `examples/`) and
/// `roentgen compare RUN.toml --out runs/first`.
#[derive(Parser, Debug)]
#[command(version, propagate_version = true, max_term_width = 110)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Compare arms on an embedded phantom: the whole main job in a few minutes, without data
    Demo(DemoArgs),
    /// Train every arm of a run file over several seeds and report how they differ
    Compare(CompareArgs),
    /// Train one arm of a run file with one seed
    Train(TrainArgs),
    /// Score images with a trained classifier
    Predict(PredictArgs),
    /// Look at a data set before training on it
    #[command(subcommand)]
    Data(DataCommand),
}

/// `demo`.
#[derive(Args, Debug)]
pub struct DemoArgs {
    /// Folder to write; an interrupted demo found there is continued
    #[arg(long, default_value = "runs/demo")]
    pub out: PathBuf,
    /// A minute's worth: one seed and few steps, to see that everything works
    #[arg(long)]
    pub quick: bool,
    #[command(flatten)]
    pub common: Common,
}

/// `compare`.
#[derive(Args, Debug)]
pub struct CompareArgs {
    /// Run file (TOML); every key is described in docs/run-file.md
    pub run: PathBuf,
    /// Folder to write; an interrupted run found there is continued, another run is refused
    #[arg(long)]
    pub out: PathBuf,
    #[command(flatten)]
    pub common: Common,
}

/// `train`.
#[derive(Args, Debug)]
pub struct TrainArgs {
    /// Run file (TOML)
    pub run: PathBuf,
    /// Arm to train; the run file's baseline if absent
    #[arg(long)]
    pub arm: Option<String>,
    /// Seed; the run file's first if absent
    #[arg(long)]
    pub seed: Option<u64>,
    /// Folder to write; an interrupted run found there is continued
    #[arg(long)]
    pub out: PathBuf,
    #[command(flatten)]
    pub common: Common,
}

/// `predict`.
#[derive(Args, Debug)]
pub struct PredictArgs {
    /// Weights that `train` or `compare` wrote (`model.safetensors`)
    #[arg(long)]
    pub weights: PathBuf,
    /// Run file whose [data] table says what to score; the rest may be absent
    pub run: PathBuf,
    /// Which images: train, valid, test or all
    #[arg(long, default_value = "test")]
    pub split: SplitChoice,
    /// CSV to write
    #[arg(long)]
    pub out: PathBuf,
    #[command(flatten)]
    pub common: Common,
}

/// Which images to score.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum SplitChoice {
    /// Training rows.
    Train,
    /// Validation rows.
    Valid,
    /// Test rows.
    Test,
    /// Every row.
    All,
}

/// `data`.
#[derive(Subcommand, Debug)]
pub enum DataCommand {
    /// Count findings, views, sexes, ages and splits
    Summary(DataArgs),
    /// Decode every image; find unreadable ones, duplicates, and patients or images in two splits
    Check(DataArgs),
}

/// `data summary` and `data check`.
#[derive(Args, Debug)]
pub struct DataArgs {
    /// Run file (TOML), of which only [data] and [preprocess] are read; the rest may be absent
    pub run: PathBuf,
    /// Print JSON for scripts
    #[arg(long)]
    pub json: bool,
}

/// What every long command takes.
#[derive(Args, Debug)]
pub struct Common {
    /// auto, cpu, cuda or cuda:N; auto takes a GPU when one is there
    #[arg(long, default_value = "auto")]
    pub device: DeviceChoice,
    /// Print JSON for scripts, and no progress bars
    #[arg(long)]
    pub json: bool,
}
