//! Every arm, every seed, resumable.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use burn::tensor::Device;
use roentgen_augment::atomic::write_atomic;
use roentgen_augment::batch::CxrBatcher;
use roentgen_augment::dataset::HeldOut;
use roentgen_augment::progress::Progress;
use roentgen_augment::record::CxrRecord;
use roentgen_augment::supply::SyntheticDataset;
use roentgen_classifier::ClassifierError;
use roentgen_classifier::batch::Batches;
use roentgen_classifier::metrics::Bootstrap;
use roentgen_classifier::networks::Network;
use roentgen_classifier::predict::{Predictions, read_predictions, write_predictions};
use serde::{Deserialize, Serialize};

use super::adherence::AdherenceJob;
use super::card::{data_card, protocol, warnings};
use super::evaluation::StudyEvaluation;
use super::outlook::outlook;
use super::seed::{SeedRun, batcher, macro_auroc, seed_folder};
use super::{ArmAssessment, assess};
use super::{Pools, notes_after};
use crate::config::{ArmConfig, RunConfig};
use crate::evaluation::fairness::{FairnessJob, JudgedRun, attributes, group_rows, thresholds};
use crate::evaluation::run::{Evaluation, EvaluationError};
use crate::report::{ArmReport, ComparisonReport, FairnessReport, Outlook, RunReport};
use crate::run_folder::{RunFolder, RunFolderError};
use crate::study::StudyData;

/// Why a comparison stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompareError {
    /// The run folder.
    #[error(transparent)]
    Folder(#[from] RunFolderError),
    /// One run of one arm.
    #[error("arm `{arm}`, seed {seed}")]
    Run {
        /// Arm.
        arm: String,
        /// Seed.
        seed: u64,
        /// The cause.
        #[source]
        source: Box<ClassifierError>,
    },
    /// Statistics.
    #[error(transparent)]
    Classifier(Box<ClassifierError>),
    /// The synthetic images can't be measured. All training runs are finished and kept.
    #[error("the synthetic images can't be evaluated; the same command goes on from the finished runs")]
    Evaluation(#[source] Box<EvaluationError>),
}

/// What came out of a comparison.
#[derive(Clone, Debug)]
pub struct Compared {
    /// The figures, as in `report.json`.
    pub report: ComparisonReport,
    /// What the synthetic images are like; `None` unless the run file has an `[evaluation]` table.
    pub evaluation: Option<Evaluation>,
}

/// One comparison, ready to run.
pub struct Comparison<'a> {
    /// Settings.
    pub config: &'a RunConfig,
    /// Its images.
    pub study: &'a StudyData,
    /// Synthetic images of each arm, see [`pools`](super::pools()).
    pub pools: Pools,
    /// Where it trains.
    pub device: &'a Device,
    /// Its name in the report.
    pub device_name: String,
    /// Where it writes.
    pub folder: RunFolder,
    /// Shows the progress of every run.
    pub progress: &'a dyn Progress,
}

/// `run.json` of one seed of one arm.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct FinishedRun {
    report: RunReport,
    parameters: usize,
}

/// What every run shares.
struct Parts<'a> {
    batcher: &'a CxrBatcher,
    test: &'a Batches,
    outlook: &'a Arc<Outlook>,
}

impl From<EvaluationError> for CompareError {
    fn from(error: EvaluationError) -> Self {
        Self::Evaluation(Box::new(error))
    }
}

impl From<ClassifierError> for CompareError {
    fn from(error: ClassifierError) -> Self {
        Self::Classifier(Box::new(error))
    }
}

