//! Whole runs on a few phantom images.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::data::dataset::Dataset;
use burn::module::{ModuleVisitor, Param};
use burn::tensor::{DType, Tensor};
use roentgen_augment::AugmentError;
use roentgen_augment::batch::InputRange;
use roentgen_augment::dataset::{CxrDataset, SplitBy, SplitPlan, Splits};
use roentgen_augment::image::{GrayImage, ImageSource, Preprocess};
use roentgen_augment::mix::{MixedDataset, Mixture};
use roentgen_augment::phantom::{PhantomDataset, PhantomDatasetConfig, Prevalence};
use roentgen_augment::progress::Silent;
use roentgen_augment::record::LabelPolicy;

use super::*;
use crate::networks::vit::VitClassifierConfig;
use crate::networks::{ConvNeXtConfig, DenseNetConfig, NetworkShape, ResNetConfig, seeded};

const SIZE: usize = 32;

/// Of phantoms.
const FINDINGS: usize = 9;

/// Images that can be loaded this many times before the disk fails.
struct FailingDisk {
    phantoms: PhantomDataset,
    loads_left: AtomicUsize,
}

impl ImageSource for FailingDisk {
    fn load(&self, index: usize) -> Result<GrayImage, AugmentError> {
        let left = self.loads_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        left.map(|_| self.phantoms.image(index)).map_err(|_| AugmentError::Io {
            action: "read",
            path: self.describe(index).into(),
            source: std::io::Error::other("the disk failed"),
        })
    }

    fn describe(&self, index: usize) -> String {
        format!("phantom-{index}.png")
    }
}

fn splits(prevalence: Prevalence, loads: usize) -> Splits {
    let phantoms = PhantomDataset::new(PhantomDatasetConfig { prevalence, ..PhantomDatasetConfig::new(48, SIZE, 3) }).unwrap();
    let (vocabulary, records) = (Arc::new(phantoms.vocabulary().clone()), phantoms.records());
    let source = Arc::new(FailingDisk { phantoms, loads_left: AtomicUsize::new(loads) });
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

/// A small DenseNet.
fn densenet() -> NetworkShape {
    DenseNetConfig { block_config: vec![1, 1], ..DenseNetConfig::small(1, FINDINGS) }.into()
}

/// A small ConvNeXt.
fn convnext() -> NetworkShape {
    ConvNeXtConfig { channels: vec![8, 16], layers: vec![1, 2], ..ConvNeXtConfig::tiny(1, FINDINGS) }.into()
}

/// A small ResNet.
fn resnet() -> NetworkShape {
    ResNetConfig { layers: vec![1, 1], planes: vec![4, 8], stem: 8, ..ResNetConfig::resnet50(1, FINDINGS) }.into()
}

/// A small vision transformer, its places resampled.
fn vit() -> NetworkShape {
    let base = VitClassifierConfig::base14(1, FINDINGS);
    VitClassifierConfig { hidden_size: 64, num_hidden_layers: 2, grid: 3, patch_size: 8, ..base }.into()
}

fn run(splits: &Splits, config: &TrainConfig, folder: &Path) -> Result<Trained, ClassifierError> {
    run_of(&densenet(), TrainedPart::Whole, splits, config, folder)
}

fn run_of(
    shape: &NetworkShape,
    part: TrainedPart,
    splits: &Splits,
    config: &TrainConfig,
    folder: &Path,
) -> Result<Trained, ClassifierError> {
    let device = Device::flex();
    let vocabulary = splits.train().data().vocabulary().clone();
    let mixed = MixedDataset::new(splits.train().clone(), None, Mixture::default(), 4).unwrap();
    train(TrainJob {
        net: seeded(shape.init(&device), 4),
        part,
        config,
        loss: MaskedBce::default(),
        batcher: CxrBatcher { vocabulary, policy: LabelPolicy::default(), input: InputRange::Signed },
        stream: MixedStream::new(mixed, NonZeroUsize::new(config.batch_size).unwrap()),
        valid: splits.valid(),
        seed: 4,
        device: &device,
        folder: folder.to_owned(),
        task: Box::new(Silent),
    })
}

/// Checkpoints in a run's folder.
fn rounds(folder: &Path) -> Vec<u64> {
    CheckpointFolder::open(folder, LAYOUT).unwrap().numbers().unwrap()
}

/// The measurements of a round: step, both losses, macro AUROC.
type Measured = (usize, f64, f64, Option<f64>);

/// Every weight and running statistic, tensor by tensor.
fn weights(net: &Network) -> Vec<Vec<f32>> {
    struct Values(Vec<Vec<f32>>);
    impl ModuleVisitor for Values {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.push(param.val().into_data().iter::<f32>().collect());
        }
    }
    let mut values = Values(Vec::new());
    net.visit(&mut values);
    values.0
}

