//! Every arm, every seed, resumable.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use burn::tensor::Device;
use indicatif::{MultiProgress, ProgressBar};
use roentgen_augment::{
    AugmentError, MixedDataset, MixedParts, MixedStream, Splits, SyntheticDataset, TrainSet, Vocabulary, write_atomic,
};
use roentgen_classifier::metrics::Bootstrap;
use roentgen_classifier::train::{TrainConfig, TrainJob, train};
use roentgen_classifier::weights::{Card, LoadOptions, load_weights, save_weights};
use roentgen_classifier::{
    ClassifierError, CxrBatch, CxrBatcher, DenseNet, MaskedBce, Predictions, batches, read_predictions, seeded, task_weights,
    write_predictions,
};
use serde::{Deserialize, Serialize};

use super::folder::{FolderError, RunFolder};
use super::pool::cache_warning;
use super::{ArmAssessment, assess};
use crate::config::{ArmConfig, ConfigError, RunConfig};
use crate::report::{ArmReport, ComparisonReport, DataCard, FindingCount, Protocol, RunReport};

/// Weight of the positive term at most, for findings with hardly any positive.
const MAX_POS_WEIGHT: f32 = 20.0;

/// Positives in the test set below which a warning is printed.
const FEW_POSITIVES: usize = 20;

/// Why a comparison stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompareError {
    /// A setting.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data side.
    #[error(transparent)]
    Data(#[from] AugmentError),
    /// The run folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// One run of one arm.
    #[error("arm `{arm}`, seed {seed}")]
    Run {
        /// Arm.
        arm: String,
        /// Seed.
        seed: u64,
        /// The cause.
        #[source]
        source: ClassifierError,
    },
    /// Statistics.
    #[error(transparent)]
    Classifier(#[from] ClassifierError),
}

/// One comparison, ready to run.
pub struct Comparison<'a> {
    /// Settings.
    pub config: &'a RunConfig,
    /// Training rows, perhaps a subset.
    pub train: &'a TrainSet,
    /// Held-out rows.
    pub splits: &'a Splits,
    /// Synthetic images of each arm, see [`pools`](super::pools).
    pub pools: Vec<Option<SyntheticDataset>>,
    /// Where it trains.
    pub device: &'a Device,
    /// Its name in the report.
    pub device_name: String,
    /// Where it writes.
    pub folder: RunFolder,
    /// Shows the progress of every run.
    pub progress: MultiProgress,
}

/// Held-out images as tensors, made once for all runs.
struct HeldOutTensors {
    test: Vec<CxrBatch>,
}

/// `run.json` of one seed of one arm.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct FinishedRun {
    report: RunReport,
    parameters: usize,
}

