//! `evaluate`.

use std::path::PathBuf;

use clap::Args;
use roentgen::config::ComputeType;
use roentgen::config::limits::MOST_SEED;
use roentgen::evaluation::features::{NetworkChoice, ResizePath};
use roentgen::evaluation::text::UncertainAs;
use roentgen_augment::record::Split;

use super::{Common, compute_types};

/// `evaluate`.
#[derive(Args, Debug)]
#[command(
    after_help = "Both sets are whatever has images: a run file (its [data]), a table in any layout that is read, a folder of `generate`, folders of \
    classes, or a folder of image files. Figures per finding need labels in both, floors and intervals need patients in the real one.\n\n\
    Networks (--network, several times; none is built in):\n  \
    xrv:FILE         torchxrayvision's DenseNet-121 or ResNet-50: the `.pt` file or converted weights\n  \
    rad-dino:FOLDER  RAD-DINO as the hub has it: config.json, preprocessor_config.json, model.safetensors\n  \
    inception:FILE   pytorch-fid's Inception-v3: pt_inception-2015-12-05-6726825d.pth\n  \
    clip:FOLDER      CLIP with its image tower, as the hub has it\n  \
    classifier:FILE  a classifier trained here: `model.safetensors` of `train` or `compare`\n\n\
    roentgen evaluate --real study.toml --synthetic generated/ --network xrv:densenet121-all.pt --out evaluation\n\
    roentgen evaluate --real real.csv --synthetic theirs/ --network classifier:runs/first/real/seed-1/model.safetensors --out evaluation\n\
    roentgen evaluate --real study.toml --synthetic generated/ --network clip:FOLDER --texts texts.csv --out evaluation\n\n\
    docs/evaluation.md says what each figure can and can't tell."
)]
pub struct EvaluateArgs {
    /// The real images that the synthetic ones are compared with
    #[arg(long, value_name = "PATH")]
    pub real: PathBuf,
    /// The synthetic images
    #[arg(long, value_name = "PATH")]
    pub synthetic: PathBuf,
    /// Which real images of a run file: train, valid, test or all
    #[arg(long, value_name = "SPLIT", default_value = "test")]
    pub real_split: RealSplit,
    /// A network whose features are compared, as KIND:PATH; several are allowed
    #[arg(long, value_name = "KIND:PATH")]
    pub network: Vec<NetworkChoice>,
    /// A classifier that judges whether images show what they were asked for: xrv:FILE or classifier:FILE. Several are allowed
    #[arg(long, value_name = "KIND:PATH")]
    pub judge: Vec<NetworkChoice>,
    /// What the generator was trained on: copies of it are looked for. Of a run file, its train split
    #[arg(long, value_name = "PATH")]
    pub train: Option<PathBuf>,
    /// torchvision's AlexNet (alexnet-owt-7be5be79.pth): LPIPS among images of one prompt, higher where they differ more
    #[arg(long, value_name = "FILE", requires = "lpips_weights")]
    pub lpips: Option<PathBuf>,
    /// lpips's weights of AlexNet's channels (lpips/weights/v0.1/alex.pth)
    #[arg(long, value_name = "FILE", requires = "lpips")]
    pub lpips_weights: Option<PathBuf>,
    /// A table of prompts with findings: texts that look for images in the features of a network. clip:FOLDER encodes them itself
    #[arg(long, value_name = "TABLE")]
    pub texts: Option<PathBuf>,
    /// Embeddings of the texts, a row each, in the space of the network's features: .npy, safetensors or PyTorch
    #[arg(long, value_name = "FILE", requires = "texts")]
    pub text_embeddings: Option<PathBuf>,
    /// The --network that texts look in; the only one, or the only clip:FOLDER, if absent
    #[arg(long, value_name = "KIND:PATH", requires = "texts")]
    pub text_network: Option<NetworkChoice>,
    /// Train a small report decoder on the images and reports of --train, and compare what it reads off both sets with their reports
    #[arg(long)]
    pub report_decoder: bool,
    /// Reports that another program wrote for the synthetic images: a CSV with the columns id, generated and, where wanted, reference
    #[arg(long, value_name = "FILE")]
    pub synthetic_reports: Option<PathBuf>,
    /// The same for the real images
    #[arg(long, value_name = "FILE")]
    pub real_reports: Option<PathBuf>,
    /// Entities of the references and of the reports of --synthetic-reports, as RadGraph finds them: two files of JSON lines
    #[arg(long, action = clap::ArgAction::Set, num_args = 2, value_names = ["REFERENCES", "GENERATED"])]
    pub synthetic_entities: Vec<PathBuf>,
    /// The same for --real-reports
    #[arg(long, action = clap::ArgAction::Set, num_args = 2, value_names = ["REFERENCES", "GENERATED"])]
    pub real_entities: Vec<PathBuf>,
    /// What a finding counts as that a report is uncertain about; `present` is the convention of F1CheXbert (`rrg`)
    #[arg(long, value_name = "AS", default_value = "present")]
    pub uncertain: UncertainChoice,
    /// How images get to a network's size. A distance depends on it
    #[arg(long, value_name = "WAY")]
    pub resize: Option<ResizeChoice>,
    /// Compute type of --network and --judge: f32, or bf16, which is faster and takes half the memory where the processor has AMX or
    /// AVX-512 for it. Figures of different types are not comparable; LPIPS and texts compute in f32
    #[arg(long, default_value_t, value_parser = compute_types(&[ComputeType::F32, ComputeType::Bf16]))]
    pub dtype: ComputeType,
    /// A finding with figures of its own; all that both sets have if absent. Several are allowed
    #[arg(long, value_name = "NAME")]
    pub finding: Vec<String>,
    /// The conventions of a benchmark, with its way of resizing; real images with a repeated caption are left out
    #[arg(long, value_name = "NAME")]
    pub benchmark: Option<Benchmark>,
    /// Times that the sets are halved, for floors and intervals
    #[arg(long, default_value_t = 20)]
    pub splits: usize,
    /// Images that a network is given at once
    #[arg(long, default_value_t = 16)]
    pub batch: usize,
    /// Seed of everything that is drawn
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=MOST_SEED), allow_negative_numbers = true)]
    pub seed: u64,
    /// Folder that keeps features, so that no image is looked at twice; `features` in --out if absent
    #[arg(long, value_name = "FOLDER")]
    pub cache: Option<PathBuf>,
    /// Folder to write: evaluation.html, evaluation.json, fidelity.csv, retrieval.csv; with --train also pairs.csv and closest.png, with
    /// reports also reports.csv
    #[arg(long)]
    pub out: PathBuf,
    #[command(flatten)]
    pub common: Common,
}

