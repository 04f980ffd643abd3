//! The network as burn-train sees it: one optimiser step, one validation.

use std::sync::{Arc, Mutex};

use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::activation::sigmoid;
use burn::tensor::{Device, Tensor};
use burn::train::metric::Adaptor;
use burn::train::{InferenceStep, Interrupter, ItemLazy, TrainOutput, TrainStep};
use roentgen_augment::batch::{CxrBatch, CxrBatcher, targets};
use roentgen_augment::dataset::HeldOut;

use super::clip::clip_beside;
use super::{Precision, TrainedPart};
use crate::ClassifierError;
use crate::batch::Batches;
use crate::loss::{KnownLabels, MaskedBce};
use crate::metrics::{MultiLabelReport, ScoreTable};
use crate::networks::{Network, StochasticDepth};

/// The images of one optimiser step, cut into micro-batches.
#[derive(Clone, Debug)]
pub struct StepBatch {
    /// Optimiser step, from 1.
    pub step: usize,
    /// Micro-batches.
    pub micro: Vec<CxrBatch>,
}

/// A whole held-out set: validated as one item, since an AUROC belongs to a set and is not a mean over batches. Its images are
/// read while it is validated.
#[derive(Clone, Debug)]
pub struct HeldOutBatches {
    batches: Batches,
    known: KnownLabels,
}

impl HeldOutBatches {
    /// `set` as batches on `device`, which has no autodiff.
    ///
    /// # Errors
    /// [`ClassifierError::Setting`] for batches of no image.
    pub fn new(set: &HeldOut, batcher: &CxrBatcher, batch_size: usize, device: &Device) -> Result<Self, ClassifierError> {
        let batches = Batches::new(set.clone(), batcher, batch_size, device)?;
        let records: Vec<_> = set.data().rows().iter().map(|row| row.record.clone()).collect();
        let targets = targets(&records, &batcher.vocabulary, &batcher.policy);
        let mask: Vec<f32> = targets.iter().map(|target| f32::from(u8::from(!target.is_nan()))).collect();
        Ok(Self { batches, known: KnownLabels::count([&mask[..]], batcher.vocabulary.len()) })
    }

    /// Batches whose images are of that precision.
    #[must_use]
    pub fn with_precision(self, precision: Precision) -> Self {
        Self { batches: self.batches.with_precision(precision), ..self }
    }

    /// The set.
    #[must_use]
    pub fn batches(&self) -> &Batches {
        &self.batches
    }
}

/// What a step reports to burn-train.
#[derive(Clone, Copy, Debug)]
pub struct StepReport {
    /// Optimiser step, from 1.
    pub(super) step: usize,
    /// Mean loss of its images.
    pub(super) loss: f64,
    /// Norm of all gradients before clipping.
    pub(super) gradient_norm: f64,
}

/// What a validation reports to burn-train.
#[derive(Clone, Copy, Debug)]
pub struct ValidReport {
    /// Loss over the whole set.
    pub(super) loss: f64,
    /// Macro AUROC over the whole set; NaN where it is undefined.
    pub(super) macro_auroc: f64,
}

/// What every step needs besides the weights.
#[derive(Clone)]
pub struct Recipe {
    /// What is trained.
    pub part: TrainedPart,
    /// Branches that steps leave out; each forward pass is counted.
    pub depth: StochasticDepth,
    /// Training loss.
    pub loss: MaskedBce,
    /// Largest global gradient norm, 0 for none.
    pub clip_norm: f64,
    /// Stops the loop.
    pub interrupter: Interrupter,
    /// The first step whose loss was not finite, with the loss.
    pub non_finite: Arc<Mutex<Option<(usize, f64)>>>,
}

impl std::fmt::Debug for Recipe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recipe")
            .field("part", &self.part)
            .field("loss", &self.loss)
            .field("clip_norm", &self.clip_norm)
            .finish_non_exhaustive()
    }
}

/// A classifier in training.
#[derive(Module, Debug)]
pub struct Trainee {
    /// The network.
    pub net: Network,
    #[module(skip)]
    recipe: Recipe,
}

impl Trainee {
    /// `net` trained by `recipe`.
    #[must_use]
    pub fn new(net: Network, recipe: Recipe) -> Self {
        Self { net, recipe }
    }

