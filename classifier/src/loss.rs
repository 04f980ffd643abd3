//! Masked binary cross-entropy on logits.
//!
//! Letters: `B` batch, `F` findings.

use burn::tensor::activation::log_sigmoid;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

/// How the terms of single labels become one number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reduction {
    /// One mean over every label that is known.
    #[default]
    Mean,
    /// The sum over findings of the mean over their known labels (torchxrayvision, `train_utils.train_epoch`). A finding without
    /// a known label in the batch adds nothing.
    SumOfFindingMeans,
}

/// Binary cross-entropy with logits over known labels only: a label whose mask is 0 has no influence and gets no gradient.
///
/// `loss = -w_f (p_f y log σ(x) + (1 - y) log(1 - σ(x)))`, with `p` the positive weight and `w` the task weight, as
/// `torch.nn.functional.binary_cross_entropy_with_logits`.
#[derive(Clone, Debug, Default)]
pub struct MaskedBce {
    /// How terms are averaged.
    pub reduction: Reduction,
    /// Weight of the positive term by finding, `F` values.
    pub pos_weight: Option<Vec<f32>>,
    /// Weight of each finding, `F` values; see [`task_weights`].
    pub task_weights: Option<Vec<f32>>,
}

/// The known labels of one optimiser step: what the terms are divided by. Counting them over *all* micro-batches of a step makes
/// accumulated gradients equal to those of one large batch.
#[derive(Clone, Debug, PartialEq)]
pub struct KnownLabels {
    by_finding: Vec<f32>,
}

impl KnownLabels {
    /// Counts masks of shape `[B, F]`, given row-major on the host.
    #[must_use]
    pub fn count<'a>(masks: impl IntoIterator<Item = &'a [f32]>, findings: usize) -> Self {
        let mut by_finding = vec![0.0; findings];
        for mask in masks {
            for row in mask.chunks_exact(findings) {
                by_finding.iter_mut().zip(row).for_each(|(count, known)| *count += known);
            }
        }
        Self { by_finding }
    }

    /// Known labels over all findings.
    #[must_use]
    pub fn total(&self) -> f32 {
        self.by_finding.iter().sum()
    }
}

impl MaskedBce {
    /// The loss of one micro-batch: its share of the loss of the step that `known` was counted over.
    ///
    /// # Shapes
    /// - logits, targets, mask: `[B, F]`; targets in `[0, 1]`, 0 where the mask is 0
    /// - output: `[1]`; 0 if no label is known
    pub fn forward(&self, logits: Tensor<2>, targets: Tensor<2>, mask: Tensor<2>, known: &KnownLabels) -> Tensor<1> {
        let device = logits.device();
        let positive: Tensor<2> = -log_sigmoid(logits.clone()) * targets.clone();
        let negative = -log_sigmoid(-logits) * (-targets + 1.0);
        let positive = match &self.pos_weight {
            Some(weight) => positive * row(weight, &device),
            None => positive,
        };
        let terms: Tensor<2> = (positive + negative) * mask;
        (terms * row(&self.weights(known), &device)).sum()
    }

    /// What each finding's terms are multiplied by: task weight over count.
    fn weights(&self, known: &KnownLabels) -> Vec<f32> {
        let total = known.total().max(1.0);
        let one = vec![1.0; known.by_finding.len()];
        let task = self.task_weights.as_ref().unwrap_or(&one);
        task.iter()
            .zip(&known.by_finding)
            .map(|(weight, &count)| match self.reduction {
                Reduction::Mean => weight / total,
                Reduction::SumOfFindingMeans => weight / count.max(1.0),
            })
            .collect()
    }
}

fn row(values: &[f32], device: &Device) -> Tensor<2> {
    Tensor::<1>::from_floats(values, device).unsqueeze()
}

