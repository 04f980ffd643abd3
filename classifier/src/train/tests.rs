//! Whole runs on a few phantom films.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::data::dataset::Dataset;
use burn::module::{ModuleVisitor, Param};
use burn::tensor::Tensor;
use roentgen_augment::AugmentError;
use roentgen_augment::dataset::{CxrDataset, SplitBy, SplitPlan, Splits};
use roentgen_augment::image::{GrayImage, ImageSource, Preprocess};
use roentgen_augment::mix::{MixedDataset, Mixture};
use roentgen_augment::phantom::{PhantomDataset, PhantomDatasetConfig, Prevalence};
use roentgen_augment::record::LabelPolicy;

use super::*;
use crate::{Augmentation, DenseNetConfig, InputRange, seeded};

const SIZE: usize = 32;

/// Films that can be loaded so many times before the disk fails.
struct FailingDisk {
    films: PhantomDataset,
    loads_left: AtomicUsize,
}

impl ImageSource for FailingDisk {
    fn load(&self, index: usize) -> Result<GrayImage, AugmentError> {
        let left = self.loads_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        left.map(|_| self.films.image(index)).map_err(|_| AugmentError::Io {
            action: "read",
            path: self.describe(index).into(),
            source: std::io::Error::other("the disk failed"),
        })
    }

    fn describe(&self, index: usize) -> String {
        format!("film-{index}.png")
    }
}

fn splits(prevalence: Prevalence, loads: usize) -> Splits {
    let films = PhantomDataset::new(PhantomDatasetConfig { prevalence, ..PhantomDatasetConfig::new(48, SIZE, 3) }).unwrap();
    let (vocabulary, records) = (Arc::new(films.vocabulary().clone()), films.records());
    let source = Arc::new(FailingDisk { films, loads_left: AtomicUsize::new(loads) });
    let data = CxrDataset::from_records("phantom", vocabulary, records, source).unwrap().with_preprocess(Preprocess::new(SIZE));
    Splits::new(&data, &SplitPlan { by: SplitBy::Patient, valid: 0.3, test: 0.2, seed: 1 }).unwrap()
}

fn config() -> TrainConfig {
    TrainConfig {
        steps: 6,
        batch_size: 8,
        accumulation: 2,
        eval_every: 2,
        warmup_steps: 2,
        augmentation: Augmentation::gentle(),
        ..TrainConfig::default()
    }
}

fn run(splits: &Splits, config: &TrainConfig, folder: &Path) -> Result<Trained, ClassifierError> {
    let device = Device::flex();
    let vocabulary = splits.train().data().vocabulary().clone();
    let shape = DenseNetConfig { block_config: vec![1, 1], ..DenseNetConfig::small(1, vocabulary.len()) };
    let mixed = MixedDataset::new(splits.train().clone(), None, Mixture::default(), 4).unwrap();
    train(TrainJob {
        net: seeded(shape.init(&device), 4),
        config,
        loss: MaskedBce::default(),
        batcher: CxrBatcher { vocabulary, policy: LabelPolicy::default(), input: InputRange::Signed },
        stream: MixedStream::new(mixed, NonZeroUsize::new(config.batch_size).unwrap()),
        valid: splits.valid(),
        seed: 4,
        device: &device,
        folder: folder.to_owned(),
        progress: ProgressBar::hidden(),
    })
}

/// What was measured of a round: step, both losses, macro AUROC.
type Measured = (usize, f64, f64, Option<f64>);

/// Every weight and running statistic, and what was measured of each round.
fn outcome(trained: &Trained) -> (Vec<f32>, Vec<Measured>) {
    struct Values(Vec<f32>);
    impl ModuleVisitor for Values {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.extend(param.val().into_data().iter::<f32>());
        }
    }
    let mut values = Values(Vec::new());
    trained.net.visit(&mut values);
    let rounds = trained.history.rounds();
    (values.0, rounds.iter().map(|r| (r.step, r.train_loss, r.valid_loss, r.valid_macro_auroc)).collect())
}

