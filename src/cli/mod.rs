//! The command line's arguments.

mod evaluate;
mod generate;
mod label;
mod merge;
mod probe;
#[cfg(test)]
mod tests;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::builder::{PathBufValueParser, PossibleValue, PossibleValuesParser, StringValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};
use roentgen::adapters::{EmbeddingChoice, LoraChoice};
use roentgen::config::ComputeType;
use roentgen::config::limits::MOST_SEED;
use roentgen::device::DeviceChoice;
use roentgen::diffusion::samplers::Prediction;
use roentgen::generate::Shard;
use roentgen::hub::Place;
use roentgen_augment::formats::{FORMATS, Format};

pub use evaluate::{Benchmark, EvaluateArgs};
pub use generate::GenerateArgs;
pub use label::LabelArgs;
pub use merge::MergeArgs;
pub use probe::{LabelsChoice, ProbeArgs};

/// Train chest X-ray classifiers on real and synthetic images, and measure with intervals whether the synthetic ones help
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
    /// The whole system on an embedded phantom, without data: fine-tune a generator, generate, train, compare
    Demo(DemoArgs),
    /// Train every arm of a run file over several seeds and report how they differ
    Compare(CompareArgs),
    /// Train one arm of a run file with one seed
    Train(TrainArgs),
    /// Make the synthetic images of a run file beforehand, alone or on many machines
    Fill(FillArgs),
    /// Score images with a trained classifier
    Predict(PredictArgs),
    /// Fine-tune a Stable Diffusion checkpoint on radiographs and their reports, or train one from scratch
    Finetune(FinetuneArgs),
    /// Generate images from prompts with a Stable Diffusion checkpoint, such as RoentGen
    Generate(Box<GenerateArgs>),
    /// Measure how good synthetic images are, beside real ones
    Evaluate(Box<EvaluateArgs>),
    /// Measure what a text encoder knows of findings, before and after fine-tuning
    Probe(Box<ProbeArgs>),
    /// List the devices that this build can compute on
    Devices(DevicesArgs),
    /// Show what a checkpoint folder, a LoRA or an embedding contains, and whether this program can use it
    Inspect(InspectArgs),
    /// Write a checkpoint folder with LoRA files and embeddings merged into its weights
    Merge(MergeArgs),
    /// Make a checkpoint folder of a single file: a .safetensors or .ckpt in the names of Stable Diffusion's own code
    Convert(ConvertArgs),
    /// Commands for developing and measuring this program
    #[command(subcommand)]
    Dev(DevCommand),
    /// Look at a data set before training on it
    #[command(subcommand)]
    #[command(after_help = formats())]
    Data(DataCommand),
}

/// `demo`.
#[derive(Args, Debug)]
pub struct DemoArgs {
    /// Folder to write; an interrupted demo found there is continued
    #[arg(long, default_value = "runs/demo")]
    pub out: PathBuf,
    /// One seed and few steps: about a minute, to see that everything works
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
    #[arg(long, value_parser = clap::value_parser!(u64).range(..=MOST_SEED), allow_negative_numbers = true)]
    pub seed: Option<u64>,
    /// Folder to write; an interrupted run found there is continued
    #[arg(long)]
    pub out: PathBuf,
    #[command(flatten)]
    pub common: Common,
}

/// `fill`.
#[derive(Args, Debug)]
pub struct FillArgs {
    /// Run file (TOML)
    pub run: PathBuf,
    /// Run folder of the comparison that will use the images; the cache is in it unless the run file says where
    #[arg(long)]
    pub out: PathBuf,
    /// Make one part of them, such as 3/8: the third of eight
    #[arg(long, default_value_t = Shard::WHOLE)]
    pub shard: Shard,
    #[command(flatten)]
    pub common: Common,
}

/// `finetune`.
#[derive(Args, Debug)]
pub struct FinetuneArgs {
    /// Run file (TOML); every key is described in docs/finetune.md
    pub run: PathBuf,
    /// Folder to write; an interrupted run found there is continued, another run is refused
    #[arg(long)]
    pub out: PathBuf,
    /// Override a key of the run file, with its table: --set schedule.steps=1000
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Override `seed`
    #[arg(long, value_parser = clap::value_parser!(u64).range(..=MOST_SEED), allow_negative_numbers = true)]
    pub seed: Option<u64>,
    /// Override `preset`: roentgen-v1, roentgen-v2 or small
    #[arg(long)]
    pub preset: Option<String>,
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
    /// Which images: train, valid, test or all. By default those of the test split, and all where the data name no splits
    #[arg(long)]
    pub split: Option<SplitChoice>,
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
    /// Every real row.
    All,
    /// The synthetic rows, which are in no split.
    Synthetic,
}

