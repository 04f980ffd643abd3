//! What a user types.

mod lora_choice;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;

use burn::tensor::FloatDType;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};
use roentgen::device::DeviceChoice;
use roentgen::diffusion::pipeline::SamplingPreset;
use roentgen::diffusion::samplers::{SAMPLERS, SamplerKind};
use roentgen::shard::Shard;
use roentgen::store::StorePlace;
use roentgen_augment::formats::{FORMATS, Format};

pub use lora_choice::LoraChoice;

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
    /// Make radiographs from prompts with a Stable Diffusion checkpoint, such as RoentGen
    Generate(Box<GenerateArgs>),
    /// Say what a checkpoint folder is, and whether this program can run it
    Inspect(InspectArgs),
    /// For those who develop or measure this program
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
    /// Folder to write; an interrupted run found there goes on, another run is refused
    #[arg(long)]
    pub out: PathBuf,
    /// Override a key of the run file, with its table: --set schedule.steps=1000
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Override `seed`
    #[arg(long)]
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

/// The layouts that `data.format` names, from the list of readers.
fn formats() -> String {
    let line = |format: &Format| format!("  {:<12}{}", format.name, format.reads.replace('`', ""));
    format!(
        "Layouts (`format` in the [data] table of the run file):\n{}",
        FORMATS.iter().map(line).collect::<Vec<_>>().join("\n")
    )
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

/// `generate`.
#[derive(Args, Debug)]
#[command(
    after_help = "Defaults are RoentGen's published setting: 75 steps of the folder's own sampler (PNDM), guidance 4.\n\n\
    roentgen generate --pipeline roentgen-v1 --prompt \"Big right-sided pleural effusion\" --count 4 --out runs/effusion\n\
    roentgen generate --pipeline roentgen-v1 --prompts prompts.csv --batch-size 4 --out runs/set"
)]
pub struct GenerateArgs {
    /// Checkpoint folder in diffusers' layout, with model_index.json in it
    #[arg(long, required_unless_present = "merge")]
    pub pipeline: Option<PathBuf>,
    /// What to paint; more than 77 tokens are cut
    #[arg(long, required_unless_present = "prompts", conflicts_with = "prompts")]
    pub prompt: Option<String>,
    /// CSV with a column `prompt` (or `report`) and, if you like, seed, age, sex, view, patient_id, source_id and findings, which go
    /// into the manifest as the images' labels
    #[arg(long)]
    pub prompts: Option<PathBuf>,
    /// What to stay away from
    #[arg(long, default_value = "")]
    pub negative_prompt: String,
    /// Images a prompt
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub count: u32,
    /// Seed of the first image; the others count on from it
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Sampler, steps and guidance by one name: roentgen-v1 (pndm, 75, 4), roentgen-v2 (pndm, 75, 3), fast (dpm++2m, 25, 4: a
    /// third of the time) or draft (unipc, 10, 4: for a look)
    #[arg(long)]
    pub preset: Option<SamplingPreset>,
    /// How latents are denoised; the preset's or the folder's own sampler if absent
    #[arg(long, value_parser = samplers())]
    pub sampler: Option<SamplerKind>,
    /// Karras's noise levels
    #[arg(long, help = format!("Karras's noise levels, with the sampler {}", SamplerKind::names_with_karras()))]
    pub karras: bool,
    /// Fresh noise of DDIM's steps: 0 for none, 1 for as much as DDPM's
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    pub eta: f64,
    /// Sampling steps; the preset's or 75 if absent
    #[arg(long)]
    pub steps: Option<usize>,
    /// Classifier-free guidance scale; 1 and below switch guidance off and halve the work; the preset's or 4 if absent
    #[arg(long, allow_negative_numbers = true)]
    pub guidance: Option<f64>,
    /// Between 0 and 1: rescale guided predictions, for models trained with zero-terminal-SNR schedules
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    pub guidance_rescale: f64,
    /// Side in pixels, or WIDTHxHEIGHT, multiples of 8; the model's own if absent
    #[arg(long)]
    pub size: Option<ImageSize>,
    /// Start from this radiograph instead of noise
    #[arg(long, value_name = "IMAGE")]
    pub init_image: Option<PathBuf>,
    /// How much of the start image is changed: above 0, at most 1
    #[arg(long, default_value_t = 0.8, requires = "init_image", allow_negative_numbers = true)]
    pub strength: f64,
    /// Adapters to merge into the weights, with a scale of 1 unless one is given: a LoRA file of diffusers or a folder of peft; may be
    /// given several times
    #[arg(long, value_name = "FILE[:SCALE]")]
    pub lora: Vec<LoraChoice>,
    /// Images made at a time: faster on a GPU, more memory
    #[arg(long, default_value = "1")]
    pub batch_size: NonZeroUsize,
    /// Bits a sample of the PNGs, 8 or 16
    #[arg(long, default_value = "8", value_parser = clap::builder::PossibleValuesParser::new(["8", "16"]))]
    pub bits: String,
    /// Compute type of text encoder and U-Net; f16 and bf16 are for GPUs
    #[arg(long, default_value = "f32")]
    pub dtype: ComputeType,
    /// Keep each network in host memory between its uses: for small GPUs
    #[arg(long)]
    pub offload: bool,
    /// Decode in overlapping tiles: for images much larger than the model's own size
    #[arg(long)]
    pub tiled: bool,
    /// Make one part of the images, such as 3/8: the third of eight. Parts need not know of each other, and each can be repeated; the
    /// manifest comes from --merge
    #[arg(long, default_value_t = Shard::WHOLE)]
    pub shard: Shard,
    /// Make no image, but the manifest from the images of all parts; give the same prompts and count
    #[arg(long, conflicts_with = "shard")]
    pub merge: bool,
    /// Folder to write, or s3://, gs:// or az:// with a program built for it: 000000.png, … and manifest.csv; an interrupted run found
    /// there is continued, another run is refused
    #[arg(long)]
    pub out: StorePlace,
    #[command(flatten)]
    pub common: Common,
}

/// Type of the weights in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ComputeType {
    /// 32-bit floats.
    F32,
    /// 16-bit floats.
    F16,
    /// Brain floats.
    Bf16,
}

