//! The crate's error.

use std::path::PathBuf;

use crate::formats::{FolderError, TableError};
use crate::image::ImageFileError;
use crate::text::RulesError;

/// Everything that can go wrong on the data side. Each message names the file, row, key or value, what was expected, and
/// what to do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AugmentError {
    /// A label name outside every known vocabulary.
    #[error(
        "unknown finding `{name}`; did you mean `{suggestion}`? Labels outside the public vocabularies must be declared as custom findings"
    )]
    UnknownFinding {
        /// As written.
        name: String,
        /// Nearest known spelling.
        suggestion: String,
    },
    /// Two columns mean the same finding.
    #[error("finding `{name}` is listed twice (aliases count: `Pleural Effusion` is `Effusion`)")]
    DuplicateFinding {
        /// Canonical name.
        name: String,
    },
    /// No finding at all.
    #[error("a vocabulary needs at least one finding")]
    EmptyVocabulary,
    /// A file could not be read or written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// `read`, `create`, `write`, `rename`, …
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// An image file.
    #[error(transparent)]
    Image(#[from] ImageFileError),
    /// A label table that can't be read as one.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The file of a row's image.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A file of labelling rules that can't be used.
    #[error("{}: not usable as rules of a labeler", path.display())]
    Rules {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<RulesError>,
    },
    /// Two rows of one image.
    #[error("{}: image `{image}` is in row {row} and in row {first}; keep one of them", path.display())]
    DuplicateImage {
        /// The table.
        path: PathBuf,
        /// The image.
        image: String,
        /// The later row.
        row: u64,
        /// The earlier row.
        first: u64,
    },
    /// An archive that lacks an array, or holds one of another shape or type.
    #[error("{}: array `{array}` is {found}, expected {expected}", path.display())]
    BadArray {
        /// The archive.
        path: PathBuf,
        /// The array's name.
        array: String,
        /// What there is.
        found: String,
        /// What there should be.
        expected: String,
    },
    /// Files that no layout reads.
    #[error("{}: no layout reads it{tried}\nwrite a run file with a [data] table, whose `format` names one", path.display())]
    NoLayout {
        /// The file or folder.
        path: PathBuf,
        /// What was tried, and why it failed.
        tried: String,
    },
    /// A folder with several data sets.
    #[error("{} holds several data sets: {found}; give one of them", path.display())]
    SeveralLayouts {
        /// The folder.
        path: PathBuf,
        /// Their tables and archives.
        found: String,
    },
    /// An archive that can't be read.
    #[error("cannot read {} as an npz (zip) archive; fetch it again", path.display())]
    Archive {
        /// The archive.
        path: PathBuf,
        /// The cause.
        #[source]
        source: zip::result::ZipError,
    },
    /// A data set without a row.
    #[error("{name} has no rows; check the path and the filters")]
    EmptyDataset {
        /// The data set.
        name: String,
    },
    /// A folder whose files are not laid out as its format says.
    #[error("{}: {found}, expected {expected}", path.display())]
    BadLayout {
        /// The folder, or the file in it.
        path: PathBuf,
        /// What there is.
        found: String,
        /// What there should be.
        expected: String,
    },
    /// Rows were left out, and too many of them.
    #[error("{name}: {cause}, and {lost}; {remedy}")]
    RowsLost {
        /// The data set.
        name: String,
        /// Which rows, and why.
        cause: String,
        /// What is missing now.
        lost: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A record whose labels don't fit the vocabulary.
    #[error("{name}, row {row}: {found} labels for {expected} findings; give one label per finding")]
    LabelCount {
        /// The data set.
        name: String,
        /// Row in its source.
        row: u64,
        /// Labels of the record.
        found: usize,
        /// Findings of the vocabulary.
        expected: usize,
    },
    /// Requested findings for which the data set has no labels.
    #[error("{name} has no labels of {missing}; requested: {wanted}; available: {available}")]
    FindingNotInData {
        /// The data set.
        name: String,
        /// The findings it lacks.
        missing: String,
        /// All requested findings.
        wanted: String,
        /// All findings it has.
        available: String,
    },
    /// A row without a split where the split column decides.
    #[error("{name}, row {row} (`{image}`): no split; fill in train, valid or test, or split by patient instead")]
    NoSplit {
        /// The data set.
        name: String,
        /// Row in its source.
        row: u64,
        /// Its image.
        image: String,
    },
    /// Split fractions that leave nothing.
    #[error("split fractions valid = {valid}, test = {test}: each must be at least 0 and their sum below 1")]
    BadFractions {
        /// Share requested for validation.
        valid: f64,
        /// Share requested for test.
        test: f64,
    },
    /// A split without a real image.
    #[error("{name}: the {split} split has no real image; give it a larger fraction, another seed, or fill the split column")]
    EmptySplit {
        /// The data set.
        name: String,
        /// The split.
        split: crate::record::Split,
    },
    /// A patient on both sides of a split.
    #[error(
        "{name}: patient {patient} is in {first_split} (row {first_row}) and in {second_split} (row {second_row}); a patient belongs to one split: correct the split column or split by patient"
    )]
    PatientInTwoSplits {
        /// The data set.
        name: String,
        /// The patient.
        patient: crate::record::PatientId,
        /// Where it was first seen.
        first_split: crate::record::Split,
        /// In that row.
        first_row: u64,
        /// Where it was seen again.
        second_split: crate::record::Split,
        /// In that row.
        second_row: u64,
    },
    /// A synthetic image in a split for evaluation.
    #[error("{name}, row {row} (`{image}`): a synthetic image can't be in the {split} split; synthetic data never judges")]
    SyntheticHeldOut {
        /// The data set.
        name: String,
        /// Row in its source.
        row: u64,
        /// Its image.
        image: String,
        /// The split it was given.
        split: crate::record::Split,
    },
    /// More training images were requested than exist.
    #[error("{name}: a subset of {wanted} of {available} training images; use 1 to {available}")]
    BadSubset {
        /// The data set.
        name: String,
        /// Images requested.
        wanted: usize,
        /// Images available.
        available: usize,
    },
    /// A sample could not be written to the cache.
    #[error(
        "cannot write {} to the sample cache; check that the folder is writable and that the disk has room (a cache can be bounded in bytes)",
        path.display()
    )]
    CacheWrite {
        /// The file, or the folder if nothing in it can be written.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The index of a sample cache could not be used.
    #[error("cannot {action} the cache index {}; if this persists, delete it: it is rebuilt from the samples", path.display())]
    CacheIndex {
        /// `open`, `read` or `write`.
        action: &'static str,
        /// The SQLite file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: rusqlite::Error,
    },
    /// The byte bound of a cache is smaller than the set it should hold.
    #[error(
        "the sample cache {} has no room for {not_kept} of {total} samples within its {max_bytes} bytes; raise the bound or request fewer samples",
        path.display()
    )]
    CacheTooSmall {
        /// The cache folder.
        path: PathBuf,
        /// Its bound.
        max_bytes: u64,
        /// Samples of the set that did not fit.
        not_kept: usize,
        /// Samples of the set.
        total: usize,
    },
    /// Samples that must be in the cache are not.
    #[error(
        "{missing} of {total} synthetic samples are not in the cache {} (such as request {first}); make them with `roentgen fill RUN.toml`, or let training make and keep them with `supply = \"cache-then-generate\"`",
        path.display()
    )]
    NotInCache {
        /// The cache folder.
        path: PathBuf,
        /// Samples missing.
        missing: usize,
        /// Samples of the set.
        total: usize,
        /// Index of the first request without a sample.
        first: usize,
    },
    /// A supply that lacks a part it needs.
    #[error("supply `{supply}` needs {needs}; give one, or choose another supply")]
    SupplyLacks {
        /// The supply.
        supply: crate::supply::SupplyMode,
        /// `a cache` or `a generator`.
        needs: &'static str,
    },
    /// A generator failed.
    #[error("generator `{model}` made none of {requests} samples")]
    Synthesis {
        /// The generator's name.
        model: String,
        /// Requests of the call.
        requests: usize,
        /// The cause.
        #[source]
        source: crate::supply::SynthesisError,
    },
    /// A generator did not return one image per request.
    #[error(
        "generator `{model}` returned {found} images for {expected} requests; it must return one image per request, in order"
    )]
    SynthesizerCount {
        /// The generator's name.
        model: String,
        /// Requests of the call.
        expected: usize,
        /// Images returned.
        found: usize,
    },
    /// A synthetic image that descends from a patient of validation or test.
    #[error(
        "synthetic sample {index} (`{image}`) descends from patient `{patient}`, who is held out for validation or test; leave it out, or make requests from training rows only"
    )]
    HeldOutPatient {
        /// Index of the request or row.
        index: usize,
        /// Its name.
        image: String,
        /// The patient.
        patient: crate::record::PatientId,
    },
    /// Images of a pool that descend from patients of validation or test.
    #[error(
        "{images} of {total} images of {name} descend from patients who are held out for validation or test, such as `{image}` from patient `{patient}`; drop them with `held_out = \"drop\"`"
    )]
    Descendants {
        /// The pool.
        name: String,
        /// Images that do.
        images: usize,
        /// Images in all.
        total: usize,
        /// The first of them.
        image: String,
        /// Its patient.
        patient: crate::record::PatientId,
    },
    /// A pool with fewer images than are wanted of it.
    #[error("{wanted} images are wanted of {name}, which has {available}")]
    TooFewImages {
        /// The pool.
        name: String,
        /// Images wanted.
        wanted: usize,
        /// Images there are.
        available: usize,
    },
    /// A real image among the synthetic ones.
    #[error("row {index} (`{image}`) of the synthetic set is a real image; its origin must be synthetic")]
    NotSynthetic {
        /// Index of the row, from 0.
        index: usize,
        /// Its id.
        image: String,
    },
    /// An invalid setting of the mixture.
    #[error("mixture: {key} is {found}; write {expected}")]
    BadMixture {
        /// Path of the key (`phases[1].synthetic_per_real`).
        key: String,
        /// The value.
        found: String,
        /// What it must be.
        expected: &'static str,
    },
    /// The ledger of verdicts could not be used.
    #[error("cannot {action} the verdicts {}; if this persists, delete the file: the verdicts are made again", path.display())]
    Ledger {
        /// `open`, `read` or `write`.
        action: &'static str,
        /// The SQLite file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: rusqlite::Error,
    },
    /// A judge of the gate failed.
    #[error(transparent)]
    Judge {
        /// What it says.
        source: crate::gate::JudgeError,
    },
    /// A judge did not give one verdict per image.
    #[error("a judge gave {found} verdicts on {expected} images; it must give one per image, in order")]
    VerdictCount {
        /// Images judged.
        expected: usize,
        /// Verdicts given.
        found: usize,
    },
    /// An invalid setting.
    #[error("{key} is {found}; write {expected}")]
    BadSetting {
        /// Path of the key (`prompts.cleaning.max_tokens`).
        key: String,
        /// The value.
        found: String,
        /// What it must be.
        expected: String,
    },
    /// A mixture needs images of a kind of which there are none.
    #[error("the mixture asks for {kind} images and there are none; {remedy}")]
    NothingToMix {
        /// `real` or `synthetic`.
        kind: &'static str,
        /// What to do.
        remedy: &'static str,
    },
}

impl AugmentError {
    /// The error of the setting `key` that is `found` and must be `expected`.
    pub(crate) fn setting(key: impl Into<String>, found: impl ToString, expected: impl Into<String>) -> Self {
        Self::BadSetting { key: key.into(), found: found.to_string(), expected: expected.into() }
    }
}