/// torchxrayvision's task weights: findings with fewer positives count more, the rarest 1.
///
/// `w = max(n) - n + mean(n)`, then `w / max(w)`, with `n` the positives by finding (`scripts/train_utils.py`).
#[must_use]
pub fn task_weights(positives: &[f32]) -> Vec<f32> {
    let most = positives.iter().copied().fold(0.0, f32::max);
    let mean = positives.iter().sum::<f32>() / positives.len().max(1) as f32;
    let raw: Vec<f32> = positives.iter().map(|n| most - n + mean).collect();
    let largest = raw.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
    raw.into_iter().map(|w| w / largest).collect()
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;

    use super::*;

    fn tensor(values: &[f32], findings: usize) -> Tensor<2> {
        let device = Device::flex().autodiff();
        Tensor::from_data(TensorData::new(values.to_vec(), [values.len() / findings, findings]), &device)
    }

    /// Value and gradient on the host.
    fn loss(bce: &MaskedBce, logits: &[f32], targets: &[f32], mask: &[f32], findings: usize) -> (f32, Vec<f32>) {
        let logits = tensor(logits, findings).require_grad();
        let known = KnownLabels::count([mask], findings);
        let loss = bce.forward(logits.clone(), tensor(targets, findings), tensor(mask, findings), &known);
        let grads = loss.backward();
        (loss.into_scalar::<f32>(), logits.grad(&grads).unwrap().into_data().try_to_vec().unwrap())
    }

    #[test]
    fn an_unknown_label_has_no_influence() {
        for reduction in [Reduction::Mean, Reduction::SumOfFindingMeans] {
            let bce = MaskedBce { reduction, ..MaskedBce::default() };
            let mask = [1.0, 0.0, 1.0, 1.0];
            let (a, gradient) = loss(&bce, &[0.3, 5.0, -1.0, 2.0], &[1.0, 0.0, 0.0, 1.0], &mask, 2);
            let (b, _) = loss(&bce, &[0.3, -80.0, -1.0, 2.0], &[1.0, 0.0, 0.0, 1.0], &mask, 2);
            assert_eq!(a, b);
            assert_eq!(gradient[1], 0.0);
        }
    }

    #[test]
    fn large_logits_stay_finite() {
        let (value, gradient) = loss(&MaskedBce::default(), &[100.0, -100.0, 60.0], &[0.0, 1.0, 1.0], &[1.0; 3], 3);
        assert!((value - 200.0 / 3.0).abs() < 1e-4, "{value}");
        assert!(gradient.iter().all(|g| g.is_finite()), "{gradient:?}");
    }

    #[test]
    fn no_known_label_is_no_loss() {
        let (value, gradient) = loss(&MaskedBce::default(), &[1.0, 2.0], &[0.0, 0.0], &[0.0, 0.0], 2);
        assert_eq!((value, gradient), (0.0, vec![0.0, 0.0]));
    }

    #[test]
    fn micro_batches_add_up_to_the_step() {
        let bce = MaskedBce { reduction: Reduction::SumOfFindingMeans, ..MaskedBce::default() };
        let (logits, targets, mask) = ([0.5, -1.0, 2.0, 0.1], [1.0, 0.0, 1.0, 1.0], [1.0, 1.0, 0.0, 1.0]);
        let (whole, gradient) = loss(&bce, &logits, &targets, &mask, 2);
        let known = KnownLabels::count([&mask[..]], 2);
        let mut sum = 0.0;
        for half in 0..2 {
            let part = 2 * half..2 * half + 2;
            let x = tensor(&logits[part.clone()], 2).require_grad();
            let value = bce.forward(x.clone(), tensor(&targets[part.clone()], 2), tensor(&mask[part.clone()], 2), &known);
            let grads = value.backward();
            let g: Vec<f32> = x.grad(&grads).unwrap().into_data().try_to_vec().unwrap();
            assert_eq!(g, gradient[part]);
            sum += value.into_scalar::<f32>();
        }
        assert!((sum - whole).abs() < 1e-6);
    }

    #[test]
    fn rare_findings_weigh_more() {
        assert_eq!(task_weights(&[10.0, 0.0, 5.0]), [5.0 / 15.0, 1.0, 10.0 / 15.0]);
    }
}
