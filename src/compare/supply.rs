//! The generator of a study, and the requests to it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::Device;
use roentgen_augment::AugmentError;
use roentgen_augment::dataset::TrainSet;
use roentgen_augment::formats::PromptTable;
use roentgen_augment::gate::{GateReport, JudgeError};
use roentgen_augment::phantom::{PhantomPhysics, PhantomSynthesizer};
use roentgen_augment::progress::Progress;
use roentgen_augment::record::{CxrRecord, Vocabulary};
use roentgen_augment::request::{RequestPlan, SampleRequest};
use roentgen_augment::supply::{CacheOptions, SampleCache, Supply, SupplyMode, SynthesisError, Synthesizer};
use roentgen_augment::text::{PromptSummary, PromptedRows, template_prompts};
use roentgen_classifier::ClassifierError;

use crate::config::{ArmConfig, ConfigError, GeneratorConfig, GeneratorKind, RunConfig};
use crate::data::{DataError, prompt_table};
use crate::device::DeviceError;
use crate::diffusion::DiffusionError;
use crate::diffusion::pipeline::Checkpoint;
use crate::generate::{DiffusionSynthesizer, Opening, OpeningError};
use crate::memory::{MemoryError, machine_bytes};
use crate::run_folder::RunFolderError;
use crate::study::StudyData;