    /// Gradients of one optimiser step, clipped, with the step's loss and the norm before clipping. They are those of one batch
    /// of all its images: every term is divided by the known labels of the whole step.
    pub fn gradients(&self, batch: StepBatch) -> (GradientsParams, f64, f64) {
        let findings = batch.micro.first().map_or(0, |micro| micro.targets.dims()[1]);
        let known = KnownLabels::count(batch.micro.iter().map(|micro| &*micro.known), findings);
        let mut accumulator = GradientsAccumulator::new();
        let mut losses = Vec::with_capacity(batch.micro.len());
        for (i, micro) in batch.micro.into_iter().enumerate() {
            let logits = self.logits(micro.images, batch.step, i);
            let part = self.recipe.loss.forward(logits, micro.targets, micro.mask, &known);
            losses.push(part.clone().inner());
            accumulator.accumulate(self, GradientsParams::from_grads(part.backward(), self));
        }
        let mut grads = accumulator.grads();
        let (norm, loss) = clip_beside(self, &mut grads, self.recipe.clip_norm, losses);
        (grads, loss, norm)
    }

    /// The logits of a micro-batch of a step; gradients go to what is trained.
    fn logits(&self, images: Tensor<4>, step: usize, micro: usize) -> Tensor<2> {
        match self.recipe.part {
            TrainedPart::Whole => {
                // A step has fewer micro-batches than this.
                let pass = ((step as u64) << 17) | micro as u64;
                self.net.forward_in_training(images, &StochasticDepth { pass, ..self.recipe.depth })
            }
            TrainedPart::Head => self.net.head(Tensor::from_inner(self.net.valid().features(images.inner()))),
        }
    }
}

impl TrainStep for Trainee {
    type Input = StepBatch;
    type Output = StepReport;

    fn step(&self, batch: StepBatch) -> TrainOutput<StepReport> {
        let step = batch.step;
        let (mut grads, loss, norm) = self.gradients(batch);
        if !loss.is_finite() || !norm.is_finite() {
            // The weights stay as they are; the loop ends before the next step, and before the next checkpoint.
            grads = GradientsParams::new();
            let mut first = self.recipe.non_finite.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            first.get_or_insert((step, loss));
            self.recipe.interrupter.stop(Some("the loss is not finite"));
        }
        TrainOutput { grads, item: StepReport { step, loss, gradient_norm: norm } }
    }
}

impl InferenceStep for Trainee {
    type Input = HeldOutBatches;
    type Output = ValidReport;

    /// Loss and macro AUROC over the whole set. The loss has the training loss's weights, so that the two can be compared.
    ///
    /// An unreadable image ends the training before the round's checkpoint.
    fn step(&self, set: HeldOutBatches) -> ValidReport {
        let findings = set.batches.vocabulary().len();
        let (mut loss, mut scores, mut targets) = (0.0, Vec::new(), Vec::new());
        for batch in set.batches.pass() {
            let batch = match batch {
                Ok(batch) => batch,
                Err(error) => {
                    self.recipe.interrupter.fail(error);
                    return ValidReport { loss: f64::NAN, macro_auroc: f64::NAN };
                }
            };
            let logits = self.net.forward(batch.images);
            scores.extend(host(sigmoid(logits.clone())));
            let mask = batch.known.iter();
            targets.extend(host(batch.targets.clone()).zip(mask).map(|(target, k)| if *k > 0.0 { target } else { f64::NAN }));
            loss += self.recipe.loss.forward(logits, batch.targets, batch.mask, &set.known).into_scalar::<f64>();
        }
        let table = ScoreTable::new(&scores, &targets, findings);
        // Scores are NaN once the weights are: undefined, and the training loss stops the run.
        let report = table.and_then(|table| MultiLabelReport::new(&table));
        let macro_auroc = report.ok().and_then(|report| report.macro_average.auroc).unwrap_or(f64::NAN);
        ValidReport { loss, macro_auroc }
    }
}

fn host(tensor: Tensor<2>) -> impl Iterator<Item = f64> {
    tensor.into_data().iter::<f64>().collect::<Vec<_>>().into_iter()
}

impl ItemLazy for StepReport {
    fn sync(self) -> Result<Self, burn::tensor::ExecutionError> {
        Ok(self)
    }
}

impl ItemLazy for ValidReport {
    fn sync(self) -> Result<Self, burn::tensor::ExecutionError> {
        Ok(self)
    }
}

impl Adaptor<StepReport> for StepReport {
    fn adapt(&self) -> StepReport {
        *self
    }
}

impl Adaptor<ValidReport> for ValidReport {
    fn adapt(&self) -> ValidReport {
        *self
    }
}