/// The layouts that `data.format` names, from the list of readers.
fn formats() -> String {
    let line = |format: &Format| format!("  {:<15}{}", format.name, format.reads.replace('`', ""));
    format!(
        "Layouts (`format` in the [data] table of the run file; guessed for any other file or folder):\n{}",
        FORMATS.iter().map(line).collect::<Vec<_>>().join("\n")
    )
}

/// `data`.
#[derive(Subcommand, Debug)]
pub enum DataCommand {
    /// Count findings, views, sexes, ages and splits
    Summary(DataArgs),
    /// Read the data as training does, decode every image, and list every fault: what this passes can be trained on
    Check(DataArgs),
    /// Read the labels of findings from reports, by rules that a file states
    Label(LabelArgs),
    /// Write the data once in the project's own layout: a table with images of one size, or WebDataset shards
    Convert(DataConvertArgs),
    /// Show the findings that labels are read as, with their other spellings, and which of them some data have
    Vocab(DataVocabArgs),
}

/// `data convert`.
#[derive(Args, Debug)]
#[command(after_help = "\
What was written by a start that was interrupted is kept: give the same command again, and it goes on. Rows that can't be read are left
out, and are listed with the reason in dropped.csv.

Examples:
  roentgen data convert mimic-cxr-jpg --out mimic-256 --size 256
  roentgen data convert run.toml --out shards --size 512 --shards 2000")]
pub struct DataConvertArgs {
    /// Run file (TOML), of which only the data and the preprocessing are used; or a label table, an archive or a folder, whose layout is
    /// guessed
    pub data: PathBuf,
    /// Folder to write; a conversion that was interrupted there is continued
    #[arg(long)]
    pub out: PathBuf,
    /// Write 8-bit gray PNGs of N x N pixels, cropped and resized as training would; without it and --full-size, the table names the
    /// images where they are
    #[arg(long, value_name = "N")]
    pub size: Option<usize>,
    /// Write gray PNGs of the size and bit depth that the images have
    #[arg(long, conflicts_with = "size")]
    pub full_size: bool,
    /// Write WebDataset shards with N images each instead of a table and a file per image
    #[arg(long, value_name = "N")]
    pub shards: Option<NonZeroUsize>,
    /// Print JSON for scripts; progress is lines on standard error, not bars
    #[arg(long)]
    pub json: bool,
}

/// `data vocab`.
#[derive(Args, Debug)]
pub struct DataVocabArgs {
    /// Run file (TOML), or a label table, an archive or a folder, whose layout is guessed: shows how its labels are read
    pub data: Option<PathBuf>,
    /// Print JSON for scripts
    #[arg(long)]
    pub json: bool,
}

/// `data summary` and `data check`.
#[derive(Args, Debug)]
pub struct DataArgs {
    /// Run file (TOML), of which only the data are used; or a label table, an archive or a folder, whose layout is guessed
    pub data: PathBuf,
    /// Print JSON for scripts; progress is lines on standard error, not bars
    #[arg(long)]
    pub json: bool,
}

/// The names of types of weights.
fn compute_types(types: &[ComputeType]) -> impl TypedValueParser<Value = ComputeType> {
    let names = types.iter().map(|kind| PossibleValue::new(kind.name()));
    PossibleValuesParser::new(names).try_map(|name| name.parse::<ComputeType>())
}

/// `devices`.
#[derive(Args, Debug)]
pub struct DevicesArgs {
    /// Print JSON for scripts
    #[arg(long)]
    pub json: bool,
}

/// `inspect`.
#[derive(Args, Debug)]
pub struct InspectArgs {
    /// Checkpoint folder in diffusers' layout; a single file, one component, or a checkpoint-N folder of a training script; file or folder
    /// of a LoRA; file of textual inversion; or the name of any of them on the Hugging Face hub (owner/name, owner/name@revision,
    /// owner/name:file)
    #[arg(value_parser = place())]
    pub folder: Place,
    /// Variant of the weights, as `generate` would read it
    #[arg(long, value_name = "NAME")]
    pub variant: Option<String>,
    /// Another folder's U-Net, as `generate` would read it
    #[arg(long, value_name = "FOLDER|NAME", value_parser = place())]
    pub unet: Option<Place>,
    /// Print JSON for scripts
    #[arg(long)]
    pub json: bool,
}

/// A path as it is, or else a name on the hub.
fn place() -> impl TypedValueParser<Value = Place> {
    PathBufValueParser::new().map(|path| Place::from(path).resolved(Path::to_owned))
}

/// A LoRA, whose file may be a name on the hub.
fn lora() -> impl TypedValueParser<Value = LoraChoice> {
    StringValueParser::new().try_map(|text| text.parse::<LoraChoice>().map(LoraChoice::resolved_here))
}

