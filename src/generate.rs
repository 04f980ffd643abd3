//! A set of generated radiographs: `000000.png`, `000001.png`, … and `manifest.csv`, in a folder or a bucket.
//!
//! Every image carries its request, the generator's fingerprint and a digest of its pixels. So an interrupted run goes on where it
//! stopped, a folder of another run is never mixed with this one, and machines that share a job need not speak to each other: the
//! manifest is made from the images.

use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use rayon::iter::{IndexedParallelIterator, IntoParallelRefIterator, ParallelIterator};
use roentgen_augment::AugmentError;
use roentgen_augment::formats::{PromptTable, TableRow, table_bytes};
use roentgen_augment::record::{CxrRecord, Details, Origin, Provenance, Vocabulary};
use roentgen_augment::request::SampleRequest;
use roentgen_augment::supply::{CacheKey, SampleDefect, SampleOrigin, Synthesizer, decode_sample, encode_sample};

use crate::diffusion::DiffusionError;
use crate::diffusion::pipeline::Step;
use crate::shard::Shard;
use crate::store::{Store, StoreError};
use crate::synthesizer::DiffusionSynthesizer;

/// Name of the table of the set.
const MANIFEST: &str = "manifest.csv";

/// Why a set was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// The generator failed.
    #[error(transparent)]
    Diffusion(#[from] DiffusionError),
    /// The prompts.
    #[error(transparent)]
    Data(#[from] AugmentError),
    /// The place to write to.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file could not be read or written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// `read`, `write` or `list`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
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
    /// A set is merged before it is whole.
    #[error(
        "{missing} of {total} images are not in {} or are damaged, {first} for one; run the shards that make them again, then merge",
        place.display()
    )]
    Incomplete {
        /// The set.
        place: PathBuf,
        /// Images missing.
        missing: usize,
        /// Images of the whole set.
        total: usize,
        /// The first of them.
        first: String,
    },
}

/// What [`fill`] tells while it works.
#[derive(Debug)]
pub enum Progress<'a> {
    /// A sampler step of the current batch was taken.
    Step(&'a Step<'a>),
    /// A batch of so many images is there.
    Images(usize),
}

/// A set to be made.
#[derive(Clone, Copy, Debug)]
pub struct ImageSet<'a> {
    /// Where it goes.
    pub store: &'a Store,
    /// The columns of its labels.
    pub vocabulary: &'a Vocabulary,
    /// One an image, all of the set.
    pub requests: &'a [SampleRequest],
}

/// What a run made.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Images of the set, or of the shard of it.
    pub images: usize,
    /// Those that this call made; the others were there.
    pub made: usize,
    /// Mean over the images that this call made of their [channel spread](crate::diffusion::pipeline::Picture::channel_spread).
    pub mean_channel_spread: f64,
    /// Requests of which the text encoder did not see the end, and the most tokens it did not see.
    pub cut_prompts: (usize, usize),
}

/// The file of image `index`.
fn file_name(index: usize) -> String {
    format!("{index:06}.png")
}

