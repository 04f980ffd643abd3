//! A set of generated images: `000000.png`, `000001.png`, … and `manifest.csv`, in a folder or a bucket.
//!
//! Every image holds its request, the generator's fingerprint and a digest of its pixels. So an interrupted run continues where
//! it stopped, a folder of another run is never mixed with this one, and machines that share a job need no communication: the
//! manifest is made from the images.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use rayon::iter::{IndexedParallelIterator, IntoParallelRefIterator, ParallelIterator};
use roentgen_augment::AugmentError;
use roentgen_augment::digest::Fingerprint;
use roentgen_augment::formats::{OwnColumns, PromptTable, TableRow, table_bytes};
use roentgen_augment::image::GrayImage;
use roentgen_augment::record::{CxrRecord, Provenance, Vocabulary};
use roentgen_augment::request::SampleRequest;
use roentgen_augment::supply::{
    CacheKey, SampleDefect, SampleOrigin, Synthesizer, SynthesizerCard, decode_sample, encode_sample,
};
use toml::Value;

use super::notes::{CutPrompts, cut_tokens_note};
use super::sameness::Sameness;
use super::shard::Shard;
use super::store::{Store, StoreError};
use super::synthesizer::DiffusionSynthesizer;
use crate::diffusion::DiffusionError;
use crate::diffusion::pipeline::{Depth, Step};
use crate::run_folder::{Difference, FolderLock, Record, RunFolderError, differences};

/// Name of the table of the set.
const MANIFEST: &str = "manifest.csv";
/// Name of the record of the settings that all images of the set share.
const RECORD: &str = "run.json";

/// Why a set was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageSetError {
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
    /// The folder is in use, or holds another run or images of one.
    #[error(transparent)]
    Folder(#[from] RunFolderError),
    /// A set is merged before it is complete.
    #[error(
        "{missing} of {total} images are not in {} or are damaged, such as {first}; run the shards that make them again, then merge",
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

/// Progress of [`make`].
#[derive(Debug)]
pub enum Progress<'a> {
    /// A sampler step of the current batch was taken.
    Step(&'a Step<'a>),
    /// A batch of this many images is done.
    Images(usize),
}

/// A set to be made.
#[derive(Clone, Copy, Debug)]
pub struct ImageSet<'a> {
    /// Where it goes.
    pub store: &'a Store,
    /// The columns of its labels.
    pub vocabulary: &'a Vocabulary,
    /// One per image, for the whole set.
    pub requests: &'a [SampleRequest],
}

/// What a run made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Images of the set, or of the shard of it.
    pub images: usize,
    /// Those that this call made; the others were there.
    pub made: usize,
    /// Mean over the images that this call made of their [channel spread](crate::diffusion::pipeline::Picture::channel_spread).
    pub mean_channel_spread: f64,
    /// Prompts whose end the text encoder did not see.
    pub cut_prompts: CutPrompts,
    /// What is to be said of tokens of which prompts use one vector of several.
    pub cut_tokens: Option<String>,
}

/// The file of image `index`.
fn file_name(index: usize) -> String {
    format!("{index:06}.png")
}

/// Makes every image of a shard that the set lacks, and for a whole set also the manifest.
///
/// # Errors
/// [`ImageSetError`]; images made before stay, and the next call continues after them.
pub fn make(
    set: ImageSet<'_>,
    shard: Shard,
    synthesizer: &DiffusionSynthesizer,
    mut progress: impl FnMut(Progress<'_>) -> ControlFlow<()>,
) -> Result<Outcome, ImageSetError> {
    let ImageSet { store, requests, .. } = set;
    let _shared = lock(store)?;
    let record = record(synthesizer);
    check_record(store, &record)?;
    let (fingerprint, card) = (synthesizer.fingerprint(), synthesizer.card());
    let origin = |request: &SampleRequest| SampleOrigin::new(request.clone(), fingerprint, card.clone());
    let mine: Vec<usize> = (0..requests.len()).filter(|index| shard.has(*index)).collect();
    let (mut missing, mut sameness) = (Vec::new(), Sameness::default());
    for &index in &mine {
        match found(store, index, &origin(&requests[index]))? {
            Some(image) => sameness.add(requests[index].seed, &image),
            None => missing.push(index),
        }
    }
    // Existing images are of this run: only now it is recorded.
    store.write(RECORD, record.to_json()).map_err(io_error(store, "write", RECORD))?;
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
                encode_sample(&picture.image, &origin).map_err(|source| ImageSetError::Encode { path: path(), source })?;
            store.write(&name, bytes).map_err(io_error(store, "write", &name))?;
            sameness.add(request.seed, &picture.image);
            outcome.mean_channel_spread += f64::from(picture.channel_spread) / missing.len() as f64;
        }
        synthesizer.refuse(sameness.fault())?;
        if progress(Progress::Images(batch.len())).is_break() {
            return Err(DiffusionError::Stopped { step: synthesizer.settings().steps }.into());
        }
    }
    synthesizer.refuse(sameness.fault_of_all())?;
    outcome.cut_prompts = CutPrompts::of(synthesizer, shard.of(requests))?;
    outcome.cut_tokens = cut_tokens_note(synthesizer, shard.of(requests))?;
    if shard.is_whole() {
        let origins: Vec<_> = requests.iter().map(origin).collect();
        write_manifest(set, &origins)?;
    }
    Ok(outcome)
}