/// Which real images of a run file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum RealSplit {
    /// Training rows.
    Train,
    /// Validation rows.
    Valid,
    /// Test rows.
    Test,
    /// Every real row.
    All,
}

impl RealSplit {
    /// The split; `None` for all.
    pub fn split(self) -> Option<Split> {
        match self {
            Self::Train => Some(Split::Train),
            Self::Valid => Some(Split::Valid),
            Self::Test => Some(Split::Test),
            Self::All => None,
        }
    }
}

/// What a finding counts as that a report is uncertain about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum UncertainChoice {
    /// It is there
    Present,
    /// It is not there
    Absent,
}

impl From<UncertainChoice> for UncertainAs {
    fn from(choice: UncertainChoice) -> Self {
        match choice {
            UncertainChoice::Present => Self::Present,
            UncertainChoice::Absent => Self::Absent,
        }
    }
}

/// Ways to a network's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ResizeChoice {
    /// Bicubic in floats to the network's size (the default)
    CleanFid,
    /// As RoentGen's own script: by 299 pixels, then bilinear
    Authors,
    /// As CheXGenBench: 8-bit bilinear to 299 pixels, then 8-bit bicubic
    Chexgenbench,
}

impl From<ResizeChoice> for ResizePath {
    fn from(choice: ResizeChoice) -> Self {
        match choice {
            ResizeChoice::CleanFid => Self::CleanFid,
            ResizeChoice::Authors => Self::Authors,
            ResizeChoice::Chexgenbench => Self::Chexgenbench,
        }
    }
}

/// A benchmark whose conventions are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Benchmark {
    /// CheXGenBench's fidelity
    Chexgenbench,
}