impl Comparison<'_> {
    /// Trains what is not trained yet, assesses everything, writes `predictions.csv` for each arm and `report.json`.
    ///
    /// # Errors
    /// [`CompareError`] names the arm and seed; what is finished by then is kept and not done again.
    pub fn run(&self) -> Result<ComparisonReport, CompareError> {
        let config = self.config;
        let batcher = batcher(config, self.train.data().vocabulary());
        let test = batches(self.splits.test(), &batcher, config.training.eval_batch_size, self.device)?;
        let tensors = HeldOutTensors { test };

        let total = self.progress.add(ProgressBar::new((config.seeds.len() * config.arms.len()) as u64));
        total.set_style(crate::progress::overall());
        let mut finished: Vec<Vec<(FinishedRun, Predictions)>> = vec![Vec::new(); config.arms.len()];
        // Seed by seed, so that an interrupted comparison has every arm equally often.
        for &seed in &config.seeds {
            for (arm, (pool, finished)) in config.arms.iter().zip(self.pools.iter().zip(&mut finished)) {
                total.set_message(format!("{} seed {seed}", arm.name));
                let run = self.finished_or_trained(arm, seed, pool.as_ref(), &batcher, &tensors);
                finished.push(run.map_err(|source| CompareError::Run { arm: arm.name.clone(), seed, source })?);
                total.inc(1);
            }
        }
        total.finish_and_clear();

        for (arm, runs) in config.arms.iter().zip(&finished) {
            let runs: Vec<_> =
                config.seeds.iter().copied().zip(runs.iter().map(|(_, predictions)| predictions.clone())).collect();
            write_predictions(&self.folder.path().join("arms").join(&arm.name).join("predictions.csv"), &runs)?;
        }
        let report = self.report(&finished)?;
        let text = serde_json::to_string_pretty(&report).expect("a report is numbers and strings");
        self.folder.write("report.json", text.as_bytes())?;
        Ok(report)
    }

    fn finished_or_trained(
        &self,
        arm: &ArmConfig,
        seed: u64,
        pool: Option<&SyntheticDataset>,
        batcher: &CxrBatcher,
        tensors: &HeldOutTensors,
    ) -> Result<(FinishedRun, Predictions), ClassifierError> {
        let folder = self.folder.seed(&arm.name, seed);
        let (record, predictions) = (folder.join("run.json"), folder.join("predictions.csv"));
        if let Ok(text) = std::fs::read_to_string(&record)
            && let Ok(finished) = serde_json::from_str::<FinishedRun>(&text)
            && let Ok(mut runs) = read_predictions(&predictions)
            && let Some((_, found)) = runs.pop()
        {
            return Ok((finished, found));
        }
        let bar = self.progress.add(ProgressBar::new(0));
        bar.set_prefix(format!("{} seed {seed}", arm.name));
        let run = SeedRun { config: self.config, arm, seed, train: self.train, pool, splits: self.splits, device: self.device };
        let trained = run.train(&folder, batcher, bar.clone());
        bar.finish_and_clear();
        let (net, mut report) = trained?;
        let found = Predictions::of(&net, &tensors.test, &batcher.vocabulary, |_| {});
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

    fn report(&self, finished: &[Vec<(FinishedRun, Predictions)>]) -> Result<ComparisonReport, CompareError> {
        let config = self.config;
        let predictions: Vec<Vec<Predictions>> =
            finished.iter().map(|runs| runs.iter().map(|(_, predictions)| predictions.clone()).collect()).collect();
        let baseline = config.arms.iter().position(|arm| arm.name == config.baseline);
        let baseline = baseline.expect("validate checked that the baseline is an arm");
        let bootstrap = Bootstrap { replicates: config.bootstrap.replicates, seed: config.bootstrap.seed };
        let assessed = assess(&predictions, baseline, bootstrap).map_err(ClassifierError::from)?;
        let data = data_card(config, self.train, self.splits);
        let arms = config.arms.iter().zip(assessed).zip(finished);
        let arms: Vec<ArmReport> = arms.map(|((arm, assessed), runs)| self.arm_report(arm, assessed, runs)).collect();
        Ok(ComparisonReport {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            title: config.title.clone(),
            device: self.device_name.clone(),
            baseline: config.baseline.clone(),
            warnings: warnings(config, &data, &self.pools),
            protocol: protocol(config, finished[0][0].0.parameters),
            data,
            arms,
        })
    }

    fn arm_report(&self, arm: &ArmConfig, assessed: ArmAssessment, runs: &[(FinishedRun, Predictions)]) -> ArmReport {
        let counts = arm.mixture().phases.mode(0).counts(self.train.data().rows().len());
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
        }
    }
}

/// One seed of one arm.
pub struct SeedRun<'a> {
    /// Settings.
    pub config: &'a RunConfig,
    /// The arm.
    pub arm: &'a ArmConfig,
    /// Seed of initial weights, data order and augmentation.
    pub seed: u64,
    /// Training rows.
    pub train: &'a TrainSet,
    /// Synthetic images, if the arm has any.
    pub pool: Option<&'a SyntheticDataset>,
    /// Held-out rows.
    pub splits: &'a Splits,
    /// Where it trains.
    pub device: &'a Device,
}

