//! The synthetic images that an arm draws from.

use roentgen_augment::gate::GateReport;
use roentgen_augment::request::SampleRequest;
use roentgen_augment::supply::{Supply, SupplyMode, SyntheticDataset};
use roentgen_augment::text::PromptSummary;

use super::gate::ArmGate;
use super::supply::{Asking, PoolError, PoolJob, supply};
use crate::config::{ArmConfig, GeneratorConfig};
use crate::generate::Shard;
use crate::run_folder::{RunFolder, RunFolderError};

/// The synthetic images of every arm of a run.
#[derive(Clone, Debug, Default)]
pub struct Pools {
    /// One per arm, in order; `None` for an arm without synthetic images.
    pub arms: Vec<Option<SyntheticDataset>>,
    /// What the gate did, one per arm; `None` for an arm without a gate.
    pub gates: Vec<Option<GateReport>>,
    /// What became of the training rows that prompts were made from; `None` for a generator that reads no prompts.
    pub prompts: Option<PromptSummary>,
}

impl Pools {
    /// Claims the folder for runs of these arms with these images.
    ///
    /// # Errors
    /// [`RunFolderError::OtherRun`] if the folder was claimed for others.
    pub fn claim(&self, arms: &[ArmConfig], folder: &RunFolder) -> Result<(), RunFolderError> {
        let pools = arms.iter().zip(&self.arms).filter_map(|(arm, pool)| Some((arm, pool.as_ref()?)));
        pools.into_iter().try_for_each(|(arm, pool)| folder.claim_synthetic(&arm.name, pool.digest()))
    }
}

/// The pools of a run: requests made from the training rows, or a table of prompts, and for an arm with a gate those that pass.
///
/// Pools are nested: a larger one begins with the requests of a smaller one, so arms share cached samples.
///
/// # Errors
/// A cache that can't be opened or lacks samples that must be in it, a generator that can't be loaded, a request that descends from a
/// held-out patient, a gate that nothing passes.
pub fn pools(job: &PoolJob<'_>) -> Result<Pools, PoolError> {
    let Some((supply, requests, prompts)) = asked(job, job.config.generator.as_ref().map(|generator| generator.supply))? else {
        let arms = job.config.arms.len();
        return Ok(Pools { arms: vec![None; arms], gates: vec![None; arms], prompts: None });
    };
    let mut pools = Pools { prompts, ..Pools::default() };
    let mut gate = ArmGate::new(job);
    let held_out = job.train.held_out_patients();
    for (arm, requests) in job.config.arms.iter().zip(requests) {
        if requests.is_empty() {
            pools.arms.push(None);
            pools.gates.push(None);
            continue;
        }
        let set = if arm.gate {
            let settled = gate.settle(arm, &requests, &supply)?;
            pools.gates.push(Some(settled.report));
            SyntheticDataset::gated(&settled.accepted, supply.clone(), job.config.preprocess, held_out)?
        } else {
            pools.gates.push(None);
            SyntheticDataset::new(requests.into(), supply.clone(), job.config.preprocess, held_out)?
        };
        set.check_complete()?;
        pools.arms.push(Some(set));
    }
    Ok(pools)
}

/// Makes the samples of every arm that the cache does not hold yet, or a shard of them, and gives their number; `progress` counts the
/// samples of an arm that are there.
///
/// # Errors
/// As [`pools`].
pub fn fill(job: &PoolJob<'_>, shard: Shard, mut progress: impl FnMut(&str, usize, usize)) -> Result<usize, PoolError> {
    let Some((supply, requests, _)) = asked(job, Some(SupplyMode::CacheThenGenerate))? else { return Ok(0) };
    let mut gate = ArmGate::new(job);
    for (arm, requests) in job.config.arms.iter().zip(requests) {
        let mine: Vec<SampleRequest> = shard.of(&requests).cloned().collect();
        if mine.is_empty() {
            continue;
        }
        let held_out = job.train.held_out_patients();
        let set = if arm.gate {
            // Verdicts may exist for samples that were judged on demand, or evicted since.
            let settled = gate.settle(arm, &mine, &supply)?;
            SyntheticDataset::gated(&settled.accepted, supply.clone(), job.config.preprocess, held_out)?
        } else {
            SyntheticDataset::new(mine.into(), supply.clone(), job.config.preprocess, held_out)?
        };
        let batch = job.config.generator.as_ref().map_or(std::num::NonZeroUsize::MIN, |generator| generator.batch());
        set.fill(batch, |state| progress(&arm.name, state.done, state.total))?;
    }
    Ok(supply.cache().map_or(0, |cache| cache.report().written as usize))
}

/// A supply and the requests of each arm; `None` if no arm has synthetic images.
type Asked = (Supply, Vec<Vec<SampleRequest>>, Option<PromptSummary>);

fn asked(job: &PoolJob<'_>, mode: Option<SupplyMode>) -> Result<Option<Asked>, PoolError> {
    let images = job.train.data().rows().len();
    let config = job.config;
    let (true, Some(generator)) = (config.arms.iter().any(|arm| arm.pool_size(images) > 0), &config.generator) else {
        return Ok(None);
    };
    let asking = Asking::new(config, generator, job.train)?;
    let requests = config.arms.iter().map(|arm| asking.requests(arm, arm.pool_size(images)));
    let requests = requests.collect::<Result<Vec<_>, _>>()?;
    let generator = GeneratorConfig { supply: mode.unwrap_or_default(), ..generator.clone() };
    let supply = supply(&generator, job.train, config.preprocess.size, &job.folder.join("cache"))?;
    Ok(Some((supply, requests, asking.summary())))
}

/// A note on the cache after a run: damaged samples were found and made again.
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
