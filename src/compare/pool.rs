//! The synthetic images that an arm draws from.

use std::collections::HashSet;

use roentgen_augment::AugmentError;
use roentgen_augment::gate::GateReport;
use roentgen_augment::request::{SampleRequest, doubts};
use roentgen_augment::supply::{ImagePool, Supply, SupplyMode, Synthesizer as _, SyntheticDataset};
use roentgen_augment::text::PromptSummary;

use super::gate::ArmGate;
use super::supply::{Asking, PoolError, PoolJob, supply, synthesizer};
use crate::config::{ArmConfig, GeneratorConfig};
use crate::generate::{Shard, colour_note};
use crate::report::{Outlook, Work, format};
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
    /// What is doubtful in how the generator reads them, a sentence each.
    pub notes: Vec<String>,
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

/// The pools of a run: requests made from the training rows, or a table of prompts, or images made elsewhere; and for an arm with a gate
/// those that pass.
///
/// Pools are nested: a larger one begins with the requests, or images, of a smaller one, so arms share samples.
///
/// # Errors
/// A cache that can't be opened or lacks samples that must be in it, a generator that can't be loaded, a request that descends from a
/// held-out patient, images of which there are too few, a gate that nothing passes.
pub fn pools(job: &PoolJob<'_>) -> Result<Pools, PoolError> {
    let Some(source) = Source::of(job, job.config.generator.as_ref().map(|generator| generator.supply))? else {
        let arms = job.config.arms.len();
        return Ok(Pools { arms: vec![None; arms], gates: vec![None; arms], ..Pools::default() });
    };
    let mut pools = Pools { prompts: source.prompts.clone(), notes: source.notes.clone(), ..Pools::default() };
    let mut gate = ArmGate::new(job);
    for arm in 0..job.config.arms.len() {
        let (set, report) = source.pool(job, arm, Shard::WHOLE, &mut gate)?.unzip();
        if let Some(set) = &set {
            set.check_complete()?;
        }
        pools.arms.push(set);
        pools.gates.push(report.flatten());
    }
    Ok(pools)
}

/// What [`fill`] did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filled {
    /// Samples that it made.
    pub made: usize,
    /// What is doubtful about them, a sentence each.
    pub notes: Vec<String>,
}

/// Makes the samples of every arm that the cache does not hold yet, or a shard of them. Of images made elsewhere there is nothing to make.
///
/// # Errors
/// As [`pools`].
pub fn fill(job: &PoolJob<'_>, shard: Shard) -> Result<Filled, PoolError> {
    if job.study.images.is_some() {
        return Ok(Filled::default());
    }
    let Some(source) = Source::of(job, Some(SupplyMode::CacheThenGenerate))? else { return Ok(Filled::default()) };
    let mut gate = ArmGate::new(job);
    let batch = job.config.generator.as_ref().map_or(std::num::NonZeroUsize::MIN, |generator| generator.batch());
    let (mut sets, mut generated) = (Vec::new(), 0);
    let outlook = Outlook::new(source.work(job, shard)?);
    let task = job.progress.begin("", 0, "samples");
    for (index, arm) in job.config.arms.iter().enumerate() {
        // With a gate, verdicts may exist for samples that were judged on demand, or evicted since.
        let Some((set, _)) = source.pool(job, index, shard, &mut gate)? else { continue };
        let filled = set.fill(batch, |state| {
            task.set_total(state.total as u64);
            task.set(state.done as u64);
            task.message(&arm.name);
            // The first batch makes caches and kernels: the pace is that of the others.
            if let Some(note) = (state.generated > 0).then(|| outlook.tell((generated + state.generated) as u64)).flatten() {
                task.note(&note);
            }
        })?;
        generated += filled.generated;
        sets.push(Some(set));
    }
    drop(task);
    let made = sets.iter().flatten().find_map(|set| set.supply()?.cache()).map_or(0, |cache| cache.report().written as usize);
    let notes = source.notes.into_iter().chain(notes_after(&sets)?).collect();
    Ok(Filled { made, notes })
}

/// Where the pools of all arms come from.
struct Source {
    /// What each arm draws from; nothing for an arm without synthetic images.
    draws: Vec<Option<Drawn>>,
    prompts: Option<PromptSummary>,
    notes: Vec<String>,
}

/// What an arm draws from, before any gate.
enum Drawn {
    /// Requests to a generator.
    Requests(Supply, Vec<SampleRequest>),
    /// Images made elsewhere.
    Images(ImagePool),
}

