//! The synthetic images that an arm draws from.

use std::path::Path;
use std::sync::Arc;

use roentgen_augment::phantom::{PhantomPhysics, PhantomSynthesizer};
use roentgen_augment::{
    AugmentError, CacheOptions, CxrRecord, Preprocess, RequestPlan, SampleCache, Supply, SupplyMode, Synthesizer,
    SyntheticDataset, TrainSet, template_prompt,
};

use crate::config::{ArmConfig, GeneratorConfig, GeneratorKind};

/// Why an arm has no synthetic images.
pub type PoolError = AugmentError;

/// The generator that a `[generator]` table describes, for images that are `size` pixels a side unless it says otherwise.
#[must_use]
pub fn synthesizer(config: &GeneratorConfig, train: &TrainSet, size: usize) -> Arc<dyn Synthesizer> {
    let physics = match config.kind {
        GeneratorKind::Phantom => PhantomPhysics::reference(),
        GeneratorKind::ShiftedPhantom => PhantomPhysics::shifted(),
    };
    let vocabulary = train.data().vocabulary().as_ref().clone();
    Arc::new(PhantomSynthesizer::new(vocabulary, physics, config.size.unwrap_or(size)))
}

/// The pool of `arm`: requests made from the training rows alone; `None` for an arm without synthetic images.
///
/// Pools of one generator are nested: a larger one begins with the requests of a smaller one, so arms share cached samples.
///
/// # Errors
/// A cache that can't be opened, or a request that descends from a held-out patient.
pub fn synthetic_pool(
    arm: &ArmConfig,
    generator: &GeneratorConfig,
    train: &TrainSet,
    preprocess: Preprocess,
    default_cache: &Path,
) -> Result<Option<SyntheticDataset>, PoolError> {
    let size = arm.pool_size(train.data().rows().len());
    if size == 0 {
        return Ok(None);
    }
    let records: Vec<Arc<CxrRecord>> = train.data().rows().iter().map(|row| row.record.clone()).collect();
    let plan = RequestPlan::new(&records, train.data().vocabulary(), &template_prompt)?.with_seed(generator.seed);
    let requests = if arm.balanced_requests { plan.balanced(size) } else { plan.of_size(size) };
    let cache = match generator.supply {
        SupplyMode::OnDemand => None,
        SupplyMode::Cached | SupplyMode::CacheThenGenerate => {
            let folder = generator.cache.as_deref().unwrap_or(default_cache);
            let max_bytes = generator.cache_mib.map(|mib| mib << 20);
            Some(Arc::new(SampleCache::open(folder, CacheOptions { max_bytes })?))
        }
    };
    let supply = Supply::new(generator.supply, synthesizer(generator, train, preprocess.size), cache)?;
    SyntheticDataset::new(requests.into(), supply, preprocess, train.held_out_patients()).map(Some)
}