/// Why there is no pool of synthetic images.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// The cache, or a request that descends from a held-out patient.
    #[error(transparent)]
    Data(#[from] AugmentError),
    /// A setting of the generator.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The checkpoint.
    #[error(transparent)]
    Diffusion(#[from] DiffusionError),
    /// The generator.
    #[error(transparent)]
    Opening(#[from] OpeningError),
    /// No training row has a prompt.
    #[error("no training row gives a prompt ({0}); loosen [generator.prompts], or use `from = \"report-else-template\"`")]
    NoPrompts(PromptSummary),
    /// Images that no classifier could learn from.
    #[error(
        "arm `{arm}`: none of its {images} prompts has a label of the study's findings, so that a classifier learns nothing from the images; \
         add columns of findings to the table of prompts"
    )]
    Unlabelled {
        /// The arm.
        arm: String,
        /// Images asked for.
        images: usize,
    },
    /// Images that the machine can't hold.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The device it generates on.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The classifier that judges at the gate.
    #[error("the classifier of the gate")]
    Judge(#[source] Box<ClassifierError>),
    /// The weights named for that classifier.
    #[error(transparent)]
    JudgeWeights(#[from] JudgeError),
    /// Nothing passed the gate.
    #[error("arm `{arm}`: no sample passed the gate ({report}); loosen [gate], or see {}", table.display())]
    NothingPassed {
        /// The arm.
        arm: String,
        /// What happened.
        report: Box<GateReport>,
        /// Every verdict.
        table: PathBuf,
    },
    /// The images made elsewhere.
    #[error(transparent)]
    Images(#[from] DataError),
    /// The generator can't read the requests.
    #[error(transparent)]
    Generator(#[from] SynthesisError),
    /// A file of the run folder.
    #[error(transparent)]
    Folder(#[from] RunFolderError),
}

/// What pools are made from.
#[derive(Clone, Copy)]
pub struct PoolJob<'a> {
    /// Settings.
    pub config: &'a RunConfig,
    /// Its images: requests are made from training rows, limits of the gate are learnt from held-out ones.
    pub study: &'a StudyData,
    /// Where the gate's classifier computes.
    pub device: &'a Device,
    /// The run folder: cache, verdicts and the gate's classifier are in it.
    pub folder: &'a Path,
    /// Shows the progress of the gate, and of what is made.
    pub progress: &'a dyn Progress,
}

/// The generator that a `[generator]` table describes, for images of `size` pixels per side unless the table has a size; a
/// checkpoint's images have the size it was trained on.
///
/// # Errors
/// [`PoolError`] for a checkpoint that can't be loaded, and for `kind = "images"`, which makes nothing.
pub fn synthesizer(config: &GeneratorConfig, train: &TrainSet, size: usize) -> Result<Arc<dyn Synthesizer>, PoolError> {
    let physics = match config.kind {
        GeneratorKind::Phantom => PhantomPhysics::reference(),
        GeneratorKind::ShiftedPhantom => PhantomPhysics::shifted(),
        GeneratorKind::Diffusion => return diffusion(config).map(|synthesizer| Arc::new(synthesizer) as _),
        GeneratorKind::Images => {
            return Err(ConfigError::value("generator.kind", "images", "a kind of generator that makes images").into());
        }
    };
    let vocabulary = train.data().vocabulary().as_ref().clone();
    Ok(Arc::new(PhantomSynthesizer::new(vocabulary, physics, config.size.unwrap_or(size))?))
}

fn diffusion(config: &GeneratorConfig) -> Result<DiffusionSynthesizer, PoolError> {
    let table = config.diffusion.as_ref().expect("a valid run file has the table with this kind");
    let opening = Opening::new(table, config.size.map(|side| [side, side]))?;
    let (device, name) = table.device()?.open()?;
    opening.check_memory(name.is_host(), machine_bytes(), "generator.size or generator.diffusion.batch_size")?;
    Ok(opening.open(&device, |_| ())?)
}

/// The folder of the cache of a `[generator]` table.
pub(super) fn cache_folder<'a>(config: &'a GeneratorConfig, default_cache: &'a Path) -> &'a Path {
    config.cache.as_deref().unwrap_or(default_cache)
}

/// How the images of `synthesizer`, that of a `[generator]` table, reach the trainer; one cache for all arms, in `default_cache` unless
/// the table says where.
///
/// # Errors
/// A cache that can't be opened.
pub fn supply(config: &GeneratorConfig, synthesizer: Arc<dyn Synthesizer>, default_cache: &Path) -> Result<Supply, PoolError> {
    let cache = match config.supply {
        SupplyMode::OnDemand => None,
        SupplyMode::Cached | SupplyMode::CacheThenGenerate => {
            let max_bytes = config.cache_mib.map(|mib| mib << 20);
            let folder = cache_folder(config, default_cache);
            Some(Arc::new(SampleCache::open(folder, CacheOptions { max_bytes })?))
        }
    };
    Ok(Supply::new(config.supply, synthesizer, cache)?)
}

/// What every arm can request: the prompts of the training rows, or a table of prompts.
pub(super) struct Asking<'a> {
    config: &'a GeneratorConfig,
    vocabulary: &'a Vocabulary,
    prompted: PromptedRows,
    table: Option<PromptTable>,
}

impl<'a> Asking<'a> {
    /// Reads the prompts.
    pub fn new(study: &RunConfig, config: &'a GeneratorConfig, train: &'a TrainSet) -> Result<Self, PoolError> {
        let vocabulary = train.data().vocabulary().as_ref();
        let table = prompt_table(study)?.map(|table| table.with_vocabulary(vocabulary));
        let records: Vec<Arc<CxrRecord>> = train.data().rows().iter().map(|row| row.record.clone()).collect();
        Ok(Self { config, vocabulary, prompted: prompts(config, &records, vocabulary)?, table })
    }

    /// What is doubtful in how the table of prompts was read.
    pub fn notes(&self) -> &[String] {
        self.table.as_ref().map_or(&[], PromptTable::notes)
    }

    /// What became of the training rows that prompts were made from; `None` for a generator that reads no prompts, and for a table.
    pub fn summary(&self) -> Option<PromptSummary> {
        let read = self.config.kind == GeneratorKind::Diffusion && self.table.is_none();
        read.then(|| self.prompted.summary.clone())
    }

    /// The requests of an arm whose pool has `size` images; none for an arm without a pool.
    pub fn requests(&self, arm: &ArmConfig, size: usize) -> Result<Vec<SampleRequest>, PoolError> {
        if size == 0 {
            return Ok(Vec::new());
        }
        if let Some(table) = &self.table {
            return Ok(table.of_size(size, self.config.seed)?);
        }
        let plan = RequestPlan::new(&self.prompted.rows, self.vocabulary)?.with_seed(self.config.seed);
        Ok(plan.of_labels(&self.config.labels(arm), size)?)
    }
}

/// The prompts of the training rows. A generator that reads labels alone gets template text, whatever its length.
fn prompts(config: &GeneratorConfig, records: &[Arc<CxrRecord>], vocabulary: &Vocabulary) -> Result<PromptedRows, PoolError> {
    let Some(table) = &config.diffusion else {
        return Ok(PromptedRows { rows: template_prompts(records, vocabulary), summary: PromptSummary::default() });
    };
    let checkpoint = Checkpoint::read(table.source())?;
    // A text that the tokenizer has no ids for can't be a prompt of any length.
    let count = |text: &str| checkpoint.tokenizer().count(text).unwrap_or(usize::MAX);
    let prompted = config.prompts.apply(records, vocabulary, &count);
    if prompted.rows.is_empty() {
        return Err(PoolError::NoPrompts(prompted.summary));
    }
    Ok(prompted)
}