#[test]
fn a_resumed_run_equals_an_uninterrupted_one_bit_for_bit() {
    let config = TrainConfig { select: Selection::Last, ..config() };
    let healthy = splits(Prevalence::enriched(), usize::MAX);
    let folder = tempfile::tempdir().unwrap();
    let uninterrupted = outcome(&run(&healthy, &config, folder.path()).unwrap());
    assert_eq!(uninterrupted.1.len(), 3);
    for whole_rounds in [0, 1, 2] {
        let folder = tempfile::tempdir().unwrap();
        // The disk fails at the second step of the round after. Validation is read before the first round and after each.
        let validations = healthy.valid().len() * (1 + whole_rounds);
        let loads = validations + config.batch_size * (whole_rounds * config.eval_every + 1);
        let error = run(&splits(Prevalence::enriched(), loads), &config, folder.path()).unwrap_err().to_string();
        assert!(error.contains("film-") && error.contains("the disk failed"), "{error}");
        assert_eq!(CheckpointFolder::new(folder.path()).newest(), whole_rounds);
        let resumed = outcome(&run(&healthy, &config, folder.path()).unwrap());
        assert!(resumed == uninterrupted, "resumed after round {whole_rounds}: {:?} {:?}", resumed.1, uninterrupted.1);
    }
}

#[test]
fn a_finished_run_is_not_trained_again() {
    let folder = tempfile::tempdir().unwrap();
    let healthy = splits(Prevalence::enriched(), usize::MAX);
    let first = outcome(&run(&healthy, &config(), folder.path()).unwrap());
    // A single image would fail.
    let exhausted = splits(Prevalence::enriched(), 0);
    assert!(outcome(&run(&exhausted, &config(), folder.path()).unwrap()) == first);
}

#[test]
fn an_image_that_validation_cannot_read_ends_the_run_before_the_checkpoint() {
    let healthy = splits(Prevalence::enriched(), usize::MAX);
    let (valid, round) = (healthy.valid().len(), config().batch_size * config().eval_every);
    // Before training, in the validation of the first round, and in that of the second.
    for (loads, whole_rounds) in [(valid - 1, 0), (valid + round + valid / 2, 0), (2 * (valid + round) + valid / 2, 1)] {
        let folder = tempfile::tempdir().unwrap();
        let error = run(&splits(Prevalence::enriched(), loads), &config(), folder.path()).unwrap_err().to_string();
        assert!(error.contains("film-") && error.contains("the disk failed"), "{error}");
        assert_eq!(CheckpointFolder::new(folder.path()).newest(), whole_rounds);
    }
}

#[test]
fn a_loss_that_is_no_number_stops_before_the_next_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let healthy = splits(Prevalence::enriched(), usize::MAX);
    let wild = TrainConfig { learning_rate: 1.0, clip_norm: 0.0, weight_decay: 0.99, warmup_steps: 0, steps: 400, ..config() };
    let poisoned = TrainConfig { optimizer: OptimizerKind::Adam, ..wild };
    let device = Device::flex();
    let vocabulary = healthy.train().data().vocabulary().clone();
    let shape = DenseNetConfig { block_config: vec![1, 1], ..DenseNetConfig::small(1, vocabulary.len()) };
    let mixed = MixedDataset::new(healthy.train().clone(), None, Mixture::default(), 4).unwrap();
    let findings = vocabulary.len();
    let error = train(TrainJob {
        net: seeded(shape.init(&device), 4),
        config: &poisoned,
        loss: MaskedBce { pos_weight: Some(vec![f32::INFINITY; findings]), ..MaskedBce::default() },
        batcher: CxrBatcher { vocabulary, policy: LabelPolicy::default(), input: InputRange::Signed },
        stream: MixedStream::new(mixed, NonZeroUsize::new(8).unwrap()),
        valid: healthy.valid(),
        seed: 4,
        device: &device,
        folder: folder.path().to_owned(),
        progress: ProgressBar::hidden(),
    })
    .unwrap_err();
    assert!(matches!(error, ClassifierError::NonFiniteLoss { step: 1, last_good: 0, .. }), "{error}");
    assert_eq!(CheckpointFolder::new(folder.path()).newest(), 0);
}

#[test]
fn patience_stops_early_and_the_best_round_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let impatient = TrainConfig { patience: 1, steps: 40, learning_rate: 0.3, ..config() };
    let trained = run(&splits(Prevalence::enriched(), usize::MAX), &impatient, folder.path()).unwrap();
    let rounds = trained.history.rounds();
    assert!(rounds.len() < impatient.rounds(), "{} rounds", rounds.len());
    let best = rounds.iter().map(|round| round.valid_macro_auroc.unwrap()).fold(0.0, f64::max);
    assert_eq!(trained.best.valid_macro_auroc, Some(best));
}

#[test]
fn a_validation_set_of_one_class_is_refused_before_training() {
    let folder = tempfile::tempdir().unwrap();
    let error = run(&splits(Prevalence::healthy(), usize::MAX), &config(), folder.path()).unwrap_err();
    assert!(matches!(error, ClassifierError::UndefinedSelection { findings: 9, .. }), "{error}");
}
