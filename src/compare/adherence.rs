//! Whether synthetic images show what was requested, by classifiers that were trained on real images alone.

use std::path::{Path, PathBuf};

use burn::data::dataset::transform::PartialDataset;
use burn::tensor::Device;
use roentgen_augment::batch::CxrBatcher;
use roentgen_augment::supply::{SupplyMode, SyntheticDataset};
use roentgen_classifier::ClassifierError;
use roentgen_classifier::batch::Batches;
use roentgen_classifier::metrics::Bootstrap;
use roentgen_classifier::networks::Network;
use roentgen_classifier::predict::{Predictions, read_predictions, write_predictions};

use super::assess;
use super::seed::seed_folder;
use crate::config::RunConfig;
use crate::evaluation::correctness::{FEWEST, blank_rare};
use crate::report::{AdherenceFinding, AdherenceReport};
use crate::run_folder::RunFolder;

/// Most images that are judged: more would narrow intervals that are narrow already.
const MOST: usize = 2_000;

/// Name of the predictions in the run folder.
const FILE: &str = "adherence.csv";

/// What is judged, and by which classifiers.
pub(super) struct AdherenceJob<'a> {
    pub config: &'a RunConfig,
    /// The pool of each arm.
    pub pools: &'a [Option<SyntheticDataset>],
    pub batcher: &'a CxrBatcher,
    pub device: &'a Device,
    /// Holds the weights of the baseline's classifiers.
    pub folder: &'a RunFolder,
}

impl AdherenceJob<'_> {
    /// Scores the images of the largest pool with the baseline's classifier of every seed; the requested labels are the
    /// targets.
    ///
    /// `None` where nothing can be said: no arm has synthetic samples, the baseline trains on some itself, its weights were deleted, or samples
    /// are made on demand, and would all have to be made once more.
    pub fn report(&self) -> Result<Option<AdherenceReport>, ClassifierError> {
        let config = self.config;
        let arms = config.arms.iter().zip(self.pools);
        if arms.clone().any(|(arm, pool)| arm.name == config.baseline && pool.is_some()) {
            return Ok(None);
        }
        let Some((arm, pool)) =
            arms.filter_map(|(arm, pool)| Some((arm, pool.as_ref()?))).max_by_key(|(_, pool)| pool.records().len())
        else {
            return Ok(None);
        };
        let weights = |seed: &u64| seed_folder(self.folder.path(), &config.baseline, *seed).join("model.safetensors");
        let weights: Vec<_> = config.seeds.iter().map(weights).collect();
        let on_demand = pool.supply().is_some_and(|supply| supply.mode() == SupplyMode::OnDemand);
        if on_demand || !weights.iter().all(|path| path.is_file()) {
            return Ok(None);
        }
        let runs = match self.known(&weights, pool) {
            Some(runs) => runs,
            None => self.judged(&weights, pool)?,
        };
        let bootstrap = Bootstrap { replicates: config.bootstrap.replicates, seed: config.bootstrap.seed };
        Ok(Some(summary(runs, &arm.name, &config.baseline, bootstrap)?))
    }

    /// Scores by the weights of each seed, which are saved.
    fn judged(&self, weights: &[PathBuf], pool: &SyntheticDataset) -> Result<Vec<Predictions>, ClassifierError> {
        let config = self.config;
        let samples = PartialDataset::new(pool.clone(), 0, judged_images(pool));
        let samples = Batches::new(samples, self.batcher, config.training.eval_batch_size, self.device)?;
        let samples = samples.with_precision(config.training.precision);
        let nets = weights.iter().map(|path| Ok(Network::load(path, self.device)?.net));
        let nets = nets.collect::<Result<Vec<_>, ClassifierError>>()?;
        let runs = Predictions::of_each(&nets, &samples, |_| {})?;
        let named: Vec<_> = config.seeds.iter().copied().zip(runs.iter().cloned()).collect();
        write_predictions(&self.folder.path().join(FILE), &named)?;
        Ok(runs)
    }

    /// Saved scores: of these seeds and images, whose names are digests of all that determines them, and newer than the
    /// weights.
    fn known(&self, weights: &[PathBuf], pool: &SyntheticDataset) -> Option<Vec<Predictions>> {
        let path = self.folder.path().join(FILE);
        let changed = |path: &Path| std::fs::metadata(path).ok()?.modified().ok();
        let written = changed(&path)?;
        if !weights.iter().all(|weights| changed(weights).is_some_and(|changed| changed <= written)) {
            return None;
        }
        let (seeds, runs): (Vec<u64>, Vec<Predictions>) = read_predictions(&path).ok()?.into_iter().unzip();
        let samples = &pool.records()[..judged_images(pool)];
        let same_samples =
            |run: &Predictions| run.rows.iter().map(|row| &row.image).eq(samples.iter().map(|record| &record.id));
        (seeds == self.config.seeds && runs.iter().all(same_samples)).then_some(runs)
    }
}