impl SeedRun<'_> {
    /// Trains into `folder`, or continues there; leaves `model.safetensors`. The report's test AUROC is not filled in.
    ///
    /// # Errors
    /// As [`train`].
    pub fn train(
        &self,
        folder: &Path,
        batcher: &CxrBatcher,
        bar: ProgressBar,
    ) -> Result<(DenseNet, RunReport), ClassifierError> {
        let config = self.config;
        let training = TrainConfig {
            augmentation: self.arm.augmentation.unwrap_or(config.training.augmentation),
            ..config.training.clone()
        };
        let mixed = MixedDataset::for_training(MixedParts {
            real: self.train.clone(),
            synthetic: self.pool.cloned(),
            mixture: self.arm.mixture(),
            seed: self.seed,
        })?;
        let batch_size = NonZeroUsize::new(training.batch_size).expect("validate refuses an empty batch");
        let trained = train(TrainJob {
            net: self.initial_net()?,
            config: &training,
            loss: loss(&training, self.train, batcher),
            batcher: batcher.clone(),
            stream: MixedStream::new(mixed, batch_size),
            valid: self.splits.valid(),
            seed: self.seed,
            device: self.device,
            folder: folder.to_owned(),
            progress: bar,
        })?;
        let findings = batcher.vocabulary.findings();
        let card = Card {
            config: config.network.shape(findings.len()),
            findings: findings.iter().map(|finding| finding.name().to_owned()).collect(),
            input_range: config.network.input,
            image_size: config.preprocess.size,
            preprocess: serde_json::to_value(config.preprocess).expect("settings have a JSON form"),
        };
        save_weights(&trained.net, &folder.join("model.safetensors"), &card)?;
        let report = RunReport {
            seed: self.seed,
            best_step: trained.best.step,
            valid_macro_auroc: trained.best.valid_macro_auroc,
            test_macro_auroc: None,
            seconds: trained.seconds(),
            wait_share: trained.wait_share(),
        };
        Ok((trained.net, report))
    }

    /// Seeded weights, over which the weights of the `[network]` table go if it names any. The head stays the seed's: an arm
    /// starts where every other arm with this seed does.
    fn initial_net(&self) -> Result<DenseNet, ClassifierError> {
        let network = &self.config.network;
        let net = seeded(network.shape(self.train.data().vocabulary().len()).init(self.device), self.seed);
        match &network.weights {
            None => Ok(net),
            Some(path) => {
                let options = LoadOptions { replace_head: true, sum_first_conv_channels: true };
                Ok(load_weights(net, path, options)?.net)
            }
        }
    }
}

/// Trains one seed of one arm into `folder`.
///
/// # Errors
/// As [`SeedRun::train`].
pub fn run_seed(run: &SeedRun<'_>, folder: &Path, bar: ProgressBar) -> Result<(DenseNet, RunReport), ClassifierError> {
    run.train(folder, &batcher(run.config, run.train.data().vocabulary()), bar)
}

/// How this run's samples become tensors.
#[must_use]
pub fn batcher(config: &RunConfig, vocabulary: &Arc<Vocabulary>) -> CxrBatcher {
    CxrBatcher { vocabulary: vocabulary.clone(), policy: config.data.policy.clone(), input: config.network.input }
}

/// Macro AUROC of predictions; `None` if no finding has both classes.
///
/// # Errors
/// [`ClassifierError::Metrics`] if a score is not a number.
pub fn macro_auroc(predictions: &Predictions) -> Result<Option<f64>, ClassifierError> {
    use roentgen_classifier::metrics::{MultiLabelReport, ScoreTable};
    let table = ScoreTable::new(&predictions.scores, &predictions.targets, predictions.findings.len())?;
    Ok(MultiLabelReport::new(&table)?.macro_average.auroc)
}