/// Writes the manifest of a complete set, from its images alone.
///
/// # Errors
/// [`ImageSetError::Incomplete`] if images are missing or damaged, [`ImageSetError::Folder`] if they are of different requests,
/// generators or settings.
pub fn merge(set: ImageSet<'_>) -> Result<usize, ImageSetError> {
    let ImageSet { store, requests, .. } = set;
    let _shared = lock(store)?;
    let read: Vec<_> =
        requests.par_iter().enumerate().map(|(index, _)| Ok(read_sample(store, index)?.map(|(_, origin)| origin))).collect();
    let read = read.into_iter().collect::<Result<Vec<_>, ImageSetError>>()?;
    let absent: Vec<usize> = (0..read.len()).filter(|&index| read[index].is_none()).collect();
    if let Some(&first) = absent.first() {
        let (missing, total) = (absent.len(), requests.len());
        return Err(ImageSetError::Incomplete { place: store.describe(""), missing, total, first: file_name(first) });
    }
    let origins: Vec<SampleOrigin> = read.into_iter().flatten().collect();
    for (index, (origin, request)) in origins.iter().zip(requests).enumerate() {
        let expected = SampleOrigin::new(request.clone(), origins[0].fingerprint, origins[0].card.clone());
        check_same(store, index, origin, &expected)?;
    }
    write_manifest(set, &origins)?;
    Ok(origins.len())
}

/// Image `index` with the description inside; `None` if it is missing or damaged.
fn read_sample(store: &Store, index: usize) -> Result<Option<(GrayImage, SampleOrigin)>, ImageSetError> {
    let name = file_name(index);
    let read = store.read(&name);
    let read = read.map_err(io_error(store, "read", &name))?;
    match read.as_deref().map(decode_sample) {
        None => Ok(None),
        Some(Ok(sample)) => Ok(Some(sample)),
        Some(Err(SampleDefect::NoOrigin)) => {
            let differences = vec![Difference::value("request in the image", None, Some(&"expected".to_owned()))];
            Err(RunFolderError::OtherRun { path: store.describe(&name), differences }.into())
        }
        Some(Err(_)) => Ok(None),
    }
}

/// Image `index` if it is intact. A damaged file counts as absent; one of another run is an error.
fn found(store: &Store, index: usize, expected: &SampleOrigin) -> Result<Option<GrayImage>, ImageSetError> {
    let Some((image, origin)) = read_sample(store, index)? else { return Ok(None) };
    check_same(store, index, &origin, expected)?;
    Ok(Some(image))
}

/// Refuses an image of another request or generator, with everything that differs.
fn check_same(store: &Store, index: usize, found: &SampleOrigin, expected: &SampleOrigin) -> Result<(), ImageSetError> {
    // By the key, which omits what does not change the pixels.
    let key = |origin: &SampleOrigin| CacheKey::new(&origin.request, origin.fingerprint);
    if key(found) == key(expected) && is_same_card(&found.card, &expected.card) {
        return Ok(());
    }
    let (found, expected) = (facts(found), facts(expected));
    let differences = differences(&found, &expected);
    Err(RunFolderError::OtherRun { path: store.describe(&file_name(index)), differences }.into())
}

/// Whether two descriptions are of one generator. Version 0.1.0 wrote neither negative prompts nor adapters nor the
/// digest of the weights, which the fingerprint covers.
fn is_same_card(found: &SynthesizerCard, expected: &SynthesizerCard) -> bool {
    let known =
        |card: &SynthesizerCard| SynthesizerCard { negative_prompt: None, adapters: Vec::new(), weights: None, ..card.clone() };
    known(found) == known(expected)
}