fn judged_images(pool: &SyntheticDataset) -> usize {
    pool.records().len().min(MOST)
}

/// The AUROCs of `runs` on the images of `arm`; findings that were requested or left out too rarely are counted and not
/// judged.
fn summary(
    mut runs: Vec<Predictions>,
    arm: &str,
    judge: &str,
    bootstrap: Bootstrap,
) -> Result<AdherenceReport, ClassifierError> {
    let (names, images) = (runs[0].findings.clone(), runs[0].rows.len());
    let asked_for: Vec<Vec<usize>> = runs.iter_mut().map(|run| blank_rare(&mut run.targets, names.len(), FEWEST)).collect();
    let judged = assess(&[runs], 0, bootstrap)?.remove(0);
    let finding = |((finding, asked_for), judged): ((String, usize), crate::report::FindingReport)| AdherenceFinding {
        finding,
        asked_for,
        auroc: judged.auroc,
    };
    Ok(AdherenceReport {
        judge: judge.to_owned(),
        arm: arm.to_owned(),
        images,
        macro_auroc: judged.macro_auroc,
        findings: names.into_iter().zip(asked_for[0].iter().copied()).zip(judged.findings).map(finding).collect(),
    })
}

#[cfg(test)]
mod tests {
    use roentgen_classifier::predict::PredictedRow;

    use super::*;

    /// Forty images; the first finding is requested for half of them, the second for five.
    fn predictions(score: impl Fn(usize) -> f64) -> Predictions {
        let row = |i: usize| PredictedRow { image: format!("{i}.png"), patient: format!("p{}", i / 2) };
        Predictions {
            rows: (0..40).map(row).collect(),
            findings: vec!["Effusion".into(), "Mass".into()],
            scores: (0..40).flat_map(|i| [score(i), 0.5]).collect(),
            targets: (0..40).flat_map(|i| [f64::from(u8::from(i % 2 == 1)), f64::from(u8::from(i < 5))]).collect(),
        }
    }

    fn of(score: impl Fn(usize) -> f64) -> AdherenceReport {
        summary(vec![predictions(score)], "mixed", "real", Bootstrap { replicates: 200, seed: 1 }).unwrap()
    }

    #[test]
    fn samples_that_show_what_was_asked_for_have_an_auroc_of_one() {
        let report = of(|i| if i % 2 == 1 { 0.9 } else { 0.1 });
        assert_eq!(report.findings[0].auroc.unwrap().value, 1.0);
        assert_eq!(report.macro_auroc.unwrap().value, 1.0);
        assert_eq!((report.images, report.arm.as_str(), report.judge.as_str()), (40, "mixed", "real"));
    }

    #[test]
    fn samples_that_show_anything_are_at_chance() {
        assert_eq!(of(|_| 0.5).findings[0].auroc.unwrap().value, 0.5);
    }

    #[test]
    fn a_rare_finding_is_counted_and_not_judged() {
        let report = of(|i| i as f64 / 40.0);
        assert_eq!((report.findings[1].asked_for, report.findings[1].auroc), (5, None));
        // The mean is that of the other one.
        assert_eq!(report.macro_auroc.unwrap().value, report.findings[0].auroc.unwrap().value);
    }
}
