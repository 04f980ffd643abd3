//! One layer of a block.

use burn::tensor::Tensor;

use super::super::Trace;
use super::super::resnet::ResnetBlock;
use super::condition::Condition;
use super::transformer::Transformer2d;

/// A residual block and what may follow it.
pub(super) struct Layer<'a> {
    index: usize,
    resnet: &'a ResnetBlock,
    attention: Option<&'a Transformer2d>,
}

/// The layers of a block, in order; the transformers may run out first.
pub(super) fn layers<'a>(resnets: &'a [ResnetBlock], attentions: &'a [Transformer2d]) -> impl Iterator<Item = Layer<'a>> {
    resnets.iter().enumerate().map(|(index, resnet)| Layer { index, resnet, attention: attentions.get(index) })
}

impl Layer<'_> {
    /// `[B, C, H, W]` to `[B, O, H, W]`.
    pub(super) fn forward(&self, input: Tensor<4>, condition: &Condition, trace: &mut Trace) -> Tensor<4> {
        let index = self.index;
        let x = self.resnet.forward(input, Some(&condition.time));
        trace.record(&format!("resnets.{index}"), &x);
        let Some(attention) = self.attention else { return x };
        let x = trace.within(format_args!("attentions.{index}"), |trace| attention.forward(x, condition, trace));
        trace.record(&format!("attentions.{index}"), &x);
        x
    }
}