/// The settings that decide an image, by name.
fn facts(origin: &SampleOrigin) -> BTreeMap<String, String> {
    let SampleOrigin { request, fingerprint, card, .. } = origin;
    let labels: Vec<_> = request.labels.iter().map(|label| label.cell()).collect();
    let known = [
        ("prompt", Some(format!("{:?}", request.prompt))),
        ("seed", Some(request.seed.to_string())),
        ("labels", (!labels.is_empty()).then(|| labels.join(","))),
        ("replica", Some(request.replica.to_string())),
        ("source row", request.source.as_ref().map(|source| format!("{} of patient {}", source.id, source.patient_id))),
        ("age", request.age.map(|age| age.to_string())),
        ("sex", request.sex.map(|sex| format!("{sex:?}"))),
        ("view", request.view.map(|view| format!("{view:?}"))),
        ("model", Some(card.model.clone())),
        ("sampler", card.sampler.clone()),
        ("steps", card.steps.map(|steps| steps.to_string())),
        ("guidance", card.guidance_scale.map(|scale| scale.to_string())),
        ("negative prompt", card.negative_prompt.clone()),
        ("adapters", (!card.adapters.is_empty()).then(|| card.adapters_line())),
        // Builds before canonical settings took their debug text, so that their digests can't be compared.
        ("digest of weights and all settings (earlier versions computed it differently)", Some(fingerprint.to_string())),
    ];
    known.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// The settings of all images of a set. Prompts and seeds are in the images: a set may grow.
fn record(synthesizer: &DiffusionSynthesizer) -> Record {
    let settings = synthesizer.settings();
    let [height, width] = settings.size;
    let values: [(&str, Value); 8] = [
        ("sampler", settings.scheduler.kind().to_string().into()),
        ("steps", Value::Integer(i64::try_from(settings.steps).unwrap_or(i64::MAX))),
        ("guidance", settings.guidance_scale.into()),
        ("guidance_rescale", settings.guidance_rescale.into()),
        ("size", format!("{width}x{height}").into()),
        ("bits", Value::Integer(if settings.depth == Depth::Sixteen { 16 } else { 8 })),
        ("tiled", settings.tiled.into()),
        ("negative_prompt", synthesizer.negative_prompt().into()),
    ];
    let mut table: toml::Table = values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    // Records of versions that knew none have no such line.
    if !synthesizer.pipeline().adapters().is_empty() {
        table.insert("adapters".to_owned(), synthesizer.card().adapters_line().into());
    }
    let mut record = Record::new("generate", &table, &[]);
    let mut digest = |name: &str, digest: Fingerprint| drop(record.digests.insert(name.to_owned(), digest.to_string()));
    digest("weights, configurations, adapters and type of the pipeline", synthesizer.pipeline().fingerprint());
    digest("settings, with the configuration of the sampler", Fingerprint::of(&[settings.canonical().as_bytes()]));
    if let Some(start) = synthesizer.start_digest() {
        digest("start image and strength", start);
    }
    record.facts.insert("pipeline".to_owned(), synthesizer.card().model.into());
    record
}

/// Compares a set's record with the existing images. Version 0.1.0 wrote no record: its images describe themselves.
fn check_record(store: &Store, now: &Record) -> Result<(), ImageSetError> {
    let Some(bytes) = store.read(RECORD).map_err(io_error(store, "read", RECORD))? else { return Ok(()) };
    let earlier = Record::parse(&bytes, &store.describe(RECORD))?;
    let differences = earlier.settings_differences(now).into_iter().chain(earlier.digest_differences(now)).collect::<Vec<_>>();
    if differences.is_empty() {
        return Ok(());
    }
    let path = store.local_folder().map_or_else(|| store.describe(""), Path::to_owned);
    Err(RunFolderError::OtherRun { path, differences }.into())
}

/// Locks a local folder against other commands. Processes that make one set share it: each image is a function of its request.
fn lock(store: &Store) -> Result<Option<FolderLock>, RunFolderError> {
    store.local_folder().map(FolderLock::shared).transpose()
}

fn io_error(store: &Store, action: &'static str, name: &str) -> impl FnOnce(io::Error) -> ImageSetError {
    let path = store.describe(name);
    move |source| ImageSetError::Io { action, path, source }
}

fn write_manifest(set: ImageSet<'_>, origins: &[SampleOrigin]) -> Result<(), ImageSetError> {
    let record = |(index, origin): (usize, &SampleOrigin)| {
        let request = &origin.request;
        let provenance = Provenance {
            gate: origin.gate,
            nearest_real: origin.nearest_real.clone(),
            ..Provenance::new(request.clone(), &origin.card.model)
        };
        CxrRecord::of_sample(file_name(index), provenance)
    };
    let records: Vec<_> = origins.iter().enumerate().map(record).collect();
    let rows = records.iter().zip(origins);
    let rows: Vec<_> = rows.map(|(record, origin)| TableRow { image: &record.id, record, card: Some(&origin.card) }).collect();
    let written = set.store.write(MANIFEST, table_bytes(set.vocabulary, &rows));
    written.map_err(io_error(set.store, "write", MANIFEST))
}

/// The prompts of a command line: one text or a table with columns of its own.
///
/// # Errors
/// As [`PromptTable::read`].
pub fn prompts(prompt: Option<&str>, table: Option<&Path>, own: &OwnColumns) -> Result<PromptTable, AugmentError> {
    match (prompt, table) {
        (_, Some(table)) => PromptTable::read(table, own),
        (prompt, None) => Ok(PromptTable::single(prompt.unwrap_or_default())),
    }
}
