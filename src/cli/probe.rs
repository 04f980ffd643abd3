//! `probe`.

use std::path::PathBuf;

use clap::Args;
use roentgen::evaluation::probe::{Pooling, ProbeKind};
use roentgen::hub::Place;
use roentgen_augment::record::Target;

use super::label::SectionChoice;
use super::{Common, place};

/// `probe`.
#[derive(Args, Debug)]
#[command(
    after_help = "For every finding, a small classifier is fitted on the embeddings of either encoder, on folds grouped by patient, and judged on the \
    texts that it did not see. The change is given in absolute and in relative terms with intervals over patients; what it can and can't \
    tell is in docs/probe.md.\n\n\
    roentgen probe --texts reports.csv --before stable-diffusion-v1-4 --after runs/finetune --out runs/probe\n\
    roentgen probe --texts reports.csv --before owner/name:text_encoder --after runs/finetune/pipeline --pooling mean --out runs/probe"
)]
pub struct ProbeArgs {
    /// Texts: a table (CSV) with a column `report` or `prompt`, and optionally patient_id, source_id and findings; or a run file (TOML) or
    /// a folder, whose data set has reports
    #[arg(long, value_name = "TABLE|RUNFILE")]
    pub texts: PathBuf,
    /// Encoder before fine-tuning: a checkpoint folder in diffusers' layout, the folder of a BERT or of CLIP's text tower with its tokenizer,
    /// or a name on the Hugging Face hub, owner/name:text_encoder
    #[arg(long, value_name = "FOLDER|NAME", value_parser = place())]
    pub before: Place,
    /// Encoder after fine-tuning: the same, or the folder that `finetune` wrote
    #[arg(long, value_name = "FOLDER|NAME", value_parser = place())]
    pub after: Place,
    /// What of a text's tokens is its embedding; eos for CLIP and mean for others if absent
    #[arg(long)]
    pub pooling: Option<PoolingChoice>,
    /// Folds, grouped by patient
    #[arg(long, default_value_t = 5, allow_negative_numbers = true)]
    pub folds: usize,
    /// Which probe
    #[arg(long, default_value = "both")]
    pub probe: ProbeChoice,
    /// Where labels come from
    #[arg(long, default_value = "auto")]
    pub labels: LabelsChoice,
    /// Part of the reports that is read, by the encoder as by the labeler
    #[arg(long, default_value = "impression-or-next")]
    pub section: SectionChoice,
    /// What an uncertain label (-1) counts as
    #[arg(long, default_value = "unknown")]
    pub uncertain: TargetChoice,
    /// What a blank label counts as; unknown in a table and negative in labels read from the text if absent
    #[arg(long)]
    pub blank: Option<TargetChoice>,
    /// Inverse strength of the L2 penalty on standardised embeddings, as scikit-learn's C
    #[arg(long, default_value_t = 1.0, allow_negative_numbers = true)]
    pub c: f64,
    /// Count every text alike, instead of the positives as much as the negatives
    #[arg(long)]
    pub unweighted: bool,
    /// Hidden units of the mlp probe
    #[arg(long, default_value_t = 32, allow_negative_numbers = true)]
    pub hidden: usize,
    /// Resamples of the patients, for intervals
    #[arg(long, default_value_t = 1000, allow_negative_numbers = true)]
    pub bootstrap: usize,
    /// Seed of folds, resamples and the mlp probe
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    pub seed: u64,
    /// A column of the table to ignore; may be given several times. Any column that is neither known nor a finding is refused
    #[arg(long, value_name = "NAME")]
    pub extra_column: Vec<String>,
    /// A column of the table that is a finding outside the public vocabularies; may be given several times
    #[arg(long, value_name = "NAME")]
    pub custom_finding: Vec<String>,
    /// Probe template text all the same; every output then says that it is not a result
    #[arg(long)]
    pub allow_template: bool,
    /// Folder of the embeddings, which probes may share; `embeddings` in the folder of --out if absent
    #[arg(long, value_name = "FOLDER")]
    pub embeddings: Option<PathBuf>,
    /// Folder to write: probe.json, probe.html and predictions.csv; embeddings found there are used, the result of another probe is
    /// refused
    #[arg(long)]
    pub out: PathBuf,
    #[command(flatten)]
    pub common: Common,
}

/// What of a text's tokens is its embedding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum PoolingChoice {
    /// The first token, [CLS]; not for CLIP.
    Cls,
    /// The mean of all tokens.
    Mean,
    /// The last token, which ends the text.
    Eos,
}

impl From<PoolingChoice> for Pooling {
    fn from(choice: PoolingChoice) -> Self {
        match choice {
            PoolingChoice::Cls => Self::Cls,
            PoolingChoice::Mean => Self::Mean,
            PoolingChoice::Eos => Self::Eos,
        }
    }
}

/// Which probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ProbeChoice {
    /// Logistic regression, fitted to convergence.
    Linear,
    /// One small hidden layer, seeded.
    Mlp,
    /// One after the other.
    Both,
}

impl ProbeChoice {
    /// The probes.
    #[must_use]
    pub fn kinds(self) -> Vec<ProbeKind> {
        match self {
            Self::Linear => vec![ProbeKind::Linear],
            Self::Mlp => vec![ProbeKind::Mlp],
            Self::Both => vec![ProbeKind::Linear, ProbeKind::Mlp],
        }
    }
}

/// Where labels come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LabelsChoice {
    /// The table, if it has any, else the texts.
    Auto,
    /// Columns of the table.
    Table,
    /// The texts, read by the rules of `data label`: weak labels.
    Text,
}

/// What a label that is neither positive nor negative counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum TargetChoice {
    /// It is left out.
    Unknown,
    /// Absent.
    Negative,
    /// Present.
    Positive,
}

impl From<TargetChoice> for Target {
    fn from(choice: TargetChoice) -> Self {
        match choice {
            TargetChoice::Unknown => Self::Ignore,
            TargetChoice::Negative => Self::Zero,
            TargetChoice::Positive => Self::One,
        }
    }
}
