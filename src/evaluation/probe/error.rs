//! Why a probe can't be run, or has no result.

use std::path::PathBuf;

use roentgen_augment::AugmentError;
use roentgen_augment::record::Finding;
use roentgen_classifier::metrics::MetricsError;

use crate::diffusion::DiffusionError;
use crate::evaluation::RowsError;
use crate::run_folder::RunFolderError;

/// Why a probe can't be run. Each message says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// No row has a text.
    #[error(
        "{name}: no row has a text to probe ({reasons}); name a table with a column `report` or `prompt`, or a run file whose data have reports"
    )]
    NoText {
        /// The table or data set.
        name: String,
        /// Why the rows have none.
        reasons: String,
    },
    /// The texts were made from the labels.
    #[error(
        "{templates} of {texts} texts are template text, lists of labels: a probe finds the labels in them whatever the encoder has \
         learnt, and its figures are not a result. Give reports; --allow-template runs the probe all the same, and every output says \
         that it is not a result"
    )]
    Template {
        /// Texts that are.
        templates: usize,
        /// All texts.
        texts: usize,
    },
    /// Labels are asked of a table that has none.
    #[error("{name} has no labels; --labels text reads them from the texts by rule (weak labels)")]
    NoLabels {
        /// The table or data set.
        name: String,
    },
    /// There are fewer patients than folds.
    #[error("{patients} patients can't be divided into {folds} folds; give more texts, or fewer --folds")]
    FewPatients {
        /// Patients.
        patients: usize,
        /// Folds.
        folds: usize,
    },
    /// No finding has enough texts of both classes.
    #[error("no finding can be probed:\n{reasons}\ngive more texts, or fewer --folds")]
    NothingDefined {
        /// A line per finding.
        reasons: String,
    },
    /// A setting is out of its range.
    #[error("{key} is {value}, expected {expected}")]
    Setting {
        /// Name of the setting.
        key: &'static str,
        /// As given.
        value: String,
        /// The range.
        expected: &'static str,
    },
    /// The first token of a causal encoder.
    #[error(
        "--pooling cls takes the first token, which in CLIP's text tower sees no other token and is the same for every text; use eos or mean"
    )]
    CausalCls,
    /// An encoder's output is not finite.
    #[error("the embeddings of {encoder}: {source}")]
    NotFinite {
        /// The encoder.
        encoder: String,
        /// Which number.
        #[source]
        source: RowsError,
    },
    /// The linear probe did not converge.
    #[error("the linear probe of {finding} did not converge in fold {fold}; give a smaller --c")]
    NotConverged {
        /// The finding.
        finding: Finding,
        /// From 1.
        fold: usize,
    },
    /// The folder has the result of another probe.
    #[error("{} has the result of another probe ({differs} differ); repeat that one, or give another --out", path.display())]
    OtherResult {
        /// `probe.json`.
        path: PathBuf,
        /// What differs.
        differs: String,
    },
    /// A file could not be read or written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A table can't be used.
    #[error(transparent)]
    Table(#[from] AugmentError),
    /// An encoder can't be used.
    #[error(transparent)]
    Encoder(#[from] DiffusionError),
    /// The folder can't be used.
    #[error(transparent)]
    Folder(#[from] RunFolderError),
    /// Scores that have no statistics.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
}