/// Every weight and running statistic, and the measurements of each round.
fn outcome(trained: &Trained) -> (Vec<Vec<f32>>, Vec<Measured>) {
    let rounds = trained.history.rounds();
    (weights(&trained.net), rounds.iter().map(|r| (r.step, r.train_loss, r.valid_loss, r.valid_macro_auroc)).collect())
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
        assert!(error.contains("phantom-") && error.contains("the disk failed"), "{error}");
        assert_eq!(rounds(folder.path()), (1..=whole_rounds as u64).collect::<Vec<_>>()[whole_rounds.saturating_sub(1)..]);
        let resumed = outcome(&run(&healthy, &config, folder.path()).unwrap());
        assert!(resumed == uninterrupted, "resumed after round {whole_rounds}: {:?} {:?}", resumed.1, uninterrupted.1);
    }
}

/// The branches that a step leaves out are a function of the step.
#[test]
fn stochastic_depth_resumes_bit_for_bit() {
    let config = TrainConfig { select: Selection::Last, stochastic_depth: 0.5, ..config() };
    let healthy = splits(Prevalence::enriched(), usize::MAX);
    for shape in [convnext(), vit()] {
        let train =
            |splits: &Splits, config: &TrainConfig, folder: &Path| run_of(&shape, TrainedPart::Whole, splits, config, folder);
        let folder = tempfile::tempdir().unwrap();
        let uninterrupted = outcome(&train(&healthy, &config, folder.path()).unwrap());
        let folder = tempfile::tempdir().unwrap();
        let loads = healthy.valid().len() * 2 + config.batch_size * (config.eval_every + 1);
        train(&splits(Prevalence::enriched(), loads), &config, folder.path()).unwrap_err();
        assert!(outcome(&train(&healthy, &config, folder.path()).unwrap()) == uninterrupted, "{shape:?}");
        let folder = tempfile::tempdir().unwrap();
        let whole = TrainConfig { stochastic_depth: 0.0, ..config.clone() };
        assert!(outcome(&train(&healthy, &whole, folder.path()).unwrap()) != uninterrupted, "{shape:?}");
    }
}

/// Of every kind of network: killed in its second round and gone on with, the weights are those of a run that was not.
#[test]
fn brain_floats_resume_bit_for_bit_and_leave_weights_in_32_bits() {
    let config = TrainConfig { select: Selection::Last, precision: Precision::Bf16, ..config() };
    let healthy = splits(Prevalence::enriched(), usize::MAX);
    for shape in [densenet(), resnet(), convnext(), vit()] {
        let train =
            |splits: &Splits, config: &TrainConfig, folder: &Path| run_of(&shape, TrainedPart::Whole, splits, config, folder);
        let folder = tempfile::tempdir().unwrap();
        let trained = train(&healthy, &config, folder.path()).unwrap();
        assert!(dtypes(&trained.net).iter().all(|dtype| *dtype == DType::F32), "{shape:?}");
        let uninterrupted = outcome(&trained);
        let folder = tempfile::tempdir().unwrap();
        let loads = healthy.valid().len() * 2 + config.batch_size * (config.eval_every + 1);
        train(&splits(Prevalence::enriched(), loads), &config, folder.path()).unwrap_err();
        assert!(outcome(&train(&healthy, &config, folder.path()).unwrap()) == uninterrupted, "{shape:?}");
        // In 32 bits they are others, if not by much.
        let folder = tempfile::tempdir().unwrap();
        let wide = TrainConfig { precision: Precision::Fp32, ..config.clone() };
        let wide = outcome(&train(&healthy, &wide, folder.path()).unwrap());
        assert!(wide.0 != uninterrupted.0, "{shape:?}");
        for (brain, wide) in uninterrupted.1.iter().zip(&wide.1) {
            assert!((brain.1 - wide.1).abs() < 0.05 * wide.1, "{shape:?}: losses of {brain:?} and {wide:?}");
        }
    }
}