/// Makes every image of a shard that the set does not hold yet, and of a whole set then the manifest.
///
/// # Errors
/// [`GenerateError`]; images made before stay, and the next call goes on after them.
pub fn fill(
    set: ImageSet<'_>,
    shard: Shard,
    synthesizer: &DiffusionSynthesizer,
    mut progress: impl FnMut(Progress<'_>) -> ControlFlow<()>,
) -> Result<Outcome, GenerateError> {
    let ImageSet { store, requests, .. } = set;
    let (fingerprint, card) = (synthesizer.fingerprint(), synthesizer.card());
    let origin = |request: &SampleRequest| SampleOrigin::new(request.clone(), fingerprint, card.clone());
    let mine: Vec<usize> = (0..requests.len()).filter(|index| shard.has(*index)).collect();
    let mut missing = Vec::new();
    for &index in &mine {
        if found(store, index, &origin(&requests[index]))?.is_none() {
            missing.push(index);
        }
    }
    let mut outcome = Outcome { images: mine.len(), made: missing.len(), ..Outcome::default() };
    if mine.len() > missing.len() {
        let _ = progress(Progress::Images(mine.len() - missing.len()));
    }
    for batch in missing.chunks(synthesizer.batch_size().get()) {
        let asked: Vec<_> = batch.iter().map(|index| requests[*index].clone()).collect();
        let pictures = synthesizer.pictures(&asked, &mut |step| progress(Progress::Step(step)))?;
        for ((index, request), picture) in batch.iter().zip(&asked).zip(pictures) {
            let (name, mut origin) = (file_name(*index), origin(request));
            origin.channel_spread = Some(picture.channel_spread);
            let path = || store.describe(&name);
            let bytes =
                encode_sample(&picture.image, &origin).map_err(|source| GenerateError::Encode { path: path(), source })?;
            store.write(&name, bytes).map_err(|source| GenerateError::Io { action: "write", path: path(), source })?;
            outcome.mean_channel_spread += f64::from(picture.channel_spread) / missing.len() as f64;
        }
        if progress(Progress::Images(batch.len())).is_break() {
            return Err(DiffusionError::Stopped { step: synthesizer.settings().steps }.into());
        }
    }
    outcome.cut_prompts = cut_prompts(synthesizer, shard.of(requests))?;
    if shard.is_whole() {
        let origins: Vec<_> = requests.iter().map(origin).collect();
        write_manifest(set, &origins)?;
    }
    Ok(outcome)
}

/// Writes the manifest of a set whose shards are all there, from its images alone.
///
/// # Errors
/// [`GenerateError::Incomplete`] if images are missing or damaged, [`GenerateError::OtherRun`] if they are of different requests,
/// generators or settings.
pub fn merge(set: ImageSet<'_>) -> Result<usize, GenerateError> {
    let ImageSet { store, requests, .. } = set;
    let read: Vec<_> = requests.par_iter().enumerate().map(|(index, _)| read_origin(store, index)).collect();
    let read = read.into_iter().collect::<Result<Vec<_>, _>>()?;
    let absent: Vec<usize> = (0..read.len()).filter(|&index| read[index].is_none()).collect();
    if let Some(&first) = absent.first() {
        let (missing, total) = (absent.len(), requests.len());
        return Err(GenerateError::Incomplete { place: store.describe(""), missing, total, first: file_name(first) });
    }
    let origins: Vec<SampleOrigin> = read.into_iter().flatten().collect();
    for (index, (origin, request)) in origins.iter().zip(requests).enumerate() {
        let expected = SampleOrigin::new(request.clone(), origins[0].fingerprint, origins[0].card.clone());
        check_same(origin, &expected).map_err(|difference| other_run(store, index, difference))?;
    }
    write_manifest(set, &origins)?;
    Ok(origins.len())
}

/// What image `index` says of itself; `None` if it is not there or damaged.
fn read_origin(store: &Store, index: usize) -> Result<Option<SampleOrigin>, GenerateError> {
    let name = file_name(index);
    let read = store.read(&name);
    let read = read.map_err(|source| GenerateError::Io { action: "read", path: store.describe(&name), source })?;
    match read.as_deref().map(decode_sample) {
        None => Ok(None),
        Some(Ok((_, origin))) => Ok(Some(origin)),
        Some(Err(SampleDefect::NoOrigin)) => Err(other_run(store, index, "it carries no request")),
        Some(Err(_)) => Ok(None),
    }
}

/// What image `index` says of itself if it is there and sound. A damaged file counts as absent; one of another run is an error.
fn found(store: &Store, index: usize, expected: &SampleOrigin) -> Result<Option<SampleOrigin>, GenerateError> {
    let Some(origin) = read_origin(store, index)? else { return Ok(None) };
    check_same(&origin, expected).map_err(|difference| other_run(store, index, difference))?;
    Ok(Some(origin))
}

/// Refuses an image of another request or generator; says what differs.
fn check_same(found: &SampleOrigin, expected: &SampleOrigin) -> Result<(), &'static str> {
    // By the key, which leaves out what changes no pixel.
    let key = |request| CacheKey::new(request, expected.fingerprint);
    match () {
        () if key(&found.request) != key(&expected.request) => Err("its prompt, labels or seed differ"),
        () if found.card != expected.card => Err("its model, sampler, steps or guidance differ"),
        () if found.fingerprint != expected.fingerprint => Err("its weights or settings differ"),
        () => Ok(()),
    }
}

fn other_run(store: &Store, index: usize, difference: &str) -> GenerateError {
    GenerateError::OtherRun { path: store.describe(&file_name(index)), difference: difference.to_owned() }
}

/// How many requests were cut, and the most tokens that one lost.
fn cut_prompts<'a>(
    synthesizer: &DiffusionSynthesizer,
    requests: impl Iterator<Item = &'a SampleRequest>,
) -> Result<(usize, usize), DiffusionError> {
    let prompts: Vec<&str> = requests.map(|request| request.prompt.as_str()).collect();
    let dropped = synthesizer.pipeline().dropped_tokens(&prompts)?;
    Ok((dropped.iter().filter(|dropped| **dropped > 0).count(), dropped.into_iter().max().unwrap_or(0)))
}

fn write_manifest(set: ImageSet<'_>, origins: &[SampleOrigin]) -> Result<(), GenerateError> {
    let record = |(index, origin): (usize, &SampleOrigin)| {
        let request = &origin.request;
        let provenance = Provenance {
            gate: origin.gate,
            nearest_real: origin.nearest_real.clone(),
            ..Provenance::new(request.clone(), &origin.card.model)
        };
        CxrRecord {
            id: file_name(index),
            patient_id: request.source.as_ref().map(|source| source.patient_id.clone()),
            labels: request.labels.clone(),
            age: request.age,
            sex: request.sex,
            view: request.view,
            report: None,
            split: None,
            origin: Origin::Synthetic(Box::new(provenance)),
            details: Details::default(),
        }
    };
    let records: Vec<_> = origins.iter().enumerate().map(record).collect();
    let rows = records.iter().zip(origins);
    let rows: Vec<_> = rows.map(|(record, origin)| TableRow { image: &record.id, record, card: Some(&origin.card) }).collect();
    let written = set.store.write(MANIFEST, table_bytes(set.vocabulary, &rows));
    written.map_err(|source| GenerateError::Io { action: "write", path: set.store.describe(MANIFEST), source })
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