impl From<ComputeType> for FloatDType {
    fn from(dtype: ComputeType) -> Self {
        match dtype {
            ComputeType::F32 => Self::F32,
            ComputeType::F16 => Self::F16,
            ComputeType::Bf16 => Self::BF16,
        }
    }
}

/// `512` or `WIDTHxHEIGHT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageSize {
    /// Pixels.
    pub width: usize,
    /// Pixels.
    pub height: usize,
}

impl FromStr for ImageSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (width, height) = text.split_once('x').unwrap_or((text, text));
        match (width.parse(), height.parse()) {
            (Ok(width), Ok(height)) => Ok(Self { width, height }),
            _ => Err("expected a side such as 512, or WIDTHxHEIGHT".to_owned()),
        }
    }
}

/// `inspect`.
#[derive(Args, Debug)]
pub struct InspectArgs {
    /// Checkpoint folder in diffusers' layout
    pub folder: PathBuf,
    /// Print JSON for scripts
    #[arg(long)]
    pub json: bool,
}

/// The names of samplers, each with what it is.
fn samplers() -> impl TypedValueParser<Value = SamplerKind> {
    let values = SAMPLERS.map(|entry| PossibleValue::new(entry.name).help(entry.title));
    PossibleValuesParser::new(values).try_map(|name| name.parse::<SamplerKind>())
}

/// `dev`.
#[derive(Subcommand, Debug)]
pub enum DevCommand {
    /// Write a checkpoint folder with random weights: full size to measure speed and memory, tiny to try the commands
    RandomPipeline(RandomPipelineArgs),
    /// Put an untrained projection between a folder's text encoder and its U-Net, whose widths differ, to be fine-tuned
    TextProjection(TextProjectionArgs),
}

/// `dev random-pipeline`.
#[derive(Args, Debug)]
pub struct RandomPipelineArgs {
    /// tiny (64 pixels, 1 MB) or sd14 (the shapes of Stable Diffusion 1.4: 512 pixels, 4.3 GB as f32)
    #[arg(long, default_value = "tiny")]
    pub size: RandomSizeChoice,
    /// Of the weights
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Type of the weights in the files
    #[arg(long, default_value = "f32")]
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
    #[arg(long, default_value_t = 0)]
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