/// Weights from the real training rows, whatever the arm mixes in: the loss is the same in every arm.
fn loss(config: &TrainConfig, train: &TrainSet, batcher: &CxrBatcher) -> MaskedBce {
    let findings = batcher.vocabulary.findings();
    let (mut positives, mut negatives) = (vec![0f32; findings.len()], vec![0f32; findings.len()]);
    for row in train.data().rows() {
        for (i, (finding, label)) in findings.iter().zip(&row.record.labels).enumerate() {
            match batcher.policy.target(*finding, *label) {
                Some(target) if target > 0.5 => positives[i] += 1.0,
                Some(_) => negatives[i] += 1.0,
                None => {}
            }
        }
    }
    let ratio = |(p, n): (&f32, &f32)| if *p > 0.0 { (n / p).min(MAX_POS_WEIGHT) } else { 1.0 };
    MaskedBce {
        reduction: config.reduction,
        pos_weight: config.pos_weight.then(|| positives.iter().zip(&negatives).map(ratio).collect()),
        task_weights: config.task_weights.then(|| task_weights(&positives)),
    }
}

fn protocol(config: &RunConfig, parameters: usize) -> Protocol {
    let training = &config.training;
    Protocol {
        network: config.network.name().to_owned(),
        parameters,
        image_size: config.preprocess.size,
        steps: training.steps,
        batch_size: training.batch_size,
        learning_rate: training.learning_rate,
        seeds: config.seeds.clone(),
        selection: serde_json::to_value(training.select).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default(),
        replicates: config.bootstrap.replicates,
        confidence: 0.95,
    }
}

fn data_card(config: &RunConfig, train: &TrainSet, splits: &Splits) -> DataCard {
    let sets = [train.data(), splits.valid().data(), splits.test().data()];
    let patients = sets.map(|data| {
        let ids = data.rows().iter().map(|row| row.record.patient_id.as_ref().map_or(row.record.id.as_str(), |id| id.as_str()));
        ids.collect::<std::collections::BTreeSet<_>>().len()
    });
    let vocabulary = train.data().vocabulary();
    let count = |column: usize, wanted: fn(Option<f32>) -> bool| {
        let finding = vocabulary.findings()[column];
        sets.map(|data| {
            let targets = data.rows().iter().map(|row| config.data.policy.target(finding, row.record.labels[column]));
            targets.filter(|target| wanted(*target)).count()
        })
    };
    let findings = (0..vocabulary.len()).map(|column| FindingCount {
        finding: vocabulary.findings()[column].name().to_owned(),
        positives: count(column, |target| target == Some(1.0)),
        labelled: count(column, |target| target.is_some()),
    });
    DataCard {
        name: config.data.title(),
        nature: if config.data.format == crate::config::DataFormat::Phantom { "phantom" } else { "real" }.to_owned(),
        images: sets.map(|data| data.rows().len()),
        patients,
        findings: findings.collect(),
    }
}

fn warnings(config: &RunConfig, data: &DataCard, pools: &[Option<SyntheticDataset>]) -> Vec<String> {
    let mut warnings = Vec::new();
    if data.nature == "phantom" {
        warnings.push(
            "These are films of an analytic phantom, not radiographs: nothing here says anything about patients.".to_owned(),
        );
    }
    if pools.iter().any(Option::is_some)
        && let Some(generator) = &config.generator
    {
        warnings.push(generator.kind.caveat().to_owned());
    }
    let few: Vec<_> = data
        .findings
        .iter()
        .filter(|finding| finding.positives[2] < FEW_POSITIVES)
        .map(|finding| format!("{} ({})", finding.finding, finding.positives[2]))
        .collect();
    if !few.is_empty() {
        warnings.push(format!(
            "Fewer than {FEW_POSITIVES} test positives: {}. Read these AUROCs with their intervals.",
            few.join(", ")
        ));
    }
    if config.seeds.len() < 3 {
        warnings.push(format!(
            "{} classifier seed(s) an arm: the spread between training runs is not shown by the intervals, which hold the runs fixed.",
            config.seeds.len()
        ));
    }
    if config.training.patience > 0 {
        warnings.push(
            "`patience` is on: arms may stop at different steps, which confounds the data with the training length.".to_owned(),
        );
    }
    warnings.extend(cache_warning(pools));
    warnings
}
