//! What the norms have in common: what is normalised together, and what their kernels read and give.

use burn_flex::FlexTensor;

use crate::Activation;
use crate::memory::values::Values;

/// `activation(gamma (x - mean) / sqrt(variance + epsilon) + beta)`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Norm {
    /// The elements of a mean and a variance.
    pub over: Over,
    /// Added to the variance.
    pub epsilon: f64,
    /// Of every normalised element.
    pub activation: Activation,
}

/// The elements that are normalised together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// One of this many equal groups of channels of an image.
    Groups(usize),
    /// A channel of all images.
    Batch,
    /// The last axis.
    Last,
}

/// The input of a forward kernel.
pub(crate) struct Input<E> {
    pub(crate) x: Values<E>,
    pub(crate) gamma: Vec<f32>,
    pub(crate) beta: Vec<f32>,
    pub(crate) epsilon: f64,
}

/// The input of a backward kernel.
pub(crate) struct Pulled<E> {
    pub(crate) input: Input<E>,
    /// Mean and variance of each group.
    pub(crate) statistics: Values,
    /// By the output.
    pub(crate) gradient: Values<E>,
}

/// The output of a backward kernel: the gradient w.r.t. `x`, and the sums that are those w.r.t. `gamma` and `beta`.
pub(crate) type Pulls = (FlexTensor, [Vec<f64>; 2]);

impl<E> Input<E> {
    /// Mean and reciprocal deviation, from mean and variance.
    pub(crate) fn scale(&self, mean_and_variance: &[f32]) -> [f64; 2] {
        let [mean, variance] = [mean_and_variance[0], mean_and_variance[1]].map(f64::from);
        [mean, 1.0 / (variance + self.epsilon).sqrt()]
    }

    /// Scale and shift of a channel.
    pub(crate) fn affine(&self, channel: usize) -> [f32; 2] {
        [self.gamma[channel], self.beta[channel]]
    }
}