impl Comparison<'_> {
    /// Trains what is not trained yet, assesses everything, writes `predictions.csv` for each arm and `report.json`.
    ///
    /// # Errors
    /// [`CompareError`] names the arm and seed; what was finished before is kept and not repeated.
    pub fn run(&self) -> Result<Compared, CompareError> {
        let config = self.config;
        let batcher = batcher(config, self.study.train.data().vocabulary());
        let training = &config.training;
        let held_out = |set: &HeldOut| {
            let batches = Batches::new(set.clone(), &batcher, training.eval_batch_size, self.device)?;
            Ok::<_, ClassifierError>(batches.with_precision(training.precision))
        };
        let (valid, test) = (held_out(self.study.splits.valid())?, held_out(self.study.splits.test())?);
        let mut checked = false;
        let earlier = |seed: &u64| config.arms.iter().map(|arm| self.finished(arm, *seed)).collect::<Vec<_>>();
        let earlier: Vec<_> = config.seeds.iter().map(earlier).collect();
        let untrained = earlier.iter().flatten().filter(|run| run.is_none()).count();
        let parts = Parts { batcher: &batcher, test: &test, outlook: &outlook(config, &self.study.splits, untrained) };

        let total = self.progress.begin("", (config.seeds.len() * config.arms.len()) as u64, "runs");
        let mut finished: Vec<Vec<(FinishedRun, Predictions)>> = vec![Vec::new(); config.arms.len()];
        // Seed by seed, so that an interrupted comparison has equally many runs of every arm.
        for (&seed, earlier) in config.seeds.iter().zip(earlier) {
            let arms = config.arms.iter().zip(&self.pools.arms).zip(&mut finished);
            for (((arm, pool), finished), found) in arms.zip(earlier) {
                if found.is_none() && !checked {
                    // A damaged image of the test set is not found after hours of training. Validation is read more often, and so
                    // has the cache first.
                    valid.check()?;
                    test.check()?;
                    checked = true;
                }
                let run = found.map_or_else(|| self.trained(arm, seed, pool.as_ref(), &parts), Ok);
                finished.push(run.map_err(|source| CompareError::Run {
                    arm: arm.name.clone(),
                    seed,
                    source: Box::new(source),
                })?);
                total.advance(1);
            }
        }
        drop(total);

        for (arm, runs) in config.arms.iter().zip(&finished) {
            let runs: Vec<_> =
                config.seeds.iter().copied().zip(runs.iter().map(|(_, predictions)| predictions.clone())).collect();
            write_predictions(&self.folder.path().join("arms").join(&arm.name).join("predictions.csv"), &runs)?;
        }
        let mut report = self.report(&finished, &batcher, &valid)?;
        let (config, study, pools, device, folder) = (self.config, self.study, &*self.pools.arms, self.device, &self.folder);
        let study = StudyEvaluation { config, study, pools, device, folder, progress: self.progress };
        let evaluation = study.run()?;
        report.warnings.extend(study.why_not());
        report.evaluation = evaluation.as_ref().map(|evaluation| Box::new(evaluation.report.clone()));
        let text = serde_json::to_string_pretty(&report).expect("a report is numbers and strings");
        self.folder.write("report.json", text.as_bytes())?;
        Ok(Compared { report, evaluation })
    }

    /// A run that was finished before.
    fn finished(&self, arm: &ArmConfig, seed: u64) -> Option<(FinishedRun, Predictions)> {
        let folder = seed_folder(self.folder.path(), &arm.name, seed);
        let text = std::fs::read_to_string(folder.join("run.json")).ok()?;
        let finished = serde_json::from_str::<FinishedRun>(&text).ok()?;
        let (_, found) = read_predictions(&folder.join("predictions.csv")).ok()?.pop()?;
        Some((finished, found))
    }

    fn trained(
        &self,
        arm: &ArmConfig,
        seed: u64,
        pool: Option<&SyntheticDataset>,
        Parts { batcher, test, outlook }: &Parts<'_>,
    ) -> Result<(FinishedRun, Predictions), ClassifierError> {
        let folder = seed_folder(self.folder.path(), &arm.name, seed);
        let (record, predictions) = (folder.join("run.json"), folder.join("predictions.csv"));
        let task = outlook.watch(self.progress.begin(&format!("{} seed {seed}", arm.name), 0, "steps"));
        let run = SeedRun { config: self.config, arm, seed, study: self.study, pool, device: self.device };
        let (net, mut report) = run.train(&folder, batcher, task)?;
        let found = Predictions::of(&net, test, |_| {})?;
        report.test_macro_auroc = macro_auroc(&found)?;
        write_predictions(&predictions, &[(seed, found.clone())])?;
        let finished = FinishedRun { parameters: net.num_trainable(), report };
        let text = serde_json::to_string_pretty(&finished).expect("a run's record is plain numbers");
        write_atomic(&record, |file| std::io::Write::write_all(file, text.as_bytes()))
            .map_err(|source| ClassifierError::Io { action: "write", path: record.clone(), source })?;
        // The weights are in model.safetensors; the optimiser's state has no further use.
        let _ = std::fs::remove_dir_all(folder.join("checkpoints"));
        Ok((finished, found))
    }

    fn report(
        &self,
        finished: &[Vec<(FinishedRun, Predictions)>],
        batcher: &CxrBatcher,
        valid: &Batches,
    ) -> Result<ComparisonReport, CompareError> {
        let config = self.config;
        let predictions: Vec<Vec<Predictions>> =
            finished.iter().map(|runs| runs.iter().map(|(_, predictions)| predictions.clone()).collect()).collect();
        let baseline = config.arms.iter().position(|arm| arm.name == config.baseline);
        let baseline = baseline.expect("validate checked that the baseline is an arm");
        let bootstrap = Bootstrap { replicates: config.bootstrap.replicates, seed: config.bootstrap.seed };
        let assessed = assess(&predictions, baseline, bootstrap).map_err(ClassifierError::from)?;
        let data = data_card(config, self.study);
        let arms = config.arms.iter().zip(assessed).zip(finished);
        let mut arms: Vec<ArmReport> = arms.map(|((arm, assessed), runs)| self.arm_report(arm, assessed, runs)).collect();
        for (arm, gate) in arms.iter_mut().zip(&self.pools.gates) {
            arm.gate.clone_from(gate);
        }
        let (pools, device, folder) = (self.pools.arms.as_slice(), self.device, &self.folder);
        let mut warnings = warnings(config, &self.study.notes, &data, &self.pools);
        warnings.extend(notes_after(pools).map_err(ClassifierError::from)?);
        let fairness = self.fairness(finished, valid, bootstrap, &mut warnings)?;
        let adherence = AdherenceJob { config, pools, batcher, device, folder }.report()?;
        Ok(ComparisonReport {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            title: config.title.clone(),
            device: self.device_name.clone(),
            baseline: config.baseline.clone(),
            warnings,
            prompts: self.pools.prompts.clone(),
            adherence,
            fairness,
            evaluation: None,
            protocol: protocol(config, finished[0][0].0.parameters),
            data,
            arms,
        })
    }

    /// Figures by group of test patients; writes which image is in which group.
    fn fairness(
        &self,
        finished: &[Vec<(FinishedRun, Predictions)>],
        valid: &Batches,
        bootstrap: Bootstrap,
        warnings: &mut Vec<String>,
    ) -> Result<Option<FairnessReport>, CompareError> {
        let known = self.study.splits.test().data().rows();
        let by_name: HashMap<&str, &CxrRecord> =
            known.iter().map(|row| (row.record.id.as_str(), row.record.as_ref())).collect();
        let rows = &finished[0][0].1.rows;
        let records: Vec<_> = rows.iter().map(|row| by_name.get(row.image.as_str()).copied()).collect();
        let (attributes, notes) = attributes(&records, &self.config.fairness);
        warnings.extend(notes);
        if attributes.is_empty() {
            return Ok(None);
        }
        let arms = self.config.arms.iter().zip(finished).map(|(arm, runs)| {
            let judged = self.config.seeds.iter().zip(runs).map(|(&seed, (_, test))| {
                let valid = self.validated(arm, seed, valid).map_err(|source| CompareError::Run {
                    arm: arm.name.clone(),
                    seed,
                    source: Box::new(source),
                })?;
                let chosen = valid.map(|valid| thresholds(self.config.fairness.operating_point, &valid)).transpose();
                Ok(JudgedRun { test: test.clone(), thresholds: chosen.map_err(ClassifierError::from)? })
            });
            Ok((arm.name.clone(), judged.collect::<Result<Vec<_>, CompareError>>()?))
        });
        let arms = arms.collect::<Result<Vec<_>, CompareError>>()?;
        let images: Vec<String> = rows.iter().map(|row| row.image.clone()).collect();
        let mut csv = csv::Writer::from_writer(Vec::new());
        for row in group_rows(&images, &attributes) {
            csv.write_record(&row).expect("writing to memory");
        }
        self.folder.write("fairness.csv", &csv.into_inner().expect("writing to memory"))?;
        let config = &self.config.fairness;
        let operating_point = format!("per finding and run, {}", config.operating_point);
        let job = FairnessJob { arms: &arms, attributes: &attributes, config, operating_point: &operating_point, bootstrap };
        Ok(job.report().map_err(ClassifierError::from)?)
    }

    /// Predictions of a finished run on the validation images, which choose its operating points: those written before, or by its weights.
    /// `None` if the weights are gone.
    fn validated(&self, arm: &ArmConfig, seed: u64, valid: &Batches) -> Result<Option<Predictions>, ClassifierError> {
        let folder = seed_folder(self.folder.path(), &arm.name, seed);
        let (weights, path) = (folder.join("model.safetensors"), folder.join("validation.csv"));
        let changed = |path: &Path| std::fs::metadata(path).ok()?.modified().ok();
        // Weights that were deleted to save room have not changed since.
        let is_current = changed(&path).is_some_and(|written| changed(&weights).is_none_or(|weights| weights <= written));
        let earlier = || read_predictions(&path).ok()?.pop().map(|(_, found)| found);
        if let Some(found) = earlier().filter(|_| is_current) {
            return Ok(Some(found));
        }
        if !weights.is_file() {
            return Ok(None);
        }
        let net = Network::load(&weights, self.device)?.net;
        let found = Predictions::of(&net, valid, |_| {})?;
        write_predictions(&path, &[(seed, found.clone())])?;
        Ok(Some(found))
    }

    fn arm_report(&self, arm: &ArmConfig, assessed: ArmAssessment, runs: &[(FinishedRun, Predictions)]) -> ArmReport {
        let counts = arm.mixture().phases.mode(0).counts(self.study.train.data().rows().len());
        ArmReport {
            name: arm.name.clone(),
            description: arm.description.clone(),
            real_per_epoch: counts.real + counts.duplicated,
            synthetic_per_epoch: counts.synthetic,
            runs: runs.iter().map(|(finished, _)| finished.report.clone()).collect(),
            macro_auroc: assessed.macro_auroc,
            weighted_auroc: assessed.weighted_auroc,
            micro_auroc: assessed.micro_auroc,
            undefined: assessed.undefined,
            findings: assessed.findings,
            difference: assessed.difference,
            gate: None,
        }
    }
}