/// The type of every weight and running statistic.
fn dtypes(net: &Network) -> Vec<DType> {
    struct Types(Vec<DType>);
    impl ModuleVisitor for Types {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.push(param.val().dtype());
        }
    }
    let mut types = Types(Vec::new());
    net.visit(&mut types);
    types.0
}

#[test]
fn networks_of_every_kind_learn_their_training_images() {
    let healthy = splits(Prevalence::enriched(), usize::MAX);
    let config = TrainConfig {
        steps: 60,
        batch_size: 16,
        accumulation: 1,
        eval_every: 10,
        warmup_steps: 5,
        learning_rate: 1e-2,
        select: Selection::Last,
        ..TrainConfig::default()
    };
    for shape in [densenet(), resnet(), convnext(), vit()] {
        for precision in [Precision::Fp32, Precision::Bf16] {
            let folder = tempfile::tempdir().unwrap();
            let config = TrainConfig { precision, ..config.clone() };
            let trained = run_of(&shape, TrainedPart::Whole, &healthy, &config, folder.path()).unwrap();
            let losses: Vec<f64> = trained.history.rounds().iter().map(|round| round.train_loss).collect();
            assert!(losses[5] < 0.8 * losses[0], "{shape:?} in {precision}: {losses:?}");
        }
    }
}

