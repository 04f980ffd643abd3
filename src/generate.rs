//! A folder of generated radiographs: `000000.png`, `000001.png`, … and `manifest.csv`.
//!
//! Every image carries its request, the generator's fingerprint and a digest of its pixels. So an interrupted run goes on where it
//! stopped, and a folder of another run is never mixed with this one.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use roentgen_augment::datasets::{PromptTable, TableRow, write_table};
use roentgen_augment::{
    AugmentError, CxrRecord, Details, Origin, Provenance, SampleDefect, SampleOrigin, SampleRequest, Synthesizer, Vocabulary,
    decode_sample, encode_sample, write_atomic,
};

use crate::diffusion::{DiffusionError, Step};
use crate::synthesizer::DiffusionSynthesizer;

/// Why a folder was not filled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// The generator failed.
    #[error(transparent)]
    Diffusion(#[from] DiffusionError),
    /// The prompts or the manifest.
    #[error(transparent)]
    Data(#[from] AugmentError),
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
    /// An image could not be encoded.
    #[error("cannot encode {}", path.display())]
    Encode {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: png::EncodingError,
    },
    /// The folder holds images of another run.
    #[error(
        "{} was made by another run: {difference}; generate into another folder, or repeat the settings it was made with",
        path.display()
    )]
    OtherRun {
        /// The image.
        path: PathBuf,
        /// What differs.
        difference: String,
    },
}

/// What [`fill`] tells while it works.
#[derive(Debug)]
pub enum Progress<'a> {
    /// A sampler step of the current batch was taken.
    Step(&'a Step<'a>),
    /// A batch of so many images is on disk.
    Images(usize),
}

/// What a run made.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Images of the folder.
    pub images: usize,
    /// Those that this call made; the others were there.
    pub made: usize,
    /// Mean over the images that this call made of their [channel spread](crate::diffusion::Picture::channel_spread).
    pub mean_channel_spread: f64,
    /// Requests of which the text encoder did not see the end, and the most tokens it did not see.
    pub cut_prompts: (usize, usize),
}

/// The file of image `index`.
fn file_name(index: usize) -> String {
    format!("{index:06}.png")
}

/// Makes every image of `requests` that `folder` does not hold yet, then writes its manifest.
///
/// # Errors
/// [`GenerateError`]; images made before stay, and the next call goes on after them.
pub fn fill(
    folder: &Path,
    synthesizer: &DiffusionSynthesizer,
    vocabulary: &Vocabulary,
    requests: &[SampleRequest],
    mut progress: impl FnMut(Progress<'_>) -> ControlFlow<()>,
) -> Result<Outcome, GenerateError> {
    let origin = |request: &SampleRequest| SampleOrigin {
        request: request.clone(),
        fingerprint: synthesizer.fingerprint(),
        card: synthesizer.card(),
    };
    let mut missing = Vec::new();
    for (index, request) in requests.iter().enumerate() {
        if !holds(&folder.join(file_name(index)), &origin(request))? {
            missing.push(index);
        }
    }
    let there = requests.len() - missing.len();
    let mut outcome = Outcome { images: requests.len(), made: missing.len(), ..Outcome::default() };
    if there > 0 {
        let _ = progress(Progress::Images(there));
    }
    for batch in missing.chunks(synthesizer.batch_size().get()) {
        let asked: Vec<_> = batch.iter().map(|index| requests[*index].clone()).collect();
        let pictures = synthesizer.pictures(&asked, &mut |step| progress(Progress::Step(step)))?;
        for ((index, request), picture) in batch.iter().zip(&asked).zip(pictures) {
            let path = folder.join(file_name(*index));
            let bytes = encode_sample(&picture.image, &origin(request))
                .map_err(|source| GenerateError::Encode { path: path.clone(), source })?;
            write_atomic(&path, |out| out.write_all(&bytes)).map_err(|source| GenerateError::Io {
                action: "write",
                path,
                source,
            })?;
            outcome.mean_channel_spread += f64::from(picture.channel_spread) / missing.len() as f64;
        }
        if progress(Progress::Images(batch.len())).is_break() {
            return Err(DiffusionError::Stopped { step: synthesizer.settings().steps }.into());
        }
    }
    outcome.cut_prompts = cut_prompts(synthesizer, requests)?;
    write_manifest(folder, synthesizer, vocabulary, requests)?;
    Ok(outcome)
}

/// Whether `path` is the sound image of that origin. A damaged file is made again; one of another run is an error.
fn holds(path: &Path, origin: &SampleOrigin) -> Result<bool, GenerateError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(source) => return Err(GenerateError::Io { action: "read", path: path.to_owned(), source }),
    };
    let other = |difference: &str| Err(GenerateError::OtherRun { path: path.to_owned(), difference: difference.to_owned() });
    match decode_sample(&bytes) {
        Ok((_, found)) if found == *origin => Ok(true),
        Ok((_, found)) if found.request != origin.request => other("its prompt, labels or seed differ"),
        Ok((_, found)) if found.card != origin.card => other("its model, sampler, steps or guidance differ"),
        Ok(_) => other("its weights or settings differ"),
        Err(SampleDefect::NoOrigin) => other("it carries no request"),
        Err(_) => Ok(false),
    }
}

/// How many requests were cut, and the most tokens that one lost.
fn cut_prompts(synthesizer: &DiffusionSynthesizer, requests: &[SampleRequest]) -> Result<(usize, usize), DiffusionError> {
    let prompts: Vec<&str> = requests.iter().map(|request| request.prompt.as_str()).collect();
    let dropped = synthesizer.pipeline().dropped_tokens(&prompts)?;
    Ok((dropped.iter().filter(|dropped| **dropped > 0).count(), dropped.into_iter().max().unwrap_or(0)))
}

fn write_manifest(
    folder: &Path,
    synthesizer: &DiffusionSynthesizer,
    vocabulary: &Vocabulary,
    requests: &[SampleRequest],
) -> Result<(), AugmentError> {
    let card = synthesizer.card();
    let record = |(index, request): (usize, &SampleRequest)| CxrRecord {
        id: file_name(index),
        patient_id: request.source.as_ref().map(|source| source.patient_id.clone()),
        labels: request.labels.clone(),
        age: request.age,
        sex: request.sex,
        view: request.view,
        report: None,
        split: None,
        origin: Origin::Synthetic(Box::new(Provenance::new(request.clone(), &card.model))),
        details: Details::default(),
    };
    let records: Vec<_> = requests.iter().enumerate().map(record).collect();
    let rows: Vec<_> = records.iter().map(|record| TableRow { image: &record.id, record, card: Some(&card) }).collect();
    write_table(&folder.join("manifest.csv"), vocabulary, &rows)
}

/// The prompts of a command line: one text or a table.
///
/// # Errors
/// As [`PromptTable::read`].
pub fn prompts(prompt: Option<&str>, table: Option<&Path>) -> Result<PromptTable, AugmentError> {
    match (prompt, table) {
        (_, Some(table)) => PromptTable::read(table),
        (prompt, None) => Ok(PromptTable::single(prompt.unwrap_or_default())),
    }
}
