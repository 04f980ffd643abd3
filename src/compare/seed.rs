//! One seed of one arm.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::Device;
use roentgen_augment::batch::CxrBatcher;
use roentgen_augment::dataset::TrainSet;
use roentgen_augment::mix::{MixedDataset, MixedStream};
use roentgen_augment::progress::Task;
use roentgen_augment::record::Vocabulary;
use roentgen_augment::supply::SyntheticDataset;
use roentgen_classifier::ClassifierError;
use roentgen_classifier::loss::{MaskedBce, task_weights};
use roentgen_classifier::metrics::{MultiLabelReport, ScoreTable};
use roentgen_classifier::networks::{Network, seeded};
use roentgen_classifier::predict::Predictions;
use roentgen_classifier::training::{TrainConfig, TrainJob, train};
use roentgen_classifier::weights::{Card, LoadOptions, load_weights, save_weights};

use crate::config::{ArmConfig, RunConfig};
use crate::report::RunReport;
use crate::study::StudyData;

/// Largest weight of the positive term, for findings with very few positives.
const MAX_POS_WEIGHT: f32 = 20.0;

/// Folder of one seed of one arm in the folder of a comparison.
#[must_use]
pub(super) fn seed_folder(comparison: &Path, arm: &str, seed: u64) -> PathBuf {
    comparison.join("arms").join(arm).join(format!("seed-{seed}"))
}

/// One training run, ready to start.
pub struct SeedRun<'a> {
    /// Settings.
    pub config: &'a RunConfig,
    /// The arm.
    pub arm: &'a ArmConfig,
    /// Seed of initial weights, data order and augmentation.
    pub seed: u64,
    /// Training and held-out rows.
    pub study: &'a StudyData,
    /// Synthetic images, if the arm has any.
    pub pool: Option<&'a SyntheticDataset>,
    /// Where it trains.
    pub device: &'a Device,
}

impl SeedRun<'_> {
    /// Trains into `folder`, or continues there; writes `model.safetensors`. The report's test AUROC is not filled in.
    ///
    /// # Errors
    /// As [`train`].
    pub fn train(
        &self,
        folder: &Path,
        batcher: &CxrBatcher,
        task: Box<dyn Task>,
    ) -> Result<(Network, RunReport), ClassifierError> {
        let config = self.config;
        let training = TrainConfig {
            augmentation: self.arm.augmentation.unwrap_or(config.training.augmentation),
            ..config.training.clone()
        };
        let mixed = MixedDataset::new(self.study.train.clone(), self.pool.cloned(), self.arm.mixture(), self.seed)?;
        let batch_size = NonZeroUsize::new(training.batch_size).expect("validate refuses an empty batch");
        let trained = train(TrainJob {
            net: self.initial_net()?,
            part: config.network.train,
            config: &training,
            loss: loss(&training, &self.study.train, batcher),
            batcher: batcher.clone(),
            stream: MixedStream::new(mixed, batch_size),
            valid: self.study.splits.valid(),
            seed: self.seed,
            device: self.device,
            folder: folder.to_owned(),
            task,
        })?;
        let findings = batcher.vocabulary.findings();
        let card = Card {
            config: config.network.shape(findings.len()),
            findings: findings.iter().map(|finding| finding.name().to_owned()).collect(),
            input_range: config.network.input,
            image_size: config.preprocess.size,
            precision: config.training.precision,
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
    fn initial_net(&self) -> Result<Network, ClassifierError> {
        let network = &self.config.network;
        let net = seeded(network.shape(self.study.train.data().vocabulary().len()).init(self.device), self.seed);
        match &network.weights {
            None => Ok(net),
            Some(path) => {
                let options = LoadOptions { replace_head: true, sum_first_conv_channels: true };
                Ok(load_weights(net, path, options)?.net)
            }
        }
    }
}

/// How this run's samples become tensors.
#[must_use]
pub fn batcher(config: &RunConfig, vocabulary: &Arc<Vocabulary>) -> CxrBatcher {
    CxrBatcher { vocabulary: vocabulary.clone(), policy: config.data.policy_of_rows(), input: config.network.input }
}

/// Macro AUROC of predictions; `None` if no finding has both classes.
///
/// # Errors
/// [`ClassifierError::Metrics`] if a score is not a number.
pub fn macro_auroc(predictions: &Predictions) -> Result<Option<f64>, ClassifierError> {
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