/// A textual inversion, whose file may be a name on the hub.
fn embedding() -> impl TypedValueParser<Value = EmbeddingChoice> {
    StringValueParser::new().try_map(|text| text.parse::<EmbeddingChoice>().map(EmbeddingChoice::resolved_here))
}

/// `convert`.
#[derive(Args, Debug)]
#[command(
    after_help = "A single file holds weights alone. Sizes, vocabulary and noise schedule come from a folder, or from the release that it is \
    like; what the U-Net predicts is in neither tensor nor name.\n\n\
    roentgen convert model.ckpt --like sd1 --tokenizer stable-diffusion-v1-5/tokenizer --out model\n\
    roentgen convert model.safetensors --like sd2 --prediction v_prediction --tokenizer TOKENIZER --out model\n\
    roentgen convert model.safetensors --config stable-diffusion-v1-5 --out model"
)]
pub struct ConvertArgs {
    /// The file: .safetensors, or .ckpt, which is read without running anything; an autoencoder alone makes a `vae` folder. Or its name on
    /// the hub, owner/name:FILE
    #[arg(value_parser = place())]
    pub file: Place,
    /// Pipeline folder that the file fits, or its name on the hub, whose configurations and vocabulary are copied; its weights are not read
    #[arg(long, value_name = "FOLDER|NAME", required_unless_present = "like", conflicts_with = "like", value_parser = place())]
    pub config: Option<Place>,
    /// Release that the file fits: sd1 (1.1 to 1.5, RoentGen) or sd2 (2.0, 2.1 and their bases)
    #[arg(long)]
    pub like: Option<FamilyChoice>,
    /// With --like: folder with CLIP's vocab.json and merges.txt, as `tokenizer` of any Stable Diffusion, or its name on the hub,
    /// owner/name:tokenizer
    #[arg(long, value_name = "FOLDER|NAME", requires = "like", value_parser = place())]
    pub tokenizer: Option<Place>,
    /// What the U-Net predicts: epsilon, v_prediction or sample. Needed with --like sd2; that of the folder, or epsilon for sd1, if absent
    #[arg(long, value_name = "TYPE", value_parser = predictions())]
    pub prediction: Option<Prediction>,
    /// Take the moving average of the U-Net's weights (`model_ema.`) instead of the weights as trained
    #[arg(long)]
    pub ema: bool,
    /// Folder to write
    #[arg(long)]
    pub out: PathBuf,
    /// Print JSON for scripts
    #[arg(long)]
    pub json: bool,
}

/// What a U-Net can predict, by its name in configurations.
fn predictions() -> impl TypedValueParser<Value = Prediction> {
    const ALL: [Prediction; 3] = [Prediction::Epsilon, Prediction::Velocity, Prediction::Sample];
    PossibleValuesParser::new(ALL.map(Prediction::name))
        .map(|name| ALL.into_iter().find(|prediction| prediction.name() == name).expect("the name is one of them"))
}

/// Releases with the same networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum FamilyChoice {
    /// Stable Diffusion 1.
    Sd1,
    /// Stable Diffusion 2.
    Sd2,
}

/// `dev`.
#[derive(Subcommand, Debug)]
pub enum DevCommand {
    /// Write a checkpoint folder with random weights: full size to measure speed and memory, tiny to try the commands
    RandomPipeline(RandomPipelineArgs),
    /// Add an untrained projection between a text encoder and a U-Net of different widths, to be fine-tuned
    TextProjection(TextProjectionArgs),
}

/// `dev random-pipeline`.
#[derive(Args, Debug)]
pub struct RandomPipelineArgs {
    /// tiny (64 pixels, 1 MB) or sd14 (the shapes of Stable Diffusion 1.4: 512 pixels, 4.3 GB as f32)
    #[arg(long, default_value = "tiny")]
    pub size: RandomSizeChoice,
    /// Of the weights
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    pub seed: u64,
    /// Type of the weights in the files
    #[arg(long, default_value_t, value_parser = compute_types(&ComputeType::ALL))]
    pub dtype: ComputeType,
    /// Folder to write
    #[arg(long)]
    pub out: PathBuf,
}

/// `dev text-projection`.
#[derive(Args, Debug)]
pub struct TextProjectionArgs {
    /// Checkpoint folder in diffusers' layout; gets a folder `text_projection`
    pub folder: PathBuf,
    /// Of the weights
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    pub seed: u64,
}

/// Sizes of a random pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum RandomSizeChoice {
    /// For tests.
    Tiny,
    /// Stable Diffusion 1.4.
    Sd14,
}

/// Arguments of every long command.
#[derive(Args, Debug)]
pub struct Common {
    #[arg(long, default_value_t, help = DeviceChoice::HELP)]
    pub device: DeviceChoice,
    /// Print JSON for scripts; progress is lines on standard error, not bars
    #[arg(long)]
    pub json: bool,
}
