//! A layer: attention, then a feed-forward block, each behind a norm, scaled per channel and added.

use burn::module::{Initializer, Module, Param};
use burn::tensor::{Device, Tensor};
use roentgen_kernels::{Visible, attention, cast, gelu, silu};

use super::config::VitConfig;
use crate::nn::{LayerNorm, LayerNormConfig, Linear, LinearConfig};

/// Names of fields are those of files.
#[derive(Module, Debug)]
pub(super) struct Layer {
    norm1: LayerNorm,
    attention: Attention,
    layer_scale1: LayerScale,
    norm2: LayerNorm,
    mlp: FeedForward,
    layer_scale2: LayerScale,
}

/// All results of a layer, each `[B, L, D]`.
#[derive(Clone, Debug)]
pub struct LayerStates {
    /// The first norm's.
    pub norm1: Tensor<3>,
    /// Attention's, before it is scaled.
    pub attention: Tensor<3>,
    /// The same, scaled.
    pub layer_scale1: Tensor<3>,
    /// The second norm's.
    pub norm2: Tensor<3>,
    /// The feed-forward block's, before it is scaled.
    pub mlp: Tensor<3>,
    /// The same, scaled.
    pub layer_scale2: Tensor<3>,
    /// The layer's.
    pub output: Tensor<3>,
}

#[derive(Module, Debug)]
struct Attention {
    attention: Projections,
    output: Output,
}

#[derive(Module, Debug)]
struct Projections {
    query: Linear,
    key: Linear,
    value: Linear,
    heads: usize,
}

#[derive(Module, Debug)]
struct Output {
    dense: Linear,
}

#[derive(Module, Debug)]
struct LayerScale {
    lambda1: Param<Tensor<1>>,
}

#[derive(Module, Debug)]
enum FeedForward {
    Gelu(Mlp),
    Swiglu(GatedMlp),
}

#[derive(Module, Debug)]
struct Mlp {
    fc1: Linear,
    fc2: Linear,
}

/// SwiGLU (Shazeer, arXiv 2002.05202, equation 6): the first half of `weights_in` is the gate.
#[derive(Module, Debug)]
struct GatedMlp {
    weights_in: Linear,
    weights_out: Linear,
}

impl Layer {
    pub(super) fn new(config: &VitConfig, device: &Device) -> Self {
        let (width, inner) = (config.hidden_size, config.inner());
        let norm = || LayerNormConfig::new(width).with_epsilon(config.layer_norm_eps).init(device);
        let linear = |input, output| LinearConfig::new(input, output).init(device);
        let projection = || LinearConfig::new(width, width).with_bias(config.qkv_bias).init(device);
        let scale = || LayerScale { lambda1: Initializer::Ones.init([width], device) };
        Self {
            norm1: norm(),
            attention: Attention {
                attention: Projections {
                    query: projection(),
                    key: projection(),
                    value: projection(),
                    heads: config.num_attention_heads,
                },
                output: Output { dense: linear(width, width) },
            },
            layer_scale1: scale(),
            norm2: norm(),
            mlp: match config.use_swiglu_ffn {
                false => FeedForward::Gelu(Mlp { fc1: linear(width, inner), fc2: linear(inner, width) }),
                true => {
                    FeedForward::Swiglu(GatedMlp { weights_in: linear(width, 2 * inner), weights_out: linear(inner, width) })
                }
            },
            layer_scale2: scale(),
        }
    }

    /// `factors`: what the branches of attention and of the feed-forward block are multiplied with for each image, `[B, 1, 1]`.
    pub(super) fn forward(&self, x: Tensor<3>, factors: Option<[Tensor<3>; 2]>) -> LayerStates {
        let [first, second] = factors.map_or([None, None], |factors| factors.map(Some));
        let norm1 = self.norm1.forward(x.clone());
        let attention = self.attention.forward(norm1.clone());
        let layer_scale1 = self.layer_scale1.forward(attention.clone());
        let x = x + times(layer_scale1.clone(), first);
        let norm2 = self.norm2.forward(x.clone());
        let mlp = self.mlp.forward(norm2.clone());
        let layer_scale2 = self.layer_scale2.forward(mlp.clone());
        let output = x + times(layer_scale2.clone(), second);
        LayerStates { norm1, attention, layer_scale1, norm2, mlp, layer_scale2, output }
    }
}

fn times(branch: Tensor<3>, factor: Option<Tensor<3>>) -> Tensor<3> {
    match factor {
        Some(factor) => {
            let dtype = branch.dtype().into();
            branch * cast(factor, dtype)
        }
        None => branch,
    }
}

impl Attention {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let Projections { query, key, value, heads } = &self.attention;
        let [query, key, value] = [query, key, value].map(|projection| projection.forward(x.clone()));
        self.output.dense.forward(attention(query, key, value, *heads, &Visible::default()))
    }
}

impl LayerScale {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let scale = cast(self.lambda1.val(), x.dtype().into());
        x * scale.unsqueeze()
    }
}

impl FeedForward {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        match self {
            Self::Gelu(Mlp { fc1, fc2 }) => fc2.forward(gelu(fc1.forward(x))),
            Self::Swiglu(GatedMlp { weights_in, weights_out }) => {
                let both = weights_in.forward(x);
                let inner = both.dims()[2] / 2;
                let [gate, value] = [0, inner].map(|first| both.clone().narrow(2, first, inner));
                weights_out.forward(silu(gate) * value)
            }
        }
    }
}