impl Source {
    /// That of a run; `None` if no arm has synthetic images.
    fn of(job: &PoolJob<'_>, mode: Option<SupplyMode>) -> Result<Option<Self>, PoolError> {
        let (config, train) = (job.config, &job.study.train);
        let sizes: Vec<usize> = config.arms.iter().map(|arm| arm.pool_size(train.data().rows().len())).collect();
        let (true, Some(generator)) = (sizes.iter().any(|size| *size > 0), &config.generator) else { return Ok(None) };
        if job.study.images.is_some() {
            let drawn = |arm| Ok(job.study.pool(config, arm)?.map(Drawn::Images));
            let draws = config.arms.iter().map(drawn).collect::<Result<_, PoolError>>()?;
            return Ok(Some(Self { draws, prompts: None, notes: Vec::new() }));
        }
        let arms = config.arms.iter().zip(sizes);
        let asking = Asking::new(config, generator, train)?;
        let requests = arms.map(|(arm, size)| asking.requests(arm, size)).collect::<Result<Vec<_>, _>>()?;
        for (arm, requests) in config.arms.iter().zip(&requests) {
            if !requests.is_empty() && requests.iter().all(SampleRequest::is_unlabelled) {
                return Err(PoolError::Unlabelled { arm: arm.name.clone(), images: requests.len() });
            }
        }
        let synthesizer = synthesizer(generator, train, config.preprocess.size)?;
        // Arms share requests, and each counts once.
        let mut seen = HashSet::new();
        let distinct = requests.iter().flatten().filter(|request| seen.insert((request.seed, &request.prompt)));
        let read = synthesizer.notes(&distinct.collect::<Vec<_>>())?;
        // Arms may ask for other prompts with the same seeds: their images are never in one set.
        let mut notes = [asking.notes(), &read].concat();
        for doubt in requests.iter().flat_map(|requests| doubts(requests)) {
            if !notes.contains(&doubt) {
                notes.push(doubt);
            }
        }
        let mode = GeneratorConfig { supply: mode.unwrap_or_default(), ..generator.clone() };
        let supply = supply(&mode, synthesizer, &job.folder.join("cache"))?;
        let drawn = |requests: Vec<SampleRequest>| (!requests.is_empty()).then(|| Drawn::Requests(supply.clone(), requests));
        Ok(Some(Self { draws: requests.into_iter().map(drawn).collect(), prompts: asking.summary(), notes }))
    }

    /// The samples of all arms, or of a shard of them, that the cache lacks. What a gate rejects is made again, and not counted.
    fn work(&self, job: &PoolJob<'_>, shard: Shard) -> Result<Work, PoolError> {
        let mut missing = HashSet::new();
        for drawn in self.draws.iter().flatten() {
            let Drawn::Requests(supply, requests) = drawn else { continue };
            let mine: Vec<SampleRequest> = shard.of(requests).cloned().collect();
            let set = ungated(job, mine, supply)?;
            missing.extend(set.missing().into_iter().map(|index| set.records()[index].id.clone()));
        }
        let cheaper = vec!["fewer `generator.diffusion.steps`", "a smaller `generator.size`", "a smaller `pool` of an arm"];
        let what = format::counted(missing.len(), "sample");
        Ok(Work { what, unit: "sample", total: missing.len() as f64, cheaper })
    }

    /// The pool of an arm, or a shard of it, and what its gate did.
    fn pool(
        &self,
        job: &PoolJob<'_>,
        index: usize,
        shard: Shard,
        gate: &mut ArmGate<'_>,
    ) -> Result<Option<(SyntheticDataset, Option<GateReport>)>, PoolError> {
        let (arm, held_out) = (&job.config.arms[index], job.study.train.held_out_patients());
        Ok(match &self.draws[index] {
            None => None,
            Some(Drawn::Images(images)) if arm.gate => {
                let sifted = gate.sift(arm, images)?;
                Some((SyntheticDataset::from_pool(&images.passed(&sifted.attempts)), Some(sifted.report)))
            }
            Some(Drawn::Images(images)) => Some((SyntheticDataset::from_pool(images), None)),
            Some(Drawn::Requests(supply, requests)) => {
                let mine: Vec<SampleRequest> = shard.of(requests).cloned().collect();
                if mine.is_empty() {
                    None
                } else if arm.gate {
                    let settled = gate.settle(arm, &mine, supply)?;
                    let preprocess = job.config.preprocess;
                    let set = SyntheticDataset::gated(&settled.accepted, supply.clone(), preprocess, held_out)?;
                    Some((set, Some(settled.report)))
                } else {
                    Some((ungated(job, mine, supply)?, None))
                }
            }
        })
    }
}

/// The samples of these requests.
fn ungated(job: &PoolJob<'_>, requests: Vec<SampleRequest>, supply: &Supply) -> Result<SyntheticDataset, AugmentError> {
    let held_out = job.study.train.held_out_patients();
    SyntheticDataset::new(requests.into(), supply.clone(), job.config.preprocess, held_out)
}

/// Most samples that are looked at for colour.
const LOOKED_AT: usize = 8;

/// What is to be said once the images were made: samples of the cache that were damaged and made again, and colours that gray hides.
///
/// # Errors
/// Those of the generator and the cache.
pub fn notes_after(pools: &[Option<SyntheticDataset>]) -> Result<Vec<String>, AugmentError> {
    let largest = pools.iter().flatten().max_by_key(|pool| pool.records().len());
    let spread = largest.map(|pool| pool.channel_spread(LOOKED_AT)).transpose()?.flatten();
    Ok(spread.and_then(|spread| colour_note(f64::from(spread))).into_iter().chain(damaged(pools)).collect())
}

/// The note that damaged samples were found and made again.
fn damaged(pools: &[Option<SyntheticDataset>]) -> Option<String> {
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
