//! The synthetic images that an arm draws from.

use std::path::Path;
use std::sync::Arc;

use roentgen_augment::phantom::{PhantomPhysics, PhantomSynthesizer};
use roentgen_augment::{
    AugmentError, CacheOptions, CxrRecord, PromptSummary, PromptedRows, RequestPlan, SampleCache, Supply, SupplyMode,
    Synthesizer, SyntheticDataset, TrainSet, Vocabulary, template_prompts,
};

use crate::config::{ArmConfig, ConfigError, GeneratorConfig, GeneratorKind, RunConfig};
use crate::device::DeviceError;
use crate::diffusion::{Checkpoint, DiffusionError, OpenOptions};
use crate::synthesizer::DiffusionSynthesizer;

/// Why there are no synthetic images to draw from.
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
    /// No training row has a prompt.
    #[error("no training row gives a prompt ({0}); loosen [generator.prompts], or take `from = \"report-else-template\"`")]
    NoPrompts(PromptSummary),
    /// The device it generates on.
    #[error(transparent)]
    Device(#[from] DeviceError),
}

/// The generator that a `[generator]` table describes, for images that are `size` pixels a side unless it says otherwise; a
/// checkpoint's are of the size it was trained on.
///
/// # Errors
/// [`PoolError`] for a checkpoint that can't be loaded.
pub fn synthesizer(config: &GeneratorConfig, train: &TrainSet, size: usize) -> Result<Arc<dyn Synthesizer>, PoolError> {
    let physics = match config.kind {
        GeneratorKind::Phantom => PhantomPhysics::reference(),
        GeneratorKind::ShiftedPhantom => PhantomPhysics::shifted(),
        GeneratorKind::Diffusion => return diffusion(config).map(|synthesizer| Arc::new(synthesizer) as _),
    };
    let vocabulary = train.data().vocabulary().as_ref().clone();
    Ok(Arc::new(PhantomSynthesizer::new(vocabulary, physics, config.size.unwrap_or(size))))
}

fn diffusion(config: &GeneratorConfig) -> Result<DiffusionSynthesizer, PoolError> {
    let table = config.diffusion.as_ref().expect("a valid run file has the table with this kind");
    let checkpoint = Checkpoint::read(&table.pipeline)?;
    let mut settings = checkpoint.settings();
    if let Some(kind) = table.sampler()? {
        settings.scheduler = settings.scheduler.with_kind(kind)?;
    }
    (settings.steps, settings.guidance_scale) = (table.steps, table.guidance);
    settings.size = config.size.map_or(settings.size, |side| [side, side]);
    checkpoint.check(&settings)?;
    let (device, _) = table.device()?.open()?;
    let pipeline = checkpoint.load(&OpenOptions::new(&device), |_| ())?;
    Ok(DiffusionSynthesizer::new(pipeline, settings, table.negative_prompt.clone(), table.batch_size))
}

/// How the images of a `[generator]` table reach the trainer; one cache for all arms, in `default_cache` unless the table says
/// where.
///
/// # Errors
/// A cache that can't be opened, or a generator that can't be loaded.
pub fn supply(config: &GeneratorConfig, train: &TrainSet, size: usize, default_cache: &Path) -> Result<Supply, PoolError> {
    let cache = match config.supply {
        SupplyMode::OnDemand => None,
        SupplyMode::Cached | SupplyMode::CacheThenGenerate => {
            let folder = config.cache.as_deref().unwrap_or(default_cache);
            let max_bytes = config.cache_mib.map(|mib| mib << 20);
            Some(Arc::new(SampleCache::open(folder, CacheOptions { max_bytes })?))
        }
    };
    Ok(Supply::new(config.supply, synthesizer(config, train, size)?, cache)?)
}

/// The synthetic images of every arm of a run.
#[derive(Clone, Debug)]
pub struct Pools {
    /// One an arm, in order; `None` for an arm without synthetic images.
    pub arms: Vec<Option<SyntheticDataset>>,
    /// What became of the training rows that prompts were made from; `None` for a generator that reads no prompts.
    pub prompts: Option<PromptSummary>,
}

/// The pools of a run: requests made from the training rows alone.
///
/// Pools are nested: a larger one begins with the requests of a smaller one, so arms share cached samples.
///
/// # Errors
/// A cache that can't be opened, a generator that can't be loaded, or a request that descends from a held-out patient.
pub fn pools(config: &RunConfig, train: &TrainSet, default_cache: &Path) -> Result<Pools, PoolError> {
    let images = train.data().rows().len();
    let (true, Some(generator)) = (config.arms.iter().any(|arm| arm.pool_size(images) > 0), &config.generator) else {
        return Ok(Pools { arms: vec![None; config.arms.len()], prompts: None });
    };
    let records: Vec<Arc<CxrRecord>> = train.data().rows().iter().map(|row| row.record.clone()).collect();
    let vocabulary = train.data().vocabulary();
    let prompted = generator_prompts(generator, &records, vocabulary)?;
    let plan = RequestPlan::new(&prompted.rows, vocabulary)?.with_seed(generator.seed);
    let supply = supply(generator, train, config.preprocess.size, default_cache)?;
    let pool = |arm: &ArmConfig| {
        let requests = match arm.pool_size(images) {
            0 => return Ok(None),
            size if arm.balanced_requests => plan.balanced(size),
            size => plan.of_size(size),
        };
        let held_out = train.held_out_patients();
        Ok(Some(SyntheticDataset::new(requests.into(), supply.clone(), config.preprocess, held_out)?))
    };
    let arms = config.arms.iter().map(pool).collect::<Result<_, PoolError>>()?;
    let prompts = (generator.kind == GeneratorKind::Diffusion).then_some(prompted.summary);
    Ok(Pools { arms, prompts })
}

/// The prompts of the training rows. A generator that reads labels alone gets template text, whatever its length.
fn generator_prompts(
    config: &GeneratorConfig,
    records: &[Arc<CxrRecord>],
    vocabulary: &Vocabulary,
) -> Result<PromptedRows, PoolError> {
    let Some(table) = &config.diffusion else {
        return Ok(PromptedRows { rows: template_prompts(records, vocabulary), summary: PromptSummary::default() });
    };
    let checkpoint = Checkpoint::read(&table.pipeline)?;
    // A text that the tokenizer has no ids for can't be a prompt of any length.
    let count = |text: &str| checkpoint.tokenizer().count(text).unwrap_or(usize::MAX);
    let prompted = config.prompts.apply(records, vocabulary, &count);
    if prompted.rows.is_empty() {
        return Err(PoolError::NoPrompts(prompted.summary));
    }
    Ok(prompted)
}

/// What is to be said of the cache after a run: damaged samples were found and made again.
#[must_use]
pub fn cache_warning(pools: &[Option<SyntheticDataset>]) -> Option<String> {
    let cache = pools.iter().flatten().find_map(|pool| pool.supply()?.cache())?;
    let corrupt = cache.report().corrupt;
    let first = corrupt.first()?;
    Some(format!(
        "{} damaged sample(s) in the cache were made again, the first being {} ({}).",
        corrupt.len(),
        first.path.display(),
        first.defect
    ))
}