#[test]
fn a_head_alone_changes_nothing_before_it() {
    let healthy = splits(Prevalence::enriched(), usize::MAX);
    let config = TrainConfig { steps: 40, eval_every: 10, learning_rate: 3e-2, select: Selection::Last, ..config() };
    for (shape, precision) in
        [densenet(), resnet(), convnext(), vit()].into_iter().zip([Precision::Fp32, Precision::Bf16].repeat(2))
    {
        let config = TrainConfig { precision, ..config.clone() };
        let folder = tempfile::tempdir().unwrap();
        let before = weights(&seeded(shape.init(&Device::flex()), 4));
        let trained = run_of(&shape, TrainedPart::Head, &healthy, &config, folder.path()).unwrap();
        let after = weights(&trained.net);
        let changed: Vec<bool> = before.iter().zip(&after).map(|(before, after)| before != after).collect();
        let (body, head) = changed.split_at(changed.len() - 2);
        assert!(!body.contains(&true) && !head.contains(&false), "{shape:?}: {changed:?}");
        let losses: Vec<f64> = trained.history.rounds().iter().map(|round| round.train_loss).collect();
        assert!(losses[3] < losses[0], "{shape:?}: {losses:?}");
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
        assert!(error.contains("phantom-") && error.contains("the disk failed"), "{error}");
        assert_eq!(rounds(folder.path()).last().copied().unwrap_or(0), whole_rounds);
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
    let mixed = MixedDataset::new(healthy.train().clone(), None, Mixture::default(), 4).unwrap();
    let findings = vocabulary.len();
    let error = train(TrainJob {
        net: seeded(densenet().init(&device), 4),
        part: TrainedPart::Whole,
        config: &poisoned,
        loss: MaskedBce { pos_weight: Some(vec![f32::INFINITY; findings]), ..MaskedBce::default() },
        batcher: CxrBatcher { vocabulary, policy: LabelPolicy::default(), input: InputRange::Signed },
        stream: MixedStream::new(mixed, NonZeroUsize::new(8).unwrap()),
        valid: healthy.valid(),
        seed: 4,
        device: &device,
        folder: folder.path().to_owned(),
        task: Box::new(Silent),
    })
    .unwrap_err();
    assert!(matches!(error, ClassifierError::NonFiniteLoss { step: 1, last_good: 0, .. }), "{error}");
    assert_eq!(rounds(folder.path()), [0; 0]);
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

#[test]
fn steps_and_validations_are_logged_for_people_and_tensorboard() {
    let folder = tempfile::tempdir().unwrap();
    let trained = run(&splits(Prevalence::enriched(), usize::MAX), &config(), folder.path()).unwrap();
    let metrics = read_metrics(&folder.path().join("metrics.jsonl")).unwrap();
    let steps: Vec<&TrainMetric> = metrics
        .iter()
        .filter_map(|metric| match metric {
            Metric::Train(step) => Some(step),
            Metric::Valid(_) => None,
        })
        .collect();
    assert!(steps.iter().map(|step| step.step).eq(1..=6));
    assert!(steps.iter().all(|step| step.grad_norm > 0.0 && step.images_per_second > 0.0));
    for (round, steps) in trained.history.rounds().iter().zip(steps.chunks(2)) {
        assert_eq!(round.train_loss, (steps[0].loss + steps[1].loss) / 2.0);
        assert_eq!(round.learning_rate, steps[1].learning_rate);
    }
    assert_eq!(metrics.len(), 6 + 3);
    assert_eq!(std::fs::read_dir(folder.path().join("tensorboard")).unwrap().count(), 1);
}

#[test]
fn a_damaged_checkpoint_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let healthy = splits(Prevalence::enriched(), usize::MAX);
    let config = TrainConfig { select: Selection::Last, ..config() };
    run(&healthy, &config, folder.path()).unwrap();
    let model = folder.path().join("checkpoints/00003").join(MODEL);
    let mut bytes = std::fs::read(&model).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&model, bytes).unwrap();
    let error = run(&healthy, &config, folder.path()).unwrap_err();
    assert!(matches!(error, ClassifierError::DamagedCheckpoint { .. }), "{error}");
    assert!(error.to_string().contains("00003") && error.to_string().contains("model.bpk"), "{error}");
}

/// The folder as version 0.1 left it: another `metrics.jsonl`, checkpoints without digests, one of them half written.
#[test]
fn a_run_of_the_version_before_goes_on() {
    let config = TrainConfig { select: Selection::Last, ..config() };
    let healthy = splits(Prevalence::enriched(), usize::MAX);
    let whole = tempfile::tempdir().unwrap();
    let uninterrupted = outcome(&run(&healthy, &config, whole.path()).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let loads = 2 * healthy.valid().len() + config.batch_size * (config.eval_every + 1);
    run(&splits(Prevalence::enriched(), loads), &config, folder.path()).unwrap_err();
    let checkpoints = folder.path().join("checkpoints");
    std::fs::remove_file(checkpoints.join("00001/B3SUMS")).unwrap();
    std::fs::create_dir(checkpoints.join("00002")).unwrap();
    std::fs::copy(checkpoints.join("00001").join(MODEL), checkpoints.join("00002").join(MODEL)).unwrap();
    let path = folder.path().join("metrics.jsonl");
    let round = History::resume(&read_metrics(&path).unwrap(), config.select, config.eval_every, 1).rounds()[0];
    let line = serde_json::json!({
        "round": round.round,
        "step": round.step,
        "train_loss": round.train_loss,
        "valid_loss": round.valid_loss,
        "valid_macro_auroc": round.valid_macro_auroc,
        "learning_rate": round.learning_rate,
        "seconds": round.seconds,
        "waited": round.waited,
    });
    std::fs::write(&path, format!("{line}\n")).unwrap();
    assert!(outcome(&run(&healthy, &config, folder.path()).unwrap()) == uninterrupted);
}
